import { parseInstant } from './parse-instant.ts'
import { type Rejection, reject } from './point.ts'
import { DAY_MS, HOUR_MS } from './time.ts'

/** Which times a point or an event may have. Old times are accepted: data that has expired is removed later. */

/** 0002-01-01T00:00:00Z, the earliest time, see {@link parsePointTime}. */
const POINT_TIME_MIN_MS = -62_104_060_800_000

/** How far in the future a time may be: a day, so that a client with a wrong time zone is accepted. */
const POINT_FUTURE_MS_MAX = DAY_MS

/**
 * Reads a time like {@link parseInstant}, but returns undefined for the year 1: a program that forgets to set the time
 * sends the zero value of its language, such as `0001-01-01T00:00:00Z` in Go.
 */
export function parsePointTime(value: unknown): number | undefined {
  const timeMs = parseInstant(value)
  return timeMs !== undefined && timeMs >= POINT_TIME_MIN_MS ? timeMs : undefined
}

/** Rejects a time that could not be parsed (undefined), or that is too far in the future. */
export function checkPointTime(timeMs: number | undefined, nowMs: number): Rejection | undefined {
  if (timeMs === undefined) return reject('invalid_timestamp', 'timestamp must be an RFC 3339 date-time or a UNIX time')
  if (timeMs > nowMs + POINT_FUTURE_MS_MAX) {
    return reject('invalid_timestamp', `timestamp lies more than ${POINT_FUTURE_MS_MAX / HOUR_MS} h ahead`)
  }
  return undefined
}
