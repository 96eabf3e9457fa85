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
 * Returns the instant of a local time, in RFC 3339; a text that is no local time, unchanged. If a clock change repeats
 * the hour, the result is in the second one in zones ahead of UTC, and in the first one in zones behind UTC.
 */
export function toInstant(local: string, timezone: string): string {
  const asUtcMs = Date.parse(`${local}Z`)
  if (!Number.isFinite(asUtcMs)) return local
  // Uses the offset near the instant to estimate the instant, then the offset at this estimate.
  const guessMs = asUtcMs - offsetMs(asUtcMs, timezone)
  return formatInstant(asUtcMs - offsetMs(guessMs, timezone))
}

function offsetMs(timeMs: number, timezone: string): number {
  return Date.parse(`${toLocalInput(timeMs, timezone)}Z`) - Math.floor(timeMs / 1_000) * 1_000
}
