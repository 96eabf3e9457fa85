import { GatewayError } from '../../model/errors.ts'
import { formatId } from '../../model/id.ts'
import type { MetricDeletion } from '../../store/catalog.ts'
import { type InboxSize, inboxSizeOf } from '../../store/inbox-size.ts'
import type { AppendOutcome, Commit, Store } from '../../store/store.ts'
import type { EncodedPart } from '../round/encode-round.ts'
import type { Registry } from '../round/registry.ts'
import type { CommitNumbers } from './commit-numbers.ts'
import { partsWithAllSeries, type RetainedCommits } from './retained-commits.ts'
import { RetainedDeletions } from './retained-deletions.ts'
import { pauseBeforeRetry, type StoreAvailability, type StoreWait } from './store-availability.ts'
import { withoutMetrics } from './without-metrics.ts'

export interface ReplaySettings {
  /**
   * Maximum estimated memory of the acknowledged commits that are kept for a replay. 0: no commit is kept or replayed.
   */
  readonly retainedBytesMax: number
  /** How long acknowledged commits and deletions are kept for a replay, unless they exceed a limit. */
  readonly retainedMsMax: number
  /** Interval between two checks for lost writes. */
  readonly lossCheckIntervalMs: number
}

/**
 * The value of `ReplaySettings.retainedMsMax` in a gateway. It is long enough for Redis, which syncs its disk once a
 * second and needs some seconds for a failover.
 */
export const RETAINED_MS_MAX = 30_000
export const LOSS_CHECK_INTERVAL_MS = 1_000

export interface ReplayEvents {
  /**
   * Called after each stored commit, and after each lost one that was replayed. `added` is what it added to the inbox,
   * or more.
   */
  committed(partition: number, added: InboxSize): void
  /**
   * Called when the store has lost writes or differs from what was read, and when a commit was given up, so that caches
   * of the store's content are cleared.
   */
  writesLost(): void
  /**
   * Called with the number of acknowledged points that the store lost and that cannot be replayed. If very many commits
   * were lost, the number may be too small.
   */
  pointsLost(points: number): void
  /** Called with a warning for the log. */
  warn(message: string, details: object): void
}

export interface ReplayContext {
  readonly store: Store
  readonly settings: ReplaySettings
  readonly events: ReplayEvents
  readonly registry: Registry
  readonly commitNumbers: CommitNumbers
  readonly retainedCommits: RetainedCommits
  readonly now: () => number
}

export interface ReplayHooks {
  /** Called when the store may have lost writes. The owner of the `Replay` then calls `replayLostCommits`. */
  onReplayNeeded(): void
  /** Called when the store has lost writes in a partition of this group, so that other groups are checked too. */
  onWritesLost(): void
}

type ConflictOutcome = Extract<AppendOutcome, { readonly status: 'conflict' }>

/** Minimum time between two warnings that commits are kept for a shorter time than `retainedMsMax`. */
const WARNING_INTERVAL_MS = 60_000

/**
 * Detects that the store lost writes, by a gap in the commit numbers or by reading its watermarks (the number of a
 * writer's last applied commit). Replays the lost commits of a partition in order, under their old numbers, before any
 * new commit of the partition. If some of them are no longer retained, their points are lost, and the others get new
 * numbers under a new writer name.
 */
