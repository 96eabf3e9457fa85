import { addCounts } from '../model/count.ts'
import { BinPages } from './bin-pages.ts'
import type { BinColumns } from './bins.ts'
import { binKeyOf, valueOfBin } from './quantile-precision.ts'

/**
 * A quantile sketch (DDSketch) to which values, bins and other sketches can be added. A query of quantiles keeps at
 * most one for each result bucket of each group. `quantile-precision.ts` defines the bins and the relative error of a
 * quantile. Merging does not increase the error, because bins are never combined into larger ones.
 *
 * Up to 32 bins are one sorted list of (key, weight) pairs. If there are more, `BinPages` stores them, and the list has
 * only bins that were added lately. Memory is proportional to the number of bins, whatever the values are.
 */

/** Up to this many bins, a sorted list takes less memory than `BinPages` and is not slower. */
const SMALL_SKETCH_BINS_MAX = 32
/** Approximate memory in V8 of a `QuantileSketch` object and a reference to it. */
const SKETCH_OBJECT_BYTES = 96
/** Approximate memory in V8 of an array object and the header of its elements. */
const ARRAY_BYTES = 48

/** Scratch array of `addBins`: key, weight, key, weight, … */
const orderedPairs: number[] = [0.5]

export class QuantileSketch {
  #totalWeight = 0
  /**
   * The pairs: key, weight, key, weight, …, in ascending order of keys. Elements from index `#pairCount` * 2 on are
   * unused.
   */
  #pairs: number[] = NO_PAIRS
  #pairCount = 0
  /** Undefined while all bins are in `#pairs`. Otherwise `#pairs` has only the bins that are not in the pages yet. */
  #pages: BinPages | undefined

  /** The sum of all weights, exact up to 2^53. The weight of a single bin is limited to 2^53. */
  get totalWeight(): number {
    return this.#totalWeight
  }

  get binCount(): number {
    return this.#pairCount + (this.#pages?.binCount ?? 0)
  }

  /** Approximate memory of the sketch in bytes. */
  get allocatedBytes(): number {
    return SKETCH_OBJECT_BYTES + ARRAY_BYTES + this.#pairs.length * 8 + (this.#pages?.allocatedBytes ?? 0)
  }

  /**
   * Adds `weight` observations of a finite value. The weight is an integer from 1 to `COUNT_MAX`; a large weight takes
   * no more time than a small one.
   */
  add(value: number, weight = 1): void {
    this.addBin(binKeyOf(value), weight)
  }

