import { GatewayError } from '../../model/errors.ts'
import type { MetricType } from '../../model/metric.ts'
import {
  checkName,
  checkTags,
  type PointLimits,
  type PointSink,
  type Rejection,
  reject,
  type SeriesRef,
} from '../../model/point.ts'
import { checkPointTime } from '../../model/point-time.ts'
import { checkBounds, checkCounts, checkFinite } from '../histogram/check-numbers.ts'
import type { HistogramChanges } from '../histogram/cumulative-histograms.ts'
import { checkHistogram, type ExponentialHistogram, observationsOf } from '../histogram/exponential-histogram.ts'
import { limitOrQuantileText } from '../limit-text.ts'
import {
  type HistogramPoint,
  type OtlpMetric,
  type PointTimes,
  type SummaryPoint,
  type TagPair,
  TEMPORALITY_CUMULATIVE,
  TEMPORALITY_DELTA,
} from './otlp-metric.ts'

/**
 * Delivers the data points of OTLP metrics to a `PointSink`, for both encodings (protobuf and JSON). Each data point is
 * one item: it is delivered or rejected as a whole. The decoders skip a data point without a value (a number that is
 * absent or NaN, or the flag "no recorded value"): it is no item.
 */
export interface OtlpOptions {
  readonly nowMs: number
  readonly limits: PointLimits
  /** Maximum number of data points in a request, plus the points into which histograms and summaries are divided. */
  readonly pointsMax: number
  /** Keys of the resource and scope attributes that become tags, in addition to `DEFAULT_TAG_KEYS`. */
  readonly configuredTagKeys: ReadonlySet<string>
  /** Computes the increase of cumulative exponential histograms. */
  readonly histogramChanges: HistogramChanges
}

/** Units of work (`StepBudget`): of resolving a series, and of adding a weighted value. */
const SERIES_STEP_UNITS = 512
const WEIGHTED_VALUE_STEP_UNITS = 32

/** How a number is stored: as a value (of a gauge or a quantile), as an increase, or as a running total. */
export type NumberMode = 'value' | 'delta' | 'total'

/** One number of a histogram or summary, with its series. It is delivered after the whole item has been validated. */
interface SeriesNumber<S> {
  readonly series: S
  readonly mode: NumberMode
  readonly value: number
}

export class PointDelivery<S extends SeriesRef> {
  readonly sink: PointSink<S>
  readonly options: OtlpOptions
  /** Number of items so far, which is the index of the next one. */
  itemCount = 0
  #pointCount = 0
  #stepUnits = 0

  constructor(sink: PointSink<S>, options: OtlpOptions) {
    this.sink = sink
    this.options = options
  }

  /** Counts the next item and returns its index. Throws `payload_too_large` if the request has too many points. */
  nextItem(): number {
    this.#countPoints(1)
    return this.itemCount++
  }

  reject(index: number, rejection: Rejection): void {
    this.sink.reject(index, rejection)
  }

  /** Returns the units of work (`StepBudget`) of the points that were delivered since the last call. */
  takeStepUnits(): number {
    const stepUnits = this.#stepUnits
    this.#stepUnits = 0
    return stepUnits
  }

  /** Returns the series of a metric with these tags. Checks the name of the metric and the tags. */
  resolve({ name, about }: OtlpMetric, type: MetricType, tags: readonly TagPair[]): S | Rejection {
    const { limits } = this.options
    this.#stepUnits += SERIES_STEP_UNITS
    return checkName(name, limits) ?? checkTags(tags, limits) ?? this.sink.resolve(name, type, tags, about)
  }

  /**
   * Finds the series of a number point and delivers the point. Returns the series, also if the point is rejected for
   * its time or value. Undefined: the point is rejected because it gets no series.
   */
  deliverNumber(
    metric: OtlpMetric,
    tags: readonly TagPair[],
    times: PointTimes,
    value: number,
    index: number,
  ): S | undefined {
    const mode = numberModeOf(metric)
    const series = typeof mode === 'string' ? this.resolve(metric, numberTypeOf(mode), tags) : mode
    if ('code' in series) {
      this.reject(index, series)
      return undefined
    }
    this.deliverToSeries(series, mode as NumberMode, times, value, index)
    return series
  }

