import { DAY_MS, MINUTE_MS } from '../model/time.ts'

/**
 * How long both stores keep what is removed without a request: `Store.sweep` removes what is older, and the verbs
 * ignore it even before. Times are milliseconds of the gateways' clocks, which the verbs get as `nowMs`.
 */

/** The marker of an idempotency key, from its commit on: a request repeated within a day counts once. */
export const IDEMPOTENCY_MARKER_MS = DAY_MS

/** The stored response of an idempotency key: kept for as long as its marker. */
export const RECEIPT_MS = IDEMPOTENCY_MARKER_MS

/** A writer's watermark, after its last commit. Writers take a new name daily, so none is needed for a week. */
export const WATERMARK_MS = 7 * DAY_MS

/** A block that no index lists yet. A fold commits its blocks within seconds, unless the gateway stops. */
export const UNCOMMITTED_BLOCK_MS = 15 * MINUTE_MS

/** A block that no index lists any more. A query takes at most 30 s and may still read blocks of its snapshot. */
export const UNLISTED_BLOCK_MS = MINUTE_MS
