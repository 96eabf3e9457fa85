import { knownZone } from '../chart/format.ts'

/** Times as date inputs show them, in the time zone of the question: `2026-11-29T01:05:00`. */

export function toLocal(timeMs: number, timezone: string): string {
  if (!Number.isFinite(timeMs)) return ''
  // Sweden writes dates as ISO 8601 does.
  const format = new Intl.DateTimeFormat('sv-SE', {
    timeZone: knownZone(timezone),
    dateStyle: 'short',
    timeStyle: 'medium',
  })
  return format.format(timeMs).replace(' ', 'T')
}

/** An instant in RFC 3339, to the second. */
export function formatInstant(timeMs: number): string {
  return new Date(Math.floor(timeMs / 1_000) * 1_000).toISOString().replace('.000Z', 'Z')
}

/** The instant of a local time, in RFC 3339. Of an hour that a clock change repeats, the second one. */
export function toInstant(local: string, timezone: string): string {
  const asUtcMs = Date.parse(`${local}Z`)
  if (!Number.isFinite(asUtcMs)) return local
  // The offset at a moment near it, then at the moment itself.
  const guessMs = asUtcMs - offsetMs(asUtcMs, timezone)
  return formatInstant(asUtcMs - offsetMs(guessMs, timezone))
}

function offsetMs(timeMs: number, timezone: string): number {
  return Date.parse(`${toLocal(timeMs, timezone)}Z`) - Math.floor(timeMs / 1_000) * 1_000
}
