import { GatewayError } from '../../model/errors.ts'

/**
 * Reads protobuf messages (https://protobuf.dev/programming-guides/encoding/) in place, without an object per message.
 * A caller loops over the fields of a message: `for (const end = reader.enter(); reader.next(end); )`, and reads or
 * skips each field. A known field with an unexpected wire type is an error; it is not skipped like an unknown field.
 *
 * Invariant: no read goes beyond the end of the body. If a field reaches beyond the end of its message, `next` throws.
 * All methods throw `invalid_body`, with the position, for a fault that they find.
 */

/** Wire types: how the value of a field is encoded. */
export const VARINT = 0
export const FIXED64 = 1
export const LENGTH_DELIMITED = 2
export const FIXED32 = 5
export type WireType = typeof VARINT | typeof FIXED64 | typeof LENGTH_DELIMITED | typeof FIXED32

const WIRE_TYPE_NAMES: Readonly<Record<number, string>> = {
  [VARINT]: 'a varint',
  [FIXED64]: 'a 64-bit value',
  [LENGTH_DELIMITED]: 'a length-delimited value',
  [FIXED32]: 'a 32-bit value',
}

/** Keeps a byte order mark as a character. If it were removed, two different texts would become equal. */
const UTF8_DECODER = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const TWO_POW_32 = 2 ** 32

export class ProtobufReader {
  readonly bytes: Uint8Array
  readonly view: DataView
  /** Position of the next byte to read. */
  position = 0
  /** Number and wire type of the field that `next` found. */
  field = 0
  wireType = 0
  /** Nanoseconds beyond the milliseconds that `nanosAsMs` returned last. */
  subMillisecondNs = 0
  /** Lower and upper 32 bits of the varint that `#varint` read last, both signed. */
  #low = 0
  #high = 0

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** Moves to the value of the next field of a message. Returns false if the message ends here, at `end`. */
  next(end: number): boolean {
    if (this.position >= end) {
      if (this.position > end) throw this.fault('a field reaches beyond its message')
      return false
    }
    const tag = this.uint32()
    this.field = tag >>> 3
    this.wireType = tag & 7
    if (this.field === 0) throw this.fault('a field has the number 0')
    return true
  }

  /**
   * Returns whether `next` found this field. Needed in nested loops, where TypeScript assumes that `field` has not
   * changed.
   */
  isField(field: number): boolean {
    return this.field === field
  }

  /** Reads the length of a message, a text or packed values. Returns the position at which this value ends. */
  enter(): number {
    this.requireWireType(LENGTH_DELIMITED)
    const length = this.uint32()
    if (length > this.bytes.length - this.position) throw this.fault('a length reaches beyond the end')
    return this.position + length
  }

  /** Skips the value of the field. */
  skip(): void {
    switch (this.wireType) {
      case VARINT:
        this.#varint()
        return
      case FIXED64:
        this.#advance(8)
        return
      case LENGTH_DELIMITED:
        this.position = this.enter()
        return
      case FIXED32:
        this.#advance(4)
        return
      default:
        throw this.fault(`wire type ${this.wireType} is unknown`)
    }
  }

  /** Throws `invalid_body` if the field has another wire type. */
  requireWireType(wireType: WireType): void {
    if (this.wireType === wireType) return
    const actualName = WIRE_TYPE_NAMES[this.wireType] ?? `of wire type ${this.wireType}`
    throw this.fault(`field ${this.field} is ${actualName}, not ${WIRE_TYPE_NAMES[wireType]}`)
  }

  /** Reads a varint and returns its lower 32 bits, unsigned. For values such as tags, lengths and enums. */
  uint32(): number {
    const byte = this.bytes[this.position]
    if (byte !== undefined && byte < 0x80) {
      this.position++
      return byte
    }
    return this.#varint() >>> 0
  }

