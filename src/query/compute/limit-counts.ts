import type { SeriesRow } from '../../store/store.ts'

/**
 * The counts of a histogram by the upper limits of its buckets. Counts are not cumulative over limits. A quantile is
 * interpolated linearly within the bucket that holds its rank.
 */
export class LimitCounts {
  readonly #counts = new Map<number, number>()

  add(limit: number, count: number): void {
    this.#counts.set(limit, (this.#counts.get(limit) ?? 0) + count)
  }

  merge(other: LimitCounts): void {
    for (const [limit, count] of other.#counts) this.add(limit, count)
  }

  /** The first bucket starts at 0 if its limit is positive; the infinite one gives the highest finite limit. */
  quantile(q: number): number {
    const buckets = [...this.#counts].sort(([a], [b]) => a - b)
    let total = 0
    for (const [, count] of buckets) total += Math.max(0, count)
    const rank = q * total
    let below = 0
    let value = Number.NaN
    for (const [i, [limit, count]] of buckets.entries()) {
      if (!(count > 0)) continue
      const start = buckets[i - 1]?.[0] ?? Math.min(0, limit)
      value =
        limit === Number.POSITIVE_INFINITY
          ? highestFinite(buckets[i - 1]?.[0])
          : interpolate(start, limit, (rank - below) / count)
      below += count
      if (below >= rank) break
    }
    return value
  }
}

function highestFinite(limit: number | undefined): number {
  return limit === undefined || !Number.isFinite(limit) ? Number.NaN : limit
}

function interpolate(start: number, end: number, share: number): number {
  return Number.isFinite(start) ? start + (end - start) * Math.min(1, share) : end
}

export const NO_LIMITS = new Float64Array(0)

/** The upper limit of each series of a histogram. */
export function upperLimitsOf(series: readonly SeriesRow[]): Float64Array {
  return Float64Array.from(series, ({ tags }) => {
    const text = tags.find(([key]) => key === 'upper_limit')?.[1] ?? '+Inf'
    return Number(INFINITE.get(text) ?? text)
  })
}

const INFINITE: ReadonlyMap<string, number> = new Map([
  ['+Inf', Number.POSITIVE_INFINITY],
  ['-Inf', Number.NEGATIVE_INFINITY],
])
