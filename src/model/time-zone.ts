/**
 * Time zones, from the database inside Intl, and the buckets of an interval in them.
 *
 * Buckets lie on a grid of local clock readings (midnights, Mondays, firsts of a month, every sixth hour). The edge of a
 * reading is the first instant at which the local clock shows it or something later. Defined so, edges never go back: a reading
 * that a clock change skips gets the instant of the change, one that occurs twice gets its first occurrence, and readings of a
 * day that never was (Apia, 2011-12-30) share one edge and make no bucket. Buckets are the stretches between different edges.
 *
 * Fixed intervals lie on multiples since the epoch, in UTC, but for those above 1 h and below 24 h that divide a day (2h, 3h,
 * 4h, 6h, 8h, 12h, 90m …): in a zone they begin with the local midnight, so that 6h means 00, 06, 12 and 18 o'clock.
 */
import { calendarInterval, type FixedOrCalendar, fixedInterval } from './interval.ts'
import { DAY_MS, dayNumber, HOUR_MS, MINUTE_MS, parseUtcOffset } from './time.ts'

export interface TimeZone {
  readonly name: string
  /** Local clock minus UTC at an instant. */
  offsetMs(utcMs: number): number
  /** The offset is one and the same from `utcMs` up to, not including, this later instant. It need not change there. */
  constantUntilMs(utcMs: number): number
}

const UTC_ZONE: TimeZone = { name: 'UTC', offsetMs: () => 0, constantUntilMs: () => Number.POSITIVE_INFINITY }

/** The longest names of the database have 32 characters. */
const ZONE_NAME_MAX = 64
/** A zone with its formatter and windows takes up to a few hundred kilobytes. */
const ZONES_MAX = 64
const zones = new Map<string, TimeZone>()

/** The zone of an IANA name in any case, `UTC`, or an offset such as `+02:00`. Undefined when Intl does not know it. */
export function timeZone(name: string): TimeZone | undefined {
  if (name === 'UTC') return UTC_ZONE
  if (name.length > ZONE_NAME_MAX) return undefined
  const key = name.toLowerCase()
  const known = zones.get(key)
  const zone = known ?? openZone(name)
  if (zone === undefined) return undefined
  // the most recently used is last, the first is forgotten
  if (known !== undefined) zones.delete(key)
  else if (zones.size >= ZONES_MAX) zones.delete(zones.keys().next().value!)
  zones.set(key, zone)
  return zone
}

function openZone(name: string): TimeZone | undefined {
  const offsetMs = parseUtcOffset(name)
  if (offsetMs !== undefined) return offsetMs === 0 ? UTC_ZONE : fixedZone(offsetMs)
  if (!/^[A-Za-z]/.test(name)) return undefined
  let format: Intl.DateTimeFormat
  try {
    format = new Intl.DateTimeFormat('en-US', { timeZone: name, timeZoneName: 'longOffset' })
  } catch {
    return undefined
  }
  const resolved = format.resolvedOptions().timeZone
  if (UTC_NAMES.has(resolved)) return UTC_ZONE
  // Intl answers some names with an older alias (Asia/Katmandu); the caller's name is kept then
  return new IntlZone(resolved.toLowerCase() === name.toLowerCase() ? resolved : name, format)
}

const UTC_NAMES: ReadonlySet<string> = new Set(['UTC', 'Etc/UTC', 'GMT', 'Etc/GMT', 'Etc/UCT', 'UCT'])

function fixedZone(offsetMs: number): TimeZone {
  const minutes = Math.abs(offsetMs) / MINUTE_MS
  const clock = [Math.floor(minutes / 60), minutes % 60].map((part) => String(part).padStart(2, '0')).join(':')
  return {
    name: `${offsetMs < 0 ? '-' : '+'}${clock}`,
    offsetMs: () => offsetMs,
    constantUntilMs: () => Number.POSITIVE_INFINITY,
  }
}

/** Offsets are found for 64 days at once and kept. */
const WINDOW_MS = 64 * DAY_MS
/** 180 years of one zone. */
const WINDOWS_MAX = 1_024
/** Between two samples with equal offsets the clock is taken to be unchanged: shorter interludes do not occur. */
const SAMPLE_MS = 4 * DAY_MS
/** The last instant a Date can hold. */
const DATE_MAX_MS = 8.64e15

