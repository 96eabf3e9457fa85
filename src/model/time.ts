/**
 * Instants and durations as text and numbers. Inside, an instant is whole UTC milliseconds since the epoch, between the years
 * 0001 and 9999; finer input is rounded towards the past. Texts are read by one scanner over character codes that allocates
 * nothing, because it runs once per point; `Date.parse` is not used, it accepts far more than RFC 3339 and ISO 8601.
 */

export const SECOND_MS = 1_000
export const MINUTE_MS = 60_000
export const HOUR_MS = 3_600_000
export const DAY_MS = 86_400_000
export const WEEK_MS = 604_800_000

/** 0001-01-01T00:00:00Z */
const INSTANT_MIN_MS = -62_135_596_800_000
/** 9999-12-31T23:59:59.999Z */
const INSTANT_MAX_MS = 253_402_300_799_999

/** From these magnitudes on a UNIX number is no longer seconds, milliseconds, microseconds. */
const UNIX_SECONDS_END = 1e11
const UNIX_MILLISECONDS_END = 1e14
const UNIX_MICROSECONDS_END = 1e17

/** 0002-01-01T00:00:00Z */
const POINT_TIME_MIN_MS = -62_104_060_800_000

const UNIX_TEXT = /^-?\d{1,64}(?:\.\d+)?$/
/** Integers of up to 15 digits are exact in a double. */
const EXACT_DIGITS_MAX = 15

/** Reads an instant from a decoded body: text, UNIX number (also as text or bigint) or Date. Undefined when it is none. */
export function parseInstant(value: unknown): number | undefined {
  switch (typeof value) {
    case 'string':
      return scanInstant(value, false)
    case 'number':
      return instantFromNumber(value)
    case 'bigint':
      return instantFromBigInt(value)
    default:
      return value instanceof Date ? withinRange(value.getTime()) : undefined
  }
}

/**
 * Reads the time of a point or an event like {@link parseInstant}. The year 1 is none: programs that have no time to tell send the zero
 * of their language, such as Go's `0001-01-01T00:00:00Z`.
 */
export function parsePointTime(value: unknown): number | undefined {
  const timeMs = parseInstant(value)
  return timeMs !== undefined && timeMs >= POINT_TIME_MIN_MS ? timeMs : undefined
}

/**
 * Reads an instant from a query string. There an unescaped `+` arrives as a space, so `10:30:00 02:00` is taken as the offset
 * `+02:00`.
 */
export function parseInstantText(text: string): number | undefined {
  return scanInstant(text, true)
}

const RELATIVE = /^(?:now)? *([+-]) *(\S+)$/

/** The instant at which a local clock shows a reading, which is given as if it were UTC. */
export type ReadingToInstant = (readingMs: number) => number

/**
 * Reads an instant, or a distance from now such as `-6h`, `now`, `now-1h30m`, `now+1d`. A date or date-time without an offset is a
 * reading of the local clock, of UTC unless `localClock` is given.
 */
export function parseTimeArgument(text: string, nowMs: number, localClock?: ReadingToInstant): number | undefined {
  if (text === 'now') return nowMs
  const relative = RELATIVE.exec(text)
  if (relative !== null) {
    const distanceMs = parseDuration(relative[2]!)
    if (distanceMs !== undefined) return withinRange(relative[1] === '-' ? nowMs - distanceMs : nowMs + distanceMs)
  }
  return scanInstant(text, true, localClock)
}

const TWO_DIGITS: readonly string[] = Array.from({ length: 60 }, (_, value) => String(value).padStart(2, '0'))
/** Answers are rows of neighbouring instants: the date of the last one is mostly that of the next. */
let formattedDay = Number.NaN
let formattedDate = ''

