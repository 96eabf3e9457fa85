import type { Id64 } from '../model/id.ts'
import type { MetricType } from '../model/metric.ts'
import type { CanonicalTags } from '../model/series.ts'

/** The metrics and series of a store, and pages of metrics. */

export interface MetricDefinition {
  readonly project: string
  readonly name: string
  readonly type: MetricType
  readonly unit?: string
  readonly description?: string
}

export interface MetricDeletion {
  readonly project: string
  readonly name: string
  /** The newest generation to delete; `Store.deleteMetric` deletes the older ones too. */
  readonly generation: number
}

export interface MetricRow {
  readonly project: string
  readonly name: string
  readonly type: MetricType
  readonly unit: string | undefined
  readonly description: string | undefined
  readonly generation: number
  readonly metricId: Id64
  readonly partition: number
  /** Number of points that commits have added since the metric was defined. */
  readonly points: number
  /** Earliest time of all points; undefined if the metric has no points. `lastSeenMs`: the latest time. */
  readonly firstSeenMs: number | undefined
  readonly lastSeenMs: number | undefined
  /** Tag keys of all its series, sorted. */
  readonly tagKeys: readonly string[]
  readonly seriesCount: number
  /** Whether any point of this counter was a running total. */
  readonly cumulative: boolean
}

export interface MetricListing {
  /** Cursor: the page starts after this name. Undefined: the first page. */
  readonly after?: string
  /** Maximum number of names that the page goes through, whether they match or not. */
  readonly namesMax: number
  /** Selects names. The rows of other names are not read. Undefined: all names match. */
  readonly matches?: (name: string) => boolean
}

export interface MetricPage {
  /** Only metrics that match and have points, so it may be empty although more pages follow. */
  readonly metrics: readonly MetricRow[]
  /** `MetricListing.after` for the next page, which may be empty. Undefined: no page follows. */
  readonly next: string | undefined
}

export interface SeriesRow {
  readonly seriesId: Id64
  readonly tags: CanonicalTags
}
