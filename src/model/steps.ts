/**
 * Divides long work into short steps, so that one request never blocks the event loop for long. A generator does the
 * work and yields after each step; its caller may serve other requests in between. A step is bounded by the amount of
 * work, not by a clock.
 */
export type Steps<T> = Generator<undefined, T, undefined>

/** Decides when long work pauses. */
export interface Pace {
  /** Called between steps; may let other requests run first. */
  pause(): Promise<void>
}

/** Runs all steps without a pause, for work that is known to be short. */
export function runAtOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next()
    if (done === true) return value
  }
}

export async function runPaced<T>(steps: Steps<T>, pace: Pace): Promise<T> {
  for (;;) {
    const { done, value } = steps.next()
    if (done === true) return value
    await pace.pause()
  }
}

/**
 * Units of work in one step. A unit is about the work of reading one byte, so a step takes well below a millisecond.
 */
const STEP_UNITS = 32_768

/** Counts units of work and reports the end of each step. */
export class StepBudget {
  #unitsLeft = STEP_UNITS

  /** Counts units. Returns true if the step is over; the next step has then begun. */
  spend(units: number): boolean {
    this.#unitsLeft -= units
    if (this.#unitsLeft > 0) return false
    this.#unitsLeft = STEP_UNITS
    return true
  }
}
