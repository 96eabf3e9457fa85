import { GatewayError } from '../model/errors.ts'
import { BODY_LEVELS_MAX, defineMember } from '../model/json-parser.ts'
import { StepBudget, type Steps } from '../model/steps.ts'

/**
 * MessagePack bodies (https://github.com/msgpack/msgpack/blob/master/spec.md), item by item. A fault inside
 * an item (a text that is not UTF-8, a map key that is not a text) rejects that item alone, because lengths say where
 * it ends; only a
 * broken structure rejects the body. Libraries decode such a text to something, skip bytes that follow, or reject the
 * whole body.
 * Integers beyond 2^53 are bigints, the timestamp extension is a Date, texts packed as bytes are texts.
 */

/** What an item costs besides its bytes, in units of a step. */
const ITEM_UNITS = 256

/** Values in one item, of which each takes memory however few bytes it has. */
const ITEM_VALUES_MAX = 4_000_000

export interface MessagePackVisitor {
  visit(item: unknown): Steps<void>
  /** Takes the reason why an item cannot be decoded. */
  refuse(reason: string): void
}

/**
 * Visits the body, or each element when it is an array. Throws `invalid_body` when the
 * body is not MessagePack, and `payload_too_large` when an item holds too many values.
 */
export function* eachMessagePackItem(bytes: Uint8Array, { visit, refuse }: MessagePackVisitor): Steps<void> {
  const reader = new Reader(bytes)
  const budget = new StepBudget()
  const items = reader.openArray() ?? 1
  for (let i = 0; i < items; i++) {
    const start = reader.at
    const item = reader.readItem()
    if (budget.spend(ITEM_UNITS + 4 * (reader.at - start))) yield
    if (reader.fault === undefined) yield* visit(item)
    else refuse(reader.fault)
  }
  if (reader.at !== bytes.length) throw undecodable('something follows its end')
}

function undecodable(reason: string): GatewayError {
  return new GatewayError('invalid_body', `the body is not valid MessagePack: ${reason}`)
}

/** A byte order mark is a character like others: without it one text would equal another. */
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Short texts (keys, tag values) repeat from item to item: they are cached by their bytes, the latest in each slot. */
interface KnownText {
  readonly bytes: Uint8Array
  readonly text: string
}
const KNOWN_TEXTS = 2_048
const KNOWN_BYTES_MAX = 24
const knownTexts = new Array<KnownText | undefined>(KNOWN_TEXTS).fill(undefined)

const FIX_ARRAY = 0x90
const ARRAY_16 = 0xdc

class Reader {
  at = 0
  /** Why the item read last cannot be taken. */
  fault: string | undefined = undefined
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #values = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** Enters the array that begins here and returns its length; undefined when there is none. */
  openArray(): number | undefined {
    this.#require(1)
    const byte = this.#bytes[this.at]!
    if ((byte & 0xf0) !== FIX_ARRAY && byte !== ARRAY_16 && byte !== ARRAY_16 + 1) return undefined
    this.at++
    const length = byte < ARRAY_16 ? byte & 0x0f : this.#readLength(byte === ARRAY_16 ? 2 : 4)
    this.#require(length)
    return length
  }

  readItem(): unknown {
    this.#values = 0
    this.fault = undefined
    return this.#read(0)
  }

  #read(depth: number): unknown {
    if (++this.#values > ITEM_VALUES_MAX)
      throw new GatewayError('payload_too_large', `at most ${ITEM_VALUES_MAX} values are allowed in an item`)
    this.#require(1)
    const byte = this.#bytes[this.at++]!
    if (byte < 0x80) return byte
    if (byte < 0x90) return this.#readMap(byte & 0x0f, depth)
    if (byte < 0xa0) return this.#readArray(byte & 0x0f, depth)
    if (byte < 0xc0) return this.#readText(byte & 0x1f)
    if (byte >= 0xe0) return byte - 0x100
    switch (byte) {
      case 0xc0:
        return null
      case 0xc2:
        return false
      case 0xc3:
        return true
      case 0xc4:
        return this.#readBytes(this.#readLength(1))
      case 0xc5:
        return this.#readBytes(this.#readLength(2))
      case 0xc6:
        return this.#readBytes(this.#readLength(4))
      case 0xc7:
        return this.#readExtension(this.#readLength(1))
      case 0xc8:
        return this.#readExtension(this.#readLength(2))
      case 0xc9:
        return this.#readExtension(this.#readLength(4))
      case 0xca:
        return this.#view.getFloat32(this.#skip(4))
      case 0xcb:
        return this.#view.getFloat64(this.#skip(8))
      case 0xcc:
        return this.#readLength(1)
      case 0xcd:
        return this.#readLength(2)
      case 0xce:
        return this.#readLength(4)
      case 0xcf:
        return this.#readInteger64(this.#skip(8), false)
      case 0xd0:
        return this.#view.getInt8(this.#skip(1))
      case 0xd1:
        return this.#view.getInt16(this.#skip(2))
      case 0xd2:
        return this.#view.getInt32(this.#skip(4))
      case 0xd3:
        return this.#readInteger64(this.#skip(8), true)
      case 0xd4:
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8:
        return this.#readExtension(1 << (byte - 0xd4))
      case 0xd9:
        return this.#readText(this.#readLength(1))
      case 0xda:
        return this.#readText(this.#readLength(2))
      case 0xdb:
        return this.#readText(this.#readLength(4))
      case 0xdc:
        return this.#readArray(this.#readLength(2), depth)
      case 0xdd:
        return this.#readArray(this.#readLength(4), depth)
      case 0xde:
        return this.#readMap(this.#readLength(2), depth)
      case 0xdf:
        return this.#readMap(this.#readLength(4), depth)
      default:
        throw undecodable('a byte begins no value')
    }
  }

