import type { CommitPart } from '../../store/store.ts'
import { type EncodedPart, seriesTouches } from '../round/encode-round.ts'

/**
 * Acknowledged commits that the store may still lose: a server that syncs once a second loses its last second when it
 * crashes, and a promoted replica lacks the writes that it had not received. The gateway keeps each commit until the
 * store has held it for a while, and replays lost commits in order under their old numbers. The store ignores numbers
 * that it has applied, so replaying too many commits is harmless.
 *
 * A commit announces (sends the tags of) only its new series. Its replay announces all of its series, because the
 * commits that announced them may be lost too. So a retained commit keeps a reference to each of its series.
 *
 * Bounded in bytes: the oldest commits are evicted first. The numbers of points of evicted commits are kept, to report
 * how many points were lost.
 */
interface RetainedCommit {
  commitNumber: number
  /** Empty: a fence, or a commit that cannot be replayed. */
  parts: readonly EncodedPart[]
  points: number
  readonly bytes: number
  /** Last time at which the store was known to have the commit. */
  storedMs: number
}

/** The retained commits of a partition. */
interface Chain {
  /** Sorted by number, without gaps. The commits before index `first` are evicted. */
  commits: RetainedCommit[]
  first: number
  /** Evicted commits, latest last. */
  evicted: { readonly commitNumber: number; readonly points: number }[]
}

/** Number of evicted commits per partition whose number of points is kept. */
const EVICTED_MAX = 10_000
/** Estimated memory of a commit, of each metric in it, and of each reference to a series. */
const COMMIT_BYTES = 512
const METRIC_BYTES = 128
const SERIES_BYTES = 8

export class RetainedCommits {
  readonly #chains: readonly Chain[]
  readonly #bytesMax: number
  #bytes = 0

  constructor(partitions: number, bytesMax: number) {
    this.#chains = Array.from({ length: partitions }, () => ({ commits: [], first: 0, evicted: [] }))
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  /**
   * Keeps a commit; evicts the oldest commits of all partitions while the bytes exceed the bound. The numbers of a
   * partition must be consecutive. Returns the shortest time that an evicted commit was kept; undefined: none evicted.
   */
  keep(partition: number, commitNumber: number, parts: readonly EncodedPart[], nowMs: number): number | undefined {
    const chain = this.#chains[partition]!
    const bytes = COMMIT_BYTES + parts.reduce((sum, part) => sum + bytesOf(part), 0)
    chain.commits.push({ commitNumber, parts, points: pointsOf(parts), bytes, storedMs: nowMs })
    this.#bytes += bytes
    let shortestMs: number | undefined
    while (this.#bytes > this.#bytesMax) {
      const oldest = this.#oldestChain()
      if (oldest === undefined) break
      const { storedMs } = this.#evict(oldest)
      shortestMs = Math.min(shortestMs ?? Number.POSITIVE_INFINITY, nowMs - storedMs)
    }
    return shortestMs
  }

  /** Returns the number of the newest retained commit; undefined if there is none. */
  newest(partition: number): number | undefined {
    const { commits, first } = this.#chains[partition]!
    return first < commits.length ? commits[commits.length - 1]!.commitNumber : undefined
  }

  find(partition: number, commitNumber: number): RetainedCommit | undefined {
    const { commits, first } = this.#chains[partition]!
    if (first === commits.length) return undefined
    const index = first + commitNumber - commits[first]!.commitNumber
    return index < first ? undefined : commits[index]
  }

  /** Records that the store has the commit, unless it was evicted meanwhile. */
  markStored(partition: number, commitNumber: number, nowMs: number): void {
    const commit = this.find(partition, commitNumber)
    if (commit !== undefined) commit.storedMs = nowMs
  }

  /** Evicts the oldest commits, as far as their `storedMs` is at or before `timeMs`. */
  evictUntil(partition: number, timeMs: number): void {
    const chain = this.#chains[partition]!
    while (chain.first < chain.commits.length && chain.commits[chain.first]!.storedMs <= timeMs) this.#evict(chain)
  }

  /** Replaces the parts of a commit by the parts that the store will accept. */
  reduce(commit: RetainedCommit, parts: readonly EncodedPart[]): void {
    commit.parts = parts
    commit.points = pointsOf(parts)
  }

  /**
   * Renumbers the retained commits of a partition from 1, after the store lost commits that are no longer retained.
   * Returns the points of these lost commits. `isAll` is false if the points of even older lost commits are unknown.
   */
  renumber(partition: number, watermark: number): { readonly points: number; readonly isAll: boolean } {
    const chain = this.#chains[partition]!
    const lost = chain.evicted.filter(({ commitNumber }) => commitNumber > watermark)
    chain.commits = chain.commits.slice(chain.first)
    chain.first = 0
    chain.evicted = []
    chain.commits.forEach((commit, i) => {
      commit.commitNumber = i + 1
    })
    return {
      points: lost.reduce((sum, { points }) => sum + points, 0),
      isAll: lost.length === 0 || lost[0]!.commitNumber === watermark + 1,
    }
  }

  /** Drops the commits of a partition, because their numbers have no meaning any more. */
  clear(partition: number): void {
    const chain = this.#chains[partition]!
    while (chain.first < chain.commits.length) this.#evict(chain)
    chain.evicted = []
  }

  #oldestChain(): Chain | undefined {
    let oldest: Chain | undefined
    for (const chain of this.#chains) {
      const head = chain.commits[chain.first]
      if (head === undefined) continue
      if (oldest === undefined || head.storedMs < oldest.commits[oldest.first]!.storedMs) oldest = chain
    }
    return oldest
  }

  #evict(chain: Chain): RetainedCommit {
    const commit = chain.commits[chain.first]!
    chain.first++
    this.#bytes -= commit.bytes
    chain.evicted.push({ commitNumber: commit.commitNumber, points: commit.points })
    if (chain.evicted.length > 2 * EVICTED_MAX) chain.evicted = chain.evicted.slice(-EVICTED_MAX)
    // Entries before `first` must not keep evicted commits in memory.
    if (chain.first > 64 && chain.first * 2 > chain.commits.length) {
      chain.commits = chain.commits.slice(chain.first)
      chain.first = 0
    } else chain.commits[chain.first - 1] = EVICTED
    return commit
  }
}

const EVICTED: RetainedCommit = { commitNumber: 0, parts: [], points: 0, bytes: 0, storedMs: 0 }

/** Makes the parts for a store that may know none of their series: each part announces all of its series. */
export function announcingAll(parts: readonly EncodedPart[]): readonly CommitPart[] {
  return parts.map(({ part, series }) => ({ ...part, series: seriesTouches(series) }))
}

function pointsOf(parts: readonly EncodedPart[]): number {
  return parts.reduce((sum, { points }) => sum + points, 0)
}

function bytesOf({ part, series }: EncodedPart): number {
  let bytes = blockBytes(part) + part.metrics.length * METRIC_BYTES + series.length * SERIES_BYTES
  for (const { members } of part.members) for (const member of members) bytes += member.length
  for (const { json } of part.events) bytes += json.length
  return bytes
}

/** Number of bytes that a part adds to the inbox. */
export function blockBytes({ block }: CommitPart): number {
  return (block?.scalars.length ?? 0) + (block?.sketches?.length ?? 0)
}
