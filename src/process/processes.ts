import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import { hearStarted, type ToStarter, tellStarted } from '../telemetry/process-messages.ts'
import { ProcessMetrics } from '../telemetry/process-metrics.ts'
import { listenOn } from './listen.ts'

/**
 * Several processes of the gateway on one machine behind one port. The first process serves nobody: it starts the others, hands
 * them connections in turn, starts a new one when one dies, and stops them all. They share nothing but the store.
 */

/** A gateway that listens, in this process or in several. */
export interface Listening {
  readonly url: string
  readonly firstKey: string | undefined
  /** Stops accepting, answers what was accepted. */
  close(): Promise<void>
}

type Listens = ToStarter & { readonly kind: 'listens' }

/** How long to wait before a process is started again: doubled with each failure in a row. */
const PAUSE_MS_MIN = 100
const PAUSE_MS_MAX = 10_000
/** A process that served for so long has not failed at its start: the next one is started soon again. */
const STEADY_MS = 60_000

/** Whether this process was started by `startProcesses` of another one. */
export function isStarted(): boolean {
  return cluster.isWorker
}

/**
 * Starts this program `config.processes` times. Rejects with the reason of the first that cannot start; `ended` hears when
 * later none is left and no new one can start.
 */
export async function startProcesses(
  config: Config,
  log: Logger,
  ended: (error: Error) => void,
  now: () => number = Date.now,
): Promise<Listening> {
  // A new process must find the port that the others had.
  const group = new ProcessGroup(await choosePort(config), log, ended, now)
  try {
    // The first one alone: it makes the store and the first key.
    const { url, firstKey } = await group.start()
    await Promise.all(Array.from({ length: config.processes - 1 }, () => group.start()))
    return { url, firstKey, close: () => group.close() }
  } catch (error) {
    await group.close().catch(() => undefined)
    throw error
  }
}

async function choosePort(config: Config): Promise<number> {
  const server = createServer()
  await listenOn(config, async (port) => {
    server.listen({ host: config.host, port })
    await once(server, 'listening')
  })
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

class ProcessGroup {
  readonly #port: number
  readonly #log: Logger
  readonly #ended: (error: Error) => void
  readonly #now: () => number
  /** Those that live, and when each has gone and how. */
  readonly #gone = new Map<Worker, Promise<Exit>>()
  readonly #metrics = new ProcessMetrics<Worker>((worker) => tellStarted(worker, { kind: 'readOwn' }))
  readonly #pauses = new Set<NodeJS.Timeout>()
  #isClosing = false

  constructor(port: number, log: Logger, ended: (error: Error) => void, now: () => number) {
    this.#port = port
    this.#log = log
    this.#ended = ended
    this.#now = now
  }

  /** Resolves when the new process listens; from then on it is replaced when it dies. */
  async start(failures = 0): Promise<Listens> {
    const worker = cluster.fork({ PORT: String(this.#port) })
    const { pid } = worker.process
    let news: Listens | { readonly kind: 'failed'; readonly reason: string } | undefined
    const told = new Promise<void>((resolve) => {
      hearStarted(worker, (message) => {
        if (message.kind === 'readAll') this.#readMetrics(worker)
        else if (message.kind === 'own') this.#metrics.heard(worker, message.families)
        else {
          news = message
          if (message.kind === 'listens') this.#metrics.joined(worker)
          resolve()
        }
      })
    })
    const gone = exitOf(worker)
    this.#gone.set(worker, gone)
    const exit = gone.then((how) => {
      this.#gone.delete(worker)
      this.#metrics.left(worker)
      return how
    })
    await Promise.race([told, exit])
    if (news?.kind !== 'listens') {
      const { text } = await exit
      throw new Error(news?.reason ?? `a process ${text} before it listened`)
    }
    this.#log.info({ process: pid }, 'a process listens')
    const sinceMs = this.#now()
    void exit.then(({ text }) => {
      if (this.#isClosing) return
      this.#log.warn({ process: pid }, `a process ${text}; another one is started`)
      this.#startLater(this.#now() - sinceMs >= STEADY_MS ? 0 : failures)
    })
    return news
  }

  async close(): Promise<void> {
    this.#isClosing = true
    for (const pause of this.#pauses) clearTimeout(pause)
    for (const worker of this.#gone.keys()) worker.process.kill('SIGTERM')
    const exits = await Promise.all(this.#gone.values())
    const unclean = exits.find(({ isClean }) => !isClean)
    if (unclean !== undefined) throw new Error(`a process ${unclean.text} while it was to stop`)
  }

  #readMetrics(worker: Worker): void {
    this.#metrics.read().then(
      (text) => tellStarted(worker, { kind: 'all', text }),
      (err: unknown) => this.#log.error({ err }, 'the metrics of the processes could not be read'),
    )
  }

  #startLater(failures: number): void {
    const pause = setTimeout(
      () => {
        this.#pauses.delete(pause)
        this.start(failures + 1).catch((error: Error) => {
          if (this.#isClosing) return
          if (this.#gone.size === 0) return this.#ended(error)
          this.#log.warn({ reason: error.message }, 'a process could not start; it is tried again')
          this.#startLater(failures + 1)
        })
      },
      Math.min(PAUSE_MS_MIN * 2 ** failures, PAUSE_MS_MAX),
    )
    this.#pauses.add(pause)
  }
}

interface Exit {
  /** By itself with 0, or by the signal that asks one to stop. */
  readonly isClean: boolean
  /** For people: what became of it. */
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
  // Its last words may still be on their way.
  if (worker.isConnected()) await once(worker, 'disconnect')
  return exit
}
