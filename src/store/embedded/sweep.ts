import { IDEMPOTENCY_MARKER_KEPT_MS, WATERMARK_KEPT_MS } from '../bookkeeping-lifetimes.ts'
import { removeBlockIfUnlisted } from './blocks.ts'
import { type ExpiringKind, expiryKey, expiryKeysEnd, readExpiryKey } from './keys.ts'
import { removeReceiptIfExpired } from './receipts.ts'
import { decodeTime, decodeWatermark } from './rows.ts'
import { NO_VALUE } from './table.ts'
import { REMOVALS_PER_WRITE_MAX, type WriteSet } from './write-set.ts'

/**
 * Removes expired rows. The table `expiry` is a queue, ordered by time: each entry names a row and the earliest time at
 * which the row can expire. From this time on, the row is checked: a watermark that was updated meanwhile gets a new
 * entry. So a commit that updates a watermark need not change the queue.
 */

/** A key that is less than every key in `expiry`. */
const BEFORE_ALL_ENTRIES = expiryKeysEnd(-(2 ** 51))

/** Processes at most `REMOVALS_PER_WRITE_MAX` expired entries. Returns whether more may be left. */
export function sweepOneStep(writes: WriteSet, nowMs: number): boolean {
  const range = { start: BEFORE_ALL_ENTRIES, end: expiryKeysEnd(nowMs), limit: REMOVALS_PER_WRITE_MAX }
  let entryCount = 0
  for (const entry of writes.tables.expiry.keys(range)) {
    writes.remove('expiry', entry)
    const { kind, key } = readExpiryKey(entry)
    REMOVE_IF_EXPIRED[kind](writes, key, nowMs)
    entryCount++
  }
  return entryCount === REMOVALS_PER_WRITE_MAX
}

const REMOVE_IF_EXPIRED: Record<ExpiringKind, (writes: WriteSet, key: Uint8Array, nowMs: number) => void> = {
  watermark(writes, key, nowMs) {
    const bytes = writes.get('watermarks', key)
    if (bytes === undefined) return
    const expiresMs = decodeWatermark(bytes).writtenMs + WATERMARK_KEPT_MS
    if (expiresMs <= nowMs) writes.remove('watermarks', key)
    else writes.put('expiry', expiryKey(expiresMs, 'watermark', key), NO_VALUE)
  },
  marker(writes, key, nowMs) {
    const bytes = writes.get('markers', key)
    if (bytes !== undefined && decodeTime(bytes) + IDEMPOTENCY_MARKER_KEPT_MS <= nowMs) writes.remove('markers', key)
  },
  receipt: removeReceiptIfExpired,
  block: removeBlockIfUnlisted,
}
