import { GatewayError } from '../model/errors.ts'
import { BODY_NESTING_MAX, defineMember, OBJECT_MEMBERS_MAX } from '../model/json-parser.ts'
import { StepBudget, type Steps } from '../model/steps.ts'

/**
 * Decodes MessagePack bodies (https://github.com/msgpack/msgpack/blob/master/spec.md) item by item. A fault inside an
 * item (such as a text that is not UTF-8, or a map key that is null) rejects only that item, because the encoded
 * lengths tell where it ends. A broken structure rejects the whole body. The decoding is not left to a library, because
 * common ones replace invalid text, ignore trailing bytes, or reject the whole body for one faulty item. Integers
 * beyond ±(2^53 - 1) are bigints, the timestamp extension is a Date, and a byte string that is valid UTF-8 is text.
 */

/** Units of work (`StepBudget`): of an item that is decoded, and of each of its bytes in addition. */
const ITEM_STEP_UNITS = 256
const BYTE_STEP_UNITS = 4
/** Units of work of an item that is not decoded. Each of its bytes is one more. */
const SCANNED_ITEM_STEP_UNITS = 64

/** Number of bytes after which the reading of an item may pause. A text or a byte string is never divided. */
const PART_BYTES = 8_192

/** Maximum number of values in an item, nested ones included. Each takes memory, even if it is encoded in one byte. */
const ITEM_VALUES_MAX = 4_000_000

export interface MessagePackVisitor {
  /** Delivers an item without decoding it, and moves the reader past it. Returns false if that is not possible. */
  scan(index: number): boolean
  visit(item: unknown, index: number): Steps<void>
  /** Called instead of `visit`, with the reason, for an item that cannot be decoded. */
  reject(reason: string, index: number): void
}

/**
 * Decodes a body and passes it to `visit`, unless `scan` returns true. If it is an array, passes each element instead.
 * Returns the number of items. Throws `invalid_body` if the body is not MessagePack, and `payload_too_large` if an item
 * has too many values; earlier items may have been passed.
 */
export function* eachMessagePackItem(
  reader: MessagePackReader,
  { scan, visit, reject }: MessagePackVisitor,
): Steps<number> {
  const budget = new StepBudget()
  const itemCount = reader.openArray() ?? 1
  for (let i = 0; i < itemCount; i++) {
    const itemStart = reader.position
    if (scan(i)) {
      if (budget.spend(SCANNED_ITEM_STEP_UNITS + reader.position - itemStart)) yield
      continue
    }
    reader.beginItem()
    for (let isComplete = false; !isComplete; ) {
      const start = reader.position
      isComplete = reader.readPart()
      const units = (isComplete ? ITEM_STEP_UNITS : 0) + BYTE_STEP_UNITS * (reader.position - start)
      if (budget.spend(units)) yield
    }
    if (reader.rejectionReason === undefined) yield* visit(reader.item, i)
    else reject(reader.rejectionReason, i)
  }
  if (reader.position !== reader.bytes.length) throw invalidMessagePackError('something follows its end')
  return itemCount
}

function invalidMessagePackError(reason: string): GatewayError {
  return new GatewayError('invalid_body', `the body is not valid MessagePack: ${reason}`)
}

/** Keeps a byte order mark as a character. If it were removed, two different texts would become equal. */
const UTF8_DECODER = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * A cached short text. Texts are cached, because keys and tag values repeat from item to item. The cache is a hash
 * table by the bytes of the text; a new text replaces the previous one of its slot.
 */
interface CachedText {
  readonly bytes: Uint8Array
  readonly text: string
}
const CACHED_TEXT_SLOTS = 2_048
const CACHED_TEXT_BYTES_MAX = 24
const cachedTexts = new Array<CachedText | undefined>(CACHED_TEXT_SLOTS).fill(undefined)

/** Stands for an array or a map whose values follow. */
const OPENED = Symbol('opened')

const FIX_MAP = 0x80
const FIX_ARRAY = 0x90
const FIX_TEXT = 0xa0
/** The first of the bytes that begin an array or a map with a length of 2 or 4 bytes; the last is before 0xe0. */
const ARRAY_16 = 0xdc
const NEGATIVE_FIX_INT = 0xe0

/** An array or a map whose values are being read. The keys of a map are among its values. */
interface OpenContainer {
  readonly container: unknown[] | Record<string, unknown>
  readonly isArray: boolean
  readonly parent: OpenContainer | undefined
  readonly depth: number
  valuesLeft: number
  /** Key of the member of a map that is being read. */
  key: unknown
}

