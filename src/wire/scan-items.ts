import { GatewayError } from '../model/errors.ts'
import type { CachedItem, ItemGrammar } from '../model/item-cache.ts'
import { type PointLimits, type PointSink, SET_MEMBER_CHARS_MAX, type SeriesRef } from '../model/point.ts'
import { checkPointTime } from '../model/point-time.ts'
import { StepBudget, type Steps } from '../model/steps.ts'
import { type ItemFraming, ItemScanner } from './item-scanner.ts'
import { parseJsonBodyInSteps } from './json-body.ts'

/**
 * The fast path for a batch. One pass over the bytes finds the name, type, tags, value and time of each plain item (see
 * `ItemScanner`) without parsing it as JSON. The item cache returns the series of an item whose name, type and tags
 * have the same bytes as those of a cached item. If the items also arrive in the order of the last batch, mostly only
 * their values and times are read, and their other bytes are compared.
 *
 * An item is parsed and passed to the decoder of its dialect if it is not plain or not cached, if it may be invalid, or
 * if its series must be resolved again. The caller must decode the whole body if an item is not JSON, or if the body
 * has another structure or too many items. Invariant: the points and rejections that are delivered are the same as
 * without the fast path.
 */

/**
 * Units of work (`StepBudget`) of an item in addition to its bytes, and further units if the item must be parsed.
 */
const SCANNED_ITEM_STEP_UNITS = 64
const PARSED_ITEM_STEP_UNITS = 512

export interface ScanOptions<S extends SeriesRef> {
  readonly grammar: ItemGrammar
  readonly framing: ItemFraming
  readonly nowMs: number
  readonly limits: PointLimits
  readonly itemsMax: number
  /**
   * Decodes and delivers a parsed item. Returns the series of its point. Undefined: the item was rejected, or the
   * scanner cannot read items of its type.
   */
  decode(item: unknown, index: number): Steps<S | undefined>
}

/**
 * Delivers the items of a batch and returns the number of items. Returns undefined if the body must be decoded as a
 * whole; the caller then discards all points delivered so far.
 */
export function* scanItems<S extends SeriesRef>(
  bytes: Uint8Array,
  sink: PointSink<S>,
  options: ScanOptions<S>,
): Steps<number | undefined> {
  const { nowMs } = options
  const budget = new StepBudget()
  let { itemCache } = sink
  const scanner = new ItemScanner(bytes, options.grammar, options.framing)
  if (!scanner.readItemsStart()) return undefined
  let index = 0
  let previousItem: CachedItem<S> | undefined
  /** All bytes before it have been charged to the budget. */
  let chargedPosition = 0
  for (; scanner.moveToNextItem(index === 0); index++) {
    if (index >= options.itemsMax) return undefined
    const itemStart = scanner.position
    const expectedItem = previousItem?.following
    let cachedItem =
      expectedItem !== undefined && scanner.readItemWithLayout(expectedItem.layout, nowMs) ? expectedItem : undefined
    if (cachedItem === undefined) {
      scanner.position = itemStart
      if (scanner.readItem(nowMs)) {
        cachedItem = itemCache.find(scanner.identity)
        if (cachedItem !== undefined && (cachedItem.layout === undefined || cachedItem === expectedItem)) {
          const layout = scanner.createLayout(itemStart)
          if (layout !== undefined) itemCache.keepLayout(cachedItem, layout)
        }
      } else {
        scanner.position = itemStart
        if (!scanner.skipObject()) return undefined
      }
    }
    const itemEnd = scanner.position
    if (!scanner.readItemEnd()) return undefined
    if (cachedItem === undefined || !deliverScanned(scanner, cachedItem.series, sink, index, options)) {
      const item = yield* parseItem(bytes.subarray(itemStart, itemEnd))
      if (item === undefined) return undefined
      const series = yield* options.decode(item, index)
      if (budget.spend(PARSED_ITEM_STEP_UNITS)) yield
      if (cachedItem === undefined && series !== undefined && scanner.hasIdentity && sink.mayCache(series))
        cachedItem = itemCache.add(scanner.identity, series)
    }
    if (previousItem !== undefined) previousItem.following = cachedItem
    previousItem = cachedItem
    const scannedBytes = scanner.position - chargedPosition
    chargedPosition = scanner.position
    if (budget.spend(SCANNED_ITEM_STEP_UNITS + scannedBytes)) {
      yield
      // During the pause, the cache of the project may have been replaced. An item of the old cache must not be linked
      // to an item of the new one.
      if (sink.itemCache !== itemCache) {
        itemCache = sink.itemCache
        previousItem = undefined
      }
    }
  }
  return scanner.readItemsEnd() ? index : undefined
}

/**
 * Parses an item. Returns undefined if it is not JSON. The caller then decodes the whole body, so that the error has
 * the position in the body, or in the line of NDJSON.
 */
function* parseItem(bytes: Uint8Array): Steps<unknown> {
  try {
    return yield* parseJsonBodyInSteps(bytes)
  } catch (error) {
    if (error instanceof GatewayError) return undefined
    throw error
  }
}

/**
 * Delivers an item, such as the one that the scanner read last, to the series from the item cache. Returns false if the
 * item must be parsed, because it may be invalid, or because its series must be resolved again.
 */
export function deliverScanned<S extends SeriesRef>(
  { value, member, timeMs }: Pick<ItemScanner, 'value' | 'member' | 'timeMs'>,
  series: S,
  sink: PointSink<S>,
  index: number,
  { grammar, nowMs }: Pick<ScanOptions<S>, 'grammar' | 'nowMs'>,
): boolean {
  if (checkPointTime(timeMs, nowMs) !== undefined) return false
  if (series.kind === 'set') {
    if (member === undefined || member.length > SET_MEMBER_CHARS_MAX || !sink.canAddTo(series)) return false
    sink.addMember(index, series, timeMs, member)
  } else {
    if (member !== undefined || !Number.isFinite(value) || !sink.canAddTo(series)) return false
    if (grammar === 'better-stack' && series.kind === 'counter') sink.addTotal(index, series, timeMs, value)
    else sink.add(index, series, timeMs, value)
  }
  return true
}
