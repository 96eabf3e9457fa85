import { GatewayError } from '../../model/errors.ts'
import { formatId } from '../../model/id.ts'
import type { AppendOutcome, Commit, MetricDeletion, Store } from '../../store/store.ts'
import type { EncodedPart } from '../round/encode-round.ts'
import type { Registry } from '../round/registry.ts'
import type { CommitNumbers } from './commit-numbers.ts'
import { announcingAll, blockBytes, type RetainedCommits } from './retained-commits.ts'
import { RetainedDeletions } from './retained-deletions.ts'
import { pauseBeforeRetry, type StoreAvailability, type StoreWait } from './store-availability.ts'
import { withoutMetrics } from './without-metrics.ts'

export interface ReplaySettings {
  /** Maximum bytes of the acknowledged commits that are kept for a replay. 0: none is kept, and nothing is replayed. */
  readonly retainedBytesMax: number
  /** How long acknowledged commits are kept for a replay. */
  readonly retainedMsMax: number
  /** Pause between two checks for lost writes. */
  readonly retainedLookMs: number
}

/** Long enough for Redis, which syncs its disk once a second; a failover takes some seconds more. */
export const RETAINED_MS_MAX = 30_000
export const RETAINED_LOOK_MS = 1_000

export interface ReplayEvents {
  /** Called after each applied commit, with the bytes that it added to the inbox of the partition. */
  committed(partition: number, bytes: number): void
  /** Called when the store has lost writes: caches of its content may be wrong. */
  writesLost(): void
  /** Called with the number of acknowledged points that the store lost and that cannot be replayed. */
  pointsLost(points: number): void
  /** Called with a warning for the operator. */
  warn(message: string, details: object): void
}

export interface ReplayContext {
  readonly store: Store
  readonly settings: ReplaySettings
  readonly events: ReplayEvents
  readonly registry: Registry
  readonly numbers: CommitNumbers
  readonly retained: RetainedCommits
  readonly now: () => number
}

export interface ReplayHooks {
  /** Called when the store may have lost writes. The owner then calls `verify`. */
  onVerifyNeeded(): void
  /** Called when the store lost writes in one of the partitions of this replay. It may have lost some in the others. */
  onWritesLost(): void
}

type Conflict = Extract<AppendOutcome, { readonly status: 'conflict' }>

const WARN_PAUSE_MS = 60_000

/**
 * Detects that the store lost writes, by a gap in the commit numbers or by reading its watermarks. Replays the lost
 * commits in order, under their old numbers, before any new commit.
 */
export class Replay {
  readonly #context: ReplayContext
  readonly #availability: StoreAvailability
  readonly #hooks: ReplayHooks
  readonly #partitions: readonly number[]
  /** Partitions in which the store may have lost writes. */
  readonly #suspected = new Set<number>()
  readonly #deletions: RetainedDeletions
  #checks: NodeJS.Timeout | undefined
  #isChecking = false
  #warnedMs = Number.NEGATIVE_INFINITY
  #isClosing = false

  constructor(
    context: ReplayContext,
    partitions: readonly number[],
    availability: StoreAvailability,
    hooks: ReplayHooks,
  ) {
    this.#context = context
    this.#partitions = partitions
    this.#availability = availability
    this.#hooks = hooks
    const { store, settings, now } = context
    this.#deletions = new RetainedDeletions(store, settings.retainedMsMax, now)
  }

  /** Whether the store may have lost writes. If so, `verify` must run before the next commit. */
  get mayHaveLostWrites(): boolean {
    return this.#suspected.size > 0
  }

