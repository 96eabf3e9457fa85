/**
 * Divides time into the buckets of an interval in a time zone.
 *
 * Buckets lie on a grid of local clock readings (midnights, Mondays, firsts of a month, every sixth hour). The edge of
 * a reading is the first instant at which the local clock shows this reading or a later one, so edges never decrease. A
 * reading that a clock change skips has its edge at the change. A reading that occurs twice has its edge at the first
 * occurrence. All readings of a skipped day (Apia, 2011-12-30) share one edge. A bucket lies between two neighbouring
 * edges that differ.
 *
 * The grid of a fixed interval is its multiples since the epoch, in UTC. Exception: the grid of an interval between 1 h
 * and 24 h that divides a day (2h, 3h, 4h, 6h, 8h, 12h, 90m …) begins at local midnight, so that 6h means 00, 06, 12
 * and 18 o'clock.
 */
import type { FixedInterval, FixedOrCalendar } from './interval.ts'
import { DAY_MS, daysSinceEpoch, floorTo, HOUR_MS } from './time.ts'
import { firstInstantShowing, type TimeZone, UTC_ZONE } from './zone-offsets.ts'

/** Returns the start of the bucket that contains an instant. */
export function bucketStart(interval: FixedOrCalendar, zone: TimeZone, utcMs: number): number {
  if (isOnUtcGrid(interval, zone)) return floorTo(utcMs, interval.ms)
  return firstInstantShowing(zone, gridReadingAt(interval, zone, utcMs))
}

/** Returns the start of the next bucket after the bucket that contains `utcMs`. It is greater than `utcMs`. */
export function nextBucketStart(interval: FixedOrCalendar, zone: TimeZone, utcMs: number): number {
  if (isOnUtcGrid(interval, zone)) return floorTo(utcMs, interval.ms) + interval.ms
  return firstInstantShowing(zone, nextGridReading(interval, gridReadingAt(interval, zone, utcMs)))
}

/**
 * How far the estimated number of grid readings of a range may exceed `bucketsMax`. A grid reading has no bucket of its
 * own if a clock change skipped it together with the next one. The longest clock change skipped a day, which has at
 * most 20 grid readings (at an interval of 72m).
 */
const SKIPPED_READINGS_MAX = 64

/**
 * Returns the edges of all buckets that overlap [fromMs, toMs): the first edge is at or before `fromMs`, the last at or
 * after `toMs`. Bucket i lies between edges i and i + 1. For an empty range it returns the edges of the bucket that
 * contains `fromMs`. Returns undefined if there would be more than `bucketsMax` buckets.
 */
export function bucketEdges(
  interval: FixedOrCalendar,
  zone: TimeZone,
  fromMs: number,
  toMs: number,
  bucketsMax: number,
): Float64Array | undefined {
  if (bucketsMax < 1) return undefined
  if (isOnUtcGrid(interval, zone)) {
    const firstBucket = Math.floor(fromMs / interval.ms)
    const bucketCount = Math.max(firstBucket + 1, Math.ceil(toMs / interval.ms)) - firstBucket
    if (bucketCount > bucketsMax) return undefined
    const edgesMs = new Float64Array(bucketCount + 1)
    for (let i = 0; i <= bucketCount; i++) edgesMs[i] = (firstBucket + i) * interval.ms
    return edgesMs
  }
  // The number of buckets is estimated first, so that no edges are computed for a range with far too many buckets.
  if (gridReadingCountBetween(interval, zone, fromMs, toMs) - SKIPPED_READINGS_MAX > bucketsMax) return undefined
  let readingMs = gridReadingAt(interval, zone, fromMs)
  let lastEdgeMs = firstInstantShowing(zone, readingMs)
  const sortedEdgesMs = [lastEdgeMs]
  while (lastEdgeMs < toMs || sortedEdgesMs.length < 2) {
    readingMs = nextGridReading(interval, readingMs)
    const edgeMs = firstInstantShowing(zone, readingMs)
    if (edgeMs === lastEdgeMs) continue
    if (sortedEdgesMs.length > bucketsMax) return undefined
    sortedEdgesMs.push(edgeMs)
    lastEdgeMs = edgeMs
  }
  return Float64Array.from(sortedEdgesMs)
}

