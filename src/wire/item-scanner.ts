import { type ItemGrammar, type ItemIdentity, type ItemLayout, sameBytes } from '../model/item-cache.ts'
import { createLayout } from './item-layout.ts'
import { JsonCursor } from './json-cursor.ts'

/**
 * Reads plain items of a batch directly from the bytes, without a JSON parser. An item is plain if it has a name, a
 * type and a value, no field twice, and only keys that the scanner knows for its grammar, and if `JsonCursor` can read
 * all of its values. For any other item, `readItem` returns false, and the caller must parse the item.
 */

const NEWLINE = 0x0a
const QUOTE = 0x22
const COMMA = 0x2c
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d

/** One bit for each field of an item. The keys `dt` and `timestamp` are one field. */
const NAME_FLAG = 1
const TYPE_FLAG = 2
const VALUE_FLAG = 4
const TIMESTAMP_FLAG = 8
const TAGS_FLAG = 16
const UNIT_FLAG = 32
const DESCRIPTION_FLAG = 64
/** Flags of a Better Stack key that is the type and holds the value: `"gauge":{"value":1}`. */
const TYPED_VALUE_FLAGS = TYPE_FLAG | VALUE_FLAG

/** How items are separated: as elements of an array, or one on each line. */
export type ItemFraming = 'array' | 'lines'

export class ItemScanner extends JsonCursor {
  /** Positions of name, type and tags of the item that `readItem` read last. Valid only if `hasIdentity`. */
  readonly identity: ItemIdentity
  /** Whether `identity` is that of the item that was read last. `readItemWithLayout` sets no positions. */
  hasIdentity = false
  /** The value of the item that was read last, if `member` is undefined. */
  value = 0
  /** The set member of the item that was read last. Undefined: the value is a number. */
  member: string | undefined = undefined
  /** The time of the item that was read last; if it has none, the time of reception. */
  timeMs = 0
  readonly #grammar: ItemGrammar
  readonly #framing: ItemFraming
  /** Whether the array of items is in an object: `{"metrics":[…]}`. */
  #isWrapped = false
  /** End of the line on which the item begins; used only if items are on lines. */
  #lineEnd = 0
  /** Positions of the value and the time of the item that `readItem` read last. -1: the item has no time. */
  #valueStart = 0
  #valueEnd = 0
  #timeStart = -1
  #timeEnd = -1

  constructor(bytes: Uint8Array, grammar: ItemGrammar, framing: ItemFraming) {
    super(bytes)
    this.#grammar = grammar
    this.#framing = framing
    this.identity = { view: this.view, nameStart: 0, nameEnd: 0, typeStart: 0, typeEnd: 0, tagsStart: 0, tagsEnd: 0 }
  }

