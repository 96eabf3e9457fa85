import { blockBytesOf } from '../../store/inbox-size.ts'
import type { CommitPart } from '../../store/store.ts'
import { type EncodedPart, seriesRegistrations } from '../round/encode-round.ts'

/**
 * Stored commits that the store may still lose: a server that syncs once a second loses its last second when it
 * crashes, and a promoted replica lacks the writes that it had not received. The gateway keeps each commit until the
 * store has held it for a while, so that it can replay lost commits in order. The store ignores numbers that it has
 * applied, so replaying too many commits is harmless.
 *
 * A commit registers (sends the tags of) only its new series. Its replay registers all of its series, because the
 * commits that first registered them may be lost too. So a retained commit has a reference to each of its series.
 *
 * The memory of all retained commits is bounded: the oldest are evicted first. The numbers of points of the latest
 * evicted commits are kept, to report how many points were lost.
 */
interface RetainedCommit {
  commitNumber: number
  /** Empty for a fence, and for a commit that the store refuses without naming any of its metrics. */
  parts: readonly EncodedPart[]
  points: number
  readonly memoryBytes: number
  /** The time at which the store last confirmed the commit or its replay. */
  storedMs: number
}

/** The retained commits of a partition. */
interface RetainedChain {
  /**
   * From the index `firstRetainedIndex` on, the retained commits, sorted by number and without gaps. Before it, places
   * of evicted commits.
   */
  commits: RetainedCommit[]
  firstRetainedIndex: number
  /** The numbers of points of the latest evicted commits, sorted by commit number. */
  evictedCommits: { readonly commitNumber: number; readonly points: number }[]
}

/**
 * Number of evicted commits of a partition whose numbers of points are kept: the latest ones, at least this many (or
 * all if they are fewer) and at most twice as many.
 */
const EVICTED_POINT_COUNTS_KEPT = 10_000
/** Estimated memory of a commit without its contents, of each metric in it, and of each reference to a series. */
const COMMIT_MEMORY_BYTES = 512
const METRIC_MEMORY_BYTES = 128
const SERIES_MEMORY_BYTES = 8

export class RetainedCommits {
  readonly #chains: readonly RetainedChain[]
  readonly #bytesMax: number
  #memoryBytes = 0

