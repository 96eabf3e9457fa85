/**
 * `ByteWriter` and `ByteReader` write and read the bytes of the storage formats. Most integers are LEB128 varints:
 * seven bits per byte, lowest bits first; the top bit is set in each byte except the last. They may be up to 2^53, the
 * maximum of a count; integers with a sign must be safe integers. JavaScript's bit operations work on 32 bits, so a
 * long varint is processed in two parts: the low 28 bits (four bytes) and the bits above them.
 */

/** A varint is high * 2^28 + low. Of the low 28 bits of a zigzag integer, the lowest is the sign; 27 are left. */
const TWO_28 = 2 ** 28
const TWO_27 = 2 ** 27
const VARINT_MAX = 2 ** 53
/** Maximum number of bytes that are copied one by one. */
const LOOPED_BYTES_MAX = 64

export class ByteWriter {
  #buffer: Uint8Array
  #view: DataView
  #length = 0

  constructor(capacityBytes = 256) {
    this.#buffer = new Uint8Array(capacityBytes)
    this.#view = new DataView(this.#buffer.buffer)
  }

  get length(): number {
    return this.#length
  }

  /** Size of the buffer in bytes. */
  get capacityBytes(): number {
    return this.#buffer.length
  }

  #reserve(bytes: number): void {
    const neededBytes = this.#length + bytes
    if (neededBytes <= this.#buffer.length) return
    const grown = new Uint8Array(Math.max(neededBytes, this.#buffer.length * 2))
    grown.set(this.#buffer.subarray(0, this.#length))
    this.#buffer = grown
    this.#view = new DataView(grown.buffer)
  }

  u8(value: number): void {
    if (this.#length === this.#buffer.length) this.#reserve(1)
    this.#buffer[this.#length++] = value
  }

  u32le(value: number): void {
    this.#reserve(4)
    this.#view.setUint32(this.#length, value, true)
    this.#length += 4
  }

  f64le(value: number): void {
    this.#reserve(8)
    this.#view.setFloat64(this.#length, value, true)
    this.#length += 8
  }

  /** Appends an integer from 0 to 2^53. Throws a RangeError for any other value. */
  varint(value: number): void {
    if (this.#length + 2 > this.#buffer.length) this.#reserve(2)
    if ((value & 0x7f) === value) {
      this.#buffer[this.#length++] = value
    } else if ((value & 0x3fff) === value) {
      this.#buffer[this.#length++] = value | 0x80
      this.#buffer[this.#length++] = value >>> 7
    } else {
      if (!Number.isInteger(value) || value < 0 || value > VARINT_MAX)
        throw new RangeError(`not an integer from 0 to 2^53: ${value}`)
      const high = Math.floor(value / TWO_28)
      this.#writeLowAndHigh(value - high * TWO_28, high)
    }
  }

  /**
   * Appends a safe integer in zigzag encoding: 0, -1, 1, -2, … become the varints 0, 1, 2, 3, … Throws a RangeError
   * for any other number.
   */
  zigzag(value: number): void {
    if (value < 0x40000000 && value >= -0x40000000 && (value | 0) === value) {
      this.varint(((value << 1) ^ (value >> 31)) >>> 0)
      return
    }
    if (!Number.isSafeInteger(value)) throw new RangeError(`not a safe integer: ${value}`)
    const sign = value < 0 ? 1 : 0
    const magnitude = sign === 1 ? -1 - value : value
    const high = Math.floor(magnitude / TWO_27)
    this.#writeLowAndHigh((magnitude - high * TWO_27) * 2 + sign, high)
  }

  /** Appends the varint of high * 2^28 + low. */
  #writeLowAndHigh(low: number, high: number): void {
    this.#reserve(8)
    let remainingBits = low
    if (high > 0) {
      for (let i = 0; i < 4; i++) {
        this.#buffer[this.#length++] = (remainingBits & 0x7f) | 0x80
        remainingBits >>>= 7
      }
      remainingBits = high
    }
    while (remainingBits >= 0x80) {
      this.#buffer[this.#length++] = (remainingBits & 0x7f) | 0x80
      remainingBits >>>= 7
    }
    this.#buffer[this.#length++] = remainingBits
  }

  /** Appends bytes, or only the first `length` of them. */
  bytes(bytes: Uint8Array, length = bytes.length): void {
    this.#reserve(length)
    // A view is an object, which costs more than a loop over a few bytes.
    if (length > LOOPED_BYTES_MAX)
      this.#buffer.set(length === bytes.length ? bytes : bytes.subarray(0, length), this.#length)
    else for (let i = 0; i < length; i++) this.#buffer[this.#length + i] = bytes[i]!
    this.#length += length
  }

  /** The bytes written so far, as a view of the buffer. It must not be read after the next write. */
  get written(): Uint8Array {
    return this.#buffer.subarray(0, this.#length)
  }

  /** Returns a copy of the bytes written so far. */
  copyWritten(): Uint8Array {
    return this.#buffer.slice(0, this.#length)
  }

  /** Removes the bytes after the first `length` bytes. */
  truncate(length: number): void {
    this.#length = Math.min(this.#length, length)
  }

  /** Empties the writer and keeps its buffer. */
  reset(): void {
    this.#length = 0
  }
}

/**
 * Reads bytes from `offset` on. Throws a RangeError with the offset if the bytes end, or a varint is too long or large.
 */
export class ByteReader {
  readonly bytes: Uint8Array
  /** Offset of the next read. The decoder of blocks moves it past sections that are decoded later. */
  offset: number
  #view: DataView | undefined
  /** The low 28 bits of the varint that `#readVarintHigh` read last. */
  #low = 0

  constructor(bytes: Uint8Array, offset = 0) {
    this.bytes = bytes
    this.offset = offset
  }

  get remaining(): number {
    return this.bytes.length - this.offset
  }

  #advance(length: number): number {
    const start = this.offset
    if (!(length <= this.bytes.length - start)) {
      throw new RangeError(`read of ${length} bytes at offset ${start} passes the end at ${this.bytes.length}`)
    }
    this.offset = start + length
    return start
  }

  #dataView(): DataView {
    this.#view ??= new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength)
    return this.#view
  }

  u8(): number {
    return this.bytes[this.#advance(1)]!
  }

  u32le(): number {
    const start = this.#advance(4)
    const { bytes } = this
    return (bytes[start]! | (bytes[start + 1]! << 8) | (bytes[start + 2]! << 16) | (bytes[start + 3]! << 24)) >>> 0
  }

  f64le(): number {
    const start = this.#advance(8)
    return this.#dataView().getFloat64(start, true)
  }

  varint(): number {
    const start = this.offset
    // At the end of the bytes, `first` is undefined. `#readVarintHigh` below then throws an error with the offset.
    const first = this.bytes[start]
    if (first !== undefined && first < 0x80) {
      this.offset = start + 1
      return first
    }
    const second = this.bytes[start + 1]
    if (second !== undefined && second < 0x80) {
      this.offset = start + 2
      return (first! & 0x7f) | (second << 7)
    }
    const high = this.#readVarintHigh()
    const value = high * TWO_28 + this.#low
    // If the integer is 2^53 + 1, `value` is rounded to 2^53. Then only `#low` shows that it is not 2^53.
    if (value >= VARINT_MAX && (value > VARINT_MAX || this.#low !== 0)) this.#throwTooLarge(start)
    return value
  }

  zigzag(): number {
    const start = this.offset
    const high = this.#readVarintHigh()
    if (high >= 2 ** 26) this.#throwTooLarge(start)
    const magnitude = high * TWO_27 + (this.#low >>> 1)
    const value = (this.#low & 1) === 0 ? magnitude : -1 - magnitude
    if (!Number.isSafeInteger(value)) this.#throwTooLarge(start)
    return value
  }

  /** Reads a varint. Stores its low 28 bits in `#low` and returns the bits above them. */
  #readVarintHigh(): number {
    const start = this.offset
    this.#low = 0
    let high = 0
    for (let i = 0; i < 8; i++) {
      const byte = this.bytes[start + i]
      if (byte === undefined) {
        throw new RangeError(`varint at offset ${start} passes the end at ${this.bytes.length}`)
      }
      if (i < 4) this.#low |= (byte & 0x7f) << (7 * i)
      else high |= (byte & 0x7f) << (7 * (i - 4))
      if (byte < 0x80) {
        this.offset = start + i + 1
        return high
      }
    }
    throw new RangeError(`malformed varint at offset ${start}: longer than 8 bytes`)
  }

  #throwTooLarge(start: number): never {
    this.offset = start
    throw new RangeError(`varint at offset ${start} exceeds what fits`)
  }

  /** Skips this many bytes. */
  skip(length: number): void {
    this.#advance(length)
  }

  /** Reads this many bytes. Returns a view of them, not a copy. */
  subarray(length: number): Uint8Array {
    const start = this.#advance(length)
    return this.bytes.subarray(start, start + length)
  }
}
