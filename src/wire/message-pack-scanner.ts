import {
  type CachedItem,
  type ItemCache,
  type ItemIdentity,
  type ItemLayout,
  LAYOUT_BYTES_MAX,
  sameBytes,
} from '../model/item-cache.ts'
import { finiteNumber, type PointSink, type SeriesRef } from '../model/point.ts'
import { parsePointTime } from '../model/point-time.ts'
import { createLayout } from './item-layout.ts'
import { asciiText, timeOfDayMs } from './json-cursor.ts'
import type { MessagePackReader } from './message-pack.ts'
import { deliverScanned } from './scan-items.ts'

/**
 * The fast path for a MessagePack body of the Better Stack API. It works like the one for JSON (`scan-items.ts`), with
 * the same item cache: an item is recognised by the bytes of its name, type and tags, and if the items arrive in the
 * order of the last batch, only their values and times are read.
 *
 * An item is plain if it is a map of at most 15 members and `LAYOUT_BYTES_MAX` bytes, with a name, `gauge` or `counter`
 * with nothing but a value, and optionally a time and a map of tags without arrays and maps. Any other item, an unknown
 * one and one that may be invalid must be decoded. Invariant: the points that are delivered are the same as without the
 * fast path.
 *
 * The bytes of an identity include the heads of the texts. The head of the type is no valid first byte of UTF-8, so no
 * item of another protocol has the same identity.
 */

const FIX_MAP = 0x80
const FIX_TEXT = 0xa0
const TEXT_8 = 0xd9
const MEMBERS_MAX = 15

/** One bit for each field of an item. The keys `dt` and `timestamp` are one field, and so are the two types. */
const NAME_FLAG = 1
const VALUE_FLAG = 2
const TIME_FLAG = 4
const TAGS_FLAG = 8

const keyBytes = (key: string): Uint8Array => Buffer.from(String.fromCharCode(FIX_TEXT + key.length) + key, 'latin1')
const NAME_KEY = keyBytes('name')
const GAUGE_KEY = keyBytes('gauge')
const COUNTER_KEY = keyBytes('counter')
const VALUE_KEY = keyBytes('value')
const DT_KEY = keyBytes('dt')
const TIMESTAMP_KEY = keyBytes('timestamp')
const TAGS_KEY = keyBytes('tags')

export class MessagePackScanner<S extends SeriesRef> {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #reader: MessagePackReader
  readonly #sink: PointSink<S>
  readonly #options: { readonly grammar: 'better-stack'; readonly nowMs: number }
  /** Positions of name, type and tags of the item that `#readItem` read last. Valid only if `#hasIdentity`. */
  readonly #identity: ItemIdentity
  #hasIdentity = false
  #itemCache: ItemCache<S>
  /** The cached item of the previous item and of the current one. Undefined: it is not cached. */
  #previousItem: CachedItem<S> | undefined = undefined
  #cachedItem: CachedItem<S> | undefined = undefined
  #position = 0
  /** The value and the time of the item that was read last; if it has no time, the time of reception. */
  value = 0
  timeMs = 0
  /** Always undefined, because the value of a set has no plain items. `deliverScanned` reads it. */
  readonly member = undefined
  /** Positions of the value and the time of the item that `#readItem` read last. -1: the item has no time. */
  #valueStart = 0
  #valueEnd = 0
  #timeStart = -1
  #timeEnd = -1
  /** Position of the last date that was parsed, -1 if none, and its midnight. An equal date is not parsed again. */
  #lastDatePosition = -1
  #lastMidnightMs = 0

  constructor(reader: MessagePackReader, sink: PointSink<S>, nowMs: number) {
    const { bytes, view } = reader
    this.#bytes = bytes
    this.#view = view
    this.#reader = reader
    this.#sink = sink
    this.#options = { grammar: 'better-stack', nowMs }
    this.#identity = { view, nameStart: 0, nameEnd: 0, typeStart: 0, typeEnd: 0, tagsStart: 0, tagsEnd: 0 }
    this.#itemCache = sink.itemCache
  }

