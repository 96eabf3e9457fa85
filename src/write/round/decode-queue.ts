import type { Pace, Steps } from '../../model/steps.ts'

/** Steps that a request runs without a pause: an ordinary batch needs no more. */
const STEPS_UNPACED = 8

/** Steps after which a request waits for the other large ones. */
const STEPS_UNQUEUED = 128

/**
 * Runs decoders so that none blocks the event loop. Large bodies are decoded one after another: each holds all of its
 * points until it has been decoded, and many at a time would need much memory.
 */
export class DecodeQueue {
  readonly #newPace: () => Pace
  #last: Promise<void> = Promise.resolve()

  constructor(newPace: () => Pace) {
    this.#newPace = newPace
  }

  /** Undefined: the body was decoded without a pause. */
  run(steps: Steps<void>): Promise<void> | undefined {
    for (let i = 0; i < STEPS_UNPACED; i++) if (steps.next().done === true) return undefined
    return this.#runPaced(steps)
  }

  async #runPaced(steps: Steps<void>): Promise<void> {
    const pace = this.#newPace()
    for (let i = STEPS_UNPACED; i < STEPS_UNQUEUED; i++) {
      await pace.pause()
      if (steps.next().done === true) return
    }
    const earlier = this.#last
    let release = (): void => {}
    this.#last = new Promise((resolve) => {
      release = resolve
    })
    await earlier
    try {
      do await pace.pause()
      while (steps.next().done !== true)
    } finally {
      release()
    }
  }
}
