/**
 * A cache of series by the bytes of the items that named them. Name, type and tags of an item repeat from batch to
 * batch, so a decoder finds the series of a known item without building a string. A hash finds the entry, and every
 * byte is compared before it is used. An entry also has the item that followed last time and its layout, so that a
 * repeated batch is recognised by comparing bytes alone. Invariant: at most `bytesMax` bytes; a full cache is emptied.
 */

/** Bytes of remembered items of one project; a cleared cache costs one slower decoding of each item. */
export const ITEM_MEMORY_BYTES = 67_108_864

/** Where the identity of an item lies in a body. Filled in again for each item. */
export interface ItemIdentity {
  readonly view: DataView
  nameStart: number
  nameEnd: number
  typeStart: number
  typeEnd: number
  tagsStart: number
  tagsEnd: number
}

/** Where an item has its type, its value and its time. Grammars share the entry of a series, but not its layout. */
export type ItemGrammar = 'flux' | 'better-stack'

/** The bytes of an item but for its value and its time: what stands before, between and after them. */
export interface ItemLayout {
  readonly grammar: ItemGrammar
  readonly view: DataView
  readonly start: number
  /** Segment i lies from ends[i - 1] (or 0) to ends[i], counted from `start`; parts[i] lies after it. */
  readonly ends: readonly number[]
  readonly parts: readonly ('value' | 'time')[]
}

export interface CachedItem<S> {
  readonly series: S
  /** Written by `ItemCache.keepLayout` alone, which counts its bytes. */
  layout: ItemLayout | undefined
  /** The item that followed this one last time. */
  following: CachedItem<S> | undefined
}

interface Entry<S> extends CachedItem<S> {
  readonly hash: number
  readonly key: DataView
  readonly keyStart: number
  readonly keyLength: number
  readonly nameLength: number
  readonly typeLength: number
  next: Entry<S> | undefined
}

const BUCKETS_MIN = 1_024

/** What an entry takes besides the bytes of its key and its layout, about. */
const ENTRY_BYTES = 360

/** Bytes of many entries share a buffer: one of its own would cost each of them more than they are. */
const SLAB_BYTES = 1 << 16

/** A layout longer than this is not kept: such items are rare, and scanning them costs less than receiving them. */
export const LAYOUT_BYTES_MAX = 4_096

export class ItemCache<S> {
  readonly #bytesMax: number
  #buckets: (Entry<S> | undefined)[] = emptyBuckets(BUCKETS_MIN)
  #size = 0
  #bytes = 0
  #slab = new Uint8Array(0)
  #slabView = new DataView(this.#slab.buffer)
  #slabUsed = 0

  /** `bytesMax` bounds keys, layouts and entries together. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get size(): number {
    return this.#size
  }

  /** Approximate size. */
  get bytes(): number {
    return this.#bytes
  }

  find(item: ItemIdentity): CachedItem<S> | undefined {
    const hash = hashOf(item)
    let entry = this.#buckets[hash & (this.#buckets.length - 1)]
    while (entry !== undefined) {
      if (entry.hash === hash && isSame(entry, item)) return entry
      entry = entry.next
    }
    return undefined
  }

