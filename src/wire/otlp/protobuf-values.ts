import { FIXED64, LENGTH_DELIMITED, type ProtobufReader, VARINT } from '../protobuf/protobuf-reader.ts'
import { encodeBase64 } from './base64.ts'
import type { TagPair } from './otlp-metric.ts'

/**
 * Converts attributes of OTLP (`common/v1/common.proto`) to tags. Every kind of value becomes text: the elements of a
 * list are joined by commas, a map becomes JSON, and bytes become base64. An attribute without a value does not become
 * a tag.
 */

/** Maximum nesting depth of an attribute's value. */
export const ATTRIBUTE_DEPTH_MAX = 16
/**
 * Maximum number of values in the lists and maps of an attribute. Further values are dropped: with so many values, the
 * text is normally longer than a tag may be.
 */
export const ATTRIBUTE_VALUES_MAX = 4_096
/**
 * Maximum size of an attribute, to bound the work on one attribute. By default, the text of a tag must be far shorter.
 */
export const ATTRIBUTE_BYTES_MAX = 1_048_576

export const ATTRIBUTE_TOO_LARGE_MESSAGE = `an attribute has more than ${ATTRIBUTE_BYTES_MAX} bytes`
export const ATTRIBUTE_TOO_DEEP_MESSAGE = `an attribute is nested deeper than ${ATTRIBUTE_DEPTH_MAX} levels`

/** Reads a `KeyValue` as a tag. Returns undefined if the attribute has no value. */
export function readKeyValue(reader: ProtobufReader): TagPair | undefined {
  let key = ''
  let value: AttributeValue
  const budget: ValueBudget = { valuesLeft: ATTRIBUTE_VALUES_MAX }
  const end = reader.enter()
  if (end - reader.position > ATTRIBUTE_BYTES_MAX) throw reader.fault(ATTRIBUTE_TOO_LARGE_MESSAGE)
  while (reader.next(end)) {
    if (reader.field === 1) key = reader.text(reader.enter())
    else if (reader.field === 2) value = readAnyValue(reader, 0, budget)
    else reader.skip()
  }
  const text = textOfValue(value)
  return text === undefined ? undefined : [key, text]
}

export type AttributeValue =
  | string
  | number
  | bigint
  | boolean
  | Uint8Array
  | undefined
  | readonly AttributeValue[]
  | AttributeMap
interface AttributeMap {
  readonly [key: string]: AttributeValue
}

/** The number of values that the lists and maps of an attribute may still add. */
interface ValueBudget {
  valuesLeft: number
}

function readAnyValue(reader: ProtobufReader, depth: number, budget: ValueBudget): AttributeValue {
  if (depth > ATTRIBUTE_DEPTH_MAX) throw reader.fault(ATTRIBUTE_TOO_DEEP_MESSAGE)
  let value: AttributeValue
  for (const end = reader.enter(); reader.next(end); ) {
    switch (reader.field) {
      case 1:
        value = reader.text(reader.enter())
        break
      case 2:
        reader.requireWireType(VARINT)
        value = reader.uint64() !== 0
        break
      case 3:
        reader.requireWireType(VARINT)
        value = reader.bigint64()
        break
      case 4:
        reader.requireWireType(FIXED64)
        value = reader.double()
        break
      case 5:
        value = readList(reader, depth, budget)
        break
      case 6:
        value = readMap(reader, depth, budget)
        break
      case 7: {
        reader.requireWireType(LENGTH_DELIMITED)
        const bytesEnd = reader.enter()
        value = reader.bytes.subarray(reader.position, bytesEnd)
        reader.position = bytesEnd
        break
      }
      default:
        reader.skip()
    }
  }
  return value
}

function readList(reader: ProtobufReader, depth: number, budget: ValueBudget): AttributeValue[] {
  const list: AttributeValue[] = []
  for (const end = reader.enter(); reader.next(end); ) {
    if (--budget.valuesLeft < 0) reader.position = end
    else if (reader.field === 1) list.push(readAnyValue(reader, depth + 1, budget))
    else reader.skip()
  }
  return list
}

function readMap(reader: ProtobufReader, depth: number, budget: ValueBudget): AttributeMap {
  const entries: [string, AttributeValue][] = []
  for (const end = reader.enter(); reader.next(end); ) {
    if (--budget.valuesLeft < 0) {
      reader.position = end
      break
    }
    if (reader.field !== 1) {
      reader.skip()
      continue
    }
    let key = ''
    let value: AttributeValue
    for (const entryEnd = reader.enter(); reader.next(entryEnd); ) {
      if (reader.field === 1) key = reader.text(reader.enter())
      else if (reader.field === 2) value = readAnyValue(reader, depth + 1, budget)
      else reader.skip()
    }
    entries.push([key, value])
  }
  return Object.fromEntries(entries)
}

/** Returns the text of an attribute's value. Undefined: the attribute has no value. */
export function textOfValue(value: AttributeValue): string | undefined {
  switch (typeof value) {
    case 'undefined':
      return undefined
    case 'string':
      return value
    case 'boolean':
    case 'bigint':
      return String(value)
    case 'number':
      return String(value === 0 ? 0 : value)
    case 'object':
      if (value instanceof Uint8Array) return encodeBase64(value)
      if (isList(value)) return value.flatMap((element) => textOfValue(element) ?? []).join(',')
      return JSON.stringify(value, (_key, inner: unknown) => asJsonValue(inner))
  }
}

function isList(value: readonly AttributeValue[] | AttributeMap): value is readonly AttributeValue[] {
  return Array.isArray(value)
}

/** Converts bytes, and integers beyond ±(2^53 - 1), to text, because JSON would not keep their value. */
function asJsonValue(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
  return value instanceof Uint8Array ? encodeBase64(value) : value
}
