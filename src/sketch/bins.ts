import { BIN_KEY_MAX, BIN_KEY_OF_ONE } from './quantile-precision.ts'
import { ByteReader, type ByteWriter } from './varint.ts'

/**
 * Encodes the bins of a quantile sketch as varints: the number of bins; the first key minus `BIN_KEY_OF_ONE`, in zigzag
 * encoding, and the first weight; then for each further bin the difference from the previous key (1 or more) and the
 * weight. Most differences and weights are below 128, so most bins take two bytes. Decoded blocks keep this encoding in
 * memory, and a merge of blocks decodes the bins of one row at a time.
 */

/** Decoded bins as columns, in ascending order of keys. */
export class BinColumns {
  keys: Int32Array
  weights: Float64Array
  length = 0

  constructor(capacity = 256) {
    this.keys = new Int32Array(capacity)
    this.weights = new Float64Array(capacity)
  }

  /** Ensures capacity for this many bins. Bins that are already in the columns may be lost. */
  reserve(capacity: number): void {
    if (capacity <= this.keys.length) return
    this.keys = new Int32Array(capacity * 2)
    this.weights = new Float64Array(capacity * 2)
  }
}

/**
 * Appends the encoding of bins. Throws a RangeError if a weight is not an integer from 0 to 2^53; then a part was
 * appended.
 */
export function encodeBins({ keys, weights, length }: BinColumns, writer: ByteWriter): void {
  writer.varint(length)
  for (let i = 0; i < length; i++) {
    if (i === 0) writer.zigzag(keys[0]! - BIN_KEY_OF_ONE)
    else writer.varint(keys[i]! - keys[i - 1]!)
    writer.varint(weights[i]!)
  }
}

/**
 * Decodes the bins of the sketch at `start` into `columns`. Returns the offset after its last byte. Throws a RangeError
 * if the bytes end too early, a varint is too long or large, keys do not ascend or are out of range, or a weight is 0.
 */
export function decodeBins(bytes: Uint8Array, start: number, columns: BinColumns): number {
  columns.length = 0
  varintOffset = start
  const count = nextVarint(bytes)
  if (count === 0) return varintOffset
  // A bin takes at least two bytes. Without this check, a damaged count could allocate any amount of memory.
  if (count * 2 > bytes.length - varintOffset) {
    throw new RangeError(`${count} bins at offset ${start} pass the end at ${bytes.length}`)
  }
  columns.reserve(count)
  const { keys, weights } = columns
  const zigzag = nextVarint(bytes)
  // The shift works on 32 bits: it could turn a number that is too large into a valid key.
  const firstKey = zigzag > KEY_ZIGZAG_MAX ? Number.NaN : ((zigzag >>> 1) ^ -(zigzag & 1)) + BIN_KEY_OF_ONE
  let key = firstKey
  let weight = nextVarint(bytes)
  keys[0] = key
  weights[0] = weight
  let isValid = weight > 0
  /**
   * Becomes negative if a bin of two bytes has a difference or a weight of 0. It is tested once after the loop, because
   * a test for each bin would take longer.
   */
  let signOfInvalidBins = 0
  let offset = varintOffset
  const lastByteIndex = bytes.length - 1
  for (let i = 1; i < count; i++) {
    if (offset < lastByteIndex) {
      const delta = bytes[offset]!
      const shortWeight = bytes[offset + 1]!
      if ((delta | shortWeight) < 0x80) {
        signOfInvalidBins |= (delta - 1) | (shortWeight - 1)
        key += delta
        keys[i] = key
        weights[i] = shortWeight
        offset += 2
        continue
      }
    }
    varintOffset = offset
    const delta = nextVarint(bytes)
    weight = nextVarint(bytes)
    offset = varintOffset
    isValid = isValid && delta > 0 && weight > 0
    key += delta
    keys[i] = key
    weights[i] = weight
  }
  if (!isValid || signOfInvalidBins < 0 || !(firstKey >= -BIN_KEY_MAX && key <= BIN_KEY_MAX))
    throw new RangeError(`not the bins of a sketch at offset ${start}`)
  columns.length = count
  return offset
}

