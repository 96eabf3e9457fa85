import type { ItemIdentity } from '../../model/item-cache.ts'
import type { PointSink, Rejection, SeriesRef } from '../../model/point.ts'
import { reject } from '../../model/point.ts'
import { StepBudget, type Steps } from '../../model/steps.ts'
import { FIXED64, ProtobufReader, VARINT } from '../protobuf/protobuf-reader.ts'
import { type Labels, type RemoteWriteOptions, SampleDelivery } from './deliver-samples.ts'
import { aboutOf, type FamilyMetadata } from './metadata-cache.ts'
import { isStaleMarker, readNativeHistogram } from './native-histogram.ts'
import { PROMETHEUS_TYPES } from './series-metric.ts'

/**
 * Decodes `prometheus.WriteRequest` of remote write 1.0. Labels repeat from request to request, so a series is normally
 * found in the item cache, by the bytes of its labels.
 */

/** Units of work (`StepBudget`) of entering a message, and of finding a series that is not in the item cache. */
export const MESSAGE_STEP_UNITS = 64
export const SERIES_STEP_UNITS = 512

/** Maximum number of labels of a series. By default, the limit for the tags of a point is far lower. */
export const LABELS_MAX = 1_024
/** Maximum size of a series with its samples, to bound the work on it. Series of real senders are far smaller. */
export const SERIES_BYTES_MAX = 4_194_304

/**
 * Maximum number of metric families whose metadata is read from a request. Further families are ignored. Real senders
 * send far fewer at a time.
 */
const REQUEST_FAMILIES_MAX = 10_000

/** What a decoder has delivered: the number of items, and the indexes of those that are native histograms. */
export interface DeliveredItems {
  readonly itemCount: number
  readonly histogramIndexes: ReadonlySet<number>
}

/** Delivers all samples and histograms of a body. Throws `invalid_body`, or `payload_too_large` for too many points. */
export function* decodeWriteRequestV1<S extends SeriesRef>(
  bytes: Uint8Array,
  sink: PointSink<S>,
  options: RemoteWriteOptions,
): Steps<DeliveredItems> {
  const reader = new ProtobufReader(bytes)
  const delivery = new SampleDelivery(sink, options)
  const seriesDecoder = new SeriesDecoder(reader, delivery)
  const budget = new StepBudget()
  for (const end = bytes.length; reader.next(end); ) {
    if (reader.field !== 1) reader.skip()
    else {
      const start = reader.position
      const seriesEnd = enterSeries(reader)
      const wasCached = seriesDecoder.read(seriesEnd)
      if (budget.spend(reader.position - start + (wasCached ? 0 : SERIES_STEP_UNITS))) yield
    }
    if (budget.spend(MESSAGE_STEP_UNITS)) yield
  }
  return delivery
}

/**
 * Returns the metadata of the metric families in a body, and whether the body has native histograms. Skips the samples.
 */
export function* readMetadataV1(
  bytes: Uint8Array,
): Steps<{ readonly families: readonly (readonly [string, FamilyMetadata])[]; readonly hasHistograms: boolean }> {
  const reader = new ProtobufReader(bytes)
  const budget = new StepBudget()
  const families: [string, FamilyMetadata][] = []
  let hasHistograms = false
  for (const end = bytes.length; reader.next(end); ) {
    if (budget.spend(MESSAGE_STEP_UNITS)) yield
    if (reader.field === 3 && families.length < REQUEST_FAMILIES_MAX) families.push(readFamily(reader))
    else if (reader.field === 1 && !hasHistograms) {
      for (const seriesEnd = reader.enter(); reader.next(seriesEnd); ) {
        if (reader.isField(4)) hasHistograms = true
        reader.skip()
        if (budget.spend(4)) yield
      }
    } else reader.skip()
  }
  return { families, hasHistograms }
}

function readFamily(reader: ProtobufReader): [string, FamilyMetadata] {
  let name = ''
  let type = 0
  let help = ''
  let unit = ''
  for (const end = reader.enter(); reader.next(end); ) {
    if (reader.field === 1) {
      reader.requireWireType(VARINT)
      type = reader.uint32()
    } else if (reader.field === 2) name = reader.text(reader.enter())
    else if (reader.field === 4) help = reader.text(reader.enter())
    else if (reader.field === 5) unit = reader.text(reader.enter())
    else reader.skip()
  }
  return [name, { type: PROMETHEUS_TYPES[type], about: aboutOf(help, unit) }]
}

/** Enters the message of a series and returns its end. Throws if the series is too large. */
export function enterSeries(reader: ProtobufReader): number {
  const end = reader.enter()
  if (end - reader.position > SERIES_BYTES_MAX) throw reader.fault(`a series has more than ${SERIES_BYTES_MAX} bytes`)
  return end
}

