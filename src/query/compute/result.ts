import { formatId, type Id64 } from '../../model/id.ts'
import type { CanonicalTags } from '../../model/series.ts'
import type { MetricRow } from '../../store/catalog.ts'
import type { Aggregation } from '../aggregations.ts'
import type { Fill } from '../plan/request.ts'

/** The state in `bucketStates` of an unavailable bucket: the stored buckets still kept do not cover it exactly. */
export const UNAVAILABLE = 2

/** The result of a query: the buckets, and for each group one column of values per aggregation. */
export interface QueryResult {
  readonly metric: MetricRow
  /** The range, widened to stored buckets. `fromMs` is inclusive, `toMs` exclusive. */
  readonly fromMs: number
  readonly toMs: number
  /** The interval of the buckets, as `formatInterval` writes it: `15m`, `1d`. */
  readonly interval: string
  readonly timezone: string
  readonly fill: Fill
  readonly aggregations: readonly Aggregation[]
  /** Start and end of each bucket; the end is exclusive. */
  readonly startMs: Float64Array
  readonly endMs: Float64Array
  /** The buckets of the earlier period; undefined if the query has no comparison. */
  readonly comparison?: ComparisonTimes | undefined
  /**
   * The groups, sorted by tags or by rank; the remainder (see `isRemainder`) is last. A query without grouping has
   * exactly one group, even without data and with `top`.
   */
  readonly groups: readonly ResultGroup[]
  readonly meta: QueryMeta
}

/** The times of the counterpart of each bucket: the bucket of the earlier period that it is compared with. */
export interface ComparisonTimes {
  /** Start of each counterpart; where it would start if the bucket has none. */
  readonly startMs: Float64Array
  /** End of each counterpart, exclusive. Equal to `startMs` if the bucket has no counterpart. */
  readonly endMs: Float64Array
  /** For display: `previous period`, `1w before`. */
  readonly label: string
}

export interface ResultGroup {
  /**
   * The tags that the query groups by, in its order; all tags of the series if it groups by series. A missing tag has
   * an empty value.
   */
  readonly tags: readonly (readonly [key: string, value: string])[]
  /** Set if the query groups by series, except in the remainder. */
  readonly series: { readonly seriesId: Id64; readonly tags: CanonicalTags } | undefined
  /**
   * One entry per bucket: 1 = has points, 0 = has none, {@link UNAVAILABLE} = the stored buckets still kept do not
   * cover it exactly.
   */
  readonly bucketStates: Uint8Array
  /**
   * For gauges, one entry per bucket: 1 = a series of the group ended in it, and no series has a last value there.
   * Absent if no series of the result ended, or if no aggregation needs first or last values. May be absent if the
   * group has no data.
   */
  readonly ends?: Uint8Array
  /** One column of values for each computed aggregation, by its name. NaN where there is no value. */
  readonly values: ReadonlyMap<string, Float64Array>
  /**
   * The value of each aggregation over the whole range; NaN if there is none, or if a bucket is unavailable. Empty if
   * totals were not computed; may be empty if the group has no data.
   */
  readonly totals: ReadonlyMap<string, number>
  /**
   * The last value before the range for each aggregation, by its name; NaN for `last` if the group has ended since. A
   * value that was not found is missing. Set only if a fill with `previous` needs it and the group is empty in the
   * first bucket.
   */
  readonly valuesBefore?: ReadonlyMap<string, number>
  /** Set if this group is the remainder: all groups outside of the top n, merged. It has no tags. */
  readonly isRemainder?: true
  /**
   * The same group in the earlier period, with its columns aligned to the buckets of this one. Set if the query has a
   * comparison.
   */
  readonly comparison?: ResultGroup
}

/** Identifies a group: the same group has the same key in all results of queries with equal grouping. */
export function groupKey({ tags, series, isRemainder }: Pick<ResultGroup, 'tags' | 'series' | 'isRemainder'>): string {
  if (isRemainder === true) return 'remainder'
  return series === undefined ? JSON.stringify(tags) : formatId(series.seriesId)
}

export interface QueryMeta {
  /** Widths of the stored buckets in the plan, finest first. */
  readonly resolutionsMs: readonly number[]
  readonly rollupsRead: number
  readonly blocksRead: number
  /** Number of the blocks in `blocksRead` that were in memory already, themselves or in a digest. */
  readonly cacheHits: number
  /**
   * False if values may be too small: a count reached its bound, or running totals arrived too late, decreased too
   * often or have expired in part.
   */
  readonly isExact: boolean
  /** Number of buckets that are unavailable, or whose counterpart is. */
  readonly bucketsUnavailable: number
  /** Number of rollups that were charged to the budget of the request for this result. */
  readonly cost: number
  readonly durationMs: number
  readonly nowMs: number
}

/**
 * One line of a chart after filling: two arrays of equal length, in order of time. `values[i]` is the value of the
 * bucket `bucketIndexes[i]`; `null` if it has none.
 */
export interface FilledLine {
  readonly bucketIndexes: readonly number[]
  readonly values: readonly (number | null)[]
}

/**
 * Returns a column of a group with its empty buckets filled: `null` and `zero` fill in this value, `previous` repeats
 * the last value, also from before the range (`null` if there is none). `previous` does not repeat `last` after the
 * group ended, nor any value after an unavailable bucket. An unavailable bucket is always null. `none` omits the empty
 * buckets. With a comparison, it omits only those that are empty in both periods, so both lines have the same rows.
 */
export function fillLine(group: ResultGroup, name: string, fill: Fill): FilledLine {
  return lineOf(group, group, name, fill)
}

/**
 * Returns the line of the earlier period, with the same rows as `fillLine`. Undefined if the query has no comparison.
 */
export function fillComparison(group: ResultGroup, name: string, fill: Fill): FilledLine | undefined {
  return group.comparison && lineOf(group, group.comparison, name, fill)
}

function lineOf(
  mainGroup: ResultGroup,
  { values: columns, bucketStates, valuesBefore, ends }: ResultGroup,
  name: string,
  fill: Fill,
): FilledLine {
  const column = columns.get(name)
  const bucketIndexes: number[] = []
  const values: (number | null)[] = []
  const isEnd = (i: number): boolean => name === 'last' && ends?.[i] === 1
  const valueBefore = valuesBefore?.get(name) ?? Number.NaN
  let previous = Number.isFinite(valueBefore) ? valueBefore : null
  for (let i = 0; i < bucketStates.length; i++) {
    const isEmpty = mainGroup.bucketStates[i] === 0 && (mainGroup.comparison?.bucketStates[i] ?? 0) === 0
    if (fill === 'none' && isEmpty) continue
    bucketIndexes.push(i)
    if (isEnd(i)) previous = null
    if (bucketStates[i] === 1) {
      const value = column === undefined ? Number.NaN : column[i]!
      const isFiniteValue = Number.isFinite(value)
      values.push(isFiniteValue ? value : null)
      if (isFiniteValue) previous = value
    } else if (bucketStates[i] === UNAVAILABLE) {
      values.push(null)
      previous = null
    } else values.push(fill === 'zero' ? 0 : fill === 'previous' ? previous : null)
  }
  return { bucketIndexes, values }
}
