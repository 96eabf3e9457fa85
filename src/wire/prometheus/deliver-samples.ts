import { GatewayError } from '../../model/errors.ts'
import type { MetricType } from '../../model/metric.ts'
import {
  checkName,
  checkTags,
  type MetricMetadata,
  type PointLimits,
  type PointSink,
  type Rejection,
  reject,
  type SeriesRef,
} from '../../model/point.ts'
import { checkPointTime } from '../../model/point-time.ts'
import { checkBounds, checkCounts, checkFinite } from '../histogram/check-numbers.ts'
import type { HistogramChanges } from '../histogram/cumulative-histograms.ts'
import { checkHistogram, observationsOf } from '../histogram/exponential-histogram.ts'
import { limitOrQuantileText } from '../limit-text.ts'
import { type NativeHistogram, RESET_HINT_GAUGE, RESET_HINT_RESET } from './native-histogram.ts'
import { metricOfSeries, type PrometheusType } from './series-metric.ts'

/**
 * Delivers samples and native histograms of Prometheus to a `PointSink`, for both protocol versions. Each sample and
 * each native histogram is one item. Counters are running totals; the first total of a counter without a start counts
 * nothing. A NaN sample is skipped, but a stale marker (a special NaN) ends the series of a gauge or a quantile.
 */
export interface RemoteWriteOptions {
  readonly nowMs: number
  readonly limits: PointLimits
  /** Maximum number of samples and histograms in a request, plus the points into which histograms are divided. */
  readonly pointsMax: number
  /** Computes the increase of cumulative native histograms. */
  readonly histogramChanges: HistogramChanges
  /** Returns the cached metadata of a metric family. Only requests of version 1.0 add to the cache. */
  readonly metadataOf: (
    family: string,
  ) => { readonly type: PrometheusType | undefined; readonly about: MetricMetadata } | undefined
}

/** Labels of a series. Those that a decoder reads include `__name__`. */
export type Labels = [name: string, value: string][]

interface NamedSeries {
  readonly name: string
  readonly tags: Labels
}

export class SampleDelivery<S extends SeriesRef> {
  readonly sink: PointSink<S>
  readonly options: RemoteWriteOptions
  /** Number of samples and histograms so far, which is the index of the next one. */
  itemCount = 0
  /** Indexes of the items that are histograms. */
  readonly histogramIndexes = new Set<number>()
  #pointCount = 0

  constructor(sink: PointSink<S>, options: RemoteWriteOptions) {
    this.sink = sink
    this.options = options
  }

  /**
   * Returns the series to which samples with these labels belong. Without `requestMetadata`, the cached metadata is
   * used to find the type of the metric. May normalize the labels `le` and `quantile` in place.
   */
  resolve(
    labels: Labels,
    requestMetadata?: { readonly type: PrometheusType | undefined; readonly about: MetricMetadata },
  ): S | Rejection {
    const named = splitLabels(labels)
    if ('code' in named) return named
    const { name, tags } = named
    const { metadataOf } = this.options
    const seriesMetric = metricOfSeries(
      name,
      tags,
      requestMetadata === undefined ? (family) => metadataOf(family)?.type : () => requestMetadata.type,
    )
    if ('code' in seriesMetric) return seriesMetric
    const about = requestMetadata?.about ?? metadataOf(seriesMetric.name)?.about
    const series = this.#resolve(seriesMetric.name, seriesMetric.type, tags, about)
    if (!('code' in series) || series.code !== 'type_conflict') return series
    // A metric keeps the type of its first sample, which may have arrived before the metadata.
    const otherType = seriesMetric.type === 'counter' ? 'gauge' : seriesMetric.type === 'gauge' ? 'counter' : undefined
    const otherSeries = otherType && this.#resolve(seriesMetric.name, otherType, tags, about)
    return otherSeries === undefined || 'code' in otherSeries ? series : otherSeries
  }

  /** Delivers a sample. Skips the value NaN without an error. `startMs` is 0 if the start is unknown. */
  deliverSample(series: S | Rejection, timeMs: number, value: number, startMs: number): void {
    const index = this.#nextItem()
    if (Number.isNaN(value)) return
    const bad =
      'code' in series
        ? series
        : (checkPointTime(timeMs, this.options.nowMs) ??
          (Number.isFinite(value) ? undefined : reject('invalid_value', `a sample must be finite, not ${value}`)))
    if (bad !== undefined) this.sink.reject(index, bad)
    else this.#addToSink(series as S, index, timeMs, value, startMs)
  }

  /**
   * Delivers a stale marker as an end marker if its series is a gauge or a quantile. For any other series, a rejected
   * one or an invalid time, the stale marker is skipped without an error, because no value is lost.
   */
  deliverStaleMarker(series: S | Rejection, timeMs: number): void {
    const index = this.#nextItem()
    if ('code' in series || series.kind !== 'gauge') return
    if (checkPointTime(timeMs, this.options.nowMs) === undefined) this.sink.addEnd(index, series, timeMs)
  }