/**
 * Returns the offset after the sketch at `start`, without decoding its bins. `view` is a view of `bytes`. Throws a
 * RangeError in the same cases as `decodeBins`, and if the sketch has no bins. Reads two bins of two bytes at a time,
 * which takes a fraction of the time of decoding.
 */
export function skipBins(bytes: Uint8Array, view: DataView, start: number): number {
  varintOffset = start
  const count = nextVarint(bytes)
  if (count === 0) throw new RangeError(`a sketch without bins at offset ${start}`)
  if (count * 2 > bytes.length - varintOffset) {
    throw new RangeError(`${count} bins at offset ${start} pass the end at ${bytes.length}`)
  }
  const zigzag = nextVarint(bytes)
  let key = zigzag > KEY_ZIGZAG_MAX ? Number.NaN : ((zigzag >>> 1) ^ -(zigzag & 1)) + BIN_KEY_OF_ONE
  let isValid = nextVarint(bytes) > 0 && key >= -BIN_KEY_MAX
  let offset = varintOffset
  const lastPairOffset = bytes.length - 4
  for (let i = 1; i < count; ) {
    if (i + 1 < count && offset <= lastPairOffset) {
      const word = view.getUint32(offset, true)
      // No byte has its high bit, so the subtraction sets the high bit of a byte only if there is a byte of 0.
      if ((word & HIGH_BITS) === 0 && ((word - LOW_BITS) & HIGH_BITS) === 0) {
        key += (word & 0xff) + ((word >>> 16) & 0xff)
        offset += 4
        i += 2
        continue
      }
    }
    varintOffset = offset
    const delta = nextVarint(bytes)
    const weight = nextVarint(bytes)
    isValid = isValid && delta > 0 && weight > 0
    key += delta
    offset = varintOffset
    i++
  }
  if (!isValid || !(key <= BIN_KEY_MAX)) throw new RangeError(`not the bins of a sketch at offset ${start}`)
  return offset
}

/** The lowest and the highest bit of each byte of a 32-bit word. */
const LOW_BITS = 0x01010101
const HIGH_BITS = 0x80808080

/** The last bin that `readFirstBin` or `readNextBin` read, and the offset after it. The next call overwrites it. */
export const binCursor = { keyOrDelta: 0, weight: 0, offset: 0 }

/**
 * Reads the first bin of the sketch at `start` into `binCursor`. Returns the number of bins; if it is 0, `binCursor` is
 * unchanged. Does not check the bytes: this process must have encoded them, or `decodeBins` or `skipBins` has accepted
 * them.
 */
export function readFirstBin(bytes: Uint8Array, start: number): number {
  varintOffset = start
  const count = nextVarint(bytes)
  if (count === 0) return 0
  const zigzag = nextVarint(bytes)
  binCursor.keyOrDelta = ((zigzag >>> 1) ^ -(zigzag & 1)) + BIN_KEY_OF_ONE
  binCursor.weight = nextVarint(bytes)
  binCursor.offset = varintOffset
  return count
}

/**
 * Reads the bin at `offset` into `binCursor`. `binCursor.keyOrDelta` is then the difference from the previous key, not
 * a key.
 */
export function readNextBin(bytes: Uint8Array, offset: number): void {
  varintOffset = offset
  binCursor.keyOrDelta = nextVarint(bytes)
  binCursor.weight = nextVarint(bytes)
  binCursor.offset = varintOffset
}

/** Maximum that is accepted for a first key in zigzag encoding. The encodings of valid keys are far below it. */
const KEY_ZIGZAG_MAX = 2 ** 30

/** Offset of the next varint that `nextVarint` reads. */
let varintOffset = 0

/** Reads the varint at `varintOffset` and moves `varintOffset` after it. */
function nextVarint(bytes: Uint8Array): number {
  const first = bytes[varintOffset]
  if (first !== undefined && first < 0x80) {
    varintOffset++
    return first
  }
  const second = bytes[varintOffset + 1]
  if (second !== undefined && second < 0x80) {
    varintOffset += 2
    return (first! & 0x7f) | (second << 7)
  }
  const reader = new ByteReader(bytes, varintOffset)
  const value = reader.varint()
  varintOffset = reader.offset
  return value
}
