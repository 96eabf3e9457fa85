import { addCounts } from '../model/count.ts'

/**
 * Stores the bins of a quantile sketch with many bins. A bin has a key, which stands for a range of values, and a
 * weight. A page is 64 consecutive keys that begin at a multiple of 64. A page with enough bins is dense: it is an
 * array with a weight for each of its keys. The bins of all other pages are called sparse. They are (key, weight) pairs
 * in one sorted array.
 *
 * Invariant: the dense pages have at least `AVERAGE_PAGE_BINS_MIN` bins on average. So a sketch takes at most about 64
 * bytes per bin, whatever the values are. All arrays but long ones are plain arrays, because a typed array has an
 * overhead of some 400 bytes.
 */

const PAGE_BITS = 6
const KEYS_PER_PAGE = 1 << PAGE_BITS
const PAGE_MASK = KEYS_PER_PAGE - 1
/** Minimum average number of bins in the dense pages. */
const AVERAGE_PAGE_BINS_MIN = 12

/** Approximate memory of an array object in V8, and of each element. */
const ARRAY_BYTES = 32
const ELEMENT_BYTES = 8
const PAGE_OBJECT_BYTES = ARRAY_BYTES + (KEYS_PER_PAGE + 2) * ELEMENT_BYTES
/** Approximate memory of a `BinPages` without bins: the object, its arrays and their spare capacity. */
const OBJECT_BYTES = 320

/** A page is an array of weights. The element after the last weight is the number of the page. */
const PAGE_NUMBER_INDEX = KEYS_PER_PAGE
/** The page number of `EMPTY_PAGE`. No page of bins has this number. */
const EMPTY_PAGE_NUMBER = 2 ** 29
/**
 * Every empty slot of a hash table has this page. A new page is a copy of it. The array is first filled with a
 * fraction, so that V8 stores the elements as doubles from the start and never converts the array.
 */
const EMPTY_PAGE: number[] = Array.from({ length: KEYS_PER_PAGE + 1 }, () => 0.5).fill(0)
EMPTY_PAGE[PAGE_NUMBER_INDEX] = EMPTY_PAGE_NUMBER
/** The hash table that all sketches without a dense page share. Read-only. */
const NO_SLOTS: number[][] = [EMPTY_PAGE]

type NumberArray = number[] | Float64Array

/** Longer arrays are not copied with `slice`, which is slow on arrays that do not fit into a page of V8's heap. */
const SLICED_LENGTH_MAX = 8_192

/**
 * Scratch array for the sparse bins that `addPairs` computes, shared by all sketches. A page with 12 bins becomes
 * dense, so there are at most 11 bins for each of the 2,300 pages, and 64 for the page that is being merged.
 */
const mergedPairs: number[] = [0.5]
/**
 * Scratch array of `merge` for the sparse bins of the other sketch, and for its dense pages that are not dense in this
 * one.
 */
const incomingPairs: number[] = [0.5]

export class BinPages {
  /** The dense pages, in ascending order of their numbers. */
  readonly #pages: number[][] = []
  /** Number of bins in dense pages. */
  #denseCount = 0
  /** The bins in pages that are not dense: key, weight, key, weight, …, in ascending order of keys. */
  #sparse: NumberArray = []
  /**
   * Hash table of the dense pages, with linear probing: the search for a page begins at the slot given by the low bits
   * of the page number.
   */
  #slots = NO_SLOTS

  /** Number of bins in pages that are not dense. */
  get sparseCount(): number {
    return this.#sparse.length / 2
  }

  get binCount(): number {
    return this.#denseCount + this.sparseCount
  }

  /**
   * Whether a page with a single bin may become dense. It may if the dense pages, including this page, then have at
   * least `AVERAGE_PAGE_BINS_MIN` bins on average.
   */
  get canAddDensePage(): boolean {
    return this.#mayBecomeDense(1)
  }

  /** Approximate memory in bytes. */
  get allocatedBytes(): number {
    return (
      OBJECT_BYTES + this.#pages.length * (PAGE_OBJECT_BYTES + 6 * ELEMENT_BYTES) + this.#sparse.length * ELEMENT_BYTES
    )
  }