export class MessagePackReader {
  readonly bytes: Uint8Array
  readonly view: DataView
  position = 0
  /** The item that was read last. Meaningless if the item is invalid. */
  item: unknown = undefined
  /** Why the item that was read last is invalid. Undefined: it is valid. */
  rejectionReason: string | undefined = undefined
  #valueCount = 0
  /** The innermost array or map whose values are being read. Undefined: none. */
  #innermost: OpenContainer | undefined = undefined

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** Moves to the first element of an array and returns the array's length. Undefined: the next value is no array. */
  openArray(): number | undefined {
    this.#requireBytes(1)
    const byte = this.bytes[this.position]!
    if ((byte & 0xf0) !== FIX_ARRAY && byte !== ARRAY_16 && byte !== ARRAY_16 + 1) return undefined
    this.position++
    const length = byte < ARRAY_16 ? byte & 0x0f : this.#readUnsigned(byte === ARRAY_16 ? 2 : 4)
    this.#requireBytes(length)
    return length
  }

  /** Begins the next item, which `readPart` then reads. */
  beginItem(): void {
    this.#valueCount = 0
    this.#innermost = undefined
    this.item = undefined
    this.rejectionReason = undefined
  }

  /**
   * Reads about `PART_BYTES` of the item, or the rest of it. Returns true if the item is complete: it is then in
   * `item`, and if it is invalid, `rejectionReason` is set. Does not recurse, so that it can end between two values.
   */
  readPart(): boolean {
    for (const end = this.position + PART_BYTES; this.position < end; ) {
      const value = this.#readValue()
      if (value !== OPENED && this.#addValue(value)) return true
    }
    return false
  }

  /**
   * Adds a value to the innermost array or map. If the array or map ends after it, the array or map is the next value
   * to be added. Returns true if the value completes the item.
   */
  #addValue(completeValue: unknown): boolean {
    let value = completeValue
    for (let open = this.#innermost; open !== undefined; open = open.parent) {
      if (open.isArray) (open.container as unknown[]).push(value)
      else if (open.valuesLeft % 2 === 0) open.key = value
      else this.#addMember(open.container as Record<string, unknown>, open.key, value)
      if (--open.valuesLeft > 0) {
        this.#innermost = open
        return false
      }
      value = open.container
    }
    this.item = value
    return true
  }

