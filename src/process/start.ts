import { randomBytes } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { ensureFirstKey, Keys } from '../access/api-keys.ts'
import { RateLimiter } from '../access/rate-limiter.ts'
import type { Config } from '../config/config.ts'
import { createGateway, type Gateway } from '../gateway.ts'
import { readRegisteredOperations } from '../graphql/documents/registered-operations.ts'
import { registerGraphQL } from '../graphql/server/graphql-routes.ts'
import { createServer, type Route } from '../http/create-server.ts'
import { prepareClosing } from '../http/server/close-server.ts'
import { EventIds } from '../model/event-id.ts'
import { EventReader } from '../query/events.ts'
import { LiveQueries } from '../query/live/live-queries.ts'
import { Querier } from '../query/querier.ts'
import { openEmbeddedKeys } from '../store/embedded/api-keys.ts'
import { openEmbeddedStore } from '../store/embedded/embedded-store.ts'
import { openRedisStore } from '../store/redis/redis-store.ts'
import type { KeyStore, Store } from '../store/store.ts'
import { Prometheus } from '../telemetry/prometheus.ts'
import type { ShareMetrics, Telemetry, TelemetrySources } from '../telemetry/telemetry.ts'
import { Writer } from '../write/commit/writer.ts'
import { FoldLoop } from '../write/fold/fold-loop.ts'
import { Receipts } from '../write/idempotency.ts'
import { listenOn } from './listen.ts'

/** How long `/ready` waits for the store. */
const READY_WAIT_MS = 2_000
/** Inbox bytes that one step of a fold takes on. Within a step it pauses for requests. */
const FOLD_STEP_BYTES_MAX = 1 << 20
/** Acknowledged commits are kept for so long in case the store forgets them, and how often it is asked. */
const RETAINED_MS_MAX = 30_000
const RETAINED_LOOK_MS = 1_000
/** How often the answer of a live query is told at most, and how many are asked at a time. */
const LIVE_EVERY_MS = 1_000
const LIVE_RUNS_MAX = 4

export interface Running {
  readonly url: string
  /** Made at the first start of a store without keys; shown once. */
  readonly firstKey: string | undefined
  readonly gateway: Gateway
  readonly store: Store
  readonly folds: FoldLoop
  readonly live: LiveQueries
  readonly routes: readonly Route[]
  /** Says for a while that it will (`DRAIN_MS`), then stops accepting, answers what was accepted, closes the store. */
  close(): Promise<void>
}

