import { formatId, type Id64 } from '../../model/id.ts'
import type { CanonicalTags } from '../../model/series.ts'
import type { MetricRow } from '../../store/store.ts'
import type { Aggregation } from '../plan/aggregation.ts'
import type { Fill } from '../plan/request.ts'

/** Of a bucket in `present`. */
export const UNAVAILABLE = 2

/** The answer to a query: columns over one row of buckets, one set of columns a group. */
export interface QueryAnswer {
  readonly metric: MetricRow
  /** The range after widening to stored buckets: `fromMs` inclusive, `toMs` exclusive. */
  readonly fromMs: number
  readonly toMs: number
  /** The interval used, spelt shortest: `15m`, `1d`. */
  readonly interval: string
  readonly timezone: string
  readonly fill: Fill
  readonly aggregations: readonly Aggregation[]
  /** Start of each bucket, and its (exclusive) end. */
  readonly startMs: Float64Array
  readonly endMs: Float64Array
  /** Where the buckets of each group's comparison lie; undefined unless the query compares. */
  readonly comparison?: ComparisonTimes | undefined
  /** Sorted by tags, or as they rank, a remainder last; without grouping exactly one. */
  readonly groups: readonly AnswerGroup[]
  readonly meta: QueryMeta
}

/** What each bucket is held against, of an earlier period. */
export interface ComparisonTimes {
  readonly startMs: Float64Array
  /** Equal to the start where the earlier period has no such bucket. */
  readonly endMs: Float64Array
  /** For people: `previous period`, `1w before`. */
  readonly label: string
}

export interface AnswerGroup {
  /** The values of the keys grouped by, in the order asked; of a series all its tags. A missing tag is the empty text. */
  readonly tags: readonly (readonly [key: string, value: string])[]
  /** Of a query by series. */
  readonly series: { readonly seriesId: Id64; readonly tags: CanonicalTags } | undefined
  /** 1 where the bucket holds at least one point, {@link UNAVAILABLE} where kept data cannot tell. */
  readonly present: Uint8Array
  /** A column for each computed aggregation by its name, NaN where the number does not exist. */
  readonly values: ReadonlyMap<string, Float64Array>
  /** The same over the whole range, NaN where the number does not exist or a bucket is unavailable. */
  readonly totals: ReadonlyMap<string, number>
  /** The last value before the range by the name of the aggregation, where a query that fills with the previous one looked for it. */
  readonly before?: ReadonlyMap<string, number>
  /** Merged from all groups that a query for the first few leaves out; it has no tags. */
  readonly isRemainder?: true
  /** The same group in the earlier period, its columns by the buckets of this one; of every group of a query that compares. */
  readonly comparison?: AnswerGroup
}

/** The same text for the same group of every answer. */
export function groupKey({ tags, series, isRemainder }: Pick<AnswerGroup, 'tags' | 'series' | 'isRemainder'>): string {
  if (isRemainder === true) return 'remainder'
  return series === undefined ? JSON.stringify(tags) : formatId(series.seriesId)
}

/** To be spread: totals are computed when they are looked at. */
export function withoutTotals({
  tags,
  series,
  present,
  values,
  before,
  isRemainder,
}: AnswerGroup): Omit<AnswerGroup, 'totals'> {
  return { tags, series, present, values, ...(before && { before }), ...(isRemainder === true && { isRemainder }) }
}

export function withBefore(group: AnswerGroup, before: ReadonlyMap<string, number>): AnswerGroup {
  return {
    ...withoutTotals(group),
    before,
    get totals() {
      return group.totals
    },
  }
}

export interface QueryMeta {
  /** Widths of the stored buckets that were read, finest first. */
  readonly resolutionsMs: readonly number[]
  readonly rollupsRead: number
  readonly blocksRead: number
  /** Blocks that were already decoded. */
  readonly cacheHits: number
  /** False: a count is at its bound, or running totals came too late, or fell too often. What is counted may be too small, never too great. */
  readonly isExact: boolean
  /** Buckets, of the range or of what it is compared with, that kept data cannot fill exactly. */
  readonly bucketsUnavailable: number
  /** Rollups charged to the request before reading. */
  readonly cost: number
  readonly durationMs: number
  readonly nowMs: number
}

/** The points of one chart line: rows to show after filling, in order of time. `null` is a number that does not exist. */
export interface Line {
  readonly bucket: readonly number[]
  readonly values: readonly (number | null)[]
}

/**
 * One column of a group with its gaps treated as the query asked: `none` leaves empty buckets out, `null` and `zero` fill
 * them, `previous` repeats the last value before, be it of before the range (null where there is none). An unavailable bucket is null, whatever was asked. A
 * bucket is empty when it is so in both periods, so that a line and what it is compared with have the same rows.
 */
export function fillLine(group: AnswerGroup, name: string, fill: Fill): Line {
  return lineOf(group, group, name, fill)
}

/** The rows of {@link fillLine}, of the earlier period; undefined unless the query compares. */
export function fillComparison(group: AnswerGroup, name: string, fill: Fill): Line | undefined {
  return group.comparison && lineOf(group, group.comparison, name, fill)
}

function lineOf(
  listed: AnswerGroup,
  { values: columns, present, before }: AnswerGroup,
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