/** The offsets of one window: `offsetsMs[i]` holds from `startsMs[i]` to the next start. */
interface OffsetWindow {
  readonly startsMs: readonly number[]
  readonly offsetsMs: readonly number[]
}

class IntlZone implements TimeZone {
  readonly name: string
  readonly #format: Intl.DateTimeFormat
  readonly #windows = new Map<number, OffsetWindow>()
  /** The stretch of the last answer, which mostly holds the next question too. */
  #fromMs = 0
  #untilMs = 0
  #offsetMs = 0

  constructor(name: string, format: Intl.DateTimeFormat) {
    this.name = name
    this.#format = format
  }

  offsetMs(utcMs: number): number {
    if (!(utcMs >= this.#fromMs && utcMs < this.#untilMs)) this.#seek(utcMs)
    return this.#offsetMs
  }

  constantUntilMs(utcMs: number): number {
    if (!(utcMs >= this.#fromMs && utcMs < this.#untilMs)) this.#seek(utcMs)
    return this.#untilMs
  }

  #seek(utcMs: number): void {
    const index = Math.floor(utcMs / WINDOW_MS)
    const { startsMs, offsetsMs } = this.#windows.get(index) ?? this.#discover(index)
    let at = startsMs.length - 1
    while (at > 0 && startsMs[at]! > utcMs) at--
    this.#fromMs = startsMs[at]!
    this.#untilMs = startsMs[at + 1] ?? (index + 1) * WINDOW_MS
    this.#offsetMs = offsetsMs[at]!
  }

  #discover(index: number): OffsetWindow {
    let atMs = index * WINDOW_MS
    const endMs = atMs + WINDOW_MS
    let offsetMs = this.#ask(atMs)
    const startsMs = [atMs]
    const offsetsMs = [offsetMs]
    while (atMs < endMs) {
      const sampleMs = atMs + SAMPLE_MS
      const sampleOffsetMs = this.#ask(sampleMs)
      while (offsetMs !== sampleOffsetMs) {
        atMs = this.#firstChange(atMs, offsetMs, sampleMs)
        offsetMs = this.#ask(atMs)
        // a change at the very end belongs to the next window
        if (atMs < endMs) {
          startsMs.push(atMs)
          offsetsMs.push(offsetMs)
        }
      }
      atMs = sampleMs
    }
    if (this.#windows.size >= WINDOWS_MAX) this.#windows.delete(this.#windows.keys().next().value!)
    const window = { startsMs, offsetsMs }
    this.#windows.set(index, window)
    return window
  }

  /** Bisects to the second (changes happen on whole seconds): the offset is `offsetMs` at `lowMs` and another at `highMs`. */
  #firstChange(lowMs: number, offsetMs: number, highMs: number): number {
    let low = lowMs / 1_000
    let high = highMs / 1_000
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2)
      if (this.#ask(middle * 1_000) === offsetMs) low = middle
      else high = middle
    }
    return high * 1_000
  }

  /** What Intl prints after the date: `GMT`, `GMT+05:45`, or with seconds in times before standard time, `GMT-00:01:15`. */
  #ask(utcMs: number): number {
    const text = this.#format.format(Math.max(-DATE_MAX_MS, Math.min(DATE_MAX_MS, utcMs)))
    const at = text.indexOf('GMT') + 3
    if (at === text.length) return 0
    const sign = text.charCodeAt(at) === 0x2b ? 1 : -1
    const hours = Number(text.slice(at + 1, at + 3))
    const minutes = Number(text.slice(at + 4, at + 6))
    const seconds = Number(text.slice(at + 7, at + 9))
    return sign * (hours * HOUR_MS + minutes * MINUTE_MS + seconds * 1_000)
  }
}

/** The start of the bucket that contains an instant. */
export function bucketStart(interval: FixedOrCalendar, zone: TimeZone, utcMs: number): number {
  if (lieInUtc(interval, zone)) return Math.floor(utcMs / interval.ms) * interval.ms
  return edgeOf(zone, readingAt(interval, zone, utcMs))
}

/** The start of the bucket after the one that contains `startMs`; strictly greater than `startMs`. */
export function nextBucketStart(interval: FixedOrCalendar, zone: TimeZone, startMs: number): number {
  if (lieInUtc(interval, zone)) return Math.floor(startMs / interval.ms) * interval.ms + interval.ms
  return edgeOf(zone, nextReading(interval, readingAt(interval, zone, startMs)))
}

