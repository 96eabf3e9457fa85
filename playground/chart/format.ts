/** Formats numbers and times for people. */

const PLAIN = new Intl.NumberFormat('en', { maximumSignificantDigits: 4 })
const GROUPED = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const COMPACT = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 4 })

/**
 * Formats a number with four significant digits. From ten thousand to ten million, it is a whole number; very small and
 * very large numbers are in scientific notation. Null and undefined are a dash.
 */
export function formatNumber(value: number | null | undefined): string {
  if (value === null || value === undefined) return '–'
  const size = Math.abs(value)
  if (size >= 1e15 || (size > 0 && size < 1e-4)) return value.toExponential(2)
  if (size >= 1e7) return COMPACT.format(value)
  return size >= 1e4 ? GROUPED.format(value) : PLAIN.format(value)
}

export function formatValue(value: number | null | undefined, unit: string | null): string {
  const number = formatNumber(value)
  return unit === null || number === '–' ? number : `${number} ${unit}`
}

export type FormatTime = (timeMs: number) => string

/**
 * Creates a formatter of dates and times for tooltips: `Sun 29 Nov 2026, 01:05:10`. `stepMs` is the distance between
 * two values: from a minute on, seconds are omitted, and from a day on, the time of day.
 */
export function createDateTimeFormat(timezone: string, stepMs: number): FormatTime {
  const day = { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' } as const
  const clock = stepMs >= 86_400_000 ? {} : ({ hour: '2-digit', minute: '2-digit' } as const)
  const seconds = stepMs >= 60_000 ? {} : ({ second: '2-digit' } as const)
  return formatIn(timezone, { ...day, ...clock, ...seconds })
}

/** Creates a formatter of axis labels. `distanceMs` is the time between two labels. */
export function createTickFormat(timezone: string, distanceMs: number): FormatTime {
  if (distanceMs >= 28 * 86_400_000) return formatIn(timezone, { month: 'short', year: 'numeric' })
  if (distanceMs >= 86_400_000) return formatIn(timezone, { day: 'numeric', month: 'short' })
  if (distanceMs >= 60_000) return formatIn(timezone, { hour: '2-digit', minute: '2-digit' })
  return formatIn(timezone, { hour: '2-digit', minute: '2-digit', second: '2-digit' })
}

/** Formats the time since an instant: `12 s ago`, `3 min ago`. */
export function formatAge(timeMs: number, nowMs: number): string {
  const seconds = Math.max(0, Math.round((nowMs - timeMs) / 1_000))
  if (seconds < 60) return `${seconds} s ago`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ago`
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ago`
  return `${Math.floor(seconds / 86_400)} d ago`
}

function formatIn(timezone: string, options: Intl.DateTimeFormatOptions): FormatTime {
  const format = new Intl.DateTimeFormat('en-GB', { ...options, timeZone: supportedZone(timezone), hourCycle: 'h23' })
  return (timeMs) => format.format(timeMs)
}

/** Returns this browser's name of the time zone, or UTC if it does not support the zone: the gateway may know more. */
export function supportedZone(timezone: string): string {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: timezone }).resolvedOptions().timeZone
  } catch {
    return 'UTC'
  }
}
