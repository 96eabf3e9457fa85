import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import { type MessageToPrimary, onWorkerMessage, sendToWorker } from '../telemetry/worker-messages.ts'
import { WorkerMetrics } from '../telemetry/worker-metrics.ts'
import { listenOnFreePort } from './listen.ts'

/**
 * Runs several gateway processes on one machine behind one port. The primary process serves no requests: it starts the
 * workers, passes each new connection to one of them, replaces a worker that dies, and stops them all. Workers share no
 * memory: what one must know of another is in the store. Only their own metrics are merged by the primary process.
 */

/** A gateway that listens, in one or several processes. */
export interface ListeningGateway {
  readonly url: string
  /** The API key that this start created, because the store had none. Otherwise undefined. */
  readonly firstKey: string | undefined
  /** Stops the gateway in all its processes, as `RunningGateway.close` describes. */
  close(): Promise<void>
}

type ListensMessage = MessageToPrimary & { readonly kind: 'listens' }

/** Pause before a dead worker is replaced. It doubles with each consecutive failure, up to the maximum. */
const RESTART_PAUSE_MS_MIN = 100
const RESTART_PAUSE_MS_MAX = 10_000
/** A worker that ran for at least this time does not count as a failure: it is replaced after the shortest pause. */
const STEADY_RUN_MS = 60_000

/** Whether this process is a worker, which a primary process has started with `startProcesses`. */
export function isWorker(): boolean {
  return cluster.isWorker
}

/**
 * Starts this program once for each configured process. Rejects if no port can be used, or with the reason of the first
 * worker that cannot start. Later, calls `onAllEnded` with the reason if a replacement cannot start and no other worker
 * is running.
 */
export async function startProcesses(
  config: Config,
  log: Logger,
  onAllEnded: (error: Error) => void,
  now: () => number = Date.now,
): Promise<ListeningGateway> {
  // The primary process chooses the port, because a replacement needs the same one.
  const workers = new WorkerPool(await choosePort(config.http), log, onAllEnded, now)
  try {
    // The first worker starts alone, because it creates the store and the first key.
    const { url, firstKey } = await workers.startWorker()
    await Promise.all(Array.from({ length: config.process.processes - 1 }, () => workers.startWorker()))
    return { url, firstKey, close: () => workers.close() }
  } catch (error) {
    await workers.close().catch(() => undefined)
    throw error
  }
}

async function choosePort(http: Config['http']): Promise<number> {
  const server = createServer()
  await listenOnFreePort(http, async (port) => {
    server.listen({ host: http.host, port })
    await once(server, 'listening')
  })
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

class WorkerPool {
  readonly #port: number
  readonly #log: Logger
  readonly #onAllEnded: (error: Error) => void
  readonly #now: () => number
  /**
   * Running workers, also those that do not listen yet. Each has a promise that resolves when the worker has exited.
   */
  readonly #exitByWorker = new Map<Worker, Promise<WorkerExit>>()
  readonly #metrics = new WorkerMetrics<Worker>((worker) => sendToWorker(worker, { kind: 'readOwn' }))
  readonly #restartTimers = new Set<NodeJS.Timeout>()
  #isClosing = false

  constructor(port: number, log: Logger, onAllEnded: (error: Error) => void, now: () => number) {
    this.#port = port
    this.#log = log
    this.#onAllEnded = onAllEnded
    this.#now = now
  }

  /**
   * Starts a worker. Resolves when the worker listens; rejects when it has exited without listening. A worker that
   * exits after it has listened is replaced, unless the pool is closing. `failureCount` is the number of consecutive
   * failures before this start.
   */
  async startWorker(failureCount = 0): Promise<ListensMessage> {
    const worker = cluster.fork({ PORT: String(this.#port) })
    const { pid } = worker.process
    let outcome: ListensMessage | { readonly kind: 'failed'; readonly reason: string } | undefined
    const started = new Promise<void>((resolve) => {
      onWorkerMessage(worker, (message) => {
        if (message.kind === 'readAll') this.#sendMetrics(worker, message.requestId)
        else if (message.kind === 'own') this.#metrics.receiveResponse(worker, message.families)
        else {
          outcome = message
          if (message.kind === 'listens') this.#metrics.addWorker(worker)
          resolve()
        }
      })
    })
    const exit = this.#watchExit(worker)
    await Promise.race([started, exit])
    if (outcome?.kind !== 'listens') {
      const { description } = await exit
      throw new Error(outcome?.reason ?? `a process ${description} before it listened`)
    }
    this.#log.info({ process: pid }, 'a process listens')
    const startedMs = this.#now()
    void exit.then(({ description }) => {
      if (this.#isClosing) return
      this.#log.warn({ process: pid }, `a process ${description}; starting another one`)
      this.#restartLater(this.#now() - startedMs >= STEADY_RUN_MS ? 0 : failureCount)
    })
    return outcome
  }

  async close(): Promise<void> {
    this.#isClosing = true
    for (const timer of this.#restartTimers) clearTimeout(timer)
    for (const worker of this.#exitByWorker.keys()) worker.process.kill('SIGTERM')
    const exits = await Promise.all(this.#exitByWorker.values())
    const uncleanExit = exits.find(({ isClean }) => !isClean)
    if (uncleanExit !== undefined) throw new Error(`a process ${uncleanExit.description} during shutdown`)
  }

  #watchExit(worker: Worker): Promise<WorkerExit> {
    const exit = exitOf(worker)
    this.#exitByWorker.set(worker, exit)
    return exit.then((workerExit) => {
      this.#exitByWorker.delete(worker)
      this.#metrics.removeWorker(worker)
      return workerExit
    })
  }

  #sendMetrics(worker: Worker, requestId: number): void {
    this.#metrics.readMetricsText().then(
      (text) => sendToWorker(worker, { kind: 'all', requestId, text }),
      (err: unknown) => this.#log.error({ err }, 'could not read the metrics of the processes'),
    )
  }

  #restartLater(failureCount: number): void {
    const timer = setTimeout(
      () => {
        this.#restartTimers.delete(timer)
        this.startWorker(failureCount + 1).catch((error: Error) => {
          if (this.#isClosing) return
          if (this.#exitByWorker.size === 0) return this.#onAllEnded(error)
          this.#log.warn({ reason: error.message }, 'a process could not start; trying again')
          this.#restartLater(failureCount + 1)
        })
      },
      Math.min(RESTART_PAUSE_MS_MIN * 2 ** failureCount, RESTART_PAUSE_MS_MAX),
    )
    this.#restartTimers.add(timer)
  }
}

interface WorkerExit {
  /** Whether the worker exited with code 0 or by SIGTERM. */
  readonly isClean: boolean
  /** Text for log lines and errors, such as `exited with 1`. */
  readonly description: string
}

async function exitOf(worker: Worker): Promise<WorkerExit> {
  const exit = await new Promise<WorkerExit>((resolve) => {
    worker.once('exit', (code: number | null, signal: NodeJS.Signals | null) => {
      const isClean = code === 0 || signal === 'SIGTERM'
      resolve({ isClean, description: signal === null ? `exited with ${code}` : `was ended by ${signal}` })
    })
    worker.once('error', (error) => resolve({ isClean: false, description: `failed (${error.message})` }))
  })
  // The last messages of a worker may arrive after its exit.
  if (worker.isConnected()) await once(worker, 'disconnect')
  return exit
}
