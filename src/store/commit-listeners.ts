import type { Id64 } from '../model/id.ts'

/** Called with the ids of the metrics that a commit has changed or a deletion has removed. */
export type CommitListener = (metricIds: readonly Id64[]) => void

/**
 * Calls listeners after a commit or after the deletion of a metric. Each listener runs in a microtask of its own, after
 * the call of `notify`, unless it is removed before. An error that a listener throws is ignored.
 */
export class CommitListeners {
  readonly #listeners = new Set<CommitListener>()

  get size(): number {
    return this.#listeners.size
  }

  /** Adds a listener. Returns a function that removes it. */
  add(listener: CommitListener): () => void {
    // A new function for each call of `add`, so that the same listener can be added twice.
    const wrapper: CommitListener = (metricIds) => listener(metricIds)
    this.#listeners.add(wrapper)
    return () => {
      this.#listeners.delete(wrapper)
    }
  }

  notify(metricIds: readonly Id64[]): void {
    if (metricIds.length === 0) return
    for (const listener of this.#listeners) {
      queueMicrotask(() => {
        if (!this.#listeners.has(listener)) return
        try {
          listener(metricIds)
        } catch {
          // An error that leaves a microtask would end the process.
        }
      })
    }
  }

  clear(): void {
    this.#listeners.clear()
  }
}
