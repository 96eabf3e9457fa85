/**
 * Offsets of time zones from UTC, read from the time zone database inside Intl. One call of Intl takes over a
 * microsecond, so a zone searches each window of time once and keeps the clock changes that it finds. The number of
 * windows is bounded: before the first change in the database a zone has its local mean time, and after the last rule
 * for a single year each year repeats an earlier year of the same length and first weekday. So the work of a zone is
 * bounded for any number of queries.
 */
import { LRUCache } from 'lru-cache'
import { Pacer } from './pacer.ts'
import { DAY_MS, dayNumber, HOUR_MS, MINUTE_MS, SECOND_MS } from './time.ts'
import { parseUtcOffset } from './utc-offset.ts'

export interface TimeZone {
  readonly name: string
  /**
   * Local clock minus UTC at an instant. Searches a window of a few years around the instant and keeps its changes. For
   * ranges of time.
   */
  offsetMs(utcMs: number): number
  /** An instant after `utcMs`, up to which the offset stays the same (exclusive). The offset need not change there. */
  constantUntilMs(utcMs: number): number
  /** Returns the offset like `offsetMs`, by a single lookup that is not cached. For one instant. */
  lookUpOffsetMs(utcMs: number): number
}

/** Returns the offset of a zone at an instant from Intl. Slow. */
type OffsetSource = (utcMs: number) => number

export const UTC_ZONE = fixedZone('UTC', 0)

/** Maximum length of a zone name. The longest in the database has 32 characters. */
const ZONE_NAME_MAX = 64
/**
 * Zones by name in lower case. Bounded by the 600 names that Intl knows; a zone takes up to 40 KB for its formatter and
 * its changes.
 */
const zones = new Map<string, TimeZone>()

/** The zone of an IANA name in any case, of `UTC`, or of an offset such as `+02:00`. Undefined for unknown names. */
export function timeZone(name: string): TimeZone | undefined {
  if (name === 'UTC') return UTC_ZONE
  if (name.length > ZONE_NAME_MAX) return undefined
  const offsetMs = parseUtcOffset(name)
  if (offsetMs !== undefined) return offsetMs === 0 ? UTC_ZONE : fixedZone(offsetName(offsetMs), offsetMs)
  if (!/^[A-Za-z]/.test(name)) return undefined
  const key = name.toLowerCase()
  let zone = zones.get(key)
  if (zone === undefined && mayBeZoneName(key)) {
    zone = createZone(name)
    if (zone === undefined) cacheUnknownName(key)
    else zones.set(key, zone)
  }
  return zone
}

/**
 * Maximum number of cached unknown names, and of new ones looked up in one iteration of the event loop. Intl takes
 * about 40 µs to refuse a name, and each item of a body may have a different one. Above the maximum, only canonical
 * names and zones in use are found.
 */
const UNKNOWN_NAMES_MAX = 1_000
const unknownNames = new LRUCache<string, true>({ max: UNKNOWN_NAMES_MAX })
let unknownNameLookups = 0
let canonicalNames: ReadonlySet<string> | undefined

function mayBeZoneName(key: string): boolean {
  if (unknownNames.has(key)) return false
  if (unknownNameLookups < UNKNOWN_NAMES_MAX) return true
  canonicalNames ??= new Set(Intl.supportedValuesOf('timeZone').map((name) => name.toLowerCase()))
  return canonicalNames.has(key)
}

function cacheUnknownName(key: string): void {
  unknownNames.set(key, true)
  if (unknownNameLookups === 0) {
    setImmediate(() => {
      unknownNameLookups = 0
    })
  }
  unknownNameLookups++
}

function createZone(name: string): TimeZone | undefined {
  const format = offsetFormatter(name)
  if (format === undefined) return undefined
  const resolved = format.resolvedOptions().timeZone
  if (UTC_NAMES.has(resolved)) return UTC_ZONE
  // For some names Intl returns an older alias (Asia/Katmandu). Then the name of the caller is used.
  const zoneName = resolved.toLowerCase() === name.toLowerCase() ? resolved : name
  return new ChangingZone(zoneName, intlOffsets(format))
}

const UTC_NAMES: ReadonlySet<string> = new Set(['UTC', 'Etc/UTC', 'GMT', 'Etc/GMT', 'Etc/UCT', 'UCT'])

function fixedZone(name: string, offsetMs: number): TimeZone {
  return {
    name,
    offsetMs: () => offsetMs,
    constantUntilMs: () => Number.POSITIVE_INFINITY,
    lookUpOffsetMs: () => offsetMs,
  }
}

