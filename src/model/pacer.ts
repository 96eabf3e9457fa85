/** Background work yields to the event loop after this time, so that requests are served. */
const SLICE_MS = 8

/** Shared by all pacers, so that only one of them resumes in each iteration of the event loop. */
let lastYield: Promise<void> = Promise.resolve()

/** Divides background work into short slices. Call `pause` between steps. */
export class Pacer {
  #sliceStartMs = performance.now()

  /** Yields to the event loop when the current slice is used up. */
  async pause(): Promise<void> {
    if (performance.now() - this.#sliceStartMs < SLICE_MS) return
    lastYield = lastYield.then(() => new Promise((resolve) => setImmediate(resolve)))
    await lastYield
    this.#sliceStartMs = performance.now()
  }
}
