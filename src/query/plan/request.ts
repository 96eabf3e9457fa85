import type { FixedOrCalendar, Interval } from '../../model/interval.ts'
import type { TimeZone } from '../../model/zone-offsets.ts'
import type { Aggregation } from './aggregation.ts'
import type { SeriesFilter, TagFilter, TagFilters } from './tag-filter.ts'

export const FILLS = ['none', 'null', 'zero', 'previous'] as const
export type Fill = (typeof FILLS)[number]

export interface TopInput {
  readonly n: number
  /** Name of an aggregation; by default the first one of the query. */
  readonly by?: string
  readonly direction?: 'asc' | 'desc'
  /** Whether the groups left out are merged into one. */
  readonly other?: boolean
}

/** Exactly one of the two. */
export interface CompareInput {
  readonly previousPeriod?: boolean
  /** A length of time or calendar units, such as `6h`, `1w`, `1mo`. */
  readonly offset?: string
}

/** The groups in the result: the first n by one number over the whole range. */
export interface Top {
  readonly n: number
  readonly by: Aggregation
  readonly isAscending: boolean
  readonly other: boolean
}

/** What a query is compared with: the period right before it, or one that lies this far back. */
export type Compare = 'previousPeriod' | FixedOrCalendar

/**
 * A query as a client states it, in any dialect. `prepareQuery` validates it, so that the same mistake has the same
 * code everywhere. Absent fields take their defaults.
 */
export interface QueryInput {
  readonly metric: string
  /** An instant in any accepted form, or text relative to now such as `-6h`. */
  readonly from?: unknown
  readonly to?: unknown
  /** Length of a range that ends now (or at `to`), such as `6h`; excludes `from`. */
  readonly last?: string
  readonly interval?: string
  readonly timezone?: string
  /** Names such as `avg` and `p95`, lower case. */
  readonly aggregations?: readonly string[]
  /** In [0, 1]. */
  readonly quantiles?: readonly number[]
  /** Also computed, if the metric's type has them: a selection set may name aggregations of any type. */
  readonly optionalAggregations?: readonly Aggregation[]
  readonly tags?: TagFilters
  /** All of these and `tags` must match. */
  readonly where?: readonly TagFilter[]
  /** Tag keys. */
  readonly groupBy?: readonly string[]
  readonly bySeries?: boolean
  readonly top?: TopInput
  readonly compare?: CompareInput
  readonly fill?: string
  /** Whether totals over the whole range are needed; for sets they cost another union (default true). */
  readonly totals?: boolean
}

/** A validated query, ready for planning. */
export interface QueryRequest {
  readonly fromMs: number
  /** Inclusive. */
  readonly toMs: number
  readonly nowMs: number
  readonly interval: Interval
  readonly zone: TimeZone
  /** The aggregations of the client, in its order. */
  readonly aggregations: readonly Aggregation[]
  /** `aggregations` and the optional ones that the type has, each name once. */
  readonly computed: readonly Aggregation[]
  /** Undefined: all series match. */
  readonly filter: SeriesFilter | undefined
  readonly groupBy: readonly string[]
  readonly bySeries: boolean
  readonly top: Top | undefined
  readonly compare: Compare | undefined
  readonly fill: Fill
  /** The most result buckets, if fewer than the settings allow. */
  readonly bucketsMax?: number
  /** Equal for queries with the same series in the same groups. */
  readonly selectionKey: string
  /** Equal for queries that can share a run: they differ only in aggregations and `fill`. */
  readonly runKey: string
}
