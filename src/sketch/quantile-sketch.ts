import { addCounts } from '../model/count.ts'

/**
 * DDSketch: "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error Guarantees", Masson, Rim, Lee,
 * VLDB 2019. A positive value v falls into bin ceil(log_gamma(v)), so that one representative per bin is within
 * `RELATIVE_ERROR` of every value in it; quantiles of any merge of sketches keep that bound. No bins are ever collapsed.
 *
 * One ordered key space covers all doubles: zero is key 0, positive values have positive keys (shifted so that the
 * smallest subnormal is above 0), negative values the mirrored ones; ascending keys are ascending values.
 *
 * Bins live in one of two forms. Few bins are sorted (key, weight) pairs in a single array. More are pages of
 * `PAGE_KEYS` consecutive keys addressed directly; only pages that hold a bin exist, so values of 1e-300 and 1e300 in one
 * sketch cost two pages and a directory, and all of it together is bounded by the 145,000 keys there are.
 */

/** The bound holds for all normal doubles; subnormals (below 2.3e-308) are coarser than it themselves. */
export const RELATIVE_ERROR = 0.01

const GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
const LN_GAMMA = Math.log(GAMMA)
const BINS_PER_LN = 1 / LN_GAMMA
/** ln(2 / (1 + gamma)): from a bin's upper edge down to the point equally far, relatively, from both edges. */
const LN_CENTER = Math.log(2 / (1 + GAMMA))

/** Key of the bin that ends at 1. */
export const KEY_OF_ONE = 1 - Math.ceil(Math.log(Number.MIN_VALUE) * BINS_PER_LN)
/** Keys lie in [-KEY_MAX, KEY_MAX]. */
export const KEY_MAX = KEY_OF_ONE + Math.ceil(Math.log(Number.MAX_VALUE) * BINS_PER_LN)

const PAGE_BITS = 7
const PAGE_KEYS = 1 << PAGE_BITS
const PAGE_MASK = PAGE_KEYS - 1
/** From here on pages are smaller or not much larger than pairs, and always faster. */
const PAIRS_MAX = 32
const NO_PAIRS = new Float64Array(0)

/** Throws a RangeError on NaN and infinities. */
export function binOf(value: number): number {
  if (value > 0 && value <= Number.MAX_VALUE) return KEY_OF_ONE + Math.ceil(Math.log(value) * BINS_PER_LN)
  if (value < 0 && value >= -Number.MAX_VALUE) return -KEY_OF_ONE - Math.ceil(Math.log(-value) * BINS_PER_LN)
  if (value === 0) return 0
  throw new RangeError(`not a finite number: ${value}`)
}

export function valueOfBin(key: number): number {
  if (key === 0) return 0
  return Math.sign(key) * Math.exp((Math.abs(key) - KEY_OF_ONE) * LN_GAMMA + LN_CENTER)
}

function addTo(weights: Float64Array, at: number, weight: number): void {
  weights[at] = addCounts(weights[at]!, weight)
}

export class QuantileSketch {
  #totalWeight = 0
  #pairs = NO_PAIRS
  #pairCount = 0
  /** Set once the sketch has outgrown its pairs; index 0 is page #firstPage, undefined pages are empty. */
  #pages: (Float64Array | undefined)[] | undefined
  #firstPage = 0

  /** Of all bins. They saturate, each by itself; their sum is exact up to 2^53 and says beyond which of them holds a rank. */
  get totalWeight(): number {
    return this.#totalWeight
  }

  get binCount(): number {
    const pages = this.#pages
    if (pages === undefined) return this.#pairCount
    let count = 0
    for (let p = 0; p < pages.length; p++) {
      const page = pages[p]
      if (page === undefined) continue
      for (let i = 0; i < PAGE_KEYS; i++) if (page[i]! > 0) count++
    }
    return count
  }

  /** `weight` observations of a finite value; the weight is an integer from 1 to `COUNT_MAX` and costs nothing. */
  add(value: number, weight = 1): void {
    this.addBin(binOf(value), weight)
  }