  addBin(key: number, weight: number): void {
    this.#totalWeight += weight
    if (this.#pages === undefined || !this.#pages.add(key, weight)) this.#addPair(key, weight)
  }

  /** Adds bins in ascending order of keys. */
  addBins({ keys, weights, length }: BinColumns): void {
    if (length > this.#pairsFlushThreshold) {
      let n = 0
      for (let i = 0; i < length; i++) {
        this.#totalWeight += weights[i]!
        orderedPairs[n++] = keys[i]!
        orderedPairs[n++] = weights[i]!
      }
      this.#flushToPages().addPairs(orderedPairs, n)
    } else for (let i = 0; i < length; i++) this.addBin(keys[i]!, weights[i]!)
  }

  merge(other: QuantileSketch): void {
    const pages = other.#pages
    if (pages === undefined) {
      const pairs = other.#pairs
      const length = other.#pairCount * 2
      for (let i = 0; i < length; i += 2) this.addBin(pairs[i]!, pairs[i + 1]!)
    } else if (this.#totalWeight === 0) {
      this.#pages = other.#flushToPages().clone()
      this.#totalWeight = other.#totalWeight
    } else {
      this.#flushToPages().merge(other.#flushToPages())
      this.#totalWeight += other.#totalWeight
    }
  }

  /** Calls `visit` for each bin, in ascending order of keys. `visit` must not change the sketch. */
  forEachBin(visit: (key: number, weight: number) => void): void {
    if (this.#pages !== undefined) {
      this.#flushToPages().forEachBin(visit)
      return
    }
    const pairs = this.#pairs
    const length = this.#pairCount * 2
    for (let i = 0; i < length; i += 2) visit(pairs[i]!, pairs[i + 1]!)
  }

  /**
   * Returns the q-quantile; NaN for an empty sketch. Throws a RangeError unless 0 <= q <= 1. It interpolates linearly
   * between the two ranks around q * (n - 1), which is quantile type 7. The sketch does not know the exact `min` and
   * `max` of its values, so the caller passes them.
   */
  quantile(q: number, min: number, max: number): number {
    if (!(q >= 0 && q <= 1)) throw new RangeError(`not a quantile: ${q}`)
    if (this.#totalWeight === 0) return Number.NaN
    const rank = q * (this.#totalWeight - 1)
    const rankBelow = Math.floor(rank)
    const fraction = rank - rankBelow
    const low = this.#valueAtRank(rankBelow, min, max)
    if (fraction === 0) return low
    const high = this.#valueAtRank(rankBelow + 1, min, max)
    // `high - low` could overflow, so two products are added. Their sum may round to a value outside of [low, high].
    return low === high ? low : Math.min(high, Math.max(low, low * (1 - fraction) + high * fraction))
  }

  /** Removes all bins. The memory of a small sketch is kept for the next use. */
  clear(): void {
    this.#totalWeight = 0
    this.#pairCount = 0
    if (this.#pairs.length > SMALL_SKETCH_BINS_MAX * 2) this.#pairs = NO_PAIRS
    this.#pages = undefined
  }

  #valueAtRank(rank: number, min: number, max: number): number {
    if (rank <= 0) return min
    if (rank >= this.#totalWeight - 1) return max
    return Math.min(max, Math.max(min, valueOfBin(this.#keyAtRank(rank))))
  }

  #keyAtRank(rank: number): number {
    if (this.#pages !== undefined) return this.#flushToPages().keyAtRank(rank)
    const pairs = this.#pairs
    const length = this.#pairCount * 2
    let seenWeight = 0
    let lastKey = 0
    for (let i = 0; i < length; i += 2) {
      lastKey = pairs[i]!
      seenWeight += pairs[i + 1]!
      if (seenWeight > rank) break
    }
    return lastKey
  }

  /**
   * Whether all pairs are moved to the pages before a bin with a new key is added. Moving them takes time in proportion
   * to the number of sparse bins. So if there are many sparse bins, new bins are collected in `#pairs` first.
   */
  get #shouldFlushBeforeNewBin(): boolean {
    const pages = this.#pages
    if (pages?.canAddDensePage === true && pages.sparseCount <= SMALL_SKETCH_BINS_MAX) return true
    return this.#pairCount >= SMALL_SKETCH_BINS_MAX && this.#pairCount >= this.#pairsFlushThreshold
  }

  /**
   * The number of pairs in `#pairs` at which all of them are moved to the pages. Moving them takes time in proportion
   * to the number of sparse bins, so this number grows with the number of sparse bins.
   */
  get #pairsFlushThreshold(): number {
    return this.#pages === undefined
      ? SMALL_SKETCH_BINS_MAX
      : Math.max(SMALL_SKETCH_BINS_MAX, this.#pages.sparseCount >> 4)
  }

  #addPair(key: number, weight: number): void {
    const count = this.#pairCount
    let low = 0
    let high = count
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#pairs[middle * 2]! < key) low = middle + 1
      else high = middle
    }
    const pairIndex = low * 2
    if (low < count && this.#pairs[pairIndex] === key) {
      this.#pairs[pairIndex + 1] = addCounts(this.#pairs[pairIndex + 1]!, weight)
      return
    }
    if (this.#shouldFlushBeforeNewBin) {
      const pages = this.#flushToPages()
      if (pages.canAddDensePage) pages.addPairs([key, weight], 2)
      else if (!pages.add(key, weight)) this.#addPair(key, weight)
      return
    }
    const length = count * 2
    if (length === this.#pairs.length) this.#pairs = grownPairs(this.#pairs)
    const pairs = this.#pairs
    for (let i = length - 1; i >= pairIndex; i--) pairs[i + 2] = pairs[i]!
    pairs[pairIndex] = key
    pairs[pairIndex + 1] = weight
    this.#pairCount = count + 1
  }

  /** Moves all pairs of `#pairs` to the pages and returns the pages, which then have all bins of the sketch. */
  #flushToPages(): BinPages {
    this.#pages ??= new BinPages()
    if (this.#pairCount > 0) this.#pages.addPairs(this.#pairs, this.#pairCount * 2)
    this.#pairCount = 0
    return this.#pages
  }
}

/** The array that all sketches without pairs share. Read-only. */
const NO_PAIRS: number[] = []

/**
 * Returns an array that begins with the pairs and has exactly twice their length (4 if there are no pairs); `push`
 * would reserve more memory. Short arrays are filled up with fractions, so that V8 stores doubles from the start.
 */
function grownPairs(pairs: readonly number[]): number[] {
  if (pairs.length === 0) return [0.5, 0.5, 0.5, 0.5]
  if (pairs.length === 4) return [pairs[0]!, pairs[1]!, pairs[2]!, pairs[3]!, 0.5, 0.5, 0.5, 0.5]
  return pairs.concat(pairs)
}
