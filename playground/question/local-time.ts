import { supportedZone } from '../chart/format.ts'

/** Converts between instants and the values of date inputs, which are local times such as `2026-11-29T01:05:00`. */

/** Returns the local time of an instant, rounded down to a second; empty for NaN. */

export function toLocalInput(timeMs: number, timezone: string): string {
  if (!Number.isFinite(timeMs)) return ''
  // The Swedish date format is ISO 8601.
  const format = new Intl.DateTimeFormat('sv-SE', {
    timeZone: supportedZone(timezone),
    dateStyle: 'short',
    timeStyle: 'medium',
  })
  return format.format(timeMs).replace(' ', 'T')
}

/** Formats an instant in RFC 3339, rounded down to a second. */
export function formatInstant(timeMs: number): string {
  return new Date(Math.floor(timeMs / 1_000) * 1_000).toISOString().replace('.000Z', 'Z')
}

/**
 * Returns the instant of a local time, in RFC 3339; a text that is no local time, unchanged. The rule is that of the
 * gateway, which Temporal calls "compatible": a time that a clock change repeats is its first occurrence, and a time
 * that a clock change skips is the instant that it would be without the change.
 */
export function toInstant(local: string, timezone: string): string {
  const asUtcMs = Date.parse(`${local}Z`)
  if (!Number.isFinite(asUtcMs)) return local
  // No zone changes its clock twice within two days, so one of these offsets is that of the instant.
  const earlierMs = asUtcMs - offsetMs(asUtcMs - DAY_MS, timezone)
  const laterMs = asUtcMs - offsetMs(asUtcMs + DAY_MS, timezone)
  const shows = (timeMs: number): boolean => timeMs + offsetMs(timeMs, timezone) === asUtcMs
  return formatInstant(!shows(earlierMs) && shows(laterMs) ? laterMs : earlierMs)
}

/** An upper bound of all offsets. */
const DAY_MS = 86_400_000

function offsetMs(timeMs: number, timezone: string): number {
  return Date.parse(`${toLocalInput(timeMs, timezone)}Z`) - Math.floor(timeMs / 1_000) * 1_000
}
