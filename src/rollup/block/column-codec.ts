import type { ByteWriter } from '../../sketch/varint.ts'

/**
 * Encodes columns of doubles without loss. A column is divided into chunks of 128 values; the last may be shorter. Each
 * chunk has one of four forms, which are all decoded in loops without branches:
 *
 * - decimals: each value v equals m / 10^e with an integer m. The chunk stores e, the smallest m, and for each value
 *   its m minus the smallest m, in 0 to 7 bytes. This is short if values have few digits and are similar.
 * - sums: like decimals, but v may differ from m / 10^e by a few units in the last place (ulps). The chunk also stores
 *   the difference. Sums of decimals, such as 0.1 + 0.2, have this form.
 * - constant: one double for all values.
 * - raw: eight bytes each.
 *
 * Doubles are copied in the byte order of the machine. The format is little-endian, so this code does not work on
 * big-endian machines (s390x, AIX).
 */

export const VALUES_PER_CHUNK = 128

const FORM_RAW = 0
const FORM_CONSTANT = 1
const FORM_DECIMALS = 2
const FORM_SUMS = 3

/** Maximum of e. Two different decimals of up to 15 digits are never represented by the same double. */
const EXPONENT_MAX = 15
/** Maximum of |m|. Up to it, m and all differences are exact, and m in zigzag encoding fits into seven bytes. */
const INTEGER_MAX = 2 ** 52
/** Maximum of |m| in the sums form. With a greater m, the form would rarely be much shorter than raw doubles. */
const SUM_INTEGER_MAX = 2 ** 44
/**
 * Maximum of e in the sums form. If the decimals form needs a greater e, the sums form is tried first: such values are
 * often sums of decimals with few digits.
 */
const SUM_EXPONENT_MAX = 9
/** Maximum difference in the sums form, in units in the last place: a difference is stored in four bits. */
const ULPS_MAX = 7
/** Size of the smallest encoded chunk. */
const CHUNK_BYTES_MIN = 2

const POWERS_OF_TEN = Float64Array.from({ length: EXPONENT_MAX + 1 }, (_, e) => Number(`1e${e}`))
const TWO_32 = 2 ** 32

/** Scratch arrays for one chunk: the integers m of its values, and the differences in ulps of the sums form. */
const integers = new Float64Array(VALUES_PER_CHUNK)
const ulps = new Int8Array(VALUES_PER_CHUNK)
/** Scratch array to convert doubles to their bits: as 32-bit words, or as bytes. */
const doublePair = new Float64Array(2)
const doublePairWords = new Uint32Array(doublePair.buffer)
const doublePairBytes = new Uint8Array(doublePair.buffer)

/** Scratch buffer of `encodeColumn`: the bytes of the column, of which `encodedLength` are written. */
let encoded = new Uint8Array(8192)
let encodedLength = 0

/** Encodes values [start, end) as a column. Appends the column's length in bytes, then the column. */
export function encodeColumn(values: Float64Array, start: number, end: number, writer: ByteWriter): void {
  const bytesMax = (end - start) * 8 + (Math.ceil((end - start) / VALUES_PER_CHUNK) + 1) * 16
  if (encoded.length < bytesMax) encoded = new Uint8Array(bytesMax * 2)
  encodedLength = 0
  for (let from = start; from < end; from += VALUES_PER_CHUNK)
    encodeChunk(values, from, Math.min(from + VALUES_PER_CHUNK, end))
  writer.varint(encodedLength)
  writer.bytes(encoded, encodedLength)
}

