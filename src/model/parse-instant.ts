/**
 * Parses timestamps from texts and numbers. Fractions of a millisecond are rounded down, towards the past. Because this
 * runs for each point, usual RFC 3339 texts are compared by character code, without creating a string. `Date.parse` is
 * not used, because it accepts much more than RFC 3339 and ISO 8601.
 */
import {
  clampToInstantRange,
  DAY_MS,
  daysSinceEpoch,
  HOUR_MS,
  isLeapYear,
  MINUTE_MS,
  parseDuration,
  SECOND_MS,
  validInstant,
} from './time.ts'
import { parseUnsignedOffset, parseUtcOffset, twoDigits } from './utc-offset.ts'
import { lookUpInstantOfReading, timeZone } from './zone-offsets.ts'

/**
 * The magnitude of a UNIX time decides its unit: seconds below the first of these bounds, milliseconds below the
 * second, microseconds below the third, else nanoseconds.
 */
const UNIX_SECONDS_END = 1e11
const UNIX_MILLISECONDS_END = 1e14
const UNIX_MICROSECONDS_END = 1e17

const UNIX_TEXT = /^-?\d{1,64}(?:\.\d+)?$/
/**
 * Maximum length of an integer UNIX time that is parsed as a double, which is exact up to this length. Longer integers
 * are parsed as bigints.
 */
const EXACT_DIGITS_MAX = 15

/**
 * Reads an instant from a value of a decoded body: a timestamp as text, a UNIX time (as number, text or bigint) or a
 * Date. Undefined if it is unreadable or not in the years 1 to 9999.
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
      return value instanceof Date ? validInstant(value.getTime()) : undefined
  }
}

/**
 * Parses an instant in a text that may come from a query string, where an unescaped `+` becomes a space:
 * `2024-01-15T10:30:00 02:00`.
 */
export function parseInstantText(text: string): number | undefined {
  return scanInstant(text, true)
}

const RELATIVE = /^(?:now)? *([+-]) *(\S+)$/

/**
 * Returns the instant at which a local clock shows a time. The time is passed as milliseconds, as if it were UTC: 10:30
 * as the milliseconds of 10:30 UTC.
 */
type ReadingToInstant = (readingMs: number) => number

/**
 * Parses an instant, or a time relative to now such as `-6h`, `now`, `now-1h30m`, `now+1d`. A date or date-time without
 * an offset or zone is local time if `localToInstant` is given, else UTC.
 */
export function parseTimeArgument(text: string, nowMs: number, localToInstant?: ReadingToInstant): number | undefined {
  if (text === 'now') return nowMs
  const relative = RELATIVE.exec(text)
  if (relative !== null) {
    const distanceMs = parseDuration(relative[2]!)
    if (distanceMs !== undefined) return validInstant(relative[1] === '-' ? nowMs - distanceMs : nowMs + distanceMs)
  }
  return scanInstant(text, true, localToInstant)
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

function scanInstant(
  untrimmed: string,
  plusMayBeSpace: boolean,
  localToInstant?: ReadingToInstant,
): number | undefined {
  const isPadded = untrimmed.charCodeAt(0) <= SPACE || untrimmed.charCodeAt(untrimmed.length - 1) <= SPACE
  const text = isPadded ? untrimmed.trim() : untrimmed
  if (text.charCodeAt(4) === MINUS) return scanDateTime(text, plusMayBeSpace, localToInstant)
  if (!UNIX_TEXT.test(text)) return undefined
  return text.length > EXACT_DIGITS_MAX && !text.includes('.')
    ? instantFromBigInt(BigInt(text))
    : instantFromNumber(Number(text))
}

const DAYS_IN_MONTH = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] as const

function scanDateTime(text: string, plusMayBeSpace: boolean, localToInstant?: ReadingToInstant): number | undefined {
  const length = text.length
  if (length < 10 || text.charCodeAt(7) !== MINUS) return undefined
  const century = twoDigits(text, 0)
  const yearOfCentury = twoDigits(text, 2)
  const month = twoDigits(text, 5)
  const day = twoDigits(text, 8)
  if (century < 0 || yearOfCentury < 0 || month < 1 || month > 12 || day < 1) return undefined
  const year = century * 100 + yearOfCentury
  if (day > DAYS_IN_MONTH[month]! && !(month === 2 && day === 29 && isLeapYear(year))) return undefined
  const midnightMs = daysSinceEpoch(year, month, day) * DAY_MS
  if (length === 10) return instantOfLocal(midnightMs, localToInstant)

  const separator = text.charCodeAt(10)
  if (separator !== UPPER_T && separator !== SPACE && separator !== LOWER_T) return undefined
  const hour = twoDigits(text, 11)
  const minute = twoDigits(text, 14)
  if (hour < 0 || hour > 24 || text.charCodeAt(13) !== COLON || minute < 0 || minute > 59) return undefined
  let index = 16
  let second = 0
  let millisecond = 0
  if (text.charCodeAt(16) === COLON) {
    second = twoDigits(text, 17)
    // A second of 60 is a leap second. It is read as the first second of the next minute.
    if (second < 0 || second > 60) return undefined
    index = 19
    const mark = text.charCodeAt(19)
    if (mark === DOT || mark === COMMA) {
      let scale = 100
      let digitCount = 0
      for (index = 20; ; index++, digitCount++) {
        const digit = text.charCodeAt(index) - 48
        if (!(digit >= 0 && digit <= 9)) break
        if (digitCount < 3) millisecond += digit * scale
        else if (digit > 0 && hour === 24) return undefined
        scale /= 10
      }
      if (digitCount === 0) return undefined
    }
  }
  // ISO 8601 allows 24:00:00 as the end of a day.
  if (hour === 24 && (minute > 0 || second > 0 || millisecond > 0)) return undefined
  const readingMs = midnightMs + hour * HOUR_MS + minute * MINUTE_MS + second * SECOND_MS + millisecond
  if (index === length) return instantOfLocal(readingMs, localToInstant)
  const offsetMs = scanOffset(text, index, plusMayBeSpace)
  if (offsetMs !== undefined) return validInstant(readingMs - offsetMs)
  return instantBySuffix(readingMs, text.slice(index), plusMayBeSpace)
}

