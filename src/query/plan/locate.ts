import type { Plan, Read } from './plan.ts'

/** Answered bucket of an instant: by division where buckets are even, by search where they follow a calendar. */
export class BucketFinder {
  readonly #edges: Float64Array
  readonly #originMs: number
  /** Width of the buckets, 0 when they differ. */
  readonly #evenMs: number
  #last = 0

  constructor(edges: Float64Array) {
    this.#edges = edges
    this.#originMs = edges[0]!
    const widthMs = edges[1]! - edges[0]!
    this.#evenMs = edges.every((edge, i) => edge === this.#originMs + i * widthMs) ? widthMs : 0
  }

  /** For instants within the edges only. */
  find(timeMs: number): number {
    if (this.#evenMs > 0) return Math.floor((timeMs - this.#originMs) / this.#evenMs)
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

/** Which read of a plan an instant falls in. */
export class ReadFinder {
  readonly #reads: Plan['reads']
  #last: Read | undefined

  constructor(reads: readonly Read[]) {
    this.#reads = reads
    this.#last = reads[0]
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
