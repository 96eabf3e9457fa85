import { formatId } from '../model/id.ts'
import { type Store, type WindowKey, type WindowTouch, windowWidthMs } from '../store/store.ts'
import { type FoldSettings, foldInbox } from './fold.ts'
import { mergeWindow, RUNS_PER_TIER } from './merge-window.ts'
import { expireDue } from './retention.ts'

export interface FoldLoopSettings extends FoldSettings {
  /** A partition is folded when its inbox holds this much … */
  readonly inboxBytesMax: number
  /** … or when its oldest entry is this old. */
  readonly inboxAgeMsMax: number
}

export interface FoldLoopLog {
  error(details: object, message: string): void
}

/** What the loop has done since it started, for the gateway's own metrics and for benchmarks. */
export interface FoldTotals {
  steps: number
  entries: number
  inboxBytes: number
  bytesWritten: number
  merges: number
  seals: number
  expired: number
  failures: number
}

const TICK_MS = 1_000
const RETENTION_PAUSE_MS = 10_000
/** Merges between two looks at inboxes that are due. */
const MERGES_PER_TURN = 16
/** How often the inboxes are asked for their size: other gateways may fill them, and die before they fold. */
const LOOK_PAUSE_MS = 10_000
const SWEEP_PAUSE_MS = 15_000
const FAILURE_PAUSE_MS = 5_000
/** Windows whose runs are being counted. Beyond it the longest untouched is forgotten: it stays as it is, merged less well. */
const WINDOWS_MAX = 100_000
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
}

/**
 * The work behind the write path, one bounded step at a time: folds inboxes that are full or old, merges runs that
 * have piled up, seals windows that are over, lets windows expire. It runs between requests and never holds them up; when it
 * fails, ingest goes on and the failure is logged and counted.
 */
export class FoldLoop {
  readonly totals: FoldTotals = {
    steps: 0,
    entries: 0,
    inboxBytes: 0,
    bytesWritten: 0,
    merges: 0,
    seals: 0,
    expired: 0,
    failures: 0,
  }
  readonly #store: Store
  readonly #settings: FoldLoopSettings
  readonly #log: FoldLoopLog
  readonly #now: () => number
  readonly #inboxes: Inbox[]
  readonly #windows = new Map<string, OpenWindow>()
  #timer: NodeJS.Timeout | undefined
  #working: Promise<void> | undefined
  #stopped = false
  #heldUntilMs = 0
  #lookedMs = 0
  #retentionMs = 0
  #sweepMs = 0
  #failedMs = Number.NEGATIVE_INFINITY

  constructor(store: Store, settings: FoldLoopSettings, log: FoldLoopLog, now: () => number) {
    this.#store = store
    this.#settings = settings
    this.#log = log
    this.#now = now
    this.#inboxes = Array.from({ length: store.partitions }, () => ({ bytes: 0, sinceMs: undefined }))
  }

  /** Learns what an earlier process left behind and begins to work. */
  async start(): Promise<void> {
    const nowMs = this.#now()
    for (const [partition, inbox] of this.#inboxes.entries()) {
      const { bytes, entries } = await this.#store.inboxSize(partition)
      inbox.bytes = bytes
      if (entries > 0) inbox.sinceMs = nowMs - this.#settings.inboxAgeMsMax
      const listed = await this.#store.dueWindows(partition, Number.MAX_SAFE_INTEGER, WINDOWS_MAX)
      for (const window of listed) this.#watch(partition, window, nowMs, RUNS_PER_TIER - 1)
    }
    this.#timer = setInterval(() => this.#wake(), TICK_MS)
    this.#timer.unref()
  }

