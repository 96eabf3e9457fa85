/**
 * Returns offsets of time zones from UTC. They come from the time zone database inside Intl. A call of Intl takes more
 * than a microsecond, so the clock changes of a zone are searched once for each period of 1,020 days, and cached.
 *
 * Periods are searched only for instants of the years 1840 to 2128. Before 1840 no zone changes its clock. From 2101
 * on, the clock changes depend only on the length of the year and its first weekday, so a year after 2128 is looked up
 * as one of the years 2101 to 2128. So filling the cache of a zone takes a limited number of calls of Intl.
 */
import { LRUCache } from 'lru-cache'
import { Pacer } from './pacer.ts'
import { DAY_MS, daysSinceEpoch, HOUR_MS, MINUTE_MS, SECOND_MS } from './time.ts'
import { parseUtcOffset } from './utc-offset.ts'

export interface TimeZone {
  readonly name: string
  /**
   * Returns local clock minus UTC at an instant. In a named zone, the first call for an instant of a period searches
   * and caches all clock changes of the period, which is almost three years. Use it if more instants of these years
   * follow.
   */
  offsetMs(utcMs: number): number
  /**
   * Returns an instant after `utcMs`; infinity for UTC and for zones given as an offset. From `utcMs` until this
   * instant, the offset does not change. It may also be the same afterwards.
   */
  offsetConstantUntilMs(utcMs: number): number
  /** Returns the same as `offsetMs`, but caches nothing and calls Intl at most once. Use it for single instants. */
  lookUpOffsetMs(utcMs: number): number
}

/** Returns the offset of a zone at an instant. A call takes more than a microsecond, because Intl formats a date. */
type OffsetSource = (utcMs: number) => number

export const UTC_ZONE = fixedZone('UTC', 0)

/** Maximum length of a zone name. The longest in the database has 32 characters. */
const ZONE_NAME_CHARS_MAX = 64
/**
 * Cached zones by name in lower case. Intl knows about 600 names, which bounds the cache. A zone takes up to 40 KB for
 * its formatter and its clock changes.
 */
const cachedZones = new Map<string, TimeZone>()

/**
 * Returns the zone of an IANA name (`Europe/Berlin`, in any case), of `UTC`, or of an offset such as `+02:00`.
 * Undefined for unknown names, and for names that {@link mayBeZoneName} does not let Intl look up.
 */
export function timeZone(name: string): TimeZone | undefined {
  if (name === 'UTC') return UTC_ZONE
  if (name.length > ZONE_NAME_CHARS_MAX) return undefined
  const offsetMs = parseUtcOffset(name)
  if (offsetMs !== undefined) return offsetMs === 0 ? UTC_ZONE : fixedZone(offsetName(offsetMs), offsetMs)
  if (!/^[A-Za-z]/.test(name)) return undefined
  const key = name.toLowerCase()
  let zone = cachedZones.get(key)
  if (zone === undefined && mayBeZoneName(key)) {
    zone = createZone(name)
    if (zone === undefined) cacheUnknownName(key)
    else cachedZones.set(key, zone)
  }
  // Only the canonical name has a known case. An alias (US/Eastern) keeps the case that this caller wrote, although
  // other callers use the same cached zone.
  if (zone === undefined || zone === UTC_ZONE || zone.name.toLowerCase() === key) return zone
  return withName(zone, name)
}

function withName(zone: TimeZone, name: string): TimeZone {
  return {
    name,
    offsetMs: (utcMs) => zone.offsetMs(utcMs),
    offsetConstantUntilMs: (utcMs) => zone.offsetConstantUntilMs(utcMs),
    lookUpOffsetMs: (utcMs) => zone.lookUpOffsetMs(utcMs),
  }
}

/**
 * Maximum number of unknown names that are cached, and that are looked up in one iteration of the event loop. Intl
 * takes about 40 µs to refuse a name, and each item of a request may have a different one. After this many, only
 * cached zones and the names that `Intl.supportedValuesOf` lists are accepted until the iteration ends.
 */
const UNKNOWN_NAMES_MAX = 1_000
const unknownNames = new LRUCache<string, true>({ max: UNKNOWN_NAMES_MAX })
let unknownNameLookupCount = 0
let canonicalNames: ReadonlySet<string> | undefined

/** Whether Intl is asked for a zone that is not cached. `key` is its name in lower case. */
function mayBeZoneName(key: string): boolean {
  if (unknownNames.has(key)) return false
  if (unknownNameLookupCount < UNKNOWN_NAMES_MAX) return true
  canonicalNames ??= new Set(Intl.supportedValuesOf('timeZone').map((name) => name.toLowerCase()))
  return canonicalNames.has(key)
}

