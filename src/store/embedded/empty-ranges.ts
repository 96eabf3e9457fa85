/** Maximum number of ranges. Beyond it, all are forgotten, and later reads find them again. */
const RANGES_MAX = 1_000

/** A range of keys. `end` is exclusive. Keys are strings with one character per byte, which sort like the bytes. */
export interface TextRange {
  readonly start: string
  readonly end: string
}

/** Returns the least key after `key`. */
export function keyAfter(key: string): string {
  return `${key}\0`
}

/**
 * Ranges of keys of a table in which no row is visible, although many rows were removed there. A removed row stays in a
 * layer as long as LMDB has it, until the next checkpoint. Work that removes the first rows of a range in steps would
 * have to skip, in each step, the removed rows of all earlier steps one by one. A read skips an empty range at once.
 *
 * Invariant: no key in an empty range has a visible row. So a key is excluded when a row is put there.
 */
export class EmptyRanges {
  /** In ascending order. They neither overlap nor touch. */
  readonly #ranges: TextRange[] = []

  get size(): number {
    return this.#ranges.length
  }

  /** Returns the empty range that contains the key. */
  find(key: string): TextRange | undefined {
    const range = this.#ranges[this.#firstEndingFrom(key)]
    return range !== undefined && range.start <= key && key < range.end ? range : undefined
  }

  /** Adds a range, and unites it with those that it overlaps or touches. */
  add({ start, end }: TextRange): void {
    const first = this.#firstEndingFrom(start)
    let unitedStart = start
    let unitedEnd = end
    let next = first
    for (; next < this.#ranges.length && this.#ranges[next]!.start <= end; next++) {
      const range = this.#ranges[next]!
      if (range.start < unitedStart) unitedStart = range.start
      if (range.end > unitedEnd) unitedEnd = range.end
    }
    this.#ranges.splice(first, next - first)
    this.#insert(first, { start: unitedStart, end: unitedEnd })
  }

  /** Splits the empty range that contains the key, so that none contains it. */
  exclude(key: string): void {
    const index = this.#firstEndingFrom(key)
    const range = this.#ranges[index]
    if (range === undefined || range.start > key || key >= range.end) return
    this.#ranges.splice(index, 1)
    // The second part is inserted first, because the first part takes its place.
    this.#insert(index, { start: keyAfter(key), end: range.end })
    this.#insert(index, { start: range.start, end: key })
  }

  clear(): void {
    this.#ranges.length = 0
  }

  /** Inserts a range, unless it has no keys. */
  #insert(index: number, range: TextRange): void {
    if (range.start >= range.end) return
    if (this.#ranges.length === RANGES_MAX) this.clear()
    this.#ranges.splice(index, 0, range)
  }

  /** Returns the index of the first range that ends at or after the key. */
  #firstEndingFrom(key: string): number {
    let low = 0
    let high = this.#ranges.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#ranges[middle]!.end < key) low = middle + 1
      else high = middle
    }
    return low
  }
}