class SeriesDecoder<S extends SeriesRef> {
  readonly #reader: ProtobufReader
  readonly #delivery: SampleDelivery<S>
  readonly #identity: ItemIdentity

  constructor(reader: ProtobufReader, delivery: SampleDelivery<S>) {
    this.#reader = reader
    this.#delivery = delivery
    const { view } = reader
    this.#identity = { view, nameStart: 0, nameEnd: 0, typeStart: 0, typeEnd: 0, tagsStart: 0, tagsEnd: 0 }
  }

  /** Delivers the series that ends at `end`. Returns whether its samples went to a series of the item cache. */
  read(end: number): boolean {
    const reader = this.#reader
    const start = reader.position
    const areLabelsContiguous = this.#locateLabels(end)
    const { sink } = this.#delivery
    let series: S | Rejection | undefined
    let wasCached = false
    // Called only if there is a sample: it may create a metric, and native histograms need a metric of another type.
    const resolveSeries = (): S | Rejection => {
      if (series !== undefined) return series
      const cachedItem = areLabelsContiguous ? sink.itemCache.find(this.#identity) : undefined
      if (cachedItem !== undefined && sink.canAddTo(cachedItem.series)) {
        wasCached = true
        return (series = cachedItem.series)
      }
      const position = reader.position
      const labels = readLabels(reader, start, end)
      series = 'code' in labels ? labels : this.#delivery.resolve(labels)
      if (cachedItem === undefined && areLabelsContiguous && !('code' in series) && sink.mayCache(series)) {
        sink.itemCache.add(this.#identity, series)
      }
      reader.position = position
      return series
    }
    reader.position = start
    while (reader.next(end)) {
      if (reader.field === 2) readSample(reader, this.#delivery, resolveSeries, 0)
      else if (reader.field === 4) {
        const histogram = readNativeHistogram(reader, reader.enter())
        const position = reader.position
        const labels = readLabels(reader, start, end)
        this.#delivery.deliverHistogram(
          'code' in labels ? [] : labels,
          'code' in labels ? labels : histogram,
          0,
          undefined,
        )
        reader.position = position
      } else reader.skip()
    }
    return wasCached
  }

  /** Sets `#identity` to the bytes of the labels. Returns false if other fields lie between the labels. */
  #locateLabels(end: number): boolean {
    const reader = this.#reader
    const identity = this.#identity
    const start = reader.position
    let areLabelsContiguous = true
    identity.tagsStart = identity.tagsEnd = start
    while (reader.next(end)) {
      if (reader.field !== 1) {
        reader.skip()
        continue
      }
      // The number and wire type of a field below 16 normally take one byte.
      const fieldStart = reader.position - 1
      if (identity.tagsEnd === start) identity.tagsStart = fieldStart
      else if (fieldStart !== identity.tagsEnd) areLabelsContiguous = false
      reader.position = identity.tagsEnd = reader.enter()
    }
    return areLabelsContiguous
  }
}

/** Delivers a sample of either protocol version. If the sample has no start, `startMs` is used (0: unknown). */
export function readSample<S extends SeriesRef>(
  reader: ProtobufReader,
  delivery: SampleDelivery<S>,
  resolveSeries: () => S | Rejection,
  startMs: number,
): void {
  let value = 0
  let timeMs = 0
  let ownStartMs = 0
  let isStale = false
  for (const end = reader.enter(); reader.next(end); ) {
    if (reader.field === 1) {
      reader.requireWireType(FIXED64)
      value = reader.double()
      isStale = Number.isNaN(value) && isStaleMarker(reader.view, reader.position - 8)
    } else if (reader.field === 2) {
      reader.requireWireType(VARINT)
      timeMs = reader.int64()
    } else if (reader.field === 3) {
      reader.requireWireType(VARINT)
      ownStartMs = reader.int64()
    } else reader.skip()
  }
  if (isStale) delivery.deliverStaleMarker(resolveSeries(), timeMs)
  else delivery.deliverSample(resolveSeries(), timeMs, value, ownStartMs || startMs)
}

function readLabels(reader: ProtobufReader, start: number, end: number): Labels | Rejection {
  const labels: Labels = []
  reader.position = start
  while (reader.next(end)) {
    if (reader.field !== 1) {
      reader.skip()
      continue
    }
    if (labels.length === LABELS_MAX) return reject('invalid_tags', `a series may have ${LABELS_MAX} labels at most`)
    let name = ''
    let value = ''
    for (const labelEnd = reader.enter(); reader.next(labelEnd); ) {
      if (reader.field === 1) name = reader.text(reader.enter())
      else if (reader.field === 2) value = reader.text(reader.enter())
      else reader.skip()
    }
    labels.push([name, value])
  }
  return labels
}