  /**
   * Delivers the item at the position of the reader, and moves the reader past it. Returns false if the item must be
   * decoded; `endItem` must then be called, and the position of the reader is unchanged.
   */
  deliver(index: number): boolean {
    const sink = this.#sink
    // During a pause, the cache of the project may have been replaced. An item of the old cache must not be linked to
    // an item of the new one.
    if (sink.itemCache !== this.#itemCache) {
      this.#itemCache = sink.itemCache
      this.#previousItem = undefined
    }
    const start = this.#reader.position
    const cachedItem = this.#find(start)
    this.#cachedItem = cachedItem
    const isDelivered = cachedItem !== undefined && deliverScanned(this, cachedItem.series, sink, index, this.#options)
    this.#reader.position = isDelivered ? this.#position : start
    if (isDelivered) this.endItem(undefined)
    return isDelivered
  }

  /** Ends an item that was decoded. `series`: the series of its point. Undefined: it has none, or several points. */
  endItem(series: S | undefined): void {
    if (this.#cachedItem === undefined && series !== undefined && this.#hasIdentity && this.#sink.mayCache(series))
      this.#cachedItem = this.#itemCache.add(this.#identity, series)
    if (this.#previousItem !== undefined) this.#previousItem.following = this.#cachedItem
    this.#previousItem = this.#cachedItem
  }

  /** Reads the item at `start`. Returns its cached item; undefined if there is none or the item is not plain. */
  #find(start: number): CachedItem<S> | undefined {
    const expectedItem = this.#previousItem?.following
    this.#hasIdentity = false
    if (expectedItem?.layout !== undefined && this.#readItemWithLayout(start, expectedItem.layout)) return expectedItem
    this.#hasIdentity = this.#readItem(start)
    if (!this.#hasIdentity) return undefined
    const cachedItem = this.#itemCache.find(this.#identity)
    if (cachedItem !== undefined && (cachedItem.layout === undefined || cachedItem === expectedItem)) {
      const layout = this.#createLayout(start)
      if (layout !== undefined) this.#itemCache.keepLayout(cachedItem, layout)
    }
    return cachedItem
  }

  /** Reads a plain item. Returns false if the item is not plain. */
  #readItem(start: number): boolean {
    const identity = this.#identity
    identity.tagsStart = identity.tagsEnd = 0
    this.timeMs = this.#options.nowMs
    this.#timeStart = -1
    this.#position = start
    const memberCount = this.#bytes[start]! - FIX_MAP
    if (!(memberCount >= 0 && memberCount <= MEMBERS_MAX)) return false
    this.#position++
    let seenFlags = 0
    for (let i = 0; i < memberCount; i++) {
      const flag = this.#readMember()
      if (flag === 0 || (seenFlags & flag) !== 0 || this.#position - start > LAYOUT_BYTES_MAX) return false
      seenFlags |= flag
    }
    return (seenFlags & (NAME_FLAG | VALUE_FLAG)) === (NAME_FLAG | VALUE_FLAG)
  }

  /** Reads a key and its value. Returns the flag of the field, or 0 if the key is unknown or the value is not plain. */
  #readMember(): number {
    const identity = this.#identity
    const start = this.#position
    if (this.#takeBytes(NAME_KEY)) {
      identity.nameStart = this.#position
      if (!this.#skipText()) return 0
      identity.nameEnd = this.#position
      return NAME_FLAG
    }
    if (this.#takeBytes(TAGS_KEY)) {
      identity.tagsStart = this.#position
      if (!this.#skipTags()) return 0
      identity.tagsEnd = this.#position
      return TAGS_FLAG
    }
    if (this.#takeBytes(GAUGE_KEY) || this.#takeBytes(COUNTER_KEY)) {
      identity.typeStart = start
      identity.typeEnd = this.#position
      if (this.#bytes[this.#position++] !== FIX_MAP + 1 || !this.#takeBytes(VALUE_KEY)) return 0
      this.#valueStart = this.#position
      if (!this.#readValue()) return 0
      this.#valueEnd = this.#position
      return VALUE_FLAG
    }
    if (this.#takeBytes(DT_KEY) || this.#takeBytes(TIMESTAMP_KEY)) {
      this.#timeStart = this.#position
      if (!this.#readTime()) return 0
      this.#timeEnd = this.#position
      return TIME_FLAG
    }
    return 0
  }

  /** Moves past these bytes. Returns false, and does not move, if other bytes follow. */
  #takeBytes(expected: Uint8Array): boolean {
    const bytes = this.#bytes
    const start = this.#position
    for (let i = 0; i < expected.length; i++) if (bytes[start + i] !== expected[i]) return false
    this.#position = start + expected.length
    return true
  }

  /** Moves past a text of at most 255 bytes without decoding it. Returns false, and does not move, if none follows. */
  #skipText(): boolean {
    const bytes = this.#bytes
    const start = this.#position
    const head = bytes[start]!
    let end = Number.NaN
    if (head >= FIX_TEXT && head < FIX_TEXT + 32) end = start + 1 + (head - FIX_TEXT)
    else if (head === TEXT_8) end = start + 2 + bytes[start + 1]!
    if (!(end <= bytes.length)) return false
    this.#position = end
    return true
  }

  /** Moves past a map of at most 15 tags. Returns false if none begins here, or if it has an array or a map. */
  #skipTags(): boolean {
    const tagCount = this.#bytes[this.#position++]! - FIX_MAP
    if (!(tagCount >= 0 && tagCount <= MEMBERS_MAX)) return false
    for (let i = 0; i < 2 * tagCount; i++) if (!this.#skipText() && this.#readScalar() === undefined) return false
    return true
  }

  /** Reads a value that is no array and no map. Returns undefined for an array or a map. */
  #readScalar(): unknown {
    this.#reader.position = this.#position
    const value = this.#reader.readScalar()
    this.#position = this.#reader.position
    return value
  }

  /** Reads the value of a gauge or a counter. Returns false if it is not a finite number. */
  #readValue(): boolean {
    const value = finiteNumber(this.#readScalar())
    if (value === undefined) return false
    this.value = value
    return true
  }

  /** Reads a time. Returns false if it cannot be parsed. */
  #readTime(): boolean {
    const start = this.#position + 1
    const length = this.#bytes[start - 1]! - FIX_TEXT
    // No string is created for 2024-01-15T10:30:00Z and 2024-01-15T10:30:00.000Z.
    if ((length === 20 || length === 24) && start + length <= this.#bytes.length && this.#readDate(start)) {
      const sinceMidnightMs = timeOfDayMs(this.#bytes, start + 10, length)
      if (sinceMidnightMs >= 0) {
        this.timeMs = this.#lastMidnightMs + sinceMidnightMs
        this.#position = start + length
        return true
      }
    }
    const timeMs = parsePointTime(this.#readScalar())
    if (timeMs === undefined) return false
    this.timeMs = timeMs
    return true
  }

  /** Parses the date in the ten bytes from `start` into `#lastMidnightMs`. Returns false if the bytes are no date. */
  #readDate(start: number): boolean {
    const bytes = this.#bytes
    if (this.#lastDatePosition >= 0) {
      let i = 0
      while (i < 10 && bytes[this.#lastDatePosition + i] === bytes[start + i]) i++
      if (i === 10) return true
    }
    // Ten digits without a dash would be parsed as UNIX seconds.
    if (bytes[start + 4] !== 0x2d) return false
    const midnightMs = parsePointTime(asciiText(bytes, start, start + 10))
    if (midnightMs === undefined) return false
    this.#lastDatePosition = start
    this.#lastMidnightMs = midnightMs
    return true
  }

  /**
   * Returns the layout of the item that `#readItem` read last. The item began at `start`. The next call, also of
   * another scanner, overwrites the bytes of the layout.
   */
  #createLayout(start: number): ItemLayout | undefined {
    const item = { start, end: this.#position }
    const value = { start: this.#valueStart, end: this.#valueEnd }
    const time = { start: this.#timeStart, end: this.#timeEnd }
    return createLayout('message-pack', this.#bytes, item, value, time)
  }

  /** Reads the value and the time of the item at `start` if it has this layout. Returns false if it has not. */
  #readItemWithLayout(start: number, layout: ItemLayout): boolean {
    if (layout.grammar !== 'message-pack') return false
    const { view, segmentEnds, gapFields } = layout
    this.timeMs = this.#options.nowMs
    this.#position = start
    let from = 0
    for (let i = 0; i < segmentEnds.length; i++) {
      const end = segmentEnds[i]!
      const length = end - from
      if (this.#position + length > this.#bytes.length) return false
      if (!sameBytes(view, layout.start + from, this.#view, this.#position, length)) return false
      from = end
      this.#position += length
      if (i < gapFields.length && !(gapFields[i] === 'time' ? this.#readTime() : this.#readValue())) return false
    }
    return true
  }
}
