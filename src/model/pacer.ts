/** Background work that has run for this long lets the event loop serve requests at its next call of `pause`. */
const SLICE_MS = 8

/**
 * Resolves when the last pacer in the queue may resume. Each pacer waits for the one before it, so only one pacer
 * resumes in each iteration of the event loop.
 */
let lastResumption: Promise<void> = Promise.resolve()

/** Lets background work run in short slices. The work calls `pause` between its steps. */
export class Pacer {
  #sliceStartMs = performance.now()

  /**
   * Resolves at once if the current slice has not ended. Otherwise lets the event loop run, then begins a new slice.
   */
  async pause(): Promise<void> {
    if (performance.now() - this.#sliceStartMs < SLICE_MS) return
    lastResumption = lastResumption.then(() => new Promise((resolve) => setImmediate(resolve)))
    await lastResumption
    this.#sliceStartMs = performance.now()
  }
}
