import type { CommitPart } from '../../store/store.ts'
import { type EncodedPart, seriesTouches } from '../round/encode-round.ts'

/**
 * Acknowledged commits that the store may still lose: a server that syncs once a second loses its last second when it
 * crashes, and a promoted replica lacks what had not reached it. The gateway keeps them until the store has held them
 * for a while, and replays lost ones in order under their old numbers. The store skips numbers that it has, so
 * replaying too much is harmless.
 *
 * A commit announces only new series. Its replay announces all of its series, because the commits that announced them
 * may be lost too; until then a series costs one reference.
 *
 * Bounded in bytes: the oldest are evicted first. The number of points of evicted commits is kept for a while, to
 * report a loss in points.
 */
interface RetainedCommit {
  number: number
  /** Empty: a fence, or a commit that cannot be replayed. */
  parts: readonly EncodedPart[]
  points: number
  readonly bytes: number
  /** When the store was last known to have it. */
  storedMs: number
}

interface Chain {
  /** Consecutive numbers; those before `first` are evicted. */
  commits: RetainedCommit[]
  first: number
  /** Evicted commits, latest last. */
  evicted: { readonly number: number; readonly points: number }[]
}

/** For each partition, how many evicted commits are counted in points. */
const EVICTED_MAX = 10_000
/** Estimated memory of a commit, of what it says about a metric, and of a reference to a series. */
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
   * Keeps a commit, and evicts older ones when space is short. Numbers of a partition are consecutive. Returns how long
   * the evicted commit with the shortest stay was kept; undefined when none was evicted.
   */
  keep(partition: number, number: number, parts: readonly EncodedPart[], nowMs: number): number | undefined {
    const chain = this.#chains[partition]!
    const bytes = COMMIT_BYTES + parts.reduce((sum, part) => sum + bytesOf(part), 0)
    chain.commits.push({ number, parts, points: pointsOf(parts), bytes, storedMs: nowMs })
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

  /** Number of the newest commit kept; undefined when there is none. */
  newest(partition: number): number | undefined {
    const { commits, first } = this.#chains[partition]!
    return first < commits.length ? commits[commits.length - 1]!.number : undefined
  }

  find(partition: number, number: number): RetainedCommit | undefined {
    const { commits, first } = this.#chains[partition]!
    if (first === commits.length) return undefined
    const index = first + number - commits[first]!.number
    return index < first ? undefined : commits[index]
  }

  /** Evicts the commits that the store was last known to have at or before `timeMs`. */
  evictUntil(partition: number, timeMs: number): void {
    const chain = this.#chains[partition]!
    while (chain.first < chain.commits.length && chain.commits[chain.first]!.storedMs <= timeMs) this.#evict(chain)
  }

  /** Replaces the parts of a commit by those that can be replayed. */
  reduce(commit: RetainedCommit, parts: readonly EncodedPart[]): void {
    commit.parts = parts
    commit.points = pointsOf(parts)
  }

  /**
   * Renumbers the kept commits of a partition from 1 on, when the store lost commits that are not kept any more.
   * Returns the points of those; `isAll` is false when even older ones are lost, whose points are not known.
   */
  renumber(partition: number, watermark: number): { readonly points: number; readonly isAll: boolean } {
    const chain = this.#chains[partition]!
    const lost = chain.evicted.filter(({ number }) => number > watermark)
    chain.commits = chain.commits.slice(chain.first)
    chain.first = 0
    chain.evicted = []
    chain.commits.forEach((commit, i) => {
      commit.number = i + 1
    })
    return {
      points: lost.reduce((sum, { points }) => sum + points, 0),
      isAll: lost.length === 0 || lost[0]!.number === watermark + 1,
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
    chain.evicted.push({ number: commit.number, points: commit.points })
    if (chain.evicted.length > 2 * EVICTED_MAX) chain.evicted = chain.evicted.slice(-EVICTED_MAX)
    // Places before `first` must not keep evicted commits in memory.
    if (chain.first > 64 && chain.first * 2 > chain.commits.length) {
      chain.commits = chain.commits.slice(chain.first)
      chain.first = 0
    } else chain.commits[chain.first - 1] = EVICTED
    return commit
  }
}

const EVICTED: RetainedCommit = { number: 0, parts: [], points: 0, bytes: 0, storedMs: 0 }

/** The parts as they are sent to a store that may know none of their series: each announces all of its series. */
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

/** Bytes that a part adds to the inbox. */
export function blockBytes({ block }: CommitPart): number {
  return (block?.scalars.length ?? 0) + (block?.sketches?.length ?? 0)
}
