import type { ItemIdentity } from '../../model/item-cache.ts'
import { type PointSink, type Rejection, reject, type SeriesRef } from '../../model/point.ts'
import { StepBudget, type Steps } from '../../model/steps.ts'
import { FIXED64, ProtobufReader, VARINT } from '../protobuf/protobuf-reader.ts'
import { type NumberMode, numberModeOf, numberTypeOf, type OtlpOptions, PointDelivery } from './deliver-points.ts'
import {
  ATTRIBUTES_MAX,
  DEFAULT_TAG_KEYS,
  FLAG_NO_RECORDED_VALUE,
  type OtlpKind,
  type OtlpMetric,
  POINT_BYTES_MAX,
  POINT_TOO_LARGE,
  type PointTimes,
  SCOPE_NAME_TAG_KEY,
  SCOPE_VERSION_TAG_KEY,
  type TagPair,
  TEMPORALITY_DELTA,
  unknownTimes,
} from './otlp-metric.ts'
import {
  clearTimes,
  type DecodedPoint,
  readExponentialHistogram,
  readHistogram,
  readStart,
  readSummary,
  readTime,
} from './protobuf-points.ts'
import { readKeyValue } from './protobuf-values.ts'

/**
 * Decodes `ExportMetricsServiceRequest` in protobuf, without copying messages. A field may come after other fields that
 * depend on it, so most messages are read twice: first the fields that their children need, then the children.
 *
 * The attributes of a number point repeat from request to request, so its series is normally found in the item cache,
 * by the bytes of its resource, its metric name and its attributes.
 */

/** Units of work (`StepBudget`) of entering a message. */
const MESSAGE_STEP_UNITS = 64

/** The kind of a metric by the number of the field that holds its data points. */
const KIND_BY_FIELD: Readonly<Record<number, OtlpKind>> = {
  5: 'gauge',
  7: 'sum',
  9: 'histogram',
  10: 'exponentialHistogram',
  11: 'summary',
}

/** Delivers all points of a body. Throws `invalid_body`, or `payload_too_large` for too many points. */
export function* decodeOtlpProtobuf<S extends SeriesRef>(
  bytes: Uint8Array,
  sink: PointSink<S>,
  options: OtlpOptions,
): Steps<void> {
  const decoder = new OtlpDecoder(bytes, sink, options)
  yield* decoder.deliverPoints()
}

/**
 * Returns whether a body has points that must not be stored twice: deltas, and exponential histograms, whose previous
 * state is only in memory. Throws `invalid_body` for faults in the parts of the body that it reads.
 */
export function* protobufNeedsIdempotencyKey(bytes: Uint8Array): Steps<boolean> {
  return yield* hasUnrepeatablePoints(new ProtobufReader(bytes), bytes.length, REQUEST_LEVEL, new StepBudget())
}

/**
 * Levels of a request: 0 for the request itself, 1 for resource metrics, 2 for scope metrics, 3 for a metric.
 * `CHILD_FIELDS` has, for each level above the metric, the field number of the next level.
 */
const REQUEST_LEVEL = 0
const METRIC_LEVEL = 3
const CHILD_FIELDS = [1, 2, 2] as const

/** Whether the message from the current position to `end` has points that must not be stored twice. */
function* hasUnrepeatablePoints(
  reader: ProtobufReader,
  end: number,
  level: number,
  budget: StepBudget,
): Steps<boolean> {
  while (reader.next(end)) {
    if (budget.spend(MESSAGE_STEP_UNITS)) yield
    const isChild =
      level < METRIC_LEVEL ? reader.field === CHILD_FIELDS[level] : KIND_BY_FIELD[reader.field] !== undefined
    if (!isChild) reader.skip()
    else if (level < METRIC_LEVEL) {
      if (yield* hasUnrepeatablePoints(reader, reader.enter(), level + 1, budget)) return true
    } else if (KIND_BY_FIELD[reader.field] === 'exponentialHistogram') return true
    else {
      const { temporality } = yield* readAggregation(reader, reader.enter(), budget)
      if (temporality === TEMPORALITY_DELTA) return true
    }
  }
  return false
}