  /** Delivers a number point to its series, or rejects it if its time or value is invalid. */
  deliverToSeries(series: S, mode: NumberMode, times: PointTimes, value: number, index: number): void {
    const timeMs = this.#timeOf(times)
    const bad = checkPointTime(timeMs, this.options.nowMs) ?? checkFinite(value)
    if (bad !== undefined) this.reject(index, bad)
    else this.#addToSink(series, mode, times, value, index)
  }

  /**
   * Delivers a histogram with explicit bounds: the count of each bucket, with the tag `upper_limit`, counters for the
   * count and the sum, and gauges for the minimum and the maximum. A histogram without buckets gets the bucket `+Inf`.
   */
  deliverHistogram(
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
    const numbers: SeriesNumber<S>[] = []
    const bucketCounts = counts.length > 0 ? counts : [count]
    const rejection =
      bucketCounts.reduce<Rejection | undefined>((rejected, value, i) => {
        const limit = ['upper_limit', limitOrQuantileText(bounds[i] ?? Number.POSITIVE_INFINITY)] as const
        return rejected ?? this.#addNumber(numbers, name, 'histogram', [...tags, limit], mode as NumberMode, value)
      }, undefined) ??
      this.#addNumber(numbers, `${name}_count`, 'counter', tags, mode as NumberMode, count) ??
      this.#addNumber(numbers, `${name}_sum`, 'counter', tags, mode as NumberMode, sum) ??
      this.#addNumber(numbers, `${name}_min`, 'gauge', tags, 'value', min) ??
      this.#addNumber(numbers, `${name}_max`, 'gauge', tags, 'value', max)
    this.#deliverNumbers(numbers, rejection, times, index)
  }

  /**
   * Delivers a summary: the value of each quantile, with its rank as the tag `quantile`, and counters for the count and
   * the sum, which are running totals.
   */
  deliverSummary(
    { name }: OtlpMetric,
    tags: readonly TagPair[],
    times: PointTimes,
    { count, sum, quantiles }: SummaryPoint,
    index: number,
  ): void {
    const numbers: SeriesNumber<S>[] = []
    let rejection: Rejection | undefined
    for (let i = 0; i < quantiles.length && rejection === undefined; i += 2) {
      const rank = quantiles[i]!
      if (!(rank >= 0 && rank <= 1)) rejection = reject('invalid_value', 'a quantile must be 0 to 1')
      // A client sends NaN as the value of a quantile if there were no observations. The quantile is then skipped.
      else if (!Number.isNaN(quantiles[i + 1]))
        rejection = this.#addNumber(
          numbers,
          name,
          'summary',
          [...tags, ['quantile', limitOrQuantileText(rank)]],
          'value',
          quantiles[i + 1],
        )
    }
    rejection ??=
      this.#addNumber(numbers, `${name}_count`, 'counter', tags, 'total', count) ??
      this.#addNumber(numbers, `${name}_sum`, 'counter', tags, 'total', sum)
    this.#deliverNumbers(numbers, rejection, times, index)
  }

  /** Delivers the new observations of an exponential histogram as weighted values of a distribution. */
  deliverExponentialHistogram(
    metric: OtlpMetric,
    tags: readonly TagPair[],
    times: PointTimes,
    histogram: ExponentialHistogram,
    index: number,
  ): void {
    const { nowMs, histogramChanges } = this.options
    const mode = sumModeOf(metric)
    const timeMs = this.#timeOf(times)
    const bad = typeof mode === 'string' ? (checkHistogram(histogram) ?? checkPointTime(timeMs, nowMs)) : mode
    const series = bad ?? this.resolve(metric, 'distribution', tags)
    if ('code' in series) {
      this.reject(index, series)
      return
    }
    const increase =
      mode === 'delta'
        ? histogram
        : histogramChanges.advance(
            seriesKey(metric.name, tags),
            { ...histogram, startMs: times.startMs, timeMs },
            nowMs,
          )
    if (increase === undefined) return
    const { values, weights } = observationsOf(increase)
    this.#countPoints(values.length)
    this.#stepUnits += WEIGHTED_VALUE_STEP_UNITS * values.length
    for (const [i, value] of values.entries()) this.sink.addWeighted(index, series, timeMs, value, weights[i]!)
  }

  /** Adds a number with its series to `numbers`, unless it is absent. Returns why the item must be rejected, if so. */
  #addNumber(
    numbers: SeriesNumber<S>[],
    name: string,
    type: MetricType,
    tags: readonly TagPair[],
    mode: NumberMode,
    value: number | undefined,
  ): Rejection | undefined {
    // The sum of a histogram is NaN if one of its observations was NaN. A NaN counts as absent.
    if (value === undefined || Number.isNaN(value)) return undefined
    const { limits } = this.options
    this.#stepUnits += SERIES_STEP_UNITS
    const bad = checkFinite(value) ?? checkName(name, limits) ?? checkTags(tags, limits)
    if (bad !== undefined) return bad
    const series = this.sink.resolve(name, type, tags)
    if ('code' in series) return series
    numbers.push({ series, mode, value })
    return undefined
  }

  #deliverNumbers(
    numbers: readonly SeriesNumber<S>[],
    rejection: Rejection | undefined,
    times: PointTimes,
    index: number,
  ): void {
    const timeMs = this.#timeOf(times)
    const bad = rejection ?? checkPointTime(timeMs, this.options.nowMs)
    if (bad !== undefined) {
      this.reject(index, bad)
      return
    }
    this.#countPoints(numbers.length)
    for (const { series, mode, value } of numbers) this.#addToSink(series, mode, times, value, index)
  }

  /**
   * Adds one number to its series. For a running total, a start that is not before the time of the point counts as
   * unknown. If the start is before the time, but in the same millisecond, the total is stored one millisecond later.
   * The reason: `addTotalSince` may add a total of 0 one millisecond after the start, before a later total. The total
   * of 0 then has the same time as this total and replaces it, so this total does not count in addition to the later
   * one.
   */
  #addToSink(series: S, mode: NumberMode, times: PointTimes, value: number, index: number): void {
    const { startMs, startSubMillisecondNs, timeSubMillisecondNs } = times
    const timeMs = this.#timeOf(times)
    const isAfterStart = startMs < timeMs || (startMs === timeMs && startSubMillisecondNs < timeSubMillisecondNs)
    if (mode !== 'total') this.sink.add(index, series, timeMs, value)
    else if (startMs > 0 && isAfterStart)
      this.sink.addTotalSince(index, series, Math.max(timeMs, startMs + 1), value, startMs)
    else this.sink.addTotal(index, series, timeMs, value)
  }

  /** Returns the time of a data point; if it has none, the time at which the request was received. */
  #timeOf({ timeMs }: PointTimes): number {
    return timeMs === 0 ? this.options.nowMs : timeMs
  }

  /** Adds to the number of points of the request. Throws `payload_too_large` if there are too many. */
  #countPoints(pointCount: number): void {
    this.#pointCount += pointCount
    const { pointsMax } = this.options
    if (this.#pointCount > pointsMax)
      throw new GatewayError('payload_too_large', `at most ${pointsMax} points are allowed in a request`)
  }
}

