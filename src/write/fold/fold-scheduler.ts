import { setTimeout as pause } from 'node:timers/promises'
import { Pacer } from '../../model/pacer.ts'
import { isRecent } from '../../model/time.ts'
import { BlockError } from '../../rollup/block/block.ts'
import type { InboxSize } from '../../store/inbox-size.ts'
import type { Store } from '../../store/store.ts'
import { type FoldSettings, foldInbox } from './fold.ts'
import { type OmittedData, STEP_ENTRIES_MAX } from './fold-step.ts'
import { FoldLeases } from './leases.ts'
import { mergeWindow } from './merge-window.ts'
import { type OpenWindow, OpenWindows } from './open-windows.ts'
import { clearDeletedMetrics, expireDueWindows, expireEvents } from './remove-expired.ts'
import { RUNS_PER_MERGE } from './runs-to-merge.ts'

export interface FoldLoopSettings extends FoldSettings {
  /** A partition is folded when its inbox holds this many bytes, or as many entries as a step takes. */
  readonly inboxBytesMax: number
  /** A partition is also folded when the oldest entry of its inbox has this age. */
  readonly inboxAgeMsMax: number
  /** How long events are kept after their commit. */
  readonly eventsKeptMs: number
  /** Size of the merged blocks at which a step of a merge ends. The default is that of `mergeWindow`. */
  readonly mergeStepBytesMax?: number
}

/** Totals since the start of the process, for the gateway's own metrics, benchmarks and tests. */
export interface FoldTotals {
  /** Number of fold steps that were committed. */
  steps: number
  /** The largest number of rollups in one fold step, and of windows (of all resolutions) to which they belong. */
  largestStepRows: number
  largestStepWindows: number
  /** Number of entries, and bytes, by which fold steps made the inboxes smaller. */
  foldedEntries: number
  foldedBytes: number
  /** Bytes of the blocks that folds and merges added to timelines. */
  bytesWritten: number
  /** Number of merges of runs (without seals), and number of seals. */
  merges: number
  seals: number
  /** Number of expired windows. */
  expired: number
  /** How often the work on a partition or window, or a sweep, failed. */
  failures: number
  /**
   * Data that folds omitted because it cannot be read or written: the number of rollups, and the number of blocks that
   * cannot be opened. `rowsOmitted` does not include the rollups in these blocks.
   */
  rowsOmitted: number
  blocksOmitted: number
}

export interface FoldContext {
  readonly store: Store
  readonly settings: FoldLoopSettings
  readonly totals: FoldTotals
  readonly now: () => number
  /** Called when the work on a partition, or the merge of a window, failed. */
  onFailure(partition: number, cause: unknown): void
  /** Called when a fold omitted data from the timelines permanently. */
  onOmitted(partition: number, omitted: OmittedData): void
}

/** How long a partition is skipped because another gateway has its lease. */
const LEASE_REFUSED_PAUSE_MS = 1_000
/** How long a partition is skipped after a failure. */
const FAILURE_PAUSE_MS = 5_000
/** Time between two looks at `Store.hasRoomForLargeWrites` while it is false. */
const NO_ROOM_PAUSE_MS = 10
/** Minimum time between two removals of the expired data of a partition. */
const RETENTION_INTERVAL_MS = 10_000
/**
 * Minimum time between two reads of an inbox's size; those at the start and after each fold step do not count. The size
 * is read because another gateway may append to the inbox and crash before it has folded the new entries.
 */
const SIZE_READ_INTERVAL_MS = 10_000
/** Number of merges and seals that are done even if an inbox must be folded. After them, such an inbox interrupts. */
const UNINTERRUPTED_MERGES = 16
/**
 * Maximum number of windows of each partition that are loaded at the start, in one call to the store. If there are
 * more, those that expire first are loaded.
 */
const LOADED_WINDOWS_MAX = 10_000

interface InboxState {
  /** Number of entries in the inbox, and size of their blocks, as far as known. */
  entries: number
  bytes: number
  /**
   * Time from which the age of the inbox is counted: an estimate of the arrival of its oldest entry. Undefined: no
   * entry is known. -Infinity: the inbox must be folded now (`drain`).
   */
  oldestArrivalMs: number | undefined
  /** The partition is skipped until this pause is over. */
  pause: Pause | undefined
  /** Times at which `#readInboxSize` last read the size, and at which expired data was last removed. */
  sizeLastReadMs: number
  expiredLastRemovedMs: number
}

interface Pause {
  readonly startedMs: number
  readonly lengthMs: number
}

