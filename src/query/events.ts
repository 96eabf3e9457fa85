import { GatewayError } from '../model/errors.ts'
import { decodeEvent, type Event } from '../model/event.ts'
import { isInstant } from '../model/time.ts'
import type { EventPosition } from '../store/events.ts'
import type { Store } from '../store/store.ts'
import { parseRange } from './plan/prepare.ts'
import { type AcceptedTagValues, compileFilters } from './plan/tag-filter.ts'

/** A query of events from a client, before validation. REST and GraphQL use the same form. */
export interface EventQueryInput {
  /** The name of the events, or a prefix followed by `*`. Undefined or empty: all names. */
  readonly name?: string | undefined
  /** Start of the range, in the same forms as for a metric query; by default 24 h before the end. */
  readonly from?: unknown
  /** End of the range, inclusive; by default now. */
  readonly to?: unknown
  readonly tags?: AcceptedTagValues | undefined
  readonly limit?: number | undefined
  /** The cursor of the previous page (`EventPage.nextCursor`). */
  readonly after?: string | undefined
}

export interface EventPage {
  /** Sorted by time, newest first. */
  readonly events: readonly Event[]
  /** The cursor of the next page; undefined on the last page. Any page may have fewer events than `limit`, or none. */
  readonly nextCursor: string | undefined
}

/** Maximum number of events that one request reads. If few of them match, its page ends early with a cursor. */
const EVENTS_READ_MAX = 10_000

export const EVENTS_PAGE_DEFAULT = 100
const EVENTS_PAGE_MAX = 1_000

/** Maximum number of events in one read from the store. */
const EVENTS_PER_READ = 500
/** Maximum bytes of the events in one read from the store. A single event may have more. */
const EVENT_BYTES_PER_READ = 1 << 20
/**
 * Length of the JSON of a page's events, in UTF-16 code units, after which the page ends. Single events may be large.
 */
const PAGE_CHARS_MAX = 1 << 22
/**
 * Length of the JSON of all events read for one page, in UTF-16 code units, after which the page ends early with a
 * cursor.
 */
const SCANNED_CHARS_MAX = 1 << 25

/**
 * Reads the events of a project page by page. Names and tags have no index, so many events may be read to find few. One
 * request reads a bounded number of events. If its page is not full by then, the page ends with a cursor from which the
 * next request continues.
 */
export class EventReader {
  readonly #store: Store
  readonly #now: () => number
  readonly #eventsReadMax: number

  constructor(store: Store, now: () => number, eventsReadMax = EVENTS_READ_MAX) {
    this.#store = store
    this.#now = now
    this.#eventsReadMax = eventsReadMax
  }

  /** Returns one page of events. Throws `invalid_range` or `invalid_tags`. */
  async readPage(project: string, input: EventQueryInput): Promise<EventPage> {
    const { fromMs, toMs } = parseRange(input, this.#now())
    const { limit = EVENTS_PAGE_DEFAULT } = input
    if (!(limit >= 0 && limit <= EVENTS_PAGE_MAX)) {
      throw new GatewayError('invalid_range', `a page has at most ${EVENTS_PAGE_MAX} events, not ${limit}`)
    }
    const matchesName = nameFilter(input.name)
    const matchesTags = compileFilters(input.tags ?? new Map(), [])
    let after = input.after === undefined ? undefined : decodeCursor(input.after)
    const events: Event[] = []
    let scannedCount = 0
    let scannedChars = 0
    let pageChars = 0
    for (;;) {
      const batch = await this.#store.readEvents({
        project,
        fromMs,
        toMs,
        limit: Math.min(EVENTS_PER_READ, this.#eventsReadMax - scannedCount),
        bytesMax: EVENT_BYTES_PER_READ,
        ...(after === undefined ? {} : { after }),
      })
      for (const storedEvent of batch) {
        const event = decodeEvent(storedEvent)
        scannedChars += storedEvent.json.length
        if (matchesName(event.name) && matchesTags?.(event.tags) !== false) {
          if (events.length >= limit || pageChars > PAGE_CHARS_MAX) {
            return { events, nextCursor: encodeCursor(after ?? { timeMs: toMs + 1, id: LEAST_ID }) }
          }
          events.push(event)
          pageChars += storedEvent.json.length
        }
        after = storedEvent
      }
      if (batch.length === 0 || after === undefined) return { events, nextCursor: undefined }
      scannedCount += batch.length
      if (scannedCount >= this.#eventsReadMax || scannedChars > SCANNED_CHARS_MAX)
        return { events, nextCursor: encodeCursor(after) }
    }
  }
}

/** An id that is smaller than the ids of all events. */
const LEAST_ID = '0'

/**
 * Returns the cursor that continues after an event. Clients must not parse it. It stays valid if events are added or
 * expire.
 */
export function encodeCursor({ timeMs, id }: EventPosition): string {
  return Buffer.from(`${timeMs}:${id}`).toString('base64url')
}

function decodeCursor(cursor: string): EventPosition {
  const [, time, id] = /^(-?\d{1,16}):([0-9A-Z]{1,64})$/.exec(Buffer.from(cursor, 'base64url').toString()) ?? []
  const timeMs = Number(time)
  // A first page with `limit` 0 may end before the first event of the list. The time of its cursor is then one
  // millisecond after the end of the range, and may be one millisecond after the last valid instant.
  if (id === undefined || !(isInstant(timeMs) || isInstant(timeMs - 1))) {
    throw new GatewayError('invalid_range', 'after is not a cursor of this list', { details: { argument: 'after' } })
  }
  return { timeMs, id }
}

function nameFilter(name: string | undefined): (name: string) => boolean {
  if (name === undefined || name === '') return () => true
  if (!name.endsWith('*')) return (eventName) => eventName === name
  const prefix = name.slice(0, -1)
  return (eventName) => eventName.startsWith(prefix)
}