function encodeChunk(values: Float64Array, from: number, to: number): void {
  const exponent = decimalExponentOf(values, from, to)
  if (exponent >= 0 && exponent <= SUM_EXPONENT_MAX && encodeDecimals(FORM_DECIMALS, exponent, from, to)) return
  if (isConstant(values, from, to)) {
    encoded[encodedLength++] = FORM_CONSTANT
    putDouble(values[from]!)
    return
  }
  const sumExponent = sumExponentOf(values, from, to)
  if (sumExponent >= 0 && encodeDecimals(FORM_SUMS, sumExponent, from, to)) return
  if (exponent > SUM_EXPONENT_MAX && encodeDecimals(FORM_DECIMALS, decimalExponentOf(values, from, to), from, to))
    return
  encoded[encodedLength++] = FORM_RAW
  for (let i = from; i < to; i++) putDouble(values[i]!)
}

/**
 * Returns the smallest e for which each value is an integer divided by 10^e, and writes these integers to `integers`.
 * Returns -1 if it finds none up to `EXPONENT_MAX`, or if an integer would be beyond `INTEGER_MAX`.
 */
function decimalExponentOf(values: Float64Array, from: number, to: number): number {
  let exponent = 0
  let power = 1
  let i = from
  while (i < to) {
    const value = values[i]!
    const integer = Math.round(value * power)
    // A value of -0 is refused, because it would be decoded as 0.
    if (integer / power === value && (value !== 0 || Object.is(value, 0)) && Math.abs(integer) <= INTEGER_MAX) {
      integers[i - from] = integer
      i++
    } else if (exponent === EXPONENT_MAX) {
      return -1
    } else {
      power = POWERS_OF_TEN[++exponent]!
    }
  }
  if (exponent === 0) return 0
  // The integers of the first values may have been computed with a smaller exponent, so all are computed again.
  for (i = from; i < to; i++) {
    const integer = Math.round(values[i]! * power)
    if (integer / power !== values[i] || Math.abs(integer) > INTEGER_MAX) return -1
    integers[i - from] = integer
  }
  return exponent
}

function isConstant(values: Float64Array, from: number, to: number): boolean {
  for (let i = from + 1; i < to; i++) if (!Object.is(values[i], values[from])) return false
  return true
}

/**
 * Like `decimalExponentOf`, but values may differ from integer / 10^e by up to `ULPS_MAX` units in the last place, and
 * the limits are `SUM_EXPONENT_MAX` and `SUM_INTEGER_MAX`. Also writes the differences to `ulps`.
 */
function sumExponentOf(values: Float64Array, from: number, to: number): number {
  let exponent = 0
  for (let i = from; i < to; i++) {
    while (!isNearDecimal(values[i]!, POWERS_OF_TEN[exponent]!, i - from)) if (++exponent > SUM_EXPONENT_MAX) return -1
  }
  for (let i = from; i < to; i++) if (!isNearDecimal(values[i]!, POWERS_OF_TEN[exponent]!, i - from)) return -1
  return exponent
}

/**
 * Whether `value` differs by at most `ULPS_MAX` ulps from an integer divided by `power`, and the integer is in range.
 * If so, `integers` then has the integer and `ulps` the difference, both at `index`.
 */
function isNearDecimal(value: number, power: number, index: number): boolean {
  // `+ 0` makes 0 from -0. So a value of -0 is compared with 0, from which its bits differ by far, and is refused.
  const integer = Math.round(value * power) + 0
  if (!(Math.abs(integer) <= SUM_INTEGER_MAX)) return false
  doublePair[0] = value
  doublePair[1] = integer / power
  // Read as integers, the bits of two neighbouring doubles with the same sign differ by 1. So this difference is the
  // distance of the two doubles in ulps.
  const distance = (doublePairWords[1]! - doublePairWords[3]!) * TWO_32 + (doublePairWords[0]! - doublePairWords[2]!)
  integers[index] = integer
  ulps[index] = distance
  return Math.abs(distance) <= ULPS_MAX
}

/**
 * Appends a chunk in the form `decimals` or `sums`, from `integers` and `ulps`. Returns false, and appends nothing, if
 * the smallest integer or a difference from it takes more than seven bytes.
 */
