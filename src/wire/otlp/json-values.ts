import { GatewayError } from '../../model/errors.ts'
import { isObject } from '../../model/is-object.ts'
import { describeValue } from '../../model/point.ts'
import type { TagPair } from './otlp-metric.ts'
import {
  ATTRIBUTE_BYTES_MAX,
  ATTRIBUTE_DEPTH_MAX,
  ATTRIBUTE_TOO_DEEP_MESSAGE,
  ATTRIBUTE_VALUES_MAX,
  type AttributeValue,
  textOfValue,
} from './protobuf-values.ts'

/**
 * Reads numbers, times and attributes in the JSON encoding of OTLP. A number, a time or a `doubleValue` of the wrong
 * type throws `invalid_body`. An attribute counts as one without a value if its type is unknown, or if another member
 * than `doubleValue`, such as `intValue`, has the wrong type. Flags of a wrong type count as 0.
 */

const INTEGER_TEXT = /^-?\d{1,20}$/
const DOUBLE_TEXT = /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/
const NON_FINITE_BY_TEXT: ReadonlyMap<unknown, number> = new Map([
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
])

/**
 * Returns an integer that is a number, or digits as text; 0 if it is absent. Beyond ±2^53, returns the nearest double.
 */
export function integerOf(value: unknown): number {
  if (value === undefined || value === null) return 0
  if (typeof value === 'bigint' || Number.isInteger(value)) return Number(value)
  if (typeof value === 'string' && INTEGER_TEXT.test(value)) return Number(value)
  throw new GatewayError(
    'invalid_body',
    `an integer must be digits, as a number or as text, not ${describeValue(value)}`,
  )
}

/** Returns a double that is a number, or a text such as `1.5` or `NaN`. Throws for any other value, also if absent. */
export function doubleOf(value: unknown): number {
  if (typeof value === 'number' || typeof value === 'bigint') return Number(value)
  const special = NON_FINITE_BY_TEXT.get(value)
  if (special !== undefined) return special
  if (typeof value === 'string' && DOUBLE_TEXT.test(value)) return Number(value)
  throw new GatewayError('invalid_body', `a number must be a number, not ${describeValue(value)}`)
}

/**
 * Splits UNIX nanoseconds into whole milliseconds and the nanoseconds beyond them. Both are 0 if the time is absent,
 * and negative or 0 for a time before 1970.
 */
export function splitUnixNanos(value: unknown): readonly [ms: number, subMillisecondNs: number] {
  if (value === undefined || value === null || value === 0) return [0, 0]
  const isExact = typeof value === 'bigint' || (typeof value === 'string' && INTEGER_TEXT.test(value))
  const nanos = isExact ? BigInt(value) : BigInt(integerOf(value))
  return [Number(nanos / 1_000_000n), Number(nanos % 1_000_000n)]
}

export function flagsOf(value: unknown): number {
  return typeof value === 'number' ? value : 0
}

/** Units of work (`StepBudget`) of an attribute, and of each value in its lists and maps. */
const VALUE_STEP_UNITS = 64

/**
 * Counts the values and texts of an attribute, to bound the work on it by the same limits as in protobuf. The size of
 * an attribute is that of its keys and texts in UTF-8.
 */
export class AttributeSize {
  #valueCount = 0
  byteCount = 0

  /** Units of work (`StepBudget`) of what was counted. */
  get stepUnits(): number {
    return VALUE_STEP_UNITS * (1 + this.#valueCount) + this.byteCount
  }

  /** Counts a value of a list or a map. Returns false if the attribute has too many, or is too large: drop it then. */
  addValue(): boolean {
    if (this.#valueCount === ATTRIBUTE_VALUES_MAX || this.byteCount > ATTRIBUTE_BYTES_MAX) return false
    this.#valueCount++
    return true
  }

  /** Counts a text and returns it. */
  addText(text: string): string {
    // The size in UTF-8 is at least the length. A text that is too long by its length is not read.
    this.byteCount += text.length > ATTRIBUTE_BYTES_MAX ? text.length : Buffer.byteLength(text)
    return text
  }

  /** Counts the key of an attribute or of a member of a map. A key that is no text counts as absent, so it is empty. */
  addKey(key: unknown): string {
    return typeof key === 'string' ? this.addText(key) : ''
  }
}

/** Converts an attribute to a tag, and counts what it holds. Undefined: the attribute has no value. */
export function tagOfAttribute(
  { key, value }: Readonly<Record<string, unknown>>,
  size: AttributeSize,
): TagPair | undefined {
  const tagKey = size.addKey(key)
  const text = textOfValue(anyValueOf(value, 0, size))
  return text === undefined ? undefined : [tagKey, text]
}

function anyValueOf(value: unknown, depth: number, size: AttributeSize): AttributeValue {
  if (!isObject(value)) return undefined
  if (depth > ATTRIBUTE_DEPTH_MAX) throw new GatewayError('invalid_body', ATTRIBUTE_TOO_DEEP_MESSAGE)
  const { stringValue, boolValue, intValue, doubleValue, arrayValue, kvlistValue, bytesValue } = value
  if (typeof stringValue === 'string') return size.addText(stringValue)
  if (typeof boolValue === 'boolean') return boolValue
  if (typeof intValue === 'string' && INTEGER_TEXT.test(intValue)) return BigInt(intValue)
  if (typeof intValue === 'number' || typeof intValue === 'bigint') return intValue
  if (doubleValue !== undefined && doubleValue !== null) return doubleOf(doubleValue)
  if (isObject(arrayValue)) {
    const list: AttributeValue[] = []
    for (const element of elementsOf(arrayValue, size)) list.push(anyValueOf(element, depth + 1, size))
    return list
  }
  if (isObject(kvlistValue)) {
    const entries: [string, AttributeValue][] = []
    for (const pair of elementsOf(kvlistValue, size)) {
      if (isObject(pair)) entries.push([size.addKey(pair['key']), anyValueOf(pair['value'], depth + 1, size)])
    }
    return Object.fromEntries(entries)
  }
  // JSON already has bytes as base64 text.
  return typeof bytesValue === 'string' ? size.addText(bytesValue) : undefined
}

/** Yields the elements of a list or the members of a map, until the attribute has too many values. */
function* elementsOf({ values }: Readonly<Record<string, unknown>>, size: AttributeSize): Generator<unknown> {
  if (!Array.isArray(values)) return
  for (const element of values) {
    if (!size.addValue()) return
    yield element
  }
}
