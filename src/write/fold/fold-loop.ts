import { isRecent } from '../../model/time.ts'
import type { InboxSize } from '../../store/inbox-size.ts'
import type { Store } from '../../store/store.ts'
import { type FoldLoopSettings, FoldScheduler, type FoldTotals } from './fold-scheduler.ts'
import type { OmittedData } from './fold-step.ts'

export type { FoldLoopSettings, FoldTotals } from './fold-scheduler.ts'

export interface FoldLoopLog {
  error(details: object, message: string): void
}

/** Interval at which the schedulers look for work. */
const TICK_INTERVAL_MS = 1_000
/** Minimum time between two calls of `Store.sweep`. */
const SWEEP_INTERVAL_MS = 15_000

/**
 * The background work on stored data, in bounded steps between requests: folds inboxes, merges the runs of windows,
 * seals windows that have ended, and removes expired and deleted data. A failure does not stop ingest: it is logged and
 * counted, and the work is retried. Each group of partitions has its own `FoldScheduler`; the schedulers run
 * concurrently.
 */
export class FoldLoop {
  readonly totals: FoldTotals = {
    steps: 0,
    largestStepRows: 0,
    largestStepWindows: 0,
    foldedEntries: 0,
    foldedBytes: 0,
    bytesWritten: 0,
    merges: 0,
    seals: 0,
    expired: 0,
    failures: 0,
    rowsOmitted: 0,
    blocksOmitted: 0,
  }
  readonly #store: Store
  readonly #log: FoldLoopLog
  readonly #now: () => number
  readonly #schedulers: readonly FoldScheduler[]
  /** The scheduler of each partition. The index is the partition. */
  readonly #schedulerByPartition: readonly FoldScheduler[]
  #timer: NodeJS.Timeout | undefined
  #sweeping: Promise<void> | undefined
  #lastSweepMs = 0
  #isStopped = false

  constructor(store: Store, settings: FoldLoopSettings, log: FoldLoopLog, now: () => number) {
    this.#store = store
    this.#log = log
    this.#now = now
    const onFailure = (partition: number, err: unknown): void => {
      this.totals.failures++
      this.#log.error({ err, partition }, 'a fold, merge or expiry failed; it will be retried')
    }
    const onOmitted = (partition: number, { rows, blocks, causes }: OmittedData): void => {
      const message = 'the fold omitted data that cannot be read or written'
      this.#log.error({ err: causes[0], partition, rows, blocks }, message)
    }
    const context = { store, settings, totals: this.totals, now, onFailure, onOmitted }
    const schedulerByPartition: FoldScheduler[] = []
    this.#schedulers = store.groups.map((partitions) => {
      const scheduler = new FoldScheduler(context, partitions)
      for (const partition of partitions) schedulerByPartition[partition] = scheduler
      return scheduler
    })
    this.#schedulerByPartition = schedulerByPartition
  }

  /** Loads the inbox sizes and the windows that have not expired, then starts the background work. */
  async start(): Promise<void> {
    await Promise.all(this.#schedulers.map((scheduler) => scheduler.load()))
    this.#timer = setInterval(() => this.#tick(), TICK_INTERVAL_MS)
    this.#timer.unref()
  }

  /** Estimated age in milliseconds of the oldest unfolded inbox entry that this gateway knows of; 0 if none. */
  get oldestEntryAgeMs(): number {
    return Math.max(0, ...this.#schedulers.map((scheduler) => scheduler.oldestEntryAgeMs))
  }

  /** The write path calls this after each stored commit. `added`: what the commit has added to the inbox. */
  noteCommit(partition: number, added: InboxSize): void {
    this.#schedulerByPartition[partition]!.noteCommit(partition, added)
  }

  /** Pauses folding until `untilMs`, so that tests can fill an inbox. */
  pauseUntil(untilMs: number): void {
    for (const scheduler of this.#schedulers) scheduler.pauseUntil(untilMs)
  }

  /**
   * Folds all inboxes with known entries now, whatever their size and age, and merges windows. Skips partitions that
   * another gateway is folding, or that are paused after a failure. Folds nothing during a pause (`pauseUntil`).
   */
  async drain(): Promise<void> {
    await Promise.all(this.#schedulers.map((scheduler) => scheduler.drain()))
  }

  /** Stops the background work. Resolves when the current steps have ended. */
  async stop(): Promise<void> {
    this.#isStopped = true
    clearInterval(this.#timer)
    await Promise.all([...this.#schedulers.map((scheduler) => scheduler.stop()), this.#sweeping])
  }

  #tick(): void {
    for (const scheduler of this.#schedulers) scheduler.wake()
    const nowMs = this.#now()
    if (this.#sweeping !== undefined || isRecent(SWEEP_INTERVAL_MS, this.#lastSweepMs, nowMs)) return
    this.#lastSweepMs = nowMs
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
