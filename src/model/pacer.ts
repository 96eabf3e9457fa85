/** Maximum duration of one slice of background work. Then the event loop serves requests. */
const SLICE_MS = 8

/**
 * Resolves when the last pacer in line resumes. All pacers share it, so that one of them resumes in each iteration of
 * the event loop.
 */
let lastYield: Promise<void> = Promise.resolve()

/** Divides background work into short slices. Call `pause` between steps. */
export class Pacer {
  #sliceStartMs = performance.now()

  /** Yields to the event loop if the current slice is used up, otherwise returns at once. */
  async pause(): Promise<void> {
    if (performance.now() - this.#sliceStartMs < SLICE_MS) return
    lastYield = lastYield.then(() => new Promise((resolve) => setImmediate(resolve)))
    await lastYield
    this.#sliceStartMs = performance.now()
  }
}
