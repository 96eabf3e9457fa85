import type { CommitPart } from '../../store/store.ts'
import { type RoundPart, seriesTouches } from '../round/round.ts'

/**
 * Commits that the store has acknowledged and may still forget: a server that synchronises once a second loses its last second
 * when it dies, a promoted replica what had not reached it. Whoever acknowledged points to a client keeps them until the
 * store has been seen to hold them a good while later, and offers them again, in order and under their old numbers, when the
 * store turns out to be behind. The numbers decide what counts, so that offering too much is harmless.
 *
 * A commit announces only series that are new. Offered again it announces all of its series, for what had announced them may be
 * forgotten too; the list is made then, and until then a reference a series is all that it costs.
 *
 * Bounded in bytes: the oldest go first, and of those that went the number of points is known for a while, so that a loss
 * can be told in points.
 */
export interface RetainedCommit {
  number: number
  /** None: a fence, or a commit that may not be offered again. */
  parts: readonly RoundPart[]
  points: number
  readonly bytes: number
  /** When the store was last known to have it. */
  heldMs: number
}

interface Chain {
  /** Consecutive numbers; those before `first` are gone. */
  commits: RetainedCommit[]
  first: number
  /** Numbers that were let go and their points, latest last. */
  gone: { readonly number: number; readonly points: number }[]
}

/** Of so many commits that were let go the points are remembered, for each partition. */
const GONE_MAX = 10_000
/** What a commit, what it says of a metric, and a reference to a series take, about. */
const COMMIT_BYTES = 512
const METRIC_BYTES = 128
const SERIES_BYTES = 8

export class RetainedCommits {
  readonly #chains: readonly Chain[]
  readonly #bytesMax: number
  #bytes = 0

  constructor(partitions: number, bytesMax: number) {
    this.#chains = Array.from({ length: partitions }, () => ({ commits: [], first: 0, gone: [] }))
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  /**
   * Keeps a commit; of a partition their numbers are consecutive. Answers how long the oldest that had to go for its sake was
   * kept, undefined when none had to.
   */
  keep(partition: number, number: number, parts: readonly RoundPart[], nowMs: number): number | undefined {
    const chain = this.#chains[partition]!
    const bytes = COMMIT_BYTES + parts.reduce((sum, part) => sum + bytesOf(part), 0)
    chain.commits.push({ number, parts, points: pointsOf(parts), bytes, heldMs: nowMs })
    this.#bytes += bytes
    let shortest: number | undefined
    while (this.#bytes > this.#bytesMax) {
      const oldest = this.#oldestChain()
      if (oldest === undefined) break
      const { heldMs } = this.#letGo(oldest)
      shortest = Math.min(shortest ?? Number.POSITIVE_INFINITY, nowMs - heldMs)
    }
    return shortest
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

  /** Lets go of what the store was known to have at that time. */
  letGoBefore(partition: number, timeMs: number): void {
    const chain = this.#chains[partition]!
    while (chain.first < chain.commits.length && chain.commits[chain.first]!.heldMs <= timeMs) this.#letGo(chain)
  }

  /** Some of it may not be offered again: these parts are left. */
  reduce(commit: RetainedCommit, parts: readonly RoundPart[]): void {
    commit.parts = parts
    commit.points = pointsOf(parts)
  }

  /** It may not be offered again; its number stays. Answers the points lost with it. */
  hollow(commit: RetainedCommit): number {
    const { points } = commit
    commit.parts = []
    commit.points = 0
    return points
  }

  /**
   * Of a partition whose store is older than all that is kept: points of the commits that nobody can offer again. Those that
   * are kept are numbered from 1 on. `isAll` is false when even older ones are missing, of which nothing is remembered.
   */
  restart(partition: number, watermark: number): { readonly points: number; readonly isAll: boolean } {
    const chain = this.#chains[partition]!
    const gone = chain.gone.filter(({ number }) => number > watermark)
    chain.commits = chain.commits.slice(chain.first)
    chain.first = 0
    chain.gone = []
    chain.commits.forEach((commit, i) => {
      commit.number = i + 1
    })
    return {
      points: gone.reduce((sum, { points }) => sum + points, 0),
      isAll: gone.length === 0 || gone[0]!.number === watermark + 1,
    }
  }

  /** Forgets a partition's commits, because their numbers mean nothing any more. */
  clear(partition: number): void {
    const chain = this.#chains[partition]!
    while (chain.first < chain.commits.length) this.#letGo(chain)
    chain.gone = []
  }

  #oldestChain(): Chain | undefined {
    let oldest: Chain | undefined
    for (const chain of this.#chains) {
      const head = chain.commits[chain.first]
      if (head === undefined) continue
      if (oldest === undefined || head.heldMs < oldest.commits[oldest.first]!.heldMs) oldest = chain
    }
    return oldest
  }

  #letGo(chain: Chain): RetainedCommit {
    const commit = chain.commits[chain.first]!
    chain.first++
    this.#bytes -= commit.bytes
    chain.gone.push({ number: commit.number, points: commit.points })
    if (chain.gone.length > 2 * GONE_MAX) chain.gone = chain.gone.slice(-GONE_MAX)
    // The places before `first` still hold on to what was let go.
    if (chain.first > 64 && chain.first * 2 > chain.commits.length) {
      chain.commits = chain.commits.slice(chain.first)
      chain.first = 0
    } else chain.commits[chain.first - 1] = HOLLOW
    return commit
  }
}

const HOLLOW: RetainedCommit = { number: 0, parts: [], points: 0, bytes: 0, heldMs: 0 }

/** The parts as they are offered to a store that may know none of their series. */
export function announcingAll(parts: readonly RoundPart[]): readonly CommitPart[] {
  return parts.map(({ part, series }) => ({ ...part, series: seriesTouches(series) }))
}

function pointsOf(parts: readonly RoundPart[]): number {
  return parts.reduce((sum, { points }) => sum + points, 0)
}

function bytesOf({ part, series }: RoundPart): number {
  let bytes = blockBytes(part) + part.metrics.length * METRIC_BYTES + series.length * SERIES_BYTES
  for (const { members } of part.members) for (const member of members) bytes += member.length
  for (const { json } of part.events) bytes += json.length
  return bytes
}

export function blockBytes({ block }: CommitPart): number {
  return (block?.scalars.length ?? 0) + (block?.sketches?.length ?? 0)
}
