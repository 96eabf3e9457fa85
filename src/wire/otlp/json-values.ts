import { GatewayError } from '../../model/errors.ts'
import { isObject } from '../../model/is-object.ts'
import { describeValue } from '../../model/point.ts'
import type { TagPair } from './otlp-metric.ts'
import { ATTRIBUTE_DEPTH_MAX, type AttributeValue, textOfValue } from './protobuf-values.ts'

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

/** Converts an attribute to a tag. Undefined: the attribute has no value. */
export function tagOfAttribute({ key, value }: Readonly<Record<string, unknown>>): TagPair | undefined {
  const text = textOfValue(anyValueOf(value, 0))
  return text === undefined ? undefined : [typeof key === 'string' ? key : '', text]
}

function anyValueOf(value: unknown, depth: number): AttributeValue {
  if (!isObject(value)) return undefined
  if (depth > ATTRIBUTE_DEPTH_MAX)
    throw new GatewayError('invalid_body', `an attribute is nested deeper than ${ATTRIBUTE_DEPTH_MAX} levels`)
  const { stringValue, boolValue, intValue, doubleValue, arrayValue, kvlistValue, bytesValue } = value
  if (typeof stringValue === 'string') return stringValue
  if (typeof boolValue === 'boolean') return boolValue
  if (typeof intValue === 'string' && INTEGER_TEXT.test(intValue)) return BigInt(intValue)
  if (typeof intValue === 'number' || typeof intValue === 'bigint') return intValue
  if (doubleValue !== undefined && doubleValue !== null) return doubleOf(doubleValue)
  if (isObject(arrayValue)) return elementsOf(arrayValue).map((element) => anyValueOf(element, depth + 1))
  if (isObject(kvlistValue)) {
    return Object.fromEntries(
      elementsOf(kvlistValue).flatMap((pair) =>
        isObject(pair) ? [[String(pair['key']), anyValueOf(pair['value'], depth + 1)]] : [],
      ),
    )
  }
  // JSON already has bytes as base64 text.
  return typeof bytesValue === 'string' ? bytesValue : undefined
}

function elementsOf({ values }: Readonly<Record<string, unknown>>): readonly unknown[] {
  return Array.isArray(values) ? values : []
}