  /** Called after each commit. */
  noteCommit(partition: number, bytes: number): void {
    const inbox = this.#inboxes[partition]!
    inbox.bytes += bytes
    inbox.sinceMs ??= this.#now()
    if (inbox.bytes >= this.#settings.inboxBytesMax) this.#wake()
  }

  /** Leaves the inboxes alone until then: for tests and benchmarks of a full inbox. */
  hold(untilMs: number): void {
    this.#heldUntilMs = untilMs
  }

  /** Folds until every inbox is empty and every pile is merged. */
  async drain(): Promise<void> {
    while (this.#working !== undefined) await this.#working
    for (const inbox of this.#inboxes) if (inbox.sinceMs !== undefined) inbox.sinceMs = Number.NEGATIVE_INFINITY
    this.#wake()
    while (this.#working !== undefined) await this.#working
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearInterval(this.#timer)
    await this.#working
  }

  #wake(): void {
    if (this.#working !== undefined || this.#stopped || this.#now() - this.#failedMs < FAILURE_PAUSE_MS) return
    this.#working = this.#work()
      .catch((err: unknown) => {
        if (this.#stopped) return
        this.totals.failures++
        this.#failedMs = this.#now()
        this.#log.error({ err }, 'fold failed; it is tried again')
      })
      .finally(() => {
        this.#working = undefined
      })
  }

  async #work(): Promise<void> {
    await this.#look()
    for (const partition of this.#inboxes.keys()) {
      while (this.#isDue(partition) && !this.#stopped) {
        // Another fold was faster, or a window expired under this one: what is left waits for the next turn.
        if (!(await this.#fold(partition))) break
        await new Promise(setImmediate)
      }
    }
    await this.#mergeWindows()
    await this.#expire()
  }

  async #look(): Promise<void> {
    const nowMs = this.#now()
    if (nowMs - this.#lookedMs < LOOK_PAUSE_MS) return
    this.#lookedMs = nowMs
    for (const [partition, inbox] of this.#inboxes.entries()) {
      const { bytes, entries } = await this.#store.inboxSize(partition)
      inbox.bytes = bytes
      if (entries > 0) inbox.sinceMs ??= nowMs
    }
  }

  #isDue(partition: number): boolean {
    const inbox = this.#inboxes[partition]!
    const { bytes, sinceMs } = inbox
    const nowMs = this.#now()
    if (sinceMs === undefined || nowMs < this.#heldUntilMs) return false
    // A clock that was set back would keep the inbox waiting: its age begins anew.
    if (nowMs < sinceMs) inbox.sinceMs = nowMs
    return bytes >= this.#settings.inboxBytesMax || nowMs - sinceMs >= this.#settings.inboxAgeMsMax
  }

  /** Whether anything was folded. */
  async #fold(partition: number): Promise<boolean> {
    const inbox = this.#inboxes[partition]!
    const step = await foldInbox(this.#store, partition, this.#settings, this.#now())
    if (step !== undefined) {
      this.totals.steps++
      this.totals.entries += step.entries
      this.totals.inboxBytes += step.bytes
      this.totals.bytesWritten += step.bytesWritten
      for (const touch of step.touched) this.#touch(partition, touch)
    }
    const left = await this.#store.inboxSize(partition)
    inbox.bytes = left.bytes
    if (left.entries === 0) inbox.sinceMs = undefined
    // What is left arrived after the entries just folded; it is given its time unless there is much of it.
    else if (
      step !== undefined &&
      inbox.sinceMs !== Number.NEGATIVE_INFINITY &&
      left.bytes < this.#settings.inboxBytesMax
    ) {
      inbox.sinceMs = this.#now()
    }
    return step !== undefined
  }

  #touch(partition: number, window: WindowTouch): void {
    this.#watch(partition, window, this.#now(), 1)
  }

  #watch(partition: number, window: WindowKey, nowMs: number, folds: number): void {
    const key = `${formatId(window.metricId)}.${window.resolutionMs}.${window.windowMs}`
    const known = this.#windows.get(key)
    // Re-inserted, so that the map stays ordered by the last touch.
    this.#windows.delete(key)
    this.#windows.set(key, { partition, window, folds: (known?.folds ?? 0) + folds, touchedMs: nowMs })
    if (this.#windows.size > WINDOWS_MAX) {
      const oldest = this.#windows.keys().next().value
      if (oldest !== undefined) this.#windows.delete(oldest)
    }
  }

  /** Merges piles of runs, then seals what is over, for as long as no inbox has waited too long for it. */
  async #mergeWindows(): Promise<void> {
    let steps = 0
    for (const open of this.#windows.values()) {
      if (open.folds < RUNS_PER_TIER) continue
      // A merge may complete a pile of the next tier.
      while (await this.#merge(open, false)) if (this.#mustFold(++steps)) return
      open.folds = 0
      if (this.#mustFold(steps)) return
    }
    for (const [key, open] of this.#windows) {
      if (!isOver(open, this.#now())) continue
      await this.#merge(open, true)
      this.#windows.delete(key)
      if (this.#mustFold(++steps)) return
    }
  }

  /** Whether there was something to merge. */
  async #merge({ partition, window }: OpenWindow, whole: boolean): Promise<boolean> {
    const step = await mergeWindow(this.#store, partition, window, { whole, nowMs: this.#now() })
    if (step === undefined) return false
    this.totals.bytesWritten += step.bytesWritten
    if (whole) this.totals.seals++
    else this.totals.merges++
    await new Promise(setImmediate)
    return true
  }

  /** Whether merging has to stop. A few merges are done in any case, or runs would pile up under constant load. */
  #mustFold(steps: number): boolean {
    if (this.#stopped) return true
    return steps >= MERGES_PER_TURN && [...this.#inboxes.keys()].some((partition) => this.#isDue(partition))
  }

  async #expire(): Promise<void> {
    const nowMs = this.#now()
    if (nowMs - this.#retentionMs >= RETENTION_PAUSE_MS) {
      this.#retentionMs = nowMs
      for (const partition of this.#inboxes.keys()) {
        this.totals.expired += await expireDue(this.#store, partition, this.#settings, nowMs)
      }
    }
    if (nowMs - this.#sweepMs >= SWEEP_PAUSE_MS) {
      this.#sweepMs = nowMs
      await this.#store.sweep(nowMs)
    }
  }
}

function isOver({ window, touchedMs }: OpenWindow, nowMs: number): boolean {
  const widthMs = windowWidthMs(window.resolutionMs)
  const quietMs = Math.min(widthMs * SEAL_AFTER_SHARE, SEAL_AFTER_MS_MAX)
  return nowMs >= window.windowMs + widthMs + quietMs && nowMs >= touchedMs + quietMs
}
