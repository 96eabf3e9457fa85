import { type FixedOrCalendar, fixedInterval, formatInterval, parseInterval } from '../../model/interval.ts'
import { DAY_MS, formatDuration, HOUR_MS, MINUTE_MS, SECOND_MS } from '../../model/time.ts'
import type { TimeZone } from '../../model/zone-offsets.ts'
import type { Stretch } from '../../store/windows.ts'

/** Finds the interval that the error of a query that is too large suggests. Asked with it, the query is accepted. */

const ROUND_INTERVALS_MS = [
  10 * SECOND_MS,
  MINUTE_MS,
  5 * MINUTE_MS,
  15 * MINUTE_MS,
  HOUR_MS,
  6 * HOUR_MS,
  DAY_MS,
  7 * DAY_MS,
  28 * DAY_MS,
  364 * DAY_MS,
]

/**
 * Returns an interval with which the range has at most `bucketsMax` buckets, wherever they begin: the shortest of
 * `ROUND_INTERVALS_MS` that fits and is accepted, otherwise a number of whole days. Undefined if none is accepted, and
 * if fewer than two buckets are allowed: however long the interval, the range may overlap two buckets, so no interval
 * is sure to fit.
 */
export function fittingInterval(
  { fromMs, toMs }: Stretch,
  zone: TimeZone,
  bucketsMax: number,
  isAccepted: (interval: FixedOrCalendar) => boolean,
): string | undefined {
  if (bucketsMax < 2) return undefined
  // Buckets may be those of the local clock, which shows a longer time if it was set forward in the range.
  const spanMs = toMs - fromMs + Math.max(0, zone.offsetMs(toMs) - zone.offsetMs(fromMs))
  const widthsMs = ROUND_INTERVALS_MS.filter((ms) => spanMs / ms + 1 <= bucketsMax)
  const wholeDaysMs = Math.ceil(spanMs / (bucketsMax - 1) / DAY_MS) * DAY_MS
  const interval = [...widthsMs, wholeDaysMs].flatMap(intervalsLasting).find(isAccepted)
  return interval && formatInterval(interval)
}

/**
 * Returns the intervals that last so long, the first choice first. Whole days are calendar units, then hours: in a time
 * zone whose midnight lies within a stored bucket, `24h` may be accepted where `1d` is not.
 */
function intervalsLasting(ms: number): readonly FixedOrCalendar[] {
  const calendar = ms % DAY_MS === 0 ? parseInterval(formatDuration(ms)) : undefined
  const fixed = fixedInterval(ms)
  return [calendar, fixed].filter((interval) => interval !== undefined && interval.kind !== 'auto')
}