  /** Returns the dense page with this number; undefined if the page is not dense. */
  #densePage(pageNumber: number): number[] | undefined {
    const slots = this.#slots
    const page = slots[pageNumber & (slots.length - 1)]!
    return page[PAGE_NUMBER_INDEX] === pageNumber ? page : this.#probe(pageNumber)
  }

  /**
   * Adds `weight` to the bin of `key` in the dense page `page`; only the low bits of `key` are used. The weight must
   * not be 0.
   */
  #addToPage(page: number[], key: number, weight: number): void {
    const weightIndex = key & PAGE_MASK
    const weightBefore = page[weightIndex]!
    if (weightBefore === 0) this.#denseCount++
    page[weightIndex] = addCounts(weightBefore, weight)
  }

  /**
   * Adds `weight` to the bin of `key` and returns true, if the bin exists or its page is dense. Otherwise changes
   * nothing and returns false.
   */
  add(key: number, weight: number): boolean {
    const page = this.#densePage(key >> PAGE_BITS)
    if (page === undefined) return this.#addToSparse(key, weight)
    this.#addToPage(page, key, weight)
    return true
  }

  /** Adds `weight` to the sparse bin of `key`. Returns false if there is none. */
  #addToSparse(key: number, weight: number): boolean {
    const sparse = this.#sparse
    let low = 0
    let high = sparse.length >>> 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if (sparse[middle * 2]! < key) low = middle + 1
      else high = middle
    }
    const pairIndex = low * 2
    if (pairIndex === sparse.length || sparse[pairIndex] !== key) return false
    sparse[pairIndex + 1] = addCounts(sparse[pairIndex + 1]!, weight)
    return true
  }

  /**
   * Adds the bins in the first `length` elements of `pairs`: key, weight, key, weight, …, in ascending order of keys.
   * Takes time in proportion to the number of pairs plus the number of sparse bins.
   */
  addPairs(pairs: readonly number[], length: number): void {
    const sparse = this.#sparse
    let sparseIndex = 0
    let mergedLength = 0
    for (let i = 0; i < length; ) {
      const pageNumber = pairs[i]! >> PAGE_BITS
      const page = this.#densePage(pageNumber)
      if (page !== undefined) {
        for (; i < length && pairs[i]! >> PAGE_BITS === pageNumber; i += 2)
          this.#addToPage(page, pairs[i]!, pairs[i + 1]!)
        continue
      }
      const firstKey = pageNumber << PAGE_BITS
      const endKey = firstKey + KEYS_PER_PAGE
      for (; sparseIndex < sparse.length && sparse[sparseIndex]! < firstKey; sparseIndex += 2) {
        mergedPairs[mergedLength++] = sparse[sparseIndex]!
        mergedPairs[mergedLength++] = sparse[sparseIndex + 1]!
      }
      const pageStart = mergedLength
      for (;;) {
        const sparseKey = sparseIndex < sparse.length ? sparse[sparseIndex]! : endKey
        const key = i < length ? pairs[i]! : endKey
        if (sparseKey >= endKey && key >= endKey) break
        let weight = 0
        if (sparseKey <= key) {
          weight = sparse[sparseIndex + 1]!
          sparseIndex += 2
        }
        if (key <= sparseKey) {
          weight = addCounts(weight, pairs[i + 1]!)
          i += 2
        }
        mergedPairs[mergedLength++] = Math.min(sparseKey, key)
        mergedPairs[mergedLength++] = weight
      }
      if (!this.#mayBecomeDense((mergedLength - pageStart) / 2)) continue
      const newPage = this.#createPage(pageNumber)
      for (let j = pageStart; j < mergedLength; j += 2) this.#addToPage(newPage, mergedPairs[j]!, mergedPairs[j + 1]!)
      mergedLength = pageStart
    }
    for (; sparseIndex < sparse.length; sparseIndex++) mergedPairs[mergedLength++] = sparse[sparseIndex]!
    this.#sparse = copyOfFirst(mergedPairs, mergedLength)
  }

  merge(other: BinPages): void {
    let incomingLength = 0
    const sparse = other.#sparse
    let sparseIndex = 0
    for (let pageIndex = 0; pageIndex <= other.#pages.length; pageIndex++) {
      const firstKey = other.#firstKey(pageIndex)
      for (; sparseIndex < sparse.length && sparse[sparseIndex]! < firstKey; sparseIndex += 2) {
        incomingPairs[incomingLength++] = sparse[sparseIndex]!
        incomingPairs[incomingLength++] = sparse[sparseIndex + 1]!
      }
      if (pageIndex === other.#pages.length) break
      const otherPage = other.#pages[pageIndex]!
      const page = this.#densePage(otherPage[PAGE_NUMBER_INDEX]!)
      if (page !== undefined) {
        for (let i = 0; i < KEYS_PER_PAGE; i++) if (otherPage[i]! > 0) this.#addToPage(page, i, otherPage[i]!)
        continue
      }
      for (let i = 0; i < KEYS_PER_PAGE; i++) {
        if (otherPage[i] === 0) continue
        incomingPairs[incomingLength++] = firstKey + i
        incomingPairs[incomingLength++] = otherPage[i]!
      }
    }
    this.addPairs(incomingPairs, incomingLength)
  }

  /** Calls `visit` for each bin, in ascending order of keys. */
  forEachBin(visit: (key: number, weight: number) => void): void {
    const sparse = this.#sparse
    let sparseIndex = 0
    for (let pageIndex = 0; pageIndex <= this.#pages.length; pageIndex++) {
      const firstKey = this.#firstKey(pageIndex)
      for (; sparseIndex < sparse.length && sparse[sparseIndex]! < firstKey; sparseIndex += 2)
        visit(sparse[sparseIndex]!, sparse[sparseIndex + 1]!)
      if (pageIndex === this.#pages.length) break
      const page = this.#pages[pageIndex]!
      for (let i = 0; i < KEYS_PER_PAGE; i++) if (page[i]! > 0) visit(firstKey + i, page[i]!)
    }
  }

  /**
   * Returns the key of the bin with the observation of this rank. The smallest observation has rank 0. For a rank
   * beyond the last observation, returns the last key; 0 if there are no bins.
   */
  keyAtRank(rank: number): number {
    const sparse = this.#sparse
    let sparseIndex = 0
    let seenWeight = 0
    let lastKey = 0
    for (let pageIndex = 0; pageIndex <= this.#pages.length; pageIndex++) {
      const firstKey = this.#firstKey(pageIndex)
      for (; sparseIndex < sparse.length && sparse[sparseIndex]! < firstKey; sparseIndex += 2) {
        lastKey = sparse[sparseIndex]!
        seenWeight += sparse[sparseIndex + 1]!
        if (seenWeight > rank) return lastKey
      }
      if (pageIndex === this.#pages.length) break
      const page = this.#pages[pageIndex]!
      for (let i = 0; i < KEYS_PER_PAGE; i++) {
        const weight = page[i]!
        if (weight === 0) continue
        lastKey = firstKey + i
        seenWeight += weight
        if (seenWeight > rank) return lastKey
      }
    }
    return lastKey
  }

  clone(): BinPages {
    const copy = new BinPages()
    for (const page of this.#pages) copy.#pages.push(page.slice())
    copy.#denseCount = this.#denseCount
    copy.#sparse = copyOfFirst(this.#sparse, this.#sparse.length)
    if (this.#pages.length > 0) copy.#fillSlots(this.#slots.length)
    return copy
  }

  /** Returns the first key of the dense page at `pageIndex`; infinity beyond the last page. */
  #firstKey(pageIndex: number): number {
    return pageIndex < this.#pages.length
      ? this.#pages[pageIndex]![PAGE_NUMBER_INDEX]! * KEYS_PER_PAGE
      : Number.POSITIVE_INFINITY
  }

  /** Whether a page with this many bins may become dense, so that the invariant still holds. */
  #mayBecomeDense(binCount: number): boolean {
    return this.#denseCount + binCount >= (this.#pages.length + 1) * AVERAGE_PAGE_BINS_MIN
  }

  #createPage(pageNumber: number): number[] {
    const page = EMPTY_PAGE.slice()
    page[PAGE_NUMBER_INDEX] = pageNumber
    let pageIndex = this.#pages.length
    while (pageIndex > 0 && this.#pages[pageIndex - 1]![PAGE_NUMBER_INDEX]! > pageNumber) pageIndex--
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
    let slot = page[PAGE_NUMBER_INDEX]! & mask
    while (this.#slots[slot] !== EMPTY_PAGE) slot = (slot + 1) & mask
    this.#slots[slot] = page
  }

  /**
   * Finds the dense page `pageNumber` by linear probing. The search ends, because at least half of the slots are empty.
   */
  #probe(pageNumber: number): number[] | undefined {
    const mask = this.#slots.length - 1
    for (let slot = pageNumber & mask; ; slot = (slot + 1) & mask) {
      const page = this.#slots[slot]!
      if (page[PAGE_NUMBER_INDEX] === pageNumber) return page
      if (page === EMPTY_PAGE) return undefined
    }
  }
}

/**
 * Copies the first `length` elements. A long copy is a typed array, because `slice` is slow on long arrays. The copy of
 * a typed array is typed too.
 */
function copyOfFirst(numbers: NumberArray, length: number): NumberArray {
  if (length <= SLICED_LENGTH_MAX && Array.isArray(numbers)) return numbers.slice(0, length)
  const copy = new Float64Array(length)
  for (let i = 0; i < length; i++) copy[i] = numbers[i]!
  return copy
}