  /** For an item that `find` did not find. */
  add(item: ItemIdentity, series: S): CachedItem<S> {
    const { view, nameStart, nameEnd, typeStart, typeEnd, tagsStart, tagsEnd } = item
    const nameLength = nameEnd - nameStart
    const typeLength = typeEnd - typeStart
    const keyLength = nameLength + typeLength + tagsEnd - tagsStart
    this.#take(keyLength + ENTRY_BYTES)
    const keyStart = this.#reserve(keyLength)
    copyBytes(view, nameStart, nameLength, this.#slabView, keyStart)
    copyBytes(view, typeStart, typeLength, this.#slabView, keyStart + nameLength)
    copyBytes(view, tagsStart, tagsEnd - tagsStart, this.#slabView, keyStart + nameLength + typeLength)
    if (this.#size >= this.#buckets.length) this.#grow()
    const hash = hashOf(item)
    const entry: Entry<S> = {
      series,
      layout: undefined,
      following: undefined,
      hash,
      key: this.#slabView,
      keyStart,
      keyLength,
      nameLength,
      typeLength,
      next: undefined,
    }
    this.#put(entry)
    this.#size++
    return entry
  }

  /** Keeps a copy of how the item of an entry is laid out, unless that is very long. */
  keepLayout(entry: CachedItem<S>, { grammar, view, start, ends, parts }: ItemLayout): void {
    const length = ends.at(-1) ?? 0
    if (length > LAYOUT_BYTES_MAX) return
    // The bytes of an earlier layout stay in their slab.
    this.#take(length)
    const at = this.#reserve(length)
    copyBytes(view, start, length, this.#slabView, at)
    entry.layout = { grammar, view: this.#slabView, start: at, ends: ends.slice(), parts }
  }

  /** Returns where in the slab these bytes may be written. */
  #reserve(length: number): number {
    if (this.#slabUsed + length > this.#slab.length) {
      this.#slab = new Uint8Array(Math.max(SLAB_BYTES, length))
      this.#slabView = new DataView(this.#slab.buffer)
      this.#slabUsed = 0
    }
    const at = this.#slabUsed
    this.#slabUsed += length
    return at
  }

  /** Counts bytes that are about to be kept; empties the cache when they do not fit. */
  #take(bytes: number): void {
    if (this.#bytes + bytes > this.#bytesMax) this.#clear()
    this.#bytes += bytes
  }

  #put(entry: Entry<S>): void {
    const at = entry.hash & (this.#buckets.length - 1)
    entry.next = this.#buckets[at]
    this.#buckets[at] = entry
  }

  #clear(): void {
    this.#buckets = emptyBuckets(BUCKETS_MIN)
    this.#size = 0
    this.#bytes = 0
    // Entries that decoders still hold keep the slabs they lie in.
    this.#slab = new Uint8Array(0)
    this.#slabUsed = 0
  }

  #grow(): void {
    const old = this.#buckets
    this.#buckets = emptyBuckets(old.length * 2)
    for (const first of old) {
      for (let entry = first; entry !== undefined; ) {
        const { next } = entry
        this.#put(entry)
        entry = next
      }
    }
  }
}

function emptyBuckets<S>(length: number): (Entry<S> | undefined)[] {
  return new Array<Entry<S> | undefined>(length).fill(undefined)
}

function isSame<S>({ key, keyStart, keyLength, nameLength, typeLength }: Entry<S>, item: ItemIdentity): boolean {
  const { view, nameStart, typeStart, tagsStart } = item
  const tagsLength = item.tagsEnd - tagsStart
  return (
    item.nameEnd - nameStart === nameLength &&
    item.typeEnd - typeStart === typeLength &&
    nameLength + typeLength + tagsLength === keyLength &&
    sameBytes(key, keyStart, view, nameStart, nameLength) &&
    sameBytes(key, keyStart + nameLength, view, typeStart, typeLength) &&
    sameBytes(key, keyStart + nameLength + typeLength, view, tagsStart, tagsLength)
  )
}

/** Four bytes at a time, because a view of a short range costs more than its copy. Both ranges lie within their views. */
function copyBytes(from: DataView, fromStart: number, length: number, to: DataView, toStart: number): void {
  const words = length & ~3
  let i = 0
  for (; i < words; i += 4) to.setInt32(toStart + i, from.getInt32(fromStart + i, true), true)
  for (; i < length; i++) to.setUint8(toStart + i, from.getUint8(fromStart + i))
}

/** Four bytes at a time; both ranges must lie within their views. */
export function sameBytes(a: DataView, aStart: number, b: DataView, bStart: number, length: number): boolean {
  const words = length & ~3
  let i = 0
  for (; i < words; i += 4) if (a.getInt32(aStart + i, true) !== b.getInt32(bStart + i, true)) return false
  for (; i < length; i++) if (a.getUint8(aStart + i) !== b.getUint8(bStart + i)) return false
  return true
}

/** Multiply and rotate over words of four bytes. A chosen collision costs comparisons, never a wrong series. */
function hashOf({ view, nameStart, nameEnd, typeStart, typeEnd, tagsStart, tagsEnd }: ItemIdentity): number {
  let hash = hashRange(view, nameStart, nameEnd, 0x811c9dc5 | 0)
  hash = hashRange(view, typeStart, typeEnd, hash)
  hash = hashRange(view, tagsStart, tagsEnd, hash)
  return hash ^ (hash >>> 15)
}

function hashRange(view: DataView, start: number, end: number, seed: number): number {
  let hash = seed
  let i = start
  // The rotation carries the upper bits down: multiplication alone only moves them up.
  for (; i + 4 <= end; i += 4) {
    hash = Math.imul(hash ^ view.getInt32(i, true), 0x9e3779b1)
    hash = (hash << 13) | (hash >>> 19)
  }
  for (; i < end; i++) hash = Math.imul(hash ^ view.getUint8(i), 0x01000193)
  return hash
}
