import type { AddressInfo } from 'node:net'
import type { Logger } from 'pino'
import { ensureFirstKey } from '../access/api-keys.ts'
import type { Config } from '../config/config.ts'
import type { Gateway } from '../gateway.ts'
import { readRegisteredOperations } from '../graphql/documents/registered-operations.ts'
import type { Route } from '../http/openapi/operation.ts'
import { prepareClosing } from '../http/server/close-server.ts'
import type { LiveQueries } from '../query/live/live-queries.ts'
import type { Store } from '../store/store.ts'
import type { ShareMetrics } from '../telemetry/telemetry-interface.ts'
import type { FoldLoop } from '../write/fold/fold-loop.ts'
import { createComponents, type GatewayComponents } from './create-components.ts'
import { createServerWithRoutes } from './create-routes.ts'
import { listenOnFreePort } from './listen.ts'
import { openStore } from './open-store.ts'

/** A gateway that listens in this process. */
export interface RunningGateway {
  readonly url: string
  /** The API key that this start created, because the store had none. Otherwise undefined. It is not shown again. */
  readonly firstKey: string | undefined
  readonly gateway: Gateway
  readonly store: Store
  readonly folds: FoldLoop
  readonly live: LiveQueries
  readonly routes: readonly Route[]
  /**
   * Lets `/ready` fail for `DRAIN_MS`, then ends the live queries, stops accepting requests, lets the accepted ones run
   * for at most `CLOSE_MS_MAX`, and closes the store.
   */
  close(): Promise<void>
}

/**
 * Opens the store, creates the gateway and listens. `shareMetrics` merges the metrics of all processes; undefined if
 * the gateway has only one. If a step after opening the store fails, the store is closed again.
 */
export async function startInThisProcess(
  config: Config,
  log: Logger,
  now: () => number = Date.now,
  shareMetrics?: ShareMetrics,
): Promise<RunningGateway> {
  const registeredDocuments = await loadRegisteredDocuments(config)
  const store = await openStore(config, log, now)
  let closeAfterFailure = () => store.close()
  try {
    const components = createComponents(config, { store, log, now, shareMetrics })
    closeAfterFailure = () => components.gateway.close()
    return await startGateway(config, components, registeredDocuments, log, now)
  } catch (error) {
    await closeAfterFailure().catch((err: unknown) => log.warn({ err }, 'the store could not be closed'))
    throw error
  }
}

/** Creates the first key if it is needed, starts the background work and listens. */
async function startGateway(
  config: Config,
  { gateway, store, folds, live, telemetry }: GatewayComponents,
  registeredDocuments: ReadonlyMap<string, string>,
  log: Logger,
  now: () => number,
): Promise<RunningGateway> {
  const { host } = config.http
  const firstKey = config.access.apiKeys.size > 0 ? undefined : await ensureFirstKey(store, now())
  await folds.start()
  let isDraining = false
  const server = createServerWithRoutes(config, {
    gateway,
    log,
    now,
    telemetry,
    registeredDocuments,
    isDraining: () => isDraining,
  })
  const closeServer = prepareClosing(server, config.process.closeMsMax)
  await listenOnFreePort(config.http, (port) => server.listen({ host, port }))
  return {
    url: browserUrlOf(host, server.server.address() as AddressInfo),
    firstKey,
    gateway,
    store,
    folds,
    live,
    routes: server.routes,
    async close() {
      isDraining = true
      const { drainMs } = config.process
      if (drainMs > 0) await new Promise((resolve) => setTimeout(resolve, drainMs))
      live.close()
      await closeServer()
      await gateway.close()
    },
  }
}

function loadRegisteredDocuments({ persisted }: Config): Promise<ReadonlyMap<string, string>> {
  return readRegisteredOperations(persisted.operations).catch((cause: Error) => {
    throw new Error(`GRAPHQL_OPERATIONS cannot be used: ${cause.message}`, { cause })
  })
}

/**
 * Returns the URL of a gateway that listens on `host`, which is bound to `address`. `localhost` replaces 0.0.0.0 and
 * `::`, which mean all addresses of this machine, because not every browser can open them.
 */
export function browserUrlOf(host: string, { address, port }: AddressInfo): string {
  if (address === '0.0.0.0' || address === '::') return `http://localhost:${port}`
  return host.includes(':') ? `http://[${host}]:${port}` : `http://${host}:${port}`
}
