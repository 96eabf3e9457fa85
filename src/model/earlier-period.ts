/**
 * Finds the earlier time that a bucket or a range is compared with. The distance between the two times is a fixed
 * number of milliseconds, or a number of calendar units of the local clock. With calendar units, an hour is compared
 * with the hour that has the same local time, and a day with a whole day, even if one of the two has 23 h. Some buckets
 * have no earlier bucket: the clock skipped it (an hour in spring), or the calendar does not have it (February 30).
 */
import { gridReadingAt, isOnUtcGrid, MONTHS_PER_UNIT, monthStart, monthsSinceEpoch } from './bucket-grid.ts'
import { calendarInterval, type FixedOrCalendar, fixedInterval } from './interval.ts'
import { DAY_MS } from './time.ts'
import { firstInstantShowing, type TimeZone } from './zone-offsets.ts'

/**
 * Returns the instant `distance` before `utcMs`. Calendar units are subtracted from the local clock reading. If the
 * clock skipped the earlier reading or the calendar does not have it (February 30), the result is the first instant
 * after it.
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
  const startsOnUtcGrid = isOnUtcGrid(interval, zone)
  // If a clock change skipped the grid reading at which the bucket begins, the local time at `startMs` is a later one.
  // So the grid reading is looked up.
  const reading = startsOnUtcGrid ? startMs + zone.offsetMs(startMs) : gridReadingAt(interval, zone, startMs)
  const earlierReading = addUnits(distance, reading, -1)
  if (!earlierReading.exists) return undefined
  const fromMs = firstInstantShowing(zone, earlierReading.ms)
  const toMs = firstInstantShowing(zone, addUnits(interval, earlierReading.ms, 1).ms)
  if (toMs <= fromMs) return undefined
  // The clock skipped the start of the earlier bucket but not its end. For example, it was set forward by half an hour
  // within the bucket of an hour.
  if (startsOnUtcGrid && fromMs + zone.offsetMs(fromMs) !== earlierReading.ms) return undefined
  return { fromMs, toMs: startsOnUtcGrid ? fromMs + interval.ms : toMs }
}

/**
 * Returns how far the previous period lies before the range [fromMs, toMs): at least the length of the range, in UTC or
 * in local time. The distance is a whole number of intervals, so that the buckets of both periods correspond. With a
 * fixed interval, it is a number of local days if one of the two lengths, rounded up to whole intervals, is a whole
 * number of days. Undefined if the distance exceeds 100 years.
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
  const lengthsMs = [toMs - fromMs, toReadingMs - fromReadingMs]
  if (interval.kind === 'fixed') {
    const distancesMs = lengthsMs.map((ms) => Math.max(1, Math.ceil(ms / interval.ms)) * interval.ms)
    const wholeDaysMs = distancesMs.find((ms) => ms % DAY_MS === 0)
    return wholeDaysMs === undefined ? fixedInterval(distancesMs[0]!) : calendarInterval('day', wholeDaysMs / DAY_MS)
  }
  const { unit, count } = interval
  if (unit === 'day' || unit === 'week') {
    const intervalMs = count * (unit === 'day' ? 1 : 7) * DAY_MS
    const intervalCount = Math.max(1, Math.ceil(Math.min(...lengthsMs) / intervalMs))
    return calendarInterval(unit, intervalCount * count)
  }
  const intervalCount = Math.max(
    1,
    Math.ceil((monthsSinceEpoch(toReadingMs) - monthsSinceEpoch(fromReadingMs)) / (count * MONTHS_PER_UNIT[unit])),
  )
  const distance = calendarInterval(unit, intervalCount * count)
  if (distance === undefined || addUnits(distance, toReadingMs, -1).ms <= fromReadingMs) return distance
  return calendarInterval(unit, (intervalCount + 1) * count)
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
  const targetMonth = month + times * distance.count * MONTHS_PER_UNIT[distance.unit]
  const ms = monthStart(targetMonth) + readingMs - monthStart(month)
  const endMs = monthStart(targetMonth + 1)
  return ms < endMs ? { ms, exists: true } : { ms: endMs, exists: false }
}
