/**
 * The stored response of a request with an idempotency key: a repeated request gets it again. Kept for `RECEIPT_MS`.
 */
export interface Receipt {
  /** SHA-256 of route and body, in hexadecimal. */
  readonly requestHash: string
  readonly status: number
  readonly body: string
}

/** How many receipts a store keeps of a project; the oldest are removed first. */
export interface ReceiptBounds {
  readonly receiptsMax: number
  /** Of the receipts as they are stored. */
  readonly receiptsBytesMax: number
}

/** A receipt has a few hundred bytes; that of a batch full of errors has some 150,000. */
export const RECEIPT_BOUNDS: ReceiptBounds = { receiptsMax: 10_000, receiptsBytesMax: 33_554_432 }
