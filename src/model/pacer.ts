/** Background work runs at most this long before the event loop serves requests again. */
const SLICE_MS = 8

/**
 * Resolves when the pacer that called `pause` last may resume. Each pacer waits for the one before it, so only one
 * pacer resumes in each iteration of the event loop.
 */
let lastYield: Promise<void> = Promise.resolve()

/** Lets background work run in short slices. The work calls `pause` between its steps. */
export class Pacer {
  #sliceStartMs = performance.now()

  /** Returns at once if the current slice has not ended. Otherwise lets the event loop run and begins a new slice. */
  async pause(): Promise<void> {
    if (performance.now() - this.#sliceStartMs < SLICE_MS) return
    lastYield = lastYield.then(() => new Promise((resolve) => setImmediate(resolve)))
    await lastYield
    this.#sliceStartMs = performance.now()
  }
}