/**
 * Does the background work on one group of partitions (`Store.groups`), in bounded steps: folds inboxes that are full
 * or old, merges the runs of windows that have many, seals windows that have ended, and removes expired and deleted
 * data. To seal a window is to merge all of its runs into one and to compress it. A partition whose work failed is
 * skipped for a while; the work on the other partitions continues. If the data of a window cannot be merged, the
 * partition is not skipped.
 */
export class FoldScheduler {
  readonly #context: FoldContext
  readonly #inboxes: ReadonlyMap<number, InboxState>
  readonly #openWindows = new OpenWindows()
  readonly #leases: FoldLeases
  #working: Promise<void> | undefined
  #isStopped = false
  #pausedUntilMs = 0

  constructor(context: FoldContext, partitions: readonly number[]) {
    const { store, now } = context
    this.#context = context
    this.#leases = new FoldLeases(store, now)
    this.#inboxes = new Map(
      partitions.map((partition) => [
        partition,
        {
          entries: 0,
          bytes: 0,
          oldestArrivalMs: undefined,
          pause: undefined,
          sizeLastReadMs: 0,
          expiredLastRemovedMs: 0,
        },
      ]),
    )
  }

  /**
   * Loads the inbox sizes and the windows that have not expired, at most `LOADED_WINDOWS_MAX` of each partition. Each
   * window counts as open, because the list does not say which ones an earlier process has sealed.
   */
  async load(): Promise<void> {
    const { store, settings, now } = this.#context
    const nowMs = now()
    for (const [partition, inbox] of this.#inboxes) {
      const { bytes, entries } = await store.inboxSize(partition)
      inbox.entries = entries
      inbox.bytes = bytes
      if (entries > 0) inbox.oldestArrivalMs = nowMs - settings.inboxAgeMsMax
      const windows = await store.dueWindows(partition, Number.MAX_SAFE_INTEGER, LOADED_WINDOWS_MAX)
      // The next fold of such a window makes it a candidate for a merge, because it may already have many runs.
      for (const window of windows) this.#openWindows.touch(partition, window, RUNS_PER_MERGE - 1, now())
      await new Promise(setImmediate)
    }
  }

  /** Estimated age in milliseconds of the oldest unfolded inbox entry that this gateway knows of; 0 if none. */
  get oldestEntryAgeMs(): number {
    const nowMs = this.#context.now()
    let ageMs = 0
    // `drain` sets `oldestArrivalMs` to -Infinity, which is not a time. Such an inbox is left out.
    for (const { oldestArrivalMs = nowMs } of this.#inboxes.values())
      if (Number.isFinite(oldestArrivalMs)) ageMs = Math.max(ageMs, nowMs - oldestArrivalMs)
    return ageMs
  }

  /**
   * Records what a commit has added to the inbox, and starts the work if the inbox is full. A commit without blocks
   * adds nothing.
   */
  noteCommit(partition: number, added: InboxSize): void {
    if (added.entries === 0) return
    const inbox = this.#inboxes.get(partition)!
    inbox.entries += added.entries
    inbox.bytes += added.bytes
    inbox.oldestArrivalMs ??= this.#context.now()
    if (this.#isFull(inbox)) this.wake()
  }

  /** Pauses folding, but not merging and expiry, until `untilMs`. */
  pauseUntil(untilMs: number): void {
    this.#pausedUntilMs = untilMs
  }

  /** Folds all inboxes with known entries now, whatever their size and age. Resolves when the work has ended. */
  async drain(): Promise<void> {
    while (this.#working !== undefined) await this.#working
    for (const inbox of this.#inboxes.values()) {
      if (inbox.oldestArrivalMs !== undefined) inbox.oldestArrivalMs = Number.NEGATIVE_INFINITY
    }
    this.wake()
    while (this.#working !== undefined) await this.#working
  }

  /** Stops the work. Resolves when the current step has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#working
  }

  /** Starts the work, unless it is running already or the scheduler is stopped. */
  wake(): void {
    if (this.#working !== undefined || this.#isStopped) return
    this.#working = this.#work().finally(() => {
      this.#working = undefined
    })
  }

  async #work(): Promise<void> {
    for (const partition of this.#inboxes.keys())
      await this.#runUnlessPaused(partition, () => this.#readInboxSize(partition))
    for (const partition of this.#inboxes.keys())
      await this.#runUnlessPaused(partition, () => this.#foldWhileDue(partition))
    await this.#mergeWindows()
    for (const partition of this.#inboxes.keys()) await this.#runUnlessPaused(partition, () => this.#expire(partition))
    await this.#leases.releaseAll()
  }

  /**
   * Runs `work` on a partition when the store has room. Returns undefined, without an error, if the partition is
   * paused, if the scheduler is stopped, or if the work fails. After a failure, pauses the partition.
   */
  async #runUnlessPaused<T>(partition: number, work: () => Promise<T>): Promise<T | undefined> {
    const { now, onFailure } = this.#context
    const inbox = this.#inboxes.get(partition)!
    await this.#waitForRoom()
    if (this.#isStopped || this.#isPaused(inbox)) return undefined
    try {
      return await work()
    } catch (cause) {
      inbox.pause = { startedMs: now(), lengthMs: FAILURE_PAUSE_MS }
      if (!this.#isStopped) onFailure(partition, cause)
      return undefined
    }
  }

  /** Waits while the store has no room for large writes, because the writes of requests have priority. */
  async #waitForRoom(): Promise<void> {
    while (!this.#context.store.hasRoomForLargeWrites && !this.#isStopped) await pause(NO_ROOM_PAUSE_MS)
  }

  #isPaused({ pause }: InboxState): boolean {
    return pause !== undefined && isRecent(pause.lengthMs, pause.startedMs, this.#context.now())
  }

  async #readInboxSize(partition: number): Promise<void> {
    const { store, now } = this.#context
    const inbox = this.#inboxes.get(partition)!
    const nowMs = now()
    if (isRecent(SIZE_READ_INTERVAL_MS, inbox.sizeLastReadMs, nowMs)) return
    inbox.sizeLastReadMs = nowMs
    const { bytes, entries } = await store.inboxSize(partition)
    inbox.entries = entries
    inbox.bytes = bytes
    if (entries > 0) inbox.oldestArrivalMs ??= nowMs
  }

  async #foldWhileDue(partition: number): Promise<void> {
    while (this.#isFoldDue(partition) && !this.#isStopped) {
      if (!(await this.#holdLease(partition))) return
      // If nothing was folded, the inbox was empty, or the store refused the fold, for example because another fold was
      // faster or a window expired meanwhile. A later run tries again.
      if (!(await this.#foldOneStep(partition))) return
      await new Promise(setImmediate)
      await this.#waitForRoom()
    }
  }

  /**
   * Takes or keeps the lease of a partition. Pauses the partition and returns false if another gateway has the lease.
   */
  async #holdLease(partition: number): Promise<boolean> {
    if (await this.#leases.takeOrKeep(partition)) return true
    this.#inboxes.get(partition)!.pause = { startedMs: this.#context.now(), lengthMs: LEASE_REFUSED_PAUSE_MS }
    return false
  }

  #isFoldDue(partition: number): boolean {
    const { inboxAgeMsMax } = this.#context.settings
    const inbox = this.#inboxes.get(partition)!
    const { oldestArrivalMs } = inbox
    const nowMs = this.#context.now()
    if (oldestArrivalMs === undefined || nowMs < this.#pausedUntilMs || this.#isPaused(inbox)) return false
    // The clock was set back. The age starts again, because otherwise the inbox would wait too long.
    if (nowMs < oldestArrivalMs) inbox.oldestArrivalMs = nowMs
    return this.#isFull(inbox) || nowMs - oldestArrivalMs >= inboxAgeMsMax
  }

  /**
   * Whether the inbox has `inboxBytesMax` bytes, or as many entries as a fold step takes. With more entries, a step
   * would not merge more of them, but queries would have to read all that wait.
   */
  #isFull({ entries, bytes }: InboxState): boolean {
    return bytes >= this.#context.settings.inboxBytesMax || entries >= STEP_ENTRIES_MAX
  }

  /** Runs one fold step. Returns whether it folded anything. */
  async #foldOneStep(partition: number): Promise<boolean> {
    const { store, settings, totals, now, onOmitted } = this.#context
    const inbox = this.#inboxes.get(partition)!
    const step = await foldInbox(store, partition, settings, now())
    if (step !== undefined) {
      totals.steps++
      totals.largestStepRows = Math.max(totals.largestStepRows, step.rows)
      totals.largestStepWindows = Math.max(totals.largestStepWindows, step.windows)
      totals.foldedEntries += step.entries
      totals.foldedBytes += step.bytes
      totals.bytesWritten += step.bytesWritten
      for (const window of step.touchedWindows) this.#openWindows.touch(partition, window, 1, now())
      const { rows, blocks } = step.omitted
      totals.rowsOmitted += rows
      totals.blocksOmitted += blocks
      if (rows + blocks > 0) onOmitted(partition, step.omitted)
    }
    const remaining = await store.inboxSize(partition)
    inbox.entries = remaining.entries
    inbox.bytes = remaining.bytes
    if (remaining.entries === 0) inbox.oldestArrivalMs = undefined
    // The step has folded all entries that it found, so the others have arrived during the step. Their age is counted
    // from now.
    else if (step?.hasMore === false && inbox.oldestArrivalMs !== Number.NEGATIVE_INFINITY && !this.#isFull(inbox)) {
      inbox.oldestArrivalMs = now()
    }
    return step !== undefined
  }

  /**
   * Merges runs of windows that have many, then seals windows that have ended. Stops early when `#mustStopMerging`
   * returns true.
   */
  async #mergeWindows(): Promise<void> {
    let steps = 0
    const pacer = new Pacer()
    for (const open of this.#openWindows.withRunsToMerge()) {
      await pacer.pause()
      // A merge may take several steps, and adds a run to the next tier, which may then have enough runs for another.
      let isMerged: boolean | undefined
      while ((isMerged = await this.#mergeOneWindow(open, false))) if (this.#mustStopMerging(++steps)) return
      if (isMerged === false) open.foldsSinceMerge = 0
      if (this.#mustStopMerging(steps)) return
    }
    for (const open of this.#openWindows.sealable(this.#context.now)) {
      await pacer.pause()
      let isSealed: boolean | undefined
      // A large window needs several steps. The last call finds nothing to do.
      while ((isSealed = await this.#mergeOneWindow(open, true))) if (this.#mustStopMerging(++steps)) return
      if (isSealed === false) this.#openWindows.delete(open)
    }
  }

  /**
   * Takes one step of a merge of the window's runs, or of its seal. Returns true if the step was committed. Returns
   * false if there was nothing to merge, if the window changed meanwhile, or if its data is missing or cannot be
   * merged. Returns undefined if the partition is paused, if the scheduler is stopped, if another gateway has the
   * lease, or if the work failed for another reason.
   */
  #mergeOneWindow({ partition, window }: OpenWindow, isSealing: boolean): Promise<boolean | undefined> {
    const { store, settings, totals, now, onFailure } = this.#context
    return this.#runUnlessPaused(partition, async () => {
      if (!(await this.#holdLease(partition))) return undefined
      const isCoarse = window.resolutionMs > settings.resolutions[0]!.bucketWidthMs
      const stepBytesMax = settings.mergeStepBytesMax
      const options = { isSealing, isCoarse, nowMs: now(), stepBytesMax }
      const step = await mergeWindow(store, partition, window, options).catch((cause: unknown) => {
        if (!(cause instanceof BlockError || cause instanceof RangeError)) throw cause
        // Other windows are merged. This window is tried again after further folds. If a merge (not a seal) failed,
        // it is also tried again when it can be sealed.
        onFailure(partition, cause)
        return undefined
      })
      if (step === undefined) return false
      totals.bytesWritten += step.bytesWritten
      if (step.isComplete && isSealing) totals.seals++
      else if (step.isComplete) totals.merges++
      await new Promise(setImmediate)
      return true
    })
  }

  /**
   * Returns whether merging must stop after this number of steps, because the scheduler stops or an inbox must be
   * folded. An inbox does not interrupt the first `UNINTERRUPTED_MERGES` steps: otherwise, under constant load, merges
   * would not keep up with folds.
   */
  #mustStopMerging(steps: number): boolean {
    if (this.#isStopped) return true
    return steps >= UNINTERRUPTED_MERGES && [...this.#inboxes.keys()].some((partition) => this.#isFoldDue(partition))
  }

  /** Removes expired windows and events, and the data of deleted metrics, unless that was done a short time ago. */
  async #expire(partition: number): Promise<void> {
    const { store, settings, totals, now } = this.#context
    const inbox = this.#inboxes.get(partition)!
    const nowMs = now()
    if (isRecent(RETENTION_INTERVAL_MS, inbox.expiredLastRemovedMs, nowMs)) return
    inbox.expiredLastRemovedMs = nowMs
    totals.expired += await expireDueWindows(store, partition, settings, nowMs)
    const mustStop = (): boolean => this.#mustStopMerging(UNINTERRUPTED_MERGES)
    await clearDeletedMetrics(store, partition, nowMs, mustStop)
    await expireEvents(store, partition, nowMs - settings.eventsKeptMs, mustStop)
  }
}
