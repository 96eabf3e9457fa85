/**
 * Offsets of time zones, from the time zone database inside Intl. A call of Intl takes over a microsecond, so a zone
 * looks up each stretch of time once and keeps the changes found. The number of stretches is bounded: before the first
 * change in the database the clock shows local mean time, and after the last single rule each year repeats an earlier
 * year of the same length and first weekday. So the work of a zone is bounded for any number of queries.
 */
import { LRUCache } from 'lru-cache'
import { Pacer } from './pacer.ts'
import { DAY_MS, dayNumber, HOUR_MS, MINUTE_MS, SECOND_MS } from './time.ts'
import { parseUtcOffset } from './utc-offset.ts'

export interface TimeZone {
  readonly name: string
  /** Local clock minus UTC at an instant. Finds and keeps all changes of a few years around it: for ranges of time. */
  offsetMs(utcMs: number): number
  /** The offset stays the same from `utcMs` up to, not including, this later instant. It need not change there. */
  constantUntilMs(utcMs: number): number
  /** The same offset by a single lookup that keeps nothing: for one instant. */
  lookUpOffsetMs(utcMs: number): number
}

/** Looks up the offset of a zone at an instant. Slow. */
type OffsetSource = (utcMs: number) => number

export const UTC_ZONE = fixedZone('UTC', 0)

/** The longest names of the database have 32 characters. */
const ZONE_NAME_MAX = 64
/** By name in lower case. Only the 600 names that Intl knows: each takes up to 40 KB (a formatter and changes). */
const zones = new Map<string, TimeZone>()

/** The zone of an IANA name in any case, `UTC`, or an offset such as `+02:00`. Undefined for unknown names. */
export function timeZone(name: string): TimeZone | undefined {
  if (name === 'UTC') return UTC_ZONE
  if (name.length > ZONE_NAME_MAX) return undefined
  const offsetMs = parseUtcOffset(name)
  if (offsetMs !== undefined) return offsetMs === 0 ? UTC_ZONE : fixedZone(offsetName(offsetMs), offsetMs)
  if (!/^[A-Za-z]/.test(name)) return undefined
  const key = name.toLowerCase()
  let zone = zones.get(key)
  if (zone === undefined && mayBeKnown(key)) {
    zone = openZone(name)
    if (zone === undefined) noteUnknown(key)
    else zones.set(key, zone)
  }
  return zone
}

/**
 * Intl takes about 40 µs to refuse an unknown name, and the body of a request may hold a different one in each item. So
 * unknown names are cached, and at most this many new ones are looked up between two turns of the event loop. Beyond
 * them only canonical names and zones already in use are found.
 */
const UNKNOWN_NAMES_MAX = 1_000
const unknownNames = new LRUCache<string, true>({ max: UNKNOWN_NAMES_MAX })
let unknownLookups = 0
let canonicalNames: ReadonlySet<string> | undefined

function mayBeKnown(key: string): boolean {
  if (unknownNames.has(key)) return false
  if (unknownLookups < UNKNOWN_NAMES_MAX) return true
  canonicalNames ??= new Set(Intl.supportedValuesOf('timeZone').map((name) => name.toLowerCase()))
  return canonicalNames.has(key)
}

function noteUnknown(key: string): void {
  unknownNames.set(key, true)
  if (unknownLookups === 0) {
    setImmediate(() => {
      unknownLookups = 0
    })
  }
  unknownLookups++
}

