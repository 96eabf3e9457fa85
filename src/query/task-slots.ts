/**
 * Limits how many tasks run at the same time. The others wait, in the order of their calls. A task that runs must not
 * wait for another one that needs a slot.
 */
export class TaskSlots {
  #freeCount: number
  readonly #waiting: (() => void)[] = []

  constructor(count: number) {
    this.#freeCount = count
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#freeCount > 0) this.#freeCount--
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
    try {
      return await task()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#freeCount++
      else next()
    }
  }
}