function offsetName(offsetMs: number): string {
  const minutes = Math.abs(offsetMs) / MINUTE_MS
  const clock = [Math.floor(minutes / 60), minutes % 60].map((part) => String(part).padStart(2, '0')).join(':')
  return `${offsetMs < 0 ? '-' : '+'}${clock}`
}

/** A formatter that prints the offset of a zone; undefined if Intl does not know the zone. */
function offsetFormatter(name: string): Intl.DateTimeFormat | undefined {
  try {
    return new Intl.DateTimeFormat('en-US', { timeZone: name, year: 'numeric', timeZoneName: 'longOffset' })
  } catch {
    return undefined
  }
}

/**
 * Reads the offset that Intl prints after the year: `GMT`, `GMT+05:45`, or with seconds for local mean time,
 * `GMT-00:01:15`.
 */
function intlOffsets(format: Intl.DateTimeFormat): OffsetSource {
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

/** No zone of the database changes its clock before 1844. */
const FIRST_YEAR = 1840
const FIRST_MS = yearStart(FIRST_YEAR)
/**
 * From this year on each year repeats an earlier one. The last rules for single years are those of Morocco, up to 2087.
 */
const REPEATING_YEAR = 2101
const REPEATING_MS = yearStart(REPEATING_YEAR)
/** Each kind of year (leap or not, by first weekday) occurs within this many years from `REPEATING_YEAR` on. */
const CALENDAR_CYCLE_YEARS = 28
/**
 * Distance between two samples of the offset. If both are equal, the offset is taken as constant between them. The
 * shortest time in the database after which a clock returned to its earlier offset is 7 days (Gaza 2040, Recife 2000).
 */
const SAMPLE_MS = 6 * DAY_MS
/** Width of a window: its changes are searched together and kept. */
const PERIOD_MS = 170 * SAMPLE_MS
/** Nearly all clock changes are on quarter hours; changes from local mean time are on seconds. */
const QUARTER_HOUR_MS = 15 * MINUTE_MS

/** The offsets of one window: `offsetsMs[i]` is valid from `startsMs[i]` to `startsMs[i + 1]`. */
interface PeriodOffsets {
  readonly startsMs: readonly number[]
  readonly offsetsMs: readonly number[]
}

/**
 * A zone with clock changes. Calls `source` a bounded number of times for any number of instants, except for
 * `lookUpOffsetMs`.
 */
export class ChangingZone implements TimeZone {
  readonly name: string
  readonly #source: OffsetSource
  readonly #offsetsByPeriod = new Map<number, PeriodOffsets>()
  /**
   * The offset of the last result, and the stretch of time in which it is valid. The next instant is mostly in the same
   * stretch.
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

  constantUntilMs(utcMs: number): number {
    if (!(utcMs >= this.#cachedFromMs && utcMs < this.#cachedUntilMs)) this.#cacheOffsetAt(utcMs)
    return this.#cachedUntilMs
  }

  lookUpOffsetMs(utcMs: number): number {
    return this.#source(utcMs)
  }

  #cacheOffsetAt(utcMs: number): void {
    if (utcMs >= REPEATING_MS) this.#cacheOffsetOfRepeatingYear(utcMs)
    else if (utcMs >= FIRST_MS) this.#cacheSearchedOffset(utcMs)
    else {
      this.#cacheSearchedOffset(FIRST_MS)
      this.#cachedUntilMs = this.#cachedFromMs
      this.#cachedFromMs = Number.NEGATIVE_INFINITY
    }
  }

  /** Takes the offset of the same moment in a repeating year of the same kind. */
  #cacheOffsetOfRepeatingYear(utcMs: number): void {
    const year = new Date(utcMs).getUTCFullYear()
    const startMs = yearStart(year)
    const shiftMs = startMs - REPEATING_YEAR_START_MS[yearKind(year)]!
    this.#cacheSearchedOffset(utcMs - shiftMs)
    this.#cachedFromMs = Math.max(this.#cachedFromMs + shiftMs, startMs)
    this.#cachedUntilMs = Math.min(this.#cachedUntilMs + shiftMs, yearStart(year + 1))
  }

  #cacheSearchedOffset(utcMs: number): void {
    const index = Math.floor((utcMs - FIRST_MS) / PERIOD_MS)
    let offsets = this.#offsetsByPeriod.get(index)
    if (offsets === undefined) this.#offsetsByPeriod.set(index, (offsets = this.#findChanges(index)))
    const { startsMs, offsetsMs } = offsets
    let changeIndex = startsMs.length - 1
    while (changeIndex > 0 && startsMs[changeIndex]! > utcMs) changeIndex--
    this.#cachedFromMs = startsMs[changeIndex]!
    this.#cachedUntilMs = startsMs[changeIndex + 1] ?? FIRST_MS + (index + 1) * PERIOD_MS
    this.#cachedOffsetMs = offsetsMs[changeIndex]!
  }

  #findChanges(index: number): PeriodOffsets {
    let atMs = FIRST_MS + index * PERIOD_MS
    const endMs = atMs + PERIOD_MS
    let offsetMs = this.#source(atMs)
    const startsMs = [atMs]
    const offsetsMs = [offsetMs]
    while (atMs < endMs) {
      const sampleMs = atMs + SAMPLE_MS
      const sampleOffsetMs = this.#source(sampleMs)
      while (offsetMs !== sampleOffsetMs) {
        atMs = this.#firstChange(atMs, offsetMs, sampleMs)
        offsetMs = this.#source(atMs)
        // A change at the end of this window belongs to the next one.
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
   * The first instant after `lowMs` whose offset differs from `offsetMs`. At `highMs` the offset must differ already.
   */
  #firstChange(lowMs: number, offsetMs: number, highMs: number): number {
    const [low, high] = this.#bisect(lowMs, offsetMs, highMs, QUARTER_HOUR_MS)
    const secondBefore = high - SECOND_MS
    if (this.#source(secondBefore) === offsetMs) return high
    return this.#bisect(low, offsetMs, secondBefore, SECOND_MS)[1]
  }

  /**
   * Narrows the two bounds until they are at most `stepMs` apart. At `low` the offset is `offsetMs`, at `high` it
   * differs.
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

function yearStart(year: number): number {
  return dayNumber(year, 1, 1) * DAY_MS
}

/** The start of a repeating year of each kind. */
const REPEATING_YEAR_START_MS = new Float64Array(14)
for (let year = REPEATING_YEAR; year < REPEATING_YEAR + CALENDAR_CYCLE_YEARS; year++)
  REPEATING_YEAR_START_MS[yearKind(year)] = yearStart(year)

/** The kind of a year, 0 to 13: years of one kind begin on the same weekday and have the same length. */
function yearKind(year: number): number {
  const start = dayNumber(year, 1, 1)
  return (start % 7) * 2 + (dayNumber(year + 1, 1, 1) - start - 365)
}

/**
 * Searches the clock changes of a range in short steps, so that later calls for the range need no lookups. All of
 * history takes 20,000 lookups, which in one step would block the event loop for too long.
 */
export async function loadChanges(zone: TimeZone, fromMs: number, toMs: number): Promise<void> {
  const pacer = new Pacer()
  const endMs = Math.min(toMs, yearStart(REPEATING_YEAR + CALENDAR_CYCLE_YEARS))
  for (let atMs = Math.max(fromMs, FIRST_MS); atMs < endMs; atMs = zone.constantUntilMs(atMs)) await pacer.pause()
}

/** Upper bound of all offsets: no zone was ever further from UTC than 16 hours. */
const OFFSET_MAX_MS = DAY_MS

/** The first instant at which the local clock shows `localMs` or a later reading. */
export function firstInstantShowing(zone: TimeZone, localMs: number): number {
  let fromMs = localMs - OFFSET_MAX_MS
  for (;;) {
    const edgeMs = Math.max(fromMs, localMs - zone.offsetMs(fromMs))
    const untilMs = zone.constantUntilMs(fromMs)
    if (edgeMs < untilMs) return edgeMs
    fromMs = untilMs
  }
}

/**
 * The instant of a local clock reading, by the rule that Temporal calls "compatible". If a reading occurs twice,
 * returns the first instant. If the clock skipped a reading, returns the instant that the reading would have without
 * the change.
 */
export function instantOfReading(zone: TimeZone, localMs: number): number {
  const shownMs = firstInstantShowing(zone, localMs)
  if (shownMs + zone.offsetMs(shownMs) === localMs) return shownMs
  return localMs - zone.offsetMs(shownMs - 1)
}

/**
 * Like {@link instantOfReading}, with at most four uncached lookups. For points, which may name any zone and year: a
 * search for changes costs hundreds of lookups. Requires that no zone changes its clock twice within two days.
 */
export function lookUpInstantOfReading(zone: TimeZone, localMs: number): number {
  const offsetBeforeMs = zone.lookUpOffsetMs(localMs - OFFSET_MAX_MS)
  const offsetAfterMs = zone.lookUpOffsetMs(localMs + OFFSET_MAX_MS)
  const earlierMs = localMs - offsetBeforeMs
  if (offsetBeforeMs === offsetAfterMs || zone.lookUpOffsetMs(earlierMs) === offsetBeforeMs) return earlierMs
  const laterMs = localMs - offsetAfterMs
  return zone.lookUpOffsetMs(laterMs) === offsetAfterMs ? laterMs : earlierMs
}
