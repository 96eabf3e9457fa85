import type { Id64 } from '../../model/id.ts'
import type { WindowKey } from '../store.ts'
import { keys, rows, type WriteSet } from './environment.ts'
import { afterPrefix, inboxKey, METRIC_ID_AT, metricPrefix, partitionKey, readId, readWindowKey } from './keys.ts'
import { decodeOrder } from './rows.ts'
import { removeWindow } from './timelines.ts'

/**
 * What is left of metrics that were deleted. Until the inbox of that time is folded they are treated as if they lived; then nothing can
 * come back: later commits are refused, and a fold or a merge that began earlier finds its inbox entries or its blocks gone.
 */

/** Tables whose keys begin with partition and metric, in the order they are cleared once no window is left. */
const LEFT_BEHIND = ['sets', 'expired', 'series-ids', 'series', 'tag-keys'] as const

/** Removes at most `max` windows or rows; whether there is more to do now. */
export function clearDeleted(writes: WriteSet, partition: number, max: number, nowMs: number): boolean {
  let left = max
  const all = { start: partitionKey(partition), end: afterPrefix(partitionKey(partition)) }
  for (const { key, value } of rows(writes.tables.dying, all)) {
    if (inboxReaches(writes, partition, decodeOrder(value))) continue
    left -= clearMetric(writes, partition, readId(key, METRIC_ID_AT), left, nowMs)
    if (left <= 0) return true
    writes.remove('dying', key)
  }
  return false
}

/** Whether an entry of this order or an older one is still in the inbox. */
function inboxReaches(writes: WriteSet, partition: number, order: number): boolean {
  const range = { start: inboxKey(partition, 0), end: inboxKey(partition, order + 1), limit: 1 }
  for (const _ of keys(writes.tables.inbox, range)) return true
  return false
}

/** How much was removed; less than `max` when nothing is left. */
function clearMetric(writes: WriteSet, partition: number, metricId: Id64, max: number, nowMs: number): number {
  const prefix = metricPrefix(partition, metricId)
  const range = { start: prefix, end: afterPrefix(prefix) }
  let removed = 0
  for (const key of keys(writes.tables.windows, { ...range, limit: max })) {
    const window: WindowKey = readWindowKey(key)
    removeWindow(writes, partition, window, nowMs)
    removed++
  }
  for (const table of LEFT_BEHIND) {
    for (const key of keys(writes.tables[table], range)) {
      if (removed >= max) return removed
      // A range does not see that set sketches went with their window.
      if (!writes.has(table, key)) continue
      writes.remove(table, key)
      removed++
    }
  }
  return removed
}
