/**
 * Finds the earlier stretch of time that a bucket or a range is compared with. It lies a fixed length of time earlier,
 * or calendar units earlier by the local clock. With calendar units an hour is compared with the hour of the same clock
 * reading, and a day with a whole day, even if one of them has 23 h. A bucket has no counterpart if the clock or the
 * calendar skipped it (the hour lost in spring, February 30).
 */
import { gridReadingAt, isOnUtcGrid, monthOf, monthStart, UNIT_MONTHS } from './bucket-grid.ts'
import { calendarInterval, type FixedOrCalendar, fixedInterval } from './interval.ts'
import { DAY_MS } from './time.ts'
import { firstInstantShowing, type TimeZone } from './zone-offsets.ts'

/** The instant that lies `by` earlier. Calendar units are subtracted from the local clock reading. */
export function instantBefore(by: FixedOrCalendar, zone: TimeZone, utcMs: number): number {
  if (by.kind === 'fixed') return utcMs - by.ms
  const reading = addUnits(by, utcMs + zone.offsetMs(utcMs), -1)
  return firstInstantShowing(zone, reading.ms)
}

/** The bucket that lies `by` earlier than [startMs, endMs). Undefined if the local clock or the calendar skipped it. */
export function bucketBefore(
  interval: FixedOrCalendar,
  zone: TimeZone,
  by: FixedOrCalendar,
  startMs: number,
  endMs: number,
): { readonly fromMs: number; readonly toMs: number } | undefined {
  if (by.kind === 'fixed') return { fromMs: startMs - by.ms, toMs: endMs - by.ms }
  const onUtcGrid = isOnUtcGrid(interval, zone)
  // A bucket that starts at a clock change has a grid reading that the clock may never have shown.
  const reading = onUtcGrid ? startMs + zone.offsetMs(startMs) : gridReadingAt(interval, zone, startMs)
  const before = addUnits(by, reading, -1)
  if (!before.exists) return undefined
  const fromMs = firstInstantShowing(zone, before.ms)
  const toMs = firstInstantShowing(zone, addUnits(interval, before.ms, 1).ms)
  if (toMs <= fromMs) return undefined
  // The clock skipped the reading at which the earlier bucket would start, such as an hour that starts at half past.
  if (onUtcGrid && fromMs + zone.offsetMs(fromMs) !== before.ms) return undefined
  return { fromMs, toMs: onUtcGrid ? fromMs + interval.ms : toMs }
}

/**
 * The distance from the range [fromMs, toMs] to its previous period, which has as many buckets and ends where the range
 * begins. The distance is a whole number of intervals, and of local days if possible, so that both periods have the
 * same bucket edges. Undefined beyond 100 years.
 */
export function periodBefore(
  interval: FixedOrCalendar,
  zone: TimeZone,
  fromMs: number,
  toMs: number,
): FixedOrCalendar | undefined {
  const fromReading = fromMs + zone.offsetMs(fromMs)
  const toReading = toMs + zone.offsetMs(toMs)
  // A range of a week that contains a clock change may be seven days by the clock, or 168 hours; both lengths are
  // tried.
  const lengths = [toMs - fromMs, toReading - fromReading]
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
  const months = Math.max(1, Math.ceil((monthOf(toReading) - monthOf(fromReading)) / (count * UNIT_MONTHS[unit])))
  const by = calendarInterval(unit, months * count)
  if (by === undefined || addUnits(by, toReading, -1).ms <= fromReading) return by
  return calendarInterval(unit, (months + 1) * count)
}

/**
 * The reading `times` × `by` later. For a day that its month does not have, returns the first of the next month and
 * `exists: false`.
 */
function addUnits(
  by: FixedOrCalendar,
  readingMs: number,
  times: number,
): { readonly ms: number; readonly exists: boolean } {
  if (by.kind === 'fixed') return { ms: readingMs + times * by.ms, exists: true }
  if (by.unit === 'day' || by.unit === 'week') {
    return { ms: readingMs + times * by.count * (by.unit === 'day' ? 1 : 7) * DAY_MS, exists: true }
  }
  const month = monthOf(readingMs)
  const later = month + times * by.count * UNIT_MONTHS[by.unit]
  const ms = monthStart(later) + readingMs - monthStart(month)
  const endMs = monthStart(later + 1)
  return ms < endMs ? { ms, exists: true } : { ms: endMs, exists: false }
}
