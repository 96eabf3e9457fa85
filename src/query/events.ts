import { GatewayError } from '../model/errors.ts'
import { decodeEvent, type Event } from '../model/event.ts'
import { isInstant } from '../model/time.ts'
import type { EventPlace } from '../store/events.ts'
import type { Store } from '../store/store.ts'
import { readRange } from './plan/prepare.ts'
import { compileFilters, type TagFilters } from './plan/tag-filter.ts'

/** A query of events as a client states it, in any dialect, before validation. */
export interface EventInput {
  /** A name, or a prefix and `*`. */
  readonly name?: string | undefined
  /** As in a query of a metric; by default the last 24 h. */
  readonly from?: unknown
  readonly to?: unknown
  readonly tags?: TagFilters | undefined
  readonly limit?: number | undefined
  /** The cursor of the previous page. */
  readonly after?: string | undefined
}

export interface EventPage {
  /** Newest first. */
  readonly events: readonly Event[]
  /** The cursor of the next page; undefined on the last page. A page may be short or empty and not be the last. */
  readonly next: string | undefined
}

/** Events examined by one request. When too few of them match, its page ends early and has a cursor. */
const EVENTS_READ_MAX = 10_000

export const EVENTS_PAGE_DEFAULT = 100
const EVENTS_PAGE_MAX = 1_000

/** One read from the store. */
const READ_EVENTS = 500
const READ_BYTES = 1 << 20
/** Bytes of one page, and of all events read for it: events may be large. */
const PAGE_BYTES_MAX = 1 << 22
const SCANNED_BYTES_MAX = 1 << 25

/**
 * Reads events of a project page by page. Names and tags have no index, so a page ends after a bounded number of
 * events, even if it is not full. Its cursor continues there.
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

  /** Throws `invalid_range` or `invalid_tags`. */
  async find(project: string, input: EventInput): Promise<EventPage> {
    const { fromMs, toMs } = readRange(input, this.#now())
    const { limit = EVENTS_PAGE_DEFAULT } = input
    if (!(limit >= 0 && limit <= EVENTS_PAGE_MAX)) {
      throw new GatewayError('invalid_range', `a page has at most ${EVENTS_PAGE_MAX} events, not ${limit}`)
    }
    const hasName = nameFilter(input.name)
    const hasTags = compileFilters(input.tags ?? new Map(), [])
    let after = input.after === undefined ? undefined : readCursor(input.after)
    const events: Event[] = []
    let scanned = 0
    let scannedBytes = 0
    let pageBytes = 0
    for (;;) {
      const batch = await this.#store.readEvents({
        project,
        fromMs,
        toMs,
        limit: Math.min(READ_EVENTS, this.#eventsReadMax - scanned),
        bytesMax: READ_BYTES,
        ...(after === undefined ? {} : { after }),
      })
      for (const stored of batch) {
        const event = decodeEvent(stored)
        scannedBytes += stored.json.length
        if (hasName(event.name) && hasTags?.(event.tags) !== false) {
          if (events.length >= limit || pageBytes > PAGE_BYTES_MAX) {
            return { events, next: cursorOf(after ?? { timeMs: toMs + 1, id: FIRST_ID }) }
          }
          events.push(event)
          pageBytes += stored.json.length
        }
        after = stored
      }
      if (batch.length === 0 || after === undefined) return { events, next: undefined }
      scanned += batch.length
      if (scanned >= this.#eventsReadMax || scannedBytes > SCANNED_BYTES_MAX) return { events, next: cursorOf(after) }
    }
  }
}

/** An id that sorts before all events of the same time. */
const FIRST_ID = '0'

/** The cursor of an event, opaque to clients. It stays valid while events are added and expire. */
export function cursorOf({ timeMs, id }: EventPlace): string {
  return Buffer.from(`${timeMs}:${id}`).toString('base64url')
}

function readCursor(cursor: string): EventPlace {
  const [, time, id] = /^(-?\d{1,16}):([0-9A-Z]{1,64})$/.exec(Buffer.from(cursor, 'base64url').toString()) ?? []
  const timeMs = Number(time)
  // A page that ends before its first event has a cursor one millisecond after the range.
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
