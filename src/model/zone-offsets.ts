/**
 * Offsets of time zones, from the time zone database inside Intl. Intl is slow to ask (over a microsecond a call), so a zone asks it
 * once about each stretch of time and keeps the changes found. The stretches are finite: before the first change known to
 * the database the clock runs by local mean time, and after the last single decision each year repeats the rules of every year that
 * begins on the same weekday. So the work of a zone is bounded for ever, whatever ranges are asked about.
 */
import { DAY_MS, dayNumber, HOUR_MS, MINUTE_MS, parseUtcOffset } from './time.ts'

export interface TimeZone {
  readonly name: string
  /** Local clock minus UTC at an instant. */
  offsetMs(utcMs: number): number
  /** The offset is one and the same from `utcMs` up to, not including, this later instant. It need not change there. */
  constantUntilMs(utcMs: number): number
}

/** Tells the offset of a zone at an instant, slowly. */
export type OffsetSource = (utcMs: number) => number

export const UTC_ZONE: TimeZone = {
  name: 'UTC',
  offsetMs: () => 0,
  constantUntilMs: () => Number.POSITIVE_INFINITY,
}

/** The longest names of the database have 32 characters. */
const ZONE_NAME_MAX = 64
/** By name in lower case. Only names that Intl knows get in, about 600, each with at most 10 KB of changes. */
const zones = new Map<string, TimeZone>()

/** The zone of an IANA name in any case, `UTC`, or an offset such as `+02:00`. Undefined when Intl does not know it. */
export function timeZone(name: string): TimeZone | undefined {
  if (name === 'UTC') return UTC_ZONE
  if (name.length > ZONE_NAME_MAX) return undefined
  const offsetMs = parseUtcOffset(name)
  if (offsetMs !== undefined) return offsetMs === 0 ? UTC_ZONE : fixedZone(offsetMs)
  if (!/^[A-Za-z]/.test(name)) return undefined
  const key = name.toLowerCase()
  let zone = zones.get(key)
  if (zone === undefined) {
    zone = openZone(name)
    if (zone !== undefined) zones.set(key, zone)
  }
  return zone
}