/** Puts the gateway together and listens. `shareMetrics`: of one process among several. */
export async function start(
  config: Config,
  log: Logger,
  now: () => number = Date.now,
  shareMetrics?: ShareMetrics,
): Promise<Running> {
  const { resolutions, setResolutions } = config
  const registered = await registeredOperations(config)
  const store = await openStore(config, log, now)
  const sources: TelemetrySources = {
    points: () => writer.totals.points,
    events: () => writer.totals.events,
    pendingBytes: () => writer.pendingBytes,
    retainedBytes: () => writer.retainedBytes,
    cacheBytes: () => querier.cacheBytes,
    rateCounters: () => limiter.counters,
    folds: () => ({ ...folds.totals, waitedMs: folds.waitedMs }),
    backlog: () => backlogOf(store),
  }
  const telemetry = new Prometheus(sources, shareMetrics)
  const folds = new FoldLoop(
    store,
    {
      resolutions,
      setResolutions,
      stepBytesMax: FOLD_STEP_BYTES_MAX,
      inboxBytesMax: config.foldInboxBytes,
      inboxAgeMsMax: config.foldInboxAgeMs,
      eventsKeptMs: config.eventRetentionMs,
    },
    log,
    now,
  )
  const receipts = new Receipts(
    store,
    {
      storeWaitMsMax: config.storeWaitMsMax,
      retainedMsMax: config.retainedBytes === 0 ? 0 : RETAINED_MS_MAX,
      retainedLookMs: RETAINED_LOOK_MS,
    },
    now,
  )
  const writer = new Writer(
    store,
    {
      baseMs: resolutions[0]!.stepMs,
      setBaseMs: setResolutions[0]!.stepMs,
      pendingBytesMax: config.pendingBytesMax,
      storeWaitMsMax: config.storeWaitMsMax,
      entriesMax: config.seriesHeldMax,
      itemMemoryBytesMax: config.itemMemoryBytes,
      seriesPerMetricMax: config.seriesPerMetricMax,
      tagKeysPerMetricMax: config.tagKeysPerMetricMax,
      metricsPerProjectMax: config.metricsPerProjectMax,
      newMetricsPerRequestMax: config.newMetricsPerRequestMax,
      retainedBytesMax: config.retainedBytes,
      retainedMsMax: RETAINED_MS_MAX,
      retainedLookMs: RETAINED_LOOK_MS,
    },
    {
      committed: (partition, bytes) => folds.noteCommit(partition, bytes),
      storeWentBack: () => {
        querier.resetSeries()
        receipts.writeAgain().catch((err: unknown) => log.warn({ err }, 'receipts could not be written again'))
      },
      lost: (points) => telemetry.lost(points),
      // Its warning says the same.
      retentionShortened: () => {},
      roundSettled: (durationMs) => telemetry.roundSettled(durationMs),
      warn: (message, details) => log.warn(details, message),
    },
    now,
  )
  const querier = new Querier(
    store,
    {
      stepsMs: resolutions.map(({ stepMs }) => stepMs),
      setStepsMs: setResolutions.map(({ stepMs }) => stepMs),
      valuesMax: config.queryValuesMax,
      rollupsMax: config.queryRollupsMax,
      blockCacheBytesMax: config.blockCacheBytes,
      seriesHeldMax: config.seriesHeldMax,
      aggregationsMax: config.queryAggregationsMax,
      groupByKeysMax: config.queryGroupByMax,
      tagFilterValuesMax: config.queryTagValuesMax,
      whereMax: config.queryWhereMax,
      globCharsMax: config.queryGlobCharsMax,
    },
    now,
  )
  const firstKey = config.apiKeys.size > 0 ? undefined : await ensureFirstKey(store, now())
  const keys = new Keys(store, config.apiKeys, now)
  const limiter = new RateLimiter(store, { limits: config.rateLimits, countersMax: config.rateCountersMax }, now)
  const events = new EventReader(
    store,
    {
      eventsReadMax: config.eventsReadMax,
      tagFilterValuesMax: config.queryTagValuesMax,
      whereMax: config.queryWhereMax,
      globCharsMax: config.queryGlobCharsMax,
    },
    now,
  )
  const eventIds = new EventIds(now, randomBytes)
  const live: LiveQueries = new LiveQueries(
    {
      query: (project, input) => gateway.query(project, input),
      onCommit: (listener) => store.onCommit(listener),
      now,
      after: (ms, run) => {
        const timer = setTimeout(run, ms)
        return () => clearTimeout(timer)
      },
    },
    {
      everyMs: LIVE_EVERY_MS,
      pollMs: config.livePollMs,
      subscriptionsMax: config.liveSubscriptionsMax,
      subscriptionsPerKeyMax: config.liveSubscriptionsPerKeyMax,
      runsMax: LIVE_RUNS_MAX,
    },
  )
  const gateway = createGateway({
    writer,
    receipts,
    folds,
    querier,
    live,
    events,
    eventIds,
    store,
    keys,
    limiter,
    telemetry,
  })
  await folds.start()
  let isDraining = false
  const server = serve(config, gateway, telemetry, registered, log, now, () => isDraining)
  const closeServer = prepareClosing(server, config.closeMsMax)
  try {
    await listenOn(config, (port) => server.listen({ host: config.host, port }))
  } catch (error) {
    await gateway.close()
    throw error
  }
  const { port } = server.server.address() as AddressInfo
  const host = config.host.includes(':') ? `[${config.host}]` : config.host === '0.0.0.0' ? 'localhost' : config.host
  return {
    url: `http://${host}:${port}`,
    firstKey,
    gateway,
    store,
    folds,
    live,
    routes: server.routes,
    async close() {
      isDraining = true
      if (config.drainMs > 0) await new Promise((resolve) => setTimeout(resolve, config.drainMs))
      live.close()
      await closeServer()
      await gateway.close()
    },
  }
}

