import { assert, ErrorMessageBudget, GatewayError, type ItemError } from '../model/errors.ts'
import { EVENT_TEXT_FIELDS, type EventTextField, encodeEvent, type NewEvent } from '../model/event.ts'
import { isObject } from '../model/is-object.ts'
import {
  checkName,
  describeValue,
  finiteNumber,
  numberText,
  type PointLimits,
  type Rejection,
  readTags,
  reject,
  tooLongMessage,
} from '../model/point.ts'
import { checkPointTime, parsePointTime } from '../model/point-time.ts'
import { canonicalTags } from '../model/series.ts'
import { StepBudget, type Steps } from '../model/steps.ts'
import { isLongerThan } from '../model/text.ts'

/** A parsed event item of the Flux dialect. GraphQL inputs have the same fields and are validated here too. */
type EventItem = Readonly<
  Partial<Record<'name' | 'value' | 'timestamp' | 'tags' | 'properties' | EventTextField, unknown>>
>

export interface EventLimits {
  /** Limits of names and tags, the same as for points. The limit of a tag value also applies to text fields. */
  readonly points: PointLimits
  /** Maximum size of an event in its stored form, JSON in UTF-8. */
  readonly eventBytesMax: number
}

/** The valid events of a request, and the rejected items with their indexes. */
export interface DecodedEvents {
  readonly events: readonly NewEvent[]
  readonly rejected: readonly ItemError[]
}

/** Units of work (`StepBudget`) of an event in addition to its bytes. */
const EVENT_STEP_UNITS = 1_024

/** Validates each item. Throws `invalid_body` or `batch_too_large`. */
export function* decodeFluxEvents(
  items: unknown,
  nowMs: number,
  limits: EventLimits,
  itemsMax: number,
): Steps<DecodedEvents> {
  if (!Array.isArray(items)) throw new GatewayError('invalid_body', 'events must be an array')
  if (items.length > itemsMax) {
    throw new GatewayError('batch_too_large', `${items.length} events, at most ${itemsMax} are allowed in a batch`, {
      details: { max: itemsMax },
    })
  }
  const events: NewEvent[] = []
  const rejected: ItemError[] = []
  const messageBudget = new ErrorMessageBudget()
  const stepBudget = new StepBudget()
  for (let index = 0; index < items.length; index++) {
    const event = decodeFluxEvent(items[index], nowMs, limits)
    const isRejected = 'code' in event
    if (isRejected) rejected.push({ index, code: event.code, message: messageBudget.take(event.message) })
    else events.push(event)
    if (stepBudget.spend(EVENT_STEP_UNITS + (isRejected ? limits.eventBytesMax : event.json.length))) yield
  }
  return { events, rejected }
}

/**
 * Validates an item field by field (name, value, timestamp, tags, properties, texts). Returns the event, or the first
 * reason for its rejection. Null counts as absent; unknown fields are ignored.
 */
export function decodeFluxEvent(item: unknown, nowMs: number, limits: EventLimits): NewEvent | Rejection {
  if (!isObject<EventItem>(item))
    return reject('invalid_body', `an event must be an object, not ${describeValue(item)}`)
  const { name, timestamp = null, properties = null } = item
  const badName = checkName(name, limits.points)
  if (badName !== undefined) return badName
  assert(typeof name === 'string', 'name was checked')
  const value = isAbsent(item.value) ? null : finiteNumber(item.value)
  if (value === undefined) {
    return reject(
      'invalid_value',
      `value of an event must be a finite number or null, not ${describeValue(item.value)}`,
    )
  }
  const timeMs = timestamp === null ? nowMs : parsePointTime(timestamp)
  const badInstant = checkPointTime(timeMs, nowMs)
  if (badInstant !== undefined) return badInstant
  assert(timeMs !== undefined, 'timestamp was checked')
  const tags = readTags(item.tags, limits.points)
  if (!Array.isArray(tags)) return tags
  if (properties !== null && !isObject<object>(properties)) {
    return reject('invalid_value', `properties must be an object, not ${describeValue(properties)}`)
  }
  const badProperties = new PropertiesCheck(limits.eventBytesMax).check(properties, PROPERTY_DEPTH_MAX)
  if (badProperties !== undefined) return badProperties
  const texts: Record<EventTextField, string | null> = { ...ABSENT_TEXTS }
  for (const field of EVENT_TEXT_FIELDS) {
    const text = parseTextField(field, item[field], limits.points.tagValueCharsMax)
    if (typeof text === 'object' && text !== null) return text
    texts[field] = text
  }
  const json = encodeEvent({ name, value, tags: canonicalTags(tags), properties, ...texts })
  return Buffer.byteLength(json) > limits.eventBytesMax ? tooLarge(limits.eventBytesMax) : { name, timeMs, json }
}

/** Maximum nesting depth of properties. It bounds the recursion of `PropertiesCheck`. */
const PROPERTY_DEPTH_MAX = 64
const ABSENT_TEXTS = { user_id: null, session_id: null, environment: null, service: null, host: null, request_id: null }

/** Reads a text field. Many programs use numbers as ids of users and requests, so a number is converted to text. */
function parseTextField(field: EventTextField, value: unknown, charsMax: number): string | null | Rejection {
  if (isAbsent(value)) return null
  const text = typeof value === 'string' ? value : numberText(value)
  if (text === undefined) return reject('invalid_value', `${field} must be a string, not ${describeValue(value)}`)
  if (isLongerThan(text, charsMax)) return reject('invalid_value', tooLongMessage(field, charsMax))
  if (!text.isWellFormed()) return reject('invalid_value', `${field} is not well-formed Unicode`)
  return text
}

function isAbsent(value: unknown): value is null | undefined {
  return value === undefined || value === null
}

function tooLarge(bytesMax: number): Rejection {
  return reject('payload_too_large', `the event has more than ${bytesMax} bytes`)
}

/**
 * Rejects properties that are nested too deeply. Rejects numbers beyond the range of a double, such as `1e999`: they
 * would be stored as null. Stops as soon as the properties read so far make the event too large, so that the work is
 * bounded, however large the item is.
 */
class PropertiesCheck {
  readonly #bytesMax: number
  /** The stored form of the values read so far has at least this size. */
  #bytesMin = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  check(value: unknown, levelsLeft: number): Rejection | undefined {
    if (typeof value === 'number' && !Number.isFinite(value))
      return reject('invalid_value', 'properties hold a number that is too large')
    // A value has at least one byte, and a comma or a bracket follows.
    this.#bytesMin += typeof value === 'string' ? value.length + 3 : 2
    if (this.#bytesMin > this.#bytesMax) return tooLarge(this.#bytesMax)
    if (typeof value !== 'object' || value === null) return undefined
    if (levelsLeft === 0) return reject('invalid_value', `properties nest deeper than ${PROPERTY_DEPTH_MAX} levels`)
    if (Array.isArray(value)) {
      for (const element of value) {
        const bad = this.check(element, levelsLeft - 1)
        if (bad !== undefined) return bad
      }
      return undefined
    }
    for (const [key, member] of Object.entries(value)) {
      this.#bytesMin += key.length + 3
      const bad = this.check(member, levelsLeft - 1)
      if (bad !== undefined) return bad
    }
    return undefined
  }
}
