import { GatewayError } from '../../model/errors.ts'

/**
 * Reads protobuf messages (https://protobuf.dev/programming-guides/encoding/) where they lie, without an object per
 * message. A caller loops over the fields of a message: `for (const end = reader.enter(); reader.next(end); )`, and
 * reads or skips each of them. It reads known fields by their wire type: another one is an error, not an unknown field.
 *
 * Invariant: nothing is read beyond the body or, as far as the caller sees, beyond the end of the message it loops
 * over. Every fault throws `invalid_body` with its position.
 */

export const VARINT = 0
export const FIXED64 = 1
export const BYTES = 2
export const FIXED32 = 5
export type WireType = typeof VARINT | typeof FIXED64 | typeof BYTES | typeof FIXED32

const WIRE_TYPE_NAMES: Readonly<Record<number, string>> = {
  [VARINT]: 'a varint',
  [FIXED64]: 'a 64-bit value',
  [BYTES]: 'a length-delimited value',
  [FIXED32]: 'a 32-bit value',
}

/** A byte order mark is a character like others: without it one text would equal another. */
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const TWO_POW_32 = 2 ** 32

export class ProtobufReader {
  readonly bytes: Uint8Array
  readonly view: DataView
  at = 0
  /** Of the field that `next` found. */
  field = 0
  wireType = 0
  /** Halves of the 64-bit value of the varint that was read last. */
  #low = 0
  #high = 0

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** Goes to the value of the next field. False at the end of the message. */
  next(end: number): boolean {
    if (this.at >= end) {
      if (this.at > end) throw this.fault('a field reaches beyond its message')
      return false
    }
    const tag = this.uint32()
    this.field = tag >>> 3
    this.wireType = tag & 7
    if (this.field === 0) throw this.fault('a field has the number 0')
    return true
  }

  /** Whether `next` found this field; for loops inside loops, where the compiler takes `field` for unchanged. */
  is(field: number): boolean {
    return this.field === field
  }

  /** Enters a message, a text or packed values, and returns its end. */
  enter(): number {
    this.require(BYTES)
    const length = this.uint32()
    if (length > this.bytes.length - this.at) throw this.fault('a length reaches beyond the end')
    return this.at + length
  }

  skip(): void {
    switch (this.wireType) {
      case VARINT:
        this.#varint()
        return
      case FIXED64:
        this.#advance(8)
        return
      case BYTES:
        this.at = this.enter()
        return
      case FIXED32:
        this.#advance(4)
        return
      default:
        throw this.fault(`wire type ${this.wireType} is unknown`)
    }
  }

  /** Throws unless the field has this wire type. */
  require(wireType: WireType): void {
    if (this.wireType === wireType) return
    const found = WIRE_TYPE_NAMES[this.wireType] ?? `of wire type ${this.wireType}`
    throw this.fault(`field ${this.field} is ${found}, not ${WIRE_TYPE_NAMES[wireType]}`)
  }

  /** A varint of which the lower 32 bits count, as for tags, lengths and enums. */
  uint32(): number {
    const byte = this.bytes[this.at]
    if (byte !== undefined && byte < 0x80) {
      this.at++
      return byte
    }
    return this.#varint() >>> 0
  }

  /** Beyond 2^53 the nearest double. */
  uint64(): number {
    const low = this.#varint() >>> 0
    return (this.#high >>> 0) * TWO_POW_32 + low
  }

  int64(): number {
    const low = this.#varint() >>> 0
    return this.#high * TWO_POW_32 + low
  }

  /** All digits of an int64. */
  bigint64(): number | bigint {
    const value = this.int64()
    if (Number.isSafeInteger(value)) return value
    // The upper half has its sign, the lower half has none.
    const low = this.#low >>> 0
    return (BigInt(this.#high) << 32n) | BigInt(low)
  }

  sint32(): number {
    const value = this.#varint()
    return (value >>> 1) ^ -(value & 1)
  }

  sint64(): number {
    const low = this.#varint() >>> 0
    const high = this.#high >>> 0
    const half = high * (TWO_POW_32 / 2) + (low >>> 1)
    return (low & 1) === 0 ? half : -half - 1
  }

  fixed64(): number {
    const at = this.#advance(8)
    return this.view.getUint32(at + 4, true) * TWO_POW_32 + this.view.getUint32(at, true)
  }

  sfixed64(): number {
    const at = this.#advance(8)
    return this.view.getInt32(at + 4, true) * TWO_POW_32 + this.view.getUint32(at, true)
  }

  double(): number {
    return this.view.getFloat64(this.#advance(8), true)
  }

  /** UNIX nanoseconds as milliseconds, rounded down; exact, although a double does not hold the nanoseconds. */
  nanosAsMs(): number {
    const at = this.#advance(8)
    const high = this.view.getUint32(at + 4, true)
    // 2^32 ns are 4,294 ms and 967,296 ns.
    return high * 4_294 + Math.floor((high * 967_296 + this.view.getUint32(at, true)) / 1e6)
  }

  /** The text that begins here and ends at `end`. */
  text(end: number): string {
    const start = this.at
    this.at = end
    try {
      return UTF8.decode(this.bytes.subarray(start, end))
    } catch {
      throw this.fault(`field ${this.field} is not valid UTF-8`, start)
    }
  }

  /**
   * Appends the values of a repeated field of 64-bit values, packed or not. Returns false, and skips them, when there
   * would be more than `max`.
   */
  repeated64(values: number[], max: number, read: (reader: ProtobufReader) => number): boolean {
    if (this.wireType !== BYTES) {
      this.require(FIXED64)
      if (values.length >= max) return this.#skipAll(this.at + 8)
      values.push(read(this))
      return true
    }
    const end = this.enter()
    if ((end - this.at) % 8 !== 0) throw this.fault(`field ${this.field} does not hold whole 64-bit values`)
    if ((end - this.at) / 8 > max - values.length) return this.#skipAll(end)
    while (this.at < end) values.push(read(this))
    return true
  }

  /** The same for varints. */
  repeatedVarints(values: number[], max: number, read: (reader: ProtobufReader) => number): boolean {
    if (this.wireType !== BYTES) {
      this.require(VARINT)
      const value = read(this)
      if (values.length >= max) return false
      values.push(value)
      return true
    }
    const end = this.enter()
    while (this.at < end) {
      if (values.length >= max) return this.#skipAll(end)
      values.push(read(this))
    }
    if (this.at > end) throw this.fault('a field reaches beyond its message')
    return true
  }

  fault(reason: string, at = this.at): GatewayError {
    return new GatewayError('invalid_body', `the body is not valid protobuf: ${reason} (at byte ${at})`)
  }

  #skipAll(end: number): false {
    this.#advance(end - this.at)
    return false
  }

  /** Returns the lower 32 bits. */
  #varint(): number {
    const { bytes } = this
    let low = 0
    let high = 0
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = bytes[this.at]
      if (byte === undefined) throw this.fault('it ends too early')
      this.at++
      const bits = byte & 0x7f
      if (shift < 28) low |= bits << shift
      else if (shift === 28) {
        low |= bits << 28
        high = bits >>> 4
      } else high |= bits << (shift - 32)
      if (byte < 0x80) {
        this.#low = low
        this.#high = high
        return low
      }
    }
    throw this.fault('a varint has more than 10 bytes')
  }

  /** Returns where the skipped bytes begin. */
  #advance(bytes: number): number {
    if (bytes > this.bytes.length - this.at) throw this.fault('it ends too early')
    const start = this.at
    this.at += bytes
    return start
  }
}
