import { formatId } from '../../model/id.ts'
import { Pacer } from '../../model/pacer.ts'
import { BlockError } from '../../rollup/block.ts'
import { type Store, type WindowKey, windowWidthMs } from '../../store/store.ts'
import { type FoldSettings, foldInbox } from './fold.ts'
import type { SetAside } from './fold-step.ts'
import { FoldLeases } from './leases.ts'
import { mergeWindow, RUNS_PER_TIER } from './merge-window.ts'
import { clearDeleted, expireDue, expireEvents } from './retention.ts'

export interface FoldLoopSettings extends FoldSettings {
  /** A partition is folded when its inbox holds this much … */
  readonly inboxBytesMax: number
  /** … or when its oldest entry is this old. */
  readonly inboxAgeMsMax: number
  /** Events are kept for so long after their commit. */
  readonly eventsKeptMs: number
}

/** What the loop has done since it started, for the gateway's own metrics and for benchmarks. */
export interface FoldTotals {
  steps: number
  /** The most that one step took on: rollups, and windows of all resolutions. */
  stepRowsMax: number
  stepWindowsMax: number
  entries: number
  inboxBytes: number
  bytesWritten: number
  merges: number
  seals: number
  expired: number
  failures: number
  /** What folding has left out because it cannot be read or written: rollups, and blocks of which nothing is known. */
  rowsSetAside: number
  blocksSetAside: number
}

export interface FoldContext {
  readonly store: Store
  readonly settings: FoldLoopSettings
  readonly totals: FoldTotals
  readonly now: () => number
  /** A partition could not be worked on; it is tried again. */
  failed(partition: number, cause: unknown): void
  /** Something was left out for ever. */
  setAside(partition: number, what: SetAside): void
}

/** How long a partition is left alone when another gateway folds it. */
const LEASED_PAUSE_MS = 1_000
const FAILURE_PAUSE_MS = 5_000
const RETENTION_PAUSE_MS = 10_000
/** How often the inboxes are asked for their size: other gateways may fill them, and die before they fold. */
const LOOK_PAUSE_MS = 10_000
/** Merges between two looks at inboxes that are due. */
const MERGES_PER_TURN = 16
/** Windows whose runs are being counted. Beyond it the longest untouched is forgotten: it stays as it is, merged less well. */
const WINDOWS_MAX = 100_000
/** Of each partition those are learnt at the start that expire first: one call of the store. */
const LEARNT_WINDOWS_MAX = 10_000
/** A window is closed when it has ended and this share of its width has passed without a write. */
const SEAL_AFTER_SHARE = 1 / 12
const SEAL_AFTER_MS_MAX = 3_600_000

interface OpenWindow {
  readonly partition: number
  readonly window: WindowKey
  /** Folds since its runs were last looked at. */
  folds: number
  touchedMs: number
}

interface Inbox {
  bytes: number
  /** When the oldest entry not yet folded arrived; undefined: the inbox is empty. */
  sinceMs: number | undefined
  /** The partition is left alone until so long after that. */
  rest: Moment | undefined
  lookedMs: number
  retentionMs: number
}

interface Moment {
  readonly atMs: number
  readonly pauseMs: number
}

/**
 * The work on partitions that are served together (`Store.groups`), one bounded step at a time: folds inboxes that are full or old,
 * merges runs that have piled up, seals windows that are over, lets windows expire. A partition that fails is left alone
 * for a while, and the others are not.
 */
export class FoldGroup {
  readonly #context: FoldContext
  readonly #inboxes: ReadonlyMap<number, Inbox>
  readonly #windows = new Map<string, OpenWindow>()
  readonly #leases: FoldLeases
  #working: Promise<void> | undefined
  #stopped = false
  #heldUntilMs = 0