function encodeDecimals(form: number, exponent: number, from: number, to: number): boolean {
  const length = to - from
  let smallest = integers[0]!
  let largest = smallest
  for (let i = 1; i < length; i++) {
    const integer = integers[i]!
    if (integer < smallest) smallest = integer
    if (integer > largest) largest = integer
  }
  const width = byteWidth(largest - smallest)
  if (width > 7) return false
  const zigzag = smallest < 0 ? -1 - 2 * smallest : 2 * smallest
  const smallestWidth = byteWidth(zigzag)
  if (smallestWidth > 7) return false
  encoded[encodedLength++] = form | (exponent << 2)
  encoded[encodedLength++] = width | (smallestWidth << 3)
  putInteger(zigzag, smallestWidth)
  if (width > 0) for (let i = 0; i < length; i++) putInteger(integers[i]! - smallest, width)
  if (form === FORM_SUMS) {
    for (let i = 0; i < length; i += 2) {
      const second = i + 1 < length ? ulps[i + 1]! : 0
      encoded[encodedLength++] = (ulps[i]! + 8) | ((second + 8) << 4)
    }
  }
  return true
}

/** Returns the number of bytes that an integer from 0 takes: 0 for 0, and 8, which no form can store, from 2^53 on. */
function byteWidth(integer: number): number {
  if (integer < TWO_32) {
    if (integer < 0x100) return integer === 0 ? 0 : 1
    return integer < 0x10000 ? 2 : integer < 0x1000000 ? 3 : 4
  }
  if (integer < 2 ** 40) return 5
  if (integer < 2 ** 48) return 6
  return integer < 2 ** 53 ? 7 : 8
}

function putInteger(integer: number, width: number): void {
  if (width > 4) {
    let high = Math.floor(integer / TWO_32)
    let low = (integer - high * TWO_32) >>> 0
    for (let byte = 0; byte < 4; byte++, low >>>= 8) encoded[encodedLength++] = low
    for (let byte = 4; byte < width; byte++, high >>>= 8) encoded[encodedLength++] = high
    return
  }
  let remaining = integer
  for (let byte = 0; byte < width; byte++, remaining >>>= 8) encoded[encodedLength++] = remaining
}

function putDouble(value: number): void {
  doublePair[0] = value
  for (let byte = 0; byte < 8; byte++) encoded[encodedLength++] = doublePairBytes[byte]!
}

/** Where a column is decoded. */
export interface ColumnMemory {
  /** Returns an array of this length or longer. */
  allocateNumbers(length: number): Float64Array
}

/**
 * Decodes the column in bytes [start, end) into an array from `memory`, and returns the array. Throws a RangeError if
 * the bytes are not a column of `length` values.
 */
export function decodeColumn(
  bytes: Uint8Array,
  start: number,
  end: number,
  length: number,
  memory: ColumnMemory,
): Float64Array {
  // Without this check, a damaged length could allocate any amount of memory.
  if (Math.ceil(length / VALUES_PER_CHUNK) * CHUNK_BYTES_MIN > end - start) throwCorrupt()
  const values = memory.allocateNumbers(length)
  let offset = start
  for (let from = 0; from < length; from += VALUES_PER_CHUNK) {
    offset = decodeChunk(bytes, offset, end, values, from, Math.min(from + VALUES_PER_CHUNK, length))
  }
  if (offset !== end) throwCorrupt()
  return values
}

function throwCorrupt(): never {
  throw new RangeError('a column does not fit its length')
}