/** Reads how the data points of a metric are aggregated. These fields may come after the data points. */
function* readAggregation(
  reader: ProtobufReader,
  end: number,
  budget: StepBudget,
): Steps<Pick<OtlpMetric, 'temporality' | 'isMonotonic'>> {
  let temporality = 0
  let isMonotonic = false
  while (reader.next(end)) {
    if (reader.field === 2) {
      reader.requireWireType(VARINT)
      temporality = reader.uint32()
    } else if (reader.field === 3) {
      reader.requireWireType(VARINT)
      isMonotonic = reader.uint64() !== 0
    } else reader.skip()
    if (budget.spend(1)) yield
  }
  return { temporality, isMonotonic }
}

/** A byte range of the body. */
interface ByteRange {
  start: number
  end: number
}

class OtlpDecoder<S extends SeriesRef> {
  readonly #reader: ProtobufReader
  readonly #delivery: PointDelivery<S>
  readonly #budget = new StepBudget()
  readonly #tagKeysWanted: ReadonlySet<string>
  /** Tags of the resource and the scope that are being read. */
  #sharedTags: readonly TagPair[] = []
  /** Bytes of the resource that is being read. */
  #resourceRange: ByteRange = { start: 0, end: 0 }
  /**
   * Whether the item cache can be used. False if the scope has tags, because an `ItemIdentity` does not include them.
   */
  #isItemCacheUsable = true
  /** Bytes that identify the series of a number point: resource as name, metric name as type, attributes as tags. */
  readonly #identity: ItemIdentity
  readonly #times = unknownTimes()

  constructor(bytes: Uint8Array, sink: PointSink<S>, options: OtlpOptions) {
    this.#reader = new ProtobufReader(bytes)
    this.#delivery = new PointDelivery(sink, options)
    this.#tagKeysWanted = new Set([...DEFAULT_TAG_KEYS, ...options.configuredTagKeys])
    const { view } = this.#reader
    this.#identity = { view, nameStart: 0, nameEnd: 0, typeStart: 0, typeEnd: 0, tagsStart: 0, tagsEnd: 0 }
  }

