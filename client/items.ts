/**
 * Builds points and events for a GraphQL mutation. The gateway refuses a whole batch if one item has a name or a value
 * of the wrong type, or an unknown field. So such items are refused here.
 */
export type Item = Readonly<Record<string, unknown>>

export type Tags = Readonly<Record<string, string | number | boolean | null | undefined>>

export interface EventFields {
  readonly value?: number
  /** Default: now. */
  readonly timestamp?: string | number
  readonly tags?: Tags
  readonly properties?: Readonly<Record<string, unknown>>
  readonly user_id?: string
  readonly session_id?: string
  readonly environment?: string
  readonly service?: string
  readonly host?: string
  readonly request_id?: string
}

const TEXT_FIELDS = ['user_id', 'session_id', 'environment', 'service', 'host', 'request_id'] as const

/** Builds a point. Throws a string, the reason, if it is invalid. */
export function pointOf(name: string, type: string, value: unknown, tags: Tags): Item {
  requireValid(name, value, type === 'SET' ? typeof value === 'string' : Number.isFinite(value))
  return { name, type, value, timestamp: Date.now(), tags }
}

/** Builds an event. Throws a string, the reason, if it is invalid. */
export function eventOf(name: string, fields: EventFields, commonTags: Tags | undefined): Item {
  const { value = null, timestamp = Date.now(), tags, properties } = fields
  requireValid(name, value, value === null || Number.isFinite(value))
  const texts: Record<string, string> = {}
  for (const field of TEXT_FIELDS) if (fields[field] != null) texts[field] = `${fields[field]}`
  return { name, value, timestamp, tags: { ...commonTags, ...tags }, properties, ...texts }
}

function requireValid(name: unknown, value: unknown, isValueValid: boolean): void {
  if (typeof name !== 'string' || !isValueValid) throw `invalid name or value: ${name}, ${value}`
}
