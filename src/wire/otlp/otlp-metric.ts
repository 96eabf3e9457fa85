import type { MetricMetadata } from '../../model/point.ts'

/**
 * Types that the two encodings of OTLP metrics share: the fields of a metric that apply to all of its points, and the
 * points that contain more than a number. See opentelemetry-proto, `metrics/v1/metrics.proto`.
 */
export type OtlpKind = 'gauge' | 'sum' | 'histogram' | 'exponentialHistogram' | 'summary'

export const DELTA = 1
export const CUMULATIVE = 2

/** Flag of a point that only reports that its series currently has no value. */
export const NO_RECORDED_VALUE = 1

export interface OtlpMetric {
  readonly name: string
  readonly about: MetricMetadata
  readonly kind: OtlpKind
  readonly temporality: number
  readonly isMonotonic: boolean
}

export type TagPair = readonly [key: string, value: string]

export interface PointTimes {
  /** Start of the time range in UNIX milliseconds. 0: unknown. */
  startMs: number
  /** Time of the point in UNIX milliseconds. 0: unknown. */
  timeMs: number
  /** Nanoseconds of the start and of the time beyond their milliseconds. */
  startRestNs: number
  timeRestNs: number
}

export function unknownTimes(): PointTimes {
  return { startMs: 0, timeMs: 0, startRestNs: 0, timeRestNs: 0 }
}

export interface HistogramPoint {
  count: number
  sum: number | undefined
  min: number | undefined
  max: number | undefined
  /** Upper limits of the buckets: one fewer than `counts`, unless both are empty. */
  readonly bounds: number[]
  readonly counts: number[]
}

export interface SummaryPoint {
  count: number
  sum: number
  /** Rank and value of each quantile, in turn. */
  readonly quantiles: number[]
}

/** Maximum number of buckets of a histogram with explicit bounds. Each bucket is a series. */
export const HISTOGRAM_BUCKETS_MAX = 1_024
/** Maximum number of quantiles of a summary. Each quantile is a series. */
export const SUMMARY_QUANTILES_MAX = 1_024

/**
 * Maximum number of attributes of a point, and of resource attributes that become tags. A point may have far fewer
 * tags.
 */
export const ATTRIBUTES_MAX = 1_024

/** Resource attributes that always become tags. Operators can configure more. */
export const RESOURCE_TAGS = ['service.name', 'service.instance.id'] as const
export const SCOPE_NAME = 'otel.scope.name'
export const SCOPE_VERSION = 'otel.scope.version'
