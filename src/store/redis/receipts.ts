import { RECEIPT_KEPT_MS } from '../bookkeeping-lifetimes.ts'
import type { Receipt, ReceiptBounds } from '../idempotency-keys.ts'
import { digestOf, receiptPartition } from './keys.ts'
import { type RedisAccess, SERVER_TTL_MS } from './redis-access.ts'
import { ScriptCall } from './scripts.ts'
import { decodeReceipt, encodeReceipt } from './text-encoding.ts'

/**
 * Reads and writes the receipts of idempotency keys. A stored receipt is not replaced before it expires. The number and
 * the bytes of a project's receipts are limited: beyond the limits, its oldest receipts are removed.
 */

export async function readReceipt(
  redis: RedisAccess,
  project: string,
  key: string,
  nowMs: number,
): Promise<Receipt | undefined> {
  const keys = redis.keys(receiptPartition(project, redis.partitions))
  const text = await redis.call('hget', keys.receipts(project), digestOf(key))
  if (text === null) return undefined
  const { writtenMs, receipt } = decodeReceipt(String(text))
  return writtenMs + RECEIPT_KEPT_MS > nowMs ? receipt : undefined
}

export async function writeReceipt(
  redis: RedisAccess,
  project: string,
  key: string,
  receipt: Receipt,
  nowMs: number,
  { receiptsMax, receiptsBytesMax }: ReceiptBounds,
): Promise<Receipt> {
  const keys = redis.keys(receiptPartition(project, redis.partitions))
  const call = new ScriptCall()
    .key(keys.receipts(project), keys.receiptAges(project))
    .arg(digestOf(key), nowMs, RECEIPT_KEPT_MS, receiptsMax, receiptsBytesMax, RECEIPT_KEPT_MS + SERVER_TTL_MS)
    .arg(encodeReceipt(receipt, nowMs))
  return decodeReceipt(String(await redis.run('write-receipt', call))).receipt
}
