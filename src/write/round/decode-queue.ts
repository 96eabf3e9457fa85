import type { Pace, Steps } from '../../model/steps.ts'

/** Maximum number of decoding steps of a body without a pause. An ordinary body needs fewer. */
const UNPACED_STEPS_MAX = 8

/** After this many decoding steps, a body counts as large and waits in the queue of large bodies. */
const UNQUEUED_STEPS_MAX = 128

/**
 * Runs decoders in steps, so that none blocks the event loop for long. After `UNQUEUED_STEPS_MAX` steps, bodies are
 * decoded one after another, because each keeps all of its points in memory until it is completely decoded.
 */
export class DecodeQueue {
  readonly #newPace: () => Pace
  /** Resolves when the last body in the queue is decoded or has failed. */
  #lastInQueue: Promise<void> = Promise.resolve()

  constructor(newPace: () => Pace) {
    this.#newPace = newPace
  }

  /**
   * Runs all steps of a decoder. Calls `betweenSteps` after each step except the last; if it returns a promise, the
   * next step waits for this promise. Returns undefined if the body was decoded without a pause. Throws or rejects with
   * the errors of the decoder and of `betweenSteps`.
   */
  run(steps: Steps<void>, betweenSteps: () => Promise<void> | undefined = doNothing): Promise<void> | undefined {
    for (let i = 1; i <= UNPACED_STEPS_MAX; i++) {
      if (steps.next().done === true) return undefined
      const wait = betweenSteps()
      if (wait !== undefined) return this.#runPaced(steps, betweenSteps, i, wait)
    }
    return this.#runPaced(steps, betweenSteps, UNPACED_STEPS_MAX)
  }

  async #runPaced(
    steps: Steps<void>,
    betweenSteps: () => Promise<void> | undefined,
    stepsDone: number,
    wait?: Promise<void>,
  ): Promise<void> {
    await wait
    const pace = this.#newPace()
    for (let i = stepsDone; i < UNQUEUED_STEPS_MAX; i++) {
      await pace.pause()
      if (steps.next().done === true) return
      await betweenSteps()
    }
    const previousBody = this.#lastInQueue
    let release = (): void => {}
    this.#lastInQueue = new Promise((resolve) => {
      release = resolve
    })
    await previousBody
    try {
      for (;;) {
        await pace.pause()
        if (steps.next().done === true) return
        await betweenSteps()
      }
    } finally {
      release()
    }
  }
}

function doNothing(): undefined {}
