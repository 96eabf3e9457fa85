import type { Pace, Steps } from '../../model/steps.ts'

/** Steps that a request runs at once: an ordinary batch is decoded within them. */
const STEPS_AT_ONCE = 8

/** Steps after which a request waits for the other large ones. */
const STEPS_UNQUEUED = 128

/**
 * Runs decoders so that none blocks the event loop. Large bodies are decoded one after another: each holds all of its points until it
 * has been decoded, and many at a time would need much memory.
 */
export class DecodeQueue {
  readonly #newPace: () => Pace
  #last: Promise<void> = Promise.resolve()

  constructor(newPace: () => Pace) {
    this.#newPace = newPace
  }

  /** Undefined: it was decoded at once. */
  run(steps: Steps<void>): Promise<void> | undefined {
    for (let i = 0; i < STEPS_AT_ONCE; i++) if (steps.next().done === true) return undefined
    return this.#runPaced(steps)
  }

  async #runPaced(steps: Steps<void>): Promise<void> {
    const pace = this.#newPace()
    for (let i = STEPS_AT_ONCE; i < STEPS_UNQUEUED; i++) {
      await pace.pause()
      if (steps.next().done === true) return
    }
    const earlier = this.#last
    let leave = (): void => {}
    this.#last = new Promise((resolve) => {
      leave = resolve
    })
    await earlier
    try {
      do await pace.pause()
      while (steps.next().done !== true)
    } finally {
      leave()
    }
  }
}
