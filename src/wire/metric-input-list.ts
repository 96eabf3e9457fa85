import { assert } from '../model/errors.ts'
import { isObject } from '../model/is-object.ts'
import type { ItemCache } from '../model/item-cache.ts'
import type { PointLimits, PointSink, SeriesRef } from '../model/point.ts'
import { asSteps, runAtOnce } from '../model/steps.ts'
import { decodeFluxItem, type FluxItem } from './flux.ts'
import { parseJsonBody } from './json-body.ts'
import type { CachedInput, MetricInputRange } from './metric-input-scanner.ts'
import { deliverScanned, scanItems } from './scan-items.ts'

/**
 * The value of a GraphQL variable: a list of metric inputs that stays in the bytes of the request body. To parse it, to
 * coerce each input and to resolve its series would take several times the CPU of the same batch by REST. Instead,
 * `findMetricInputs` reads the bytes once, when the body arrives: it checks that graphql-js would coerce the list, and
 * finds inputs in the item cache. If all are cached, they are then delivered without reading them again; otherwise the
 * list is decoded like a batch of REST. Whatever needs the inputs as objects (a variable of another type, an error
 * message, the hash for an idempotency key) parses the list then. A simpler design, which parses the body and compares
 * each object with its cached item, cannot reach this: `JSON.parse` alone takes longer than checking and delivering.
 *
 * Invariant: stored points, rejections and errors are the same as if the list was parsed with the body.
 */
export class MetricInputList {
  readonly length: number
  readonly #bytes: Uint8Array
  readonly #cachedInputs: readonly CachedInput[] | undefined
  readonly #itemCache: ItemCache<SeriesRef>
  #coercedInputs: readonly object[] | undefined

  /**
   * `range` is a list in `body` that `findMetricInputs` has found with `itemCache`. The list must be valid UTF-8. The
   * body must not change until the last method call.
   */
  constructor(body: Uint8Array, range: MetricInputRange, itemCache: ItemCache<SeriesRef>) {
    this.#bytes = body.subarray(range.start, range.end)
    this.length = range.inputCount
    this.#cachedInputs = range.cachedInputs
    this.#itemCache = itemCache
  }

  /** Returns the list as `JSON.parse` does. */
  parse(): readonly unknown[] {
    const inputs = parseJsonBody(this.#bytes)
    assert(Array.isArray(inputs), 'the list was checked')
    return inputs
  }

  /** Returns the list as graphql-js would coerce it, but a missing field is undefined. Reads the bytes only once. */
  coerce(): readonly object[] {
    return (this.#coercedInputs ??= this.parse().map(coerceInput))
  }

  /** Delivers the inputs of a batch. If `coerce` was called before, does not read the bytes. */
  deliver(sink: PointSink, nowMs: number, limits: PointLimits): void {
    if (this.#deliverCached(sink, nowMs)) return
    if (this.#coercedInputs !== undefined) {
      for (const [index, input] of this.#coercedInputs.entries()) decodeFluxItem(input, index, sink, nowMs, limits)
      return
    }
    const scan = scanItems(this.#bytes, sink, {
      grammar: 'graphql',
      framing: 'array',
      nowMs,
      limits,
      itemsMax: this.length,
      decode: (input, index) => asSteps(() => decodeFluxItem(coerceInput(input), index, sink, nowMs, limits)?.series),
    })
    assert(runAtOnce(scan) === this.length, 'the list was checked')
  }

  /** Returns false, and delivers nothing, unless the series of all inputs are known and all inputs are valid. */
  #deliverCached(sink: PointSink, nowMs: number): boolean {
    if (this.#cachedInputs === undefined || sink.itemCache !== this.#itemCache) return false
    for (const [index, { series, value, member, timeMs }] of this.#cachedInputs.entries()) {
      const point = { value, member, timeMs: Number.isNaN(timeMs) ? nowMs : timeMs }
      if (!deliverScanned(point, series, sink, index, { grammar: 'graphql', nowMs })) {
        sink.restart()
        return false
      }
    }
    return true
  }
}

/** Coerces a checked input: its type is the only field that changes. The fields are in the order of the schema. */
function coerceInput(input: unknown): object {
  assert(isObject<FluxItem>(input) && typeof input.type === 'string', 'the input was checked')
  const { name, type, value, timestamp, tags, unit, description } = input
  return { name, type: type.toLowerCase(), value, timestamp, tags, unit, description }
}
