/**
 * Reads instants from text and numbers, in every accepted form. Input finer than a millisecond is rounded towards the
 * past. Texts are scanned by character code without allocating, because this runs once per point. `Date.parse` is not
 * used: it accepts far more than RFC 3339 and ISO 8601.
 */
import {
  DAY_MS,
  dayNumber,
  HOUR_MS,
  isLeapYear,
  MINUTE_MS,
  nearestInstant,
  parseDuration,
  SECOND_MS,
  withinRange,
} from './time.ts'
import { parseUnsignedOffset, parseUtcOffset, twoDigits } from './utc-offset.ts'
import { instantOfSingleReading, timeZone } from './zone-offsets.ts'

/** UNIX numbers below these magnitudes are seconds, milliseconds and microseconds; above are nanoseconds. */
const UNIX_SECONDS_END = 1e11
const UNIX_MILLISECONDS_END = 1e14
const UNIX_MICROSECONDS_END = 1e17

/** 0002-01-01T00:00:00Z */
const POINT_TIME_MIN_MS = -62_104_060_800_000

const UNIX_TEXT = /^-?\d{1,64}(?:\.\d+)?$/
/** Integers of up to 15 digits are exact in a double. */
const EXACT_DIGITS_MAX = 15

/**
 * Reads an instant from a decoded body: text, UNIX number (also as text or bigint) or Date. Undefined when unreadable.
 */
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
 * Reads the time of a point or an event like {@link parseInstant}, but refuses the year 1: programs without a time send
 * the zero value of their language, such as Go's `0001-01-01T00:00:00Z`.
 */
export function parsePointTime(value: unknown): number | undefined {
  const timeMs = parseInstant(value)
  return timeMs !== undefined && timeMs >= POINT_TIME_MIN_MS ? timeMs : undefined
}

/** Reads an instant from a query string, where an unescaped `+` arrives as a space: `10:30:00 02:00`. */
export function parseInstantText(text: string): number | undefined {
  return scanInstant(text, true)
}

const RELATIVE = /^(?:now)? *([+-]) *(\S+)$/

/** The instant at which a local clock shows a reading, which is given as if it were UTC. */
type ReadingToInstant = (readingMs: number) => number

/**
 * Reads an instant, or a distance from now such as `-6h`, `now`, `now-1h30m`, `now+1d`. A date or date-time without an
 * offset is a reading of the local clock, or of UTC unless `localClock` is given.
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

const DAYS_IN_MONTH = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] as const

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
  if (length === 10) return instantOfLocal(midnightMs, localClock)

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
  // ISO 8601 writes the end of a day as 24:00:00
  if (hour === 24 && (minute > 0 || second > 0 || millisecond > 0)) return undefined
  const readingMs = midnightMs + hour * HOUR_MS + minute * MINUTE_MS + second * SECOND_MS + millisecond
  if (at === length) return instantOfLocal(readingMs, localClock)
  const offsetMs = scanOffset(text, at, plusMayBeSpace)
  if (offsetMs !== undefined) return withinRange(readingMs - offsetMs)
  return instantBySuffix(readingMs, text.slice(at), plusMayBeSpace)
}

/** Clamped, so that the first and the last reading that can be written are instants in every zone. */
function instantOfLocal(readingMs: number, localClock: ReadingToInstant | undefined): number | undefined {
  const validMs = withinRange(readingMs)
  if (validMs === undefined || localClock === undefined) return validMs
  return nearestInstant(localClock(validMs))
}

/** `Z`, `UTC` or an offset, each possibly after one space, up to the end of the text. */
function scanOffset(text: string, start: number, plusMayBeSpace: boolean): number | undefined {
  let at = start
  let code = text.charCodeAt(at)
  const isSpaced = code === SPACE
  if (isSpaced) code = text.charCodeAt(++at)
  if (code === UPPER_Z || code === LOWER_Z) return at + 1 === text.length ? 0 : undefined
  if (code === PLUS || code === MINUS) return parseUtcOffset(text, at)
  if (text.length === at + 3 && text.endsWith('UTC')) return 0
  return isSpaced && plusMayBeSpace ? parseUnsignedOffset(text, at) : undefined
}

/** Longer than any valid suffix. */
const SUFFIX_CHARS_MAX = 256

/** An offset beside a name, as Go (` +0200 CEST m=+0.5`) and Java (`+02:00[Europe/Berlin]`) write it. */
const NAMED_OFFSET =
  /^ ?(?:(UTC|[Zz])|([+-]\d\d(?::?\d\d)?)(?: (?:[A-Z][A-Za-z]{0,5}|[+-]\d\d(?:\d\d)?))?(?: m=[+-]\d+\.\d+)?)(?:\[!?[\w+\-/=:.]+\])*$/
/** A zone without an offset (RFC 9557), possibly followed by annotations such as `[u-ca=gregory]`. */
const ZONE_ALONE = /^ ?\[!?([\w+\-/:]+)\](?:\[!?[\w-]+=[\w-]+\])*$/
const LOST_PLUS = /^( ?) (?=\d)/

/** The instant of a reading by what stands behind it; undefined when that is unreadable. */
function instantBySuffix(readingMs: number, given: string, plusMayBeSpace: boolean): number | undefined {
  if (given.length > SUFFIX_CHARS_MAX) return undefined
  const suffix = plusMayBeSpace ? given.replace(LOST_PLUS, '$1+') : given
  const offset = NAMED_OFFSET.exec(suffix)
  if (offset !== null) {
    const offsetMs = offset[2] === undefined ? 0 : parseUtcOffset(offset[2])
    return offsetMs === undefined ? undefined : withinRange(readingMs - offsetMs)
  }
  const name = ZONE_ALONE.exec(suffix)?.[1]
  const zone = name === undefined ? undefined : timeZone(name)
  return zone && instantOfLocal(readingMs, (localMs) => instantOfSingleReading(zone, localMs))
}

function instantFromNumber(value: number): number | undefined {
  const magnitude = Math.abs(value)
  let ms: number
  if (magnitude < UNIX_SECONDS_END) ms = value * 1e3
  else if (magnitude < UNIX_MILLISECONDS_END) ms = value
  else if (magnitude < UNIX_MICROSECONDS_END) ms = value / 1e3
  else ms = value / 1e6
  // A double may lie just below its decimal: 1672490759.123 s must not become .122. The product is off by at most one
  // part in 2^52, so that much is added before rounding down.
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
