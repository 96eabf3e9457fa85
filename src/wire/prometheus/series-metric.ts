import { type Rejection, reject } from '../../model/point.ts'
import { limitOrQuantileText } from '../limit-text.ts'

/**
 * Finds the metric and the type of a Prometheus series. A counter or a gauge in metadata keeps its type, and all series
 * of a gauge histogram are gauges. For any other series, the first of these rules that matches decides:
 *
 * - `X_bucket` with a label `le`: histogram `X`, tag `le`
 * - `X_sum`, `X_count`, `X_total`: counter with the name of the series
 * - a label `quantile`: summary with the name of the series, tag `quantile`
 * - anything else: gauge
 *
 * Limits in `le` are inclusive. The count of an `le` series includes the counts of all smaller limits; the count of a
 * series with the tag `upper_limit` (from native histograms and other protocols) does not.
 */

/** The type of a metric family in Prometheus metadata. */
export type PrometheusType = 'counter' | 'gauge' | 'histogram' | 'gaugehistogram' | 'summary'

/**
 * Types by their number in the metadata of both protocol versions. INFO and STATESET are gauges. Undefined: unknown
 * type.
 */
export const PROMETHEUS_TYPES: readonly (PrometheusType | undefined)[] = [
  undefined,
  'counter',
  'gauge',
  'histogram',
  'gaugehistogram',
  'summary',
  'gauge',
  'gauge',
]

/** The metric to which a series belongs. */
export interface SeriesMetric {
  readonly name: string
  readonly type: 'counter' | 'gauge' | 'histogram' | 'summary'
}

/**
 * Returns the metric and type of a series. `typeOf` returns the type of a metric family from metadata. If a label `le`
 * or `quantile` decides the type, its number is normalized in place.
 */
export function metricOfSeries(
  name: string,
  labels: [name: string, value: string][],
  typeOf: (family: string) => PrometheusType | undefined,
): SeriesMetric | Rejection {
  const limitLabel = labels.find(([label]) => label === 'le')
  const quantileLabel = labels.find(([label]) => label === 'quantile')
  const ownType = typeOf(name)
  if (ownType === 'counter' || ownType === 'gauge') return { name, type: ownType }
  const suffixMatch = /^(.+)_(bucket|sum|count|gsum|gcount)$/.exec(name)
  const familyName = suffixMatch?.[1] ?? name
  const isGaugeHistogram =
    ownType === 'gaugehistogram' || (suffixMatch !== null && typeOf(familyName) === 'gaugehistogram')
  if (isGaugeHistogram) return { name, type: 'gauge' }
  switch (suffixMatch?.[2]) {
    case 'bucket':
      if (limitLabel === undefined) break
      return normalizeNumber(limitLabel) ?? { name: familyName, type: 'histogram' }
    case 'sum':
    case 'count':
      return { name, type: 'counter' }
  }
  if (name.endsWith('_total')) return { name, type: 'counter' }
  if (quantileLabel !== undefined) return normalizeNumber(quantileLabel) ?? { name, type: 'summary' }
  return { name, type: 'gauge' }
}

/** Replaces the number in a label by its normal form: `1`, `1.0` and `1e0` become the same text. */
function normalizeNumber(label: [name: string, value: string]): Rejection | undefined {
  const [name, value] = label
  const number =
    value === '+Inf' ? Number.POSITIVE_INFINITY : value === '-Inf' ? Number.NEGATIVE_INFINITY : Number(value)
  if (Number.isNaN(number) || value === '') return reject('invalid_tags', `label ${name} must be a number`)
  label[1] = limitOrQuantileText(number)
  return undefined
}