/** Whether an interval is fixed and its grid is its multiples since the epoch, in UTC. */
export function isOnUtcGrid(interval: FixedOrCalendar, zone: TimeZone): interval is FixedInterval {
  if (interval.kind !== 'fixed') return false
  return zone === UTC_ZONE || interval.ms <= HOUR_MS || interval.ms >= DAY_MS || DAY_MS % interval.ms !== 0
}

/**
 * Returns the last grid reading whose edge is at or before an instant. After the clock was set back, this reading may
 * be later than the local time at the instant.
 */
export function gridReadingAt(interval: FixedOrCalendar, zone: TimeZone, utcMs: number): number {
  let readingMs = gridReadingAtOrBefore(interval, utcMs + zone.offsetMs(utcMs))
  for (;;) {
    const nextReadingMs = nextGridReading(interval, readingMs)
    if (firstInstantShowing(zone, nextReadingMs) > utcMs) return readingMs
    readingMs = nextReadingMs
  }
}

/** Days from Monday to 1970-01-01, which was a Thursday. Weeks begin on Mondays. */
const EPOCH_DAYS_SINCE_MONDAY = 3
/** Months in a calendar unit. */
export const MONTHS_PER_UNIT = { month: 1, quarter: 3, year: 12 } as const

function gridReadingAtOrBefore(interval: FixedOrCalendar, localMs: number): number {
  if (interval.kind === 'fixed') return floorTo(localMs, interval.ms)
  const day = Math.floor(localMs / DAY_MS)
  switch (interval.unit) {
    case 'day':
      return Math.floor(day / interval.count) * interval.count * DAY_MS
    case 'week': {
      const gridDays = interval.count * 7
      return (Math.floor((day + EPOCH_DAYS_SINCE_MONDAY) / gridDays) * gridDays - EPOCH_DAYS_SINCE_MONDAY) * DAY_MS
    }
    default: {
      const gridMonths = interval.count * MONTHS_PER_UNIT[interval.unit]
      return monthStart(Math.floor(monthsSinceEpoch(localMs) / gridMonths) * gridMonths)
    }
  }
}

function nextGridReading(interval: FixedOrCalendar, readingMs: number): number {
  if (interval.kind === 'fixed') return readingMs + interval.ms
  switch (interval.unit) {
    case 'day':
      return readingMs + interval.count * DAY_MS
    case 'week':
      return readingMs + interval.count * 7 * DAY_MS
    default:
      return monthStart(monthsSinceEpoch(readingMs) + interval.count * MONTHS_PER_UNIT[interval.unit])
  }
}

/** Estimates the number of grid readings in a range. At each end of the range, the estimate may be wrong by one. */
function gridReadingCountBetween(interval: FixedOrCalendar, zone: TimeZone, fromMs: number, toMs: number): number {
  const localFromMs = fromMs + zone.offsetMs(fromMs)
  const localToMs = toMs + zone.offsetMs(toMs)
  if (interval.kind === 'fixed') return (localToMs - localFromMs) / interval.ms
  switch (interval.unit) {
    case 'day':
      return (localToMs - localFromMs) / (interval.count * DAY_MS)
    case 'week':
      return (localToMs - localFromMs) / (interval.count * 7 * DAY_MS)
    default:
      return (
        (monthsSinceEpoch(localToMs) - monthsSinceEpoch(localFromMs)) /
        (interval.count * MONTHS_PER_UNIT[interval.unit])
      )
  }
}

/** Returns the number of months from January 1970 to the month of a local time. */
export function monthsSinceEpoch(localMs: number): number {
  const date = new Date(localMs)
  return (date.getUTCFullYear() - 1970) * 12 + date.getUTCMonth()
}

/** Returns the local time at which a month begins. `month` is a number as {@link monthsSinceEpoch} returns it. */
export function monthStart(month: number): number {
  const years = Math.floor(month / 12)
  return daysSinceEpoch(1970 + years, month - years * 12 + 1, 1) * DAY_MS
}
