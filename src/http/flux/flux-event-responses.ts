import { EVENT_TEXT_FIELDS, type Event } from '../../model/event.ts'
import { writeJson } from '../../model/json.ts'
import type { CanonicalTags } from '../../model/series.ts'
import { formatInstant } from '../../model/time.ts'
import type { EventPage } from '../../query/events.ts'

/** Response bodies of the Flux API's event routes, as JSON text. */

export function writeTrackedEvent({ id, name, timeMs, user_id, value }: Event): string {
  return JSON.stringify({ data: { id, name, timestamp: formatInstant(timeMs), user_id, value } })
}

/** `next` is present when another page may follow. */
export function writeEvents({ events, next }: EventPage): string {
  const nextField = next === undefined ? '' : `,"next":${JSON.stringify(next)}`
  return `{"data":[${events.map(writeEvent).join(',')}]${nextField}}`
}

function writeEvent(event: Event): string {
  const { id, name, timeMs, value, tags, properties } = event
  const texts = EVENT_TEXT_FIELDS.map((field) => `,"${field}":${JSON.stringify(event[field])}`).join('')
  return `{"id":"${id}","name":${JSON.stringify(name)},"timestamp":"${formatInstant(timeMs)}","value":${value},"tags":${writeTags(tags)},"properties":${writeJson(properties)}${texts}}`
}

/** Written by hand: an object would lose a tag key named `__proto__`. */
function writeTags(tags: CanonicalTags): string {
  return `{${tags.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',')}}`
}
