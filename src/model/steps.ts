/**
 * Long work as a generator that yields after each short step, so that one request never blocks the event loop for long:
 * between two steps, the caller may let other requests run. A step ends after a fixed amount of work. No clock is read.
 */
export type Steps<T> = Generator<undefined, T, undefined>

/** Decides after which steps long work pauses. */
export interface Pace {
  /** Called between two steps. May let other requests run before it returns. */
  pause(): Promise<void>
}

/** No steps. */
const NONE: readonly undefined[] = []

/** Short work as `Steps`: it is less than a step, so it has no pause. */
export function* withoutPause<T>(work: () => T): Steps<T> {
  yield* NONE
  return work()
}

/** Runs all steps without a pause. Use it only for work that is known to be short. */
export function runAtOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next()
    if (done === true) return value
  }
}

/** Runs all steps and calls `pace.pause` between them. */
export async function runPaced<T>(steps: Steps<T>, pace: Pace): Promise<T> {
  for (;;) {
    const { done, value } = steps.next()
    if (done === true) return value
    await pace.pause()
  }
}

/**
 * Units of work in one step. A unit is roughly the work of reading one byte, so a step takes less than a millisecond.
 */
const STEP_UNITS = 32_768

/** Counts units of work and reports the end of each step. */
export class StepBudget {
  #unitsLeft = STEP_UNITS

  /**
   * Adds units of work to the current step. Returns true if the step is now complete; later units count for the next.
   */
  spend(units: number): boolean {
    this.#unitsLeft -= units
    if (this.#unitsLeft > 0) return false
    this.#unitsLeft = STEP_UNITS
    return true
  }
}
