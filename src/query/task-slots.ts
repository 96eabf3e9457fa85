import { GatewayError } from '../model/errors.ts'
import type { QuerySignal } from './query-signal.ts'

/**
 * Limits how many tasks run at the same time. The others wait in a queue of their owner, which has a limit. Owners are
 * served in turn. While tasks of other owners wait, tasks of one owner take at most half of the slots. A task that runs
 * must not wait for another one that needs a slot.
 */
export class TaskSlots {
  readonly #runningPerOwnerMax: number
  readonly #waitingPerOwnerMax: number
  #freeCount: number
  /** Number of running tasks by owner. */
  readonly #runningCounts = new Map<string, number>()
  /** The queues that are not empty, by owner. The owner whose turn is next comes first. */
  readonly #queues = new Map<string, Set<WaitingTask>>()

  constructor(count: number, waitingPerOwnerMax: number) {
    this.#freeCount = count
    this.#runningPerOwnerMax = Math.max(1, Math.floor(count / 2))
    this.#waitingPerOwnerMax = waitingPerOwnerMax
  }

  /**
   * Runs the task when a slot is free. Throws `overloaded` if too many tasks of the owner wait, and the reason of
   * `signal` if it is aborted before the task starts.
   */
  async run<T>(owner: string, signal: QuerySignal, task: () => Promise<T>): Promise<T> {
    signal.throwIfAborted()
    if (this.#freeCount > 0) this.#takeSlot(owner)
    else await this.#waitForSlot(owner, signal)
    try {
      signal.throwIfAborted()
      return await task()
    } finally {
      this.#releaseSlot(owner)
    }
  }

  /** Resolves after `#takeSlot` was called for this task. */
  async #waitForSlot(owner: string, signal: QuerySignal): Promise<void> {
    const queue = this.#queues.get(owner) ?? new Set()
    if (queue.size >= this.#waitingPerOwnerMax)
      throw new GatewayError('overloaded', 'too many queries of this project wait; try again shortly')
    this.#queues.set(owner, queue)
    await new Promise<void>((resolve, reject) => {
      const removeListener = signal.onAbort((reason) => {
        queue.delete(task)
        if (queue.size === 0) this.#queues.delete(owner)
        reject(reason)
      })
      const task = {
        start: () => {
          removeListener()
          resolve()
        },
      }
      queue.add(task)
    })
  }

  #takeSlot(owner: string): void {
    this.#freeCount--
    this.#runningCounts.set(owner, (this.#runningCounts.get(owner) ?? 0) + 1)
  }

  #releaseSlot(owner: string): void {
    this.#freeCount++
    const runningCount = this.#runningCounts.get(owner)! - 1
    if (runningCount === 0) this.#runningCounts.delete(owner)
    else this.#runningCounts.set(owner, runningCount)
    this.#startNext()
  }

  #startNext(): void {
    const owner = this.#nextOwner()
    if (owner === undefined) return
    const queue = this.#queues.get(owner)!
    const [task] = queue
    queue.delete(task!)
    this.#queues.delete(owner)
    if (queue.size > 0) this.#queues.set(owner, queue)
    this.#takeSlot(owner)
    task!.start()
  }

  /** Returns the first owner that may take a further slot; the first of all if none may. */
  #nextOwner(): string | undefined {
    const owners = [...this.#queues.keys()]
    return owners.find((owner) => (this.#runningCounts.get(owner) ?? 0) < this.#runningPerOwnerMax) ?? owners[0]
  }
}

interface WaitingTask {
  readonly start: () => void
}
