import type { Id64 } from '../model/id.ts'
import type { CanonicalTags } from '../model/series.ts'
import type { MetricRow } from '../store/store.ts'
import type { Aggregation } from './aggregation.ts'
import type { Fill } from './request.ts'

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
  /** Sorted by tags; without grouping exactly one. */
  readonly groups: readonly AnswerGroup[]
  readonly meta: QueryMeta
}

export interface AnswerGroup {
  /** The values of the keys grouped by, in the order asked; of a series all its tags. A missing tag is the empty text. */
  readonly tags: readonly (readonly [key: string, value: string])[]
  /** Of a query by series. */
  readonly series: { readonly seriesId: Id64; readonly tags: CanonicalTags } | undefined
  /** 1 where the bucket holds at least one point. */
  readonly present: Uint8Array
  /** A column for each computed aggregation by its name, NaN where the number does not exist. */
  readonly values: ReadonlyMap<string, Float64Array>
  /** The same over the whole range, NaN where the number does not exist. */
  readonly totals: ReadonlyMap<string, number>
}

export interface QueryMeta {
  /** Widths of the stored buckets that were read, finest first. */
  readonly resolutionsMs: readonly number[]
  readonly rollupsRead: number
  readonly blocksRead: number
  /** Blocks that were already decoded. */
  readonly cacheHits: number
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
 * them, `previous` repeats the last value before (null where there is none).
 */
export function fillLine(group: AnswerGroup, name: string, fill: Fill): Line {
  const column = group.values.get(name)
  const bucket: number[] = []
  const values: (number | null)[] = []
  let previous: number | null = null
  for (let i = 0; i < group.present.length; i++) {
    const value = column === undefined ? Number.NaN : column[i]!
    const known = Number.isFinite(value)
    if (group.present[i] === 1) {
      bucket.push(i)
      values.push(known ? value : null)
      if (known) previous = value
    } else if (fill !== 'none') {
      bucket.push(i)
      values.push(fill === 'zero' ? 0 : fill === 'previous' ? previous : null)
    }
  }
  return { bucket, values }
}
