/** How long background work runs before requests get their turn. */
const TURN_MS = 8

let nextTurn: Promise<void> = Promise.resolve()

/** Lets requests go first whenever a turn of background work has been long enough; of several works only one gets the next. */
export class Pacer {
  #sinceMs = performance.now()

  async pause(): Promise<void> {
    if (performance.now() - this.#sinceMs < TURN_MS) return
    nextTurn = nextTurn.then(() => new Promise((resolve) => setImmediate(resolve)))
    await nextTurn
    this.#sinceMs = performance.now()
  }
}
