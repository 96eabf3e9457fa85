import { type ItemIdentity, type ItemLayout, LAYOUT_BYTES_MAX, sameBytes } from '../model/item-memory.ts'
import { DAY_MS, parseInstant } from '../model/time.ts'

/**
 * A walk over the bytes of a batch, item by item. It reads what plain items consist of (strings without escapes, numbers of few
 * digits, the usual forms of an instant) and says of anything else that it does not understand it.
 */

const QUOTE = 0x22
const PLUS = 0x2b
const COMMA = 0x2c
const MINUS = 0x2d
const DOT = 0x2e
const ZERO = 0x30
const NINE = 0x39
const COLON = 0x3a
const OPEN_BRACKET = 0x5b
const BACKSLASH = 0x5c
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d

const NAME = 1
const TYPE = 2
const VALUE = 4
const TIMESTAMP = 8
const TAGS = 16

export class ItemScanner {
  at = 0
  /** Of the item read last; whole when `isPlain`. */
  readonly identity: ItemIdentity
  isPlain = false
  value = 0
  /** Undefined: the value is a number. */
  member: string | undefined = undefined
  timeMs = 0
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #wrapped = false
  /** Where value and time of the item read last lie; -1: it has no time. */
  #valueStart = 0
  #valueEnd = 0
  #timeStart = -1
  #timeEnd = -1
  /** The date of the timestamp read last: dates repeat from item to item. */
  #dateAt = -1
  #dateMs = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.identity = { view: this.#view, nameStart: 0, nameEnd: 0, typeStart: 0, typeEnd: 0, tagsStart: 0, tagsEnd: 0 }
  }

  openItems(): boolean {
    this.#skipSpace()
    if (this.#take(OPEN_BRACKET)) return true
    this.#wrapped = this.#take(OPEN_BRACE)
    this.#skipSpace()
    if (!this.#wrapped || !this.#takeKey(METRICS_KEY)) return false
    this.#skipSpace()
    return this.#take(OPEN_BRACKET)
  }

  /** Whether an item begins here. */
  nextItem(isFirst: boolean): boolean {
    this.#skipSpace()
    if (isFirst) return this.#bytes[this.at] === OPEN_BRACE
    if (!this.#take(COMMA)) return false
    this.#skipSpace()
    if (this.#bytes[this.at] === OPEN_BRACE) return true
    // Nothing that may follow a comma: not the end of the list, for one.
    this.at = this.#bytes.length
    return false
  }

  /** Whether the body ends here as it should. */
  closeItems(): boolean {
    if (!this.#take(CLOSE_BRACKET)) return false
    this.#skipSpace()
    if (this.#wrapped) {
      if (!this.#take(CLOSE_BRACE)) return false
      this.#skipSpace()
    }
    return this.at === this.#bytes.length
  }

  /** Reads an item of the plain kind and stops behind it. False: it is of another kind; where this stopped means nothing. */
  readItem(nowMs: number): boolean {
    this.isPlain = false
    this.member = undefined
    this.timeMs = nowMs
    const { identity } = this
    identity.tagsStart = identity.tagsEnd = 0
    this.#timeStart = -1
    const bytes = this.#bytes
    let seen = 0
    this.at++
    this.#skipSpace()
    for (;;) {
      const key = this.#readKey()
      if (key === 0 || (seen & key) !== 0) return false
      seen |= key
      const start = this.at
      if (key === NAME) {
        if (!this.#spanString()) return false
        identity.nameStart = start
        identity.nameEnd = this.at
      } else if (key === TYPE) {
        if (!this.#spanString()) return false
        identity.typeStart = start
        identity.typeEnd = this.at
      } else if (key === TAGS) {
        if (!this.#spanTags()) return false
        identity.tagsStart = start
        identity.tagsEnd = this.at
      } else if (key === VALUE) {
        if (bytes[start] === QUOTE) this.member = this.#readText()
        else this.value = this.#readNumber()
        if (bytes[start] === QUOTE ? this.member === undefined : Number.isNaN(this.value)) return false
        this.#valueStart = start
        this.#valueEnd = this.at
      } else {
        const timeMs = this.#readTime()
        if (timeMs === undefined) return false
        this.timeMs = timeMs
        this.#timeStart = start
        this.#timeEnd = this.at
      }
      this.#skipSpace()
      const separator = bytes[this.at++]
      if (separator === CLOSE_BRACE) break
      if (separator !== COMMA) return false
      this.#skipSpace()
    }
    this.isPlain = (seen & (NAME | TYPE | VALUE)) === (NAME | TYPE | VALUE)
    return this.isPlain
  }

  /** How the item read last, which began at `start`, is laid out; undefined when it is too long to be worth keeping. */
  layout(start: number): ItemLayout | undefined {
    if (this.at - start > LAYOUT_BYTES_MAX) return undefined
    const value = { part: 'value', start: this.#valueStart, end: this.#valueEnd } as const
    const time = { part: 'time', start: this.#timeStart, end: this.#timeEnd } as const
    const gaps = time.start < 0 ? [value] : value.start < time.start ? [value, time] : [time, value]
    const kept = new Uint8Array(this.at - start)
    const ends: number[] = []
    let from = start
    let length = 0
    for (const end of [...gaps.map((gap) => gap.start), this.at]) {
      kept.set(this.#bytes.subarray(from, end), length)
      length += end - from
      from = gaps[ends.length]?.end ?? end
      ends.push(length)
    }
    return { view: new DataView(kept.buffer, 0, length), ends, parts: gaps.map(({ part }) => part) }
  }

  /** Whether an item of this layout stands here; reads its value and time, and stops behind it. */
  matches(layout: ItemLayout | undefined, nowMs: number): boolean {
    if (layout === undefined) return false
    const { view, ends, parts } = layout
    this.isPlain = false
    this.member = undefined
    this.timeMs = nowMs
    let from = 0
    for (let i = 0; i < ends.length; i++) {
      const length = ends[i]! - from
      if (this.at + length > this.#bytes.length || !sameBytes(view, from, this.#view, this.at, length)) return false
      from += length
      this.at += length
      if (i === parts.length) return true
      if (parts[i] === 'time') {
        const timeMs = this.#readTime()
        if (timeMs === undefined) return false
        this.timeMs = timeMs
      } else if (this.#bytes[this.at] === QUOTE) {
        this.member = this.#readText()
        if (this.member === undefined) return false
      } else {
        this.value = this.#readNumber()
        if (Number.isNaN(this.value)) return false
      }
    }
    return false
  }

  /** Stops behind the object that begins here, whatever it holds. False: it does not end. */
  skipObject(): boolean {
    const bytes = this.#bytes
    let depth = 0
    for (; this.at < bytes.length; this.at++) {
      const byte = bytes[this.at]!
      if (byte === QUOTE) {
        if (!this.#skipString()) return false
      } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++
      else if ((byte === CLOSE_BRACE || byte === CLOSE_BRACKET) && --depth === 0) {
        this.at++
        return true
      }
    }
    return false
  }

  #take(byte: number): boolean {
    if (this.#bytes[this.at] !== byte) return false
    this.at++
    return true
  }

  #skipSpace(): void {
    const bytes = this.#bytes
    let byte = bytes[this.at]
    while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++this.at]
  }

  /** Takes `"key":` when it stands here, letter by letter. */
  #takeKey(key: Uint8Array): boolean {
    const bytes = this.#bytes
    const start = this.at
    for (let i = 0; i < key.length; i++) if (bytes[start + i] !== key[i]) return false
    this.at = start + key.length
    this.#skipSpace()
    if (!this.#take(COLON)) return false
    this.#skipSpace()
    return true
  }

  /** The known key that stands here, with its colon; 0 for any other. */
  #readKey(): number {
    switch (this.#bytes[this.at + 1]) {
      case 0x6e:
        return this.#takeKey(NAME_KEY) ? NAME : 0
      case 0x76:
        return this.#takeKey(VALUE_KEY) ? VALUE : 0
      case 0x74:
        switch (this.#bytes[this.at + 2]) {
          case 0x61:
            return this.#takeKey(TAGS_KEY) ? TAGS : 0
          case 0x69:
            return this.#takeKey(TIMESTAMP_KEY) ? TIMESTAMP : 0
          default:
            return this.#takeKey(TYPE_KEY) ? TYPE : 0
        }
      default:
        return 0
    }
  }

  /** A string that goes into the identity, quotes included. Its bytes are compared later, so they need not be understood here. */
  #spanString(): boolean {
    const bytes = this.#bytes
    if (bytes[this.at] !== QUOTE) return false
    for (let at = this.at + 1; at < bytes.length; at++) {
      const byte = bytes[at]!
      if (byte === QUOTE) {
        this.at = at + 1
        return true
      }
      if (byte === BACKSLASH) return false
    }
    return false
  }

  /** The tags object, braces included; not nested. */
  #spanTags(): boolean {
    const bytes = this.#bytes
    if (bytes[this.at] !== OPEN_BRACE) return false
    let inString = false
    for (let at = this.at + 1; at < bytes.length; at++) {
      const byte = bytes[at]!
      if (byte === QUOTE) inString = !inString
      else if (byte === BACKSLASH) return false
      else if (!inString) {
        if (byte === CLOSE_BRACE) {
          this.at = at + 1
          return true
        }
        if (byte === OPEN_BRACE || byte === OPEN_BRACKET) return false
      }
    }
    return false
  }

  /** A string of printable ASCII without escapes; undefined for others. */
  #readText(): string | undefined {
    const bytes = this.#bytes
    const start = this.at + 1
    for (let at = start; at < bytes.length; at++) {
      const byte = bytes[at]!
      if (byte === QUOTE) {
        this.at = at + 1
        return asciiText(bytes, start, at)
      }
      if (byte < 0x20 || byte > 0x7e || byte === BACKSLASH) return undefined
    }
    return undefined
  }

  /** Stops at the closing quote of the string that begins here. */
  #skipString(): boolean {
    const bytes = this.#bytes
    for (let at = this.at + 1; at < bytes.length; at++) {
      const byte = bytes[at]
      if (byte === QUOTE) {
        this.at = at
        return true
      }
      if (byte === BACKSLASH) at++
    }
    return false
  }

  /**
   * A number of at most 15 digits without exponent: its digits as an integer and a power of ten up to 1e15 are both
   * exact, and their quotient is the double nearest to the text. NaN: another kind of number, or none.
   */
  #readNumber(): number {
    const bytes = this.#bytes
    let at = this.at
    const negative = bytes[at] === MINUS
    if (negative) at++
    const start = at
    let mantissa = 0
    let byte = bytes[at]!
    while (byte >= ZERO && byte <= NINE) {
      mantissa = mantissa * 10 + (byte - ZERO)
      byte = bytes[++at]!
    }
    let digits = at - start
    if (digits === 0 || (digits > 1 && bytes[start] === ZERO)) return Number.NaN
    let decimals = 0
    if (byte === DOT) {
      const point = at
      byte = bytes[++at]!
      while (byte >= ZERO && byte <= NINE) {
        mantissa = mantissa * 10 + (byte - ZERO)
        byte = bytes[++at]!
      }
      decimals = at - point - 1
      digits += decimals
      if (decimals === 0) return Number.NaN
    }
    if (digits > 15 || byte === 0x65 || byte === 0x45 || byte === PLUS) return Number.NaN
    this.at = at
    const value = decimals === 0 ? mantissa : mantissa / POWERS_OF_TEN[decimals]!
    return negative ? -value : value
  }

  /** The instant that stands here, in whatever accepted form without escapes; undefined for others. */
  #readTime(): number | undefined {
    const bytes = this.#bytes
    if (bytes[this.at] !== QUOTE) {
      const number = this.#readNumber()
      return Number.isNaN(number) ? undefined : parseInstant(number)
    }
    const start = this.at + 1
    // 2024-01-15T10:30:00Z or 2024-01-15T10:30:00.000Z
    const length = bytes[start + 20] === QUOTE ? 20 : bytes[start + 24] === QUOTE ? 24 : 0
    if (length > 0 && this.#isDate(start)) {
      const timeMs = timeOfDay(bytes, start + 10, length)
      if (timeMs >= 0) {
        this.at = start + length + 1
        return this.#dateMs + timeMs
      }
    }
    const text = this.#readText()
    return text === undefined ? undefined : parseInstant(text)
  }

  /** Whether ten bytes are a date; leaves its midnight in `#dateMs`. */
  #isDate(start: number): boolean {
    const bytes = this.#bytes
    if (this.#dateAt >= 0) {
      let i = 0
      while (i < 10 && bytes[this.#dateAt + i] === bytes[start + i]) i++
      if (i === 10) return true
    }
    const midnightMs = parseInstant(asciiText(bytes, start, start + 10))
    if (midnightMs === undefined || midnightMs % DAY_MS !== 0) return false
    this.#dateAt = start
    this.#dateMs = midnightMs
    return true
  }
}

/** Milliseconds since midnight of `T10:30:00Z` or `T10:30:00.000Z`; -1 for anything else. */
function timeOfDay(bytes: Uint8Array, start: number, length: number): number {
  if (
    bytes[start] !== 0x54 ||
    bytes[start + 3] !== COLON ||
    bytes[start + 6] !== COLON ||
    bytes[start + length - 11] !== 0x5a
  )
    return -1
  const hour = twoDigits(bytes, start + 1)
  const minute = twoDigits(bytes, start + 4)
  const second = twoDigits(bytes, start + 7)
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) return -1
  let millisecond = 0
  if (length === 24) {
    const tens = twoDigits(bytes, start + 10)
    const ones = twoDigits(bytes, start + 11)
    if (bytes[start + 9] !== DOT || tens < 0 || ones < 0) return -1
    millisecond = tens * 10 + (ones % 10)
  }
  return ((hour * 60 + minute) * 60 + second) * 1_000 + millisecond
}

function twoDigits(bytes: Uint8Array, at: number): number {
  const tens = bytes[at]! - ZERO
  const ones = bytes[at + 1]! - ZERO
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : -1
}

function asciiText(bytes: Uint8Array, start: number, end: number): string {
  let text = ''
  for (let at = start; at < end; at++) text += String.fromCharCode(bytes[at]!)
  return text
}

const POWERS_OF_TEN = Float64Array.from({ length: 16 }, (_, i) => 10 ** i)
const keyBytes = (key: string): Uint8Array => new TextEncoder().encode(`"${key}"`)
const METRICS_KEY = keyBytes('metrics')
const NAME_KEY = keyBytes('name')
const TYPE_KEY = keyBytes('type')
const VALUE_KEY = keyBytes('value')
const TIMESTAMP_KEY = keyBytes('timestamp')
const TAGS_KEY = keyBytes('tags')
