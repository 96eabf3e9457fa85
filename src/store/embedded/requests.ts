import type { KeyRow, PermitRequest, Receipt, ReceiptBounds } from '../store.ts'
import { keys, NO_VALUE, rows, type Tables, type WriteSet } from './environment.ts'
import { afterPrefix, apiKeyKey, expiryKey, projectKey, receiptAgeKey, receiptKey, receiptOfAge } from './keys.ts'
import {
  decodeJson,
  decodeReceipt,
  decodeReceiptTotals,
  encodeJson,
  encodeReceipt,
  encodeReceiptTotals,
  type ReceiptTotals,
} from './rows.ts'

/** What requests leave behind besides points: receipts of idempotency keys, permits of rate limits; and the API keys. */

export const RECEIPT_MS = 86_400_000
/** Some 100 MB at most, however many addresses ask within a minute; beyond it the oldest start anew. */
const PERMIT_WINDOWS_MAX = 500_000

export function readReceipt(tables: Tables, project: string, key: string, nowMs: number): Receipt | undefined {
  const bytes = tables.receipts.getBinary(receiptKey(project, key))
  if (bytes === undefined) return undefined
  const row = decodeReceipt(bytes)
  return row.writtenMs + RECEIPT_MS > nowMs ? row.receipt : undefined
}

export function writeReceipt(
  writes: WriteSet,
  project: string,
  key: string,
  receipt: Receipt,
  nowMs: number,
  { receiptsMax, receiptsBytesMax }: ReceiptBounds,
): Receipt {
  const rowKey = receiptKey(project, key)
  const bytes = writes.get('receipts', rowKey)
  const standing = bytes && decodeReceipt(bytes)
  if (standing !== undefined && standing.writtenMs + RECEIPT_MS > nowMs) return standing.receipt

  const row = encodeReceipt({ writtenMs: nowMs, receipt })
  const kept = { ...decodeReceiptTotals(writes.get('receipt-totals', projectKey(project))) }
  if (standing !== undefined) {
    writes.remove('receipt-ages', receiptAgeKey(rowKey, standing.writtenMs))
    subtract(kept, bytes!)
  }
  writes.put('receipts', rowKey, row)
  writes.put('receipt-ages', receiptAgeKey(rowKey, nowMs), NO_VALUE)
  writes.put('expiry', expiryKey(nowMs + RECEIPT_MS, 'receipt', rowKey), NO_VALUE)
  kept.receipts++
  kept.bytes += row.length
  removeOldest(writes, project, rowKey, kept, () => kept.receipts > receiptsMax || kept.bytes > receiptsBytesMax)
  writes.put('receipt-totals', projectKey(project), encodeReceiptTotals(kept))
  return receipt
}

/** The receipt being written stays, however old its time is. */
function removeOldest(
  writes: WriteSet,
  project: string,
  stays: Buffer,
  kept: ReceiptTotals,
  tooMany: () => boolean,
): void {
  const start = projectKey(project)
  for (const age of keys(writes.tables['receipt-ages'], { start, end: afterPrefix(start) })) {
    if (!tooMany()) break
    const key = receiptOfAge(age)
    if (key.equals(stays)) continue
    const row = writes.get('receipts', key)
    writes.remove('receipt-ages', age)
    if (row === undefined) continue
    writes.remove('receipts', key)
    subtract(kept, row)
  }
}

function subtract(kept: ReceiptTotals, row: Uint8Array): void {
  kept.receipts--
  kept.bytes -= row.length
}

export function sweepReceipt(writes: WriteSet, key: Uint8Array, nowMs: number): void {
  const bytes = writes.get('receipts', key)
  if (bytes === undefined) return
  const { writtenMs } = decodeReceipt(bytes)
  if (writtenMs + RECEIPT_MS > nowMs) return
  const project = key.subarray(0, 16)
  writes.remove('receipts', key)
  writes.remove('receipt-ages', receiptAgeKey(key, writtenMs))
  const kept = { ...decodeReceiptTotals(writes.get('receipt-totals', project)) }
  subtract(kept, bytes)
  writes.put('receipt-totals', project, encodeReceiptTotals(kept))
}

/**
 * Permits taken in the windows of time that are under way. They live in memory: only this process takes any, and a limit that
 * starts anew with the gateway lets nobody take much more.
 */
export class Permits {
  /** Of each bucket, in the order in which their windows were first asked for. */
  readonly #taken = new Map<string, { endMs: number; taken: number }>()
  readonly #windowsMax: number

  constructor(windowsMax = PERMIT_WINDOWS_MAX) {
    this.#windowsMax = windowsMax
  }

  take(request: PermitRequest): { readonly granted: number; readonly left: number } {
    const { bucket, permits, limit, windowMs, nowMs } = request
    const key = `${windowMs} ${bucket}`
    const endMs = (Math.floor(nowMs / windowMs) + 1) * windowMs
    let window = this.#taken.get(key)
    if (window === undefined || window.endMs !== endMs) {
      window = { endMs, taken: 0 }
      this.#taken.delete(key)
      if (this.#taken.size >= this.#windowsMax) this.#forgetOldest()
      this.#taken.set(key, window)
    }
    const granted = Math.min(permits, Math.max(0, limit - window.taken))
    window.taken += granted
    return { granted, left: Math.max(0, limit - window.taken) }
  }

  #forgetOldest(): void {
    for (const key of this.#taken.keys()) {
      this.#taken.delete(key)
      return
    }
  }

  sweep(nowMs: number): void {
    for (const [key, { endMs }] of this.#taken) if (endMs <= nowMs) this.#taken.delete(key)
  }
}

export function saveKey(writes: WriteSet, key: KeyRow): void {
  writes.put('keys', apiKeyKey(key.hash), encodeJson(key))
}

export function readKey(tables: Tables, hash: string): KeyRow | undefined {
  const bytes = tables.keys.getBinary(apiKeyKey(hash))
  return bytes && (decodeJson(bytes) as KeyRow)
}

export function listKeys(tables: Tables): KeyRow[] {
  const found: KeyRow[] = []
  for (const { value } of rows(tables.keys, { start: Buffer.alloc(1), end: Buffer.alloc(33, 0xff) })) {
    found.push(decodeJson(value) as KeyRow)
  }
  return found
}
