import { GatewayError } from '../../model/errors.ts'
import { formatId } from '../../model/id.ts'
import type { AppendOutcome, Commit, MetricDeletion, Store } from '../../store/store.ts'
import type { Registry } from '../round/registry.ts'
import type { RoundPart } from '../round/round.ts'
import type { CommitNumbers } from './commit-numbers.ts'
import { moveParts } from './moved-parts.ts'
import { announcingAll, blockBytes, type RetainedCommits } from './retained-commits.ts'
import { RetainedDeletions } from './retained-deletions.ts'
import { type Patience, pause, type Reach } from './store-availability.ts'

export interface ReOfferSettings {
  /** Acknowledged commits kept to be offered again to a store that forgot them, in bytes; 0: none, and nothing is offered again. */
  readonly retainedBytesMax: number
  /** For how long they are kept … */
  readonly retainedMsMax: number
  /** … and how often the store is asked whether it still has them. */
  readonly retainedLookMs: number
}

/** Redis synchronises once a second, and a failover takes some seconds more. */
export const RETAINED_MS_MAX = 30_000
export const RETAINED_LOOK_MS = 1_000

export interface ReOfferEvents {
  /** After each applied commit: bytes it put into the inbox of the partition. */
  committed(partition: number, bytes: number): void
  /** The store has gone back in time: what anybody remembers of it may not hold any more. */
  storeWentBack(): void
  /** Acknowledged points that are gone: the store forgot them, and so had we. */
  lost(points: number): void
  /** There was no room to retain a commit for longer than this. */
  retentionShortened(keptMs: number): void
  /** Something an operator should see. */
  warn(message: string, details: object): void
}

export interface ReOfferContext {
  readonly store: Store
  readonly settings: ReOfferSettings
  readonly events: ReOfferEvents
  readonly registry: Registry
  readonly numbers: CommitNumbers
  readonly retained: RetainedCommits
  readonly now: () => number
}

export interface ReOfferHooks {
  /** The store may be behind, and somebody has to call `settleDoubts`. */
  onDoubt(): void
  /** The store has gone back in one of these partitions: it may have done so in others too. */
  onRewind(): void
}

type Conflict = Extract<AppendOutcome, { readonly status: 'conflict' }>

const WARN_PAUSE_MS = 60_000

/**
 * Finds out that the store has gone back in time, by a number that it finds missing or by asking it for its watermarks, and offers it
 * again what it has forgotten: in order, under the old numbers, and before anything new.
 */
export class ReOffer {
  readonly #context: ReOfferContext
  readonly #reach: Reach
  readonly #hooks: ReOfferHooks
  readonly #partitions: readonly number[]
  /** Partitions in which the store may be behind. */
  readonly #doubted = new Set<number>()
  readonly #deletions: RetainedDeletions
  #looks: NodeJS.Timeout | undefined
  #looking = false
  #shortenedWarnedMs = Number.NEGATIVE_INFINITY
  #closing = false

  constructor(context: ReOfferContext, partitions: readonly number[], reach: Reach, hooks: ReOfferHooks) {
    this.#context = context
    this.#partitions = partitions
    this.#reach = reach
    this.#hooks = hooks
    const { store, settings, now } = context
    this.#deletions = new RetainedDeletions(store, settings.retainedMsMax, now)
  }

  get hasDoubts(): boolean {
    return this.#doubted.size > 0
  }

