import type { Id64 } from '../../model/id.ts'
import type { Stretch } from '../windows.ts'
import { afterPrefix, readTime, timelineKey, WINDOW_TIME_OFFSET, windowKey } from './keys.ts'
import { decodeTime, encodeTime } from './rows.ts'
import type { Tables } from './table.ts'
import type { WriteSet } from './write-set.ts'

/**
 * Stores the expired stretches of timelines: the ranges of time whose windows have expired. Stretches that overlap or
 * touch are merged, so that a timeline has few long stretches instead of one for each expired window.
 */

/** Returns the expired stretches that overlap `within`, in order of time. They are not cut to `within`. */
export function readExpiredStretches(
  tables: Tables,
  partition: number,
  metricId: Id64,
  resolutionMs: number,
  within: Stretch,
): Stretch[] {
  const stretches: Stretch[] = []
  const firstCandidate = lastStretchBeginningBy(tables, partition, metricId, resolutionMs, within.fromMs)
  if (firstCandidate !== undefined && firstCandidate.toMs > within.fromMs && firstCandidate.fromMs < within.toMs)
    stretches.push(firstCandidate)
  if (within.toMs <= within.fromMs) return stretches
  const start = windowKey(partition, metricId, resolutionMs, within.fromMs)
  const end = windowKey(partition, metricId, resolutionMs, within.toMs)
  for (const { key, value } of tables.expired.rows({ start, end })) {
    const fromMs = readTime(key, WINDOW_TIME_OFFSET)
    if (fromMs !== firstCandidate?.fromMs) stretches.push({ fromMs, toMs: decodeTime(value) })
  }
  return stretches
}

export function hasExpiredStretch(tables: Tables, partition: number, metricId: Id64, resolutionMs: number): boolean {
  const start = timelineKey(partition, metricId, resolutionMs)
  for (const _ of tables.expired.keys({ start, end: afterPrefix(start), limit: 1 })) return true
  return false
}

/** Returns whether an expired stretch contains the time. */
export function isTimeExpired(
  tables: Tables,
  partition: number,
  metricId: Id64,
  resolutionMs: number,
  timeMs: number,
): boolean {
  const stretch = lastStretchBeginningBy(tables, partition, metricId, resolutionMs, timeMs)
  return stretch !== undefined && stretch.toMs > timeMs
}

/** Adds an expired stretch, and merges it with those that it overlaps or touches. */
export function addExpiredStretch(
  writes: WriteSet,
  partition: number,
  metricId: Id64,
  resolutionMs: number,
  stretch: Stretch,
): void {
  let { fromMs, toMs } = stretch
  const touching = { fromMs: fromMs - 1, toMs: toMs + 1 }
  for (const other of readExpiredStretches(writes.tables, partition, metricId, resolutionMs, touching)) {
    writes.remove('expired', windowKey(partition, metricId, resolutionMs, other.fromMs))
    fromMs = Math.min(fromMs, other.fromMs)
    toMs = Math.max(toMs, other.toMs)
  }
  writes.put('expired', windowKey(partition, metricId, resolutionMs, fromMs), encodeTime(toMs))
}

/** Removes the parts of expired stretches that are in `within`; parts outside of `within` stay. */
export function removeExpiredStretches(
  writes: WriteSet,
  partition: number,
  metricId: Id64,
  resolutionMs: number,
  within: Stretch,
): void {
  for (const stretch of readExpiredStretches(writes.tables, partition, metricId, resolutionMs, within)) {
    writes.remove('expired', windowKey(partition, metricId, resolutionMs, stretch.fromMs))
    if (stretch.fromMs < within.fromMs) {
      writes.put('expired', windowKey(partition, metricId, resolutionMs, stretch.fromMs), encodeTime(within.fromMs))
    }
    if (stretch.toMs > within.toMs) {
      writes.put('expired', windowKey(partition, metricId, resolutionMs, within.toMs), encodeTime(stretch.toMs))
    }
  }
}

/** Returns the last stretch that begins at or before `timeMs`. */
function lastStretchBeginningBy(
  tables: Tables,
  partition: number,
  metricId: Id64,
  resolutionMs: number,
  timeMs: number,
): Stretch | undefined {
  const row = tables.expired.lastRowUpTo(
    windowKey(partition, metricId, resolutionMs, timeMs),
    timelineKey(partition, metricId, resolutionMs),
  )
  return row && { fromMs: readTime(row.key, WINDOW_TIME_OFFSET), toMs: decodeTime(row.value) }
}