function cacheUnknownName(key: string): void {
  unknownNames.set(key, true)
  if (unknownNameLookupCount === 0) {
    setImmediate(() => {
      unknownNameLookupCount = 0
    })
  }
  unknownNameLookupCount++
}

/** Creates the zone of a name, with the name that Intl resolves it to: Asia/Katmandu for Asia/Kathmandu. */
function createZone(name: string): TimeZone | undefined {
  const format = offsetFormatter(name)
  if (format === undefined) return undefined
  const resolved = format.resolvedOptions().timeZone
  if (UTC_NAMES.has(resolved)) return UTC_ZONE
  return new ZoneWithOffsetChanges(resolved, intlOffsetSource(format))
}

const UTC_NAMES: ReadonlySet<string> = new Set(['UTC', 'Etc/UTC', 'GMT', 'Etc/GMT', 'Etc/UCT', 'UCT'])

function fixedZone(name: string, offsetMs: number): TimeZone {
  return {
    name,
    offsetMs: () => offsetMs,
    offsetConstantUntilMs: () => Number.POSITIVE_INFINITY,
    lookUpOffsetMs: () => offsetMs,
  }
}

function offsetName(offsetMs: number): string {
  const minutes = Math.abs(offsetMs) / MINUTE_MS
  const clock = [Math.floor(minutes / 60), minutes % 60].map((part) => String(part).padStart(2, '0')).join(':')
  return `${offsetMs < 0 ? '-' : '+'}${clock}`
}

/** Returns a formatter that prints the offset of a zone; undefined if Intl does not know the zone. */
function offsetFormatter(name: string): Intl.DateTimeFormat | undefined {
  try {
    return new Intl.DateTimeFormat('en-US', { timeZone: name, year: 'numeric', timeZoneName: 'longOffset' })
  } catch {
    return undefined
  }
}

/**
 * Returns a function that reads the offset that Intl prints after the year: `GMT`, `GMT+05:45`, or with seconds for
 * local mean time, `GMT-00:01:15`.
 */
function intlOffsetSource(format: Intl.DateTimeFormat): OffsetSource {
  return (utcMs) => {
    const printed = format.format(utcMs)
    const signIndex = printed.indexOf('GMT') + 3
    if (signIndex === printed.length) return 0
    const sign = printed.charCodeAt(signIndex) === 0x2b ? 1 : -1
    const hours = Number(printed.slice(signIndex + 1, signIndex + 3))
    const minutes = Number(printed.slice(signIndex + 4, signIndex + 6))
    const seconds = Number(printed.slice(signIndex + 7, signIndex + 9))
    return sign * (hours * HOUR_MS + minutes * MINUTE_MS + seconds * SECOND_MS)
  }
}

/** The first year that is searched for clock changes. No zone of the database changes its clock before 1844. */
const FIRST_SEARCHED_YEAR = 1840
const FIRST_SEARCHED_MS = yearStartMs(FIRST_SEARCHED_YEAR)
/**
 * From this year on, clock changes depend only on the length of the year and its first weekday. The last rules of the
 * database that name a single year are those of Morocco, up to 2087.
 */
const FIRST_REPEATING_YEAR = 2101
const FIRST_REPEATING_MS = yearStartMs(FIRST_REPEATING_YEAR)
/**
 * In the 28 years from `FIRST_REPEATING_YEAR` on, each of the 14 kinds of year occurs: with 365 or 366 days, beginning
 * on each of the seven weekdays.
 */
const CALENDAR_CYCLE_YEARS = 28
/**
 * Distance between two samples of the offset. If both are equal, the offset is taken as constant between them. The
 * shortest time in the database after which a clock returned to its earlier offset is 7 days (Gaza 2040, Recife 2000).
 */
const SAMPLE_INTERVAL_MS = 6 * DAY_MS
/** Length of a period. All clock changes of a period are searched at once and cached. */
const PERIOD_MS = 170 * SAMPLE_INTERVAL_MS
/**
 * Nearly all clock changes are on a quarter hour of UTC. The other clock changes, such as those of local mean time, are
 * on a second.
 */
const QUARTER_HOUR_MS = 15 * MINUTE_MS

/**
 * The offsets of a zone in one period: `offsetsMs[i]` is valid from `startsMs[i]` to `startsMs[i + 1]`, the last offset
 * to the end of the period.
 */
interface PeriodOffsets {
  readonly startsMs: readonly number[]
  readonly offsetsMs: readonly number[]
}

/**
 * A named zone, which may have clock changes. `lookUpOffsetMs` calls `source` each time. The calls of the other methods
 * together call `source` a limited number of times, whatever instants are asked for.
 */