  /** Marks every partition with retained commits as one in which the store may have lost writes. */
  suspectLostWrites(): void {
    const newest = this.#newestByPartition()
    if (newest.length === 0 || this.#isClosing) return
    for (const [partition] of newest) this.#suspected.add(partition)
    this.#hooks.onVerifyNeeded()
  }

  /** Keeps an acknowledged commit for a replay. */
  retain(partition: number, commitNumber: number, parts: readonly EncodedPart[]): void {
    const { store, settings, events, retained, now } = this.#context
    const { retainedBytesMax, retainedMsMax } = settings
    if (!store.mayLoseWrites) return
    const nowMs = now()
    const keptMs = retained.keep(partition, commitNumber, parts, nowMs)
    const isShortened = keptMs !== undefined && keptMs < retainedMsMax && retainedBytesMax > 0
    if (isShortened && nowMs - this.#warnedMs > WARN_PAUSE_MS) {
      this.#warnedMs = nowMs
      const message = 'acknowledged commits are kept for a shorter time: they take more bytes than allowed'
      events.warn(message, { keptMs, retainedBytesMax })
    }
    if (retained.newest(partition) !== undefined) this.#startChecks()
  }

  /** Keeps an acknowledged deletion for a replay. */
  retainDeletion(deletion: MetricDeletion): void {
    if (!this.#context.store.mayLoseWrites) return
    this.#deletions.keep(deletion)
    this.#startChecks()
  }

  /** Stops the checks. Call it again after the last commit, which may start them once more. */
  close(): void {
    this.#isClosing = true
    clearInterval(this.#checks)
  }

  /**
   * Replays the commits that the store lost. `behind` gives the store's watermark for each partition. If it is unknown,
   * the newest retained commit is sent first; a `gap` outcome returns the watermark. Returns false if the store does
   * not respond, or keeps losing writes, and `mayStop()` is true.
   */
  async replay(
    behind: ReadonlyMap<number, number | undefined>,
    wait: StoreWait,
    mayStop: () => boolean,
  ): Promise<boolean> {
    const { numbers, retained, events } = this.#context
    const losses = new Set<number>()
    const nextNumbers = this.#firstNumbers(behind, losses)
    // Deletions come first: a replayed commit must not bring a deleted metric back.
    await this.#deletions.replay()
    let separately = false
    let gaps = 0
    let replayed = 0
    for (;;) {
      const commits: Commit[] = []
      for (const [partition, commitNumber] of nextNumbers) {
        const commit = retained.find(partition, commitNumber)
        if (commit === undefined) nextNumbers.delete(partition)
        else
          commits.push({ partition, writer: numbers.name(partition), commitNumber, parts: announcingAll(commit.parts) })
      }
      if (commits.length === 0) break
      const outcomes = await this.#availability.append(commits, separately, wait)
      for (const [i, outcome] of outcomes.entries())
        if (this.#handle(commits[i]!, outcome, nextNumbers, losses)) replayed++
      if (outcomes.includes(undefined)) {
        if (mayStop()) return false
        separately = true
        await pauseBeforeRetry()
      } else if (outcomes.some((outcome) => outcome?.status === 'gap') && ++gaps > 1) {
        // A second gap: the store lost writes again during the replay.
        if (mayStop()) return false
        await pauseBeforeRetry()
      }
    }
    if (replayed > 0) events.warn('the store lost commits; they were replayed', { commits: replayed })
    return true
  }

  /** Replays lost commits of the suspected partitions. If the store does not respond, the next check tries again. */
  async verify(): Promise<void> {
    const behind = new Map([...this.#suspected].map((partition) => [partition, undefined]))
    this.#suspected.clear()
    const wait = this.#availability.startWait()
    try {
      await this.replay(behind, wait, () => true)
    } catch (cause) {
      this.#context.events.warn('lost commits could not be replayed', { err: cause })
    } finally {
      wait.end()
    }
  }

  /** Drops all caches of the store's content. */
  dropCaches(): void {
    this.#context.registry.invalidate()
    this.#context.events.writesLost()
  }

  /** Returns the number of the first commit to send, for each partition that has commits to replay. */
  #firstNumbers(behind: ReadonlyMap<number, number | undefined>, losses: Set<number>): Map<number, number> {
    const { retained } = this.#context
    const firstNumbers = new Map<number, number>()
    const replayable = new Set(this.#newestByPartition().map(([partition]) => partition))
    for (const [partition, watermark] of behind) {
      if (watermark === undefined && !replayable.has(partition)) continue
      const commitNumber =
        watermark === undefined ? retained.newest(partition) : this.#firstAfter(partition, watermark, losses)
      if (commitNumber !== undefined) firstNumbers.set(partition, commitNumber)
    }
    return firstNumbers
  }

  /**
   * Handles the outcome of a replayed commit: sets the next number of its partition. Returns whether the store applied
   * it.
   */
  #handle(
    { partition, commitNumber, parts }: Commit,
    outcome: AppendOutcome | undefined,
    nextNumbers: Map<number, number>,
    losses: Set<number>,
  ): boolean {
    const { retained, events, now } = this.#context
    // No response: the commit is sent again.
    if (outcome === undefined) return false
    const { status } = outcome
    switch (status) {
      case 'gap':
        nextNumbers.set(partition, this.#firstAfter(partition, outcome.watermark, losses))
        return false
      case 'conflict':
        // The rest of the commit, without the refused metrics, is sent again.
        this.#dropConflicting(partition, commitNumber, outcome)
        return false
      case 'known':
      case 'applied':
        retained.markStored(partition, commitNumber, now())
        nextNumbers.set(partition, commitNumber + 1)
        if (status === 'known') return false
        // Without a gap: the store lost only its newest commit.
        this.#noteLoss(partition, losses)
        events.committed(
          partition,
          parts.reduce((sum, part) => sum + blockBytes(part), 0),
        )
        return true
      default:
        return status satisfies never
    }
  }

  /**
   * Called when the store's watermark shows lost writes. Returns the number of the first commit to replay. If that
   * commit is no longer retained, reports the lost points and renumbers the retained commits from 1.
   */
  #firstAfter(partition: number, watermark: number, losses: Set<number>): number {
    const { numbers, retained, events } = this.#context
    losses.delete(partition)
    this.#noteLoss(partition, losses)
    const newest = retained.newest(partition)
    if (newest !== undefined && (watermark >= newest || retained.find(partition, watermark + 1) !== undefined))
      return watermark + 1
    const { points, isAll } = retained.renumber(partition, watermark)
    numbers.rename(partition, retained.newest(partition) ?? 0)
    events.pointsLost(points)
    events.warn('the store lost commits that are not kept any more: acknowledged points are lost', {
      partition,
      points,
      atLeast: !isAll,
    })
    return 1
  }

  /**
   * Called when the store has lost writes in a partition. `losses` are the partitions for which it was called during
   * this replay.
   */
  #noteLoss(partition: number, losses: Set<number>): void {
    if (losses.has(partition)) return
    losses.add(partition)
    this.dropCaches()
    // One server serves all partitions of this replay, so it may have lost writes in each of them.
    for (const [other] of this.#newestByPartition()) if (other !== partition) this.#suspected.add(other)
    this.#hooks.onWritesLost()
  }

  /**
   * Removes from a commit the metrics that the store refuses. The points of deleted metrics do not count as lost. The
   * points of a metric that another gateway has since defined with another type are lost.
   */
  #dropConflicting(partition: number, commitNumber: number, { metricIds, deleted }: Conflict): void {
    const { retained, events } = this.#context
    const commit = retained.find(partition, commitNumber)
    // Commits of other partitions have evicted it meanwhile.
    if (commit === undefined) return
    const refusedIds = new Set(metricIds.map(formatId))
    const deletedIds = new Set(deleted.map(formatId))
    const refused = commit.parts
      .flatMap(({ part }) => part.metrics)
      .filter(({ metricId }) => refusedIds.has(formatId(metricId)))
    let { points } = commit
    if (refused.length > 0) {
      retained.reduce(commit, withoutMetrics(commit.parts, refusedIds))
      points = refused.reduce((sum, touch) => sum + (deletedIds.has(formatId(touch.metricId)) ? 0 : touch.points), 0)
    } else retained.reduce(commit, [])
    if (points === 0) return
    events.pointsLost(points)
    events.warn('the store lost a commit and refuses its replay: acknowledged points are lost', { partition, points })
  }

  /** Returns the partitions that have retained commits, each with the number of the newest one. */
  #newestByPartition(): (readonly [partition: number, number: number])[] {
    const { retained, numbers, now } = this.#context
    const nowMs = now()
    return this.#partitions.flatMap((partition) => {
      // An expired watermark, for example after the machine was suspended for a week, would look like lost writes.
      if (numbers.mayHaveExpired(partition, nowMs)) retained.clear(partition)
      const newest = retained.newest(partition)
      return newest === undefined ? [] : [[partition, newest] as const]
    })
  }

  #startChecks(): void {
    if (this.#isClosing) return
    const { retainedLookMs } = this.#context.settings
    this.#checks ??= setInterval(() => void this.#check(), retainedLookMs).unref()
  }

  /** Checks that the store still has the retained commits. Evicts commits that it has had for `retainedMsMax`. */
  async #check(): Promise<void> {
    if (this.#isChecking) return
    this.#isChecking = true
    try {
      await this.#deletions.replay()
      await this.#checkWatermarks()
    } catch (cause) {
      if (!(cause instanceof GatewayError && cause.code === 'store_unavailable'))
        this.#context.events.warn('the check for lost writes failed', { err: cause })
    } finally {
      this.#isChecking = false
    }
    if (this.#suspected.size > 0 && !this.#isClosing) this.#hooks.onVerifyNeeded()
    if (this.#newestByPartition().length === 0 && this.#deletions.isEmpty) {
      clearInterval(this.#checks)
      this.#checks = undefined
    }
  }

  async #checkWatermarks(): Promise<void> {
    const { store, settings, numbers, retained, now } = this.#context
    const readMs = now()
    const byName = new Map<string, (readonly [partition: number, newest: number])[]>()
    for (const newest of this.#newestByPartition()) {
      const name = numbers.name(newest[0])
      const sameName = byName.get(name)
      if (sameName === undefined) byName.set(name, [newest])
      else sameName.push(newest)
    }
    for (const [name, partitions] of byName) {
      const watermarks = await store.readWatermarks(
        name,
        partitions.map(([partition]) => partition),
      )
      for (const [i, [partition, newest]] of partitions.entries()) {
        if (numbers.name(partition) !== name) continue
        if (watermarks[i]! < newest) this.#suspected.add(partition)
        else retained.evictUntil(partition, readMs - settings.retainedMsMax)
      }
    }
  }
}
