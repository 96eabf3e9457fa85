import { GatewayError } from '../model/errors.ts'
import { decodeEvent, type Event } from '../model/event.ts'
import { isInstant } from '../model/time.ts'
import type { EventPlace } from '../store/events.ts'
import type { Store } from '../store/store.ts'
import { readRange } from './plan/prepare.ts'
import { compileFilters, type FilterLimits, type TagFilters } from './plan/tag-filter.ts'

/** What a client asks of events, in any dialect, not yet judged. */
export interface EventInput {
  /** A name, or the beginning of one and `*`. */
  readonly name?: string | undefined
  /** As in a query of a metric; without them the last 24 h. */
  readonly from?: unknown
  readonly to?: unknown
  readonly tags?: TagFilters | undefined
  readonly limit?: number | undefined
  /** The cursor of the last event of the page before. */
  readonly after?: string | undefined
}

export interface EventPage {
  /** Newest first. */
  readonly events: readonly Event[]
  /** Where the next page begins; undefined: there are no more. A page may be short, even empty, and have one that follows. */
  readonly next: string | undefined
}

export interface EventQueryLimits extends FilterLimits {
  /** Events that one request looks at, whether they match or not. */
  readonly eventsReadMax: number
}

export const EVENTS_PAGE_DEFAULT = 100
export const EVENTS_PAGE_MAX = 1_000

/** Read from the store at a time. */
const READ_EVENTS = 500
const READ_BYTES = 1 << 20
/** Of one answer and of what is looked at for it: events may be large. */
const ANSWER_BYTES_MAX = 1 << 22
const LOOKED_BYTES_MAX = 1 << 25

/**
 * Reads events of a project page by page. There is no index of names and tags, so that the work is bounded: when it is used up a
 * page ends, and its cursor says where to go on.
 */
export class EventReader {
  readonly #store: Store
  readonly #limits: EventQueryLimits
  readonly #now: () => number

  constructor(store: Store, limits: EventQueryLimits, now: () => number) {
    this.#store = store
    this.#limits = limits
    this.#now = now
  }

  /** Throws `invalid_range` or `invalid_tags`. */
  async find(project: string, input: EventInput): Promise<EventPage> {
    const { fromMs, toMs } = readRange(input, this.#now())
    const { limit = EVENTS_PAGE_DEFAULT } = input
    if (!(limit >= 0 && limit <= EVENTS_PAGE_MAX)) {
      throw new GatewayError('invalid_range', `a page has at most ${EVENTS_PAGE_MAX} events, not ${limit}`)
    }
    const { eventsReadMax } = this.#limits
    const hasName = nameFilter(input.name)
    const hasTags = compileFilters(input.tags ?? new Map(), [], this.#limits)
    let after = input.after === undefined ? undefined : readCursor(input.after)
    const events: Event[] = []
    let looked = 0
    let lookedBytes = 0
    let answerBytes = 0
    for (;;) {
      const page = await this.#store.readEvents({
        project,
        fromMs,
        toMs,
        limit: Math.min(READ_EVENTS, eventsReadMax - looked),
        bytesMax: READ_BYTES,
        ...(after === undefined ? {} : { after }),
      })
      for (const stored of page) {
        const event = decodeEvent(stored)
        lookedBytes += stored.json.length
        if (hasName(event.name) && hasTags?.(event.tags) !== false) {
          if (events.length >= limit || answerBytes > ANSWER_BYTES_MAX) {
            return { events, next: cursorOf(after ?? { timeMs: toMs + 1, id: FIRST_ID }) }
          }
          events.push(event)
          answerBytes += stored.json.length
        }
        after = stored
      }
      if (page.length === 0 || after === undefined) return { events, next: undefined }
      looked += page.length
      if (looked >= eventsReadMax || lookedBytes > LOOKED_BYTES_MAX) return { events, next: cursorOf(after) }
    }
  }
}

/** An id for a place before every event: none is as late as its time. */
const FIRST_ID = '0'

/** Opaque to clients. It stays right while events come and go. */
export function cursorOf({ timeMs, id }: EventPlace): string {
  return Buffer.from(`${timeMs}:${id}`).toString('base64url')
}

function readCursor(cursor: string): EventPlace {
  const [, time, id] = /^(-?\d{1,16}):([0-9A-Z]{1,64})$/.exec(Buffer.from(cursor, 'base64url').toString()) ?? []
  const timeMs = Number(time)
  // A cursor before the first event of a range stands a millisecond after its end.
  if (id === undefined || !(isInstant(timeMs) || isInstant(timeMs - 1))) {
    throw new GatewayError('invalid_range', 'after is no cursor of this list', { details: { argument: 'after' } })
  }
  return { timeMs, id }
}

function nameFilter(name: string | undefined): (name: string) => boolean {
  if (name === undefined || name === '') return () => true
  if (!name.endsWith('*')) return (of) => of === name
  const beginning = name.slice(0, -1)
  return (of) => of.startsWith(beginning)
}