export class ZoneWithOffsetChanges implements TimeZone {
  readonly name: string
  readonly #source: OffsetSource
  readonly #offsetsByPeriod = new Map<number, PeriodOffsets>()
  /**
   * The offset that was found last, `#cachedOffsetMs`, is valid from `#cachedFromMs` to `#cachedUntilMs`. The instant
   * of the next call is mostly in this range too. At first the range is empty.
   */
  #cachedFromMs = 0
  #cachedUntilMs = 0
  #cachedOffsetMs = 0

  constructor(name: string, source: OffsetSource) {
    this.name = name
    this.#source = source
  }

  offsetMs(utcMs: number): number {
    if (!(utcMs >= this.#cachedFromMs && utcMs < this.#cachedUntilMs)) this.#cacheOffsetAt(utcMs)
    return this.#cachedOffsetMs
  }

  offsetConstantUntilMs(utcMs: number): number {
    if (!(utcMs >= this.#cachedFromMs && utcMs < this.#cachedUntilMs)) this.#cacheOffsetAt(utcMs)
    return this.#cachedUntilMs
  }

  lookUpOffsetMs(utcMs: number): number {
    return this.#source(utcMs)
  }

  #cacheOffsetAt(utcMs: number): void {
    if (utcMs >= FIRST_REPEATING_MS) this.#cacheOffsetOfRepeatingYear(utcMs)
    else if (utcMs >= FIRST_SEARCHED_MS) this.#cacheSearchedOffset(utcMs)
    else {
      this.#cacheSearchedOffset(FIRST_SEARCHED_MS)
      this.#cachedUntilMs = this.#cachedFromMs
      this.#cachedFromMs = Number.NEGATIVE_INFINITY
    }
  }

  /** Caches the offset at the same time of the last year up to 2128 that has the same length and first weekday. */
  #cacheOffsetOfRepeatingYear(utcMs: number): void {
    const year = new Date(utcMs).getUTCFullYear()
    const startMs = yearStartMs(year)
    const shiftMs = startMs - YEAR_START_MS_BY_KIND[yearKind(year)]!
    this.#cacheSearchedOffset(utcMs - shiftMs)
    this.#cachedFromMs = Math.max(this.#cachedFromMs + shiftMs, startMs)
    this.#cachedUntilMs = Math.min(this.#cachedUntilMs + shiftMs, yearStartMs(year + 1))
  }

  #cacheSearchedOffset(utcMs: number): void {
    const periodIndex = Math.floor((utcMs - FIRST_SEARCHED_MS) / PERIOD_MS)
    let offsets = this.#offsetsByPeriod.get(periodIndex)
    if (offsets === undefined)
      this.#offsetsByPeriod.set(periodIndex, (offsets = this.#findOffsetsOfPeriod(periodIndex)))
    const { startsMs, offsetsMs } = offsets
    let changeIndex = startsMs.length - 1
    while (changeIndex > 0 && startsMs[changeIndex]! > utcMs) changeIndex--
    this.#cachedFromMs = startsMs[changeIndex]!
    this.#cachedUntilMs = startsMs[changeIndex + 1] ?? FIRST_SEARCHED_MS + (periodIndex + 1) * PERIOD_MS
    this.#cachedOffsetMs = offsetsMs[changeIndex]!
  }

  #findOffsetsOfPeriod(periodIndex: number): PeriodOffsets {
    let atMs = FIRST_SEARCHED_MS + periodIndex * PERIOD_MS
    const endMs = atMs + PERIOD_MS
    let offsetMs = this.#source(atMs)
    const startsMs = [atMs]
    const offsetsMs = [offsetMs]
    while (atMs < endMs) {
      const sampleMs = atMs + SAMPLE_INTERVAL_MS
      const sampleOffsetMs = this.#source(sampleMs)
      while (offsetMs !== sampleOffsetMs) {
        atMs = this.#firstChange(atMs, offsetMs, sampleMs)
        offsetMs = this.#source(atMs)
        // A clock change exactly at the end of the period belongs to the next one, which begins with the new offset.
        if (atMs < endMs) {
          startsMs.push(atMs)
          offsetsMs.push(offsetMs)
        }
      }
      atMs = sampleMs
    }
    return { startsMs, offsetsMs }
  }

  /**
   * Returns the first instant after `lowMs` at which the offset is not `offsetMs`. The offset must be `offsetMs` at
   * `lowMs`, and another one at `highMs`.
   */
  #firstChange(lowMs: number, offsetMs: number, highMs: number): number {
    const [low, high] = this.#bisect(lowMs, offsetMs, highMs, QUARTER_HOUR_MS)
    const secondBefore = high - SECOND_MS
    if (this.#source(secondBefore) === offsetMs) return high
    return this.#bisect(low, offsetMs, secondBefore, SECOND_MS)[1]
  }

