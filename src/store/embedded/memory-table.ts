/**
 * Rows of a table that are in the journal but not yet in LMDB. They are found by key and read in the order of keys, and
 * hide the rows of LMDB with the same key; a row without value hides a row that was removed.
 *
 * Keys are strings of one character a byte, which sort like the bytes. Most tables are never read in order, so keys are
 * sorted only when a range is read.
 */

export interface Write {
  /** The whole value; undefined: the row is removed. */
  readonly value: Uint8Array | undefined
  /** Only what the write added to the set sketch that was stored before: the journal keeps this instead of the value. */
  readonly added?: Uint8Array
}

/** What an entry costs beside its key and value: a string, an object, a buffer, a place in a map. */
const ENTRY_BYTES = 200

export class MemoryTable {
  readonly #writes = new Map<string, Write>()
  readonly #sorted = new SortedKeys()
  #unsorted: string[] = []
  #bytes = 0

  get size(): number {
    return this.#writes.size
  }

  /** An estimate of the memory used. */
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

  /** Sorts at most `max` keys in advance; returns whether more are unsorted. */
  sort(max: number): boolean {
    for (const key of this.#unsorted.splice(-max)) this.#sorted.add(key)
    return this.#unsorted.length > 0
  }

  /** Keys from `start` on: ascending, or descending with `reverse`. */
  *keysFrom(start: string, reverse: boolean): Generator<string> {
    this.sort(this.#unsorted.length)
    for (const key of this.#sorted.from(start, reverse)) if (this.#writes.has(key)) yield key
  }
}

function bytesOf(key: string, { value }: Write): number {
  return ENTRY_BYTES + key.length + (value?.length ?? 0)
}

/** A row takes a copy of half of them at most. */
const KEYS_PER_CHUNK_MAX = 512

/** Keys in order, in chunks that are short enough to insert into. */
class SortedKeys {
  readonly #chunks: string[][] = [[]]

  add(key: string): void {
    const at = this.#chunkOf(key)
    const chunk = this.#chunks[at]!
    const position = lowerBound(chunk, key)
    if (chunk[position] === key) return
    chunk.splice(position, 0, key)
    if (chunk.length > KEYS_PER_CHUNK_MAX) this.#chunks.splice(at + 1, 0, chunk.splice(KEYS_PER_CHUNK_MAX / 2))
  }

  *from(start: string, reverse: boolean): Generator<string> {
    let at = this.#chunkOf(start)
    let position = lowerBound(this.#chunks[at]!, start)
    if (reverse && this.#chunks[at]![position] !== start) position--
    const step = reverse ? -1 : 1
    for (;;) {
      const chunk = this.#chunks[at]
      if (chunk === undefined) return
      for (; position >= 0 && position < chunk.length; position += step) yield chunk[position]!
      at += step
      position = reverse ? (this.#chunks[at]?.length ?? 0) - 1 : 0
    }
  }

  /** The last chunk that begins at or before the key. */
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

/** Position of the first key that is not before `key`. */
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
