import { DAY_MS } from '../model/time.ts'

/**
 * What a store keeps for an idempotency key (markers and a receipt), for how long, and with which bounds.
 * `src/write/idempotency.ts` explains how both are used.
 */

/** How long a marker is kept after its commit. While the marker exists, a retry does not count the points again. */
export const IDEMPOTENCY_MARKER_MS = DAY_MS

/** How long a receipt is kept: as long as the markers of the same key. */
export const RECEIPT_MS = IDEMPOTENCY_MARKER_MS

/** The stored response of a request with an idempotency key. A retry gets this response. */
export interface Receipt {
  /** SHA-256 of route and body, in hexadecimal. */
  readonly requestHash: string
  readonly status: number
  readonly body: string
}

/** Bounds on the receipts of one project. When a bound is exceeded, the store removes the oldest receipts. */
export interface ReceiptBounds {
  readonly receiptsMax: number
  /** Total bytes of the receipts in their stored form. */
  readonly receiptsBytesMax: number
}

/** A receipt usually has a few hundred bytes. The receipt of a batch in which every item is invalid has 150,000. */
export const RECEIPT_BOUNDS: ReceiptBounds = { receiptsMax: 10_000, receiptsBytesMax: 33_554_432 }
