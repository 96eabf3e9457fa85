import { DAY_MS, MINUTE_MS } from '../model/time.ts'

/**
 * How long both stores keep what is removed without a request: `Store.sweep` removes what is older, and the verbs
 * ignore it even before. Times are milliseconds of the gateways' clocks, which the verbs get as `nowMs`.
 */

/**
 * The marker of an idempotency key, from its commit on. A client may repeat a request for a day, and its points count
 * once.
 */
export const IDEMPOTENCY_MARKER_MS = DAY_MS

/**
 * The stored response of an idempotency key. A repeated request gets it for as long as its points are not counted
 * again.
 */
export const RECEIPT_MS = IDEMPOTENCY_MARKER_MS

/**
 * A writer's watermark, after its last commit. Writers take a new name daily: nobody retries under a name that is a
 * week old.
 */
export const WATERMARK_MS = 7 * DAY_MS

/**
 * A block that no index lists yet. A fold commits its blocks within seconds; a gateway that stops before leaves them
 * behind.
 */
export const UNCOMMITTED_BLOCK_MS = 15 * MINUTE_MS

/**
 * A block that no index lists any more. A query takes at most 30 s and may still read the blocks that its snapshot
 * names.
 */
export const UNLISTED_BLOCK_MS = MINUTE_MS