  /**
   * Bisects until the two bounds are at most `stepMs` apart. At the returned low bound the offset is `offsetMs`, at the
   * high bound it is another one.
   */
  #bisect(lowMs: number, offsetMs: number, highMs: number, stepMs: number): readonly [lowMs: number, highMs: number] {
    let low = lowMs
    let high = highMs
    while (high - low > stepMs) {
      const middle = high - stepMs * Math.ceil((high - low) / (2 * stepMs))
      if (this.#source(middle) === offsetMs) low = middle
      else high = middle
    }
    return [low, high]
  }
}

function yearStartMs(year: number): number {
  return daysSinceEpoch(year, 1, 1) * DAY_MS
}

/** At index `yearKind(year)`: the start of the last year of this kind in the cycle from `FIRST_REPEATING_YEAR` on. */
const YEAR_START_MS_BY_KIND = new Float64Array(14)
for (let year = FIRST_REPEATING_YEAR; year < FIRST_REPEATING_YEAR + CALENDAR_CYCLE_YEARS; year++)
  YEAR_START_MS_BY_KIND[yearKind(year)] = yearStartMs(year)

/** Returns 0 to 13. Years with the same number begin on the same weekday and have the same length. */
function yearKind(year: number): number {
  const startDay = daysSinceEpoch(year, 1, 1)
  return (startDay % 7) * 2 + (daysSinceEpoch(year + 1, 1, 1) - startDay - 365)
}

/**
 * Searches and caches the clock changes of a range of time, so that later calls of `offsetMs` for instants of the range
 * do not call Intl. It works in short steps: all years together take about 20,000 calls of Intl, which would block the
 * event loop for too long. Years before 1840 and after 2128 are skipped: their offsets are looked up in the years
 * between, which may call Intl if the range does not contain these years.
 */
export async function loadOffsetChanges(zone: TimeZone, fromMs: number, toMs: number): Promise<void> {
  const pacer = new Pacer()
  const endMs = Math.min(toMs, yearStartMs(FIRST_REPEATING_YEAR + CALENDAR_CYCLE_YEARS))
  for (let atMs = Math.max(fromMs, FIRST_SEARCHED_MS); atMs < endMs; atMs = zone.offsetConstantUntilMs(atMs))
    await pacer.pause()
}

/** Upper bound of all offsets, in both directions. Named zones stay within 16 hours, parsed offsets below 24 hours. */
const OFFSET_MAX_MS = DAY_MS

/**
 * Returns the first instant at which the local clock shows `localMs` or a later time. Here and below, a local clock
 * reading such as 10:30 is written as the milliseconds of 10:30 UTC.
 */
export function firstInstantShowing(zone: TimeZone, localMs: number): number {
  let fromMs = localMs - OFFSET_MAX_MS
  for (;;) {
    const edgeMs = Math.max(fromMs, localMs - zone.offsetMs(fromMs))
    const untilMs = zone.offsetConstantUntilMs(fromMs)
    if (edgeMs < untilMs) return edgeMs
    fromMs = untilMs
  }
}

/**
 * Returns the instant of a local clock reading, by the rule that Temporal calls "compatible". If the clock showed the
 * reading twice, returns the first instant. If the clock skipped the reading, returns the instant that it would have
 * had if the clock had not been changed.
 */
export function instantOfReading(zone: TimeZone, localMs: number): number {
  const shownMs = firstInstantShowing(zone, localMs)
  if (shownMs + zone.offsetMs(shownMs) === localMs) return shownMs
  return localMs - zone.offsetMs(shownMs - 1)
}

/**
 * Returns the same as {@link instantOfReading}, with at most four calls of Intl and without the cache. It is for
 * timestamps of points: each may name another zone and year, and filling the cache takes hundreds of calls. The result
 * is right because no zone changes its clock twice within two days.
 */
export function lookUpInstantOfReading(zone: TimeZone, localMs: number): number {
  const offsetBeforeMs = zone.lookUpOffsetMs(localMs - OFFSET_MAX_MS)
  const offsetAfterMs = zone.lookUpOffsetMs(localMs + OFFSET_MAX_MS)
  const earlierMs = localMs - offsetBeforeMs
  if (offsetBeforeMs === offsetAfterMs || zone.lookUpOffsetMs(earlierMs) === offsetBeforeMs) return earlierMs
  const laterMs = localMs - offsetAfterMs
  return zone.lookUpOffsetMs(laterMs) === offsetAfterMs ? laterMs : earlierMs
}
