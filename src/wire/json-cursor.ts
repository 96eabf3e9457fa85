import { SET_MEMBER_CHARS_MAX } from '../model/point.ts'
import { parsePointTime } from '../model/point-time.ts'

/**
 * A position in the bytes of a JSON text, with methods that read plain values: strings without escapes, flat tags,
 * numbers and times. They return false, undefined or NaN for any other value; the position may then have moved.
 */

const QUOTE = 0x22
const PLUS = 0x2b
const MINUS = 0x2d
const DOT = 0x2e
const ZERO = 0x30
const NINE = 0x39
const COLON = 0x3a
const OPEN_BRACKET = 0x5b
const BACKSLASH = 0x5c
const LOWER_E = 0x65
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d

/**
 * Maximum bytes of an item that is scanned, with the white space before it: an item is scanned without a pause. A body
 * with a longer one is parsed in steps.
 */
const SCANNED_BYTES_MAX = 512 * 1_024

export class JsonCursor {
  position = 0
  /** The methods do not move beyond this position. */
  protected scanEnd = 0
  protected readonly bytes: Uint8Array
  protected readonly view: DataView
  /** Position of the last date that was parsed, -1 if none, and its midnight. An equal date is not parsed again. */
  #lastDatePosition = -1
  #lastMidnightMs = 0

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.limitScan()
  }

  /** Lets the following calls move by `SCANNED_BYTES_MAX` bytes, all together. */
  protected limitScan(): void {
    this.scanEnd = Math.min(this.bytes.length, this.position + SCANNED_BYTES_MAX)
  }

  /** Moves past this byte. Returns false, and does not move, if another byte follows. */
  protected takeByte(byte: number): boolean {
    if (this.bytes[this.position] !== byte) return false
    this.position++
    return true
  }

  protected skipSpace(): void {
    const bytes = this.bytes
    let byte = bytes[this.position]
    while ((byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) && this.position < this.scanEnd)
      byte = bytes[++this.position]
  }

  /** Moves past a key, the colon and white space. Returns false if other bytes follow. `key` includes its quotes. */
  protected takeKey(key: Uint8Array): boolean {
    const bytes = this.bytes
    const start = this.position
    for (let i = 0; i < key.length; i++) if (bytes[start + i] !== key[i]) return false
    this.position = start + key.length
    this.skipSpace()
    if (!this.takeByte(COLON)) return false
    this.skipSpace()
    return true
  }

  /**
   * Moves past a string without decoding it: an item is recognized by the raw bytes of its strings. Returns false, and
   * does not move, if no string begins here, or if it contains an escape or has no end.
   */
  protected skipPlainString(): boolean {
    const { bytes, scanEnd } = this
    if (bytes[this.position] !== QUOTE) return false
    for (let index = this.position + 1; index < scanEnd; index++) {
      const byte = bytes[index]!
      if (byte === QUOTE) {
        this.position = index + 1
        return true
      }
      if (byte === BACKSLASH) return false
    }
    return false
  }

  /**
   * Moves past a tags object without decoding it. Returns false, and does not move, if no object begins here, or if it
   * contains an object or an array, or has no end.
   */
  protected skipPlainTags(): boolean {
    const { bytes, scanEnd } = this
    if (bytes[this.position] !== OPEN_BRACE) return false
    let inString = false
    for (let index = this.position + 1; index < scanEnd; index++) {
      const byte = bytes[index]!
      if (byte === QUOTE) inString = !inString
      else if (byte === BACKSLASH) index++
      else if (!inString) {
        if (byte === CLOSE_BRACE) {
          this.position = index + 1
          return true
        }
        if (byte === OPEN_BRACE || byte === OPEN_BRACKET) return false
      }
    }
    return false
  }

  /**
   * Moves past a string without decoding it, but checks it. Returns false, and does not move, if no string begins here,
   * or if it contains an escape or a control character, has no end, or is not valid UTF-8.
   */
  protected skipCheckedString(): boolean {
    const bytes = this.bytes
    const start = this.position
    if (!this.skipPlainString()) return false
    let isAscii = true
    for (let index = start; index < this.position; index++) {
      const byte = bytes[index]!
      if (byte > 0x7e) isAscii = false
      else if (byte < 0x20) return false
    }
    return isAscii || isUtf8(bytes.subarray(start, this.position))
  }

  /**
   * Reads the string that begins here. Returns undefined unless it is printable ASCII without escapes, of at most
   * `SET_MEMBER_CHARS_MAX` characters. Longer values and times are left to the JSON parser.
   */
  protected readAsciiString(): string | undefined {
    const bytes = this.bytes
    const start = this.position + 1
    const endMax = Math.min(bytes.length, start + SET_MEMBER_CHARS_MAX + 1)
    for (let index = start; index < endMax; index++) {
      const byte = bytes[index]!
      if (byte === QUOTE) {
        this.position = index + 1
        return asciiText(bytes, start, index)
      }
      if (byte < 0x20 || byte > 0x7e || byte === BACKSLASH) return undefined
    }
    return undefined
  }

  /** Moves from the opening quote of a string to its closing quote. Returns false if the string has no end. */
  protected skipToClosingQuote(): boolean {
    const { bytes, scanEnd } = this
    for (let index = this.position + 1; index < scanEnd; index++) {
      const byte = bytes[index]
      if (byte === QUOTE) {
        this.position = index
        return true
      }
      if (byte === BACKSLASH) index++
    }
    return false
  }

  /**
   * Reads a number with at most `NUMBER_DIGITS_MAX` digits and without an exponent. Its digits as an integer and the
   * power of ten by which they are divided are exact doubles, so the quotient is the double nearest to the text.
   * Returns NaN for any other value.
   */
  protected readNumber(): number {
    const bytes = this.bytes
    let index = this.position
    const isNegative = bytes[index] === MINUS
    if (isNegative) index++
    const start = index
    // Up to this position, a point and more digits than allowed have been read.
    const endMax = start + NUMBER_DIGITS_MAX + 2
    let mantissa = 0
    let byte = bytes[index]!
    while (byte >= ZERO && byte <= NINE && index < endMax) {
      mantissa = mantissa * 10 + (byte - ZERO)
      byte = bytes[++index]!
    }
    let digitCount = index - start
    if (digitCount === 0 || (digitCount > 1 && bytes[start] === ZERO)) return Number.NaN
    let decimalCount = 0
    if (byte === DOT) {
      const pointIndex = index
      byte = bytes[++index]!
      while (byte >= ZERO && byte <= NINE && index < endMax) {
        mantissa = mantissa * 10 + (byte - ZERO)
        byte = bytes[++index]!
      }
      decimalCount = index - pointIndex - 1
      digitCount += decimalCount
      if (decimalCount === 0) return Number.NaN
    }
    if (digitCount > NUMBER_DIGITS_MAX || byte === 0x65 || byte === 0x45 || byte === PLUS) return Number.NaN
    this.position = index
    const value = decimalCount === 0 ? mantissa : mantissa / POWERS_OF_TEN[decimalCount]!
    return isNegative ? -value : value
  }

  /**
   * Reads a number of any digits. Returns NaN if there is none. Cuts a number of more than `NUMBER_CHARS_MAX`
   * characters, so the caller finds a digit where the value should end.
   */
  protected readLongNumber(): number {
    const number = this.readNumber()
    if (!Number.isNaN(number)) return number
    const bytes = this.bytes
    const start = this.position
    let end = start
    while (end - start < NUMBER_CHARS_MAX && isNumberByte(bytes[end])) end++
    const text = asciiText(bytes, start, end)
    if (!JSON_NUMBER.test(text)) return Number.NaN
    this.position = end
    return Number(text)
  }

  /**
   * Reads a time: a number that `readNumber` reads, or an ASCII string without escapes. Undefined: anything else, or no
   * valid time.
   */
  protected readTimeMs(): number | undefined {
    const bytes = this.bytes
    if (bytes[this.position] !== QUOTE) {
      const number = this.readNumber()
      return Number.isNaN(number) ? undefined : parsePointTime(number)
    }
    const start = this.position + 1
    // For 2024-01-15T10:30:00Z and 2024-01-15T10:30:00.000Z, a string is created only if the date differs from the
    // last one.
    const length = bytes[start + 20] === QUOTE ? 20 : bytes[start + 24] === QUOTE ? 24 : 0
    if (length > 0 && this.#readDate(start)) {
      const sinceMidnightMs = timeOfDayMs(bytes, start + 10, length)
      if (sinceMidnightMs >= 0) {
        this.position = start + length + 1
        return this.#lastMidnightMs + sinceMidnightMs
      }
    }
    const text = this.readAsciiString()
    return text === undefined ? undefined : parsePointTime(text)
  }

  /**
   * Reads the date in the ten bytes from `start`: sets `#lastMidnightMs` to its midnight in UTC. Returns false if the
   * bytes are no date.
   */
  #readDate(start: number): boolean {
    const bytes = this.bytes
    if (this.#lastDatePosition >= 0) {
      let i = 0
      while (i < 10 && bytes[this.#lastDatePosition + i] === bytes[start + i]) i++
      if (i === 10) return true
    }
    // Ten digits without a dash would be parsed as UNIX seconds.
    if (bytes[start + 4] !== MINUS) return false
    const midnightMs = parsePointTime(asciiText(bytes, start, start + 10))
    if (midnightMs === undefined) return false
    this.#lastDatePosition = start
    this.#lastMidnightMs = midnightMs
    return true
  }
}

