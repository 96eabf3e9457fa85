import { formatId, type Id64 } from '../../model/id.ts'
import type { CanonicalTags } from '../../model/series.ts'
import type { MetricRow } from '../../store/store.ts'
import type { Aggregation } from '../plan/aggregation.ts'
import type { Fill } from '../plan/request.ts'

/** The value in `present` of a bucket that kept data cannot fill. */
export const UNAVAILABLE = 2

/** The result of a query: one row of buckets, and columns over it for each group. */
export interface QueryResult {
  readonly metric: MetricRow
  /** The range after widening to stored buckets: `fromMs` inclusive, `toMs` exclusive. */
  readonly fromMs: number
  readonly toMs: number
  /** The interval used, in its shortest form: `15m`, `1d`. */
  readonly interval: string
  readonly timezone: string
  readonly fill: Fill
  readonly aggregations: readonly Aggregation[]
  /** Start of each bucket, and its (exclusive) end. */
  readonly startMs: Float64Array
  readonly endMs: Float64Array
  /** The buckets of the earlier period; undefined unless the query compares. */
  readonly comparison?: ComparisonTimes | undefined
  /** Sorted by tags or by rank, a remainder last. Exactly one without grouping. */
  readonly groups: readonly ResultGroup[]
  readonly meta: QueryMeta
}

/** For each bucket, the bucket of the earlier period that it is compared with. */
export interface ComparisonTimes {
  readonly startMs: Float64Array
  /** Equal to the start if the earlier period has no such bucket. */
  readonly endMs: Float64Array
  /** For display: `previous period`, `1w before`. */
  readonly label: string
}

export interface ResultGroup {
  /**
   * Keys and values of the grouping, in the order of the query; all tags if by series. A missing tag is the empty text.
   */
  readonly tags: readonly (readonly [key: string, value: string])[]
  /** Set if the query groups by series. */
  readonly series: { readonly seriesId: Id64; readonly tags: CanonicalTags } | undefined
  /** For each bucket 1 if it has points, {@link UNAVAILABLE} if kept data cannot fill it, else 0. */
  readonly present: Uint8Array
  /** A column for each computed aggregation by name; NaN where the number does not exist. */
  readonly values: ReadonlyMap<string, Float64Array>
  /** Each aggregation over the whole range; NaN if a bucket is unavailable. Empty without data or if not requested. */
  readonly totals: ReadonlyMap<string, number>
  /** The last value before the range by aggregation name; set only for `fill: previous`. */
  readonly before?: ReadonlyMap<string, number>
  /** The merged groups outside of the top n; it has no tags. */
  readonly isRemainder?: true
  /**
   * The same group in the earlier period, its columns aligned to the buckets of this one. Set if the query compares.
   */
  readonly comparison?: ResultGroup
}

/** A key of the group, the same in every result. */
export function groupKey({ tags, series, isRemainder }: Pick<ResultGroup, 'tags' | 'series' | 'isRemainder'>): string {
  if (isRemainder === true) return 'remainder'
  return series === undefined ? JSON.stringify(tags) : formatId(series.seriesId)
}

export interface QueryMeta {
  /** Widths of the stored buckets that were read, finest first. */
  readonly resolutionsMs: readonly number[]
  readonly rollupsRead: number
  readonly blocksRead: number
  /** Blocks that were in the cache. */
  readonly cacheHits: number
  /**
   * False if a count is at its bound, or running totals came too late or decreased too often. Numbers may be too small.
   */
  readonly isExact: boolean
  /** Buckets that kept data cannot fill exactly, in the range or the earlier period. */
  readonly bucketsUnavailable: number
  /** Rollups charged to the budget of the request. */
  readonly cost: number
  readonly durationMs: number
  readonly nowMs: number
}

/** One chart line after filling, in order of time. `null` is a number that does not exist. */
export interface Line {
  readonly bucket: readonly number[]
  readonly values: readonly (number | null)[]
}

/**
 * One column of a group with its empty buckets filled: `none` leaves them out, `null` and `zero` fill them, `previous`
 * repeats the last value, even of before the range (null without one). An unavailable bucket is always null. A bucket
 * counts as empty only if it is empty in both periods, so that a line and its comparison have the same rows.
 */
export function fillLine(group: ResultGroup, name: string, fill: Fill): Line {
  return lineOf(group, group, name, fill)
}

/** The line of the earlier period with the same rows as {@link fillLine}; undefined unless the query compares. */
export function fillComparison(group: ResultGroup, name: string, fill: Fill): Line | undefined {
  return group.comparison && lineOf(group, group.comparison, name, fill)
}

function lineOf(
  listed: ResultGroup,
  { values: columns, present, before }: ResultGroup,
  name: string,
  fill: Fill,
): Line {
  const column = columns.get(name)
  const bucket: number[] = []
  const values: (number | null)[] = []
  let previous: number | null = before?.get(name) ?? null
  for (let i = 0; i < present.length; i++) {
    const isEmpty = listed.present[i] === 0 && (listed.comparison?.present[i] ?? 0) === 0
    if (fill === 'none' && isEmpty) continue
    bucket.push(i)
    if (present[i] === 1) {
      const value = column === undefined ? Number.NaN : column[i]!
      const known = Number.isFinite(value)
      values.push(known ? value : null)
      if (known) previous = value
    } else if (present[i] === UNAVAILABLE) {
      values.push(null)
      previous = null
    } else values.push(fill === 'zero' ? 0 : fill === 'previous' ? previous : null)
  }
  return { bucket, values }
}
