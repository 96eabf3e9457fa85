import type { FixedOrCalendar, Interval } from '../../model/interval.ts'
import type { TimeZone } from '../../model/zone-offsets.ts'
import type { Aggregation } from '../aggregations.ts'
import type { AcceptedTagValues, SeriesFilter, TagFilter } from './tag-filter.ts'

export const FILLS = ['none', 'null', 'zero', 'previous'] as const
export type Fill = (typeof FILLS)[number]

export interface TopInput {
  readonly n: number
  /** Name of the aggregation by which the groups are ranked; by default the first aggregation of the query. */
  readonly by?: string
  readonly direction?: 'asc' | 'desc'
  /** Whether the groups outside of the top n are merged into one. */
  readonly other?: boolean
}

/**
 * The earlier period of a comparison. With `offset`, `previousPeriod` is ignored. Without `offset`, there is a
 * comparison only if `previousPeriod` is true.
 */
export interface CompareInput {
  readonly previousPeriod?: boolean
  /** How far the earlier period lies back: a length of time or calendar units, such as `6h`, `1w`, `1mo`. */
  readonly offset?: string
}

/** Limits the result to the first n groups, sorted by one value over the whole range. */
export interface Top {
  readonly n: number
  readonly by: Aggregation
  readonly isAscending: boolean
  /** Whether the groups outside of the top n are merged into one, the remainder. */
  readonly withRemainder: boolean
}

/** The earlier period of a comparison: the previous one (`periodBefore`), or the range moved back by this interval. */
export type Compare = 'previousPeriod' | FixedOrCalendar

/**
 * A query from a client, before validation. REST and GraphQL use the same form, and `prepareQuery` validates it, so the
 * same mistake has the same error code in both. Absent fields take their defaults.
 */
export interface QueryInput {
  readonly metric: string
  /**
   * Start of the range: an instant in any accepted form, or text relative to now such as `-6h`. By default 24 h before
   * the end.
   */
  readonly from?: unknown
  /** End of the range, inclusive, in the forms of `from`; by default now. */
  readonly to?: unknown
  /** Length of the range, such as `6h`, in place of `from`. */
  readonly last?: string
  readonly interval?: string
  readonly timezone?: string
  /** Names of aggregations in lower case, such as `avg` and `p95`. */
  readonly aggregations?: readonly string[]
  /** Quantiles to compute, in [0, 1]. */
  readonly quantiles?: readonly number[]
  /**
   * Aggregations that are computed only if the metric's type has them: a GraphQL selection may name those of any type.
   */
  readonly optionalAggregations?: readonly Aggregation[]
  readonly tags?: AcceptedTagValues
  /** Conditions on tags. A series must match all of these and `tags`. */
  readonly where?: readonly TagFilter[]
  /** Keys of the tags to group by. */
  readonly groupBy?: readonly string[]
  readonly bySeries?: boolean
  readonly top?: TopInput
  readonly compare?: CompareInput
  readonly fill?: string
  /** Whether totals over the whole range are computed; default true. For sets, totals cost one more union per group. */
  readonly totals?: boolean
}

/** A validated query, ready for planning. */
export interface QueryRequest {
  readonly fromMs: number
  /** The end of the range, inclusive. */
  readonly toMs: number
  readonly nowMs: number
  readonly interval: Interval
  readonly zone: TimeZone
  /** The aggregations that the client asked for, in its order; the default of the type if it asked for none. */
  readonly aggregations: readonly Aggregation[]
  /** All aggregations to compute: `aggregations`, and the optional ones that the metric type has. Each name once. */
  readonly computedAggregations: readonly Aggregation[]
  /** Undefined if all series match. */
  readonly filter: SeriesFilter | undefined
  readonly groupBy: readonly string[]
  readonly bySeries: boolean
  readonly top: Top | undefined
  readonly compare: Compare | undefined
  readonly fill: Fill
  /** Maximum number of result buckets, if lower than what the settings allow. */
  readonly bucketsMax?: number
  /** Queries of a metric with equal keys select the same series in the same groups, so they share a cached grouping. */
  readonly selectionKey: string
  /**
   * Queries of a metric with equal keys can share one execution, because they differ only in aggregations, totals and
   * `fill`.
   */
  readonly executionKey: string
}
