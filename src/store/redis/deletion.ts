import { type Id64, parseId } from '../../model/id.ts'
import { type RedisAccess, textList } from './redis-access.ts'
import { decodeIndexEntry } from './text-encoding.ts'
import { expireWindow, readInbox } from './timelines.ts'

/**
 * Removes the data of deleted metrics. The data of a metric is removed after all inbox entries from before its deletion
 * are folded. Then no data can be added again: new commits are refused, and so is a fold or merge that began earlier,
 * because its inbox or index entries no longer exist.
 */

/** Index entries per read, to find the windows of a metric. */
const ENTRIES_PER_READ = 200
/** About how many deleted metrics are read at once. */
const METRICS_PER_READ = 100

/**
 * Removes at most `max` windows and metrics, of the deleted metrics of a partition. Returns true if it has removed
 * `max`, so that more may be left. Skips a metric if inbox entries from before its deletion are left.
 */
export async function clearDeleted(
  redis: RedisAccess,
  partition: number,
  resolutions: readonly number[],
  max: number,
  nowMs: number,
): Promise<boolean> {
  const keys = redis.keys(partition)
  let remaining = max
  let cursor = '0'
  do {
    const reply = await redis.call('hscan', keys.metricsToRemove, cursor, 'COUNT', METRICS_PER_READ)
    const [nextCursor, idsAndOrders] = reply as [string, string[]]
    cursor = nextCursor
    if (idsAndOrders.length === 0) continue
    // The inbox is read after the metrics, so that it has all unfolded entries from before their deletion.
    const [oldestEntry] = await readInbox(redis, partition, 0)
    const oldestOrder = oldestEntry?.order ?? Number.POSITIVE_INFINITY
    for (let i = 0; i < idsAndOrders.length; i += 2) {
      if (Number(idsAndOrders[i + 1]) >= oldestOrder) continue
      const metricId = parseId(idsAndOrders[i]!)
      remaining -= await clearWindows(redis, partition, metricId, resolutions, remaining, nowMs)
      if (remaining <= 0) return true
      // UNLINK frees memory in a background thread of the server, however large the keys are.
      const expired = resolutions.map((resolutionMs) => keys.expiredStretches({ metricId, resolutionMs }))
      await redis.call('unlink', keys.series(metricId), keys.seriesOrder(metricId), keys.tagKeys(metricId), ...expired)
      // `metricsToRemove` has the metric until the end: if the gateway stops before, a later call removes what is left.
      await redis.call('hdel', keys.metricsToRemove, idsAndOrders[i]!)
      if (--remaining <= 0) return true
    }
  } while (cursor !== '0')
  return false
}

/**
 * Removes at most `windowsMax` windows of a metric. Returns their number; if it is less than `windowsMax`, no window is
 * left.
 */
async function clearWindows(
  redis: RedisAccess,
  partition: number,
  metricId: Id64,
  resolutions: readonly number[],
  windowsMax: number,
  nowMs: number,
): Promise<number> {
  let removedCount = 0
  for (const resolutionMs of resolutions) {
    const timeline = redis.keys(partition).timeline({ metricId, resolutionMs })
    for (;;) {
      const members = textList(await redis.call('zrange', timeline, 0, ENTRIES_PER_READ - 1))
      if (members.length === 0) break
      for (const windowMs of new Set(members.map((member) => decodeIndexEntry(member).windowMs))) {
        if (removedCount >= windowsMax) return removedCount
        const window = { metricId, resolutionMs, windowMs }
        // An empty `dropExpiredAtResolutions`: the window is not recorded as expired. The record would have no use,
        // because no query can ask for a deleted metric.
        await expireWindow(redis, { partition, window, dropExpiredAtResolutions: [], nowMs }, Number.MAX_SAFE_INTEGER)
        removedCount++
      }
    }
  }
  return removedCount
}
