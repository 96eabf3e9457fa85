import { DAY_MS } from '../model/time.ts'

/** What a store keeps of an idempotency key, how long, and how much of it. See `src/write/idempotency.ts`. */

/** How long a marker is kept, from its commit on. While it exists, a retry counts no points again. */
export const IDEMPOTENCY_MARKER_MS = DAY_MS

/** How long a receipt is kept: as long as a retry counts no points again. */
export const RECEIPT_MS = IDEMPOTENCY_MARKER_MS

/** The stored response of a request with an idempotency key. A retry gets it again. */
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
