import { type Rejection, reject } from '../../model/point.ts'
import {
  type Bins,
  EXPONENTIAL_BINS_MAX,
  type ExponentialHistogram,
  emptyHistogram,
} from '../histogram/exponential-histogram.ts'
import { FIXED64, type ProtobufReader, VARINT } from '../protobuf/protobuf-reader.ts'

/**
 * Reads native histograms of Prometheus (`Histogram` of both protocol versions). Their bins lie in spans. Integer
 * counts are encoded as differences, float counts as they are. Bin i of Prometheus ends where bin i of OTLP begins.
 */
export interface NativeHistogram {
  /** Exponential bins. Custom buckets are in `positive`, numbered from 0. */
  readonly bins: ExponentialHistogram
  count: number
  /** Upper limits of custom buckets. Undefined: the bins are exponential. */
  limits: number[] | undefined
  resetHint: number
  timeMs: number
  startMs: number
  /** Whether the histogram is the stale marker, which marks the end of its series. */
  isStale: boolean
}

export const RESET = 1
export const GAUGE_HISTOGRAM = 3

const CUSTOM_BUCKETS = -53

export function isStaleMarker(view: DataView, at: number): boolean {
  return view.getUint32(at, true) === 2 && view.getUint32(at + 4, true) === 0x7ff00000
}

/** The bins of the positive or of the negative side: offset and length of each span in turn, and the counts. */
interface SpannedCounts {
  readonly spans: number[]
  readonly deltas: number[]
  readonly counts: number[]
}

/** Reads a histogram whose message ends at `end`. */
export function readNativeHistogram(reader: ProtobufReader, end: number): NativeHistogram | Rejection {
  const histogram: NativeHistogram = {
    bins: emptyHistogram(),
    count: 0,
    limits: undefined,
    resetHint: 0,
    timeMs: 0,
    startMs: 0,
    isStale: false,
  }
  const positive: SpannedCounts = { spans: [], deltas: [], counts: [] }
  const negative: SpannedCounts = { spans: [], deltas: [], counts: [] }
  const limits: number[] = []
  const isBounded = readFields(reader, end, histogram, { positive, negative, limits })
  const { bins } = histogram
  if (histogram.isStale) return histogram
  const isCustom = bins.scale === CUSTOM_BUCKETS
  if (isCustom) histogram.limits = limits
  const shift = isCustom ? 0 : -1
  const arePlaced =
    isBounded && placeCounts(bins.positive, positive, shift) && placeCounts(bins.negative, negative, shift)
  return arePlaced
    ? histogram
    : reject('invalid_value', `a histogram may have ${EXPONENTIAL_BINS_MAX} bins on each side at most, each in a span`)
}

function readFields(
  reader: ProtobufReader,
  end: number,
  histogram: NativeHistogram,
  { positive, negative, limits }: { positive: SpannedCounts; negative: SpannedCounts; limits: number[] },
): boolean {
  const { bins } = histogram
  let isBounded = true
  while (reader.next(end)) {
    switch (reader.field) {
      case 1:
        histogram.count = varint(reader, 'uint64')
        break
      case 2:
        histogram.count = double(reader)
        break
      case 3:
        reader.require(FIXED64)
        histogram.isStale = reader.at + 8 <= reader.bytes.length && isStaleMarker(reader.view, reader.at)
        bins.sum = reader.double()
        break
      case 4:
        bins.scale = varint(reader, 'sint32')
        break
      case 6:
        bins.zeroCount = varint(reader, 'uint64')
        break
      case 7:
        bins.zeroCount = double(reader)
        break
      case 8:
      case 11:
        isBounded = readSpan(reader, (reader.field === 8 ? negative : positive).spans) && isBounded
        break
      case 9:
      case 12: {
        const { deltas } = reader.field === 9 ? negative : positive
        isBounded = reader.repeatedVarints(deltas, EXPONENTIAL_BINS_MAX, asSint64) && isBounded
        break
      }
      case 10:
      case 13: {
        const { counts } = reader.field === 10 ? negative : positive
        isBounded = reader.repeated64(counts, EXPONENTIAL_BINS_MAX, asDouble) && isBounded
        break
      }
      case 14:
        histogram.resetHint = varint(reader, 'uint64')
        break
      case 15:
        histogram.timeMs = varint(reader, 'int64')
        break
      case 16:
        isBounded = reader.repeated64(limits, EXPONENTIAL_BINS_MAX, asDouble) && isBounded
        break
      case 17:
        histogram.startMs = varint(reader, 'int64')
        break
      default:
        reader.skip()
    }
  }
  if (Number.isNaN(bins.sum)) bins.sum = undefined
  return isBounded
}

const asSint64 = (reader: ProtobufReader): number => reader.sint64()
const asDouble = (reader: ProtobufReader): number => reader.double()

function varint(reader: ProtobufReader, kind: 'uint64' | 'int64' | 'sint32'): number {
  reader.require(VARINT)
  return reader[kind]()
}

function double(reader: ProtobufReader): number {
  reader.require(FIXED64)
  return reader.double()
}

/** Reads a span. Returns false if there are too many spans. */
function readSpan(reader: ProtobufReader, spans: number[]): boolean {
  let offset = 0
  let length = 0
  for (const end = reader.enter(); reader.next(end); ) {
    if (reader.field === 1) offset = varint(reader, 'sint32')
    else if (reader.field === 2) length = varint(reader, 'uint64')
    else reader.skip()
  }
  if (spans.length >= 2 * EXPONENTIAL_BINS_MAX) return false
  spans.push(offset, length)
  return true
}

/** Assigns the counts to the bins of their spans. Returns false if there are too many bins, or too few counts. */
function placeCounts(bins: Bins, { spans, deltas, counts }: SpannedCounts, shift: number): boolean {
  let next = 0
  let value = 0
  for (let i = 0; i < spans.length; i += 2) {
    const offset = spans[i]!
    const length = spans[i + 1]!
    if (i === 0) bins.offset = offset + shift
    const gap = i === 0 ? 0 : offset
    if (gap < 0 || bins.counts.length + gap + length > EXPONENTIAL_BINS_MAX) return false
    for (let skipped = 0; skipped < gap; skipped++) bins.counts.push(0)
    for (let bin = 0; bin < length; bin++, next++) {
      const given = deltas.length > 0 ? deltas[next] : counts[next]
      if (given === undefined) return false
      value = deltas.length > 0 ? value + given : given
      bins.counts.push(value)
    }
  }
  return true
}
