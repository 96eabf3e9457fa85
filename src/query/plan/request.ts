import type { FixedOrCalendar, Interval } from '../../model/interval.ts'
import type { TimeZone } from '../../model/zone-offsets.ts'
import type { Aggregation } from './aggregation.ts'
import type { SeriesFilter, TagFilter, TagFilters } from './tag-filter.ts'

export const FILLS = ['none', 'null', 'zero', 'previous'] as const
export type Fill = (typeof FILLS)[number]

export interface TopInput {
  readonly n: number
  /** Name of an aggregation; the first one asked unless given. */
  readonly by?: string
  readonly direction?: 'asc' | 'desc'
  /** Whether the groups left out are merged into one. */
  readonly other?: boolean
}

/** One of both. */
export interface CompareInput {
  readonly previousPeriod?: boolean
  /** A length of time or calendar units, such as `6h`, `1w`, `1mo`. */
  readonly offset?: string
}

/** Which groups are answered: the first by one number over the whole range. */
export interface Top {
  readonly n: number
  readonly by: Aggregation
  readonly isAscending: boolean
  readonly other: boolean
}

/** What a query is compared with: as far back as is said, or right before it. */
export type Compare = 'previousPeriod' | FixedOrCalendar

/**
 * A query as a client states it, in any dialect, not yet judged: `prepareQuery` does that, so that the same mistake has
 * the same code everywhere. Absent fields take their defaults.
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
  /** Computed as well, but only where the metric's type answers them: what a selection set may name for any type. */
  readonly optionalAggregations?: readonly Aggregation[]
  readonly tags?: TagFilters
  /** All must hold, and `tags` too. */
  readonly where?: readonly TagFilter[]
  /** Tag keys. */
  readonly groupBy?: readonly string[]
  readonly bySeries?: boolean
  readonly top?: TopInput
  readonly compare?: CompareInput
  readonly fill?: string
  /** Whether anybody will look at totals over the whole range; for sets they cost another union (default true). */
  readonly totals?: boolean
}

/** A query that has been judged and can be planned. */
export interface QueryRequest {
  readonly fromMs: number
  /** Inclusive. */
  readonly toMs: number
  readonly nowMs: number
  readonly interval: Interval
  readonly zone: TimeZone
  /** What the client asked for, in its order. */
  readonly aggregations: readonly Aggregation[]
  /** `aggregations` and the optional ones that the type answers, each name once. */
  readonly computed: readonly Aggregation[]
  /** Undefined: every series is wanted. */
  readonly filter: SeriesFilter | undefined
  readonly groupBy: readonly string[]
  readonly bySeries: boolean
  readonly top: Top | undefined
  readonly compare: Compare | undefined
  readonly fill: Fill
  /** Buckets that may be answered, if fewer than the settings allow. */
  readonly bucketsMax?: number
  /** The same text for the same series in the same groups. */
  readonly selection: string
  /** The same text for the same question, whatever is computed and however gaps are filled. */
  readonly question: string
}
