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
      visitAll(parseJsonBody(bytes))
      break
    case 'ndjson':
      eachJsonLine(bytes, visitAll)
      break
    case 'message-pack':
      eachMessagePackItem(bytes, visit, (reason) => items.refuse(reason))
      break
  }
  return { items: items.count, oddTimes: items.oddTimes }
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
    framing: format === 'ndjson' ? 'lines' : 'array',
    nowMs,
    limits,
    itemsMax: pointsMax,
    decode: (item, index) => items.decode(item, index),
  })
  return count === undefined ? undefined : { items: count, oddTimes: items.oddTimes }
}

/** Decodes items one by one, and counts them and their points against what a request may have. */
class Items<S extends SeriesRef> {
  count = 0
  readonly oddTimes: unknown[] = []
  #points = 0
  readonly #sink: PointSink<S>
  readonly #pointsMax: number
  readonly #item: Parameters<typeof decodeBetterStackItem>[3]

  constructor(sink: PointSink<S>, { nowMs, limits, pointsMax }: BetterStackBodyOptions) {
    this.#sink = sink
    this.#pointsMax = pointsMax
    const oddTime = (value: unknown): void => {
      if (this.oddTimes.length < ODD_TIMES_KEPT_MAX) this.oddTimes.push(value)
    }
    this.#item = { nowMs, limits, oddTime }
  }

  decode(item: unknown, index: number): S | undefined {
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
