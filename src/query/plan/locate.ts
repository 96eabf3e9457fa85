import type { Plan, Read } from './plan.ts'

/**
 * Finds the result bucket that contains an instant: by division if all buckets have the same width, else by binary
 * search.
 */
export class BucketFinder {
  readonly #edges: Float64Array
  readonly #originMs: number
  /** Width of all buckets; 0 if widths differ. */
  readonly #widthMs: number
  #last = 0

  constructor(edges: Float64Array) {
    this.#edges = edges
    this.#originMs = edges[0]!
    const widthMs = edges[1]! - edges[0]!
    this.#widthMs = edges.every((edge, i) => edge === this.#originMs + i * widthMs) ? widthMs : 0
  }

  /** Returns the index of the bucket. The instant must lie within the edges. */
  find(timeMs: number): number {
    if (this.#widthMs > 0) return Math.floor((timeMs - this.#originMs) / this.#widthMs)
    const edges = this.#edges
    if (timeMs >= edges[this.#last]! && timeMs < edges[this.#last + 1]!) return this.#last
    let low = 0
    let high = edges.length - 2
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (edges[middle]! <= timeMs) low = middle
      else high = middle - 1
    }
    this.#last = low
    return low
  }
}

/** Finds the read that contains an instant. The reads must be sorted and disjoint. */
export class ReadFinder {
  readonly #reads: Plan['reads']
  #last: Read | undefined

  constructor(reads: readonly Read[]) {
    this.#reads = reads
    this.#last = reads[0]
  }

  /**
   * The read that counts a stored row. A row of a timeline is counted by reads of its own resolution, an inbox row by
   * any read. Undefined if the row lies outside of all reads, or another resolution counts it.
   */
  findFor({ level, inbox }: { readonly level: number; readonly inbox: boolean }, timeMs: number): Read | undefined {
    const read = this.find(timeMs)
    return read !== undefined && (inbox || read.level === level) ? read : undefined
  }

  find(timeMs: number): Read | undefined {
    const last = this.#last
    if (last !== undefined && timeMs >= last.fromMs && timeMs < last.toMs) return last
    let low = 0
    let high = this.#reads.length - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const read = this.#reads[middle]!
      if (timeMs < read.fromMs) high = middle - 1
      else if (timeMs >= read.toMs) low = middle + 1
      else {
        this.#last = read
        return read
      }
    }
    return undefined
  }
}
