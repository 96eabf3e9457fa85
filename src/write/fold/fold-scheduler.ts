import { setTimeout as pause } from 'node:timers/promises'
import { Pacer } from '../../model/pacer.ts'
import { isRecent } from '../../model/time.ts'
import { BlockError } from '../../rollup/block/block.ts'
import type { Store } from '../../store/store.ts'
import { type FoldSettings, foldInbox } from './fold.ts'
import type { Omitted } from './fold-step.ts'
import { FoldLeases } from './leases.ts'
import { mergeWindow, RUNS_PER_TIER } from './merge-window.ts'
import { type OpenWindow, OpenWindows } from './open-windows.ts'
import { clearDeleted, expireDue, expireEvents } from './retention.ts'

export interface FoldLoopSettings extends FoldSettings {
  /** A partition is folded when its inbox holds this many bytes, */
  readonly inboxBytesMax: number
  /** or when the oldest entry of its inbox is this old. */
  readonly inboxAgeMsMax: number
  /** How long events are kept after their commit. */
  readonly eventsKeptMs: number
}

/** Totals since the start of the gateway, for its own metrics and for benchmarks. */
export interface FoldTotals {
  steps: number
  /** Maximum of one step: rollups read, and windows of all resolutions written. */
  stepRowsMax: number
  stepWindowsMax: number
  entries: number
  inboxBytes: number
  bytesWritten: number
  merges: number
  seals: number
  expired: number
  failures: number
  /**
   * Data that folds omitted because it cannot be read or written: the number of rollups, and the number of blocks whose
   * rollups could not be counted.
   */
  rowsSetAside: number
  blocksSetAside: number
}

export interface FoldContext {
  readonly store: Store
  readonly settings: FoldLoopSettings
  readonly totals: FoldTotals
  readonly now: () => number
  /** Called when the work on a partition failed. The scheduler retries it after a pause. */
  onFailure(partition: number, cause: unknown): void
  /** Called when a fold omitted data from the timelines permanently. */
  onOmitted(partition: number, omitted: Omitted): void
}

/** How long a partition is skipped when another gateway folds it, and after a failure. */
const LEASED_PAUSE_MS = 1_000
const FAILURE_PAUSE_MS = 5_000
const ROOM_PAUSE_MS = 10
const RETENTION_PAUSE_MS = 10_000
/**
 * Interval between two reads of an inbox's size from the store. Another gateway may append to the inbox and crash
 * before it folds it.
 */
const SIZE_PAUSE_MS = 10_000
/** Minimum number of merges in each run. After that, an inbox that is due interrupts merging. */
const MERGES_MIN = 16
/**
 * Maximum number of windows of each partition that are loaded at the start, in one call to the store. The windows that
 * expire first are loaded.
 */
const LOADED_WINDOWS_MAX = 10_000

interface Inbox {
  bytes: number
  /** When the oldest entry not yet folded arrived; undefined: the inbox is empty. */
  sinceMs: number | undefined
  /** The partition is skipped until this pause is over. */
  pause: Pause | undefined
  sizeReadMs: number
  retentionMs: number
}

interface Pause {
  readonly startedMs: number
  readonly lengthMs: number
}

/**
 * Decides when the inboxes of one group of partitions (`Store.groups`) are folded, and does the background work on
 * these partitions in bounded steps: folds inboxes that are full or old, merges runs that have piled up, seals windows
 * that have ended, and expires old windows. A partition whose work failed is skipped for a while; the other partitions
 * continue.
 */
export class FoldScheduler {
  readonly #context: FoldContext
  readonly #inboxes: ReadonlyMap<number, Inbox>
  readonly #windows = new OpenWindows()
  readonly #leases: FoldLeases
  #working: Promise<void> | undefined
  #isStopped = false
  #heldUntilMs = 0

