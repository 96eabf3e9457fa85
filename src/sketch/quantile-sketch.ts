import { addCounts } from '../model/count.ts'
import { binOf, valueOfBin } from './bin-keys.ts'
import { BinPages, pageOf } from './bin-pages.ts'
import { beginBins, binCursor, nextBin } from './bins.ts'

/**
 * The bins of one sketch in memory, of any number and in any order of arrival: what a query adds up for a group and
 * bucket. `bin-keys.ts` says what a bin is. Quantiles of any merge of sketches keep the bound on the relative error,
 * because no bins are ever collapsed.
 *
 * Up to 32 bins are one sorted list of (key, weight) pairs. More are in `bin-pages.ts`, and the list holds the newest
 * bins. Memory is proportional to the number of bins, whatever the values: `allocatedBytes` counts it.
 */

/** A list of up to this many bins is smaller than pages, and not slower. */
const PAIRS_MAX = 32
/** Memory of a sketch and a reference to it, and of an array beside its elements, in V8. */
const SKETCH_BYTES = 96
const ARRAY_BYTES = 48

/** Scratch for the pairs of `mergeEncoded`. */
const loose: number[] = [0.5]

export class QuantileSketch {
  #totalWeight = 0
  /** key, weight, key, weight, …, ascending by key. Elements beyond `#pairCount` are not used. */
  #pairs: number[] = NO_PAIRS
  #pairCount = 0
  /** Undefined while all bins are pairs. Later the pairs are the newest bins, which are not in the pages yet. */
  #pages: BinPages | undefined

  /** The sum of all weights, exact up to 2^53. Each weight saturates by itself at 2^53. */
  get totalWeight(): number {
    return this.#totalWeight
  }

  get binCount(): number {
    return this.#pairCount + (this.#pages?.binCount ?? 0)
  }

  /** Approximate memory of the sketch in bytes. */
  get allocatedBytes(): number {
    return SKETCH_BYTES + ARRAY_BYTES + this.#pairs.length * 8 + (this.#pages?.allocatedBytes ?? 0)
  }

  /**
   * Adds `weight` observations of a finite value. The weight is an integer from 1 to `COUNT_MAX`; the time does not
   * depend on it.
   */
  add(value: number, weight = 1): void {
    this.addBin(binOf(value), weight)
  }

