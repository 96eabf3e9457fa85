import type { Pace, Steps } from '../../model/steps.ts'

/** Number of steps that a request runs without a pause. Decoding an ordinary batch takes no more. */
const STEPS_UNPACED = 8

/** Number of steps after which a request waits until the other large requests are decoded. */
const STEPS_UNQUEUED = 128

/**
 * Runs decoders in steps, so that none blocks the event loop. Large bodies are decoded one after another: each holds
 * all of its points in memory until it is decoded.
 */
export class DecodeQueue {
  readonly #newPace: () => Pace
  #last: Promise<void> = Promise.resolve()

  constructor(newPace: () => Pace) {
    this.#newPace = newPace
  }

  /**
   * Runs all steps. Calls `between` after each step except the last; if `between` returns a promise, the next step
   * waits for it. Returns undefined if the body was decoded without a pause.
   */
  run(steps: Steps<void>, between: () => Promise<void> | undefined = nothing): Promise<void> | undefined {
    for (let i = 1; i <= STEPS_UNPACED; i++) {
      if (steps.next().done === true) return undefined
      const wait = between()
      if (wait !== undefined) return this.#runPaced(steps, between, i, wait)
    }
    return this.#runPaced(steps, between, STEPS_UNPACED)
  }

  async #runPaced(
    steps: Steps<void>,
    between: () => Promise<void> | undefined,
    done: number,
    wait?: Promise<void>,
  ): Promise<void> {
    await wait
    const pace = this.#newPace()
    for (let i = done; i < STEPS_UNQUEUED; i++) {
      await pace.pause()
      if (steps.next().done === true) return
      await between()
    }
    const earlier = this.#last
    let release = (): void => {}
    this.#last = new Promise((resolve) => {
      release = resolve
    })
    await earlier
    try {
      for (;;) {
        await pace.pause()
        if (steps.next().done === true) return
        await between()
      }
    } finally {
      release()
    }
  }
}

function nothing(): undefined {}
