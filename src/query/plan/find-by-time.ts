import type { Plan, PlannedRead } from './plan.ts'

/**
 * Finds the result bucket that contains an instant: by division if all buckets have the same width, else by binary
 * search.
 */
export class BucketFinder {
  readonly #edges: Float64Array
  readonly #originMs: number
  /** Width of all buckets; 0 if widths differ. */
  readonly #widthMs: number
  /** Index of the last bucket found by binary search. The rows of a series are sorted by time, so it is tried first. */
  #lastIndex = 0

  constructor(edges: Float64Array) {
    this.#edges = edges
    this.#originMs = edges[0]!
    const widthMs = edges[1]! - edges[0]!
    let hasEqualWidths = true
    for (let i = 0; i < edges.length; i++) hasEqualWidths &&= edges[i] === this.#originMs + i * widthMs
    this.#widthMs = hasEqualWidths ? widthMs : 0
  }

  /** Returns the index of the bucket. The instant must lie within the edges. */
  bucketIndexAt(timeMs: number): number {
    if (this.#widthMs > 0) return Math.floor((timeMs - this.#originMs) / this.#widthMs)
    const edges = this.#edges
    if (timeMs >= edges[this.#lastIndex]! && timeMs < edges[this.#lastIndex + 1]!) return this.#lastIndex
    let low = 0
    let high = edges.length - 2
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (edges[middle]! <= timeMs) low = middle
      else high = middle - 1
    }
    this.#lastIndex = low
    return low
  }
}

/** Finds the planned read whose time range contains an instant. The reads must be sorted and disjoint. */
export class PlannedReadFinder {
  readonly #reads: Plan['reads']
  /** The last read that was found. The rows of a series are sorted by time, so it is tried first. */
  #lastRead: PlannedRead | undefined

  constructor(reads: readonly PlannedRead[]) {
    this.#reads = reads
    this.#lastRead = reads[0]
  }

  /**
   * Returns the planned read that a stored rollup belongs to: the one that contains `timeMs`, the start of its bucket.
   * A rollup of a timeline belongs only to a read of its own resolution, a rollup of the inbox to a read of any
   * resolution. Undefined if there is no such read; the query then ignores the rollup.
   */
  plannedReadOfRow(
    { level, isInbox }: { readonly level: number; readonly isInbox: boolean },
    timeMs: number,
  ): PlannedRead | undefined {
    const read = this.plannedReadAt(timeMs)
    return read !== undefined && (isInbox || read.level === level) ? read : undefined
  }

  /** Returns the planned read whose time range contains the instant; undefined if there is none. */
  plannedReadAt(timeMs: number): PlannedRead | undefined {
    const lastRead = this.#lastRead
    if (lastRead !== undefined && timeMs >= lastRead.fromMs && timeMs < lastRead.toMs) return lastRead
    let low = 0
    let high = this.#reads.length - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const read = this.#reads[middle]!
      if (timeMs < read.fromMs) high = middle - 1
      else if (timeMs >= read.toMs) low = middle + 1
      else {
        this.#lastRead = read
        return read
      }
    }
    return undefined
  }
}
