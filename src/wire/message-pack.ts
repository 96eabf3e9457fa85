import { Decoder } from '@msgpack/msgpack'
import { GatewayError } from '../model/errors.ts'

/**
 * MessagePack bodies, item by item. Each item is walked over before it is decoded: a length that reaches beyond the body, or nesting
 * without end, would have the decoder set memory aside for what never comes. Integers of 64 bits are bigints, the timestamp
 * extension is a Date, texts packed as bytes are texts.
 */

const DEPTH_MAX = 256

/** Values in one item, of which each takes memory however few bytes it has. */
const ITEM_VALUES_MAX = 4_000_000

/** Items that are decoded together. */
const GROUP_BYTES = 1 << 14

const UTF8 = new TextDecoder('utf-8', { fatal: true })

const decoder = new Decoder({ useBigInt64: true, mapKeyConverter: keyOf })

/**
 * Hands over the items of an array, or the one that the body is. Throws `invalid_body` where it stops being MessagePack, and
 * `payload_too_large` when an item holds too many values.
 */
export function eachMessagePackItem(bytes: Uint8Array, visit: (item: unknown) => void): void {
  const walk = new Walk(bytes)
  const items = walk.openArray() ?? 1
  for (let i = 0; i < items; ) {
    // Several at once: to begin costs as much as an item.
    const start = walk.at
    let hasBytes = false
    do {
      walk.skipValue()
      hasBytes ||= walk.hasBytes
    } while (++i < items && walk.at - start < GROUP_BYTES)
    for (const item of decode(bytes.subarray(start, walk.at))) visit(hasBytes ? bytesAsTexts(item) : item)
  }
  if (walk.at !== bytes.length) throw undecodable('something follows its end')
}

function decode(bytes: Uint8Array): unknown[] {
  try {
    return [...decoder.decodeMulti(bytes)]
  } catch (cause) {
    throw undecodable('a value cannot be read', cause)
  }
}

function undecodable(reason: string, cause?: unknown): GatewayError {
  return new GatewayError('invalid_body', `the body is no valid MessagePack: ${reason}`, { cause })
}

/** Map keys of every kind that has a text. */
function keyOf(key: unknown): string | number {
  switch (typeof key) {
    case 'string':
    case 'number':
      return key
    case 'bigint':
    case 'boolean':
      return String(key)
    default:
      if (key instanceof Uint8Array) return UTF8.decode(key)
      throw new TypeError('a key of a map has no text')
  }
}

/** In place; what is no text stays bytes. The walk has bounded how deep this goes. */
function bytesAsTexts(value: unknown): unknown {
  if (value instanceof Uint8Array) {
    try {
      return UTF8.decode(value)
    } catch {
      return value
    }
  }
  if (typeof value !== 'object' || value === null || value instanceof Date) return value
  for (const [key, inner] of Object.entries(value)) Reflect.set(value, key, bytesAsTexts(inner))
  return value
}

/** Bytes that follow the first one of a value, from 0xc0 on; for those with a length, the bytes of the length. */
// biome-ignore format: two rows of sixteen
const FOLLOWING = [
  0, -1, 0, 0, 1, 2, 4, 1, 2, 4, 4, 8, 1, 2, 4, 8,
  1, 2, 4, 8, 2, 3, 5, 9, 17, 1, 2, 4, 2, 4, 2, 4,
]
const BIN_8 = 0xc4
const EXT_8 = 0xc7
const FLOAT_32 = 0xca
const STR_8 = 0xd9
const ARRAY_16 = 0xdc
const MAP_16 = 0xde

class Walk {
  at = 0
  /** Bytes were among the values skipped last. */
  hasBytes = false
  readonly #view: DataView
  /** Values due at each depth. */
  readonly #due = new Float64Array(DEPTH_MAX + 1)

  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** Enters the array that begins here and answers its length; undefined when there is none. */
  openArray(): number | undefined {
    this.#require(1)
    const byte = this.#view.getUint8(this.at)
    if (byte < 0x90 || (byte > 0x9f && byte !== ARRAY_16 && byte !== ARRAY_16 + 1)) return undefined
    this.at++
    const length = byte <= 0x9f ? byte & 0x0f : this.#readLength(FOLLOWING[byte - 0xc0]!)
    this.#require(length)
    return length
  }

  skipValue(): void {
    const due = this.#due
    let depth = 0
    let values = 0
    due[0] = 1
    this.hasBytes = false
    for (;;) {
      while (due[depth] === 0) if (--depth < 0) return
      due[depth]!--
      if (++values > ITEM_VALUES_MAX)
        throw new GatewayError('payload_too_large', `at most ${ITEM_VALUES_MAX} values are allowed in an item`)
      const inner = this.#skipHead()
      if (inner === 0) continue
      // Each takes a byte at least.
      this.#require(inner)
      if (++depth > DEPTH_MAX) throw undecodable(`it is nested deeper than ${DEPTH_MAX} levels`)
      due[depth] = inner
    }
  }

  /** Skips a value but for those inside of it, and answers how many these are. */
  #skipHead(): number {
    this.#require(1)
    const byte = this.#view.getUint8(this.at++)
    if (byte < 0x80 || byte >= 0xe0) return 0
    if (byte < 0x90) return 2 * (byte & 0x0f)
    if (byte < 0xa0) return byte & 0x0f
    if (byte < 0xc0) {
      this.#skip(byte & 0x1f)
      return 0
    }
    const following = FOLLOWING[byte - 0xc0]!
    if (following < 0) throw undecodable('a byte begins no value')
    if (byte >= MAP_16) return 2 * this.#readLength(following)
    if (byte >= ARRAY_16) return this.#readLength(following)
    if (byte >= STR_8) this.#skip(this.#readLength(following))
    else if (byte >= EXT_8 && byte < FLOAT_32) this.#skip(1 + this.#readLength(following))
    else if (byte >= BIN_8 && byte < EXT_8) {
      this.hasBytes = true
      this.#skip(this.#readLength(following))
    } else this.#skip(following)
    return 0
  }

  #readLength(bytes: number): number {
    const start = this.at
    this.#skip(bytes)
    return bytes === 1
      ? this.#view.getUint8(start)
      : bytes === 2
        ? this.#view.getUint16(start)
        : this.#view.getUint32(start)
  }

  #skip(bytes: number): void {
    this.#require(bytes)
    this.at += bytes
  }

  #require(bytes: number): void {
    if (bytes > this.#view.byteLength - this.at) throw undecodable('it ends too early')
  }
}