/** RFC 3339 in UTC; milliseconds only when there are any. Throws RangeError for what is no instant. */
export function formatInstant(ms: number): string {
  const day = Math.floor(ms / DAY_MS)
  if (day !== formattedDay) {
    const text = new Date(day * DAY_MS).toISOString()
    formattedDate = text.slice(0, text.indexOf('T') + 1)
    formattedDay = day
  }
  const ofDayMs = Math.floor(ms - day * DAY_MS)
  const hour = Math.floor(ofDayMs / HOUR_MS)
  const minute = Math.floor(ofDayMs / MINUTE_MS) % 60
  const second = Math.floor(ofDayMs / SECOND_MS) % 60
  const millisecond = ofDayMs % SECOND_MS
  const clock = `${formattedDate}${TWO_DIGITS[hour]}:${TWO_DIGITS[minute]}:${TWO_DIGITS[second]}`
  return millisecond === 0 ? `${clock}Z` : `${clock}.${String(millisecond).padStart(3, '0')}Z`
}

const AMOUNT = String.raw`(\d{1,15}(?:\.\d{1,9})?)`
const DURATION = new RegExp(
  `^(?:${AMOUNT}w)?(?:${AMOUNT}d)?(?:${AMOUNT}h)?(?:${AMOUNT}m)?(?:${AMOUNT}s)?(?:${AMOUNT}ms)?$`,
)
const ISO_DURATION = new RegExp(
  `^P(?:${AMOUNT}W)?(?:${AMOUNT}D)?(?:T(?=\\d)(?:${AMOUNT}H)?(?:${AMOUNT}M)?(?:${AMOUNT}S)?)?$`,
)
/** The units in the order of both patterns' groups. */
const DURATION_UNITS_MS = [WEEK_MS, DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, 1] as const
const DURATION_MAX_MS = INSTANT_MAX_MS - INSTANT_MIN_MS

/**
 * Milliseconds of `10s`, `1h30m`, `1.5h`, `250ms`, `2w` or ISO 8601 `PT5M`, `P1DT12H`; a day is 24 h here. Zero is a duration.
 * Months and years have no fixed length and are undefined, like negative and unreadable texts.
 */
export function parseDuration(text: string): number | undefined {
  const match = DURATION.exec(text) ?? ISO_DURATION.exec(text)
  if (match === null) return undefined
  let ms = 0
  let parts = 0
  for (let index = 0; index < DURATION_UNITS_MS.length; index++) {
    const amount = match[index + 1]
    if (amount === undefined) continue
    ms += Number(amount) * DURATION_UNITS_MS[index]!
    parts++
  }
  return parts > 0 && ms <= DURATION_MAX_MS ? Math.round(ms) : undefined
}

/** The largest unit that leaves no fraction: `90m`, not `1h30m`. `ms` is whole and not negative. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s'
  if (ms % WEEK_MS === 0) return `${ms / WEEK_MS}w`
  if (ms % DAY_MS === 0) return `${ms / DAY_MS}d`
  return formatHours(ms)
}

/** Like {@link formatDuration}, without days and weeks. */
export function formatHours(ms: number): string {
  if (ms % HOUR_MS === 0) return `${ms / HOUR_MS}h`
  if (ms % MINUTE_MS === 0) return `${ms / MINUTE_MS}m`
  if (ms % SECOND_MS === 0) return `${ms / SECOND_MS}s`
  return `${ms}ms`
}

const DAYS_BEFORE_MONTH = [0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334] as const
const DAYS_IN_MONTH = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] as const
/** Days from 0000-01-01 to 1970-01-01. */
const DAYS_BEFORE_EPOCH = 719_528

/** Days from 1970-01-01 to a date of the proleptic Gregorian calendar; `month` is 1 to 12. */
export function dayNumber(year: number, month: number, day: number): number {
  const before = year - 1
  const leapDays = Math.floor(before / 4) - Math.floor(before / 100) + Math.floor(before / 400)
  const thisLeapDay = month > 2 && isLeapYear(year) ? 1 : 0
  return 365 * year + leapDays + 1 + DAYS_BEFORE_MONTH[month]! + thisLeapDay + day - 1 - DAYS_BEFORE_EPOCH
}

function isLeapYear(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
}

/** Milliseconds of `+02:00`, `-0330` or `+02`, which must reach from `at` to the end of the text. */
export function parseUtcOffset(text: string, at = 0): number | undefined {
  const sign = text.charCodeAt(at)
  if (sign !== PLUS && sign !== MINUS) return undefined
  const ms = scanOffsetDigits(text, at + 1)
  // 0 - ms rather than -ms: no negative zero
  return sign === MINUS && ms !== undefined ? 0 - ms : ms
}