  /** Reads an unsigned 64-bit varint. Beyond 2^53, returns the nearest double. */
  uint64(): number {
    const low = this.#varint() >>> 0
    return (this.#high >>> 0) * TWO_POW_32 + low
  }

  /** Reads a signed 64-bit varint. Beyond ±2^53, returns the nearest double. */
  int64(): number {
    const low = this.#varint() >>> 0
    return this.#high * TWO_POW_32 + low
  }

  /** Reads a signed 64-bit varint. Beyond ±(2^53 - 1), returns a bigint, so no digit is lost. */
  bigint64(): number | bigint {
    const value = this.int64()
    if (Number.isSafeInteger(value)) return value
    // The upper half is signed, the lower half is unsigned.
    const low = this.#low >>> 0
    return (BigInt(this.#high) << 32n) | BigInt(low)
  }

  /** Reads a signed 32-bit varint in zigzag encoding. */
  sint32(): number {
    const value = this.#varint()
    return (value >>> 1) ^ -(value & 1)
  }

  /** Reads a signed 64-bit varint in zigzag encoding. Beyond ±2^53, returns a near double. */
  sint64(): number {
    const low = this.#varint() >>> 0
    const high = this.#high >>> 0
    const half = high * (TWO_POW_32 / 2) + (low >>> 1)
    return (low & 1) === 0 ? half : -half - 1
  }

  /** Reads 8 bytes as an unsigned integer. Beyond 2^53, returns the nearest double. */
  fixed64(): number {
    const start = this.#advance(8)
    return this.view.getUint32(start + 4, true) * TWO_POW_32 + this.view.getUint32(start, true)
  }

  /** Reads 8 bytes as a signed integer. Beyond ±2^53, returns the nearest double. */
  sfixed64(): number {
    const start = this.#advance(8)
    return this.view.getInt32(start + 4, true) * TWO_POW_32 + this.view.getUint32(start, true)
  }

  double(): number {
    return this.view.getFloat64(this.#advance(8), true)
  }

  /**
   * Reads UNIX nanoseconds and returns milliseconds, rounded down. `subMillisecondNs` then has the remaining
   * nanoseconds. Both are exact, although a double cannot represent all nanoseconds.
   */
  nanosAsMs(): number {
    const start = this.#advance(8)
    const high = this.view.getUint32(start + 4, true)
    // 2^32 ns are 4,294 ms and 967,296 ns.
    const nanos = high * 967_296 + this.view.getUint32(start, true)
    const ms = Math.floor(nanos / 1e6)
    this.subMillisecondNs = nanos - ms * 1e6
    return high * 4_294 + ms
  }

  /** Reads the text from the current position to `end`. */
  text(end: number): string {
    const start = this.position
    this.position = end
    try {
      return UTF8_DECODER.decode(this.bytes.subarray(start, end))
    } catch {
      throw this.fault(`field ${this.field} is not valid UTF-8`, start)
    }
  }

  /**
   * Appends the values of a repeated field of 64-bit values, packed or not. If `values` would then have more than
   * `countMax` elements, skips the values instead and returns false.
   */
  repeated64(values: number[], countMax: number, read: (reader: ProtobufReader) => number): boolean {
    if (this.wireType !== LENGTH_DELIMITED) {
      this.requireWireType(FIXED64)
      if (values.length >= countMax) return this.#skipTo(this.position + 8)
      values.push(read(this))
      return true
    }
    const end = this.enter()
    if ((end - this.position) % 8 !== 0) throw this.fault(`field ${this.field} does not hold whole 64-bit values`)
    if ((end - this.position) / 8 > countMax - values.length) return this.#skipTo(end)
    while (this.position < end) values.push(read(this))
    return true
  }

  /** Same as `repeated64`, for varints. If there are too many, some may have been appended before it returns false. */
  repeatedVarints(values: number[], countMax: number, read: (reader: ProtobufReader) => number): boolean {
    if (this.wireType !== LENGTH_DELIMITED) {
      this.requireWireType(VARINT)
      const value = read(this)
      if (values.length >= countMax) return false
      values.push(value)
      return true
    }
    const end = this.enter()
    while (this.position < end) {
      if (values.length >= countMax) return this.#skipTo(end)
      values.push(read(this))
    }
    if (this.position > end) throw this.fault('a field reaches beyond its message')
    return true
  }

  /** Returns the error to throw for a fault in the body. */
  fault(reason: string, position = this.position): GatewayError {
    return new GatewayError('invalid_body', `the body is not valid protobuf: ${reason} (at byte ${position})`)
  }

  #skipTo(end: number): false {
    this.#advance(end - this.position)
    return false
  }

  /** Reads a varint into `#low` and `#high`; bits beyond 64 are dropped. Returns its lower 32 bits, signed. */
  #varint(): number {
    const { bytes } = this
    let low = 0
    let high = 0
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = bytes[this.position]
      if (byte === undefined) throw this.fault('it ends too early')
      this.position++
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

  /** Skips bytes and returns their start. */
  #advance(byteCount: number): number {
    if (byteCount > this.bytes.length - this.position) throw this.fault('it ends too early')
    const start = this.position
    this.position += byteCount
    return start
  }
}
