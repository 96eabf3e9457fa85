import { HOUR_MS, MINUTE_MS } from './time.ts'

/**
 * Parses UTC offsets such as `+02:00`, at the end of a timestamp or instead of the name of a time zone. Characters are
 * compared by code and no string is created, because a request may have a timestamp with an offset for each point.
 */

const PLUS = 0x2b
const MINUS = 0x2d
const COLON = 0x3a

/**
 * Returns the milliseconds of an offset such as `+02:00`, `-0330` or `+02` that begins at `index`. Undefined if
 * there is no offset of less than 24 hours, or if the text goes on after it.
 */
export function parseUtcOffset(text: string, index = 0): number | undefined {
  const sign = text.charCodeAt(index)
  if (sign !== PLUS && sign !== MINUS) return undefined
  const ms = parseUnsignedOffset(text, index + 1)
  // `0 - ms` instead of `-ms`: the result is never negative zero.
  return sign === MINUS && ms !== undefined ? 0 - ms : ms
}

/** Like {@link parseUtcOffset} for an offset without a sign: `02`, `0200` or `02:00`. */
export function parseUnsignedOffset(text: string, index: number): number | undefined {
  const hours = twoDigits(text, index)
  if (hours < 0 || hours > 23) return undefined
  if (text.length === index + 2) return hours * HOUR_MS
  const minutesIndex = text.charCodeAt(index + 2) === COLON ? index + 3 : index + 2
  const minutes = twoDigits(text, minutesIndex)
  if (minutes < 0 || minutes > 59 || text.length !== minutesIndex + 2) return undefined
  return hours * HOUR_MS + minutes * MINUTE_MS
}

/**
 * Returns the number in the two digits at `index`; -1 if these characters are not digits or the text ends before.
 * Beyond the end of the text, `charCodeAt` returns NaN, and every comparison with NaN is false.
 */
export function twoDigits(text: string, index: number): number {
  const tens = text.charCodeAt(index) - 48
  const ones = text.charCodeAt(index + 1) - 48
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : -1
}
