import { COUNT_MAX } from '../../model/count.ts'
import { GatewayError } from '../../model/errors.ts'
import type { MetricType } from '../../model/metric.ts'
import {
  checkInstant,
  checkName,
  checkTags,
  type PointLimits,
  type PointSink,
  type Rejection,
  reject,
  type SeriesRef,
} from '../../model/point.ts'
import type { HistogramChanges } from '../histogram/cumulative-histograms.ts'
import { checkHistogram, type ExponentialHistogram, observationsOf } from '../histogram/exponential-histogram.ts'
import { limitText } from '../limit-text.ts'
import {
  CUMULATIVE,
  DELTA,
  type HistogramPoint,
  type OtlpMetric,
  type PointTimes,
  type SummaryPoint,
  type TagPair,
} from './otlp-metric.ts'

/**
 * Delivers the points of OTLP metrics to the sink, for both encodings. Each data point is one item, and is stored or
 * rejected as a whole. A point without a value (NaN, or flagged "no recorded value") is neither stored nor rejected.
 */
export interface OtlpOptions {
  readonly nowMs: number
  readonly limits: PointLimits
  /** Maximum number of data points in a request, and maximum number of points that they become. */
  readonly pointsMax: number
  /** Keys of the resource and scope attributes that become tags. */
  readonly resourceTags: ReadonlySet<string>
  readonly histograms: HistogramChanges
}

/** How a number is stored: as a value of a gauge, as an increase, or as a running total. */
export type NumberMode = 'value' | 'delta' | 'total'

/** Points of one series. They are delivered after the whole item has been validated. */
interface Part<S> {
  readonly series: S
  readonly mode: NumberMode
  readonly value: number
}

export class PointDelivery<S extends SeriesRef> {
  readonly sink: PointSink<S>
  readonly options: OtlpOptions
  /** Number of data points so far, which is the index of the next one. */
  items = 0
  #points = 0

  constructor(sink: PointSink<S>, options: OtlpOptions) {
    this.sink = sink
    this.options = options
  }

  /** Returns the index of the next data point. Throws `payload_too_large` if there are too many. */
  nextItem(): number {
    this.#charge(1)
    return this.items++
  }

  reject(index: number, rejection: Rejection): void {
    this.sink.reject(index, rejection)
  }

  /** Returns the series of a metric that is stored under its own name. Checks the name and the tags. */
  resolve({ name, about }: OtlpMetric, type: MetricType, tags: readonly TagPair[]): S | Rejection {
    const { limits } = this.options
    return checkName(name, limits) ?? checkTags(tags, limits) ?? this.sink.resolve(name, type, tags, about)
  }

  /** Resolves the series of a number and delivers the number. Returns the series, or undefined if it was rejected. */
  number(metric: OtlpMetric, tags: readonly TagPair[], times: PointTimes, value: number, index: number): S | undefined {
    const mode = numberModeOf(metric)
    const series = typeof mode === 'string' ? this.resolve(metric, numberTypeOf(mode), tags) : mode
    if ('code' in series) {
      this.reject(index, series)
      return undefined
    }
    this.add(series, mode as NumberMode, times, value, index)
    return series
  }

  /** Delivers a number to a series that is already resolved. */
  add(series: S, mode: NumberMode, times: PointTimes, value: number, index: number): void {
    const timeMs = this.#timeOf(times)
    const bad = checkInstant(timeMs, this.options.nowMs) ?? checkFinite(value)
    if (bad !== undefined) this.reject(index, bad)
    else this.#deliver(series, mode, times, value, index)
  }

  /**
   * Delivers a histogram: a counter for each upper limit, and separate metrics for the count, the sum and the extremes.
   */
  histogram(
    metric: OtlpMetric,
    tags: readonly TagPair[],
    times: PointTimes,
    point: HistogramPoint,
    index: number,
  ): void {
    const mode = sumModeOf(metric)
    const bad = typeof mode === 'string' ? checkBuckets(point) : mode
    if (bad !== undefined) {
      this.reject(index, bad)
      return
    }
    const { name } = metric
    const { count, sum, min, max, bounds, counts } = point
    const parts: Part<S>[] = []
    const whole = counts.length > 0 ? counts : [count]
    const rejection =
      whole.reduce<Rejection | undefined>((found, value, i) => {
        const limit = ['upper_limit', limitText(bounds[i] ?? Number.POSITIVE_INFINITY)] as const
        return found ?? this.#part(parts, name, 'histogram', [...tags, limit], mode as NumberMode, value)
      }, undefined) ??
      this.#part(parts, `${name}_count`, 'counter', tags, mode as NumberMode, count) ??
      this.#part(parts, `${name}_sum`, 'counter', tags, mode as NumberMode, sum) ??
      this.#part(parts, `${name}_min`, 'gauge', tags, 'value', min) ??
      this.#part(parts, `${name}_max`, 'gauge', tags, 'value', max)
    this.#deliverParts(parts, rejection, times, index)
  }

