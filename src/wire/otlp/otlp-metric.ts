import { type MetricMetadata, reject } from '../../model/point.ts'

/**
 * Types that the two encodings of OTLP metrics share: the fields of a metric that apply to all of its points, and the
 * points that contain more than a number. See opentelemetry-proto, `metrics/v1/metrics.proto`.
 */
export type OtlpKind = 'gauge' | 'sum' | 'histogram' | 'exponentialHistogram' | 'summary'

/** Values of `AggregationTemporality`: a point is an increase (delta), or a running total (cumulative). */
export const TEMPORALITY_DELTA = 1
export const TEMPORALITY_CUMULATIVE = 2

/** Bit in the flags of a data point: the point has no value. */
export const FLAG_NO_RECORDED_VALUE = 1

export interface OtlpMetric {
  readonly name: string
  readonly about: MetricMetadata
  readonly kind: OtlpKind
  /** `AggregationTemporality`; 0 if the metric has none. */
  readonly temporality: number
  /** Whether the sum never decreases. */
  readonly isMonotonic: boolean
}

export type TagPair = readonly [key: string, value: string]

export interface PointTimes {
  /** Start of the time range in UNIX milliseconds. 0: unknown. */
  startMs: number
  /** Time of the point in UNIX milliseconds. 0: unknown. */
  timeMs: number
  /** The nanoseconds, less than a million, to add to `startMs` and `timeMs` for the exact times. */
  startSubMillisecondNs: number
  timeSubMillisecondNs: number
}

export function unknownTimes(): PointTimes {
  return { startMs: 0, timeMs: 0, startSubMillisecondNs: 0, timeSubMillisecondNs: 0 }
}

export interface HistogramPoint {
  count: number
  sum: number | undefined
  min: number | undefined
  max: number | undefined
  /** Upper limits of the buckets. In a valid point one fewer than `counts`, unless both are empty. */
  readonly bounds: number[]
  readonly counts: number[]
}

export interface SummaryPoint {
  count: number
  sum: number
  /** Rank and value of each quantile, in turn. */
  readonly quantiles: number[]
}

/**
 * Maximum size of a data point, to bound the work on it. A larger one is rejected. Large data points consist mostly of
 * exemplars, which are not stored. In JSON, only the attributes count.
 */
export const POINT_BYTES_MAX = 1_048_576
export const POINT_TOO_LARGE = reject('invalid_value', `a point may have ${POINT_BYTES_MAX} bytes at most`)

/** Maximum number of buckets of a histogram with explicit bounds. Each bucket is a series. */
export const HISTOGRAM_BUCKETS_MAX = 1_024
/** Maximum number of quantiles of a summary. Each quantile is a series. */
export const SUMMARY_QUANTILES_MAX = 1_024

/**
 * Maximum number of attributes of a data point. For a resource or a scope, it limits all attributes in JSON, and those
 * that become tags in protobuf. By default, the limit for the tags of a point is far lower.
 */
export const ATTRIBUTES_MAX = 1_024

/** Keys of the resource and scope attributes that always become tags. Operators can configure more. */
export const DEFAULT_TAG_KEYS = ['service.name', 'service.instance.id'] as const
/** Tag keys for the name and version of the instrumentation scope, if they are configured. */
export const SCOPE_NAME_TAG_KEY = 'otel.scope.name'
export const SCOPE_VERSION_TAG_KEY = 'otel.scope.version'
