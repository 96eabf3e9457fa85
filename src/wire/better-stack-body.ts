import { GatewayError } from '../model/errors.ts'
import { type PointLimits, type PointSink, reject, type SeriesRef } from '../model/point.ts'
import { StepBudget, type Steps } from '../model/steps.ts'
import { decodeBetterStackItem } from './better-stack.ts'
import { eachJsonItem, eachJsonLineItem } from './json-body.ts'
import { eachMessagePackItem, MessagePackReader } from './message-pack.ts'
import { MessagePackScanner } from './message-pack-scanner.ts'
import { scanItems } from './scan-items.ts'

export type BetterStackFormat = 'json' | 'ndjson' | 'message-pack'

export interface BetterStackBodyOptions {
  readonly format: BetterStackFormat
  readonly nowMs: number
  readonly limits: PointLimits
  /** Maximum number of points of a request, and also of its items. */
  readonly pointsMax: number
}

export interface DecodedBetterStackBody {
  readonly itemCount: number
  /** The first `UNREADABLE_TIME_SAMPLES_MAX` of the times that could not be parsed, for a log line. */
  readonly unreadableTimeSamples: readonly unknown[]
  /**
   * Indexes of the items whose time could not be parsed. Such an item gets the time of reception. It may still be
   * rejected for another reason.
   */
  readonly unreadableTimeIndexes: readonly number[]
}

const UNREADABLE_TIME_SAMPLES_MAX = 10

/**
 * Decodes a body and delivers its points. A body is one item or an array of items; in NDJSON, each line is one or the
 * other. An invalid item is rejected alone. Throws `invalid_body` if the body is not in its format, or
 * `payload_too_large`; the caller then discards all points delivered so far.
 */
export function* decodeBetterStackBody<S extends SeriesRef>(
  bytes: Uint8Array,
  sink: PointSink<S>,
  options: BetterStackBodyOptions,
): Steps<DecodedBetterStackBody> {
  if (options.format === 'message-pack') return yield* decodeMessagePack(bytes, sink, options, true)
  if (bytes.length > 0) {
    const scanned = yield* scanBetterStackBody(bytes, sink, options)
    if (scanned !== undefined) return scanned
    sink.restart()
  }
  return yield* decodeWithoutScanner(bytes, sink, options)
}

/** Decodes with the general parsers, for bodies that the fast path does not support. */
export function* decodeWithoutScanner<S extends SeriesRef>(
  bytes: Uint8Array,
  sink: PointSink<S>,
  options: BetterStackBodyOptions,
): Steps<DecodedBetterStackBody> {
  const { format } = options
  if (format === 'message-pack') return yield* decodeMessagePack(bytes, sink, options, false)
  if (format === 'json') {
    try {
      return yield* decodeItems(sink, options, (visit) => eachJsonItem(bytes, visit))
    } catch (error) {
      // Some senders declare NDJSON as JSON, so a body with a line break that is not JSON is decoded as NDJSON.
      const mayBeNdjson = error instanceof GatewayError && error.code === 'invalid_body' && bytes.includes(NEWLINE)
      if (!mayBeNdjson) throw error
      sink.restart()
      const body = yield* decodeItems(sink, options, (visit) => eachJsonLineItem(bytes, visit))
      if (body.itemCount === 0) throw error
      return body
    }
  }
  return yield* decodeItems(sink, options, (visit) => eachJsonLineItem(bytes, visit))
}

function* decodeItems<S extends SeriesRef>(
  sink: PointSink<S>,
  options: BetterStackBodyOptions,
  readItems: (visit: (item: unknown) => Steps<void>) => Steps<void>,
): Steps<DecodedBetterStackBody> {
  const budget = new StepBudget()
  const itemDecoder = new ItemDecoder(sink, options)
  yield* readItems(function* (item) {
    yield* itemDecoder.decode(item, itemDecoder.itemCount)
    if (budget.spend(PARSED_ITEM_STEP_UNITS)) yield
  })
  return itemDecoder.outcome()
}

/** Decodes MessagePack. `isScanned`: items that are known are delivered without decoding them. */
function* decodeMessagePack<S extends SeriesRef>(
  bytes: Uint8Array,
  sink: PointSink<S>,
  options: BetterStackBodyOptions,
  isScanned: boolean,
): Steps<DecodedBetterStackBody> {
  const budget = new StepBudget()
  const itemDecoder = new ItemDecoder(sink, options)
  const reader = new MessagePackReader(bytes)
  const scanner = new MessagePackScanner(reader, sink, options.nowMs)
  const itemCount = yield* eachMessagePackItem(reader, {
    scan: (index) => isScanned && index < options.pointsMax && scanner.deliver(index),
    *visit(item, index) {
      scanner.endItem(yield* itemDecoder.decode(item, index))
      if (budget.spend(PARSED_ITEM_STEP_UNITS)) yield
    },
    reject(reason, index) {
      itemDecoder.reject(reason, index)
      scanner.endItem(undefined)
    },
  })
  itemDecoder.countCachedItems(itemCount)
  return itemDecoder.outcome()
}