function openZone(name: string): TimeZone | undefined {
  const format = formatOf(name)
  if (format === undefined) return undefined
  const resolved = format.resolvedOptions().timeZone
  if (UTC_NAMES.has(resolved)) return UTC_ZONE
  // Intl returns an older alias for some names (Asia/Katmandu); the caller's name is kept then
  const spelt = resolved.toLowerCase() === name.toLowerCase() ? resolved : name
  return new ChangingZone(spelt, intlOffsets(format))
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

/** Undefined when Intl does not know the zone. */
function formatOf(name: string): Intl.DateTimeFormat | undefined {
  try {
    return new Intl.DateTimeFormat('en-US', { timeZone: name, year: 'numeric', timeZoneName: 'longOffset' })
  } catch {
    return undefined
  }
}

/** Reads what Intl prints after the year: `GMT`, `GMT+05:45`, or with seconds for local mean time, `GMT-00:01:15`. */
function intlOffsets(format: Intl.DateTimeFormat): OffsetSource {
  return (utcMs) => {
    const text = format.format(utcMs)
    const at = text.indexOf('GMT') + 3
    if (at === text.length) return 0
    const sign = text.charCodeAt(at) === 0x2b ? 1 : -1
    const hours = Number(text.slice(at + 1, at + 3))
    const minutes = Number(text.slice(at + 4, at + 6))
    const seconds = Number(text.slice(at + 7, at + 9))
    return sign * (hours * HOUR_MS + minutes * MINUTE_MS + seconds * SECOND_MS)
  }
}

/** No zone of the database changes its clock before 1844. */
const FIRST_YEAR = 1840
const FIRST_MS = yearStart(FIRST_YEAR)
/** From here on each year repeats the rules. The last rules for single years are those of Morocco, up to 2087. */
const REPEATING_YEAR = 2101
const REPEATING_MS = yearStart(REPEATING_YEAR)
/**
 * Within so many years each kind of year (leap or not, by first weekday) occurs, before a century skips its leap day.
 */
const KINDS_YEARS = 28
/**
 * Between two samples with equal offsets the clock is taken as unchanged. The shortest time in the database after which
 * a clock went back to its offset is 7 days (Gaza 2040, Recife 2000).
 */
const SAMPLE_MS = 6 * DAY_MS
/** The changes of such a stretch are found at once and kept. */
const WINDOW_MS = 170 * SAMPLE_MS
/** Nearly all changes lie on quarter hours; those from local mean time lie on seconds. */
const QUARTER_HOUR_MS = 15 * MINUTE_MS

/** The offsets of one window: `offsetsMs[i]` holds from `startsMs[i]` to the next start. */
interface OffsetWindow {
  readonly startsMs: readonly number[]
  readonly offsetsMs: readonly number[]
}

/** A zone that calls `source` a bounded number of times for any number of instants, single lookups aside. */
export class ChangingZone implements TimeZone {
  readonly name: string
  readonly #source: OffsetSource
  readonly #windows = new Map<number, OffsetWindow>()
  /** The stretch of the last result; the next instant mostly lies in it too. */
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

  lookUpOffsetMs(utcMs: number): number {
    return this.#source(utcMs)
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

  /**
   * The first instant after `lowMs` whose offset is not `offsetMs`; `highMs` is such an instant, not always the first.
   */
  #firstChange(lowMs: number, offsetMs: number, highMs: number): number {
    const [low, high] = this.#bisect(lowMs, offsetMs, highMs, QUARTER_HOUR_MS)
    const secondBefore = high - SECOND_MS
    if (this.#source(secondBefore) === offsetMs) return high
    return this.#bisect(low, offsetMs, secondBefore, SECOND_MS)[1]
  }

  /** Narrows the two bounds until they are at most a step apart. */
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

/** Starts of the repeating years, one of each kind. */
const KIND_START_MS = new Float64Array(14)
for (let year = REPEATING_YEAR; year < REPEATING_YEAR + KINDS_YEARS; year++)
  KIND_START_MS[kindOf(year)] = yearStart(year)

/** 0 to 13: years of the same kind begin on the same weekday and have the same length. */
function kindOf(year: number): number {
  const start = dayNumber(year, 1, 1)
  return (start % 7) * 2 + (dayNumber(year + 1, 1, 1) - start - 365)
}

/**
 * Finds the clock changes of a range in short steps, so that later calls for the range need no lookups. Searching all
 * of history takes 20,000 lookups, which would block the event loop for too long in one step.
 */
export async function loadChanges(zone: TimeZone, fromMs: number, toMs: number): Promise<void> {
  const pacer = new Pacer()
  const endMs = Math.min(toMs, yearStart(REPEATING_YEAR + KINDS_YEARS))
  for (let atMs = Math.max(fromMs, FIRST_MS); atMs < endMs; atMs = zone.constantUntilMs(atMs)) await pacer.pause()
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
 * The instant that a local clock reading stands for, by the rule that Temporal calls "compatible": of a reading that
 * occurs twice the first, and for a reading that the clock skipped the instant it would have had without the change.
 */
export function instantOfReading(zone: TimeZone, localMs: number): number {
  const shownMs = firstShown(zone, localMs)
  if (shownMs + zone.offsetMs(shownMs) === localMs) return shownMs
  return localMs - zone.offsetMs(shownMs - 1)
}

/**
 * Like {@link instantOfReading}, with at most four lookups and nothing kept. Points may name any zone and year, and
 * searching for changes costs hundreds of lookups. Relies on no zone changing its clock twice within two days.
 */
export function instantOfSingleReading(zone: TimeZone, localMs: number): number {
  const beforeMs = zone.lookUpOffsetMs(localMs - OFFSET_MAX_MS)
  const afterMs = zone.lookUpOffsetMs(localMs + OFFSET_MAX_MS)
  const first = localMs - beforeMs
  if (beforeMs === afterMs || zone.lookUpOffsetMs(first) === beforeMs) return first
  const second = localMs - afterMs
  return zone.lookUpOffsetMs(second) === afterMs ? second : first
}
