/**
 * Long work in short steps, so that one request never blocks the event loop for long. A generator does the work and
 * yields after each step; its caller decides what happens in between. A step is bounded by the work done in it, not by
 * a clock.
 */
export type Steps<T> = Generator<undefined, T, undefined>

/** Lets other requests run when it is time to. */
export interface Pace {
  pause(): Promise<void>
}

/** Runs all steps without a pause. For work that is known to be short. */
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

/** Units of one step; a unit is about the work of looking at one byte: a step takes well below a millisecond. */
const STEP_UNITS = 32_768

/** Says when a step has done enough. */
export class StepBudget {
  #left = STEP_UNITS

  /** Whether the step is over, and the next one has begun. */
  spend(units: number): boolean {
    this.#left -= units
    if (this.#left > 0) return false
    this.#left = STEP_UNITS
    return true
  }
}
