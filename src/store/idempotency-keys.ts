/**
 * What a store keeps for an idempotency key besides its markers, and its bounds. `lifetimes.ts` says for how long.
 * `src/write/idempotency.ts` explains how both are used.
 */

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
