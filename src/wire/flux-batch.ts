import type { PointLimits, PointSink, SeriesRef } from '../model/point.ts'
import { decodeFluxItems } from './flux.ts'
import { scanFluxBatch } from './flux-scanner.ts'
import { parseJsonBody } from './json-body.ts'

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
  const scanned = scanFluxBatch(bytes, sink.memory, sink, nowMs, limits, itemsMax)
  if (scanned !== undefined) return scanned
  sink.restart()
  return decodeFluxItems(parseJsonBody(bytes), sink, nowMs, limits, itemsMax)
}
