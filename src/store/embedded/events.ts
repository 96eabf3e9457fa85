import type { EventRequest, StoredEvent } from '../store.ts'
import { rows, type Tables, type WriteSet } from './environment.ts'
import { EVENT_ID_AT, EVENT_TIME_AT, eventKey, eventPrefix, readTime } from './keys.ts'

/** Events of a project, ordered by time and id; their JSON is stored as it came. */

export function putEvent(writes: WriteSet, event: StoredEvent): void {
  writes.put('events', eventKey(event.project, event.timeMs, event.id), Buffer.from(event.json))
}

/** Walks backwards, from the key that comes first in the answer. */
export function readEvents(tables: Tables, request: EventRequest): StoredEvent[] {
  const { project, fromMs, toMs, after, limit } = request
  // No key equals this one: ids are not empty.
  let start = eventPrefix(project, toMs + 1)
  if (after !== undefined && after.timeMs <= toMs) start = eventKey(project, after.timeMs, after.id)
  const found: StoredEvent[] = []
  const range = { start, end: eventPrefix(project, fromMs), exclusiveStart: true, reverse: true, limit }
  for (const { key, value } of rows(tables.events, range)) {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.length)
    found.push({
      project,
      id: Buffer.from(key.buffer, key.byteOffset, key.length).toString('utf8', EVENT_ID_AT),
      timeMs: readTime(key, EVENT_TIME_AT),
      json: bytes.toString(),
    })
  }
  return found
}