  constructor(partitions: number, bytesMax: number) {
    this.#chains = Array.from({ length: partitions }, () => ({
      commits: [],
      firstRetainedIndex: 0,
      evictedCommits: [],
    }))
    this.#bytesMax = bytesMax
  }

  get memoryBytes(): number {
    return this.#memoryBytes
  }

  /**
   * Keeps a commit. Evicts the oldest commits of all partitions while their memory exceeds the bound. The numbers of a
   * partition must be consecutive. Returns the shortest time in milliseconds since the store last confirmed an evicted
   * commit; undefined if none was evicted.
   */
  add(partition: number, commitNumber: number, parts: readonly EncodedPart[], nowMs: number): number | undefined {
    const chain = this.#chains[partition]!
    const memoryBytes = COMMIT_MEMORY_BYTES + parts.reduce((sum, part) => sum + estimatedMemoryBytesOf(part), 0)
    chain.commits.push({ commitNumber, parts, points: pointsOf(parts), memoryBytes, storedMs: nowMs })
    this.#memoryBytes += memoryBytes
    let shortestMs: number | undefined
    while (this.#memoryBytes > this.#bytesMax) {
      const oldestChain = this.#oldestChain()
      if (oldestChain === undefined) break
      const { storedMs } = this.#evict(oldestChain)
      shortestMs = Math.min(shortestMs ?? Number.POSITIVE_INFINITY, nowMs - storedMs)
    }
    return shortestMs
  }

  /** Returns the number of the newest retained commit; undefined if there is none. */
  newestCommitNumber(partition: number): number | undefined {
    const { commits, firstRetainedIndex } = this.#chains[partition]!
    return firstRetainedIndex < commits.length ? commits[commits.length - 1]!.commitNumber : undefined
  }

  /** Returns a retained commit; undefined if it was evicted or does not exist. */
  find(partition: number, commitNumber: number): RetainedCommit | undefined {
    const { commits, firstRetainedIndex } = this.#chains[partition]!
    if (firstRetainedIndex === commits.length) return undefined
    const index = firstRetainedIndex + commitNumber - commits[firstRetainedIndex]!.commitNumber
    return index < firstRetainedIndex ? undefined : commits[index]
  }

  /** Records that the store has the commit. Does nothing if the commit was evicted meanwhile. */
  markStored(partition: number, commitNumber: number, nowMs: number): void {
    const commit = this.find(partition, commitNumber)
    if (commit !== undefined) commit.storedMs = nowMs
  }

  /** Evicts the oldest commits of a partition. Stops before the first one whose `storedMs` is after `untilMs`. */
  evictUntil(partition: number, untilMs: number): void {
    const chain = this.#chains[partition]!
    while (
      chain.firstRetainedIndex < chain.commits.length &&
      chain.commits[chain.firstRetainedIndex]!.storedMs <= untilMs
    )
      this.#evict(chain)
  }

  /**
   * Replaces the parts of a commit by parts without the metrics that conflict with the store. `memoryBytes` keeps the
   * estimate of the original parts.
   */
  replaceParts(commit: RetainedCommit, parts: readonly EncodedPart[]): void {
    commit.parts = parts
    commit.points = pointsOf(parts)
  }

  /**
   * Numbers the retained commits of a partition from 1, for a new writer name. Called when the store lost commits after
   * `watermark` that are no longer retained, and so cannot be replayed. Returns the number of points in those commits.
   * `isComplete` is false if some were evicted so long ago that their number of points is no longer kept.
   */
  renumber(partition: number, watermark: number): { readonly points: number; readonly isComplete: boolean } {
    const chain = this.#chains[partition]!
    const lost = chain.evictedCommits.filter(({ commitNumber }) => commitNumber > watermark)
    chain.commits = chain.commits.slice(chain.firstRetainedIndex)
    chain.firstRetainedIndex = 0
    chain.evictedCommits = []
    chain.commits.forEach((commit, i) => {
      commit.commitNumber = i + 1
    })
    return {
      points: lost.reduce((sum, { points }) => sum + points, 0),
      isComplete: lost.length === 0 || lost[0]!.commitNumber === watermark + 1,
    }
  }

  /** Drops all commits of a partition, because its writer name has changed or its watermark may have expired. */
  clear(partition: number): void {
    const chain = this.#chains[partition]!
    while (chain.firstRetainedIndex < chain.commits.length) this.#evict(chain)
    chain.evictedCommits = []
  }

  /** Returns the chain whose first retained commit was confirmed earliest; undefined if no commit is retained. */
  #oldestChain(): RetainedChain | undefined {
    let oldest: RetainedChain | undefined
    for (const chain of this.#chains) {
      const head = chain.commits[chain.firstRetainedIndex]
      if (head === undefined) continue
      if (oldest === undefined || head.storedMs < oldest.commits[oldest.firstRetainedIndex]!.storedMs) oldest = chain
    }
    return oldest
  }

  #evict(chain: RetainedChain): RetainedCommit {
    const commit = chain.commits[chain.firstRetainedIndex]!
    chain.firstRetainedIndex++
    this.#memoryBytes -= commit.memoryBytes
    chain.evictedCommits.push({ commitNumber: commit.commitNumber, points: commit.points })
    if (chain.evictedCommits.length > 2 * EVICTED_POINT_COUNTS_KEPT)
      chain.evictedCommits = chain.evictedCommits.slice(-EVICTED_POINT_COUNTS_KEPT)
    // Frees the memory of the evicted commit. The array is shortened only now and then, because that copies it.
    if (chain.firstRetainedIndex > 64 && chain.firstRetainedIndex * 2 > chain.commits.length) {
      chain.commits = chain.commits.slice(chain.firstRetainedIndex)
      chain.firstRetainedIndex = 0
    } else chain.commits[chain.firstRetainedIndex - 1] = EVICTED_COMMIT
    return commit
  }
}

/** Takes the place of an evicted commit in `RetainedChain.commits`. */
const EVICTED_COMMIT: RetainedCommit = { commitNumber: 0, parts: [], points: 0, memoryBytes: 0, storedMs: 0 }

/** Returns the parts for a store that may have lost their series: each part registers all of its series. */
export function partsWithAllSeries(parts: readonly EncodedPart[]): readonly CommitPart[] {
  return parts.map(({ part, series }) => ({ ...part, series: seriesRegistrations(series) }))
}

function pointsOf(parts: readonly EncodedPart[]): number {
  return parts.reduce((sum, { points }) => sum + points, 0)
}

function estimatedMemoryBytesOf({ part, series }: EncodedPart): number {
  let bytes =
    (part.block === undefined ? 0 : blockBytesOf(part.block)) +
    part.metrics.length * METRIC_MEMORY_BYTES +
    series.length * SERIES_MEMORY_BYTES
  for (const { members } of part.members) for (const member of members) bytes += member.length
  for (const { json } of part.events) bytes += json.length
  return bytes
}