  /**
   * Delivers a summary: a gauge for each quantile, and counters for the count and the sum. Summaries are cumulative.
   */
  summary(
    { name }: OtlpMetric,
    tags: readonly TagPair[],
    times: PointTimes,
    { count, sum, quantiles }: SummaryPoint,
    index: number,
  ): void {
    const parts: Part<S>[] = []
    let rejection: Rejection | undefined
    for (let i = 0; i < quantiles.length && rejection === undefined; i += 2) {
      const rank = quantiles[i]!
      if (!(rank >= 0 && rank <= 1)) rejection = reject('invalid_value', 'a quantile must be 0 to 1')
      // A source without observations sends NaN as its quantiles.
      else if (!Number.isNaN(quantiles[i + 1]))
        rejection = this.#part(
          parts,
          name,
          'summary',
          [...tags, ['quantile', limitText(rank)]],
          'value',
          quantiles[i + 1],
        )
    }
    rejection ??=
      this.#part(parts, `${name}_count`, 'counter', tags, 'total', count) ??
      this.#part(parts, `${name}_sum`, 'counter', tags, 'total', sum)
    this.#deliverParts(parts, rejection, times, index)
  }

  /** Delivers an exponential histogram as observations of a distribution. */
  exponentialHistogram(
    metric: OtlpMetric,
    tags: readonly TagPair[],
    times: PointTimes,
    histogram: ExponentialHistogram,
    index: number,
  ): void {
    const { nowMs, histograms } = this.options
    const mode = sumModeOf(metric)
    const timeMs = this.#timeOf(times)
    const bad = typeof mode === 'string' ? (checkHistogram(histogram) ?? checkInstant(timeMs, nowMs)) : mode
    const series = bad ?? this.resolve(metric, 'distribution', tags)
    if ('code' in series) {
      this.reject(index, series)
      return
    }
    const counted =
      mode === 'delta'
        ? histogram
        : histograms.advance(seriesKey(metric.name, tags), { ...histogram, startMs: times.startMs, timeMs }, nowMs)
    if (counted === undefined) return
    const { values, weights } = observationsOf(counted)
    this.#charge(values.length)
    for (const [i, value] of values.entries()) this.sink.addWeighted(index, series, timeMs, value, weights[i]!)
  }

  #part(
    parts: Part<S>[],
    name: string,
    type: MetricType,
    tags: readonly TagPair[],
    mode: NumberMode,
    value: number | undefined,
  ): Rejection | undefined {
    // The sum of a histogram is NaN if one of its observations was NaN.
    if (value === undefined || Number.isNaN(value)) return undefined
    const { limits } = this.options
    const bad = checkFinite(value) ?? checkName(name, limits) ?? checkTags(tags, limits)
    if (bad !== undefined) return bad
    const series = this.sink.resolve(name, type, tags)
    if ('code' in series) return series
    parts.push({ series, mode, value })
    return undefined
  }

  #deliverParts(parts: readonly Part<S>[], rejection: Rejection | undefined, times: PointTimes, index: number): void {
    const timeMs = this.#timeOf(times)
    const bad = rejection ?? checkInstant(timeMs, this.options.nowMs)
    if (bad !== undefined) {
      this.reject(index, bad)
      return
    }
    this.#charge(parts.length)
    for (const { series, mode, value } of parts) this.#deliver(series, mode, times, value, index)
  }

  /**
   * A total whose start and time are equal has an unknown start. If only their milliseconds are equal, the total is
   * stored a millisecond later, where the stored start of a later total replaces it and the later total counts whole.
   */
  #deliver(series: S, mode: NumberMode, times: PointTimes, value: number, index: number): void {
    const { startMs, startRestNs, timeRestNs } = times
    const timeMs = this.#timeOf(times)
    const isAfterStart = startMs < timeMs || (startMs === timeMs && startRestNs < timeRestNs)
    if (mode !== 'total') this.sink.add(index, series, timeMs, value)
    else if (startMs > 0 && isAfterStart)
      this.sink.addTotalSince(index, series, Math.max(timeMs, startMs + 1), value, startMs)
    else this.sink.addTotal(index, series, timeMs, value)
  }

  /** Returns the time of a point, or the time of reception if the point has none. */
  #timeOf({ timeMs }: PointTimes): number {
    return timeMs === 0 ? this.options.nowMs : timeMs
  }

  #charge(points: number): void {
    this.#points += points
    const { pointsMax } = this.options
    if (this.#points > pointsMax)
      throw new GatewayError('payload_too_large', `at most ${pointsMax} points are allowed in a request`)
  }
}

/** Returns how the numbers of a metric are stored. A cumulative sum that may decrease is stored as a gauge. */
export function numberModeOf({ kind, temporality, isMonotonic }: OtlpMetric): NumberMode | Rejection {
  if (kind === 'gauge' || (temporality === CUMULATIVE && !isMonotonic)) return 'value'
  return sumModeOf({ temporality })
}

export function numberTypeOf(mode: NumberMode): 'gauge' | 'counter' {
  return mode === 'value' ? 'gauge' : 'counter'
}

function sumModeOf({ temporality }: Pick<OtlpMetric, 'temporality'>): 'delta' | 'total' | Rejection {
  if (temporality === DELTA) return 'delta'
  if (temporality === CUMULATIVE) return 'total'
  return reject('invalid_value', 'the aggregation temporality must be delta (1) or cumulative (2)')
}

function checkFinite(value: number): Rejection | undefined {
  return Number.isFinite(value) ? undefined : reject('invalid_value', `the value must be finite, not ${value}`)
}

function checkBuckets({ count, bounds, counts }: HistogramPoint): Rejection | undefined {
  if (counts.length > 0 ? counts.length !== bounds.length + 1 : bounds.length > 0)
    return reject('invalid_value', `${bounds.length} bounds need ${bounds.length + 1} counts, not ${counts.length}`)
  for (const [i, bound] of bounds.entries()) {
    if (!Number.isFinite(bound) || (i > 0 && bound <= bounds[i - 1]!))
      return reject('invalid_value', 'bounds of a histogram must be finite and in ascending order')
  }
  const isCount = (value: number) => value >= 0 && value <= COUNT_MAX
  return isCount(count) && counts.every(isCount)
    ? undefined
    : reject('invalid_value', 'counts of a histogram must be 0 to 2^53')
}

/** Returns a key that is equal for equal tags in any order. */
function seriesKey(name: string, tags: readonly TagPair[]): string {
  return JSON.stringify([name, ...[...tags].sort(([a], [b]) => (a < b ? -1 : 1))])
}
