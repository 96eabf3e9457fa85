import { GatewayError } from '../../model/errors.ts'
import type { ConflictReason } from './commit-sender.ts'

/** Errors of requests whose points were not stored, or may not have been stored. */

export function nothingStoredError(): GatewayError {
  return new GatewayError('store_unavailable', 'the store does not respond; nothing was stored')
}

/** Returns the error for a request whose points may be stored completely, in part or not at all. */
export function unknownOutcomeError(message: string, cause?: unknown): GatewayError {
  return new GatewayError('store_unavailable', message, { details: { outcome: 'unknown' }, cause })
}

const CONFLICT_MESSAGES: Readonly<Record<ConflictReason, string>> = {
  metric_deleted: 'a metric in the same commit was deleted meanwhile',
  store_changed: 'the store has changed under the gateway',
}

/** Returns the error for a request with points or events in a commit that conflicts with the store or was given up. */
export function conflictError(conflictReason: ConflictReason, isPartlyStored: boolean): GatewayError {
  return isPartlyStored
    ? unknownOutcomeError(`${CONFLICT_MESSAGES[conflictReason]}; part of the points was stored`)
    : new GatewayError(
        'store_unavailable',
        `${CONFLICT_MESSAGES[conflictReason]}; nothing was stored, send the request again`,
      )
}
