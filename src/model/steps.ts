/**
 * Long work as a generator that yields after each short step. Between two steps the caller may let other requests run,
 * so that the work does not block the event loop for long. A step ends after an amount of work; no clock is read.
 */
export type Steps<T> = Generator<undefined, T, undefined>

/** Decides after which steps long work pauses. */
export interface Pace {
  /** Called between two steps. May let other requests run before the promise resolves. */
  pause(): Promise<void>
}

/** `asSteps` yields these, because the linter refuses a generator without `yield`. */
const NO_STEPS: readonly undefined[] = []

/** Wraps short work as `Steps`. It is less than a step, so it never yields. */
export function* asSteps<T>(work: () => T): Steps<T> {
  yield* NO_STEPS
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
 * Units of work after which a step ends. A unit is roughly the work of reading one byte, so a step usually takes less
 * than a millisecond.
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