const SPACE = 0x20
const PLUS = 0x2b
const COMMA = 0x2c
const MINUS = 0x2d
const DOT = 0x2e
const COLON = 0x3a
const UPPER_T = 0x54
const UPPER_Z = 0x5a
const LOWER_T = 0x74
const LOWER_Z = 0x7a

function scanInstant(given: string, plusMayBeSpace: boolean, localClock?: ReadingToInstant): number | undefined {
  const isPadded = given.charCodeAt(0) <= SPACE || given.charCodeAt(given.length - 1) <= SPACE
  const text = isPadded ? given.trim() : given
  if (text.charCodeAt(4) === MINUS) return scanDateTime(text, plusMayBeSpace, localClock)
  if (!UNIX_TEXT.test(text)) return undefined
  return text.length > EXACT_DIGITS_MAX && !text.includes('.')
    ? instantFromBigInt(BigInt(text))
    : instantFromNumber(Number(text))
}

function scanDateTime(text: string, plusMayBeSpace: boolean, localClock?: ReadingToInstant): number | undefined {
  const length = text.length
  if (length < 10 || text.charCodeAt(7) !== MINUS) return undefined
  const century = twoDigits(text, 0)
  const yearOfCentury = twoDigits(text, 2)
  const month = twoDigits(text, 5)
  const day = twoDigits(text, 8)
  if (century < 0 || yearOfCentury < 0 || month < 1 || month > 12 || day < 1) return undefined
  const year = century * 100 + yearOfCentury
  if (day > DAYS_IN_MONTH[month]! && !(month === 2 && day === 29 && isLeapYear(year))) return undefined
  const midnightMs = dayNumber(year, month, day) * DAY_MS
  if (length === 10) return instantOf(midnightMs, localClock)

  const separator = text.charCodeAt(10)
  if (separator !== UPPER_T && separator !== SPACE && separator !== LOWER_T) return undefined
  const hour = twoDigits(text, 11)
  const minute = twoDigits(text, 14)
  if (hour < 0 || hour > 24 || text.charCodeAt(13) !== COLON || minute < 0 || minute > 59) return undefined
  let at = 16
  let second = 0
  let millisecond = 0
  if (text.charCodeAt(16) === COLON) {
    second = twoDigits(text, 17)
    // 60 is a leap second; the arithmetic below makes it the next second
    if (second < 0 || second > 60) return undefined
    at = 19
    const mark = text.charCodeAt(19)
    if (mark === DOT || mark === COMMA) {
      let scale = 100
      let digits = 0
      for (at = 20; ; at++, digits++) {
        const digit = text.charCodeAt(at) - 48
        if (!(digit >= 0 && digit <= 9)) break
        if (digits < 3) millisecond += digit * scale
        else if (digit > 0 && hour === 24) return undefined
        scale /= 10
      }
      if (digits === 0) return undefined
    }
  }
  // ISO 8601 writes the end of a day as 24:00, and nothing after it
  if (hour === 24 && (minute > 0 || second > 0 || millisecond > 0)) return undefined
  const readingMs = midnightMs + hour * HOUR_MS + minute * MINUTE_MS + second * SECOND_MS + millisecond
  if (at === length) return instantOf(readingMs, localClock)
  const offsetMs = scanZone(text, at, plusMayBeSpace) ?? readZone(text.slice(at), plusMayBeSpace)
  return offsetMs === undefined ? undefined : withinRange(readingMs - offsetMs)
}

/** The first and the last reading that can be written are instants in every zone. */
function instantOf(readingMs: number, localClock: ReadingToInstant | undefined): number | undefined {
  const validMs = withinRange(readingMs)
  if (validMs === undefined || localClock === undefined) return validMs
  return nearestInstant(localClock(validMs))
}

/** `Z`, `UTC` or an offset, each possibly after one space, up to the end of the text. */
function scanZone(text: string, start: number, plusMayBeSpace: boolean): number | undefined {
  let at = start
  let code = text.charCodeAt(at)
  const spaced = code === SPACE
  if (spaced) code = text.charCodeAt(++at)
  if (code === UPPER_Z || code === LOWER_Z) return at + 1 === text.length ? 0 : undefined
  if (code === PLUS || code === MINUS) return parseUtcOffset(text, at)
  if (text.length === at + 3 && text.endsWith('UTC')) return 0
  return spaced && plusMayBeSpace ? scanOffsetDigits(text, at) : undefined
}