  addBin(key: number, weight: number): void {
    if (this.#pages === undefined && !this.#addPair(key, weight)) this.#toPages()
    if (this.#pages !== undefined) addTo(this.#page(key >> PAGE_BITS), key & PAGE_MASK, weight)
    this.#totalWeight += weight
  }

  /** Adds bins [start, end) of two columns; keys ascend. */
  mergeBins(keys: Int32Array, weights: Float64Array, start: number, end: number): void {
    let total = this.#totalWeight
    let i = start
    if (this.#pages === undefined) {
      if (end - start <= PAIRS_MAX) {
        for (; i < end && this.#addPair(keys[i]!, weights[i]!); i++) total += weights[i]!
      }
      if (i < end) this.#toPages()
    }
    while (i < end) {
      const id = keys[i]! >> PAGE_BITS
      const page = this.#page(id)
      do {
        const weight = weights[i]!
        addTo(page, keys[i]! & PAGE_MASK, weight)
        total += weight
        i++
      } while (i < end && keys[i]! >> PAGE_BITS === id)
    }
    this.#totalWeight = total
  }

  merge(other: QuantileSketch): void {
    const otherPages = other.#pages
    if (otherPages === undefined) {
      const pairs = other.#pairs
      const length = other.#pairCount * 2
      for (let i = 0; i < length; i += 2) this.addBin(pairs[i]!, pairs[i + 1]!)
      return
    }
    if (this.#pages === undefined) this.#toPages()
    for (let p = 0; p < otherPages.length; p++) {
      const from = otherPages[p]
      if (from === undefined) continue
      const to = this.#page(other.#firstPage + p)
      for (let i = 0; i < PAGE_KEYS; i++) addTo(to, i, from[i]!)
    }
    this.#totalWeight += other.#totalWeight
  }

  /** Ascending, each key once, weights above 0. The sketch must not change meanwhile. */
  forEachBin(visit: (key: number, weight: number) => void): void {
    const pages = this.#pages
    if (pages === undefined) {
      const pairs = this.#pairs
      const length = this.#pairCount * 2
      for (let i = 0; i < length; i += 2) visit(pairs[i]!, pairs[i + 1]!)
      return
    }
    for (let p = 0; p < pages.length; p++) {
      const page = pages[p]
      if (page === undefined) continue
      const firstKey = (this.#firstPage + p) << PAGE_BITS
      for (let i = 0; i < PAGE_KEYS; i++) if (page[i]! > 0) visit(firstKey + i, page[i]!)
    }
  }

  /**
   * The q-quantile, 0 <= q <= 1, of type 7 (linear between the two ranks around q * (n - 1)). `min` and `max` are the exact
   * extremes the caller keeps beside the sketch. NaN when empty.
   */
  quantile(q: number, min: number, max: number): number {
    if (!(q >= 0 && q <= 1)) throw new RangeError(`not a quantile: ${q}`)
    if (this.#totalWeight === 0) return Number.NaN
    const rank = q * (this.#totalWeight - 1)
    const below = Math.floor(rank)
    const fraction = rank - below
    const low = this.#valueAtRank(below, min, max)
    if (fraction === 0) return low
    const high = this.#valueAtRank(below + 1, min, max)
    // high - low may overflow, and the two products may round outside of [low, high].
    return low === high ? low : Math.min(high, Math.max(low, low * (1 - fraction) + high * fraction))
  }

  clear(): void {
    this.#totalWeight = 0
    this.#pairCount = 0
    this.#pages = undefined
  }

  #valueAtRank(rank: number, min: number, max: number): number {
    if (rank <= 0) return min
    if (rank >= this.#totalWeight - 1) return max
    return Math.min(max, Math.max(min, valueOfBin(this.#keyAtRank(rank))))
  }

  #keyAtRank(rank: number): number {
    const pages = this.#pages
    let seen = 0
    let last = 0
    if (pages === undefined) {
      const length = this.#pairCount * 2
      for (let i = 0; i < length; i += 2) {
        last = this.#pairs[i]!
        seen += this.#pairs[i + 1]!
        if (seen > rank) break
      }
      return last
    }
    for (let p = 0; p < pages.length; p++) {
      const page = pages[p]
      if (page === undefined) continue
      const firstKey = (this.#firstPage + p) << PAGE_BITS
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

  /** False, with nothing changed, when a new key finds no room among the pairs. */
  #addPair(key: number, weight: number): boolean {
    const count = this.#pairCount
    let low = 0
    let high = count
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#pairs[middle * 2]! < key) low = middle + 1
      else high = middle
    }
    const at = low * 2
    if (low < count && this.#pairs[at] === key) {
      addTo(this.#pairs, at + 1, weight)
      return true
    }
    if (count === PAIRS_MAX) return false
    const length = count * 2
    if (length === this.#pairs.length) {
      const grown = new Float64Array(Math.max(4, length * 2))
      for (let i = 0; i < length; i++) grown[i] = this.#pairs[i]!
      this.#pairs = grown
    }
    const pairs = this.#pairs
    for (let i = length - 1; i >= at; i--) pairs[i + 2] = pairs[i]!
    pairs[at] = key
    pairs[at + 1] = weight
    this.#pairCount = count + 1
    return true
  }

  #toPages(): void {
    this.#pages = []
    const length = this.#pairCount * 2
    for (let i = 0; i < length; i += 2) {
      const key = this.#pairs[i]!
      addTo(this.#page(key >> PAGE_BITS), key & PAGE_MASK, this.#pairs[i + 1]!)
    }
    this.#pairs = NO_PAIRS
    this.#pairCount = 0
  }

  /** The page with this number, made if need be. Only after #toPages. */
  #page(id: number): Float64Array {
    const page = this.#pages![id - this.#firstPage]
    return page === undefined ? this.#createPage(id) : page
  }

  #createPage(id: number): Float64Array {
    const pages = this.#pages!
    const page = new Float64Array(PAGE_KEYS)
    if (pages.length === 0) {
      this.#firstPage = id
    } else if (id < this.#firstPage) {
      const shifted = new Array<Float64Array | undefined>(this.#firstPage - id).fill(undefined)
      this.#pages = shifted.concat(pages)
      this.#firstPage = id
      this.#pages[0] = page
      return page
    }
    const at = id - this.#firstPage
    while (pages.length < at) pages.push(undefined)
    pages[at] = page
    return page
  }
}