  constructor(context: FoldContext, partitions: readonly number[]) {
    const { store, now } = context
    this.#context = context
    this.#leases = new FoldLeases(store, now)
    this.#inboxes = new Map(
      partitions.map((partition) => [
        partition,
        { bytes: 0, sinceMs: undefined, rest: undefined, lookedMs: 0, retentionMs: 0 },
      ]),
    )
  }

  /** Learns what an earlier process left behind. */
  async learn(): Promise<void> {
    const { store, settings, now } = this.#context
    const nowMs = now()
    for (const [partition, inbox] of this.#inboxes) {
      const { bytes, entries } = await store.inboxSize(partition)
      inbox.bytes = bytes
      if (entries > 0) inbox.sinceMs = nowMs - settings.inboxAgeMsMax
      const listed = await store.dueWindows(partition, Number.MAX_SAFE_INTEGER, LEARNT_WINDOWS_MAX)
      for (const window of listed) this.#watch(partition, window, RUNS_PER_TIER - 1)
      await new Promise(setImmediate)
    }
  }

  /** How long the oldest entry of an inbox has waited, as far as is known here. */
  get waitedMs(): number {
    const nowMs = this.#context.now()
    let waitedMs = 0
    // That of an inbox being drained is made infinite.
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
    this.#stopped = true
    await this.#working
  }

  wake(): void {
    if (this.#working !== undefined || this.#stopped) return
    this.#working = this.#work().finally(() => {
      this.#working = undefined
    })
  }

  async #work(): Promise<void> {
    for (const partition of this.#inboxes.keys()) await this.#attempt(partition, () => this.#look(partition))
    for (const partition of this.#inboxes.keys()) await this.#attempt(partition, () => this.#foldDue(partition))
    await this.#mergeWindows()
    for (const partition of this.#inboxes.keys()) await this.#attempt(partition, () => this.#expire(partition))
    await this.#leases.release()
  }

  /** Does some work on a partition unless it is being left alone; undefined when it is, or when the work failed. */
  async #attempt<T>(partition: number, work: () => Promise<T>): Promise<T | undefined> {
    const { now, failed } = this.#context
    const inbox = this.#inboxes.get(partition)!
    if (this.#stopped || this.#rests(inbox)) return undefined
    try {
      return await work()
    } catch (cause) {
      inbox.rest = { atMs: now(), pauseMs: FAILURE_PAUSE_MS }
      if (!this.#stopped) failed(partition, cause)
      return undefined
    }
  }

  #rests({ rest }: Inbox): boolean {
    return rest !== undefined && isWithin(rest.pauseMs, rest.atMs, this.#context.now())
  }

  async #look(partition: number): Promise<void> {
    const { store, now } = this.#context
    const inbox = this.#inboxes.get(partition)!
    const nowMs = now()
    if (isWithin(LOOK_PAUSE_MS, inbox.lookedMs, nowMs)) return
    inbox.lookedMs = nowMs
    const { bytes, entries } = await store.inboxSize(partition)
    inbox.bytes = bytes
    if (entries > 0) inbox.sinceMs ??= nowMs
  }

  async #foldDue(partition: number): Promise<void> {
    while (this.#isDue(partition) && !this.#stopped) {
      if (!(await this.#mayWorkOn(partition))) return
      // Another fold was faster, or a window expired under this one: what is left waits for the next turn.
      if (!(await this.#fold(partition))) return
      await new Promise(setImmediate)
    }
  }

  async #mayWorkOn(partition: number): Promise<boolean> {
    if (await this.#leases.hold(partition)) return true
    this.#inboxes.get(partition)!.rest = { atMs: this.#context.now(), pauseMs: LEASED_PAUSE_MS }
    return false
  }

  #isDue(partition: number): boolean {
    const { inboxBytesMax, inboxAgeMsMax } = this.#context.settings
    const inbox = this.#inboxes.get(partition)!
    const { bytes, sinceMs } = inbox
    const nowMs = this.#context.now()
    if (sinceMs === undefined || nowMs < this.#heldUntilMs || this.#rests(inbox)) return false
    // A clock that was set back would keep the inbox waiting: its age begins anew.
    if (nowMs < sinceMs) inbox.sinceMs = nowMs
    return bytes >= inboxBytesMax || nowMs - sinceMs >= inboxAgeMsMax
  }

  /** Whether anything was folded. */
  async #fold(partition: number): Promise<boolean> {
    const { store, settings, totals, now, setAside } = this.#context
    const inbox = this.#inboxes.get(partition)!
    const step = await foldInbox(store, partition, settings, now())
    if (step !== undefined) {
      totals.steps++
      totals.stepRowsMax = Math.max(totals.stepRowsMax, step.rows)
      totals.stepWindowsMax = Math.max(totals.stepWindowsMax, step.windows)
      totals.entries += step.entries
      totals.inboxBytes += step.bytes
      totals.bytesWritten += step.bytesWritten
      for (const touch of step.touched) this.#watch(partition, touch, 1)
      const { rows, blocks } = step.setAside
      totals.rowsSetAside += rows
      totals.blocksSetAside += blocks
      if (rows + blocks > 0) setAside(partition, step.setAside)
    }
    const left = await store.inboxSize(partition)
    inbox.bytes = left.bytes
    if (left.entries === 0) inbox.sinceMs = undefined
    // What arrived after the step began is given its time, unless there is much of it.
    else if (
      step?.hasMore === false &&
      inbox.sinceMs !== Number.NEGATIVE_INFINITY &&
      left.bytes < settings.inboxBytesMax
    ) {
      inbox.sinceMs = now()
    }
    return step !== undefined
  }

  #watch(partition: number, window: WindowKey, folds: number): void {
    const key = `${formatId(window.metricId)}.${window.resolutionMs}.${window.windowMs}`
    const known = this.#windows.get(key)
    // Re-inserted, so that the map stays ordered by the last touch.
    this.#windows.delete(key)
    const touchedMs = this.#context.now()
    this.#windows.set(key, { partition, window, folds: (known?.folds ?? 0) + folds, touchedMs })
    if (this.#windows.size > WINDOWS_MAX) {
      const oldest = this.#windows.keys().next().value
      if (oldest !== undefined) this.#windows.delete(oldest)
    }
  }

  /** Merges piles of runs, then seals what is over, for as long as no inbox has waited too long for it. */
  async #mergeWindows(): Promise<void> {
    let steps = 0
    const pacer = new Pacer()
    for (const open of this.#windows.values()) {
      if (open.folds < RUNS_PER_TIER) continue
      await pacer.pause()
      // A merge may complete a pile of the next tier.
      let merged: boolean | undefined
      while ((merged = await this.#merge(open, false))) if (this.#mustFold(++steps)) return
      if (merged === false) open.folds = 0
      if (this.#mustFold(steps)) return
    }
    for (const [key, open] of this.#windows) {
      if (!isOver(open, this.#context.now())) continue
      await pacer.pause()
      if ((await this.#merge(open, true)) === undefined) continue
      this.#windows.delete(key)
      if (this.#mustFold(++steps)) return
    }
  }

  /** Whether there was something to merge; undefined: the partition may not be worked on now. */
  #merge({ partition, window }: OpenWindow, whole: boolean): Promise<boolean | undefined> {
    const { store, settings, totals, now, failed } = this.#context
    return this.#attempt(partition, async () => {
      if (!(await this.#mayWorkOn(partition))) return undefined
      const isCoarse = window.resolutionMs > settings.resolutions[0]!.stepMs
      const step = await mergeWindow(store, partition, window, { whole, isCoarse, nowMs: now() }).catch(
        (cause: unknown) => {
          if (!(cause instanceof BlockError || cause instanceof RangeError)) throw cause
          // It stays as it is, and the others are merged: it is looked at again when it has been written to often.
          failed(partition, cause)
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

  /** Whether merging has to stop. A few merges are done in any case, or runs would pile up under constant load. */
  #mustFold(steps: number): boolean {
    if (this.#stopped) return true
    return steps >= MERGES_PER_TURN && [...this.#inboxes.keys()].some((partition) => this.#isDue(partition))
  }

  async #expire(partition: number): Promise<void> {
    const { store, settings, totals, now } = this.#context
    const inbox = this.#inboxes.get(partition)!
    const nowMs = now()
    if (isWithin(RETENTION_PAUSE_MS, inbox.retentionMs, nowMs)) return
    inbox.retentionMs = nowMs
    totals.expired += await expireDue(store, partition, settings, nowMs)
    const mustStop = (): boolean => this.#mustFold(MERGES_PER_TURN)
    await clearDeleted(store, partition, nowMs, mustStop)
    await expireEvents(store, partition, nowMs - settings.eventsKeptMs, mustStop)
  }
}

/** Whether a pause is not over. A clock that was set back ends it. */
export function isWithin(pauseMs: number, sinceMs: number, nowMs: number): boolean {
  return nowMs >= sinceMs && nowMs - sinceMs < pauseMs
}

function isOver({ window, touchedMs }: OpenWindow, nowMs: number): boolean {
  const widthMs = windowWidthMs(window.resolutionMs)
  const quietMs = Math.min(widthMs * SEAL_AFTER_SHARE, SEAL_AFTER_MS_MAX)
  return nowMs >= window.windowMs + widthMs + quietMs && nowMs >= touchedMs + quietMs
}