  /** Adds a member to a map. If a key is repeated, its last value is used, as in JSON. */
  #addMember(map: Record<string, unknown>, key: unknown, value: unknown): void {
    if (this.rejectionReason !== undefined) return
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
        this.rejectionReason = 'a key of a map is no text'
    }
  }

  /** Reads a value that is no array and no map, outside of `readPart`. Returns undefined for an array or a map. */
  readScalar(): unknown {
    this.#valueCount = 0
    const byte = this.bytes[this.position]!
    const isContainer = (byte >= FIX_MAP && byte < FIX_TEXT) || byte >= ARRAY_16
    return isContainer && byte < NEGATIVE_FIX_INT ? undefined : this.#readValue()
  }

  /** Reads a value. Returns `OPENED` for an array or a map that is not empty: its values follow. */
  #readValue(): unknown {
    if (++this.#valueCount > ITEM_VALUES_MAX)
      throw new GatewayError('payload_too_large', `at most ${ITEM_VALUES_MAX} values are allowed in an item`)
    this.#requireBytes(1)
    const byte = this.bytes[this.position++]!
    if (byte < 0x80) return byte
    if (byte < 0x90) return this.#open({}, false, byte & 0x0f)
    if (byte < 0xa0) return this.#open([], true, byte & 0x0f)
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
        return this.#readBytes(this.#readUnsigned(1))
      case 0xc5:
        return this.#readBytes(this.#readUnsigned(2))
      case 0xc6:
        return this.#readBytes(this.#readUnsigned(4))
      case 0xc7:
        return this.#readExtension(this.#readUnsigned(1))
      case 0xc8:
        return this.#readExtension(this.#readUnsigned(2))
      case 0xc9:
        return this.#readExtension(this.#readUnsigned(4))
      case 0xca:
        return this.view.getFloat32(this.#skip(4))
      case 0xcb:
        return this.view.getFloat64(this.#skip(8))
      case 0xcc:
        return this.#readUnsigned(1)
      case 0xcd:
        return this.#readUnsigned(2)
      case 0xce:
        return this.#readUnsigned(4)
      case 0xcf:
        return this.#readInteger64(this.#skip(8), false)
      case 0xd0:
        return this.view.getInt8(this.#skip(1))
      case 0xd1:
        return this.view.getInt16(this.#skip(2))
      case 0xd2:
        return this.view.getInt32(this.#skip(4))
      case 0xd3:
        return this.#readInteger64(this.#skip(8), true)
      case 0xd4:
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8:
        return this.#readExtension(1 << (byte - 0xd4))
      case 0xd9:
        return this.#readText(this.#readUnsigned(1))
      case 0xda:
        return this.#readText(this.#readUnsigned(2))
      case 0xdb:
        return this.#readText(this.#readUnsigned(4))
      case 0xdc:
        return this.#open([], true, this.#readUnsigned(2))
      case 0xdd:
        return this.#open([], true, this.#readUnsigned(4))
      case 0xde:
        return this.#open({}, false, this.#readUnsigned(2))
      case 0xdf:
        return this.#open({}, false, this.#readUnsigned(4))
      default:
        throw invalidMessagePackError('a byte begins no value')
    }
  }

  /**
   * Opens an array or a map of `length` elements or members. Returns it if it is empty, otherwise `OPENED`. Throws
   * `invalid_body` if the body is too short for so many values, or if they are nested too deeply.
   */
  #open(container: OpenContainer['container'], isArray: boolean, length: number): unknown {
    if (length === 0) return container
    if (!isArray && length > OBJECT_MEMBERS_MAX)
      this.rejectionReason = `a map may have ${OBJECT_MEMBERS_MAX} members at most`
    const valuesLeft = isArray ? length : 2 * length
    // Each value takes at least one byte.
    this.#requireBytes(valuesLeft)
    const parent = this.#innermost
    const depth = parent === undefined ? 1 : parent.depth + 1
    if (depth > BODY_NESTING_MAX) throw invalidMessagePackError(`it is nested deeper than ${BODY_NESTING_MAX} levels`)
    this.#innermost = { container, isArray, parent, depth, valuesLeft, key: undefined }
    return OPENED
  }

  #readText(length: number): string {
    const start = this.#skip(length)
    const bytes = this.bytes
    if (length > CACHED_TEXT_BYTES_MAX) return this.#decodeText(start)
    let hash = length
    for (let i = start; i < this.position; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193)
    const slot = (hash ^ (hash >>> 15)) & (CACHED_TEXT_SLOTS - 1)
    const cachedText = cachedTexts[slot]
    if (cachedText !== undefined && cachedText.bytes.length === length) {
      let i = 0
      while (i < length && cachedText.bytes[i] === bytes[start + i]) i++
      if (i === length) return cachedText.text
    }
    const text = this.#decodeText(start)
    // A text that is not valid UTF-8 must not be cached.
    if (this.rejectionReason === undefined) cachedTexts[slot] = { bytes: bytes.slice(start, this.position), text }
    return text
  }

  #decodeText(start: number): string {
    try {
      return UTF8_DECODER.decode(this.bytes.subarray(start, this.position))
    } catch {
      this.rejectionReason = 'a text is no valid UTF-8'
      return ''
    }
  }

  /** Reads text that was packed as bytes. Bytes that are not UTF-8 stay bytes. */
  #readBytes(length: number): string | Uint8Array {
    const start = this.#skip(length)
    const bytes = this.bytes.subarray(start, this.position)
    try {
      return UTF8_DECODER.decode(bytes)
    } catch {
      return bytes
    }
  }

  /** Reads an extension: a timestamp as a Date, any other as bytes. */
  #readExtension(length: number): Date | Uint8Array {
    const type = this.view.getInt8(this.#skip(1))
    const start = this.#skip(length)
    if (type !== -1) return this.bytes.subarray(start, this.position)
    const view = this.view
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
        this.rejectionReason = 'a time has 4, 8 or 12 bytes'
        return new Date(Number.NaN)
    }
  }

  #readInteger64(start: number, isSigned: boolean): number | bigint {
    const view = this.view
    const high = isSigned ? view.getInt32(start) : view.getUint32(start)
    const value = high * 2 ** 32 + view.getUint32(start + 4)
    if (Number.isSafeInteger(value)) return value
    return isSigned ? view.getBigInt64(start) : view.getBigUint64(start)
  }

  /** Reads an unsigned integer of 1, 2 or 4 bytes. */
  #readUnsigned(byteCount: 1 | 2 | 4): number {
    const start = this.#skip(byteCount)
    if (byteCount === 1) return this.bytes[start]!
    return byteCount === 2 ? this.view.getUint16(start) : this.view.getUint32(start)
  }

  /** Skips bytes and returns their start. */
  #skip(byteCount: number): number {
    this.#requireBytes(byteCount)
    const start = this.position
    this.position += byteCount
    return start
  }

  /** Throws `invalid_body` if fewer bytes follow. */
  #requireBytes(byteCount: number): void {
    if (byteCount > this.bytes.length - this.position) throw invalidMessagePackError('it ends too early')
  }
}
