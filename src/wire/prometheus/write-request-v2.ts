import { GatewayError } from '../../model/errors.ts'
import type { MetricMetadata, PointSink, Rejection, SeriesRef } from '../../model/point.ts'
import { reject } from '../../model/point.ts'
import { StepBudget, type Steps } from '../../model/steps.ts'
import { ProtobufReader, VARINT } from '../protobuf/protobuf-reader.ts'
import { type Labels, type RemoteWriteOptions, SampleDelivery } from './deliver-samples.ts'
import { aboutOf } from './metadata-cache.ts'
import { readNativeHistogram } from './native-histogram.ts'
import { PROMETHEUS_TYPES, type PrometheusType } from './series-metric.ts'
import {
  type DeliveredItems,
  enterSeries,
  LABELS_MAX,
  MESSAGE_STEP_UNITS,
  readSample,
  SERIES_STEP_UNITS,
} from './write-request-v1.ts'

/**
 * Decodes `io.prometheus.write.v2.Request` of remote write 2.0. All texts are in a table of symbols, and a series
 * refers to its texts by their index in the table. A series has its own metadata, and may have the time of its
 * creation.
 */

/** Maximum number of symbols in a request. Each takes memory, even if it is empty. */
export const SYMBOLS_MAX = 1_000_000

/**
 * Delivers all samples and histograms of a body. Throws `invalid_body`, or `payload_too_large` for too many symbols or
 * points.
 */
export function* decodeWriteRequestV2<S extends SeriesRef>(
  bytes: Uint8Array,
  sink: PointSink<S>,
  options: RemoteWriteOptions,
): Steps<DeliveredItems> {
  const symbols = yield* readSymbols(bytes)
  const reader = new ProtobufReader(bytes)
  const delivery = new SampleDelivery(sink, options)
  const budget = new StepBudget()
  for (const end = bytes.length; reader.next(end); ) {
    if (reader.field !== SERIES_FIELD) reader.skip()
    else {
      const start = reader.position
      readSeries(reader, enterSeries(reader), symbols, delivery)
      if (budget.spend(SERIES_STEP_UNITS + reader.position - start)) yield
    }
    if (budget.spend(MESSAGE_STEP_UNITS)) yield
  }
  return delivery
}

/** Returns whether a body has native histograms. */
export function* hasHistogramsV2(bytes: Uint8Array): Steps<boolean> {
  const reader = new ProtobufReader(bytes)
  const budget = new StepBudget()
  for (const end = bytes.length; reader.next(end); ) {
    if (budget.spend(MESSAGE_STEP_UNITS)) yield
    if (reader.field !== SERIES_FIELD) reader.skip()
    else
      for (const seriesEnd = reader.enter(); reader.next(seriesEnd); ) {
        if (reader.isField(3)) return true
        reader.skip()
        if (budget.spend(4)) yield
      }
  }
  return false
}

/** Field numbers of a request. */
const SYMBOL_FIELD = 4
const SERIES_FIELD = 5

function* readSymbols(bytes: Uint8Array): Steps<readonly string[]> {
  const reader = new ProtobufReader(bytes)
  const budget = new StepBudget()
  const symbols: string[] = []
  for (const end = bytes.length; reader.next(end); ) {
    const start = reader.position
    if (reader.field !== SYMBOL_FIELD) reader.skip()
    else if (symbols.length === SYMBOLS_MAX)
      throw new GatewayError('payload_too_large', `at most ${SYMBOLS_MAX} symbols are allowed in a request`)
    else {
      symbols.push(reader.text(reader.enter()))
      if (budget.spend(reader.position - start)) yield
    }
    if (budget.spend(MESSAGE_STEP_UNITS)) yield
  }
  return symbols
}

/** The fields of a series other than its samples, histograms and exemplars. */
interface SeriesHead {
  readonly labels: Labels | Rejection
  readonly type: PrometheusType | undefined
  readonly about: MetricMetadata
  /** 0: unknown. */
  readonly createdMs: number
}

function readSeries<S extends SeriesRef>(
  reader: ProtobufReader,
  end: number,
  symbols: readonly string[],
  delivery: SampleDelivery<S>,
): void {
  const start = reader.position
  const head = readSeriesHead(reader, end, symbols)
  const { labels, createdMs } = head
  let series: S | Rejection | undefined
  const resolveSeries = (): S | Rejection =>
    // Called only if there is a sample, because it may create a metric and change the labels in place. Native
    // histograms need a metric of another type. The protocol does not allow samples and histograms in one series.
    (series ??= 'code' in labels ? labels : delivery.resolve(labels, head))
  reader.position = start
  while (reader.next(end)) {
    if (reader.field === 2) readSample(reader, delivery, resolveSeries, createdMs)
    else if (reader.field === 3) {
      const histogram = readNativeHistogram(reader, reader.enter())
      const areLabelsInvalid = 'code' in labels
      delivery.deliverHistogram(
        areLabelsInvalid ? [] : labels,
        areLabelsInvalid ? labels : histogram,
        createdMs,
        head.about,
      )
    } else reader.skip()
  }
}

const asUint32 = (reader: ProtobufReader): number => reader.uint32()

function readUint32(reader: ProtobufReader): number {
  reader.requireWireType(VARINT)
  return reader.uint32()
}

function readSeriesHead(reader: ProtobufReader, end: number, symbols: readonly string[]): SeriesHead {
  const symbolIndexes: number[] = []
  let isWithinLimits = true
  let type: PrometheusType | undefined
  let about: MetricMetadata = {}
  let createdMs = 0
  const symbolAt = (symbolIndex: number): string => {
    const text = symbols[symbolIndex]
    if (text === undefined) throw reader.fault(`symbol ${symbolIndex} is not in the table of ${symbols.length}`)
    return text
  }
  while (reader.next(end)) {
    switch (reader.field) {
      case 1:
        isWithinLimits = reader.repeatedVarints(symbolIndexes, 2 * LABELS_MAX, asUint32) && isWithinLimits
        break
      case 5: {
        let helpIndex = 0
        let unitIndex = 0
        for (const metadataEnd = reader.enter(); reader.next(metadataEnd); ) {
          if (reader.isField(1)) type = PROMETHEUS_TYPES[readUint32(reader)]
          else if (reader.isField(3)) helpIndex = readUint32(reader)
          else if (reader.isField(4)) unitIndex = readUint32(reader)
          else reader.skip()
        }
        about = aboutOf(helpIndex === 0 ? '' : symbolAt(helpIndex), unitIndex === 0 ? '' : symbolAt(unitIndex))
        break
      }
      case 6:
        reader.requireWireType(VARINT)
        createdMs = reader.int64()
        break
      default:
        reader.skip()
    }
  }
  if (!isWithinLimits)
    return { labels: reject('invalid_tags', `a series may have ${LABELS_MAX} labels at most`), type, about, createdMs }
  if (symbolIndexes.length % 2 !== 0) throw reader.fault('a label has no value')
  const labels: Labels = []
  for (let i = 0; i < symbolIndexes.length; i += 2)
    labels.push([symbolAt(symbolIndexes[i]!), symbolAt(symbolIndexes[i + 1]!)])
  return { labels, type, about, createdMs }
}
