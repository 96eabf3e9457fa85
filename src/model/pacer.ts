import type { Pace } from './steps.ts'

/**
 * Minimum and maximum length of a slice. Background work that has run for a slice lets the event loop serve requests at
 * its next call of `pause`. A request takes several iterations of the event loop, and each may contain a slice, so
 * slices are short. Within these bounds, a slice is half as long as the pause before it. So the work of one pacer gets
 * a third of the time of a busy process: less if its pauses are longer than 16 ms, more if they are shorter than 2 ms.
 * The work of several pacers together may get more.
 */
const SLICE_MS_MIN = 1
const SLICE_MS_MAX = 8
/** Length of each slice of urgent work. A round of a few thousand points is encoded in one slice. */
const URGENT_SLICE_MS = 4

/**
 * Resolves when the last pacer in the queue may resume. Each pacer waits for the one before it, so only one pacer
 * resumes in each iteration of the event loop.
 */
let lastResumption: Promise<void> = Promise.resolve()

/** Lets background work run in short slices. The work calls `pause` between its steps. */
export class Pacer implements Pace {
  #sliceStartMs = performance.now()
  #sliceMs = SLICE_MS_MIN

  /**
   * Resolves at once if the current slice has not ended. Otherwise lets the event loop run, then begins a new slice.
   */
  async pause(): Promise<void> {
    const pauseStartMs = performance.now()
    if (pauseStartMs - this.#sliceStartMs < this.#sliceMs) return
    lastResumption = lastResumption.then(() => new Promise((resolve) => setImmediate(resolve)))
    await lastResumption
    this.#sliceStartMs = performance.now()
    this.#sliceMs = Math.min(SLICE_MS_MAX, Math.max(SLICE_MS_MIN, (this.#sliceStartMs - pauseStartMs) / 2))
  }
}

/**
 * Lets work that requests wait for run in slices. It does not wait for background work: with several pacers in the
 * queue, each of which may run for a slice, a commit would wait for several slices. So only few of these may run at the
 * same time.
 */
export class UrgentPacer implements Pace {
  #sliceStartMs = performance.now()

  /** Same as `Pacer.pause`, but the next slice begins in the next iteration of the event loop. */
  async pause(): Promise<void> {
    if (performance.now() - this.#sliceStartMs < URGENT_SLICE_MS) return
    await new Promise((resolve) => setImmediate(resolve))
    this.#sliceStartMs = performance.now()
  }
}
