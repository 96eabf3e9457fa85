/**
 * Units of time, the range of instants, and the formats of instants and durations. An instant is a whole number of UTC
 * milliseconds since the epoch, from the year 1 to 9999. `parse-instant.ts` parses instants.
 */

export const SECOND_MS = 1_000
export const MINUTE_MS = 60_000
export const HOUR_MS = 3_600_000
export const DAY_MS = 86_400_000
const WEEK_MS = 604_800_000

/** 0001-01-01T00:00:00Z */
const INSTANT_MIN_MS = -62_135_596_800_000
/** 9999-12-31T23:59:59.999Z */
const INSTANT_MAX_MS = 253_402_300_799_999

/** Whether a time lies in the years 1 to 9999. False for NaN. Fractions of a millisecond are not checked. */
export function isInstant(ms: number): boolean {
  return ms >= INSTANT_MIN_MS && ms <= INSTANT_MAX_MS
}

/**
 * Whether less than `durationMs` has passed since `startMs`. False if the clock was set back to a time before
 * `startMs`.
 */
export function isRecent(durationMs: number, startMs: number, nowMs: number): boolean {
  return nowMs >= startMs && nowMs - startMs < durationMs
}

/**
 * Returns the last multiple of `stepMs` at or before a time. If `stepMs` is the width of buckets on the UTC grid, the
 * result is the start of the bucket that contains the time.
 */
export function floorTo(timeMs: number, stepMs: number): number {
  return Math.floor(timeMs / stepMs) * stepMs
}

/** Returns `ms`, or undefined if it does not lie in the years 1 to 9999. */
export function validInstant(ms: number): number | undefined {
  return isInstant(ms) ? ms : undefined
}

/** Clamps a time to the years 1 to 9999. The edges of the first and the last bucket may lie outside of these years. */
export function clampToInstantRange(ms: number): number {
  return Math.min(INSTANT_MAX_MS, Math.max(INSTANT_MIN_MS, ms))
}

/** The numbers from 0 to 59 as text with two digits. */
const TWO_DIGITS: readonly string[] = Array.from({ length: 60 }, (_, value) => String(value).padStart(2, '0'))
/** The times of day in whole minutes, such as `23:59`. With this table, few parts of text are joined. */
const MINUTES_OF_DAY: readonly string[] = Array.from(
  { length: 24 * 60 },
  (_, minute) => `${TWO_DIGITS[Math.floor(minute / 60)]}:${TWO_DIGITS[minute % 60]}`,
)
/** The end of an instant in a whole second, such as `:59Z`. */
const SECOND_ENDS: readonly string[] = TWO_DIGITS.map((second) => `:${second}Z`)
/**
 * The day that was formatted last, in days since the epoch, and its text including the `T` after it. It is a cache: the
 * instants of a result follow each other, mostly on the same day.
 */
let formattedDay = Number.NaN
let formattedDayText = ''

/**
 * Formats an instant as RFC 3339 in UTC, with milliseconds only if they are not zero. Throws a RangeError for a time
 * that `Date` cannot represent, such as NaN.
 */
export function formatInstant(ms: number): string {
  const day = Math.floor(ms / DAY_MS)
  if (day !== formattedDay) {
    const text = new Date(day * DAY_MS).toISOString()
    formattedDayText = text.slice(0, text.indexOf('T') + 1)
    formattedDay = day
  }
  const sinceMidnightMs = Math.floor(ms - day * DAY_MS)
  const minuteOfDay = MINUTES_OF_DAY[Math.floor(sinceMidnightMs / MINUTE_MS)]!
  const second = Math.floor(sinceMidnightMs / SECOND_MS) % 60
  const millisecond = sinceMidnightMs % SECOND_MS
  if (millisecond === 0) return formattedDayText + minuteOfDay + SECOND_ENDS[second]!
  return `${formattedDayText}${minuteOfDay}:${TWO_DIGITS[second]}.${String(millisecond).padStart(3, '0')}Z`
}

const AMOUNT = String.raw`(\d{1,15}(?:\.\d{1,9})?)`
const DURATION = new RegExp(
  `^(?:${AMOUNT}w)?(?:${AMOUNT}d)?(?:${AMOUNT}h)?(?:${AMOUNT}m)?(?:${AMOUNT}s)?(?:${AMOUNT}ms)?$`,
)
const ISO_DURATION = new RegExp(
  `^P(?:${AMOUNT}W)?(?:${AMOUNT}D)?(?:T(?=\\d)(?:${AMOUNT}H)?(?:${AMOUNT}M)?(?:${AMOUNT}S)?)?$`,
)
/** Units in the order of the groups in `DURATION` and `ISO_DURATION`. */
const DURATION_UNITS_MS = [WEEK_MS, DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, 1] as const
const DURATION_MAX_MS = INSTANT_MAX_MS - INSTANT_MIN_MS

/**
 * Returns the milliseconds of a duration such as `10s`, `1h30m`, `1.5h`, `250ms`, `2w`, or ISO 8601 `PT5M`, `P1DT12H`.
 * A day has 24 h. Zero is a valid duration. Fractions of a millisecond are rounded. Undefined for months and years,
 * because they have no fixed length, for negative durations, for more than 9,999 years and for unreadable text.
 */
export function parseDuration(text: string): number | undefined {
  const match = DURATION.exec(text) ?? ISO_DURATION.exec(text)
  if (match === null) return undefined
  let ms = 0
  let amountCount = 0
  for (let index = 0; index < DURATION_UNITS_MS.length; index++) {
    const amount = match[index + 1]
    if (amount === undefined) continue
    ms += Number(amount) * DURATION_UNITS_MS[index]!
    amountCount++
  }
  return amountCount > 0 && ms <= DURATION_MAX_MS ? Math.round(ms) : undefined
}

/**
 * Formats a duration in the largest unit that needs no fraction: `90m`, not `1h30m`. `ms` must be an integer of
 * 0 or more.
 */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s'
  if (ms % WEEK_MS === 0) return `${ms / WEEK_MS}w`
  if (ms % DAY_MS === 0) return `${ms / DAY_MS}d`
  return formatDurationUpToHours(ms)
}

/** Like {@link formatDuration}, but hours are the largest unit: `48h`, not `2d`. */
export function formatDurationUpToHours(ms: number): string {
  if (ms % HOUR_MS === 0) return `${ms / HOUR_MS}h`
  if (ms % MINUTE_MS === 0) return `${ms / MINUTE_MS}m`
  if (ms % SECOND_MS === 0) return `${ms / SECOND_MS}s`
  return `${ms}ms`
}

/** Days from the start of a year to the start of a month, without a leap day. The index is the month, 1 to 12. */
const DAYS_BEFORE_MONTH = [0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334] as const
/** Days from 0000-01-01 to 1970-01-01. */
const DAYS_BEFORE_EPOCH = 719_528

/** Days from 1970-01-01 to a date of the proleptic Gregorian calendar. `month` is 1 to 12. */
export function daysSinceEpoch(year: number, month: number, day: number): number {
  const previousYear = year - 1
  const leapDays = Math.floor(previousYear / 4) - Math.floor(previousYear / 100) + Math.floor(previousYear / 400)
  const leapDayOfThisYear = month > 2 && isLeapYear(year) ? 1 : 0
  return 365 * year + leapDays + 1 + DAYS_BEFORE_MONTH[month]! + leapDayOfThisYear + day - 1 - DAYS_BEFORE_EPOCH
}

export function isLeapYear(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
}
