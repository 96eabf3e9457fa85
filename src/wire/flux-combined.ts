import { GatewayError } from '../model/errors.ts'
import type { PointSink, SeriesRef } from '../model/point.ts'
import { asSteps, type Steps } from '../model/steps.ts'
import { decodeFluxItems } from './flux.ts'
import { decodeFluxBatch } from './flux-batch.ts'
import { type DecodedEvents, decodeFluxEvents, type EventLimits } from './flux-events.ts'
import { parseJsonBodyInSteps } from './json-body.ts'
import { findArrayMembers } from './json-members.ts'

export interface CombinedBatch {
  readonly events: DecodedEvents
  /**
   * Delivers the metrics and returns the number of items. Throws the same errors as `decodeCombinedBatch`; the caller
   * then discards all points delivered so far.
   */
  readonly decodeMetrics: <S extends SeriesRef>(sink: PointSink<S>) => Steps<number>
}

/**
 * Decodes the events of a body `{"events":[…],"metrics":[…]}`. Returns the events, and a function that decodes the
 * metrics. Each member may be missing or null. Throws `invalid_body` or `batch_too_large`.
 */
export function* decodeCombinedBatch(
  bytes: Uint8Array,
  nowMs: number,
  limits: EventLimits,
  itemsMax: number,
): Steps<CombinedBatch> {
  const arrays = findArrayMembers(bytes, ['events', 'metrics'])
  if (arrays === undefined) return yield* decodeWholeBody(bytes, nowMs, limits, itemsMax)
  const eventsBytes = arrays.get('events')
  const metricsBytes = arrays.get('metrics')
  return {
    events: yield* decodeFluxEvents(
      eventsBytes === undefined ? [] : yield* parseArray(eventsBytes, bytes),
      nowMs,
      limits,
      itemsMax,
    ),
    *decodeMetrics(sink) {
      if (metricsBytes === undefined) return 0
      try {
        return yield* decodeFluxBatch(metricsBytes, sink, nowMs, limits.points, itemsMax)
      } catch (error) {
        throw yield* errorOfWholeBody(error, bytes)
      }
    },
  }
}

function* decodeWholeBody(
  bytes: Uint8Array,
  nowMs: number,
  limits: EventLimits,
  itemsMax: number,
): Steps<CombinedBatch> {
  const body = yield* parseJsonBodyInSteps(bytes)
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new GatewayError('invalid_body', 'the body must be {"events": […], "metrics": […]}')
  }
  const { events, metrics }: { readonly events?: unknown; readonly metrics?: unknown } = body
  const items = metrics ?? []
  if (!Array.isArray(items)) throw new GatewayError('invalid_body', 'metrics must be an array')
  return {
    events: yield* decodeFluxEvents(events ?? [], nowMs, limits, itemsMax),
    // No pause is needed, because at most `itemsMax` items are decoded.
    decodeMetrics: (sink) => asSteps(() => decodeFluxItems(items, sink, nowMs, limits.points, itemsMax)),
  }
}

function* parseArray(arrayBytes: Uint8Array, bodyBytes: Uint8Array): Steps<unknown> {
  try {
    return yield* parseJsonBodyInSteps(arrayBytes)
  } catch (error) {
    throw yield* errorOfWholeBody(error, bodyBytes)
  }
}

/**
 * Returns the error to throw for an array that could not be decoded. If the array is not JSON, throws the error of
 * parsing the whole body instead, because that error has the position in the body.
 */
function* errorOfWholeBody(error: unknown, bytes: Uint8Array): Steps<unknown> {
  if (error instanceof GatewayError && error.code === 'invalid_body') yield* parseJsonBodyInSteps(bytes)
  return error
}