export class Replay {
  readonly #context: ReplayContext
  readonly #availability: StoreAvailability
  readonly #hooks: ReplayHooks
  readonly #partitions: readonly number[]
  /** Partitions in which the store may have lost writes. */
  readonly #suspectedPartitions = new Set<number>()
  readonly #retainedDeletions: RetainedDeletions
  #checkTimer: NodeJS.Timeout | undefined
  #isChecking = false
  #lastWarningMs = Number.NEGATIVE_INFINITY
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
    this.#retainedDeletions = new RetainedDeletions(store, settings.retainedMsMax, now)
  }

  /** Whether the store may have lost writes. If so, `replayLostCommits` must run before the next commit. */
  get mayHaveLostWrites(): boolean {
    return this.#suspectedPartitions.size > 0
  }

  /**
   * Marks every partition with retained commits as one in which the store may have lost writes, except after `close`.
   */
  suspectLostWrites(): void {
    const newestCommits = this.#newestCommitNumbers()
    if (newestCommits.length === 0 || this.#isClosing) return
    for (const [partition] of newestCommits) this.#suspectedPartitions.add(partition)
    this.#hooks.onReplayNeeded()
  }

  /** Keeps a stored commit for a replay, if the store may lose writes. */
  retain(partition: number, commitNumber: number, parts: readonly EncodedPart[]): void {
    const { store, settings, events, retainedCommits, now } = this.#context
    const { retainedBytesMax, retainedMsMax } = settings
    if (!store.mayLoseWrites) return
    const nowMs = now()
    const keptMs = retainedCommits.add(partition, commitNumber, parts, nowMs)
    const isKeptTooShort = keptMs !== undefined && keptMs < retainedMsMax && retainedBytesMax > 0
    if (isKeptTooShort && nowMs - this.#lastWarningMs > WARNING_INTERVAL_MS) {
      this.#lastWarningMs = nowMs
      const message = 'acknowledged commits are kept for a shorter time: they take more bytes than allowed'
      events.warn(message, { keptMs, retainedBytesMax })
    }
    if (retainedCommits.newestCommitNumber(partition) !== undefined) this.#startChecks()
  }

  /** Keeps an acknowledged deletion for a replay, if the store may lose writes. */
  retainDeletion(deletion: MetricDeletion): void {
    if (!this.#context.store.mayLoseWrites) return
    this.#retainedDeletions.add(deletion)
    this.#startChecks()
  }

  /** Stops the checks for lost writes. No later commit starts them again. */
  close(): void {
    this.#isClosing = true
    clearInterval(this.#checkTimer)
  }

  /**
   * Replays the commits that the store lost. `watermarks` has the store's watermark for each partition to check. If a
   * watermark is undefined, the newest retained commit is sent first; if its outcome is `gap`, this outcome has the
   * watermark. Returns false if `mayStop()` is true and the store does not respond or keeps losing writes.
   */
  async replayAfter(
    watermarks: ReadonlyMap<number, number | undefined>,
    wait: StoreWait,
    mayStop: () => boolean,
  ): Promise<boolean> {
    const { commitNumbers, retainedCommits, events } = this.#context
    const partitionsWithLoss = new Set<number>()
    const nextCommitNumbers = this.#firstNumbersToReplay(watermarks, partitionsWithLoss)
    // Deletions are replayed first, so that a replayed commit does not bring a deleted metric back. If the store does
    // not confirm a deletion, the next check repeats it.
    await this.#retainedDeletions.replay()
    let isOneCallPerCommit = false
    let gapReports = 0
    let replayedCount = 0
    for (;;) {
      const commits: Commit[] = []
      for (const [partition, commitNumber] of nextCommitNumbers) {
        const commit = retainedCommits.find(partition, commitNumber)
        if (commit === undefined) nextCommitNumbers.delete(partition)
        else
          commits.push({
            partition,
            writer: commitNumbers.writerName(partition),
            commitNumber,
            parts: partsWithAllSeries(commit.parts),
          })
      }
      if (commits.length === 0) break
      const outcomes = await this.#availability.append(commits, isOneCallPerCommit, wait)
      for (const [i, outcome] of outcomes.entries())
        if (this.#handleOutcome(commits[i]!, outcome, nextCommitNumbers, partitionsWithLoss)) replayedCount++
      if (outcomes.includes(undefined)) {
        if (mayStop()) return false
        isOneCallPerCommit = true
        await pauseBeforeRetry()
      } else if (outcomes.some((outcome) => outcome?.status === 'gap') && ++gapReports > 1) {
        // A gap after the first one probably means that the store lost writes again during the replay.
        if (mayStop()) return false
        await pauseBeforeRetry()
      }
    }
    if (replayedCount > 0) events.warn('the store lost commits; they were replayed', { commits: replayedCount })
    return true
  }

  /**
   * Replays the lost commits of all suspected partitions. Never rejects: if the store does not respond, or after an
   * error, the next check for lost writes tries again.
   */
  async replayLostCommits(): Promise<void> {
    const watermarks = new Map([...this.#suspectedPartitions].map((partition) => [partition, undefined]))
    this.#suspectedPartitions.clear()
    const wait = this.#availability.startWait()
    try {
      await this.replayAfter(watermarks, wait, () => true)
    } catch (cause) {
      this.#context.events.warn('lost commits could not be replayed', { err: cause })
    } finally {
      wait.end()
    }
  }

  /** Drops the caches of the store's content: the registry's, and those of the listener of `writesLost`. */
  dropCaches(): void {
    this.#context.registry.invalidate()
    this.#context.events.writesLost()
  }

  /**
   * Returns, for each partition that may have commits to replay, the number of the first one to send. A given watermark
   * proves a loss: adds its partition to `partitionsWithLoss`, and reports the lost points that cannot be replayed.
   */
  #firstNumbersToReplay(
    watermarks: ReadonlyMap<number, number | undefined>,
    partitionsWithLoss: Set<number>,
  ): Map<number, number> {
    const { retainedCommits } = this.#context
    const firstCommitNumbers = new Map<number, number>()
    const replayablePartitions = new Set(this.#newestCommitNumbers().map(([partition]) => partition))
    for (const [partition, watermark] of watermarks) {
      if (watermark === undefined && !replayablePartitions.has(partition)) continue
      const commitNumber =
        watermark === undefined
          ? retainedCommits.newestCommitNumber(partition)
          : this.#prepareReplayAfter(partition, watermark, partitionsWithLoss)
      if (commitNumber !== undefined) firstCommitNumbers.set(partition, commitNumber)
    }
    return firstCommitNumbers
  }

  /**
   * Handles the outcome of a replayed commit. Sets the number that is sent next for the partition, unless the same
   * commit is sent again. Returns whether this call applied the commit.
   */
  #handleOutcome(
    { partition, commitNumber, parts }: Commit,
    outcome: AppendOutcome | undefined,
    nextCommitNumbers: Map<number, number>,
    partitionsWithLoss: Set<number>,
  ): boolean {
    const { retainedCommits, events, now } = this.#context
    // No response: the commit is sent again.
    if (outcome === undefined) return false
    const { status } = outcome
    switch (status) {
      case 'gap':
        nextCommitNumbers.set(partition, this.#prepareReplayAfter(partition, outcome.watermark, partitionsWithLoss))
        return false
      case 'conflict':
        // The commit is sent again under the same number, without the conflicting metrics.
        this.#dropConflicting(partition, commitNumber, outcome)
        return false
      case 'known':
      case 'applied':
        retainedCommits.markStored(partition, commitNumber, now())
        nextCommitNumbers.set(partition, commitNumber + 1)
        if (status === 'known') return false
        // If the store lost only the newest commit of the partition, no commit had the outcome `gap`. The loss shows
        // only now: the store has applied the commit again.
        this.#handleLossOnce(partition, partitionsWithLoss)
        events.committed(partition, inboxSizeOf(parts))
        return true
      default:
        return status satisfies never
    }
  }

  /**
   * Called when the store's watermark shows that writes were lost. Returns the number of the first commit to replay. If
   * the commit after the watermark is no longer retained, the evicted commits after the watermark are lost: reports
   * their points, and renumbers the retained commits from 1 under a new writer name.
   */
  #prepareReplayAfter(partition: number, watermark: number, partitionsWithLoss: Set<number>): number {
    const { commitNumbers, retainedCommits, events } = this.#context
    partitionsWithLoss.delete(partition)
    this.#handleLossOnce(partition, partitionsWithLoss)
    const newest = retainedCommits.newestCommitNumber(partition)
    if (newest !== undefined && (watermark >= newest || retainedCommits.find(partition, watermark + 1) !== undefined))
      return watermark + 1
    const { points, isComplete } = retainedCommits.renumber(partition, watermark)
    commitNumbers.changeWriterName(partition, retainedCommits.newestCommitNumber(partition) ?? 0)
    events.pointsLost(points)
    events.warn('the store lost commits that are not kept any more: acknowledged points are lost', {
      partition,
      points,
      atLeast: !isComplete,
    })
    return 1
  }

  /**
   * Called when the store has lost writes in a partition: drops the caches, suspects the group's other partitions, and
   * notifies the other groups. Does nothing if `partitionsWithLoss` has the partition, which was then handled already.
   */
  #handleLossOnce(partition: number, partitionsWithLoss: Set<number>): void {
    if (partitionsWithLoss.has(partition)) return
    partitionsWithLoss.add(partition)
    this.dropCaches()
    // One server serves all partitions of this replay, so it may have lost writes in each of them.
    for (const [other] of this.#newestCommitNumbers()) if (other !== partition) this.#suspectedPartitions.add(other)
    this.#hooks.onWritesLost()
  }

  /**
   * Removes from a commit the metrics that conflict with the store, or all of its parts if it has none of these
   * metrics. The points of deleted metrics do not count as lost. The others do: for example, another gateway may have
   * defined the metric with another type meanwhile.
   */
  #dropConflicting(partition: number, commitNumber: number, { metricIds, deleted }: ConflictOutcome): void {
    const { retainedCommits, events } = this.#context
    const commit = retainedCommits.find(partition, commitNumber)
    // New commits of other partitions may have evicted this commit.
    if (commit === undefined) return
    const conflictingIds = new Set(metricIds.map(formatId))
    const deletedIds = new Set(deleted.map(formatId))
    const conflictingUpdates = commit.parts
      .flatMap(({ part }) => part.metrics)
      .filter(({ metricId }) => conflictingIds.has(formatId(metricId)))
    let lostPoints = commit.points
    if (conflictingUpdates.length > 0) {
      retainedCommits.replaceParts(commit, withoutMetrics(commit.parts, conflictingIds))
      lostPoints = conflictingUpdates.reduce(
        (sum, update) => sum + (deletedIds.has(formatId(update.metricId)) ? 0 : update.points),
        0,
      )
    } else retainedCommits.replaceParts(commit, [])
    if (lostPoints === 0) return
    events.pointsLost(lostPoints)
    const message = 'the store lost a commit and refuses its replay: acknowledged points are lost'
    events.warn(message, { partition, points: lostPoints })
  }

  /**
   * Returns the partitions that have retained commits, each with the number of the newest one. Drops commits whose
   * watermark may have expired.
   */
  #newestCommitNumbers(): (readonly [partition: number, number: number])[] {
    const { retainedCommits, commitNumbers, now } = this.#context
    const nowMs = now()
    return this.#partitions.flatMap((partition) => {
      // An expired watermark would look like lost writes, for example after the machine was suspended for a week.
      if (commitNumbers.mayWatermarkBeExpired(partition, nowMs)) retainedCommits.clear(partition)
      const newest = retainedCommits.newestCommitNumber(partition)
      return newest === undefined ? [] : [[partition, newest] as const]
    })
  }

  #startChecks(): void {
    if (this.#isClosing) return
    const { lossCheckIntervalMs } = this.#context.settings
    this.#checkTimer ??= setInterval(() => void this.#checkForLosses(), lossCheckIntervalMs).unref()
  }

  /**
   * Repeats the retained deletions and checks that the store still has the retained commits. Evicts commits that the
   * store has had for `retainedMsMax`.
   */
  async #checkForLosses(): Promise<void> {
    if (this.#isChecking) return
    this.#isChecking = true
    try {
      await this.#retainedDeletions.replay()
      await this.#checkWatermarks()
    } catch (cause) {
      if (!(cause instanceof GatewayError && cause.code === 'store_unavailable'))
        this.#context.events.warn('the check for lost writes failed', { err: cause })
    } finally {
      this.#isChecking = false
    }
    if (this.#suspectedPartitions.size > 0 && !this.#isClosing) this.#hooks.onReplayNeeded()
    if (this.#newestCommitNumbers().length === 0 && this.#retainedDeletions.isEmpty) {
      clearInterval(this.#checkTimer)
      this.#checkTimer = undefined
    }
  }

  /**
   * Suspects each partition whose watermark is smaller than the number of its newest retained commit. Evicts old
   * commits of the other partitions.
   */
  async #checkWatermarks(): Promise<void> {
    const { store, settings, commitNumbers, retainedCommits, now } = this.#context
    const readMs = now()
    const newestByWriterName = new Map<string, (readonly [partition: number, newest: number])[]>()
    for (const newestCommit of this.#newestCommitNumbers()) {
      const name = commitNumbers.writerName(newestCommit[0])
      const sameName = newestByWriterName.get(name)
      if (sameName === undefined) newestByWriterName.set(name, [newestCommit])
      else sameName.push(newestCommit)
    }
    for (const [name, partitions] of newestByWriterName) {
      const watermarks = await store.readWatermarks(
        name,
        partitions.map(([partition]) => partition),
      )
      for (const [i, [partition, newest]] of partitions.entries()) {
        if (commitNumbers.writerName(partition) !== name) continue
        if (watermarks[i]! < newest) this.#suspectedPartitions.add(partition)
        else retainedCommits.evictUntil(partition, readMs - settings.retainedMsMax)
      }
    }
  }
}
