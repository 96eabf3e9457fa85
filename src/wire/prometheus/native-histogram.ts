import { type Rejection, reject } from '../../model/point.ts'
import {
  type Bins,
  EXPONENTIAL_BINS_MAX,
  type ExponentialHistogram,
  emptyHistogram,
} from '../histogram/exponential-histogram.ts'
import { FIXED64, type ProtobufReader, VARINT } from '../protobuf/protobuf-reader.ts'

/**
 * Reads native histograms of Prometheus (`Histogram` of both protocol versions). A span is a range of neighbouring
 * bins. The integer count of a bin is encoded as the difference to the count of the previous bin, a float count as the
 * count itself. Exponential bin i of Prometheus is bin i - 1 of OTLP.
 */
export interface NativeHistogram {
  /** Exponential bins. Custom buckets are in `positive`, numbered from 0. */
  readonly bins: ExponentialHistogram
  count: number
  /** Upper limits of custom buckets. Undefined: the bins are exponential. */
  bucketLimits: number[] | undefined
  /** A value of `ResetHint`, such as `RESET_HINT_RESET`. 0: unknown. */
  resetHint: number
  timeMs: number
  /** Start of the running totals. 0: unknown. */
  startMs: number
  /** Whether the histogram is a stale marker, which marks the end of its series. */
  isStale: boolean
}

/** Values of `ResetHint`. 1: the histogram counts from 0 again. 3: the histogram is a gauge. */
export const RESET_HINT_RESET = 1
export const RESET_HINT_GAUGE = 3

/** The value of the field `schema` that says that the histogram has custom buckets. */
const CUSTOM_BUCKETS_SCALE = -53

/** Returns whether the double at this position is the stale marker of Prometheus, a NaN with special bits. */
export function isStaleMarker(view: DataView, at: number): boolean {
  return view.getUint32(at, true) === 2 && view.getUint32(at + 4, true) === 0x7ff00000
}

/** The bins of the positive or of the negative side, as they are encoded. */
interface SpannedCounts {
  /**
   * Offset and length of each span, in turn. The first offset is the index of the first bin; each later offset is the
   * number of empty bins after the previous span.
   */
  readonly spans: number[]
  /** Integer counts, each as the difference to the previous bin. Empty if the counts are floats. */
  readonly deltas: number[]
  /** Float counts. Empty if the counts are integers. */
  readonly counts: number[]
}

/**
 * Reads a histogram whose message ends at `end`. Returns a rejection for too many spans, bins or limits, for bins
 * without counts, and for spans that overlap. A stale marker is not checked.
 */
export function readNativeHistogram(reader: ProtobufReader, end: number): NativeHistogram | Rejection {
  const histogram: NativeHistogram = {
    bins: emptyHistogram(),
    count: 0,
    bucketLimits: undefined,
    resetHint: 0,
    timeMs: 0,
    startMs: 0,
    isStale: false,
  }
  const positive: SpannedCounts = { spans: [], deltas: [], counts: [] }
  const negative: SpannedCounts = { spans: [], deltas: [], counts: [] }
  const bucketLimits: number[] = []
  const isWithinLimits = readFields(reader, end, histogram, { positive, negative, bucketLimits })
  const { bins } = histogram
  if (histogram.isStale) return histogram
  const isCustom = bins.scale === CUSTOM_BUCKETS_SCALE
  if (isCustom) histogram.bucketLimits = bucketLimits
  const shift = isCustom ? 0 : -1
  const isValid =
    isWithinLimits && addCountsToBins(bins.positive, positive, shift) && addCountsToBins(bins.negative, negative, shift)
  return isValid
    ? histogram
    : reject('invalid_value', `a histogram may have ${EXPONENTIAL_BINS_MAX} bins on each side at most, each in a span`)
}