/** Returns how the numbers of a gauge or a sum are stored. A cumulative sum that may decrease is stored as a gauge. */
export function numberModeOf({ kind, temporality, isMonotonic }: OtlpMetric): NumberMode | Rejection {
  if (kind === 'gauge' || (temporality === TEMPORALITY_CUMULATIVE && !isMonotonic)) return 'value'
  return sumModeOf({ temporality })
}

export function numberTypeOf(mode: NumberMode): 'gauge' | 'counter' {
  return mode === 'value' ? 'gauge' : 'counter'
}

function sumModeOf({ temporality }: Pick<OtlpMetric, 'temporality'>): 'delta' | 'total' | Rejection {
  if (temporality === TEMPORALITY_DELTA) return 'delta'
  if (temporality === TEMPORALITY_CUMULATIVE) return 'total'
  return reject('invalid_value', 'the aggregation temporality must be delta (1) or cumulative (2)')
}

function checkBuckets({ count, bounds, counts }: HistogramPoint): Rejection | undefined {
  if (counts.length > 0 ? counts.length !== bounds.length + 1 : bounds.length > 0)
    return reject('invalid_value', `${bounds.length} bounds need ${bounds.length + 1} counts, not ${counts.length}`)
  return checkBounds(bounds) ?? checkCounts([count]) ?? checkCounts(counts)
}

/** Returns a text that identifies a series within its project. The order of the tags does not matter. */
function seriesKey(name: string, tags: readonly TagPair[]): string {
  return JSON.stringify([name, ...[...tags].sort(([a], [b]) => (a < b ? -1 : 1))])
}
