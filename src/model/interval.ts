/**
 * Parses and formats intervals, the widths of result buckets. Intervals in hours or shorter units have a fixed length.
 * Days, weeks, months, quarters and years are calendar units that follow a time zone: `1d` may last 23 or 25 hours,
 * `24h` never does. `7d` differs from `1w`: periods of 7 days are counted from 1970-01-01, weeks begin on Mondays.
 */
import { DAY_MS, formatDurationUpToHours, parseDuration } from './time.ts'

type CalendarUnit = 'day' | 'week' | 'month' | 'quarter' | 'year'

/**
 * `canonicalText` is a text that {@link parseInterval} parses to the interval. Equal intervals have the same text: it
 * has one whole number and the largest unit that gives an equal interval.
 */
export type Interval =
  | { readonly kind: 'fixed'; readonly ms: number; readonly canonicalText: string }
  | { readonly kind: 'calendar'; readonly unit: CalendarUnit; readonly count: number; readonly canonicalText: string }
  | { readonly kind: 'auto' }

export type FixedInterval = Extract<Interval, { readonly kind: 'fixed' }>
type CalendarInterval = Extract<Interval, { readonly kind: 'calendar' }>

/** Any interval but `auto`. */
export type FixedOrCalendar = FixedInterval | CalendarInterval

const CALENDAR_TEXT = /^([1-9]\d{0,5})(d|w|mo|M|q|y)$/
const ISO_CALENDAR_TEXT = /^P([1-9]\d{0,5})([DWMY])$/
const FIXED_TEXT = /^(?:\d[^dw]*|PT.+)$/

const UNIT_OF_SUFFIX: ReadonlyMap<string, CalendarUnit> = new Map([
  ['d', 'day'],
  ['D', 'day'],
  ['w', 'week'],
  ['W', 'week'],
  ['mo', 'month'],
  ['M', 'month'],
  ['q', 'quarter'],
  ['y', 'year'],
  ['Y', 'year'],
])

const SUFFIX_OF_UNIT = { day: 'd', week: 'w', month: 'mo', quarter: 'q', year: 'y' } as const
/** Average number of days in each unit, to check that an interval is at most 100 years. */
const UNIT_DAYS_AVERAGE = { day: 1, week: 7, month: 30.4375, quarter: 91.3125, year: 365.25 } as const
/** The longest interval: 100 years. */
const INTERVAL_DAYS_MAX = 36_525

/**
 * Parses `10s`, `90s`, `6h`, `1h30m`, `1d`, `1w`, `1mo` (or `1M`), `1q`, `1y`, `auto`, and ISO 8601 durations of one
 * unit from days on, or of hours and less (`P1M`, `PT1H30M`). `60s` and `1m` give equal intervals, and so do `3mo` and
 * `1q`; `24h` and `1d` do not. Returns undefined for zero, for more than 100 years, and for unreadable text.
 */
export function parseInterval(text: string): Interval | undefined {
  if (text === 'auto') return { kind: 'auto' }
  const match = CALENDAR_TEXT.exec(text) ?? ISO_CALENDAR_TEXT.exec(text)
  if (match !== null) {
    const unit = UNIT_OF_SUFFIX.get(match[2]!)
    return unit === undefined ? undefined : calendarInterval(unit, Number(match[1]))
  }
  if (!FIXED_TEXT.test(text)) return undefined
  const ms = parseDuration(text)
  return ms === undefined ? undefined : fixedInterval(ms)
}

/** Returns an interval of `ms` milliseconds. Undefined unless `ms` is a positive integer and at most 100 years. */
export function fixedInterval(ms: number): FixedInterval | undefined {
  if (!Number.isInteger(ms) || ms <= 0 || ms > INTERVAL_DAYS_MAX * DAY_MS) return undefined
  return { kind: 'fixed', ms, canonicalText: formatDurationUpToHours(ms) }
}

/**
 * Returns an interval of calendar units; three months become a quarter, four quarters a year. Undefined unless `count`
 * is a positive integer and the interval is at most 100 years.
 */
export function calendarInterval(unit: CalendarUnit, count: number): CalendarInterval | undefined {
  if (!Number.isInteger(count) || count <= 0 || count * UNIT_DAYS_AVERAGE[unit] > INTERVAL_DAYS_MAX) return undefined
  if (unit === 'month' && count % 3 === 0) return calendarInterval('quarter', count / 3)
  if (unit === 'quarter' && count % 4 === 0) return calendarInterval('year', count / 4)
  return { kind: 'calendar', unit, count, canonicalText: `${count}${SUFFIX_OF_UNIT[unit]}` }
}

/** Returns the same text for equal intervals. {@link parseInterval} parses it to the interval. */
export function formatInterval(interval: Interval): string {
  return interval.kind === 'auto' ? 'auto' : interval.canonicalText
}
