import { StepBudget, type Steps } from '../../model/steps.ts'
import type { SeriesRow } from '../../store/catalog.ts'

/**
 * The count of each bucket of a histogram, by the upper limit of the bucket. Prometheus sends cumulative counts: the
 * count of a limit includes all lower buckets. The caller adds such a count to its own bucket and subtracts it from the
 * next one. A quantile is interpolated linearly within the bucket that contains its rank.
 */
export class HistogramCounts {
  readonly #counts = new Map<number, number>()

  add(limit: number, count: number): void {
    this.#counts.set(limit, (this.#counts.get(limit) ?? 0) + count)
  }

  merge(other: HistogramCounts): void {
    for (const [limit, count] of other.#counts) this.add(limit, count)
  }

  /**
   * Returns the quantile for `q` in [0, 1]; NaN if no count is positive. The first bucket starts at 0 if its limit is
   * positive. If the quantile lies in the bucket up to infinity, returns the finite limit below it, or NaN if there is
   * none.
   */
  quantile(q: number): number {
    const buckets = [...this.#counts].sort(([a], [b]) => a - b)
    let total = 0
    for (const [, count] of buckets) total += Math.max(0, count)
    const rank = q * total
    let countBelow = 0
    let value = Number.NaN
    for (const [i, [limit, count]] of buckets.entries()) {
      if (!(count > 0)) continue
      const start = buckets[i - 1]?.[0] ?? Math.min(0, limit)
      value =
        limit === Number.POSITIVE_INFINITY
          ? finiteOrNaN(buckets[i - 1]?.[0])
          : interpolate(start, limit, (rank - countBelow) / count)
      countBelow += count
      if (countBelow >= rank) break
    }
    return value
  }
}

function finiteOrNaN(limit: number | undefined): number {
  return limit === undefined || !Number.isFinite(limit) ? Number.NaN : limit
}

function interpolate(start: number, end: number, share: number): number {
  return Number.isFinite(start) ? start + (end - start) * Math.min(1, share) : end
}

/** The limits of a histogram's buckets, by the ordinals of the metric's series: each bucket is a series. */
export interface BucketLimits {
  /** The upper limit of each series. Empty unless counts by limit are needed. */
  readonly upperLimit: Float64Array
  /**
   * For series with cumulative counts: the next higher limit of the same histogram in the same group, whose count
   * includes the count of this series. NaN for the highest limit and for other series. Empty if no series in a
   * group has cumulative counts.
   */
  readonly nextLimit: Float64Array
}

export const NO_BUCKET_LIMITS: BucketLimits = { upperLimit: new Float64Array(0), nextLimit: new Float64Array(0) }

/** Units of work (`StepBudget`) of a series: reading its tags takes about a microsecond. */
const SERIES_STEP_UNITS = 256

/** Reads the limits of a histogram from the tags of its series, see `limitOf`. */
export function* bucketLimitsOf(
  series: readonly SeriesRow[],
  groupOfSeries: Int32Array,
  needsUpperLimits: boolean,
): Steps<BucketLimits> {
  const nextLimit = yield* nextLimitsOf(series, groupOfSeries)
  return { upperLimit: needsUpperLimits ? upperLimitsOf(series) : NO_BUCKET_LIMITS.upperLimit, nextLimit }
}

/** Returns the upper limit of each series of a histogram: infinity if no tag has it. */
export function upperLimitsOf(series: readonly SeriesRow[]): Float64Array {
  return Float64Array.from(series, ({ tags }) => limitOf(tags).limit)
}

/**
 * Returns the upper limit of a series of a histogram: infinity if neither `upper_limit` nor `le` is a number. The
 * gateway writes `upper_limit` for counts that are not cumulative. The limit of cumulative counts is in `le`. A series
 * may have both tags, because clients choose other tags freely: `upper_limit` is then the limit if it is a number.
 */
function limitOf(tags: SeriesRow['tags']): { readonly limit: number; readonly isCumulative: boolean } {
  const upperLimit = numberInTag(tags, 'upper_limit')
  if (upperLimit !== undefined) return { limit: upperLimit, isCumulative: false }
  const cumulativeLimit = numberInTag(tags, 'le')
  return { limit: cumulativeLimit ?? Number.POSITIVE_INFINITY, isCumulative: cumulativeLimit !== undefined }
}

function numberInTag(tags: SeriesRow['tags'], key: string): number | undefined {
  const text = tags.find(([name]) => name === key)?.[1]
  if (text === undefined || text === '') return undefined
  const number = Number(INFINITE_LIMITS.get(text) ?? text)
  return Number.isNaN(number) ? undefined : number
}

function* nextLimitsOf(series: readonly SeriesRow[], groupOfSeries: Int32Array): Steps<Float64Array> {
  const histograms = new Map<string, { readonly ordinal: number; readonly limit: number }[]>()
  const budget = new StepBudget()
  for (const [ordinal, { tags }] of series.entries()) {
    if (budget.spend(SERIES_STEP_UNITS)) yield
    const { limit, isCumulative } = limitOf(tags)
    const group = groupOfSeries[ordinal] ?? -1
    if (!isCumulative || group < 0) continue
    const key = JSON.stringify([group, tags.filter(([name]) => name !== 'le')])
    const seriesLimit = { ordinal, limit }
    const limits = histograms.get(key)
    if (limits === undefined) histograms.set(key, [seriesLimit])
    else limits.push(seriesLimit)
  }
  if (histograms.size === 0) return NO_BUCKET_LIMITS.nextLimit
  const nextLimit = new Float64Array(series.length).fill(Number.NaN)
  for (const limits of histograms.values()) {
    limits.sort((a, b) => a.limit - b.limit)
    for (let i = 1; i < limits.length; i++) nextLimit[limits[i - 1]!.ordinal] = limits[i]!.limit
  }
  return nextLimit
}

const INFINITE_LIMITS: ReadonlyMap<string, number> = new Map([
  ['+Inf', Number.POSITIVE_INFINITY],
  ['-Inf', Number.NEGATIVE_INFINITY],
])
