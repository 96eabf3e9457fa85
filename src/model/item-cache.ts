import { randomInt } from 'node:crypto'

/**
 * A hash table from the bytes of an item's name, type and tags to the item's series. Batches repeat the same items, so
 * a decoder finds the series of most items without creating a string. A hit compares all bytes, not only the hash.
 *
 * An entry may also have the bytes around value and time (the layout) and the entry of the item that last followed in a
 * batch. So if the next batch has the same items in the same order, the decoder mostly compares only these bytes. The
 * cache is emptied before the estimated memory of its entries would exceed `bytesMax`.
 *
 * A client can construct many items with equal hashes. They cannot make a look-up slow, because a bucket of the table
 * has at most `BUCKET_ENTRIES_MAX` entries.
 */

/**
 * Maximum estimated memory of the item cache of one project. After the cache was emptied, each item is decoded in full
 * until it is cached again.
 */
export const ITEM_CACHE_BYTES_MAX = 67_108_864

/**
 * Where name, type and tags of an item are in a request body. Decoders of protobuf put other bytes that identify a
 * series into these ranges. A decoder uses one object for all items.
 */
export interface ItemIdentity {
  readonly view: DataView
  nameStart: number
  nameEnd: number
  typeStart: number
  typeEnd: number
  tagsStart: number
  tagsEnd: number
}

/**
 * The format of an item: JSON of one of three protocols, or MessagePack. Items of different formats share a cache entry
 * if their name, type and tags have the same bytes, but the layout of an item is valid for one format.
 */
export type ItemGrammar = 'flux' | 'graphql' | 'better-stack' | 'message-pack'

/**
 * The bytes of an item without its value and its time. Where one of these two fields was, there is a gap: a segment of
 * the bytes ends and the next one begins.
 */
export interface ItemLayout {
  readonly grammar: ItemGrammar
  readonly view: DataView
  readonly start: number
  /**
   * Segment i is from segmentEnds[i - 1] (0 for the first) to segmentEnds[i], relative to `start`. No gap is stored.
   */
  readonly segmentEnds: readonly number[]
  /** The field that follows segment i in the item. No field follows the last segment. */
  readonly gapFields: readonly ('value' | 'time')[]
}

export interface CachedItem<S> {
  readonly series: S
  /** Set only by `ItemCache.keepLayout`, which counts the bytes of the layout. */
  layout: ItemLayout | undefined
  /**
   * The item that last followed this one in a batch. Undefined if no item has followed yet, or if that item was not
   * cached.
   */
  following: CachedItem<S> | undefined
}

interface CacheEntry<S> extends CachedItem<S> {
  readonly hash: number
  /** The buffer with the bytes of name, type and tags, one after the other from `keyStart` on. */
  readonly slab: DataView
  readonly keyStart: number
  readonly keyLength: number
  readonly nameLength: number
  readonly typeLength: number
  nextInBucket: CacheEntry<S> | undefined
}

const HASH_BUCKETS_MIN = 1_024

/**
 * Maximum number of entries in a bucket. There are at least as many buckets as entries, so buckets with more entries
 * practically occur only if a client constructs items for one bucket.
 */
const BUCKET_ENTRIES_MAX = 16

/** Approximate memory of an entry without the bytes of its key and its layout. */
const ENTRY_MEMORY_BYTES = 360

/** Entries share buffers (slabs) of at least this size: the overhead of a buffer per entry would exceed its content. */
const SLAB_BYTES = 1 << 16

/** Longer layouts are not cached, because such items are rare. */
export const LAYOUT_BYTES_MAX = 4_096

export class ItemCache<S> {
  readonly #bytesMax: number
  #buckets: (CacheEntry<S> | undefined)[] = emptyBuckets(HASH_BUCKETS_MIN)
  #size = 0
  #estimatedBytes = 0
  #slab = new Uint8Array(0)
  #slabView = new DataView(this.#slab.buffer)
  #slabUsedBytes = 0

  /** `bytesMax` is the maximum estimated memory of all entries, including their keys and layouts. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** Number of entries. */
  get size(): number {
    return this.#size
  }

