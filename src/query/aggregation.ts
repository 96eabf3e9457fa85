import { GatewayError } from '../model/errors.ts'
import type { MetricType } from '../model/metric.ts'

export const SIMPLE_AGGREGATIONS = ['count', 'sum', 'avg', 'min', 'max', 'first', 'last', 'rate'] as const
export type SimpleAggregation = (typeof SIMPLE_AGGREGATIONS)[number]

/** One question to a bucket. `name` is how the client spelt it and how the answer names it. */
export type Aggregation =
  | { readonly kind: SimpleAggregation; readonly name: string }
  | { readonly kind: 'quantile'; readonly name: string /** in [0, 1] */; readonly q: number }

interface TypeAggregations {
  readonly simple: readonly SimpleAggregation[]
  readonly quantiles: boolean
  readonly default: SimpleAggregation
}

const BY_TYPE: Readonly<Record<MetricType, TypeAggregations>> = {
  gauge: { simple: ['last', 'avg', 'min', 'max', 'first', 'sum', 'count'], quantiles: false, default: 'last' },
  counter: { simple: ['sum', 'rate', 'count', 'last'], quantiles: false, default: 'sum' },
  distribution: { simple: ['avg', 'sum', 'min', 'max', 'count'], quantiles: true, default: 'avg' },
  set: { simple: ['count'], quantiles: false, default: 'count' },
  histogram: { simple: ['sum', 'rate'], quantiles: true, default: 'sum' },
  summary: { simple: ['last', 'avg', 'min', 'max'], quantiles: false, default: 'last' },
}

/** What a metric of this type answers, spelt for people: `pN` stands for every percentile. */
export function aggregationsOf(type: MetricType): readonly string[] {
  const { simple, quantiles } = BY_TYPE[type]
  return quantiles ? [...simple, 'p50', 'p75', 'p90', 'p95', 'p99', 'p999', 'pN'] : simple
}

export function defaultAggregation(type: MetricType): Aggregation {
  const kind = BY_TYPE[type].default
  return { kind, name: kind }
}

const PERCENTILE = /^p(\d{1,3}(?:\.\d{1,3})?)$/

/** `avg`, `p95`, `p99.9` …; `p999` is the usual short form of p99.9. Undefined: no aggregation of any type. */
export function parseAggregation(name: string): Aggregation | undefined {
  const simple = SIMPLE_AGGREGATIONS.find((kind) => kind === name)
  if (simple !== undefined) return { kind: simple, name }
  if (name === 'p999') return { kind: 'quantile', name, q: 0.999 }
  const percent = Number(PERCENTILE.exec(name)?.[1] ?? Number.NaN)
  return percent <= 100 ? { kind: 'quantile', name, q: percent / 100 } : undefined
}

/** The aggregation of a quantile in [0, 1], named as its percentile: 0.95 → p95. */
export function quantileAggregation(q: number): Aggregation {
  return { kind: 'quantile', name: `p${Number((q * 100).toFixed(6))}`, q }
}

export function isAllowed(aggregation: Aggregation, type: MetricType): boolean {
  const { simple, quantiles } = BY_TYPE[type]
  return aggregation.kind === 'quantile' ? quantiles : simple.includes(aggregation.kind)
}

/** Throws `invalid_aggregation`, listing what the type does answer. */
export function requireAllowed(aggregation: Aggregation, type: MetricType): void {
  if (isAllowed(aggregation, type)) return
  throw unknownAggregation(aggregation.name, type)
}

export function unknownAggregation(name: string, type: MetricType): GatewayError {
  const allowed = aggregationsOf(type)
  return new GatewayError(
    'invalid_aggregation',
    `a ${type} has no aggregation ${JSON.stringify(name.slice(0, 40))}; it answers ${allowed.join(', ')}`,
    {
      details: { allowed },
    },
  )
}
