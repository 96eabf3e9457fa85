import { HOUR_MS, MINUTE_MS } from './time.ts'

/** Reads offsets from UTC. Texts are scanned by character code, because this runs once per point. */

const PLUS = 0x2b
const MINUS = 0x2d
const COLON = 0x3a

/**
 * Milliseconds of an offset such as `+02:00`, `-0330` or `+02` at position `at`. Undefined unless the text ends with
 * the offset.
 */
export function parseUtcOffset(text: string, at = 0): number | undefined {
  const sign = text.charCodeAt(at)
  if (sign !== PLUS && sign !== MINUS) return undefined
  const ms = parseUnsignedOffset(text, at + 1)
  // `0 - ms` instead of `-ms`: the result is never negative zero.
  return sign === MINUS && ms !== undefined ? 0 - ms : ms
}

/** Like {@link parseUtcOffset} for an offset without a sign: `02`, `0200` or `02:00`. */
export function parseUnsignedOffset(text: string, at: number): number | undefined {
  const hours = twoDigits(text, at)
  if (hours < 0 || hours > 23) return undefined
  if (text.length === at + 2) return hours * HOUR_MS
  const minutesAt = text.charCodeAt(at + 2) === COLON ? at + 3 : at + 2
  const minutes = twoDigits(text, minutesAt)
  if (minutes < 0 || minutes > 59 || text.length !== minutesAt + 2) return undefined
  return hours * HOUR_MS + minutes * MINUTE_MS
}

/**
 * The number in two digits, or -1 if these characters are not digits. After the end of the text `charCodeAt` returns
 * NaN, which compares as false.
 */
export function twoDigits(text: string, at: number): number {
  const tens = text.charCodeAt(at) - 48
  const ones = text.charCodeAt(at + 1) - 48
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : -1
}
