import type { PointLimits, PointSink, SeriesRef } from '../model/point.ts'
import { decodeFluxItem, type TrackedPoint } from './flux.ts'
import { ItemScanner } from './item-scanner.ts'
import { parseJsonBody } from './json-body.ts'
import { deliverScanned } from './scan-items.ts'

/** The point in the response body. Name and type are JSON texts: if the request is not parsed, copied from it. */
export interface StoredPoint {
  readonly nameJson: string
  readonly typeJson: string
  readonly value: number | string
  readonly timeMs: number
}

/**
 * Delivers the body of a request with one point. If the point is invalid, rejects it and returns undefined. A plain
 * body (see `ItemScanner`) whose name, type and tags are in the item cache is not parsed, unless it may be invalid or
 * its series must be resolved again. Works without a pause, so the body must be short. Throws `invalid_body`.
 */
export function decodeFluxPoint<S extends SeriesRef>(
  bytes: Uint8Array,
  sink: PointSink<S>,
  nowMs: number,
  limits: PointLimits,
): StoredPoint | undefined {
  const scanner = new ItemScanner(bytes, 'flux', 'lines')
  const { itemCache } = sink
  const isPlain = scanner.moveToNextItem(true) && scanner.readItem(nowMs) && scanner.readBodyEnd()
  const cachedItem = isPlain ? itemCache.find(scanner.identity) : undefined
  const scanOptions = { grammar: 'flux', nowMs } as const
  if (cachedItem !== undefined && deliverScanned(scanner, cachedItem.series, sink, 0, scanOptions)) {
    const { nameStart, nameEnd, typeStart, typeEnd } = scanner.identity
    return {
      nameJson: decodeText(bytes, nameStart, nameEnd),
      typeJson: decodeText(bytes, typeStart, typeEnd),
      value: scanner.member ?? scanner.value,
      timeMs: scanner.timeMs,
    }
  }
  const point = decodeFluxItem(parseJsonBody(bytes), 0, sink, nowMs, limits)
  if (point === undefined) return undefined
  if (isPlain && cachedItem === undefined && sink.mayCache(point.series)) itemCache.add(scanner.identity, point.series)
  return storedPointOf(point)
}

/** Same as `decodeFluxPoint`, for a body that is already parsed. Does not use the item cache. */
export function decodeParsedPoint(
  item: unknown,
  sink: PointSink,
  nowMs: number,
  limits: PointLimits,
): StoredPoint | undefined {
  const point = decodeFluxItem(item, 0, sink, nowMs, limits)
  return point && storedPointOf(point)
}

function storedPointOf({ name, type, value, timeMs }: TrackedPoint): StoredPoint {
  return { nameJson: JSON.stringify(name), typeJson: JSON.stringify(type), value, timeMs }
}

function decodeText(bytes: Uint8Array, start: number, end: number): string {
  return UTF8_DECODER.decode(bytes.subarray(start, end))
}

const UTF8_DECODER = new TextDecoder()
