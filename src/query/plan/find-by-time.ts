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
  /** The index that the last call returned. Rows are sorted by time, so it is often right again. */
  #lastIndex = 0

  constructor(edges: Float64Array) {
    this.#edges = edges
    this.#originMs = edges[0]!
    const widthMs = edges[1]! - edges[0]!
    this.#widthMs = edges.every((edge, i) => edge === this.#originMs + i * widthMs) ? widthMs : 0
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
  /** The read that the last call returned. */
  #lastRead: PlannedRead | undefined

  constructor(reads: readonly PlannedRead[]) {
    this.#reads = reads
    this.#lastRead = reads[0]
  }

  /**
   * Returns the planned read that a stored rollup belongs to. A rollup of a timeline belongs only to a read of its own
   * resolution, a rollup of the inbox to any read. Returns undefined if no read contains the instant, or if the read
   * that contains it is of another resolution.
   */
  plannedReadOfRow(
    { level, isInbox }: { readonly level: number; readonly isInbox: boolean },
    timeMs: number,
  ): PlannedRead | undefined {
    const read = this.plannedReadAt(timeMs)
    return read !== undefined && (isInbox || read.level === level) ? read : undefined
  }

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
