/**
 * Finds the earlier time that a bucket or a range is compared with. The distance between the two times is a fixed
 * number of milliseconds, or a number of calendar units of the local clock. With calendar units, an hour is compared
 * with the hour that has the same local time, and a day with a whole day, even if one of the two has 23 h. Some buckets
 * have no earlier bucket: the clock skipped it (an hour in spring) or the calendar does not have it (February 30).
 */
import { gridReadingAt, isOnUtcGrid, MONTHS_PER_UNIT, monthStart, monthsSinceEpoch } from './bucket-grid.ts'
import { calendarInterval, type FixedOrCalendar, fixedInterval } from './interval.ts'
import { DAY_MS } from './time.ts'
import { firstInstantShowing, type TimeZone } from './zone-offsets.ts'

/**
 * Returns the instant `distance` before `utcMs`. Calendar units are subtracted from the local clock reading. If the
 * month does not have the day or the clock skipped the reading, the result is the first instant after it.
 */
export function instantBefore(distance: FixedOrCalendar, zone: TimeZone, utcMs: number): number {
  if (distance.kind === 'fixed') return utcMs - distance.ms
  const reading = addUnits(distance, utcMs + zone.offsetMs(utcMs), -1)
  return firstInstantShowing(zone, reading.ms)
}

/** Returns the bucket `distance` before [startMs, endMs). Undefined if the local clock or the calendar skipped it. */
export function bucketBefore(
  interval: FixedOrCalendar,
  zone: TimeZone,
  distance: FixedOrCalendar,
  startMs: number,
  endMs: number,
): { readonly fromMs: number; readonly toMs: number } | undefined {
  if (distance.kind === 'fixed') return { fromMs: startMs - distance.ms, toMs: endMs - distance.ms }
  const onUtcGrid = isOnUtcGrid(interval, zone)
  // If a clock change skipped the grid reading at which the bucket begins, the local time at `startMs` is a later one.
  // So the grid reading is looked up.
  const reading = onUtcGrid ? startMs + zone.offsetMs(startMs) : gridReadingAt(interval, zone, startMs)
  const before = addUnits(distance, reading, -1)
  if (!before.exists) return undefined
  const fromMs = firstInstantShowing(zone, before.ms)
  const toMs = firstInstantShowing(zone, addUnits(interval, before.ms, 1).ms)
  if (toMs <= fromMs) return undefined
  // The clock skipped the start of the earlier bucket but not its end. For example, it was set forward by half an hour
  // within the bucket of an hour.
  if (onUtcGrid && fromMs + zone.offsetMs(fromMs) !== before.ms) return undefined
  return { fromMs, toMs: onUtcGrid ? fromMs + interval.ms : toMs }
}

/**
 * Returns how far the previous period lies before the range [fromMs, toMs). The distance is at least the length of the
 * range. It is a whole number of intervals, and of local days if possible, so that the buckets of both periods
 * correspond. So the previous period ends where the range begins, or less than an interval earlier. Undefined if the
 * distance exceeds 100 years.
 */
export function periodBefore(
  interval: FixedOrCalendar,
  zone: TimeZone,
  fromMs: number,
  toMs: number,
): FixedOrCalendar | undefined {
  const fromReadingMs = fromMs + zone.offsetMs(fromMs)
  const toReadingMs = toMs + zone.offsetMs(toMs)
  // If the clock changes within the range, its length in local time differs from its length in UTC. For example, a week
  // may be seven local days or 168 hours. Both lengths are tried.
  const lengths = [toMs - fromMs, toReadingMs - fromReadingMs]
  if (interval.kind === 'fixed') {
    const spans = lengths.map((ms) => Math.max(1, Math.ceil(ms / interval.ms)) * interval.ms)
    const days = spans.find((ms) => ms % DAY_MS === 0)
    return days === undefined ? fixedInterval(spans[0]!) : calendarInterval('day', days / DAY_MS)
  }
  const { unit, count } = interval
  if (unit === 'day' || unit === 'week') {
    const unitMs = count * (unit === 'day' ? 1 : 7) * DAY_MS
    const units = Math.max(1, Math.ceil(Math.min(...lengths) / unitMs))
    return calendarInterval(unit, units * count)
  }
  const months = Math.max(
    1,
    Math.ceil((monthsSinceEpoch(toReadingMs) - monthsSinceEpoch(fromReadingMs)) / (count * MONTHS_PER_UNIT[unit])),
  )
  const distance = calendarInterval(unit, months * count)
  if (distance === undefined || addUnits(distance, toReadingMs, -1).ms <= fromReadingMs) return distance
  return calendarInterval(unit, (months + 1) * count)
}

/**
 * Returns the local clock reading `times` × `distance` later; a negative `times` means earlier. If the month does not
 * have the day, returns the start of the next month and `exists: false`.
 */
function addUnits(
  distance: FixedOrCalendar,
  readingMs: number,
  times: number,
): { readonly ms: number; readonly exists: boolean } {
  if (distance.kind === 'fixed') return { ms: readingMs + times * distance.ms, exists: true }
  if (distance.unit === 'day' || distance.unit === 'week') {
    return { ms: readingMs + times * distance.count * (distance.unit === 'day' ? 1 : 7) * DAY_MS, exists: true }
  }
  const month = monthsSinceEpoch(readingMs)
  const later = month + times * distance.count * MONTHS_PER_UNIT[distance.unit]
  const ms = monthStart(later) + readingMs - monthStart(month)
  const endMs = monthStart(later + 1)
  return ms < endMs ? { ms, exists: true } : { ms: endMs, exists: false }
}
