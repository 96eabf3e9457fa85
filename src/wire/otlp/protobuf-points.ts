import { type Rejection, reject } from '../../model/point.ts'
import {
  type Bins,
  EXPONENTIAL_BINS_MAX,
  type ExponentialHistogram,
  emptyHistogram,
} from '../histogram/exponential-histogram.ts'
import { FIXED64, type ProtobufReader, VARINT } from '../protobuf/protobuf-reader.ts'
import {
  HISTOGRAM_BUCKETS_MAX,
  type HistogramPoint,
  type PointTimes,
  SUMMARY_QUANTILES_MAX,
  type SummaryPoint,
} from './otlp-metric.ts'

/**
 * Reads data points of histograms and summaries in protobuf, without their attributes. The reader is at the beginning
 * of the point's message, which ends at `end`. A point with too many buckets, bins or quantiles is skipped to its end
 * and rejected.
 */
export interface DecodedPoint<P> {
  readonly point: P
  /** Flags of the data point: see `FLAG_NO_RECORDED_VALUE`. */
  readonly flags: number
  readonly rejection: Rejection | undefined
}

const asFixed64 = (reader: ProtobufReader): number => reader.fixed64()
const asDouble = (reader: ProtobufReader): number => reader.double()
const asUint64 = (reader: ProtobufReader): number => reader.uint64()

function readFixed64(reader: ProtobufReader): number {
  reader.requireWireType(FIXED64)
  return reader.fixed64()
}

function readDouble(reader: ProtobufReader): number {
  reader.requireWireType(FIXED64)
  return reader.double()
}

export function readStart(reader: ProtobufReader, times: PointTimes): void {
  reader.requireWireType(FIXED64)
  times.startMs = reader.nanosAsMs()
  times.startSubMillisecondNs = reader.subMillisecondNs
}

export function readTime(reader: ProtobufReader, times: PointTimes): void {
  reader.requireWireType(FIXED64)
  times.timeMs = reader.nanosAsMs()
  times.timeSubMillisecondNs = reader.subMillisecondNs
}

export function clearTimes(times: PointTimes): void {
  times.startMs = times.timeMs = times.startSubMillisecondNs = times.timeSubMillisecondNs = 0
}

function readFlags(reader: ProtobufReader): number {
  reader.requireWireType(VARINT)
  return reader.uint32()
}

export function readHistogram(reader: ProtobufReader, end: number, times: PointTimes): DecodedPoint<HistogramPoint> {
  const point: HistogramPoint = { count: 0, sum: undefined, min: undefined, max: undefined, bounds: [], counts: [] }
  let flags = 0
  let isWithinLimits = true
  clearTimes(times)
  while (reader.next(end)) {
    switch (reader.field) {
      case 2:
        readStart(reader, times)
        break
      case 3:
        readTime(reader, times)
        break
      case 4:
        point.count = readFixed64(reader)
        break
      case 5:
        point.sum = readDouble(reader)
        break
      case 6:
        isWithinLimits &&= reader.repeated64(point.counts, HISTOGRAM_BUCKETS_MAX, asFixed64)
        break
      case 7:
        isWithinLimits &&= reader.repeated64(point.bounds, HISTOGRAM_BUCKETS_MAX, asDouble)
        break
      case 10:
        flags = readFlags(reader)
        break
      case 11:
        point.min = readDouble(reader)
        break
      case 12:
        point.max = readDouble(reader)
        break
      default:
        reader.skip()
    }
    if (!isWithinLimits) reader.position = end
  }
  return { point, flags, rejection: isWithinLimits ? undefined : tooManyRejection(HISTOGRAM_BUCKETS_MAX, 'buckets') }
}

export function readExponentialHistogram(
  reader: ProtobufReader,
  end: number,
  times: PointTimes,
): DecodedPoint<ExponentialHistogram> {
  const point = emptyHistogram()
  let flags = 0
  let isWithinLimits = true
  clearTimes(times)
  while (reader.next(end)) {
    switch (reader.field) {
      case 2:
        readStart(reader, times)
        break
      case 3:
        readTime(reader, times)
        break
      case 5:
        point.sum = readDouble(reader)
        break
      case 6:
        reader.requireWireType(VARINT)
        point.scale = reader.sint32()
        break
      case 7:
        point.zeroCount = readFixed64(reader)
        break
      case 8:
        isWithinLimits &&= readBins(reader, point.positive)
        break
      case 9:
        isWithinLimits &&= readBins(reader, point.negative)
        break
      case 10:
        flags = readFlags(reader)
        break
      case 12:
        point.min = readDouble(reader)
        break
      case 13:
        point.max = readDouble(reader)
        break
      default:
        reader.skip()
    }
    if (!isWithinLimits) reader.position = end
  }
  return { point, flags, rejection: isWithinLimits ? undefined : tooManyRejection(EXPONENTIAL_BINS_MAX, 'bins') }
}

/** Reads the bins of one side of an exponential histogram. Returns false if there are too many. */
function readBins(reader: ProtobufReader, bins: Bins): boolean {
  for (const end = reader.enter(); reader.next(end); ) {
    if (reader.field === 1) {
      reader.requireWireType(VARINT)
      bins.offset = reader.sint32()
    } else if (reader.field === 2) {
      if (!reader.repeatedVarints(bins.counts, EXPONENTIAL_BINS_MAX, asUint64)) return false
    } else reader.skip()
  }
  return true
}

export function readSummary(reader: ProtobufReader, end: number, times: PointTimes): DecodedPoint<SummaryPoint> {
  const point: SummaryPoint = { count: 0, sum: 0, quantiles: [] }
  let flags = 0
  let isWithinLimits = true
  clearTimes(times)
  while (reader.next(end)) {
    switch (reader.field) {
      case 2:
        readStart(reader, times)
        break
      case 3:
        readTime(reader, times)
        break
      case 4:
        point.count = readFixed64(reader)
        break
      case 5:
        point.sum = readDouble(reader)
        break
      case 6:
        if (point.quantiles.length >= 2 * SUMMARY_QUANTILES_MAX) isWithinLimits = false
        else readQuantile(reader, point.quantiles)
        break
      case 8:
        flags = readFlags(reader)
        break
      default:
        reader.skip()
    }
    if (!isWithinLimits) reader.position = end
  }
  return { point, flags, rejection: isWithinLimits ? undefined : tooManyRejection(SUMMARY_QUANTILES_MAX, 'quantiles') }
}

function readQuantile(reader: ProtobufReader, quantiles: number[]): void {
  let rank = 0
  let value = 0
  for (const end = reader.enter(); reader.next(end); ) {
    if (reader.field === 1) rank = readDouble(reader)
    else if (reader.field === 2) value = readDouble(reader)
    else reader.skip()
  }
  quantiles.push(rank, value)
}

function tooManyRejection(max: number, elements: string): Rejection {
  return reject('invalid_value', `a point may have ${max} ${elements} at most`)
}