/**
 * Returns the milliseconds since midnight of `T10:30:00Z` or `T10:30:00.000Z` at `start`, and -1 for any other form.
 * `timestampLength` (20 or 24) includes the ten characters of the date before it.
 */
export function timeOfDayMs(bytes: Uint8Array, start: number, timestampLength: number): number {
  if (
    bytes[start] !== 0x54 ||
    bytes[start + 3] !== COLON ||
    bytes[start + 6] !== COLON ||
    bytes[start + timestampLength - 11] !== 0x5a
  )
    return -1
  const hour = twoDigits(bytes, start + 1)
  const minute = twoDigits(bytes, start + 4)
  const second = twoDigits(bytes, start + 7)
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) return -1
  let millisecond = 0
  if (timestampLength === 24) {
    const firstTwoDigits = twoDigits(bytes, start + 10)
    const lastTwoDigits = twoDigits(bytes, start + 11)
    if (bytes[start + 9] !== DOT || firstTwoDigits < 0 || lastTwoDigits < 0) return -1
    millisecond = firstTwoDigits * 10 + (lastTwoDigits % 10)
  }
  return ((hour * 60 + minute) * 60 + second) * 1_000 + millisecond
}

/** Returns the number that two digits form, and -1 if the bytes are no digits. */
function twoDigits(bytes: Uint8Array, index: number): number {
  const tens = bytes[index]! - ZERO
  const ones = bytes[index + 1]! - ZERO
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : -1
}

