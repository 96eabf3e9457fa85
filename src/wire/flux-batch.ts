import type { PointLimits, PointSink, SeriesRef } from '../model/point.ts'
import { asSteps, type Steps } from '../model/steps.ts'
import { decodeFluxItem, decodeFluxItems } from './flux.ts'
import { parseJsonBodyInSteps } from './json-body.ts'
import { scanItems } from './scan-items.ts'

/**
 * Delivers the body of a batch, `{"metrics":[…]}` or a bare array. Returns the number of items, including rejected
 * ones. Throws `invalid_body` or `batch_too_large`; the caller then discards all points delivered so far.
 */
export function* decodeFluxBatch<S extends SeriesRef>(
  bytes: Uint8Array,
  sink: PointSink<S>,
  nowMs: number,
  limits: PointLimits,
  itemsMax: number,
): Steps<number> {
  const scannedCount = yield* scanFluxBatch(bytes, sink, nowMs, limits, itemsMax)
  if (scannedCount !== undefined) return scannedCount
  sink.restart()
  return decodeFluxItems(yield* parseJsonBodyInSteps(bytes), sink, nowMs, limits, itemsMax)
}

/**
 * Decodes a batch on the fast path. Returns undefined if the whole body must be parsed instead; the caller then
 * discards all points delivered so far.
 */
export function scanFluxBatch<S extends SeriesRef>(
  bytes: Uint8Array,
  sink: PointSink<S>,
  nowMs: number,
  limits: PointLimits,
  itemsMax: number,
): Steps<number | undefined> {
  return scanItems(bytes, sink, {
    grammar: 'flux',
    framing: 'array',
    nowMs,
    limits,
    itemsMax,
    decode: (item, index) => asSteps(() => decodeFluxItem(item, index, sink, nowMs, limits)?.series),
  })
}