function openZone(name: string): TimeZone | undefined {
  const resolved = formatOf(name)?.resolvedOptions().timeZone
  if (resolved === undefined) return undefined
  if (UTC_NAMES.has(resolved)) return UTC_ZONE
  // Intl answers some names with an older alias (Asia/Katmandu); the caller's name is kept then
  const spelt = resolved.toLowerCase() === name.toLowerCase() ? resolved : name
  return changingZone(spelt, intlOffsets(spelt))
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

/** A formatter takes tens of kilobytes. They are needed only while changes are searched for. */
const FORMATS_MAX = 16
const formats = new Map<string, Intl.DateTimeFormat>()

/** Undefined when Intl does not know the zone. */
function formatOf(name: string): Intl.DateTimeFormat | undefined {
  let format = formats.get(name)
  if (format === undefined) {
    try {
      format = new Intl.DateTimeFormat('en-US', { timeZone: name, year: 'numeric', timeZoneName: 'longOffset' })
    } catch {
      return undefined
    }
  } else formats.delete(name)
  // the least recently used one is the first
  if (formats.size >= FORMATS_MAX) formats.delete(formats.keys().next().value!)
  formats.set(name, format)
  return format
}

/** Reads what Intl prints after the year: `GMT`, `GMT+05:45`, or with seconds in times before standard time, `GMT-00:01:15`. */
export function intlOffsets(name: string): OffsetSource {
  return (utcMs) => {
    const text = formatOf(name)!.format(utcMs)
    const at = text.indexOf('GMT') + 3
    if (at === text.length) return 0
    const sign = text.charCodeAt(at) === 0x2b ? 1 : -1
    const hours = Number(text.slice(at + 1, at + 3))
    const minutes = Number(text.slice(at + 4, at + 6))
    const seconds = Number(text.slice(at + 7, at + 9))
    return sign * (hours * HOUR_MS + minutes * MINUTE_MS + seconds * 1_000)
  }
}

/** No zone of the database changes its clock before 1844. */
const FIRST_YEAR = 1840
const FIRST_MS = yearStart(FIRST_YEAR)
/** From here on each year repeats the rules. The last decisions about single years are those of Morocco, up to 2087. */
const REPEATING_YEAR = 2101
const REPEATING_MS = yearStart(REPEATING_YEAR)
/** Years of every kind (leap or not, beginning on each weekday) follow one another before a century leaves out its leap day. */
const KINDS_YEARS = 28
/** Offsets are found for so long a stretch at once and kept. */
const WINDOW_MS = 1_024 * DAY_MS
/** Between two samples with equal offsets the clock is taken to be unchanged: shorter interludes do not occur. */
const SAMPLE_MS = 4 * DAY_MS

/** The offsets of one window: `offsetsMs[i]` holds from `startsMs[i]` to the next start. */
interface OffsetWindow {
  readonly startsMs: readonly number[]
  readonly offsetsMs: readonly number[]
}

/** A zone whose offset at any instant is found by asking the source a bounded number of times, all in all. */
export function changingZone(name: string, source: OffsetSource): TimeZone {
  return new ChangingZone(name, source)
}

class ChangingZone implements TimeZone {
  readonly name: string
  readonly #source: OffsetSource
  readonly #windows = new Map<number, OffsetWindow>()
  /** The stretch of the last result, which mostly holds the next instant too. */
  #fromMs = 0
  #untilMs = 0
  #offsetMs = 0

  constructor(name: string, source: OffsetSource) {
    this.name = name
    this.#source = source
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
    if (utcMs >= REPEATING_MS) this.#seekRepeating(utcMs)
    else if (utcMs >= FIRST_MS) this.#seekKnown(utcMs)
    else {
      this.#seekKnown(FIRST_MS)
      this.#untilMs = this.#fromMs
      this.#fromMs = Number.NEGATIVE_INFINITY
    }
  }

  /** Takes the offset at the same place of the first repeating year of the same kind. */
  #seekRepeating(utcMs: number): void {
    const year = new Date(utcMs).getUTCFullYear()
    const startMs = yearStart(year)
    const shiftMs = startMs - KIND_START_MS[kindOf(year)]!
    this.#seekKnown(utcMs - shiftMs)
    this.#fromMs = Math.max(this.#fromMs + shiftMs, startMs)
    this.#untilMs = Math.min(this.#untilMs + shiftMs, yearStart(year + 1))
  }

  #seekKnown(utcMs: number): void {
    const index = Math.floor((utcMs - FIRST_MS) / WINDOW_MS)
    let window = this.#windows.get(index)
    if (window === undefined) this.#windows.set(index, (window = this.#discover(index)))
    const { startsMs, offsetsMs } = window
    let at = startsMs.length - 1
    while (at > 0 && startsMs[at]! > utcMs) at--
    this.#fromMs = startsMs[at]!
    this.#untilMs = startsMs[at + 1] ?? FIRST_MS + (index + 1) * WINDOW_MS
    this.#offsetMs = offsetsMs[at]!
  }

  #discover(index: number): OffsetWindow {
    let atMs = FIRST_MS + index * WINDOW_MS
    const endMs = atMs + WINDOW_MS
    let offsetMs = this.#source(atMs)
    const startsMs = [atMs]
    const offsetsMs = [offsetMs]
    while (atMs < endMs) {
      const sampleMs = atMs + SAMPLE_MS
      const sampleOffsetMs = this.#source(sampleMs)
      while (offsetMs !== sampleOffsetMs) {
        atMs = this.#firstChange(atMs, offsetMs, sampleMs)
        offsetMs = this.#source(atMs)
        // a change at the very end belongs to the next window
        if (atMs < endMs) {
          startsMs.push(atMs)
          offsetsMs.push(offsetMs)
        }
      }
      atMs = sampleMs
    }
    return { startsMs, offsetsMs }
  }

  /** Bisects to the second (changes happen on whole seconds): the offset is `offsetMs` at `lowMs` and another at `highMs`. */
  #firstChange(lowMs: number, offsetMs: number, highMs: number): number {
    let low = lowMs / 1_000
    let high = highMs / 1_000
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2)
      if (this.#source(middle * 1_000) === offsetMs) low = middle
      else high = middle
    }
    return high * 1_000
  }
}

function yearStart(year: number): number {
  return dayNumber(year, 1, 1) * DAY_MS
}

/** Starts of the repeating years, one of each kind. */
const KIND_START_MS = new Float64Array(14)
for (let year = REPEATING_YEAR; year < REPEATING_YEAR + KINDS_YEARS; year++)
  KIND_START_MS[kindOf(year)] = yearStart(year)

/** A number for the weekday that a year begins with and for its length. */
function kindOf(year: number): number {
  const start = dayNumber(year, 1, 1)
  return (start % 7) * 2 + (dayNumber(year + 1, 1, 1) - start - 365)
}

/** No zone was ever further from UTC than 16 hours. */
const OFFSET_MAX_MS = DAY_MS

/** The first instant at which the local clock shows `localMs` or later. */
export function firstShown(zone: TimeZone, localMs: number): number {
  let fromMs = localMs - OFFSET_MAX_MS
  for (;;) {
    const edgeMs = Math.max(fromMs, localMs - zone.offsetMs(fromMs))
    const untilMs = zone.constantUntilMs(fromMs)
    if (edgeMs < untilMs) return edgeMs
    fromMs = untilMs
  }
}

/**
 * The instant that a person means by a local clock reading, by the rule that calendars and Temporal call "compatible": of a reading that
 * occurs twice the first, and of one that the clock skipped the instant it would have been without the change.
 */
export function instantOfReading(zone: TimeZone, localMs: number): number {
  const shownMs = firstShown(zone, localMs)
  if (shownMs + zone.offsetMs(shownMs) === localMs) return shownMs
  return localMs - zone.offsetMs(shownMs - 1)
}