  /**
   * Moves past the beginning of the array: `[`, or in Flux also `{"metrics":[`. Returns false if the body begins in
   * another way. Does nothing if the items are on lines.
   */
  readItemsStart(): boolean {
    if (this.#framing === 'lines') return true
    this.skipSpace()
    if (this.takeByte(OPEN_BRACKET)) return true
    if (this.#grammar !== 'flux') return false
    this.#isWrapped = this.takeByte(OPEN_BRACE)
    this.skipSpace()
    if (!this.#isWrapped || !this.takeKey(METRICS_KEY)) return false
    this.skipSpace()
    return this.takeByte(OPEN_BRACKET)
  }

  /** Moves to the `{` of the next item. Returns false if no item follows. */
  moveToNextItem(isFirst: boolean): boolean {
    this.limitScan()
    this.skipSpace()
    if (this.#framing === 'lines') {
      if (this.bytes[this.position] !== OPEN_BRACE) return false
      const newline = this.bytes.indexOf(NEWLINE, this.position)
      this.#lineEnd = newline < 0 ? this.bytes.length : newline
      return true
    }
    if (isFirst) return this.bytes[this.position] === OPEN_BRACE
    if (!this.takeByte(COMMA)) return false
    this.skipSpace()
    if (this.bytes[this.position] === OPEN_BRACE) return true
    // An item must follow a comma. So the position moves to the end of the bytes: `readItemsEnd` then returns false,
    // and the whole body is parsed.
    this.position = this.bytes.length
    return false
  }

  /**
   * Moves past white space to the end of the line on which the item began. Returns false if the item ends on another
   * line, or if anything else is on the line. Does nothing if the items are in an array.
   */
  readItemEnd(): boolean {
    if (this.#framing !== 'lines') return true
    const bytes = this.bytes
    const end = Math.min(this.#lineEnd, this.scanEnd)
    while (
      this.position < end &&
      (bytes[this.position] === 0x20 || bytes[this.position] === 0x09 || bytes[this.position] === 0x0d)
    )
      this.position++
    return this.position === this.#lineEnd
  }

  /** Moves past white space. Returns whether the body ends there. */
  readBodyEnd(): boolean {
    this.skipSpace()
    return this.position === this.bytes.length
  }

  /** Moves past the end of the list of items. Returns whether the list ends here and the body ends after it. */
  readItemsEnd(): boolean {
    if (this.#framing === 'lines') return this.position === this.bytes.length
    if (!this.takeByte(CLOSE_BRACKET)) return false
    this.skipSpace()
    if (this.#isWrapped) {
      if (!this.takeByte(CLOSE_BRACE)) return false
      this.skipSpace()
    }
    return this.position === this.bytes.length
  }

  /**
   * Reads a plain item and moves past it. Returns false if the item is not plain; the caller must then set the position
   * again.
   */
  readItem(nowMs: number): boolean {
    this.hasIdentity = false
    this.member = undefined
    this.timeMs = nowMs
    const { identity } = this
    identity.tagsStart = identity.tagsEnd = 0
    this.#timeStart = -1
    const bytes = this.bytes
    let seenFlags = 0
    this.position++
    this.skipSpace()
    for (;;) {
      const keyStart = this.position
      const keyFlags = this.#readKeyFlags()
      if (keyFlags === 0 || (seenFlags & keyFlags) !== 0) return false
      seenFlags |= keyFlags
      const fieldStart = this.position
      if (keyFlags === NAME_FLAG) {
        if (!this.skipPlainString()) return false
        identity.nameStart = fieldStart
        identity.nameEnd = this.position
      } else if (keyFlags === TYPE_FLAG) {
        if (!this.skipPlainString()) return false
        // Without quotes, the types of GraphQL never have the same bytes as those of Flux.
        const quoteBytes = this.#grammar === 'graphql' ? 1 : 0
        identity.typeStart = fieldStart + quoteBytes
        identity.typeEnd = this.position - quoteBytes
      } else if (keyFlags === TAGS_FLAG) {
        if (!this.skipPlainTags()) return false
        identity.tagsStart = fieldStart
        identity.tagsEnd = this.position
      } else if (keyFlags === UNIT_FLAG || keyFlags === DESCRIPTION_FLAG) {
        // They matter only until their metric exists, and items of such a metric are not cached.
        if (!this.skipCheckedString()) return false
      } else if (keyFlags === TYPED_VALUE_FLAGS) {
        identity.typeStart = keyStart
        identity.typeEnd = keyStart + (bytes[keyStart + 1] === GAUGE_KEY[1] ? GAUGE_KEY : COUNTER_KEY).length
        if (!this.#readNestedValue()) return false
      } else if (keyFlags === VALUE_FLAG) {
        if (bytes[fieldStart] === QUOTE) this.member = this.readAsciiString()
        else this.value = this.readLongNumber()
        if (bytes[fieldStart] === QUOTE ? this.member === undefined : Number.isNaN(this.value)) return false
        this.#valueStart = fieldStart
        this.#valueEnd = this.position
      } else {
        const timeMs = this.readTimeMs()
        if (timeMs === undefined) return false
        this.timeMs = timeMs
        this.#timeStart = fieldStart
        this.#timeEnd = this.position
      }
      this.skipSpace()
      const separator = bytes[this.position++]
      if (separator === CLOSE_BRACE) break
      if (separator !== COMMA) return false
      this.skipSpace()
    }
    this.hasIdentity = (seenFlags & (NAME_FLAG | TYPE_FLAG | VALUE_FLAG)) === (NAME_FLAG | TYPE_FLAG | VALUE_FLAG)
    return this.hasIdentity
  }

  /**
   * Returns the layout of the item that `readItem` read last: its bytes without the value and the time. The item began
   * at `start`. Returns undefined if the item is too long to cache. The next call, also of another scanner, overwrites
   * the bytes of the layout.
   */
  createLayout(start: number): ItemLayout | undefined {
    const item = { start, end: this.position }
    const value = { start: this.#valueStart, end: this.#valueEnd }
    const time = { start: this.#timeStart, end: this.#timeEnd }
    return createLayout(this.#grammar, this.bytes, item, value, time)
  }

  /**
   * Reads the value and the time of the next item if it has this layout, and moves past it. Returns false if it has
   * another layout, or a value or time that is not plain; the caller must then set the position again.
   */
  readItemWithLayout(layout: ItemLayout | undefined, nowMs: number): boolean {
    if (layout === undefined || layout.grammar !== this.#grammar) return false
    const { view, start, segmentEnds, gapFields } = layout
    this.hasIdentity = false
    this.member = undefined
    this.timeMs = nowMs
    let from = 0
    for (let i = 0; i < segmentEnds.length; i++) {
      const length = segmentEnds[i]! - from
      if (
        this.position + length > this.bytes.length ||
        !sameBytes(view, start + from, this.view, this.position, length)
      )
        return false
      from += length
      this.position += length
      if (i === gapFields.length) return true
      if (gapFields[i] === 'time') {
        const timeMs = this.readTimeMs()
        if (timeMs === undefined) return false
        this.timeMs = timeMs
      } else if (this.bytes[this.position] === QUOTE) {
        this.member = this.readAsciiString()
        if (this.member === undefined) return false
      } else {
        this.value = this.readLongNumber()
        if (Number.isNaN(this.value)) return false
      }
    }
    return false
  }

  /** Moves past an object without checking its content. Returns false if the object has no end, or is too long. */
  skipObject(): boolean {
    const { bytes, scanEnd } = this
    let depth = 0
    for (; this.position < scanEnd; this.position++) {
      const byte = bytes[this.position]!
      if (byte === QUOTE) {
        if (!this.skipToClosingQuote()) return false
      } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++
      else if ((byte === CLOSE_BRACE || byte === CLOSE_BRACKET) && --depth === 0) {
        this.position++
        return true
      }
    }
    return false
  }

  /** Reads a key and its colon. Returns the flags of the key, or 0 if the scanner does not know it for its grammar. */
  #readKeyFlags(): number {
    const isBetterStack = this.#grammar === 'better-stack'
    switch (this.bytes[this.position + 1]) {
      case 0x6e:
        return this.takeKey(NAME_KEY) ? NAME_FLAG : 0
      case 0x76:
        return !isBetterStack && this.takeKey(VALUE_KEY) ? VALUE_FLAG : 0
      case 0x67:
        return isBetterStack && this.takeKey(GAUGE_KEY) ? TYPED_VALUE_FLAGS : 0
      case 0x63:
        return isBetterStack && this.takeKey(COUNTER_KEY) ? TYPED_VALUE_FLAGS : 0
      case 0x64:
        if (isBetterStack) return this.takeKey(DT_KEY) ? TIMESTAMP_FLAG : 0
        return this.takeKey(DESCRIPTION_KEY) ? DESCRIPTION_FLAG : 0
      case 0x75:
        return !isBetterStack && this.takeKey(UNIT_KEY) ? UNIT_FLAG : 0
      case 0x74:
        switch (this.bytes[this.position + 2]) {
          case 0x61:
            return this.takeKey(TAGS_KEY) ? TAGS_FLAG : 0
          case 0x69:
            return this.takeKey(TIMESTAMP_KEY) ? TIMESTAMP_FLAG : 0
          default:
            return !isBetterStack && this.takeKey(TYPE_KEY) ? TYPE_FLAG : 0
        }
      default:
        return 0
    }
  }

  /** Reads the number in `{"value":1}` and moves past the object. Returns false if anything else follows. */
  #readNestedValue(): boolean {
    if (!this.takeByte(OPEN_BRACE)) return false
    this.skipSpace()
    if (!this.takeKey(VALUE_KEY)) return false
    this.#valueStart = this.position
    this.value = this.readLongNumber()
    if (Number.isNaN(this.value)) return false
    this.#valueEnd = this.position
    this.skipSpace()
    return this.takeByte(CLOSE_BRACE)
  }
}

const keyBytes = (key: string): Uint8Array => new TextEncoder().encode(`"${key}"`)
const METRICS_KEY = keyBytes('metrics')
const NAME_KEY = keyBytes('name')
const TYPE_KEY = keyBytes('type')
const VALUE_KEY = keyBytes('value')
const TIMESTAMP_KEY = keyBytes('timestamp')
const GAUGE_KEY = keyBytes('gauge')
const COUNTER_KEY = keyBytes('counter')
const DT_KEY = keyBytes('dt')
const TAGS_KEY = keyBytes('tags')
const UNIT_KEY = keyBytes('unit')
const DESCRIPTION_KEY = keyBytes('description')