  /** Approximate memory of all entries in bytes. */
  get estimatedBytes(): number {
    return this.#estimatedBytes
  }

  /** Returns the entry whose name, type and tags have the same bytes as the item; undefined if there is none. */
  find(item: ItemIdentity): CachedItem<S> | undefined {
    const hash = hashOf(item)
    let entry = this.#buckets[hash & (this.#buckets.length - 1)]
    while (entry !== undefined) {
      if (entry.hash === hash && hasSameBytes(entry, item)) return entry
      entry = entry.nextInBucket
    }
    return undefined
  }

  /**
   * Adds an entry for an item, and removes the other entries of its bucket if the bucket is full. `find` must have
   * returned undefined for this item.
   */
  add(item: ItemIdentity, series: S): CachedItem<S> {
    const { view, nameStart, nameEnd, typeStart, typeEnd, tagsStart, tagsEnd } = item
    const nameLength = nameEnd - nameStart
    const typeLength = typeEnd - typeStart
    const keyLength = nameLength + typeLength + tagsEnd - tagsStart
    this.#makeRoom(keyLength + ENTRY_MEMORY_BYTES)
    const keyStart = this.#reserve(keyLength)
    copyBytes(view, nameStart, nameLength, this.#slabView, keyStart)
    copyBytes(view, typeStart, typeLength, this.#slabView, keyStart + nameLength)
    copyBytes(view, tagsStart, tagsEnd - tagsStart, this.#slabView, keyStart + nameLength + typeLength)
    if (this.#size >= this.#buckets.length) this.#grow()
    const hash = hashOf(item)
    const entry: CacheEntry<S> = {
      series,
      layout: undefined,
      following: undefined,
      hash,
      slab: this.#slabView,
      keyStart,
      keyLength,
      nameLength,
      typeLength,
      nextInBucket: undefined,
    }
    this.#emptyFullBucket(hash)
    this.#linkIntoBucket(entry)
    this.#size++
    return entry
  }

  /** Copies the layout of an item into its entry. Layouts of more than `LAYOUT_BYTES_MAX` bytes are ignored. */
  keepLayout(entry: CachedItem<S>, { grammar, view, start, segmentEnds, gapFields }: ItemLayout): void {
    const length = segmentEnds.at(-1) ?? 0
    if (length > LAYOUT_BYTES_MAX) return
    // The bytes of an earlier layout remain in their slab until the cache is emptied, so they stay counted.
    this.#makeRoom(length)
    const slabOffset = this.#reserve(length)
    copyBytes(view, start, length, this.#slabView, slabOffset)
    entry.layout = { grammar, view: this.#slabView, start: slabOffset, segmentEnds: segmentEnds.slice(), gapFields }
  }

  /** Reserves bytes in the current slab, or in a new slab if they do not fit. Returns their offset in the slab. */
  #reserve(length: number): number {
    if (this.#slabUsedBytes + length > this.#slab.length) {
      this.#slab = new Uint8Array(Math.max(SLAB_BYTES, length))
      this.#slabView = new DataView(this.#slab.buffer)
      this.#slabUsedBytes = 0
    }
    const offset = this.#slabUsedBytes
    this.#slabUsedBytes += length
    return offset
  }

  /** Empties the cache if `bytes` more would exceed `bytesMax`. Then adds `bytes` to `#estimatedBytes`. */
  #makeRoom(bytes: number): void {
    if (this.#estimatedBytes + bytes > this.#bytesMax) this.#clear()
    this.#estimatedBytes += bytes
  }

  /**
   * Removes all entries of the bucket of a hash if the bucket is full. Their bytes remain in their slabs until the
   * cache is emptied, so they stay counted.
   */
  #emptyFullBucket(hash: number): void {
    const bucket = hash & (this.#buckets.length - 1)
    let entryCount = 0
    for (let entry = this.#buckets[bucket]; entry !== undefined; entry = entry.nextInBucket) entryCount++
    if (entryCount < BUCKET_ENTRIES_MAX) return
    this.#buckets[bucket] = undefined
    this.#size -= entryCount
  }

  #linkIntoBucket(entry: CacheEntry<S>): void {
    const bucket = entry.hash & (this.#buckets.length - 1)
    entry.nextInBucket = this.#buckets[bucket]
    this.#buckets[bucket] = entry
  }

  #clear(): void {
    this.#buckets = emptyBuckets(HASH_BUCKETS_MIN)
    this.#size = 0
    this.#estimatedBytes = 0
    // The old slab must not be overwritten: a running decoder may still compare bytes with an entry in it.
    this.#slab = new Uint8Array(0)
    this.#slabUsedBytes = 0
  }

  #grow(): void {
    const oldBuckets = this.#buckets
    this.#buckets = emptyBuckets(oldBuckets.length * 2)
    for (const firstEntry of oldBuckets) {
      for (let entry = firstEntry; entry !== undefined; ) {
        const { nextInBucket } = entry
        this.#linkIntoBucket(entry)
        entry = nextInBucket
      }
    }
  }
}

function emptyBuckets<S>(length: number): (CacheEntry<S> | undefined)[] {
  return new Array<CacheEntry<S> | undefined>(length).fill(undefined)
}

function hasSameBytes<S>(
  { slab, keyStart, keyLength, nameLength, typeLength }: CacheEntry<S>,
  item: ItemIdentity,
): boolean {
  const { view, nameStart, typeStart, tagsStart } = item
  const tagsLength = item.tagsEnd - tagsStart
  return (
    item.nameEnd - nameStart === nameLength &&
    item.typeEnd - typeStart === typeLength &&
    nameLength + typeLength + tagsLength === keyLength &&
    sameBytes(slab, keyStart, view, nameStart, nameLength) &&
    sameBytes(slab, keyStart + nameLength, view, typeStart, typeLength) &&
    sameBytes(slab, keyStart + nameLength + typeLength, view, tagsStart, tagsLength)
  )
}

/**
 * Copies bytes, four at a time. `Uint8Array.set` would need a new view of each range, which takes longer than copying a
 * short range. Both ranges must lie within their views.
 */
function copyBytes(from: DataView, fromStart: number, length: number, to: DataView, toStart: number): void {
  const wordsLength = length & ~3
  let i = 0
  for (; i < wordsLength; i += 4) to.setInt32(toStart + i, from.getInt32(fromStart + i, true), true)
  for (; i < length; i++) to.setUint8(toStart + i, from.getUint8(fromStart + i))
}

/** Compares two ranges of bytes, four bytes at a time. Both ranges must lie within their views. */
export function sameBytes(a: DataView, aStart: number, b: DataView, bStart: number, length: number): boolean {
  const wordsLength = length & ~3
  let i = 0
  for (; i < wordsLength; i += 4) if (a.getInt32(aStart + i, true) !== b.getInt32(bStart + i, true)) return false
  for (; i < length; i++) if (a.getUint8(aStart + i) !== b.getUint8(bStart + i)) return false
  return true
}

/** Random, so that a client cannot know which items share a bucket. */
const HASH_SEED = randomInt(2 ** 32) | 0

/**
 * Hashes name, type and tags, four bytes at a time. A client can still construct items that have equal hashes with any
 * seed.
 */
function hashOf({ view, nameStart, nameEnd, typeStart, typeEnd, tagsStart, tagsEnd }: ItemIdentity): number {
  let hash = hashRange(view, nameStart, nameEnd, HASH_SEED)
  hash = hashRange(view, typeStart, typeEnd, hash)
  hash = hashRange(view, tagsStart, tagsEnd, hash)
  return hash ^ (hash >>> 15)
}

function hashRange(view: DataView, start: number, end: number, seed: number): number {
  let hash = seed
  let i = start
  // The low bits of a product do not depend on the high bits of its factors. So each product of this loop is rotated:
  // its high bits become low bits and affect all bits of the next product.
  for (; i + 4 <= end; i += 4) {
    hash = Math.imul(hash ^ view.getInt32(i, true), 0x9e3779b1)
    hash = (hash << 13) | (hash >>> 19)
  }
  for (; i < end; i++) hash = Math.imul(hash ^ view.getUint8(i), 0x01000193)
  return hash
}