/** Reads the fields of a histogram. Returns false if there are too many spans, counts or limits. */
function readFields(
  reader: ProtobufReader,
  end: number,
  histogram: NativeHistogram,
  { positive, negative, bucketLimits }: { positive: SpannedCounts; negative: SpannedCounts; bucketLimits: number[] },
): boolean {
  const { bins } = histogram
  let isWithinLimits = true
  while (reader.next(end)) {
    switch (reader.field) {
      case 1:
        histogram.count = readVarint(reader, 'uint64')
        break
      case 2:
        histogram.count = readDouble(reader)
        break
      case 3:
        reader.requireWireType(FIXED64)
        histogram.isStale = reader.position + 8 <= reader.bytes.length && isStaleMarker(reader.view, reader.position)
        bins.sum = reader.double()
        break
      case 4:
        bins.scale = readVarint(reader, 'sint32')
        break
      case 6:
        bins.zeroCount = readVarint(reader, 'uint64')
        break
      case 7:
        bins.zeroCount = readDouble(reader)
        break
      case 8:
      case 11:
        isWithinLimits = readSpan(reader, (reader.field === 8 ? negative : positive).spans) && isWithinLimits
        break
      case 9:
      case 12: {
        const { deltas } = reader.field === 9 ? negative : positive
        isWithinLimits = reader.repeatedVarints(deltas, EXPONENTIAL_BINS_MAX, asSint64) && isWithinLimits
        break
      }
      case 10:
      case 13: {
        const { counts } = reader.field === 10 ? negative : positive
        isWithinLimits = reader.repeated64(counts, EXPONENTIAL_BINS_MAX, asDouble) && isWithinLimits
        break
      }
      case 14:
        histogram.resetHint = readVarint(reader, 'uint64')
        break
      case 15:
        histogram.timeMs = readVarint(reader, 'int64')
        break
      case 16:
        isWithinLimits = reader.repeated64(bucketLimits, EXPONENTIAL_BINS_MAX, asDouble) && isWithinLimits
        break
      case 17:
        histogram.startMs = readVarint(reader, 'int64')
        break
      default:
        reader.skip()
    }
  }
  if (Number.isNaN(bins.sum)) bins.sum = undefined
  return isWithinLimits
}

const asSint64 = (reader: ProtobufReader): number => reader.sint64()
const asDouble = (reader: ProtobufReader): number => reader.double()

function readVarint(reader: ProtobufReader, kind: 'uint64' | 'int64' | 'sint32'): number {
  reader.requireWireType(VARINT)
  return reader[kind]()
}

function readDouble(reader: ProtobufReader): number {
  reader.requireWireType(FIXED64)
  return reader.double()
}

/** Reads a span. Returns false if there are too many spans. */
function readSpan(reader: ProtobufReader, spans: number[]): boolean {
  let offset = 0
  let length = 0
  for (const end = reader.enter(); reader.next(end); ) {
    if (reader.field === 1) offset = readVarint(reader, 'sint32')
    else if (reader.field === 2) length = readVarint(reader, 'uint64')
    else reader.skip()
  }
  if (spans.length >= 2 * EXPONENTIAL_BINS_MAX) return false
  spans.push(offset, length)
  return true
}

/**
 * Adds the counts of all spans to `bins`. `offsetShift` is added to the index of the first bin. Returns false if there
 * are too many bins or too few counts, or if spans overlap.
 */
function addCountsToBins(bins: Bins, { spans, deltas, counts }: SpannedCounts, offsetShift: number): boolean {
  let nextCount = 0
  let count = 0
  for (let i = 0; i < spans.length; i += 2) {
    const offset = spans[i]!
    const length = spans[i + 1]!
    if (i === 0) bins.offset = offset + offsetShift
    const gap = i === 0 ? 0 : offset
    if (gap < 0 || bins.counts.length + gap + length > EXPONENTIAL_BINS_MAX) return false
    for (let skipped = 0; skipped < gap; skipped++) bins.counts.push(0)
    for (let bin = 0; bin < length; bin++, nextCount++) {
      const encodedCount = deltas.length > 0 ? deltas[nextCount] : counts[nextCount]
      if (encodedCount === undefined) return false
      count = deltas.length > 0 ? count + encodedCount : encodedCount
      bins.counts.push(count)
    }
  }
  return true
}
