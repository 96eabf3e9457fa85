import { addCounts } from '../model/count.ts'

/**
 * Stores the bins of a sketch that has too many for a short sorted list. Keys are divided into pages of `PAGE_KEYS`
 * consecutive keys. A page with enough bins is dense: it stores one weight for each of its keys. The bins of all other
 * pages are lone bins: (key, weight) pairs in one sorted array.
 *
 * Invariants: a lone bin's page is not dense, and dense pages hold at least `PAGE_BINS_MIN` bins each on average. So
 * memory is at most about 64 bytes per bin, whatever the values are. Plain arrays are used, because a typed array has
 * an overhead of some 400 bytes.
 */

const PAGE_BITS = 6
const PAGE_KEYS = 1 << PAGE_BITS
const PAGE_MASK = PAGE_KEYS - 1
const PAGE_BINS_MIN = 12

/** Memory of an empty array, and of each element, in V8. */
const ARRAY_BYTES = 32
const ELEMENT_BYTES = 8
const PAGE_BYTES = ARRAY_BYTES + (PAGE_KEYS + 2) * ELEMENT_BYTES
/** Memory of an empty `BinPages` object with its arrays and their spare capacity. */
const OBJECT_BYTES = 320

/** Index of the element of a page that holds the page's number. */
const NUMBER_AT = PAGE_KEYS
/** A page number that does not occur. */
const NO_PAGE = 2 ** 29
/** Initialized with a fraction, so that V8 stores doubles from the start and never converts the array. */
const EMPTY_PAGE: number[] = Array.from({ length: PAGE_KEYS + 1 }, () => 0.5).fill(0)
EMPTY_PAGE[NUMBER_AT] = NO_PAGE
/** The hash table of all sketches without a dense page. Read-only. */
const NO_SLOTS: number[][] = [EMPTY_PAGE]

type Numbers = number[] | Float64Array

/**
 * Length up to which arrays are copied with `slice`. Larger arrays do not fit into a page of V8's heap, and copying
 * them is slow.
 */
const SLICED_MAX = 8_192

/**
 * Scratch array for the merged pairs, shared by all sketches. It holds at most 11 pairs for each page of the key space:
 * 0.8 MB.
 */
const merged: number[] = [0.5]
/** Scratch array for the pairs of a sketch that is being merged into another. */
const incoming: number[] = [0.5]

/** Returns the number of the page that contains a key. */
export function pageOf(key: number): number {
  return key >> PAGE_BITS
}

export class BinPages {
  /** The dense pages, in ascending order of their numbers. */
  readonly #pages: number[][] = []
  /** Number of bins in dense pages. */
  #denseCount = 0
  /** The lone bins: key, weight, key, weight, …, in ascending order of keys. */
  #lone: Numbers = []
  /**
   * Hash table of the dense pages, with open addressing and linear probing: the search for page `id` begins at slot `id
   * & mask`.
   */
  #slots = NO_SLOTS

  /** Number of lone bins. */
  get loneCount(): number {
    return this.#lone.length / 2
  }

  get binCount(): number {
    return this.#denseCount + this.loneCount
  }

  /** Whether a page with a single bin can become dense while the average stays at or above `PAGE_BINS_MIN`. */
  get hasRoom(): boolean {
    return this.#isWorthPage(1)
  }

  get allocatedBytes(): number {
    return OBJECT_BYTES + this.#pages.length * (PAGE_BYTES + 6 * ELEMENT_BYTES) + this.#lone.length * ELEMENT_BYTES
  }

  /** Returns the dense page with this number; undefined if the page is not dense. */
  page(id: number): number[] | undefined {
    const slots = this.#slots
    const page = slots[id & (slots.length - 1)]!
    return page[NUMBER_AT] === id ? page : this.#probe(id)
  }

  addToPage(page: number[], key: number, weight: number): void {
    const at = key & PAGE_MASK
    const before = page[at]!
    if (before === 0) this.#denseCount++
    page[at] = addCounts(before, weight)
  }

