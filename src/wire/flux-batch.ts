import type { PointLimits, PointSink, SeriesRef } from '../model/point.ts'
import { decodeFluxItem, decodeFluxItems } from './flux.ts'
import { parseJsonBody } from './json-body.ts'
import { scanItems } from './scan-items.ts'

/**
 * Delivers the body of a batch, `{"metrics":[…]}` or a bare array, and answers how many items it had. Throws `invalid_body` or
 * `batch_too_large`; then what was delivered is void.
 */
export function decodeFluxBatch<S extends SeriesRef>(
  bytes: Uint8Array,
  sink: PointSink<S>,
  nowMs: number,
  limits: PointLimits,
  itemsMax: number,
): number {
  const scanned = scanFluxBatch(bytes, sink, nowMs, limits, itemsMax)
  if (scanned !== undefined) return scanned
  sink.restart()
  return decodeFluxItems(parseJsonBody(bytes), sink, nowMs, limits, itemsMax)
}

/** The same, unless the body has to be decoded whole: then undefined. */
export function scanFluxBatch<S extends SeriesRef>(
  bytes: Uint8Array,
  sink: PointSink<S>,
  nowMs: number,
  limits: PointLimits,
  itemsMax: number,
): number | undefined {
  return scanItems(bytes, sink, {
    grammar: 'flux',
    framing: 'array',
    nowMs,
    limits,
    itemsMax,
    decode: (item, index) => decodeFluxItem(item, index, sink, nowMs, limits)?.series,
  })
}
