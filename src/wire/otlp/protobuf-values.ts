import { BYTES, FIXED64, type ProtobufReader, VARINT } from '../protobuf/protobuf-reader.ts'
import { base64 } from './base64.ts'
import type { TagPair } from './otlp-metric.ts'

/**
 * Attributes of OTLP as tags (`common/v1/common.proto`): text of any kind of value. Lists are joined by commas, maps
 * become JSON, bytes base64. An attribute without a value is no tag.
 */

/** Nesting of an attribute's value. */
export const ATTRIBUTE_DEPTH_MAX = 16
/** Values in lists and maps of an attribute. What follows is cut: the text is longer than that of any tag by then. */
const ATTRIBUTE_VALUES_MAX = 4_096

/** Far more than the text of a tag, which bounds the work on one attribute. */
const ATTRIBUTE_BYTES_MAX = 1_048_576

/** Reads a `KeyValue`. Undefined: it has no value. */
export function readKeyValue(reader: ProtobufReader): TagPair | undefined {
  let key = ''
  let value: Value
  const room: Room = { values: ATTRIBUTE_VALUES_MAX }
  const end = reader.enter()
  if (end - reader.at > ATTRIBUTE_BYTES_MAX)
    throw reader.fault(`an attribute has more than ${ATTRIBUTE_BYTES_MAX} bytes`)
  while (reader.next(end)) {
    if (reader.field === 1) key = reader.text(reader.enter())
    else if (reader.field === 2) value = readAnyValue(reader, 0, room)
    else reader.skip()
  }
  const text = textOf(value)
  return text === undefined ? undefined : [key, text]
}

export type Value = string | number | bigint | boolean | Uint8Array | undefined | readonly Value[] | ValueMap
interface ValueMap {
  readonly [key: string]: Value
}

/** How much more an attribute may hold. */
interface Room {
  values: number
}

function readAnyValue(reader: ProtobufReader, depth: number, room: Room): Value {
  if (depth > ATTRIBUTE_DEPTH_MAX)
    throw reader.fault(`an attribute is nested deeper than ${ATTRIBUTE_DEPTH_MAX} levels`)
  let value: Value
  for (const end = reader.enter(); reader.next(end); ) {
    switch (reader.field) {
      case 1:
        value = reader.text(reader.enter())
        break
      case 2:
        reader.require(VARINT)
        value = reader.uint64() !== 0
        break
      case 3:
        reader.require(VARINT)
        value = reader.bigint64()
        break
      case 4:
        reader.require(FIXED64)
        value = reader.double()
        break
      case 5:
        value = readList(reader, depth, room)
        break
      case 6:
        value = readMap(reader, depth, room)
        break
      case 7: {
        reader.require(BYTES)
        const bytesEnd = reader.enter()
        value = reader.bytes.subarray(reader.at, bytesEnd)
        reader.at = bytesEnd
        break
      }
      default:
        reader.skip()
    }
  }
  return value
}

function readList(reader: ProtobufReader, depth: number, room: Room): Value[] {
  const list: Value[] = []
  for (const end = reader.enter(); reader.next(end); ) {
    if (--room.values < 0) reader.at = end
    else if (reader.field === 1) list.push(readAnyValue(reader, depth + 1, room))
    else reader.skip()
  }
  return list
}

function readMap(reader: ProtobufReader, depth: number, room: Room): ValueMap {
  const entries: [string, Value][] = []
  for (const end = reader.enter(); reader.next(end); ) {
    if (--room.values < 0) {
      reader.at = end
      break
    }
    if (reader.field !== 1) {
      reader.skip()
      continue
    }
    let key = ''
    let value: Value
    for (const entryEnd = reader.enter(); reader.next(entryEnd); ) {
      if (reader.field === 1) key = reader.text(reader.enter())
      else if (reader.field === 2) value = readAnyValue(reader, depth + 1, room)
      else reader.skip()
    }
    entries.push([key, value])
  }
  return Object.fromEntries(entries)
}

/** Undefined: nothing. */
export function textOf(value: Value): string | undefined {
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
      if (value instanceof Uint8Array) return base64(value)
      if (isList(value)) return value.flatMap((element) => textOf(element) ?? []).join(',')
      return JSON.stringify(value, (_key, inner: unknown) => writable(inner))
  }
}

function isList(value: readonly Value[] | ValueMap): value is readonly Value[] {
  return Array.isArray(value)
}

/** What JSON cannot hold, as text. */
function writable(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
  return value instanceof Uint8Array ? base64(value) : value
}