/**
 * The edges of all buckets that touch [fromMs, toMs): the first is at or before `fromMs`, the last at or after `toMs`, each is
 * a start and the next one its end. An empty range has the one bucket of `fromMs`. Undefined when there are more than
 * `max` buckets.
 */
export function bucketEdges(
  interval: FixedOrCalendar,
  zone: TimeZone,
  fromMs: number,
  toMs: number,
  max: number,
): Float64Array | undefined {
  if (max < 1) return undefined
  if (lieInUtc(interval, zone)) {
    const first = Math.floor(fromMs / interval.ms)
    const count = Math.max(first + 1, Math.ceil(toMs / interval.ms)) - first
    if (count > max) return undefined
    const even = new Float64Array(count + 1)
    for (let i = 0; i <= count; i++) even[i] = (first + i) * interval.ms
    return even
  }
  let reading = readingAt(interval, zone, fromMs)
  let lastMs = edgeOf(zone, reading)
  const edges = [lastMs]
  while (lastMs < toMs || edges.length < 2) {
    reading = nextReading(interval, reading)
    const edgeMs = edgeOf(zone, reading)
    if (edgeMs === lastMs) continue
    if (edges.length > max) return undefined
    edges.push(edgeMs)
    lastMs = edgeMs
  }
  return Float64Array.from(edges)
}

/** The instant a length of time earlier, or so many calendar units earlier by the local clock. */
export function instantBefore(by: FixedOrCalendar, zone: TimeZone, utcMs: number): number {
  if (by.kind === 'fixed') return utcMs - by.ms
  const reading = addUnits(by, utcMs + zone.offsetMs(utcMs), -1)
  return edgeOf(zone, reading.ms)
}

/**
 * What a bucket is compared with: the stretch as long before it. Calendar units are those of the local clock: an hour is compared
 * with the hour of the same reading, a day with a day, however many hours either has. Undefined where the clock or the calendar
 * skipped it: the hour lost in spring, February 30.
 */
export function bucketBefore(
  interval: FixedOrCalendar,
  zone: TimeZone,
  by: FixedOrCalendar,
  startMs: number,
  endMs: number,
): { readonly fromMs: number; readonly toMs: number } | undefined {
  if (by.kind === 'fixed') return { fromMs: startMs - by.ms, toMs: endMs - by.ms }
  const isUtcGrid = lieInUtc(interval, zone)
  // The clock may never have shown the reading of a bucket that it skipped to.
  const reading = isUtcGrid ? startMs + zone.offsetMs(startMs) : readingAt(interval, zone, startMs)
  const before = addUnits(by, reading, -1)
  if (!before.exists) return undefined
  const fromMs = edgeOf(zone, before.ms)
  const toMs = edgeOf(zone, addUnits(interval, before.ms, 1).ms)
  if (toMs <= fromMs) return undefined
  // An hour that begins at half past, of which the clock skipped the beginning.
  if (isUtcGrid && fromMs + zone.offsetMs(fromMs) !== before.ms) return undefined
  return { fromMs, toMs: isUtcGrid ? fromMs + interval.ms : toMs }
}

/**
 * How far back the period lies that ends where [fromMs, toMs] begins and has as many buckets: whole intervals, whole local days where
 * it comes to that, so that buckets lie on buckets. Undefined beyond 100 years.
 */
export function periodBefore(
  interval: FixedOrCalendar,
  zone: TimeZone,
  fromMs: number,
  toMs: number,
): FixedOrCalendar | undefined {
  const fromReading = fromMs + zone.offsetMs(fromMs)
  const toReading = toMs + zone.offsetMs(toMs)
  // A week with a clock change in it is a week by the clock or by its hours, whichever the caller has counted.
  const lengths = [toMs - fromMs, toReading - fromReading]
  if (interval.kind === 'fixed') {
    const spans = lengths.map((ms) => Math.max(1, Math.ceil(ms / interval.ms)) * interval.ms)
    const days = spans.find((ms) => ms % DAY_MS === 0)
    return days === undefined ? fixedInterval(spans[0]!) : calendarInterval('day', days / DAY_MS)
  }
  const { unit, count } = interval
  if (unit === 'day' || unit === 'week') {
    const unitMs = count * (unit === 'day' ? 1 : 7) * DAY_MS
    const units = Math.max(1, Math.ceil(Math.min(...lengths) / unitMs))
    return calendarInterval(unit, units * count)
  }
  const months = Math.max(1, Math.ceil((monthOf(toReading) - monthOf(fromReading)) / (count * MONTHS[unit])))
  const by = calendarInterval(unit, months * count)
  if (by === undefined || addUnits(by, toReading, -1).ms <= fromReading) return by
  return calendarInterval(unit, (months + 1) * count)
}

