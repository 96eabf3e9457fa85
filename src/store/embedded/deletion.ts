import type { Id64 } from '../../model/id.ts'
import type { WindowKey } from '../store.ts'
import type { HeldBlocks } from './held-blocks.ts'
import { afterPrefix, inboxKey, METRIC_ID_OFFSET, metricPrefix, partitionKey, readId, readWindowKey } from './keys.ts'
import { decodeOrder } from './rows.ts'
import { removeWindow } from './timelines.ts'
import type { WriteSet } from './write-set.ts'

/**
 * Removes the data of deleted metrics, after the inbox entries that existed at the deletion are folded. From then on,
 * no points of the metric can be added: commits are refused, and so is a fold that began earlier, because its inbox
 * entries no longer exist. A merge is refused once the index entries that it replaces are removed.
 */

/** Tables whose rows are removed after the windows of a metric. Their keys begin with partition and metric. */
const CLEARED_TABLES = ['sets', 'expired', 'series-ids', 'series', 'tag-keys'] as const

/** Removes at most `max` windows or rows. Returns false if no more can be removed now. */
export function clearDeleted(
  writes: WriteSet,
  heldBlocks: HeldBlocks,
  partition: number,
  max: number,
  nowMs: number,
): boolean {
  let remaining = max
  const range = { start: partitionKey(partition), end: afterPrefix(partitionKey(partition)) }
  for (const { key, value } of writes.tables.dying.rows(range)) {
    if (hasInboxEntriesUntil(writes, partition, decodeOrder(value))) continue
    remaining -= clearMetric(writes, heldBlocks, partition, readId(key, METRIC_ID_OFFSET), remaining, nowMs)
    if (remaining <= 0) return true
    writes.remove('dying', key)
  }
  return false
}

/** Returns whether the inbox still has an entry with this arrival number or an earlier one. */
function hasInboxEntriesUntil(writes: WriteSet, partition: number, order: number): boolean {
  const range = { start: inboxKey(partition, 0), end: inboxKey(partition, order + 1), limit: 1 }
  for (const _ of writes.tables.inbox.keys(range)) return true
  return false
}

/**
 * Removes at most `max` windows and rows of a metric. Returns the number removed. If it is less than `max`, none are
 * left.
 */
function clearMetric(
  writes: WriteSet,
  heldBlocks: HeldBlocks,
  partition: number,
  metricId: Id64,
  max: number,
  nowMs: number,
): number {
  const prefix = metricPrefix(partition, metricId)
  const range = { start: prefix, end: afterPrefix(prefix) }
  let removedCount = 0
  for (const key of writes.tables.windows.keys({ ...range, limit: max })) {
    const window: WindowKey = readWindowKey(key)
    removeWindow(writes, heldBlocks, partition, window, nowMs)
    removedCount++
  }
  for (const table of CLEARED_TABLES) {
    for (const key of writes.tables[table].keys(range)) {
      if (removedCount >= max) return removedCount
      writes.remove(table, key)
      removedCount++
    }
  }
  return removedCount
}
