/**
 * Latencies of many requests. They are counted in cells of a tenth of a millisecond, because sorting hundreds of
 * thousands of numbers would hold up the connections whose latencies are measured.
 */

const CELLS_PER_MS = 10
const CELL_COUNT = 100_000

export class Latencies {
  readonly #counts = new Uint32Array(CELL_COUNT)
  #count = 0
  #maximumMs = 0

  get maximumMs(): number {
    return this.#maximumMs
  }

  add(ms: number): void {
    this.#counts[Math.min(CELL_COUNT - 1, Math.floor(ms * CELLS_PER_MS))]!++
    this.#count++
    this.#maximumMs = Math.max(this.#maximumMs, ms)
  }

  /** Returns a latency that this share of the requests did not exceed, rounded up to a tenth of a millisecond. */
  percentile(share: number): number {
    let countLeft = Math.ceil(this.#count * share)
    for (let cell = 0; cell < CELL_COUNT; cell++) {
      countLeft -= this.#counts[cell]!
      if (countLeft <= 0) return Math.min(this.#maximumMs, (cell + 1) / CELLS_PER_MS)
    }
    return this.#maximumMs
  }

  clear(): void {
    this.#counts.fill(0)
    this.#count = 0
    this.#maximumMs = 0
  }
}
