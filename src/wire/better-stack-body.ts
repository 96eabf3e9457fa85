import { GatewayError } from '../model/errors.ts'
import { type PointLimits, type PointSink, reject, type SeriesRef } from '../model/point.ts'
import { decodeBetterStackItem } from './better-stack.ts'
import { eachJsonLine, parseJsonBody } from './json-body.ts'
import { eachMessagePackItem } from './message-pack.ts'
import { scanItems } from './scan-items.ts'

export type BetterStackFormat = 'json' | 'ndjson' | 'message-pack'

export interface BetterStackBodyOptions {
  readonly format: BetterStackFormat
  readonly nowMs: number
  readonly limits: PointLimits
  /** Points of one request, and items. */
  readonly pointsMax: number
}

export interface BetterStackBody {
  readonly items: number
  /** Some of the times that nobody can read. */
  readonly oddTimes: readonly unknown[]
  /** The items that have such a time, by index: the time of reception stands in for it. */
  readonly oddTimeItems: readonly number[]
}

const ODD_TIMES_KEPT_MAX = 10

/**
 * Delivers a whole body: one item or an array of them, on each line in NDJSON. Throws `invalid_body` when any of it cannot be
 * decoded, and `payload_too_large`; what was delivered is void then.
 */
export function decodeBetterStackBody<S extends SeriesRef>(
  bytes: Uint8Array,
  sink: PointSink<S>,
  options: BetterStackBodyOptions,
): BetterStackBody {
  if (options.format !== 'message-pack' && bytes.length > 0) {
    const scanned = scanBetterStackBody(bytes, sink, options)
    if (scanned !== undefined) return scanned
    sink.restart()
  }
  return decodeWholeBody(bytes, sink, options)
}

/** The same, every item the long way. */
export function decodeWholeBody<S extends SeriesRef>(
  bytes: Uint8Array,
  sink: PointSink<S>,
  options: BetterStackBodyOptions,
): BetterStackBody {
  const items = new Items(sink, options)
  const visit = (item: unknown): void => void items.decode(item, items.count)
  const visitAll = (value: unknown): void => {
    if (Array.isArray(value)) for (const item of value) visit(item)
    else visit(value)
  }
  switch (options.format) {
    case 'json':
      decodeJson(bytes, visitAll)
      break
    case 'ndjson':
      eachJsonLine(bytes, visitAll)
      break
    case 'message-pack':
      eachMessagePackItem(bytes, visit, (reason) => items.refuse(reason))
      break
  }
  return items.body()
}

/** Senders of lines call them JSON too: a body of several lines that is no JSON is tried as NDJSON. */
function decodeJson(bytes: Uint8Array, visit: (value: unknown) => void): void {
  let body: unknown
  try {
    body = parseJsonBody(bytes)
  } catch (error) {
    if (!bytes.includes(NEWLINE)) throw error
    let lines = 0
    eachJsonLine(bytes, (value) => {
      lines++
      visit(value)
    })
    if (lines === 0) throw error
    return
  }
  visit(body)
}

const NEWLINE = 0x0a
const OPEN_BRACE = 0x7b

/** An object of JSON is read as one line; when it is several, the lines are. */
function framingOf(bytes: Uint8Array, format: BetterStackFormat): 'lines' | 'array' {
  return format === 'ndjson' || bytes[0] === OPEN_BRACE ? 'lines' : 'array'
}

/** The same for JSON and NDJSON, unless the body has to be decoded whole: then undefined. */
function scanBetterStackBody<S extends SeriesRef>(
  bytes: Uint8Array,
  sink: PointSink<S>,
  options: BetterStackBodyOptions,
): BetterStackBody | undefined {
  const { format, nowMs, limits, pointsMax } = options
  const items = new Items(sink, options)
  const count = scanItems(bytes, sink, {
    grammar: 'better-stack',
    framing: framingOf(bytes, format),
    nowMs,
    limits,
    itemsMax: pointsMax,
    decode: (item, index) => items.decode(item, index),
  })
  return count === undefined ? undefined : { ...items.body(), items: count }
}

/** Decodes items one by one, and counts them and their points against what a request may have. */
class Items<S extends SeriesRef> {
  count = 0
  readonly #oddTimes: unknown[] = []
  readonly #oddTimeItems: number[] = []
  #decoding = 0
  #points = 0
  readonly #sink: PointSink<S>
  readonly #pointsMax: number
  readonly #item: Parameters<typeof decodeBetterStackItem>[3]

  constructor(sink: PointSink<S>, { nowMs, limits, pointsMax }: BetterStackBodyOptions) {
    this.#sink = sink
    this.#pointsMax = pointsMax
    const oddTime = (value: unknown): void => {
      this.#oddTimeItems.push(this.#decoding)
      if (this.#oddTimes.length < ODD_TIMES_KEPT_MAX) this.#oddTimes.push(value)
    }
    this.#item = { nowMs, limits, oddTime }
  }

  body(): BetterStackBody {
    return { items: this.count, oddTimes: this.#oddTimes, oddTimeItems: this.#oddTimeItems }
  }

  decode(item: unknown, index: number): S | undefined {
    this.#decoding = index
    const delivered = decodeBetterStackItem(item, index, this.#sink, this.#item)
    this.#charge(index, typeof delivered === 'number' ? delivered : 1)
    return typeof delivered === 'number' ? undefined : delivered
  }

  /** Leaves out the next item, which is one by its length and no more. */
  refuse(reason: string): void {
    this.#sink.reject(this.count, reject('invalid_body', reason))
    this.#charge(this.count, 0)
  }

  #charge(index: number, points: number): void {
    this.count = index + 1
    this.#points += points
    if (Math.max(this.#points, this.count) > this.#pointsMax) {
      throw new GatewayError('payload_too_large', `at most ${this.#pointsMax} points are allowed in a request`)
    }
  }
}