  #readArray(length: number, depth: number): unknown[] {
    this.#requireInner(length, depth)
    const array: unknown[] = []
    for (let i = 0; i < length; i++) array.push(this.#read(depth + 1))
    return array
  }

  /** Of a key that occurs twice the later value counts, as in JSON. */
  #readMap(length: number, depth: number): Record<string, unknown> {
    this.#requireInner(2 * length, depth)
    const map: Record<string, unknown> = {}
    for (let i = 0; i < length; i++) {
      const key = this.#read(depth + 1)
      const value = this.#read(depth + 1)
      switch (typeof key) {
        case 'string':
          defineMember(map, key, value)
          break
        case 'number':
        case 'bigint':
        case 'boolean':
          map[String(key)] = value
          break
        default:
          this.fault = 'a key of a map is no text'
      }
    }
    return map
  }

  #readText(length: number): string {
    const start = this.#skip(length)
    const bytes = this.#bytes
    if (length > KNOWN_BYTES_MAX) return this.#decode(start)
    let hash = length
    for (let at = start; at < this.at; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193)
    const slot = (hash ^ (hash >>> 15)) & (KNOWN_TEXTS - 1)
    const known = knownTexts[slot]
    if (known !== undefined && known.bytes.length === length) {
      let i = 0
      while (i < length && known.bytes[i] === bytes[start + i]) i++
      if (i === length) return known.text
    }
    const text = this.#decode(start)
    // A fault leaves no text to keep.
    if (this.fault === undefined) knownTexts[slot] = { bytes: bytes.slice(start, this.at), text }
    return text
  }

  #decode(start: number): string {
    try {
      return UTF8.decode(this.#bytes.subarray(start, this.at))
    } catch {
      this.fault = 'a text is no valid UTF-8'
      return ''
    }
  }

  /** Bytes that are not UTF-8 stay bytes, which no field accepts. */
  #readBytes(length: number): string | Uint8Array {
    const start = this.#skip(length)
    const bytes = this.#bytes.subarray(start, this.at)
    try {
      return UTF8.decode(bytes)
    } catch {
      return bytes
    }
  }

  /** A time as a Date, any other extension as its bytes. */
  #readExtension(length: number): Date | Uint8Array {
    const type = this.#view.getInt8(this.#skip(1))
    const start = this.#skip(length)
    if (type !== -1) return this.#bytes.subarray(start, this.at)
    const view = this.#view
    switch (length) {
      case 4:
        return new Date(view.getUint32(start) * 1e3)
      case 8: {
        const high = view.getUint32(start)
        const seconds = (high & 3) * 2 ** 32 + view.getUint32(start + 4)
        return new Date(seconds * 1e3 + Math.floor((high >>> 2) / 1e6))
      }
      case 12:
        return new Date(Number(view.getBigInt64(start + 4)) * 1e3 + Math.floor(view.getUint32(start) / 1e6))
      default:
        this.fault = 'a time has 4, 8 or 12 bytes'
        return new Date(Number.NaN)
    }
  }

  #readInteger64(start: number, isSigned: boolean): number | bigint {
    const view = this.#view
    const high = isSigned ? view.getInt32(start) : view.getUint32(start)
    const value = high * 2 ** 32 + view.getUint32(start + 4)
    if (Number.isSafeInteger(value)) return value
    return isSigned ? view.getBigInt64(start) : view.getBigUint64(start)
  }

  /** An unsigned integer of 1, 2 or 4 bytes. */
  #readLength(bytes: 1 | 2 | 4): number {
    const start = this.#skip(bytes)
    if (bytes === 1) return this.#bytes[start]!
    return bytes === 2 ? this.#view.getUint16(start) : this.#view.getUint32(start)
  }

  #requireInner(values: number, depth: number): void {
    // Each takes a byte at least.
    this.#require(values)
    if (values > 0 && depth === BODY_LEVELS_MAX) throw undecodable(`it is nested deeper than ${BODY_LEVELS_MAX} levels`)
  }

  /** Skips bytes and returns where they begin. */
  #skip(bytes: number): number {
    this.#require(bytes)
    const start = this.at
    this.at += bytes
    return start
  }

  #require(bytes: number): void {
    if (bytes > this.#bytes.length - this.at) throw undecodable('it ends too early')
  }
}