  constructor(context: FoldContext, partitions: readonly number[]) {
    const { store, now } = context
    this.#context = context
    this.#leases = new FoldLeases(store, now)
    this.#inboxes = new Map(
      partitions.map((partition) => [
        partition,
        { bytes: 0, sinceMs: undefined, pause: undefined, sizeReadMs: 0, retentionMs: 0 },
      ]),
    )
  }

  /** Loads the inbox sizes and open windows that an earlier process left. */
  async load(): Promise<void> {
    const { store, settings, now } = this.#context
    const nowMs = now()
    for (const [partition, inbox] of this.#inboxes) {
      const { bytes, entries } = await store.inboxSize(partition)
      inbox.bytes = bytes
      if (entries > 0) inbox.sinceMs = nowMs - settings.inboxAgeMsMax
      const listed = await store.dueWindows(partition, Number.MAX_SAFE_INTEGER, LOADED_WINDOWS_MAX)
      for (const window of listed) this.#windows.touch(partition, window, RUNS_PER_TIER - 1, now())
      await new Promise(setImmediate)
    }
  }

  /** Age of the oldest unfolded inbox entry that this gateway knows of; 0 if it knows of none. */
  get waitedMs(): number {
    const nowMs = this.#context.now()
    let waitedMs = 0
    // `drain` sets `sinceMs` to -Infinity, which is not an age.
    for (const { sinceMs = nowMs } of this.#inboxes.values())
      if (Number.isFinite(sinceMs)) waitedMs = Math.max(waitedMs, nowMs - sinceMs)
    return waitedMs
  }

  noteCommit(partition: number, bytes: number): void {
    const inbox = this.#inboxes.get(partition)!
    inbox.bytes += bytes
    inbox.sinceMs ??= this.#context.now()
    if (inbox.bytes >= this.#context.settings.inboxBytesMax) this.wake()
  }

  hold(untilMs: number): void {
    this.#heldUntilMs = untilMs
  }

  async drain(): Promise<void> {
    while (this.#working !== undefined) await this.#working
    for (const inbox of this.#inboxes.values()) {
      if (inbox.sinceMs !== undefined) inbox.sinceMs = Number.NEGATIVE_INFINITY
    }
    this.wake()
    while (this.#working !== undefined) await this.#working
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#working
  }

  wake(): void {
    if (this.#working !== undefined || this.#isStopped) return
    this.#working = this.#work().finally(() => {
      this.#working = undefined
    })
  }

  async #work(): Promise<void> {
    for (const partition of this.#inboxes.keys()) await this.#attempt(partition, () => this.#readSize(partition))
    for (const partition of this.#inboxes.keys()) await this.#attempt(partition, () => this.#foldDue(partition))
    await this.#mergeWindows()
    for (const partition of this.#inboxes.keys()) await this.#attempt(partition, () => this.#expire(partition))
    await this.#leases.release()
  }

  /** Runs some work on a partition. Returns undefined when the partition is paused, or when the work failed. */
  async #attempt<T>(partition: number, work: () => Promise<T>): Promise<T | undefined> {
    const { now, onFailure } = this.#context
    const inbox = this.#inboxes.get(partition)!
    await this.#untilRoom()
    if (this.#isStopped || this.#isPaused(inbox)) return undefined
    try {
      return await work()
    } catch (cause) {
      inbox.pause = { startedMs: now(), lengthMs: FAILURE_PAUSE_MS }
      if (!this.#isStopped) onFailure(partition, cause)
      return undefined
    }
  }

  /** Waits while the store is behind with writing: requests come first. */
  async #untilRoom(): Promise<void> {
    while (!this.#context.store.hasRoom && !this.#isStopped) await pause(ROOM_PAUSE_MS)
  }

  #isPaused({ pause }: Inbox): boolean {
    return pause !== undefined && isRecent(pause.lengthMs, pause.startedMs, this.#context.now())
  }

  async #readSize(partition: number): Promise<void> {
    const { store, now } = this.#context
    const inbox = this.#inboxes.get(partition)!
    const nowMs = now()
    if (isRecent(SIZE_PAUSE_MS, inbox.sizeReadMs, nowMs)) return
    inbox.sizeReadMs = nowMs
    const { bytes, entries } = await store.inboxSize(partition)
    inbox.bytes = bytes
    if (entries > 0) inbox.sinceMs ??= nowMs
  }

  async #foldDue(partition: number): Promise<void> {
    while (this.#isDue(partition) && !this.#isStopped) {
      if (!(await this.#takeLease(partition))) return
      // Nothing was folded: another fold was faster, or a window expired meanwhile. The next run continues.
      if (!(await this.#fold(partition))) return
      await new Promise(setImmediate)
      await this.#untilRoom()
    }
  }

  async #takeLease(partition: number): Promise<boolean> {
    if (await this.#leases.hold(partition)) return true
    this.#inboxes.get(partition)!.pause = { startedMs: this.#context.now(), lengthMs: LEASED_PAUSE_MS }
    return false
  }

  #isDue(partition: number): boolean {
    const { inboxBytesMax, inboxAgeMsMax } = this.#context.settings
    const inbox = this.#inboxes.get(partition)!
    const { bytes, sinceMs } = inbox
    const nowMs = this.#context.now()
    if (sinceMs === undefined || nowMs < this.#heldUntilMs || this.#isPaused(inbox)) return false
    // The clock was set back: the age starts again, else the inbox would wait too long.
    if (nowMs < sinceMs) inbox.sinceMs = nowMs
    return bytes >= inboxBytesMax || nowMs - sinceMs >= inboxAgeMsMax
  }

  /** Runs one fold step. Returns whether it folded anything. */
  async #fold(partition: number): Promise<boolean> {
    const { store, settings, totals, now, onOmitted } = this.#context
    const inbox = this.#inboxes.get(partition)!
    const step = await foldInbox(store, partition, settings, now())
    if (step !== undefined) {
      totals.steps++
      totals.stepRowsMax = Math.max(totals.stepRowsMax, step.rows)
      totals.stepWindowsMax = Math.max(totals.stepWindowsMax, step.windows)
      totals.entries += step.entries
      totals.inboxBytes += step.bytes
      totals.bytesWritten += step.bytesWritten
      for (const window of step.touched) this.#windows.touch(partition, window, 1, now())
      const { rows, blocks } = step.omitted
      totals.rowsSetAside += rows
      totals.blocksSetAside += blocks
      if (rows + blocks > 0) onOmitted(partition, step.omitted)
    }
    const left = await store.inboxSize(partition)
    inbox.bytes = left.bytes
    if (left.entries === 0) inbox.sinceMs = undefined
    // Entries that arrived during the step are folded at `inboxAgeMsMax`, or earlier at `inboxBytesMax`.
    else if (
      step?.hasMore === false &&
      inbox.sinceMs !== Number.NEGATIVE_INFINITY &&
      left.bytes < settings.inboxBytesMax
    ) {
      inbox.sinceMs = now()
    }
    return step !== undefined
  }

  /** Merges piles of runs, then seals windows that have ended, until an inbox is due. */
  async #mergeWindows(): Promise<void> {
    let steps = 0
    const pacer = new Pacer()
    for (const open of this.#windows.withPiles()) {
      await pacer.pause()
      // A merge adds a run to the next tier, which may then have enough runs to be merged too.
      let isMerged: boolean | undefined
      while ((isMerged = await this.#merge(open, false))) if (this.#mustFold(++steps)) return
      if (isMerged === false) open.folds = 0
      if (this.#mustFold(steps)) return
    }
    for (const open of this.#windows.ended(this.#context.now)) {
      await pacer.pause()
      if ((await this.#merge(open, true)) === undefined) continue
      this.#windows.delete(open)
      if (this.#mustFold(++steps)) return
    }
  }

  /**
   * Merges one window. Returns whether there was anything to merge; undefined if the partition is paused, leased to
   * another gateway, or failed.
   */
  #merge({ partition, window }: OpenWindow, whole: boolean): Promise<boolean | undefined> {
    const { store, settings, totals, now, onFailure } = this.#context
    return this.#attempt(partition, async () => {
      if (!(await this.#takeLease(partition))) return undefined
      const isCoarse = window.resolutionMs > settings.resolutions[0]!.stepMs
      const step = await mergeWindow(store, partition, window, { whole, isCoarse, nowMs: now() }).catch(
        (cause: unknown) => {
          if (!(cause instanceof BlockError || cause instanceof RangeError)) throw cause
          // The window stays as it is until more folds add to it; the other windows are merged.
          onFailure(partition, cause)
          return undefined
        },
      )
      if (step === undefined) return false
      totals.bytesWritten += step.bytesWritten
      if (whole) totals.seals++
      else totals.merges++
      await new Promise(setImmediate)
      return true
    })
  }

  /**
   * Returns whether merging must stop, because an inbox is due or the scheduler stops. An inbox does not interrupt the
   * first `MERGES_MIN` merges of a run; otherwise runs would pile up under constant load.
   */
  #mustFold(steps: number): boolean {
    if (this.#isStopped) return true
    return steps >= MERGES_MIN && [...this.#inboxes.keys()].some((partition) => this.#isDue(partition))
  }

  async #expire(partition: number): Promise<void> {
    const { store, settings, totals, now } = this.#context
    const inbox = this.#inboxes.get(partition)!
    const nowMs = now()
    if (isRecent(RETENTION_PAUSE_MS, inbox.retentionMs, nowMs)) return
    inbox.retentionMs = nowMs
    totals.expired += await expireDue(store, partition, settings, nowMs)
    const mustStop = (): boolean => this.#mustFold(MERGES_MIN)
    await clearDeleted(store, partition, nowMs, mustStop)
    await expireEvents(store, partition, nowMs - settings.eventsKeptMs, mustStop)
  }
}
