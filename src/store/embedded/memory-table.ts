/**
 * Rows of a table that are in the journal but not in LMDB yet. They hide the rows of LMDB with the same key; a row
 * without a value hides a row that was removed.
 *
 * Keys are strings with one character per byte, which sort like the bytes. Most tables are never read in key order, so
 * keys are sorted only when a range is read.
 */

export interface Write {
  /** The whole value; undefined if the row is removed. */
  readonly value: Uint8Array | undefined
  /**
   * The members that the write added to a stored set sketch, as an encoded sketch. The journal stores it instead of
   * `value`.
   */
  readonly added?: Uint8Array
}

/** Memory of an entry in addition to its key and value: a string, an object, a buffer and a map entry. */
const ENTRY_BYTES = 200

export class MemoryTable {
  readonly #writes = new Map<string, Write>()
  readonly #sorted = new SortedKeys()
  #unsorted: string[] = []
  #bytes = 0

  get size(): number {
    return this.#writes.size
  }

  /** Estimated memory in bytes. */
  get bytes(): number {
    return this.#bytes
  }

  get(key: string): Write | undefined {
    return this.#writes.get(key)
  }

  set(key: string, write: Write): void {
    const before = this.#writes.get(key)
    if (before === undefined) this.#unsorted.push(key)
    else this.#bytes -= bytesOf(key, before)
    this.#bytes += bytesOf(key, write)
    this.#writes.set(key, write)
  }

  delete(key: string): void {
    const before = this.#writes.get(key)
    if (before === undefined) return
    this.#bytes -= bytesOf(key, before)
    this.#writes.delete(key)
  }

  entries(): Iterable<[string, Write]> {
    return this.#writes
  }

  /** Sorts at most `max` keys in advance. Returns whether unsorted keys are left. */
  sort(max: number): boolean {
    for (const key of this.#unsorted.splice(-max)) this.#sorted.add(key)
    return this.#unsorted.length > 0
  }

  /** Yields the keys from `start` on, in ascending order, or in descending order with `reverse`. */
  *keysFrom(start: string, reverse: boolean): Generator<string> {
    this.sort(this.#unsorted.length)
    for (const key of this.#sorted.from(start, reverse)) if (this.#writes.has(key)) yield key
  }
}

function bytesOf(key: string, { value }: Write): number {
  return ENTRY_BYTES + key.length + (value?.length ?? 0)
}

/** Maximum length of a chunk. A longer chunk is split in half. */
const KEYS_PER_CHUNK_MAX = 512

/** Keys in ascending order, in chunks that are short enough for fast insertion. */
class SortedKeys {
  readonly #chunks: string[][] = [[]]

  add(key: string): void {
    const chunkIndex = this.#chunkOf(key)
    const chunk = this.#chunks[chunkIndex]!
    const position = lowerBound(chunk, key)
    if (chunk[position] === key) return
    chunk.splice(position, 0, key)
    if (chunk.length > KEYS_PER_CHUNK_MAX) this.#chunks.splice(chunkIndex + 1, 0, chunk.splice(KEYS_PER_CHUNK_MAX / 2))
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

  /** Returns the index of the last chunk that begins at or before the key. */
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

/** Returns the index of the first key that is at or after `key`. */
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