export function asciiText(bytes: Uint8Array, start: number, end: number): string {
  const b = bytes
  let text = ''
  let i = start
  // Eight characters at a time: each addition creates a string.
  for (; i + 8 <= end; i += 8)
    text += String.fromCharCode(b[i]!, b[i + 1]!, b[i + 2]!, b[i + 3]!, b[i + 4]!, b[i + 5]!, b[i + 6]!, b[i + 7]!)
  for (; i < end; i++) text += String.fromCharCode(b[i]!)
  return text
}

function isNumberByte(byte: number | undefined): boolean {
  if (byte === undefined) return false
  return (byte >= ZERO && byte <= NINE) || byte === DOT || byte === MINUS || byte === PLUS || (byte | 0x20) === LOWER_E
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    UTF8_DECODER.decode(bytes)
    return true
  } catch {
    return false
  }
}

const UTF8_DECODER = new TextDecoder('utf-8', { fatal: true })

/** Any integer of so many digits is an exact double. */
const NUMBER_DIGITS_MAX = 15
/** A double needs 17 digits at most, which is 24 characters with the sign, the point and the exponent. */
const NUMBER_CHARS_MAX = 32
const JSON_NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/

const POWERS_OF_TEN = Float64Array.from({ length: 16 }, (_, i) => 10 ** i)
