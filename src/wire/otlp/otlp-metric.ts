import type { MetricAbout } from '../../model/point.ts'

/**
 * What the two encodings of OTLP metrics have in common: the parts of a metric that its points share, and the points
 * that hold more than a number. See opentelemetry-proto, `metrics/v1/metrics.proto`.
 */
export type OtlpKind = 'gauge' | 'sum' | 'histogram' | 'exponentialHistogram' | 'summary'

export const DELTA = 1
export const CUMULATIVE = 2

/** The point exists only to say that its series has no value now. */
export const NO_RECORDED_VALUE = 1

export interface OtlpMetric {
  readonly name: string
  readonly about: MetricAbout
  readonly kind: OtlpKind
  readonly temporality: number
  readonly isMonotonic: boolean
}

export type TagPair = readonly [key: string, value: string]

export interface PointTimes {
  /** 0: unknown. */
  startMs: number
  /** 0: unknown. */
  timeMs: number
}

export interface HistogramPoint {
  count: number
  sum: number | undefined
  min: number | undefined
  max: number | undefined
  /** One fewer than counts, or both are empty. */
  readonly bounds: number[]
  readonly counts: number[]
}

export interface SummaryPoint {
  count: number
  sum: number
  /** Rank and value in turn. */
  readonly quantiles: number[]
}

/** Buckets of a histogram with explicit bounds: each is a series. */
export const HISTOGRAM_BUCKETS_MAX = 1_024
/** Quantiles of a summary: each is a series. */
export const SUMMARY_QUANTILES_MAX = 1_024

/** Attributes of a point, and those of a resource that become tags; far more than a point may have tags. */
export const ATTRIBUTES_MAX = 1_024

/** Of a resource or a scope, beside those that an operator names. */
export const RESOURCE_TAGS = ['service.name', 'service.instance.id'] as const
export const SCOPE_NAME = 'otel.scope.name'
export const SCOPE_VERSION = 'otel.scope.version'