  addBin(key: number, weight: number): void {
    this.#totalWeight += weight
    if (this.#pages === undefined || !this.#pages.add(key, weight)) this.#addPair(key, weight)
  }

  /**
   * Adds bins encoded as `bins.ts` describes, which were checked before. A loop of its own: a query merges millions of
   * bins, and decoding them into columns first costs a fifth more.
   */
  mergeEncoded(bytes: Uint8Array, start: number): void {
    const pages = this.#pages
    const count = beginBins(bytes, start)
    let { key, weight, offset } = binCursor
    let total = this.#totalWeight
    let n = 0
    let id = Number.NaN
    let page: number[] | undefined
    for (let i = 0; i < count; ) {
      if (pageOf(key) !== id) {
        id = pageOf(key)
        page = pages?.page(id)
      }
      if (page !== undefined) pages!.addToPage(page, key, weight)
      else {
        loose[n++] = key
        loose[n++] = weight
      }
      total += weight
      if (++i === count) break
      const delta = bytes[offset]!
      weight = bytes[offset + 1]!
      if ((delta | weight) < 0x80) {
        key += delta
        offset += 2
      } else {
        nextBin(bytes, offset)
        key += binCursor.key
        weight = binCursor.weight
        offset = binCursor.offset
      }
    }
    this.#totalWeight = total
    if (n > this.#pairsMax * 2) this.#toPages().addPairs(loose, n)
    else for (let i = 0; i < n; i += 2) this.#addLoose(loose[i]!, loose[i + 1]!)
  }

  merge(other: QuantileSketch): void {
    const pages = other.#pages
    if (pages === undefined) {
      const pairs = other.#pairs
      const length = other.#pairCount * 2
      for (let i = 0; i < length; i += 2) this.addBin(pairs[i]!, pairs[i + 1]!)
    } else if (this.#totalWeight === 0) {
      this.#pages = other.#toPages().clone()
      this.#totalWeight = other.#totalWeight
    } else {
      this.#toPages().merge(other.#toPages())
      this.#totalWeight += other.#totalWeight
    }
  }

  /** Visits the bins in ascending order of key. `visit` must not change the sketch. */
  forEachBin(visit: (key: number, weight: number) => void): void {
    if (this.#pages !== undefined) {
      this.#toPages().forEachBin(visit)
      return
    }
    const pairs = this.#pairs
    const length = this.#pairCount * 2
    for (let i = 0; i < length; i += 2) visit(pairs[i]!, pairs[i + 1]!)
  }

  /**
   * The q-quantile, 0 <= q <= 1, of type 7 (linear interpolation between the two ranks around q * (n - 1)). `min` and
   * `max` are the exact extremes, which the caller keeps. NaN for an empty sketch.
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

  /** Keeps the memory of a small sketch for the next use. */
  clear(): void {
    this.#totalWeight = 0
    this.#pairCount = 0
    if (this.#pairs.length > PAIRS_MAX * 2) this.#pairs = NO_PAIRS
    this.#pages = undefined
  }

  #valueAtRank(rank: number, min: number, max: number): number {
    if (rank <= 0) return min
    if (rank >= this.#totalWeight - 1) return max
    return Math.min(max, Math.max(min, valueOfBin(this.#keyAtRank(rank))))
  }

  #keyAtRank(rank: number): number {
    if (this.#pages !== undefined) return this.#toPages().keyAtRank(rank)
    const pairs = this.#pairs
    const length = this.#pairCount * 2
    let seen = 0
    let last = 0
    for (let i = 0; i < length; i += 2) {
      last = pairs[i]!
      seen += pairs[i + 1]!
      if (seen > rank) break
    }
    return last
  }

  /**
   * Whether the next bin goes into the pages: into one of its own if there is room for it. That merges all lone bins,
   * so with many of them the bin waits among the pairs.
   */
  get #isFull(): boolean {
    const pages = this.#pages
    if (pages?.hasRoom === true && pages.loneCount <= PAIRS_MAX) return true
    return this.#pairCount >= PAIRS_MAX && this.#pairCount >= this.#pairsMax
  }

  /** The pairs are merged into the lone bins when there are more: a share of these, so that a bin costs little time. */
  get #pairsMax(): number {
    return this.#pages === undefined ? PAIRS_MAX : Math.max(PAIRS_MAX, this.#pages.loneCount >> 4)
  }

  #addLoose(key: number, weight: number): void {
    if (this.#pages === undefined || !this.#pages.add(key, weight)) this.#addPair(key, weight)
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
    const at = low * 2
    if (low < count && this.#pairs[at] === key) {
      this.#pairs[at + 1] = addCounts(this.#pairs[at + 1]!, weight)
      return
    }
    if (this.#isFull) {
      const pages = this.#toPages()
      if (pages.hasRoom) pages.addPairs([key, weight], 2)
      else this.#addLoose(key, weight)
      return
    }
    const length = count * 2
    if (length === this.#pairs.length) this.#pairs = grown(this.#pairs)
    const pairs = this.#pairs
    for (let i = length - 1; i >= at; i--) pairs[i + 2] = pairs[i]!
    pairs[at] = key
    pairs[at + 1] = weight
    this.#pairCount = count + 1
  }

  /** Moves all pairs into pages or among the lone bins. */
  #toPages(): BinPages {
    this.#pages ??= new BinPages()
    if (this.#pairCount > 0) this.#pages.addPairs(this.#pairs, this.#pairCount * 2)
    this.#pairCount = 0
    return this.#pages
  }
}

/** Shared by all sketches without pairs. Read-only. */
const NO_PAIRS: number[] = []

/**
 * A copy of exactly twice the length; `push` would reserve more. The fractions make V8 store doubles from the start.
 */
function grown(pairs: readonly number[]): number[] {
  if (pairs.length === 0) return [0.5, 0.5, 0.5, 0.5]
  if (pairs.length === 4) return [pairs[0]!, pairs[1]!, pairs[2]!, pairs[3]!, 0.5, 0.5, 0.5, 0.5]
  return pairs.concat(pairs)
}
