import { IDEMPOTENCY_MARKER_MS, WATERMARK_MS } from '../lifetimes.ts'
import { sweepBlock } from './blocks.ts'
import { type Expiring, expiryEnd, expiryKey, readExpiryKey } from './keys.ts'
import { sweepReceipt } from './receipts.ts'
import { decodeTime, decodeWatermark } from './rows.ts'
import { NO_VALUE } from './table.ts'
import type { WriteSet } from './write-set.ts'

/**
 * A queue of all rows that expire, ordered by time. An entry only names a row to be checked. The check puts a watermark
 * that was updated meanwhile into the queue again, so that a commit need not change the queue.
 */

/** Maximum number of entries in one step: a single transaction of a few milliseconds. */
export const SWEPT_PER_STEP = 1_000

const FIRST_ENTRY = expiryEnd(-(2 ** 51))

/**
 * Removes what has expired, in one bounded step that begins after the entry `previous`. Returns the last entry of the
 * step, for the next step; undefined if no expired entry is left.
 */
export function sweepExpired(writes: WriteSet, nowMs: number, previous?: Uint8Array): Uint8Array | undefined {
  // The next step does not begin at the first entry again: it would pass all removed entries, which stay in the layer.
  const start = previous ?? FIRST_ENTRY
  const range = { start, end: expiryEnd(nowMs), limit: SWEPT_PER_STEP, exclusiveStart: previous !== undefined }
  let last: Uint8Array | undefined
  let entries = 0
  for (const entry of writes.tables.expiry.keys(range)) {
    writes.remove('expiry', entry)
    const { kind, key } = readExpiryKey(entry)
    SWEEPS[kind](writes, key, nowMs)
    last = entry
    entries++
  }
  return entries < SWEPT_PER_STEP ? undefined : last
}

const SWEEPS: Record<Expiring, (writes: WriteSet, key: Uint8Array, nowMs: number) => void> = {
  watermark(writes, key, nowMs) {
    const bytes = writes.get('watermarks', key)
    if (bytes === undefined) return
    const endMs = decodeWatermark(bytes).writtenMs + WATERMARK_MS
    if (endMs <= nowMs) writes.remove('watermarks', key)
    else writes.put('expiry', expiryKey(endMs, 'watermark', key), NO_VALUE)
  },
  marker(writes, key, nowMs) {
    const bytes = writes.get('markers', key)
    if (bytes !== undefined && decodeTime(bytes) + IDEMPOTENCY_MARKER_MS <= nowMs) writes.remove('markers', key)
  },
  receipt: sweepReceipt,
  block: sweepBlock,
}
