import { isRecent } from '../../model/time.ts'
import type { Store } from '../../store/store.ts'
import { type FoldLoopSettings, FoldScheduler, type FoldTotals } from './fold-scheduler.ts'
import type { Omitted } from './fold-step.ts'

export type { FoldLoopSettings, FoldTotals } from './fold-scheduler.ts'

export interface FoldLoopLog {
  error(details: object, message: string): void
}

const TICK_MS = 1_000
const SWEEP_PAUSE_MS = 15_000

/**
 * The background work behind the write path. It runs between requests in bounded steps. When it fails, ingest goes on,
 * and the failure is logged and counted. Each group of partitions has a `FoldScheduler`; they work concurrently.
 */
export class FoldLoop {
  readonly totals: FoldTotals = {
    steps: 0,
    stepRowsMax: 0,
    stepWindowsMax: 0,
    entries: 0,
    inboxBytes: 0,
    bytesWritten: 0,
    merges: 0,
    seals: 0,
    expired: 0,
    failures: 0,
    rowsSetAside: 0,
    blocksSetAside: 0,
  }
  readonly #store: Store
  readonly #log: FoldLoopLog
  readonly #now: () => number
  readonly #schedulers: readonly FoldScheduler[]
  /** By partition. */
  readonly #schedulerOf: readonly FoldScheduler[]
  #timer: NodeJS.Timeout | undefined
  #sweeping: Promise<void> | undefined
  #sweptMs = 0
  #isStopped = false

  constructor(store: Store, settings: FoldLoopSettings, log: FoldLoopLog, now: () => number) {
    this.#store = store
    this.#log = log
    this.#now = now
    const onFailure = (partition: number, err: unknown): void => {
      this.totals.failures++
      this.#log.error({ err, partition }, 'fold failed; it will be retried')
    }
    const onOmitted = (partition: number, { rows, blocks, causes }: Omitted): void => {
      const message = 'the fold omitted data that cannot be read or written'
      this.#log.error({ err: causes[0], partition, rows, blocks }, message)
    }
    const context = { store, settings, totals: this.totals, now, onFailure, onOmitted }
    const schedulerOf: FoldScheduler[] = []
    this.#schedulers = store.groups.map((partitions) => {
      const scheduler = new FoldScheduler(context, partitions)
      for (const partition of partitions) schedulerOf[partition] = scheduler
      return scheduler
    })
    this.#schedulerOf = schedulerOf
  }

  /** Loads what an earlier process left, and starts to work. */
  async start(): Promise<void> {
    await Promise.all(this.#schedulers.map((scheduler) => scheduler.load()))
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
    this.#timer.unref()
  }

  /** How long the oldest entry of an inbox has waited, as far as this gateway knows. */
  get waitedMs(): number {
    return Math.max(0, ...this.#schedulers.map((scheduler) => scheduler.waitedMs))
  }

  /** Called after each commit. */
  noteCommit(partition: number, bytes: number): void {
    this.#schedulerOf[partition]!.noteCommit(partition, bytes)
  }

  /** Stops folding until then: for tests and benchmarks of a full inbox. */
  hold(untilMs: number): void {
    for (const scheduler of this.#schedulers) scheduler.hold(untilMs)
  }

  /** Folds until every inbox is empty and every pile is merged, except partitions that another gateway is folding. */
  async drain(): Promise<void> {
    await Promise.all(this.#schedulers.map((scheduler) => scheduler.drain()))
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    clearInterval(this.#timer)
    await Promise.all([...this.#schedulers.map((scheduler) => scheduler.stop()), this.#sweeping])
  }

  #tick(): void {
    for (const scheduler of this.#schedulers) scheduler.wake()
    const nowMs = this.#now()
    if (this.#sweeping !== undefined || isRecent(SWEEP_PAUSE_MS, this.#sweptMs, nowMs)) return
    this.#sweptMs = nowMs
    this.#sweeping = this.#store
      .sweep(nowMs)
      .catch((err: unknown) => {
        if (this.#isStopped) return
        this.totals.failures++
        this.#log.error({ err }, 'expired data could not be removed; it will be retried')
      })
      .finally(() => {
        this.#sweeping = undefined
      })
  }
}
