import type { Id64 } from '../../model/id.ts'
import type { WindowKey } from '../store.ts'
import type { HeldBlocks } from './held-blocks.ts'
import {
  afterPrefix,
  METRIC_ID_OFFSET,
  metricPrefix,
  partitionKey,
  readId,
  readInboxOrder,
  readWindowKey,
} from './keys.ts'
import { decodeOrder } from './rows.ts'
import { removeIndexEntries, removeWindowRow } from './timelines.ts'
import { REMOVALS_PER_WRITE_MAX, type WriteSet } from './write-set.ts'

/**
 * Removes the data of deleted metrics, after the inbox entries that existed at the deletion are folded. From then on,
 * no points of the metric can be added: commits are refused, and so is a fold that began earlier, because its inbox
 * entries no longer exist. A merge is refused once the index entries that it replaces are removed.
 */

/** Tables whose rows are removed after the windows of a metric. Their keys begin with partition and metric. */
const CLEARED_TABLES = ['sets', 'expired', 'series-ids', 'series', 'tag-keys'] as const

/** Maximum number of deleted metrics that one step visits, also if it has to skip them. */
const METRICS_PER_STEP_MAX = 1_000

interface ClearedStep {
  /** Number of windows, rows and metrics that were removed. */
  readonly removedCount: number
  /** The last metric that the step visited, if more may follow. The next step gets it as `previous`. */
  readonly lastMetric: Uint8Array | undefined
}

/**
 * Removes at most `max` windows, rows and metrics, of the deleted metrics after the metric `previous`. Skips a metric
 * if inbox entries from before its deletion are left. A step is one write, so it visits a bounded number of metrics.
 */
export function clearDeletedOneStep(
  writes: WriteSet,
  heldBlocks: HeldBlocks,
  partition: number,
  max: number,
  nowMs: number,
  previous?: Uint8Array,
): ClearedStep {
  const oldestOrder = oldestInboxOrder(writes, partition)
  const range = {
    start: previous ?? partitionKey(partition),
    end: afterPrefix(partitionKey(partition)),
    limit: METRICS_PER_STEP_MAX,
    exclusiveStart: previous !== undefined,
  }
  let removedCount = 0
  let visitedCount = 0
  let lastMetric: Uint8Array | undefined
  for (const { key, value } of writes.tables.dying.rows(range)) {
    lastMetric = key
    visitedCount++
    if (decodeOrder(value) >= oldestOrder) continue
    const metricId = readId(key, METRIC_ID_OFFSET)
    removedCount += clearMetric(writes, heldBlocks, partition, metricId, max - removedCount, nowMs)
    if (removedCount >= max) break
    writes.remove('dying', key)
    if (++removedCount >= max) break
  }
  return { removedCount, lastMetric: visitedCount < METRICS_PER_STEP_MAX ? undefined : lastMetric }
}

/** Returns the arrival number of the oldest inbox entry; infinity if the inbox is empty. */
function oldestInboxOrder(writes: WriteSet, partition: number): number {
  const start = partitionKey(partition)
  for (const key of writes.tables.inbox.keys({ start, end: afterPrefix(start), limit: 1 })) return readInboxOrder(key)
  return Number.POSITIVE_INFINITY
}

/**
 * Removes at most `max` windows and rows of a metric, with at most `REMOVALS_PER_WRITE_MAX` index entries.
 * Returns the number of windows and rows removed, or `max` if index entries may be left. If it is less than `max`,
 * nothing is left.
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
  let entriesLeft = REMOVALS_PER_WRITE_MAX
  for (const key of writes.tables.windows.keys({ ...range, limit: max })) {
    const window: WindowKey = readWindowKey(key)
    entriesLeft -= removeIndexEntries(writes, heldBlocks, partition, window, entriesLeft, nowMs)
    if (entriesLeft === 0) return max
    removeWindowRow(writes, partition, window)
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