/** Longer than any that means something. */
const ZONE_TEXT_MAX = 256

/** An offset that is named too, as Go (` +0200 CEST m=+0.5`) and Java (`+02:00[Europe/Berlin]`) write it: the offset counts. */
const NAMED_OFFSET =
  /^ ?(?:(UTC|[Zz]|(?=\[(?:Etc\/)?UTC\]$))|([+-]\d\d(?::?\d\d)?)(?: (?:[A-Z][A-Za-z]{0,5}|[+-]\d\d(?:\d\d)?))?(?: m=[+-]\d+\.\d+)?)(?:\[!?[\w+\-/=:.]+\])*$/
const LOST_PLUS = /^( ?) (?=\d)/

function readZone(given: string, plusMayBeSpace: boolean): number | undefined {
  if (given.length > ZONE_TEXT_MAX) return undefined
  const match = NAMED_OFFSET.exec(plusMayBeSpace ? given.replace(LOST_PLUS, '$1+') : given)
  if (match === null) return undefined
  return match[2] === undefined ? 0 : parseUtcOffset(match[2])
}

/** `02`, `0200` or `02:00`. */
function scanOffsetDigits(text: string, at: number): number | undefined {
  const hours = twoDigits(text, at)
  if (hours < 0 || hours > 23) return undefined
  if (text.length === at + 2) return hours * HOUR_MS
  const minutesAt = text.charCodeAt(at + 2) === COLON ? at + 3 : at + 2
  const minutes = twoDigits(text, minutesAt)
  if (minutes < 0 || minutes > 59 || text.length !== minutesAt + 2) return undefined
  return hours * HOUR_MS + minutes * MINUTE_MS
}

/** The number of two digits, -1 when they are none (comparisons with the NaN beyond the end are false). */
function twoDigits(text: string, at: number): number {
  const tens = text.charCodeAt(at) - 48
  const ones = text.charCodeAt(at + 1) - 48
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : -1
}

function instantFromNumber(value: number): number | undefined {
  const magnitude = Math.abs(value)
  let ms: number
  if (magnitude < UNIX_SECONDS_END) ms = value * 1e3
  else if (magnitude < UNIX_MILLISECONDS_END) ms = value
  else if (magnitude < UNIX_MICROSECONDS_END) ms = value / 1e3
  else ms = value / 1e6
  // A double may lie just below the decimal it stands for: 1672490759.123 s must not become .122. The product is off by at
  // most one part in 2^52, and so much is added before rounding down.
  return withinRange(Math.floor(ms + Math.abs(ms) * Number.EPSILON) + 0)
}

function instantFromBigInt(value: bigint): number | undefined {
  const magnitude = value < 0n ? -value : value
  if (magnitude < BigInt(UNIX_SECONDS_END)) return withinRange(Number(value) * 1e3)
  if (magnitude < BigInt(UNIX_MILLISECONDS_END)) return withinRange(Number(value))
  const perMs = magnitude < BigInt(UNIX_MICROSECONDS_END) ? 1_000n : 1_000_000n
  const truncated = value / perMs
  return withinRange(Number(value < 0n && truncated * perMs !== value ? truncated - 1n : truncated))
}

/**
 * The instant itself, or the first or last one there is. The bucket that holds the first one may begin before it, and the end of the
 * last bucket lies after the last one; neither could be written as RFC 3339, nor read again.
 */
export function nearestInstant(ms: number): number {
  return Math.min(INSTANT_MAX_MS, Math.max(INSTANT_MIN_MS, ms))
}

/** Whether these are milliseconds of an instant: of a year from 1 to 9999. NaN compares false and is none. */
export function isInstant(ms: number): boolean {
  return ms >= INSTANT_MIN_MS && ms <= INSTANT_MAX_MS
}

export function withinRange(ms: number): number | undefined {
  return isInstant(ms) ? ms : undefined
}
