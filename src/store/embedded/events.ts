import type { EventRequest, StoredEvent } from '../events.ts'
import {
  EVENT_ID_OFFSET,
  EVENT_TIME_OFFSET,
  eventAgeKey,
  eventAgeKeysEnd,
  eventKey,
  eventKeyOfAge,
  eventPrefix,
  partitionKey,
  readTime,
} from './keys.ts'
import { NO_VALUE, type Tables } from './table.ts'
import type { WriteSet } from './write-set.ts'

/**
 * Stores the events of projects by time and id, with their JSON unchanged. The events of a partition are removed in the
 * order of their commit times.
 */

export function putEvent(writes: WriteSet, partition: number, event: StoredEvent, committedMs: number): void {
  const key = eventKey(event.project, event.timeMs, event.id)
  writes.put('events', key, Buffer.from(event.json))
  writes.put('event-ages', eventAgeKey(partition, committedMs, key), NO_VALUE)
}

/** Reads one page of events, newest first. */
export function readEvents(tables: Tables, request: EventRequest): StoredEvent[] {
  const { project, fromMs, toMs, after, limit, bytesMax } = request
  // No event has this key, because the id of an event is not empty. The keys of all events up to `toMs` are less.
  let start = eventPrefix(project, toMs + 1)
  if (after !== undefined && after.timeMs <= toMs) start = eventKey(project, after.timeMs, after.id)
  const events: StoredEvent[] = []
  let jsonBytes = 0
  const range = { start, end: eventPrefix(project, fromMs), exclusiveStart: true, reverse: true, limit }
  for (const { key, value } of tables.events.rows(range)) {
    jsonBytes += value.length
    if (jsonBytes > bytesMax && events.length > 0) break
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.length)
    events.push({
      project,
      id: Buffer.from(key.buffer, key.byteOffset, key.length).toString('utf8', EVENT_ID_OFFSET),
      timeMs: readTime(key, EVENT_TIME_OFFSET),
      json: bytes.toString(),
    })
  }
  return events
}

export function expireEvents(writes: WriteSet, partition: number, committedByMs: number, max: number): number {
  const range = { start: partitionKey(partition), end: eventAgeKeysEnd(partition, committedByMs), limit: max }
  let removedCount = 0
  for (const ageKey of writes.tables['event-ages'].keys(range)) {
    writes.remove('event-ages', ageKey)
    writes.remove('events', eventKeyOfAge(ageKey))
    removedCount++
  }
  return removedCount
}
