import { HyperLogLog } from '../../sketch/hyperloglog.ts'

/**
 * The changed rows of one table that are not in LMDB yet. A removed row is kept without a value, so that it hides a row
 * with the same key in LMDB or in an older layer.
 *
 * Keys are strings with one character per byte, which sort like the bytes. New keys are sorted later: when a range is
 * read, when a checkpoint writes the table, or when there are too many. So rows that are soon deleted cost little.
 */

/** A change of a row. Only a row with a set sketch can have added members. */
export interface RowWrite {
  /** The whole value. Undefined: the row is removed, or if there are added members, its older value is still valid. */
  readonly value: Uint8Array | undefined
  /** Members that are added to the older value. */
  readonly addedMembers?: HyperLogLog
  /** Whether it is known that neither older layers nor LMDB had a row with this key when the row was put. */
  readonly isNew?: boolean
}

/**
 * Returns the union of the set sketch `older` and added members. Throws a RangeError if `older` is not a valid sketch.
 */
export function valueWithMembers(older: Uint8Array | undefined, addedMembers: HyperLogLog): Uint8Array {
  const sketch = older === undefined ? new HyperLogLog() : HyperLogLog.decode(older)
  sketch.union(addedMembers)
  return sketch.encode()
}

/** Estimated memory of a change in addition to its key and value: a string, an object, a buffer and a map entry. */
const ENTRY_OVERHEAD_BYTES = 200

/**
 * Maximum number of unsorted keys that `limitUnsortedKeys` leaves. Reading a range sorts them in about 8 ms. Most keys
 * of the inboxes are removed before this many follow, and then they are never sorted.
 */
export const UNSORTED_KEYS_MAX = 8_192

export class MemoryTable {
  readonly #writes = new Map<string, RowWrite>()
  readonly #sortedKeys = new SortedKeys()
  readonly #unsortedKeys = new Set<string>()
  #memoryBytes = 0

  get size(): number {
    return this.#writes.size
  }

  /** An estimate, with the overhead of each row. */
  get memoryBytes(): number {
    return this.#memoryBytes
  }

  get(key: string): RowWrite | undefined {
    return this.#writes.get(key)
  }

  /**
   * Adds a change. Added members are combined with an earlier change of the row; any other change replaces it. The
   * earlier change decides whether the row is new. The table becomes the owner of the added members.
   */
  set(key: string, write: RowWrite): void {
    const before = this.#writes.get(key)
    let combined = write
    if (before === undefined) this.#unsortedKeys.add(key)
    else {
      this.#memoryBytes -= entryBytesOf(key, before)
      if (write.addedMembers !== undefined) combined = withAdded(before, write.addedMembers)
      else if (write.isNew !== before.isNew) combined = { value: write.value, isNew: before.isNew === true }
    }
    this.#memoryBytes += entryBytesOf(key, combined)
    this.#writes.set(key, combined)
  }

  delete(key: string): void {
    const before = this.#writes.get(key)
    if (before === undefined) return
    this.#memoryBytes -= entryBytesOf(key, before)
    this.#writes.delete(key)
    if (!this.#unsortedKeys.delete(key)) this.#sortedKeys.delete(key)
  }

  entries(): Iterable<[string, RowWrite]> {
    return this.#writes
  }

  /**
   * Sorts at most `max` of the keys that are not sorted yet. Reading a range sorts all of them. Returns whether
   * unsorted keys are left.
   */
  sortKeys(max: number): boolean {
    let keysLeft = max
    for (const key of this.#unsortedKeys) {
      if (keysLeft-- === 0) return true
      this.#sortedKeys.add(key)
      this.#unsortedKeys.delete(key)
    }
    return false
  }

  /** Sorts keys until at most `UNSORTED_KEYS_MAX` are unsorted, the oldest first. */
  limitUnsortedKeys(): void {
    const excess = this.#unsortedKeys.size - UNSORTED_KEYS_MAX
    if (excess > 0) this.sortKeys(excess)
  }

  /** Yields the keys from `start` on, in ascending order, or in descending order with `reverse`. */
  *keysFrom(start: string, reverse: boolean): Generator<string> {
    this.sortKeys(this.#unsortedKeys.size)
    yield* this.#sortedKeys.from(start, reverse)
  }
}

function withAdded(before: RowWrite, addedMembers: HyperLogLog): RowWrite {
  if (before.addedMembers === undefined) return { value: valueWithMembers(before.value, addedMembers) }
  before.addedMembers.union(addedMembers)
  return before
}

function entryBytesOf(key: string, { value, addedMembers }: RowWrite): number {
  return ENTRY_OVERHEAD_BYTES + key.length + (value?.length ?? 0) + (addedMembers?.allocatedBytes ?? 0)
}

/** Maximum number of keys in a chunk. A longer chunk is split in half. */
const KEYS_PER_CHUNK_MAX = 512

/** Keys in ascending order, in chunks that are short enough for fast insertion. */
class SortedKeys {
  readonly #chunks: string[][] = [[]]

  add(key: string): void {
    const chunkIndex = this.#chunkOf(key)
    const chunk = this.#chunks[chunkIndex]!
    const position = lowerBound(chunk, key)
    chunk.splice(position, 0, key)
    if (chunk.length > KEYS_PER_CHUNK_MAX) this.#chunks.splice(chunkIndex + 1, 0, chunk.splice(KEYS_PER_CHUNK_MAX / 2))
  }

  delete(key: string): void {
    const chunkIndex = this.#chunkOf(key)
    const chunk = this.#chunks[chunkIndex]!
    const position = lowerBound(chunk, key)
    if (chunk[position] !== key) return
    chunk.splice(position, 1)
    if (chunk.length === 0 && this.#chunks.length > 1) this.#chunks.splice(chunkIndex, 1)
  }

  *from(start: string, reverse: boolean): Generator<string> {
    let chunkIndex = this.#chunkOf(start)
    let position = lowerBound(this.#chunks[chunkIndex]!, start)
    if (reverse && this.#chunks[chunkIndex]![position] !== start) position--
    const step = reverse ? -1 : 1
    for (;;) {
      const chunk = this.#chunks[chunkIndex]
      if (chunk === undefined) return
      for (; position >= 0 && position < chunk.length; position += step) yield chunk[position]!
      chunkIndex += step
      position = reverse ? (this.#chunks[chunkIndex]?.length ?? 0) - 1 : 0
    }
  }

  /** Returns the index of the last chunk that begins at or before the key; 0 if all chunks begin after the key. */
  #chunkOf(key: string): number {
    let low = 0
    let high = this.#chunks.length - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if (this.#chunks[middle]![0]! <= key) low = middle
      else high = middle - 1
    }
    return low
  }
}

/** Returns the index of the first of the sorted keys that is at or after `key`; `keys.length` if there is none. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (keys[middle]! < key) low = middle + 1
    else high = middle
  }
  return low
}