/** Whether the buckets lie on multiples of the interval since the epoch. */
export function lieInUtc(
  interval: FixedOrCalendar,
  zone: TimeZone,
): interval is FixedOrCalendar & { readonly kind: 'fixed' } {
  if (interval.kind !== 'fixed') return false
  return zone === UTC_ZONE || interval.ms <= HOUR_MS || interval.ms >= DAY_MS || DAY_MS % interval.ms !== 0
}

/** No zone was ever further from UTC than 16 hours. */
const OFFSET_MAX_MS = DAY_MS

/** The first instant at which the local clock shows `localMs` or later. */
function edgeOf(zone: TimeZone, localMs: number): number {
  let fromMs = localMs - OFFSET_MAX_MS
  for (;;) {
    const edgeMs = Math.max(fromMs, localMs - zone.offsetMs(fromMs))
    const untilMs = zone.constantUntilMs(fromMs)
    if (edgeMs < untilMs) return edgeMs
    fromMs = untilMs
  }
}

/** The last grid reading whose edge is at or before an instant: that of the clock, or a later one before it was set back. */
function readingAt(interval: FixedOrCalendar, zone: TimeZone, utcMs: number): number {
  let reading = readingAtOrBefore(interval, utcMs + zone.offsetMs(utcMs))
  for (;;) {
    const next = nextReading(interval, reading)
    if (edgeOf(zone, next) > utcMs) return reading
    reading = next
  }
}

/** 1970-01-01 was a Thursday: the week of the epoch begins three days before it. */
const EPOCH_WEEKDAY = 3
const MONTHS = { month: 1, quarter: 3, year: 12 } as const

function readingAtOrBefore(interval: FixedOrCalendar, localMs: number): number {
  if (interval.kind === 'fixed') return Math.floor(localMs / interval.ms) * interval.ms
  const day = Math.floor(localMs / DAY_MS)
  switch (interval.unit) {
    case 'day':
      return Math.floor(day / interval.count) * interval.count * DAY_MS
    case 'week': {
      const days = interval.count * 7
      return (Math.floor((day + EPOCH_WEEKDAY) / days) * days - EPOCH_WEEKDAY) * DAY_MS
    }
    default: {
      const months = interval.count * MONTHS[interval.unit]
      return monthStart(Math.floor(monthOf(localMs) / months) * months)
    }
  }
}

function nextReading(interval: FixedOrCalendar, readingMs: number): number {
  if (interval.kind === 'fixed') return readingMs + interval.ms
  switch (interval.unit) {
    case 'day':
      return readingMs + interval.count * DAY_MS
    case 'week':
      return readingMs + interval.count * 7 * DAY_MS
    default:
      return monthStart(monthOf(readingMs) + interval.count * MONTHS[interval.unit])
  }
}

/** A reading so many times later. A day that the month does not have is the first of the next one, and does not exist. */
function addUnits(
  by: FixedOrCalendar,
  readingMs: number,
  times: number,
): { readonly ms: number; readonly exists: boolean } {
  if (by.kind === 'fixed') return { ms: readingMs + times * by.ms, exists: true }
  if (by.unit === 'day' || by.unit === 'week') {
    return { ms: readingMs + times * by.count * (by.unit === 'day' ? 1 : 7) * DAY_MS, exists: true }
  }
  const month = monthOf(readingMs)
  const later = month + times * by.count * MONTHS[by.unit]
  const ms = monthStart(later) + readingMs - monthStart(month)
  const endMs = monthStart(later + 1)
  return ms < endMs ? { ms, exists: true } : { ms: endMs, exists: false }
}

/** Months since January 1970. */
function monthOf(localMs: number): number {
  const date = new Date(localMs)
  return (date.getUTCFullYear() - 1970) * 12 + date.getUTCMonth()
}

function monthStart(month: number): number {
  const years = Math.floor(month / 12)
  return dayNumber(1970 + years, month - years * 12 + 1, 1) * DAY_MS
}