/**
 * Returns the instant of a local clock reading; undefined if the reading is not in the years 1 to 9999. If the offset
 * of the zone moves a valid reading out of these years, the result is clamped.
 */
function instantOfLocal(readingMs: number, localToInstant: ReadingToInstant | undefined): number | undefined {
  const validMs = validInstant(readingMs)
  if (validMs === undefined || localToInstant === undefined) return validMs
  return clampToInstantRange(localToInstant(validMs))
}

/**
 * Parses `Z`, `UTC` or an offset from `start` to the end of the text, optionally after one space. If `plusMayBeSpace`,
 * the space may also be the `+` of the offset. Returns the offset in milliseconds; undefined for any other text.
 */
function scanOffset(text: string, start: number, plusMayBeSpace: boolean): number | undefined {
  let index = start
  let code = text.charCodeAt(index)
  const isSpaced = code === SPACE
  if (isSpaced) code = text.charCodeAt(++index)
  if (code === UPPER_Z || code === LOWER_Z) return index + 1 === text.length ? 0 : undefined
  if (code === PLUS || code === MINUS) return parseUtcOffset(text, index)
  if (text.length === index + 3 && text.endsWith('UTC')) return 0
  return isSpaced && plusMayBeSpace ? parseUnsignedOffset(text, index) : undefined
}

/**
 * Maximum length of the suffix of a timestamp: the offset or zone after date and time. A longer suffix is refused, and
 * not matched against the regular expressions below, so that they never take long.
 */
const SUFFIX_CHARS_MAX = 256

/** Matches an offset and what may follow it: Go writes ` +0200 CEST m=+0.5`, Java writes `+02:00[Europe/Berlin]`. */
const NAMED_OFFSET =
  /^ ?(?:(UTC|[Zz])|([+-]\d\d(?::?\d\d)?)(?: (?:[A-Z][A-Za-z]{0,5}|[+-]\d\d(?:\d\d)?))?(?: m=[+-]\d+\.\d+)?)(?:\[!?[\w+\-/=:.]+\])*$/
/** Matches a zone name without an offset: `[Europe/Berlin]` (RFC 9557), and annotations after it: `[u-ca=gregory]`. */
const ZONE_ALONE = /^ ?\[!?([\w+\-/:]+)\](?:\[!?[\w-]+=[\w-]+\])*$/
/** Matches a space that may have been the `+` of an offset: in the query string of a URL, a `+` stands for a space. */
const LOST_PLUS = /^( ?) (?=\d)/

/**
 * Returns the instant at which a clock shows a reading. The suffix of the timestamp has the offset or the time zone of
 * this clock. Undefined if the suffix is unreadable. With an offset, an instant outside of the years 1 to 9999 becomes
 * undefined. With only a zone name, a reading outside of these years becomes undefined, and an instant outside of them
 * is clamped.
 */
function instantBySuffix(readingMs: number, receivedSuffix: string, plusMayBeSpace: boolean): number | undefined {
  if (receivedSuffix.length > SUFFIX_CHARS_MAX) return undefined
  const suffix = plusMayBeSpace ? receivedSuffix.replace(LOST_PLUS, '$1+') : receivedSuffix
  const offsetMatch = NAMED_OFFSET.exec(suffix)
  if (offsetMatch !== null) {
    const offsetMs = offsetMatch[2] === undefined ? 0 : parseUtcOffset(offsetMatch[2])
    return offsetMs === undefined ? undefined : validInstant(readingMs - offsetMs)
  }
  const zoneName = ZONE_ALONE.exec(suffix)?.[1]
  const zone = zoneName === undefined ? undefined : timeZone(zoneName)
  return zone && instantOfLocal(readingMs, (localMs) => lookUpInstantOfReading(zone, localMs))
}

function instantFromNumber(value: number): number | undefined {
  const magnitude = Math.abs(value)
  let ms: number
  if (magnitude < UNIX_SECONDS_END) ms = value * 1e3
  else if (magnitude < UNIX_MILLISECONDS_END) ms = value
  else if (magnitude < UNIX_MICROSECONDS_END) ms = value / 1e3
  else ms = value / 1e6
  // In doubles, 1.001 * 1e3 is 1000.9999999999999, so rounding down would give 1000. The relative error of `ms` is at
  // most about 2^-52, so this much is added before rounding down. Adding 0 turns -0 into 0.
  return validInstant(Math.floor(ms + Math.abs(ms) * Number.EPSILON) + 0)
}

function instantFromBigInt(value: bigint): number | undefined {
  const magnitude = value < 0n ? -value : value
  if (magnitude < BigInt(UNIX_SECONDS_END)) return validInstant(Number(value) * 1e3)
  if (magnitude < BigInt(UNIX_MILLISECONDS_END)) return validInstant(Number(value))
  const unitsPerMs = magnitude < BigInt(UNIX_MICROSECONDS_END) ? 1_000n : 1_000_000n
  const roundedToZeroMs = value / unitsPerMs
  return validInstant(
    Number(value < 0n && roundedToZeroMs * unitsPerMs !== value ? roundedToZeroMs - 1n : roundedToZeroMs),
  )
}