  /**
   * Adds `weight` to the bin of `key` and returns true, if the bin exists or its page is dense. Otherwise changes
   * nothing and returns false.
   */
  add(key: number, weight: number): boolean {
    const page = this.page(key >> PAGE_BITS)
    if (page === undefined) return this.#addLone(key, weight)
    this.addToPage(page, key, weight)
    return true
  }

  #addLone(key: number, weight: number): boolean {
    const lone = this.#lone
    let low = 0
    let high = lone.length >>> 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if (lone[middle * 2]! < key) low = middle + 1
      else high = middle
    }
    const pairIndex = low * 2
    if (pairIndex === lone.length || lone[pairIndex] !== key) return false
    lone[pairIndex + 1] = addCounts(lone[pairIndex + 1]!, weight)
    return true
  }

  /**
   * Adds the (key, weight) pairs in the first `length` elements, which must ascend by key. The time is proportional to
   * the number of pairs plus the number of lone bins.
   */
  addPairs(pairs: readonly number[], length: number): void {
    const lone = this.#lone
    let from = 0
    let n = 0
    for (let i = 0; i < length; ) {
      const id = pairs[i]! >> PAGE_BITS
      const page = this.page(id)
      if (page !== undefined) {
        for (; i < length && pairs[i]! >> PAGE_BITS === id; i += 2) this.addToPage(page, pairs[i]!, pairs[i + 1]!)
        continue
      }
      const firstKey = id << PAGE_BITS
      const endKey = firstKey + PAGE_KEYS
      for (; from < lone.length && lone[from]! < firstKey; from += 2) {
        merged[n++] = lone[from]!
        merged[n++] = lone[from + 1]!
      }
      const start = n
      for (;;) {
        const loneKey = from < lone.length ? lone[from]! : endKey
        const key = i < length ? pairs[i]! : endKey
        if (loneKey >= endKey && key >= endKey) break
        let weight = 0
        if (loneKey <= key) {
          weight = lone[from + 1]!
          from += 2
        }
        if (key <= loneKey) {
          weight = addCounts(weight, pairs[i + 1]!)
          i += 2
        }
        merged[n++] = Math.min(loneKey, key)
        merged[n++] = weight
      }
      if (!this.#isWorthPage((n - start) / 2)) continue
      const created = this.#createPage(id)
      for (let m = start; m < n; m += 2) this.addToPage(created, merged[m]!, merged[m + 1]!)
      n = start
    }
    for (; from < lone.length; from++) merged[n++] = lone[from]!
    this.#lone = firstOf(merged, n)
  }

  merge(other: BinPages): void {
    let n = 0
    const lone = other.#lone
    let from = 0
    for (let p = 0; p <= other.#pages.length; p++) {
      const firstKey = other.#firstKey(p)
      for (; from < lone.length && lone[from]! < firstKey; from += 2) {
        incoming[n++] = lone[from]!
        incoming[n++] = lone[from + 1]!
      }
      if (p === other.#pages.length) break
      const otherPage = other.#pages[p]!
      const page = this.page(otherPage[NUMBER_AT]!)
      if (page !== undefined) {
        for (let i = 0; i < PAGE_KEYS; i++) if (otherPage[i]! > 0) this.addToPage(page, i, otherPage[i]!)
        continue
      }
      for (let i = 0; i < PAGE_KEYS; i++) {
        if (otherPage[i] === 0) continue
        incoming[n++] = firstKey + i
        incoming[n++] = otherPage[i]!
      }
    }
    this.addPairs(incoming, n)
  }

  /** Calls `visit` for each bin, in ascending order of keys. */
  forEachBin(visit: (key: number, weight: number) => void): void {
    const lone = this.#lone
    let from = 0
    for (let p = 0; p <= this.#pages.length; p++) {
      const firstKey = this.#firstKey(p)
      for (; from < lone.length && lone[from]! < firstKey; from += 2) visit(lone[from]!, lone[from + 1]!)
      if (p === this.#pages.length) break
      const page = this.#pages[p]!
      for (let i = 0; i < PAGE_KEYS; i++) if (page[i]! > 0) visit(firstKey + i, page[i]!)
    }
  }

  /**
   * Returns the key of the bin that holds the observation with this rank, counted from 0. For a rank beyond the last
   * observation, returns the last key.
   */
  keyAtRank(rank: number): number {
    const lone = this.#lone
    let from = 0
    let seen = 0
    let last = 0
    for (let p = 0; p <= this.#pages.length; p++) {
      const firstKey = this.#firstKey(p)
      for (; from < lone.length && lone[from]! < firstKey; from += 2) {
        last = lone[from]!
        seen += lone[from + 1]!
        if (seen > rank) return last
      }
      if (p === this.#pages.length) break
      const page = this.#pages[p]!
      for (let i = 0; i < PAGE_KEYS; i++) {
        const weight = page[i]!
        if (weight === 0) continue
        last = firstKey + i
        seen += weight
        if (seen > rank) return last
      }
    }
    return last
  }

  clone(): BinPages {
    const copy = new BinPages()
    for (const page of this.#pages) copy.#pages.push(page.slice())
    copy.#denseCount = this.#denseCount
    copy.#lone = firstOf(this.#lone, this.#lone.length)
    if (this.#pages.length > 0) copy.#fillSlots(this.#slots.length)
    return copy
  }

  /** Returns the first key of the dense page at `pageIndex`; infinity beyond the last page. */
  #firstKey(pageIndex: number): number {
    return pageIndex < this.#pages.length ? this.#pages[pageIndex]![NUMBER_AT]! * PAGE_KEYS : Number.POSITIVE_INFINITY
  }

  /**
   * Whether dense pages would still hold `PAGE_BINS_MIN` bins on average after a page with `bins` bins became dense.
   */
  #isWorthPage(bins: number): boolean {
    return this.#denseCount + bins >= (this.#pages.length + 1) * PAGE_BINS_MIN
  }

  #createPage(id: number): number[] {
    const page = EMPTY_PAGE.slice()
    page[NUMBER_AT] = id
    let pageIndex = this.#pages.length
    while (pageIndex > 0 && this.#pages[pageIndex - 1]![NUMBER_AT]! > id) pageIndex--
    this.#pages.splice(pageIndex, 0, page)
    if (this.#pages.length * 2 > this.#slots.length) this.#fillSlots(Math.max(4, this.#slots.length * 2))
    else this.#putIntoSlot(page)
    return page
  }

  #fillSlots(length: number): void {
    this.#slots = new Array<number[]>(length).fill(EMPTY_PAGE)
    for (const page of this.#pages) this.#putIntoSlot(page)
  }

  #putIntoSlot(page: number[]): void {
    const mask = this.#slots.length - 1
    let slot = page[NUMBER_AT]! & mask
    while (this.#slots[slot] !== EMPTY_PAGE) slot = (slot + 1) & mask
    this.#slots[slot] = page
  }

  /** Finds the dense page `id` by linear probing. The search ends, because at least half of the slots are empty. */
  #probe(id: number): number[] | undefined {
    const mask = this.#slots.length - 1
    for (let slot = id & mask; ; slot = (slot + 1) & mask) {
      const page = this.#slots[slot]!
      if (page[NUMBER_AT] === id) return page
      if (page === EMPTY_PAGE) return undefined
    }
  }
}

/** Copies the first `length` elements. A large copy is a typed array, because `slice` is slow on large arrays. */
function firstOf(numbers: Numbers, length: number): Numbers {
  if (length <= SLICED_MAX && Array.isArray(numbers)) return numbers.slice(0, length)
  const copy = new Float64Array(length)
  for (let i = 0; i < length; i++) copy[i] = numbers[i]!
  return copy
}
