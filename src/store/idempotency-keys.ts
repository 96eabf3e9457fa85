/**
 * The receipt that a store keeps for an idempotency key, and how many receipts it keeps. `bookkeeping-lifetimes.ts`
 * says for how long a receipt is kept. `src/write/idempotency.ts` explains how receipts and markers make retries safe.
 */

/** The stored response to a request with an idempotency key. A retry gets the same response while it is stored. */
export interface Receipt {
  /** SHA-256 of method, route and body, or of GraphQL field and input, in hexadecimal. */
  readonly requestHash: string
  readonly status: number
  readonly body: string
}

/**
 * Limits for the receipts of one project. When a new receipt exceeds a limit, the store removes the oldest receipts,
 * but not the new one.
 */
export interface ReceiptBounds {
  readonly receiptsMax: number
  /** Total bytes of the receipts in their stored form. */
  readonly receiptsBytesMax: number
}

/**
 * Most receipts have a few hundred bytes. By default, the receipt of a batch in which all items are invalid has up to
 * 150,000; of a batch of both metrics and events, up to twice as many.
 */
export const RECEIPT_BOUNDS: ReceiptBounds = { receiptsMax: 10_000, receiptsBytesMax: 33_554_432 }