  /** What the store holds of every partition may be behind. */
  doubt(): void {
    const newest = this.#newestOfEach()
    if (newest.length === 0 || this.#closing) return
    for (const [partition] of newest) this.#doubted.add(partition)
    this.#hooks.onDoubt()
  }

  /** Keeps an acknowledged commit in case the store forgets it. */
  retain(partition: number, number: number, parts: readonly RoundPart[]): void {
    const { store, settings, events, retained, now } = this.#context
    const { retainedBytesMax, retainedMsMax } = settings
    if (!store.mayLoseWrites) return
    const nowMs = now()
    const keptMs = retained.keep(partition, number, parts, nowMs)
    if (keptMs !== undefined && keptMs < retainedMsMax && retainedBytesMax > 0) {
      events.retentionShortened(keptMs)
      if (nowMs - this.#shortenedWarnedMs > WARN_PAUSE_MS) {
        this.#shortenedWarnedMs = nowMs
        events.warn('acknowledged commits are retained for a shorter time: there are too many bytes of them', {
          keptMs,
          retainedBytesMax,
        })
      }
    }
    if (retained.newest(partition) !== undefined) this.#beginLooks()
  }

  /** Keeps an acknowledged deletion in case the store forgets it. */
  retainDeletion(deletion: MetricDeletion): void {
    if (!this.#context.store.mayLoseWrites) return
    this.#deletions.keep(deletion)
    this.#beginLooks()
  }

  #beginLooks(): void {
    if (this.#closing) return
    const { retainedLookMs } = this.#context.settings
    this.#looks ??= setInterval(() => void this.#look(), retainedLookMs).unref()
  }

  /** No looks from now on. To be called again after the last commit. */
  close(): void {
    this.#closing = true
    clearInterval(this.#looks)
  }

  /**
   * Offers again what the store has forgotten of partitions: after the watermark where it is known, else from the newest commit
   * kept on, whose answer tells it. False: the store does not answer, and `mayStop`.
   */
  async catchUp(
    behind: ReadonlyMap<number, number | undefined>,
    patience: Patience,
    mayStop: () => boolean,
  ): Promise<boolean> {
    const { numbers, retained, events, now } = this.#context
    const next = new Map<number, number>()
    const offerable = new Set(this.#newestOfEach().map(([partition]) => partition))
    for (const [partition, watermark] of behind) {
      if (watermark === undefined && !offerable.has(partition)) continue
      const number = watermark === undefined ? retained.newest(partition) : this.#rewind(partition, watermark)
      if (number !== undefined) next.set(partition, number)
    }
    // Else what was deleted would come back with what is offered again, and keep the generations after it out.
    await this.#deletions.tellAgain()
    let apart = false
    let gaps = 0
    let again = 0
    for (;;) {
      const commits: Commit[] = []
      for (const [partition, number] of next) {
        const commit = retained.find(partition, number)
        if (commit === undefined) next.delete(partition)
        else commits.push({ partition, writer: numbers.name(partition), number, parts: announcingAll(commit.parts) })
      }
      if (commits.length === 0) break
      const outcomes = await this.#reach.append(commits, apart, patience)
      const nowMs = now()
      for (const [i, outcome] of outcomes.entries()) {
        const { partition, number, parts } = commits[i]!
        if (outcome === undefined) continue
        if (outcome.status === 'gap') next.set(partition, this.#rewind(partition, outcome.watermark))
        else if (outcome.status === 'conflict') this.#dropConflicting(partition, number, outcome)
        else {
          retained.find(partition, number)!.heldMs = nowMs
          next.set(partition, number + 1)
          if (outcome.status === 'known') continue
          again++
          events.committed(
            partition,
            parts.reduce((sum, part) => sum + blockBytes(part), 0),
          )
        }
      }
      if (outcomes.includes(undefined)) {
        if (mayStop()) return false
        apart = true
        await pause()
      } else if (outcomes.some((outcome) => outcome?.status === 'gap') && ++gaps > 1) {
        // It goes back while it is being caught up.
        if (mayStop()) return false
        await pause()
      }
    }
    if (again > 0) events.warn('the store has forgotten commits and was given them again', { commits: again })
    return true
  }

  /** What the store was last asked about may be missing; if it does not answer now, the next look finds out again. */
  async settleDoubts(): Promise<void> {
    const behind = new Map([...this.#doubted].map((partition) => [partition, undefined]))
    this.#doubted.clear()
    const patience = this.#reach.begin()
    try {
      await this.catchUp(behind, patience, () => true)
    } catch (cause) {
      this.#context.events.warn('what the store has forgotten could not be offered again', { err: cause })
    } finally {
      patience.end()
    }
  }

  /** The store is not the one we knew: nothing that anybody remembers of it holds. */
  distrust(): void {
    this.#context.registry.distrust()
    this.#context.events.storeWentBack()
  }

  /** The number from which a partition is offered its commits again. */
  #rewind(partition: number, watermark: number): number {
    const { numbers, retained, events } = this.#context
    this.distrust()
    // One server that went back did so in all of its partitions.
    for (const [other] of this.#newestOfEach()) if (other !== partition) this.#doubted.add(other)
    this.#hooks.onRewind()
    const newest = retained.newest(partition)
    if (newest !== undefined && (watermark >= newest || retained.find(partition, watermark + 1) !== undefined))
      return watermark + 1
    const { points, isAll } = retained.restart(partition, watermark)
    numbers.rename(partition, retained.newest(partition) ?? 0)
    events.lost(points)
    events.warn('the store is older than all that is retained: acknowledged points are lost', {
      partition,
      points,
      atLeast: !isAll,
    })
    return 1
  }

  /**
   * What the store will not take back of a commit: metrics that were deleted since, and those that another gateway has defined
   * otherwise meanwhile. Only the points of the latter are lost.
   */
  #dropConflicting(partition: number, number: number, { metricIds, deleted }: Conflict): void {
    const { retained, events } = this.#context
    const commit = retained.find(partition, number)!
    const gone = new Set(metricIds.map(formatId))
    const ended = new Set(deleted.map(formatId))
    const refused = commit.parts
      .flatMap(({ part }) => part.metrics)
      .filter(({ metricId }) => gone.has(formatId(metricId)))
    const left = moveParts(commit.parts, gone, undefined)
    let points: number
    if (refused.length > 0 && left !== undefined) {
      retained.reduce(commit, left)
      points = refused.reduce((sum, touch) => sum + (ended.has(formatId(touch.metricId)) ? 0 : touch.points), 0)
    } else points = retained.hollow(commit)
    if (points === 0) return
    events.lost(points)
    events.warn('the store has forgotten a commit and refuses it now: acknowledged points are lost', {
      partition,
      points,
    })
  }

  /** The partitions with retained commits that may be offered again, each with the number of its newest one. */
  #newestOfEach(): (readonly [partition: number, number: number])[] {
    const { retained, numbers, now } = this.#context
    const nowMs = now()
    return this.#partitions.flatMap((partition) => {
      // As after a machine has slept for a week.
      if (numbers.isLapsed(partition, nowMs)) retained.clear(partition)
      const number = retained.newest(partition)
      return number === undefined ? [] : [[partition, number] as const]
    })
  }

  /** Whether the store still has what is retained; what it has had for long enough is let go. */
  async #look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    const { store, settings, events, numbers, retained, now } = this.#context
    try {
      await this.#deletions.tellAgain()
      const askedMs = now()
      const byName = new Map<string, (readonly [partition: number, newest: number])[]>()
      for (const [partition, newest] of this.#newestOfEach()) {
        const name = numbers.name(partition)
        const ofName = byName.get(name)
        if (ofName === undefined) byName.set(name, [[partition, newest]])
        else ofName.push([partition, newest])
      }
      for (const [name, partitions] of byName) {
        const watermarks = await store.readWatermarks(
          name,
          partitions.map(([partition]) => partition),
        )
        for (const [i, [partition, newest]] of partitions.entries()) {
          if (numbers.name(partition) !== name) continue
          if (watermarks[i]! < newest) this.#doubted.add(partition)
          else retained.letGoBefore(partition, askedMs - settings.retainedMsMax)
        }
      }
    } catch (cause) {
      if (!(cause instanceof GatewayError && cause.code === 'store_unavailable'))
        events.warn('the store could not be asked for what it holds', { err: cause })
    } finally {
      this.#looking = false
    }
    if (this.#doubted.size > 0 && !this.#closing) this.#hooks.onDoubt()
    if (this.#newestOfEach().length === 0 && this.#deletions.isEmpty) {
      clearInterval(this.#looks)
      this.#looks = undefined
    }
  }
}
