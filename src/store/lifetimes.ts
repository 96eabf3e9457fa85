import { DAY_MS, MINUTE_MS } from '../model/time.ts'

/**
 * How long a store keeps data that expires by itself. `Store.sweep` removes expired data, and the other verbs ignore
 * expired data that is not removed yet. Times are milliseconds of the gateways' clocks, which the verbs get as `nowMs`.
 */

/** The marker of an idempotency key, counted from its commit. While it exists, a retry counts nothing again. */
export const IDEMPOTENCY_MARKER_MS = DAY_MS

/** The receipt of an idempotency key, which is the response that a retry gets. */
export const RECEIPT_MS = IDEMPOTENCY_MARKER_MS

/** A writer's watermark, counted from the writer's last commit. A writer changes its name daily. */
export const WATERMARK_MS = 7 * DAY_MS

/** A block that no index lists yet. A fold commits its blocks within seconds, unless its gateway stops before. */
export const UNCOMMITTED_BLOCK_MS = 15 * MINUTE_MS

/**
 * A block that no index lists any more. A running query may still read it; by default a query takes at most 30 s. A
 * query that finds a block gone reads the index again.
 */
export const UNLISTED_BLOCK_MS = 35_000