  /**
   * Delivers a native histogram, or rejects the item if `histogram` is a rejection. Skips a stale marker. `startMs` is
   * used if the histogram itself has no start.
   */
  deliverHistogram(
    labels: Labels,
    histogram: NativeHistogram | Rejection,
    startMs: number,
    about: MetricMetadata | undefined,
  ): void {
    const index = this.#nextItem()
    this.histogramIndexes.add(index)
    const named = 'code' in histogram ? histogram : splitLabels(labels)
    if ('code' in named || 'code' in histogram) {
      this.sink.reject(index, named as Rejection)
      return
    }
    if (histogram.isStale) return
    histogram.startMs ||= startMs
    const bad =
      checkPointTime(histogram.timeMs, this.options.nowMs) ??
      (histogram.resetHint === RESET_HINT_GAUGE
        ? reject('invalid_type', 'a histogram that is a gauge cannot be added up')
        : histogram.bucketLimits === undefined
          ? this.#deliverExponential(named, histogram, about, index)
          : this.#deliverCustomBuckets(named, histogram, histogram.bucketLimits, index))
    if (bad !== undefined) this.sink.reject(index, bad)
  }

  /** Delivers the new observations of a histogram with exponential bins as weighted values of a distribution. */
  #deliverExponential(
    { name, tags }: NamedSeries,
    { bins, timeMs, startMs, resetHint }: NativeHistogram,
    about: MetricMetadata | undefined,
    index: number,
  ): Rejection | undefined {
    const { nowMs, histogramChanges } = this.options
    const rejection = checkHistogram(bins)
    const series = rejection ?? this.#resolve(name, 'distribution', tags, about)
    if ('code' in series) return series
    const seriesKey = JSON.stringify([name, ...tags])
    const increase = histogramChanges.advance(
      seriesKey,
      { ...bins, startMs, timeMs },
      nowMs,
      resetHint === RESET_HINT_RESET,
    )
    if (increase === undefined) return undefined
    const { values, weights } = observationsOf(increase)
    this.#countPoints(values.length)
    for (const [i, value] of values.entries()) this.sink.addWeighted(index, series, timeMs, value, weights[i]!)
    return undefined
  }

  /**
   * Delivers a histogram with custom buckets: the count of each bucket, with the tag `upper_limit`, and counters for
   * the count and the sum of the histogram. The count of a bucket does not include the counts of smaller limits.
   */
  #deliverCustomBuckets(
    { name, tags }: NamedSeries,
    { bins, count, timeMs, startMs }: NativeHistogram,
    bucketLimits: readonly number[],
    index: number,
  ): Rejection | undefined {
    const { offset, counts } = bins.positive
    const badNumber =
      checkBounds(bucketLimits) ?? checkCounts([count]) ?? checkCounts(counts) ?? checkFinite(bins.sum ?? 0)
    if (badNumber !== undefined) return badNumber
    const points: { series: S; value: number }[] = []
    const addPoint = (
      metricName: string,
      type: MetricType,
      pointTags: Labels,
      value: number | undefined,
    ): Rejection | undefined => {
      if (value === undefined) return undefined
      const series = this.#resolve(metricName, type, pointTags, undefined)
      if ('code' in series) return series
      points.push({ series, value })
      return undefined
    }
    for (let i = 0; i <= bucketLimits.length; i++) {
      const limit = limitOrQuantileText(bucketLimits[i] ?? Number.POSITIVE_INFINITY)
      const bad = addPoint(name, 'histogram', [...tags, ['upper_limit', limit]], counts[i - offset] ?? 0)
      if (bad !== undefined) return bad
    }
    const bad = addPoint(`${name}_count`, 'counter', tags, count) ?? addPoint(`${name}_sum`, 'counter', tags, bins.sum)
    if (bad !== undefined) return bad
    this.#countPoints(points.length)
    for (const { series, value } of points) this.#addToSink(series, index, timeMs, value, startMs)
    return undefined
  }

  #addToSink(series: S, index: number, timeMs: number, value: number, startMs: number): void {
    if (series.kind !== 'counter') this.sink.add(index, series, timeMs, value)
    else if (startMs > 0 && startMs < timeMs) this.sink.addTotalSince(index, series, timeMs, value, startMs)
    else this.sink.addTotal(index, series, timeMs, value)
  }

  #resolve(name: string, type: MetricType, tags: Labels, about: MetricMetadata | undefined): S | Rejection {
    const { limits } = this.options
    return checkName(name, limits) ?? checkTags(tags, limits) ?? this.sink.resolve(name, type, tags, about)
  }

  /** Counts the next item and returns its index. Throws `payload_too_large` if the request has too many points. */
  #nextItem(): number {
    this.#countPoints(1)
    return this.itemCount++
  }

  /** Adds to the number of points of the request. Throws `payload_too_large` if there are too many. */
  #countPoints(pointCount: number): void {
    this.#pointCount += pointCount
    const { pointsMax } = this.options
    if (this.#pointCount > pointsMax)
      throw new GatewayError('payload_too_large', `at most ${pointsMax} points are allowed in a request`)
  }
}

/** Separates the name of the metric from the other labels. */
function splitLabels(labels: Labels): NamedSeries | Rejection {
  const name = labels.find(([label]) => label === '__name__')?.[1]
  if (name === undefined) return reject('missing_name', 'a series must have the label __name__')
  return { name, tags: labels.filter(([label]) => label !== '__name__') }
}
