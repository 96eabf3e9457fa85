import type { Store } from '../../store/store.ts'
import { FoldGroup, type FoldLoopSettings, type FoldTotals, isWithin } from './fold-group.ts'
import type { SetAside } from './fold-step.ts'

export type { FoldLoopSettings, FoldTotals } from './fold-group.ts'

export interface FoldLoopLog {
  error(details: object, message: string): void
}

const TICK_MS = 1_000
const SWEEP_PAUSE_MS = 15_000

/**
 * The work behind the write path. It runs between requests and never holds them up; when it fails, ingest goes on and the failure
 * is logged and counted. Partitions that no server joins are worked on side by side (`fold-group.ts`).
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
  readonly #groups: readonly FoldGroup[]
  /** By partition. */
  readonly #groupOf: readonly FoldGroup[]
  #timer: NodeJS.Timeout | undefined
  #sweeping: Promise<void> | undefined
  #sweptMs = 0
  #stopped = false

  constructor(store: Store, settings: FoldLoopSettings, log: FoldLoopLog, now: () => number) {
    this.#store = store
    this.#log = log
    this.#now = now
    const failed = (partition: number, err: unknown): void => {
      this.totals.failures++
      this.#log.error({ err, partition }, 'fold failed; it is tried again')
    }
    const setAside = (partition: number, { rows, blocks, causes }: SetAside): void => {
      const message = 'what cannot be read or written is left out of the fold for good'
      this.#log.error({ err: causes[0], partition, rows, blocks }, message)
    }
    const context = { store, settings, totals: this.totals, now, failed, setAside }
    const groupOf: FoldGroup[] = []
    this.#groups = store.groups.map((partitions) => {
      const group = new FoldGroup(context, partitions)
      for (const partition of partitions) groupOf[partition] = group
      return group
    })
    this.#groupOf = groupOf
  }

  /** Learns what an earlier process left behind and begins to work. */
  async start(): Promise<void> {
    await Promise.all(this.#groups.map((group) => group.learn()))
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
    this.#timer.unref()
  }

  /** How long the oldest entry of an inbox has waited, as far as is known here. */
  get waitedMs(): number {
    return Math.max(0, ...this.#groups.map((group) => group.waitedMs))
  }

  /** Called after each commit. */
  noteCommit(partition: number, bytes: number): void {
    this.#groupOf[partition]!.noteCommit(partition, bytes)
  }

  /** Leaves the inboxes alone until then: for tests and benchmarks of a full inbox. */
  hold(untilMs: number): void {
    for (const group of this.#groups) group.hold(untilMs)
  }

  /** Folds until every inbox is empty and every pile is merged, but for what another gateway is folding. */
  async drain(): Promise<void> {
    await Promise.all(this.#groups.map((group) => group.drain()))
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearInterval(this.#timer)
    await Promise.all([...this.#groups.map((group) => group.stop()), this.#sweeping])
  }

  #tick(): void {
    for (const group of this.#groups) group.wake()
    const nowMs = this.#now()
    if (this.#sweeping !== undefined || isWithin(SWEEP_PAUSE_MS, this.#sweptMs, nowMs)) return
    this.#sweptMs = nowMs
    this.#sweeping = this.#store
      .sweep(nowMs)
      .catch((err: unknown) => {
        if (this.#stopped) return
        this.totals.failures++
        this.#log.error({ err }, 'what is over could not be let go; it is tried again')
      })
      .finally(() => {
        this.#sweeping = undefined
      })
  }
}