async function backlogOf(store: Store): Promise<{ readonly entries: number; readonly bytes: number }> {
  const inboxes = await Promise.all(Array.from({ length: store.partitions }, (_, i) => store.inboxSize(i)))
  const sum = (of: (inbox: (typeof inboxes)[number]) => number) =>
    inboxes.reduce((total, inbox) => total + of(inbox), 0)
  return { entries: sum(({ entries }) => entries), bytes: sum(({ bytes }) => bytes) }
}

/** Where the API keys are kept. Gateways may run on it meanwhile. */
export function openKeyStore(config: Config, log: Logger): Promise<KeyStore> {
  return config.redis === undefined ? inFolder(openEmbeddedKeys(config.dataDir)) : openStore(config, log, Date.now)
}

function openStore(config: Config, log: Logger, now: () => number): Promise<Store> {
  const { partitions, resolutions, setResolutions, redis, dataDir, storeWaitMsMax } = config
  const shape = { partitions, resolutions, setResolutions, now }
  if (redis === undefined) return inFolder(openEmbeddedStore({ folder: dataDir, ...shape }))
  const { url, clusterNodes, prefix } = redis
  return openRedisStore({
    ...(url === undefined ? {} : { url }),
    ...(clusterNodes.length === 0 ? {} : { clusterNodes }),
    prefix,
    log,
    commandMsMax: storeWaitMsMax,
    ...shape,
  })
}

/** Errors of a folder do not say whose setting it is. */
function inFolder<T>(opening: Promise<T>): Promise<T> {
  return opening.catch((cause: unknown) => {
    throw new Error(`DATA_DIR cannot be used: ${reasonOf(cause)}`, { cause })
  })
}

/** With what the engine said, where that is another matter than what a client is told. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error && !error.message.includes(error.cause.message)
    ? `${error.message}: ${error.cause.message}`
    : error.message
}

function registeredOperations({ graphqlOperations }: Config): Promise<ReadonlyMap<string, string>> {
  return readRegisteredOperations(graphqlOperations).catch((cause: Error) => {
    throw new Error(`GRAPHQL_OPERATIONS cannot be used: ${cause.message}`, { cause })
  })
}

function serve(
  config: Config,
  gateway: Gateway,
  telemetry: Telemetry,
  registered: ReadonlyMap<string, string>,
  log: Logger,
  now: () => number,
  isDraining: () => boolean,
): FastifyInstance {
  const { points, batchItemsMax, eventBytesMax, bodyBytesMax } = config
  const server = createServer({
    gateway,
    log,
    now,
    telemetry,
    trustProxy: config.trustProxy,
    corsOrigins: config.corsOrigins,
    isDraining,
    limits: {
      points,
      batchItemsMax,
      eventBytesMax,
      requestPointsMax: config.requestPointsMax,
      bodyBytesMax,
      bodiesBytesMax: config.bodiesBytesMax,
      bodiesBytesPerAddressMax: config.bodiesBytesPerAddressMax,
      bodyStallMs: config.bodyStallMs,
      connectionsMax: config.connectionsMax,
      readyWaitMs: READY_WAIT_MS,
    },
  })
  registerGraphQL(server, {
    gateway,
    log,
    now,
    limits: {
      points,
      batchItemsMax,
      eventBytesMax,
      bodyBytesMax,
      documentTokensMax: config.graphqlTokensMax,
      documentFieldsMax: config.graphqlFieldsMax,
      documentDepthMax: config.graphqlDepthMax,
      documentAliasesMax: config.graphqlAliasesMax,
      answerFieldsMax: config.graphqlAnswerFieldsMax,
      rootFieldsMax: config.graphqlRootFieldsMax,
      listItemsMax: config.graphqlListItemsMax,
      timeoutMs: config.graphqlTimeoutMs,
      introspection: config.graphqlIntrospection,
      queriesMax: config.graphqlQueriesMax,
      queryValuesMax: config.queryValuesMax,
      requestRollupsMax: config.queryRollupsMax,
    },
    streams: {
      keepAliveMs: config.liveKeepAliveMs,
      stallMs: config.liveStallMs,
      bufferedBytesMax: config.liveBufferedBytesMax,
    },
    persisted: { mode: config.graphqlPersisted, registered, charsMax: config.graphqlPersistedCharsMax },
  })
  return server
}
