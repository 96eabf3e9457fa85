import type { KeyRow, PermitRequest, Receipt, ReceiptBounds } from '../store.ts'
import { COLLECT_MS, type Engine, texts } from './engine.ts'
import { decodeReceipt, encodeReceipt } from './entries.ts'
import { apiKeysKey, digestOf, permitPartition, receiptPartition } from './keys.ts'
import { Call } from './scripts.ts'

/** What requests leave behind besides points and events: receipts of idempotency keys, permits of rate limits; and the API keys. */

export const RECEIPT_MS = 86_400_000

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
    .arg(digestOf(key), nowMs, RECEIPT_MS, receiptsMax, receiptsBytesMax, RECEIPT_MS + COLLECT_MS)
    .arg(encodeReceipt(receipt, nowMs))
  return decodeReceipt(String(await engine.run('write-receipt', call))).receipt
}

export async function takePermits(
  engine: Engine,
  request: PermitRequest,
): Promise<{ readonly granted: number; readonly left: number }> {
  const { bucket, permits, limit, windowMs, nowMs } = request
  const startMs = Math.floor(nowMs / windowMs) * windowMs
  const digest = digestOf(bucket)
  const key = engine.keys(permitPartition(bucket, engine.partitions)).permits(digest, windowMs, startMs)
  // Clocks of gateways differ by less than a window.
  const call = new Call().key(key).arg(permits, limit, 2 * windowMs)
  const [granted, left] = texts(await engine.run('take-permits', call))
  return { granted: Number(granted), left: Number(left) }
}

export async function saveKey(engine: Engine, key: KeyRow): Promise<void> {
  await engine.call('hset', apiKeysKey(engine.prefix), key.hash, JSON.stringify(key))
}

export async function readKey(engine: Engine, hash: string): Promise<KeyRow | undefined> {
  const text = await engine.call('hget', apiKeysKey(engine.prefix), hash)
  return text === null ? undefined : (JSON.parse(String(text)) as KeyRow)
}

export async function listKeys(engine: Engine): Promise<KeyRow[]> {
  return texts(await engine.call('hvals', apiKeysKey(engine.prefix))).map((text) => JSON.parse(text) as KeyRow)
}
