import { DAY_MS, MINUTE_MS } from '../model/time.ts'

/**
 * How long a store keeps its own records: markers, receipts, watermarks, and blocks that no inbox or index entry lists.
 * How long it keeps rollups and events is configured (`RESOLUTIONS`, `SET_RESOLUTIONS`, `EVENT_RETENTION`).
 * `Store.sweep` removes expired records; on Redis, receipts are removed by the server or when the project gets a new
 * one. Until then, an expired marker or receipt has no effect on new requests, and an expired watermark or block can
 * still be read. Times are compared with `nowMs`, the clock of the calling gateway.
 */

/** Lifetime of the marker of an idempotency key, from its commit on. Until it expires, a retry is not counted again. */
export const IDEMPOTENCY_MARKER_KEPT_MS = DAY_MS

/** Longest lifetime of a receipt, the response that a retry gets. `ReceiptBounds` can make it shorter. */
export const RECEIPT_KEPT_MS = IDEMPOTENCY_MARKER_KEPT_MS

/**
 * Lifetime of a writer's watermark, the number of its last commit in a partition, from that commit on. A week is long
 * enough, because a process takes a new writer name for a partition after a day without commits to it.
 */
export const WATERMARK_KEPT_MS = 7 * DAY_MS

/**
 * Lifetime of a block that a fold or a merge has written but no entry lists yet. A fold or a merge usually commits the
 * entries within seconds. If it fails or is refused, its blocks are not used, and a store may drop them earlier.
 */
export const UNCOMMITTED_BLOCK_KEPT_MS = 15 * MINUTE_MS

/**
 * Lifetime of a block after the last entry that lists it was removed. A query that has read the index before may still
 * read the block; by default a GraphQL operation takes at most 30 s. A store may drop blocks earlier if they take much
 * memory: a query that finds a block gone reads the index again.
 */
export const UNLISTED_BLOCK_KEPT_MS = 35_000
