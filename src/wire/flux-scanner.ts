import type { ItemMemory, MemoryEntry } from '../model/item-memory.ts'
import { checkInstant, type PointLimits, type PointSink, type SeriesRef } from '../model/point.ts'
import { decodeFluxItem } from './flux.ts'
import { ItemScanner } from './item-scanner.ts'
import { parseJsonBody } from './json-body.ts'

/**
 * The fast way through a batch: walks the bytes of the body once and takes from each item where its name, type and tags lie,
 * its value and its time, without building a string or an object. An item whose name, type and tags stood in an earlier item
 * byte by byte has its series from there; where items come in the order of an earlier batch, the walk is a comparison of bytes
 * around the value and the time. Everything else (an item seen for the first time, an escape, an odd number, an
 * unknown key) goes through `decodeFluxItem` by itself, and a body that is not understood at all is left to be decoded
 * whole: this file may give up at any time, but it must never decide anything otherwise than the long way would.
 */

/**
 * Delivers a batch of the form `{"metrics":[…]}` or `[…]` and answers how many items it had. Undefined: the body has to be
 * decoded whole, and what was delivered of it is void.
 */
export function scanFluxBatch<S extends SeriesRef>(
  bytes: Uint8Array,
  memory: ItemMemory<S>,
  sink: PointSink<S>,
  nowMs: number,
  limits: PointLimits,
  itemsMax: number,
): number | undefined {
  const scanner = new ItemScanner(bytes)
  if (!scanner.openItems()) return undefined
  let index = 0
  let previous: MemoryEntry<S> | undefined
  for (; scanner.nextItem(index === 0); index++) {
    if (index >= itemsMax) return undefined
    const start = scanner.at
    const expected = previous?.following
    let entry = expected !== undefined && scanner.matches(expected.layout, nowMs) ? expected : undefined
    if (entry === undefined) {
      scanner.at = start
      if (scanner.readItem(nowMs)) {
        entry = memory.find(scanner.identity)
        if (entry !== undefined && (entry.layout === undefined || entry === expected)) {
          const layout = scanner.layout(start)
          if (layout !== undefined) memory.learn(entry, layout)
        }
      } else {
        scanner.at = start
        if (!scanner.skipObject()) return undefined
      }
    }
    if (entry === undefined || !deliver(scanner, entry.series, sink, index, nowMs, limits)) {
      const item = parseItem(bytes.subarray(start, scanner.at))
      if (item === undefined) return undefined
      const point = decodeFluxItem(item, index, sink, nowMs, limits)
      if (entry === undefined && point !== undefined && scanner.isPlain)
        entry = memory.remember(scanner.identity, point.series)
    }
    if (previous !== undefined) previous.following = entry
    previous = entry
  }
  return scanner.closeItems() ? index : undefined
}

/** Undefined: no JSON. The whole body is looked at then, so that the error says where in it. */
function parseItem(bytes: Uint8Array): unknown {
  try {
    return parseJsonBody(bytes)
  } catch {
    return undefined
  }
}

/** False: the item needs the long way, which knows why. */
function deliver<S extends SeriesRef>(
  { value, member, timeMs }: ItemScanner,
  series: S,
  sink: PointSink<S>,
  index: number,
  nowMs: number,
  limits: PointLimits,
): boolean {
  if (checkInstant(timeMs, nowMs, limits) !== undefined) return false
  if (series.kind === 'set') {
    if (member === undefined || member.length > limits.setMemberCharsMax || !sink.reuse(series)) return false
    sink.addMember(index, series, timeMs, member)
  } else {
    if (member !== undefined || !Number.isFinite(value) || !sink.reuse(series)) return false
    sink.add(index, series, timeMs, value)
  }
  return true
}
