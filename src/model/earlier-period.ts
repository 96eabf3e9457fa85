/**
 * What a stretch of time is compared with: the one as long before it, by length or by calendar units of the local clock. An hour is
 * compared with the hour of the same clock reading and a day with a day, however many hours either has, and a stretch that
 * the clock or the calendar skipped (the hour lost in spring, February 30) has no counterpart.
 */
import { lieInUtc, monthOf, monthStart, readingAt, UNIT_MONTHS } from './bucket-grid.ts'
import { calendarInterval, type FixedOrCalendar, fixedInterval } from './interval.ts'
import { DAY_MS } from './time.ts'
import { firstShown, type TimeZone } from './zone-offsets.ts'

/** The instant a length of time earlier, or so many calendar units earlier by the local clock. */
export function instantBefore(by: FixedOrCalendar, zone: TimeZone, utcMs: number): number {
  if (by.kind === 'fixed') return utcMs - by.ms
  const reading = addUnits(by, utcMs + zone.offsetMs(utcMs), -1)
  return firstShown(zone, reading.ms)
}

/**
 * What a bucket is compared with: the stretch as long before it. Calendar units are those of the local clock: an hour is compared
 * with the hour of the same reading, a day with a day, however many hours either has. Undefined where the clock or the calendar
 * skipped it: the hour lost in spring, February 30.
 */
export function bucketBefore(
  interval: FixedOrCalendar,
  zone: TimeZone,
  by: FixedOrCalendar,
  startMs: number,
  endMs: number,
): { readonly fromMs: number; readonly toMs: number } | undefined {
  if (by.kind === 'fixed') return { fromMs: startMs - by.ms, toMs: endMs - by.ms }
  const isUtcGrid = lieInUtc(interval, zone)
  // The clock may never have shown the reading of a bucket that it skipped to.
  const reading = isUtcGrid ? startMs + zone.offsetMs(startMs) : readingAt(interval, zone, startMs)
  const before = addUnits(by, reading, -1)
  if (!before.exists) return undefined
  const fromMs = firstShown(zone, before.ms)
  const toMs = firstShown(zone, addUnits(interval, before.ms, 1).ms)
  if (toMs <= fromMs) return undefined
  // An hour that begins at half past, of which the clock skipped the beginning.
  if (isUtcGrid && fromMs + zone.offsetMs(fromMs) !== before.ms) return undefined
  return { fromMs, toMs: isUtcGrid ? fromMs + interval.ms : toMs }
}

/**
 * How far back the period lies that ends where [fromMs, toMs] begins and has as many buckets: whole intervals, whole local days where
 * it comes to that, so that buckets lie on buckets. Undefined beyond 100 years.
 */
export function periodBefore(
  interval: FixedOrCalendar,
  zone: TimeZone,
  fromMs: number,
  toMs: number,
): FixedOrCalendar | undefined {
  const fromReading = fromMs + zone.offsetMs(fromMs)
  const toReading = toMs + zone.offsetMs(toMs)
  // A week with a clock change in it is a week by the clock or by its hours, whichever the caller has counted.
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

/** A reading so many times later. A day that the month does not have is the first of the next one, and does not exist. */
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
