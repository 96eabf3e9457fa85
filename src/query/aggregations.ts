import { GatewayError, quote } from '../model/errors.ts'
import type { MetricType } from '../model/metric.ts'

/**
 * An aggregation: one of `AGGREGATIONS`, or another quantile. REST, GraphQL and the merge are derived from
 * `AGGREGATIONS`: a new aggregation that needs no new accumulator is one entry there.
 */
export interface Aggregation {
  /** The name in requests and results. */
  readonly name: string
  /** The description in the GraphQL schema. */
  readonly description: string
  readonly types: readonly MetricType[]
  /** The accumulated values that the aggregation needs besides count and sum. */
  readonly needs: readonly OptionalValue[]
  /**
   * Computes the value of a bucket or of the whole range; NaN if there is no such value. Not called without points,
   * except for the totals of sets.
   */
  compute(accumulated: AccumulatedValues): number
}

/** Which values a query accumulates besides count and sum: those that its aggregations need. */
export interface RequiredAccumulators {
  readonly needsMinAndMax: boolean
  readonly needsFirstAndLast: boolean
  readonly needsSketches: boolean
  /** Whether the counts of a histogram's buckets are needed, by the upper limit of the bucket. */
  readonly needsCountsByLimit: boolean
}

/** The accumulated values of one group, in one bucket or in the whole range. */
export interface AccumulatedValues {
  readonly count: number
  readonly sum: number
  readonly min: number
  readonly max: number
  readonly first: number
  readonly last: number
  /** Length in seconds of the part of the bucket or range that a rate covers: a rate is the sum divided by it. */
  readonly seconds: number
  /** Returns the quantile for `q` in [0, 1]. NaN if it is unknown, for example without a sketch or histogram. */
  quantile(q: number): number
}

/** Values that a query accumulates only if an aggregation needs them. */
type OptionalValue = 'minAndMax' | 'firstAndLast' | 'quantiles'

const QUANTILE_TYPES: readonly MetricType[] = ['distribution', 'histogram']

/** A class and not an object with a closure, so that two aggregations of the same quantile are deeply equal. */
class Quantile implements Aggregation {
  readonly name: string
  readonly q: number
  readonly description: string
  readonly types = QUANTILE_TYPES
  readonly needs = ['quantiles'] as const

  constructor(name: string, q: number, description: string) {
    this.name = name
    this.q = q
    this.description = description
  }

  compute(accumulated: AccumulatedValues): number {
    return accumulated.quantile(this.q)
  }
}

export const AGGREGATIONS: readonly Aggregation[] = [
  {
    name: 'count',
    description: 'Number of points; of a SET the number of distinct members (standard error 0.81 %).',
    types: ['gauge', 'counter', 'distribution', 'set'],
    needs: [],
    compute: ({ count }) => count,
  },
  {
    name: 'sum',
    description: 'Sum of the values; of a COUNTER its increase, of a HISTOGRAM the number of observations.',
    types: ['gauge', 'counter', 'distribution', 'histogram'],
    needs: [],
    compute: ({ sum }) => sum,
  },
  {
    name: 'avg',
    description: 'Mean over all points of all series in the group.',
    types: ['gauge', 'distribution', 'summary'],
    needs: [],
    compute: ({ sum, count }) => sum / count,
  },
  {
    name: 'min',
    description: 'Least value.',
    types: ['gauge', 'distribution', 'summary'],
    needs: ['minAndMax'],
    compute: ({ min }) => min,
  },
  {
    name: 'max',
    description: 'Greatest value.',
    types: ['gauge', 'distribution', 'summary'],
    needs: ['minAndMax'],
    compute: ({ max }) => max,
  },
  {
    name: 'range',
    description: 'Greatest value minus least value.',
    types: ['gauge', 'distribution'],
    needs: ['minAndMax'],
    compute: ({ min, max }) => max - min,
  },
  {
    name: 'first',
    description: 'Value of the earliest point.',
    types: ['gauge'],
    needs: ['firstAndLast'],
    compute: ({ first }) => first,
  },
  {
    name: 'last',
    description: 'Value of the latest point; of a COUNTER the latest running total.',
    types: ['gauge', 'counter', 'summary'],
    needs: ['firstAndLast'],
    compute: ({ last }) => last,
  },
  {
    name: 'rate',
    description: 'Increase per second.',
    types: ['counter', 'histogram'],
    needs: [],
    compute: ({ sum, seconds }) => sum / seconds,
  },
  quantile('p50', 0.5, 'Median. Percentiles are within 1 %, or interpolated in a HISTOGRAM.'),
  quantile('p75', 0.75, '75th percentile.'),
  quantile('p90', 0.9, '90th percentile.'),
  quantile('p95', 0.95, '95th percentile.'),
  quantile('p99', 0.99, '99th percentile.'),
  quantile('p999', 0.999, '99.9th percentile.'),
]