  *deliverPoints(): Steps<void> {
    const reader = this.#reader
    for (const end = reader.bytes.length; reader.next(end); ) {
      if (this.#budget.spend(MESSAGE_STEP_UNITS)) yield
      if (reader.field === 1) yield* this.#readResourceMetrics(reader.enter())
      else reader.skip()
    }
  }

  *#readResourceMetrics(end: number): Steps<void> {
    const reader = this.#reader
    const start = reader.position
    this.#resourceRange = yield* this.#rangeOf(1, end)
    const tags = yield* this.#readAttributes(this.#resourceRange, 1)
    reader.position = start
    while (reader.next(end)) {
      if (this.#budget.spend(MESSAGE_STEP_UNITS)) yield
      if (reader.field === 2) yield* this.#readScopeMetrics(reader.enter(), tags)
      else reader.skip()
    }
  }

  *#readScopeMetrics(end: number, resourceTags: readonly TagPair[]): Steps<void> {
    const reader = this.#reader
    const start = reader.position
    const scopeTags = yield* this.#readScope(yield* this.#rangeOf(1, end))
    this.#sharedTags = [...resourceTags, ...scopeTags]
    this.#isItemCacheUsable = scopeTags.length === 0
    reader.position = start
    while (reader.next(end)) {
      if (this.#budget.spend(MESSAGE_STEP_UNITS)) yield
      if (reader.field === 2) yield* this.#readMetric(reader.enter())
      else reader.skip()
    }
  }

  /** Returns the range of the last occurrence of a field in the message that ends at `end`; an empty range if none. */
  *#rangeOf(field: number, end: number): Steps<ByteRange> {
    const reader = this.#reader
    const range = { start: reader.position, end: reader.position }
    while (reader.next(end)) {
      if (reader.field === field) {
        range.end = reader.enter()
        range.start = reader.position
        reader.position = range.end
      } else reader.skip()
      if (this.#budget.spend(1)) yield
    }
    return range
  }

  /**
   * Reads the attributes of a resource or a scope, which are in the field with the number `field`. Returns those that
   * become tags; beyond `ATTRIBUTES_MAX`, further ones are dropped.
   */
  *#readAttributes({ start, end }: ByteRange, field: number): Steps<TagPair[]> {
    const reader = this.#reader
    const tags: TagPair[] = []
    reader.position = start
    while (reader.next(end)) {
      if (reader.field !== field) {
        reader.skip()
        if (this.#budget.spend(1)) yield
        continue
      }
      const attributeStart = reader.position
      const tag = readKeyValue(reader)
      if (tag !== undefined && this.#tagKeysWanted.has(tag[0]) && tags.length < ATTRIBUTES_MAX) tags.push(tag)
      if (this.#budget.spend(MESSAGE_STEP_UNITS + reader.position - attributeStart)) yield
    }
    return tags
  }

  /** Returns the tags of a scope: its name and version if configured, followed by the attributes that become tags. */
  *#readScope(range: ByteRange): Steps<TagPair[]> {
    const reader = this.#reader
    const tags: TagPair[] = []
    reader.position = range.start
    while (reader.next(range.end)) {
      const key = reader.field === 1 ? SCOPE_NAME_TAG_KEY : reader.field === 2 ? SCOPE_VERSION_TAG_KEY : undefined
      if (key === undefined) reader.skip()
      else {
        const text = reader.text(reader.enter())
        if (this.#tagKeysWanted.has(key)) tags.push([key, text])
      }
      if (this.#budget.spend(1)) yield
    }
    return [...tags, ...(yield* this.#readAttributes(range, 3))]
  }

  *#readMetric(end: number): Steps<void> {
    const reader = this.#reader
    const identity = this.#identity
    let name = ''
    let description = ''
    let unit = ''
    let kind: OtlpKind | undefined
    const dataRange = { start: reader.position, end: reader.position }
    identity.typeStart = identity.typeEnd = reader.position
    while (reader.next(end)) {
      if (reader.field === 1) {
        const nameEnd = reader.enter()
        identity.typeStart = reader.position
        identity.typeEnd = nameEnd
        name = reader.text(nameEnd)
      } else if (reader.field === 2) description = reader.text(reader.enter())
      else if (reader.field === 3) unit = reader.text(reader.enter())
      else if (KIND_BY_FIELD[reader.field] !== undefined) {
        kind = KIND_BY_FIELD[reader.field]
        dataRange.end = reader.enter()
        dataRange.start = reader.position
        reader.position = dataRange.end
      } else reader.skip()
      if (this.#budget.spend(1)) yield
    }
    if (kind !== undefined) {
      const about = { ...(unit !== '' && { unit }), ...(description !== '' && { description }) }
      reader.position = dataRange.start
      const { temporality, isMonotonic } = yield* readAggregation(reader, dataRange.end, this.#budget)
      yield* this.#readPoints(dataRange, { name, about, kind, temporality, isMonotonic })
    }
    reader.position = end
  }

  *#readPoints({ start, end }: ByteRange, metric: OtlpMetric): Steps<void> {
    const reader = this.#reader
    const mode = metric.kind === 'gauge' || metric.kind === 'sum' ? numberModeOf(metric) : undefined
    reader.position = start
    while (reader.next(end)) {
      if (reader.field !== 1) {
        reader.skip()
        if (this.#budget.spend(1)) yield
        continue
      }
      const pointStart = reader.position
      const pointEnd = reader.enter()
      if (pointEnd - pointStart > POINT_BYTES_MAX) {
        this.#delivery.reject(this.#delivery.nextItem(), POINT_TOO_LARGE)
        reader.position = pointEnd
      } else if (mode === undefined) this.#readHistogramOrSummary(pointEnd, metric)
      else this.#readNumber(pointEnd, metric, typeof mode === 'string' ? mode : undefined)
      const units = MESSAGE_STEP_UNITS + pointEnd - pointStart + this.#delivery.takeStepUnits()
      if (this.#budget.spend(units)) yield
    }
  }

  #readNumber(end: number, metric: OtlpMetric, mode: NumberMode | undefined): void {
    const reader = this.#reader
    const identity = this.#identity
    const start = reader.position
    const times = this.#times
    clearTimes(times)
    let value = Number.NaN
    let flags = 0
    let areAttributesContiguous = true
    let tagsStart = start
    let tagsEnd = start
    while (reader.next(end)) {
      switch (reader.field) {
        case 2:
          readStart(reader, times)
          break
        case 3:
          readTime(reader, times)
          break
        case 4:
          reader.requireWireType(FIXED64)
          value = reader.double()
          break
        case 6:
          reader.requireWireType(FIXED64)
          value = reader.sfixed64()
          break
        case 7: {
          // The number and wire type of a field below 16 normally take one byte.
          const fieldStart = reader.position - 1
          if (tagsEnd === start) tagsStart = fieldStart
          else if (fieldStart !== tagsEnd) areAttributesContiguous = false
          reader.position = tagsEnd = reader.enter()
          break
        }
        case 8:
          reader.requireWireType(VARINT)
          flags = reader.uint32()
          break
        default:
          reader.skip()
      }
    }
    if (Number.isNaN(value) || (flags & FLAG_NO_RECORDED_VALUE) !== 0) return
    const index = this.#delivery.nextItem()
    if (mode !== undefined && areAttributesContiguous && this.#isItemCacheUsable) {
      identity.nameStart = this.#resourceRange.start
      identity.nameEnd = this.#resourceRange.end
      identity.tagsStart = tagsStart
      identity.tagsEnd = tagsEnd
      const { sink } = this.#delivery
      const cachedItem = sink.itemCache.find(identity)
      if (
        cachedItem !== undefined &&
        cachedItem.series.kind === numberTypeOf(mode) &&
        sink.canAddTo(cachedItem.series)
      ) {
        this.#delivery.deliverToSeries(cachedItem.series, mode, times, value, index)
        return
      }
      const series = this.#deliverUncachedNumber(start, end, metric, value, index)
      if (cachedItem === undefined && series !== undefined && sink.mayCache(series))
        sink.itemCache.add(identity, series)
      return
    }
    this.#deliverUncachedNumber(start, end, metric, value, index)
  }

  /** Resolves the series of a number point by its tags, and delivers the point. See `PointDelivery.deliverNumber`. */
  #deliverUncachedNumber(start: number, end: number, metric: OtlpMetric, value: number, index: number): S | undefined {
    const tags = this.#pointTags(start, end, 7)
    if ('code' in tags) {
      this.#delivery.reject(index, tags)
      return undefined
    }
    return this.#delivery.deliverNumber(metric, tags, this.#times, value, index)
  }

  /** Returns the tags of a point: those of its resource and scope, then its attributes (field number `field`). */
  #pointTags(start: number, end: number, field: number): readonly TagPair[] | Rejection {
    const reader = this.#reader
    const tags = [...this.#sharedTags]
    let attributeCount = 0
    reader.position = start
    while (reader.next(end)) {
      if (reader.field !== field) {
        reader.skip()
        continue
      }
      if (++attributeCount > ATTRIBUTES_MAX) {
        reader.position = end
        return reject('invalid_tags', `a point may have ${ATTRIBUTES_MAX} attributes at most`)
      }
      const tag = readKeyValue(reader)
      if (tag !== undefined) tags.push(tag)
    }
    return tags
  }

  #readHistogramOrSummary(end: number, metric: OtlpMetric): void {
    const reader = this.#reader
    const delivery = this.#delivery
    const start = reader.position
    const times = this.#times
    const deliver = <P>(
      { point, flags, rejection }: DecodedPoint<P>,
      attributesField: number,
      deliverPoint: DeliverPoint<P>,
    ): void => {
      if ((flags & FLAG_NO_RECORDED_VALUE) !== 0) return
      const index = delivery.nextItem()
      const tags = rejection ?? this.#pointTags(start, end, attributesField)
      if ('code' in tags) delivery.reject(index, tags)
      else deliverPoint.call(delivery, metric, tags, times, point, index)
    }
    if (metric.kind === 'histogram') deliver(readHistogram(reader, end, times), 9, delivery.deliverHistogram)
    else if (metric.kind === 'summary') deliver(readSummary(reader, end, times), 7, delivery.deliverSummary)
    else deliver(readExponentialHistogram(reader, end, times), 1, delivery.deliverExponentialHistogram)
    reader.position = end
  }
}

type DeliverPoint<P> = (
  metric: OtlpMetric,
  tags: readonly TagPair[],
  times: PointTimes,
  point: P,
  index: number,
) => void
