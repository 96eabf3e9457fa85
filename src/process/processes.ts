import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import { onWorkerMessage, sendToWorker, type ToPrimary } from '../telemetry/worker-messages.ts'
import { WorkerMetrics } from '../telemetry/worker-metrics.ts'
import { listenOn } from './listen.ts'

/**
 * Runs several gateway processes on one machine behind one port. The primary process serves no requests: it starts the
 * workers, gives each new connection to one of them, replaces a worker that dies, and stops them all. Workers share
 * nothing but the store.
 */

/** A gateway that listens, in one or several processes. */
export interface Listening {
  readonly url: string
  readonly firstKey: string | undefined
  /** Stops accepting requests, and finishes the accepted ones. */
  close(): Promise<void>
}

type Listens = ToPrimary & { readonly kind: 'listens' }

/** Pause before a worker is started again. It doubles with each failure in a row. */
const PAUSE_MS_MIN = 100
const PAUSE_MS_MAX = 10_000
/** After a worker that ran for at least this time, its replacement gets the shortest pause. */
const STEADY_MS = 60_000

/** Whether this process is a worker that `startProcesses` of a primary process started. */
export function isWorker(): boolean {
  return cluster.isWorker
}

/**
 * Starts this program once for each configured process. Rejects with the reason of the first worker that cannot start.
 * Later, calls `ended` if no worker is left and no new one can start.
 */
export async function startProcesses(
  config: Config,
  log: Logger,
  ended: (error: Error) => void,
  now: () => number = Date.now,
): Promise<Listening> {
  // The primary process chooses the port, because a replacement needs the same one.
  const workers = new Workers(await choosePort(config.http), log, ended, now)
  try {
    // The first worker starts alone, because it creates the store and the first key.
    const { url, firstKey } = await workers.start()
    await Promise.all(Array.from({ length: config.process.processes - 1 }, () => workers.start()))
    return { url, firstKey, close: () => workers.close() }
  } catch (error) {
    await workers.close().catch(() => undefined)
    throw error
  }
}

async function choosePort(http: Config['http']): Promise<number> {
  const server = createServer()
  await listenOn(http, async (port) => {
    server.listen({ host: http.host, port })
    await once(server, 'listening')
  })
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

class Workers {
  readonly #port: number
  readonly #log: Logger
  readonly #ended: (error: Error) => void
  readonly #now: () => number
  /** The running workers, each with a promise of its exit. */
  readonly #exits = new Map<Worker, Promise<Exit>>()
  readonly #metrics = new WorkerMetrics<Worker>((worker) => sendToWorker(worker, { kind: 'readOwn' }))
  readonly #pauses = new Set<NodeJS.Timeout>()
  #isClosing = false

  constructor(port: number, log: Logger, ended: (error: Error) => void, now: () => number) {
    this.#port = port
    this.#log = log
    this.#ended = ended
    this.#now = now
  }

  /** Starts a worker. Resolves when the worker listens; from then on it is replaced when it dies. */
  async start(failures = 0): Promise<Listens> {
    const worker = cluster.fork({ PORT: String(this.#port) })
    const { pid } = worker.process
    let outcome: Listens | { readonly kind: 'failed'; readonly reason: string } | undefined
    const started = new Promise<void>((resolve) => {
      onWorkerMessage(worker, (message) => {
        if (message.kind === 'readAll') this.#sendMetrics(worker)
        else if (message.kind === 'own') this.#metrics.received(worker, message.families)
        else {
          outcome = message
          if (message.kind === 'listens') this.#metrics.add(worker)
          resolve()
        }
      })
    })
    const exit = this.#watch(worker)
    await Promise.race([started, exit])
    if (outcome?.kind !== 'listens') {
      const { text } = await exit
      throw new Error(outcome?.reason ?? `a process ${text} before it listened`)
    }
    this.#log.info({ process: pid }, 'a process listens')
    const startedMs = this.#now()
    void exit.then(({ text }) => {
      if (this.#isClosing) return
      this.#log.warn({ process: pid }, `a process ${text}; starting another one`)
      this.#startLater(this.#now() - startedMs >= STEADY_MS ? 0 : failures)
    })
    return outcome
  }

  async close(): Promise<void> {
    this.#isClosing = true
    for (const pause of this.#pauses) clearTimeout(pause)
    for (const worker of this.#exits.keys()) worker.process.kill('SIGTERM')
    const exits = await Promise.all(this.#exits.values())
    const unclean = exits.find(({ isClean }) => !isClean)
    if (unclean !== undefined) throw new Error(`a process ${unclean.text} during shutdown`)
  }

  #watch(worker: Worker): Promise<Exit> {
    const exit = exitOf(worker)
    this.#exits.set(worker, exit)
    return exit.then((ended) => {
      this.#exits.delete(worker)
      this.#metrics.remove(worker)
      return ended
    })
  }

  #sendMetrics(worker: Worker): void {
    this.#metrics.read().then(
      (text) => sendToWorker(worker, { kind: 'all', text }),
      (err: unknown) => this.#log.error({ err }, 'could not read the metrics of the processes'),
    )
  }

  #startLater(failures: number): void {
    const pause = setTimeout(
      () => {
        this.#pauses.delete(pause)
        this.start(failures + 1).catch((error: Error) => {
          if (this.#isClosing) return
          if (this.#exits.size === 0) return this.#ended(error)
          this.#log.warn({ reason: error.message }, 'a process could not start; trying again')
          this.#startLater(failures + 1)
        })
      },
      Math.min(PAUSE_MS_MIN * 2 ** failures, PAUSE_MS_MAX),
    )
    this.#pauses.add(pause)
  }
}

interface Exit {
  /** Whether the worker exited with code 0 or by SIGTERM. */
  readonly isClean: boolean
  /** Text for log lines and errors, such as `exited with 1`. */
  readonly text: string
}

async function exitOf(worker: Worker): Promise<Exit> {
  const exit = await new Promise<Exit>((resolve) => {
    worker.once('exit', (code: number | null, signal: NodeJS.Signals | null) => {
      const isClean = code === 0 || signal === 'SIGTERM'
      resolve({ isClean, text: signal === null ? `exited with ${code}` : `was ended by ${signal}` })
    })
    worker.once('error', (error) => resolve({ isClean: false, text: `failed (${error.message})` }))
  })
  // The last messages of a worker may arrive after its exit.
  if (worker.isConnected()) await once(worker, 'disconnect')
  return exit
}