function quantile(name: string, q: number, description = ''): Aggregation {
  return new Quantile(name, q, description)
}

const AGGREGATIONS_BY_NAME: ReadonlyMap<string, Aggregation> = new Map(
  AGGREGATIONS.map((aggregation) => [aggregation.name, aggregation]),
)

const DEFAULT_AGGREGATION_NAMES: Readonly<Record<MetricType, string>> = {
  gauge: 'last',
  counter: 'sum',
  distribution: 'avg',
  set: 'count',
  histogram: 'sum',
  summary: 'last',
}

export function defaultAggregation(type: MetricType): Aggregation {
  return AGGREGATIONS_BY_NAME.get(DEFAULT_AGGREGATION_NAMES[type])!
}

/** Returns the names of the aggregations of a metric type, the default first. `pN` stands for any percentile. */
export function aggregationNamesOf(type: MetricType): readonly string[] {
  const names = AGGREGATIONS.filter(({ types }) => types.includes(type)).map(({ name }) => name)
  const anyQuantile = QUANTILE_TYPES.includes(type) ? ['pN'] : []
  return [...new Set([DEFAULT_AGGREGATION_NAMES[type], ...names, ...anyQuantile])]
}

const PERCENTILE_NAME = /^p(\d{1,3}(?:\.\d{1,3})?)$/

/**
 * Returns the aggregation with a name such as `avg`, `p95`, `p99.9`. `p999` is the usual short form of p99.9. Undefined
 * if there is none.
 */
export function parseAggregation(name: string): Aggregation | undefined {
  const namedAggregation = AGGREGATIONS_BY_NAME.get(name)
  if (namedAggregation !== undefined) return namedAggregation
  // Not divided by 100, which rounds: p99.9 is the quantile that JSON's 0.999 is.
  const q = Number(`${PERCENTILE_NAME.exec(name)?.[1]}e-2`)
  return q <= 1 ? quantile(name, q) : undefined
}

/**
 * Returns the aggregation of a quantile in [0, 1], named as its percentile: 0.95 is p95. Different quantiles have
 * different names.
 */
export function quantileAggregation(q: number): Aggregation {
  return quantile(`p${percentText(q)}`, q)
}

/**
 * Returns a quantile in percent, as JavaScript writes numbers. The decimal point of its shortest text is moved, because
 * a multiplication by 100 rounds: different quantiles could get the same text.
 */
function percentText(q: number): string {
  const [mantissa = '', exponent] = q.toExponential().split('e')
  const digits = mantissa.replace('.', '')
  const wholeDigitCount = Number(exponent) + 3
  if (wholeDigitCount < -5) return `${mantissa}e${wholeDigitCount - 1}`
  if (wholeDigitCount <= 0) return `0.${'0'.repeat(-wholeDigitCount)}${digits}`
  const whole = Number(digits.slice(0, wholeDigitCount).padEnd(wholeDigitCount, '0'))
  return digits.length <= wholeDigitCount ? `${whole}` : `${whole}.${digits.slice(wholeDigitCount)}`
}

export function appliesToType({ types }: Aggregation, type: MetricType): boolean {
  return types.includes(type)
}

/** Throws `invalid_aggregation` if the metric type does not have the aggregation; the error lists those that it has. */
export function requireAppliesToType(aggregation: Aggregation, type: MetricType): void {
  if (!appliesToType(aggregation, type)) throw invalidAggregationError(aggregation.name, type)
}

export function invalidAggregationError(name: string, type: MetricType): GatewayError {
  const allowed = aggregationNamesOf(type)
  return new GatewayError(
    'invalid_aggregation',
    `a ${type} has no aggregation ${quote(name)}; it has ${allowed.join(', ')}`,
    { details: { allowed } },
  )
}

/**
 * Returns which accumulators these aggregations need. Quantiles of a histogram are computed from counts by upper limit,
 * quantiles of other types from a sketch with the exact minimum and maximum.
 */
export function requiredAccumulatorsOf(aggregations: readonly Aggregation[], type: MetricType): RequiredAccumulators {
  const needs = new Set(aggregations.flatMap((aggregation) => aggregation.needs))
  const needsCountsByLimit = type === 'histogram' && needs.has('quantiles')
  const needsSketches = type !== 'histogram' && needs.has('quantiles')
  return {
    needsMinAndMax: needsSketches || needs.has('minAndMax'),
    needsFirstAndLast: needs.has('firstAndLast'),
    needsSketches,
    needsCountsByLimit,
  }
}
