import { DAY_MS, MINUTE_MS } from '../model/time.ts'

/**
 * How long both stores keep what is removed without a request: `Store.sweep` removes what is older, and the verbs
 * ignore it even before. Times are milliseconds of the gateways' clocks, which the verbs get as `nowMs`.
 */

/** A writer's watermark, after its last commit. Writers take a new name daily, so none is needed for a week. */
export const WATERMARK_MS = 7 * DAY_MS

/** A block that no index lists yet. A fold commits its blocks within seconds, unless the gateway stops. */
export const UNCOMMITTED_BLOCK_MS = 15 * MINUTE_MS

/** A block that no index lists any more. A query takes at most 30 s and may still read blocks of its snapshot. */
export const UNLISTED_BLOCK_MS = MINUTE_MS