/** Units of work ({@link StepBudget}) of an item that is parsed. */
const PARSED_ITEM_STEP_UNITS = 512

const NEWLINE = 0x0a
const OPEN_BRACE = 0x7b

/**
 * Returns how the scanner separates the items of a body. If the first byte of a JSON body is `{`, the body is one item
 * or undeclared NDJSON, so it is scanned as lines.
 */
function framingOf(bytes: Uint8Array, format: BetterStackFormat): 'lines' | 'array' {
  return format === 'ndjson' || bytes[0] === OPEN_BRACE ? 'lines' : 'array'
}

/** Decodes JSON or NDJSON on the fast path. Returns undefined if the general parsers must decode the body instead. */
function* scanBetterStackBody<S extends SeriesRef>(
  bytes: Uint8Array,
  sink: PointSink<S>,
  options: BetterStackBodyOptions,
): Steps<DecodedBetterStackBody | undefined> {
  const { format, nowMs, limits, pointsMax } = options
  const itemDecoder = new ItemDecoder(sink, options)
  const itemCount = yield* scanItems(bytes, sink, {
    grammar: 'better-stack',
    framing: framingOf(bytes, format),
    nowMs,
    limits,
    itemsMax: pointsMax,
    decode: (item, index) => itemDecoder.decode(item, index),
  })
  if (itemCount === undefined) return undefined
  itemDecoder.countCachedItems(itemCount)
  return itemDecoder.outcome()
}

/** Decodes parsed items one by one. Throws `payload_too_large` for too many items, or too many points in them. */
class ItemDecoder<S extends SeriesRef> {
  itemCount = 0
  readonly #unreadableTimeSamples: unknown[] = []
  readonly #unreadableTimeIndexes: number[] = []
  #itemIndex = 0
  #pointCount = 0
  readonly #sink: PointSink<S>
  readonly #pointsMax: number
  readonly #itemOptions: Parameters<typeof decodeBetterStackItem>[3]

  constructor(sink: PointSink<S>, { nowMs, limits, pointsMax }: BetterStackBodyOptions) {
    this.#sink = sink
    this.#pointsMax = pointsMax
    const onUnreadableTime = (value: unknown): void => {
      this.#unreadableTimeIndexes.push(this.#itemIndex)
      if (this.#unreadableTimeSamples.length < UNREADABLE_TIME_SAMPLES_MAX) this.#unreadableTimeSamples.push(value)
    }
    this.#itemOptions = { nowMs, limits, onUnreadableTime }
  }

  outcome(): DecodedBetterStackBody {
    return {
      itemCount: this.itemCount,
      unreadableTimeSamples: this.#unreadableTimeSamples,
      unreadableTimeIndexes: this.#unreadableTimeIndexes,
    }
  }

  /** Returns the series of a delivered gauge or counter, otherwise undefined. */
  *decode(item: unknown, index: number): Steps<S | undefined> {
    this.#itemIndex = index
    const seriesOrPointCount = yield* decodeBetterStackItem(item, index, this.#sink, this.#itemOptions)
    this.#countItem(index, typeof seriesOrPointCount === 'number' ? seriesOrPointCount : 1)
    return typeof seriesOrPointCount === 'number' ? undefined : seriesOrPointCount
  }

  /** Rejects an item, because it could not be decoded. */
  reject(reason: string, index: number): void {
    this.#sink.reject(index, reject('invalid_body', reason))
    this.#countItem(index, 0)
  }

  /**
   * Counts the items of the body that follow the last one passed to `decode`. The scanner has delivered their points,
   * one for each item, because it knew their series from the item cache. `itemCount` is the number of all items.
   */
  countCachedItems(itemCount: number): void {
    if (itemCount > this.itemCount) this.#countItem(itemCount - 1, 1)
  }

  #countItem(index: number, pointCount: number): void {
    // The items since the last counted one are cached: see `countCachedItems`.
    this.#pointCount += index - this.itemCount + pointCount
    this.itemCount = index + 1
    if (Math.max(this.#pointCount, this.itemCount) > this.#pointsMax) {
      throw new GatewayError('payload_too_large', `at most ${this.#pointsMax} points are allowed in a request`)
    }
  }
}
