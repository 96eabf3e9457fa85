import type { Receipt, ReceiptBounds } from '../idempotency-keys.ts'
import { RECEIPT_MS } from '../idempotency-keys.ts'
import { type Engine, SERVER_TTL_MS } from './engine.ts'
import { decodeReceipt, encodeReceipt } from './entries.ts'
import { digestOf, receiptPartition } from './keys.ts'
import { Call } from './scripts.ts'

/**
 * Receipts of idempotency keys: the first of a key wins, and each project has a bounded number of receipts and bytes.
 */

export async function readReceipt(
  engine: Engine,
  project: string,
  key: string,
  nowMs: number,
): Promise<Receipt | undefined> {
  const keys = engine.keys(receiptPartition(project, engine.partitions))
  const text = await engine.call('hget', keys.receipts(project), digestOf(key))
  if (text === null) return undefined
  const { writtenMs, receipt } = decodeReceipt(String(text))
  return writtenMs + RECEIPT_MS > nowMs ? receipt : undefined
}

export async function writeReceipt(
  engine: Engine,
  project: string,
  key: string,
  receipt: Receipt,
  nowMs: number,
  { receiptsMax, receiptsBytesMax }: ReceiptBounds,
): Promise<Receipt> {
  const keys = engine.keys(receiptPartition(project, engine.partitions))
  const call = new Call()
    .key(keys.receipts(project), keys.receiptAges(project))
    .arg(digestOf(key), nowMs, RECEIPT_MS, receiptsMax, receiptsBytesMax, RECEIPT_MS + SERVER_TTL_MS)
    .arg(encodeReceipt(receipt, nowMs))
  return decodeReceipt(String(await engine.run('write-receipt', call))).receipt
}