function decodeChunk(
  bytes: Uint8Array,
  start: number,
  end: number,
  values: Float64Array,
  from: number,
  to: number,
): number {
  if (start >= end) throwCorrupt()
  const head = bytes[start]!
  const form = head & 3
  const length = to - from
  if (form === FORM_RAW || form === FORM_CONSTANT) {
    const nextOffset = start + 1 + (form === FORM_RAW ? length * 8 : 8)
    if (nextOffset > end || head >>> 2 !== 0) throwCorrupt()
    if (form === FORM_CONSTANT) values.fill(readDouble(bytes, start + 1), from, to)
    else {
      const target = new Uint8Array(values.buffer, values.byteOffset + from * 8, length * 8)
      target.set(bytes.subarray(start + 1, nextOffset))
    }
    return nextOffset
  }
  if (start + 2 > end) throwCorrupt()
  const exponent = head >>> 2
  const width = bytes[start + 1]! & 7
  const smallestWidth = bytes[start + 1]! >>> 3
  const integersOffset = start + 2 + smallestWidth
  const ulpsOffset = integersOffset + length * width
  const nextOffset = form === FORM_SUMS ? ulpsOffset + Math.ceil(length / 2) : ulpsOffset
  if (exponent > EXPONENT_MAX || smallestWidth > 7 || nextOffset > end) throwCorrupt()
  const zigzag = readInteger(bytes, start + 2, smallestWidth)
  const smallest = zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2
  const power = POWERS_OF_TEN[exponent]!
  decodeDecimals(bytes, integersOffset, width, values, from, to, smallest, power)
  if (form === FORM_SUMS) addUlps(bytes, ulpsOffset, values, from, to)
  return nextOffset
}

function readDouble(bytes: Uint8Array, offset: number): number {
  for (let byte = 0; byte < 8; byte++) doublePairBytes[byte] = bytes[offset + byte]!
  return doublePair[0]!
}

function readInteger(bytes: Uint8Array, offset: number, width: number): number {
  let integer = 0
  for (let byte = width - 1; byte >= 0; byte--) integer = integer * 256 + bytes[offset + byte]!
  return integer
}

function decodeDecimals(
  bytes: Uint8Array,
  start: number,
  width: number,
  values: Float64Array,
  from: number,
  to: number,
  smallest: number,
  power: number,
): void {
  let p = start
  switch (width) {
    case 0:
      values.fill(smallest / power, from, to)
      return
    case 1:
      for (let i = from; i < to; i++) values[i] = (smallest + bytes[p++]!) / power
      return
    case 2:
      for (let i = from; i < to; i++, p += 2) values[i] = (smallest + (bytes[p]! | (bytes[p + 1]! << 8))) / power
      return
    case 3:
      for (let i = from; i < to; i++, p += 3) {
        values[i] = (smallest + (bytes[p]! | (bytes[p + 1]! << 8) | (bytes[p + 2]! << 16))) / power
      }
      return
    case 4:
      for (let i = from; i < to; i++, p += 4) {
        const low = (bytes[p]! | (bytes[p + 1]! << 8) | (bytes[p + 2]! << 16) | (bytes[p + 3]! << 24)) >>> 0
        values[i] = (smallest + low) / power
      }
      return
    default: {
      // Reads the first four and the last four of the 5 to 7 bytes. The shift removes the bytes that were read twice.
      const highOffset = width - 4
      const shift = (8 - width) * 8
      for (let i = from; i < to; i++, p += width) {
        const low = (bytes[p]! | (bytes[p + 1]! << 8) | (bytes[p + 2]! << 16) | (bytes[p + 3]! << 24)) >>> 0
        const q = p + highOffset
        const high = (bytes[q]! | (bytes[q + 1]! << 8) | (bytes[q + 2]! << 16) | (bytes[q + 3]! << 24)) >>> shift
        values[i] = (smallest + (low + high * TWO_32)) / power
      }
    }
  }
}

function addUlps(bytes: Uint8Array, start: number, values: Float64Array, from: number, to: number): void {
  const words = new Uint32Array(values.buffer, values.byteOffset + from * 8, (to - from) * 2)
  for (let i = 0; i < to - from; i++) {
    const distance = ((bytes[start + (i >>> 1)]! >>> ((i & 1) << 2)) & 15) - 8
    const low = words[i * 2]! + distance
    words[i * 2] = low
    words[i * 2 + 1]! += Math.floor(low / TWO_32)
  }
}
