import { parseJson, writeJson } from './json.ts'
import type { CanonicalTags } from './series.ts'

/**
 * Something that happened at a time, such as a deployment. Events are not aggregated: if two of them have equal fields,
 * both are stored.
 */
export interface Event extends EventTexts {
  readonly id: string
  readonly name: string
  readonly timeMs: number
  readonly value: number | null
  readonly tags: CanonicalTags
  /** Any JSON object. Integers beyond 2^53 - 1 are bigints, unless they have hundreds of digits. */
  readonly properties: object | null
}

/** The optional text fields of an event, by their names in requests. */
export const EVENT_TEXT_FIELDS = ['user_id', 'session_id', 'environment', 'service', 'host', 'request_id'] as const
export type EventTextField = (typeof EVENT_TEXT_FIELDS)[number]
type EventTexts = Readonly<Record<EventTextField, string | null>>

/** A validated event that has no id yet. */
export interface NewEvent {
  readonly name: string
  readonly timeMs: number
  /** The JSON that is stored: all fields but id and time. */
  readonly json: string
}

/** The fields of the stored JSON. */
type StoredEventFields = Partial<Omit<Event, 'id' | 'timeMs'>> & Pick<Event, 'name'>

/**
 * Returns the JSON that is stored: all fields but id and time, without null fields and without an empty list of tags.
 */
export function encodeEvent(event: Omit<Event, 'id' | 'timeMs'>): string {
  const { name, tags, properties, value } = event
  const texts = EVENT_TEXT_FIELDS.map((field) => [field, event[field] ?? undefined])
  const storedFields: StoredEventFields = {
    name,
    ...(value === null ? {} : { value }),
    // Tags are stored as pairs, sorted by key. An object would move integer keys to the front.
    ...(tags.length === 0 ? {} : { tags }),
    ...Object.fromEntries(texts),
    ...(properties === null ? {} : { properties }),
  }
  return writeJson(storedFields)
}

/** The inverse of {@link encodeEvent}. */
export function decodeEvent({ id, timeMs, json }: Pick<Event, 'id' | 'timeMs'> & { readonly json: string }): Event {
  const storedFields = parseJson(json) as StoredEventFields
  return {
    id,
    timeMs,
    name: storedFields.name,
    // `parseJson` may return an integer beyond 2^53 - 1 as a bigint.
    value: storedFields.value === undefined ? null : Number(storedFields.value),
    tags: storedFields.tags ?? [],
    properties: storedFields.properties ?? null,
    user_id: storedFields.user_id ?? null,
    session_id: storedFields.session_id ?? null,
    environment: storedFields.environment ?? null,
    service: storedFields.service ?? null,
    host: storedFields.host ?? null,
    request_id: storedFields.request_id ?? null,
  }
}
