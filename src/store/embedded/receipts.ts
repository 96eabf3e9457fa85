import { RECEIPT_KEPT_MS } from '../bookkeeping-lifetimes.ts'
import type { Receipt, ReceiptBounds } from '../idempotency-keys.ts'
import { afterPrefix, expiryKey, projectKey, receiptAgeKey, receiptKey, receiptKeyOfAge } from './keys.ts'
import { decodeReceipt, decodeReceiptTotals, encodeReceipt, encodeReceiptTotals, type ReceiptTotals } from './rows.ts'
import { NO_VALUE, type Tables } from './table.ts'
import type { WriteSet } from './write-set.ts'

/**
 * Stores the receipts of idempotency keys. A receipt is not replaced before it expires, but it is removed earlier if
 * later receipts of the project exceed the limits of number and bytes.
 */

export function readReceipt(tables: Tables, project: string, key: string, nowMs: number): Receipt | undefined {
  const bytes = tables.receipts.get(receiptKey(project, key))
  if (bytes === undefined) return undefined
  const row = decodeReceipt(bytes)
  return row.writtenMs + RECEIPT_KEPT_MS > nowMs ? row.receipt : undefined
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
  const storedBytes = writes.get('receipts', rowKey)
  const stored = storedBytes && decodeReceipt(storedBytes)
  if (stored !== undefined && stored.writtenMs + RECEIPT_KEPT_MS > nowMs) return stored.receipt

  const rowBytes = encodeReceipt({ writtenMs: nowMs, receipt })
  const totals = { ...decodeReceiptTotals(writes.get('receipt-totals', projectKey(project))) }
  if (stored !== undefined) {
    writes.remove('receipt-ages', receiptAgeKey(rowKey, stored.writtenMs))
    subtractReceipt(totals, storedBytes!)
  }
  writes.put('receipts', rowKey, rowBytes)
  writes.put('receipt-ages', receiptAgeKey(rowKey, nowMs), NO_VALUE)
  writes.put('expiry', expiryKey(nowMs + RECEIPT_KEPT_MS, 'receipt', rowKey), NO_VALUE)
  totals.receiptCount++
  totals.bytes += rowBytes.length
  removeOldest(
    writes,
    project,
    rowKey,
    totals,
    () => totals.receiptCount > receiptsMax || totals.bytes > receiptsBytesMax,
  )
  writes.put('receipt-totals', projectKey(project), encodeReceiptTotals(totals))
  return receipt
}

/**
 * Removes the oldest receipts of a project until `exceedsBounds` returns false or only one is left: the receipt that is
 * being written (`writtenKey`) stays, even if it has the earliest time.
 */
function removeOldest(
  writes: WriteSet,
  project: string,
  writtenKey: Buffer,
  totals: ReceiptTotals,
  exceedsBounds: () => boolean,
): void {
  if (!exceedsBounds()) return
  const start = projectKey(project)
  for (const ageKey of writes.tables['receipt-ages'].keys({ start, end: afterPrefix(start) })) {
    if (!exceedsBounds()) return
    const key = receiptKeyOfAge(ageKey)
    if (key.equals(writtenKey)) continue
    const rowBytes = writes.get('receipts', key)
    writes.remove('receipt-ages', ageKey)
    if (rowBytes === undefined) continue
    writes.remove('receipts', key)
    subtractReceipt(totals, rowBytes)
  }
}

function subtractReceipt(totals: ReceiptTotals, rowBytes: Uint8Array): void {
  totals.receiptCount--
  totals.bytes -= rowBytes.length
}

/** Removes a receipt if it has expired: it may have been written again since its entry in `expiry`. */
export function removeReceiptIfExpired(writes: WriteSet, key: Uint8Array, nowMs: number): void {
  const bytes = writes.get('receipts', key)
  if (bytes === undefined) return
  const { writtenMs } = decodeReceipt(bytes)
  if (writtenMs + RECEIPT_KEPT_MS > nowMs) return
  const project = key.subarray(0, 16)
  writes.remove('receipts', key)
  writes.remove('receipt-ages', receiptAgeKey(key, writtenMs))
  const totals = { ...decodeReceiptTotals(writes.get('receipt-totals', project)) }
  subtractReceipt(totals, bytes)
  writes.put('receipt-totals', project, encodeReceiptTotals(totals))
}
