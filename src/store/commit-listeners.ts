import type { Id64 } from '../model/id.ts'

/** Called with the metrics that a commit or a deletion touched. */
export type CommitListener = (metricIds: readonly Id64[]) => void

/**
 * Calls the listeners in a microtask after a commit, so the writer never waits for them. Errors thrown by a listener
 * are ignored.
 */
export class CommitListeners {
  readonly #listeners = new Set<CommitListener>()

  get size(): number {
    return this.#listeners.size
  }

  /** Adds a listener. Returns a function that removes it. */
  add(listener: CommitListener): () => void {
    // A new function for each call of `add`, so that the same listener can be added twice.
    const entry: CommitListener = (metricIds) => listener(metricIds)
    this.#listeners.add(entry)
    return () => {
      this.#listeners.delete(entry)
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
          // The commit is already durable and acknowledged, so an error of a listener must not fail it.
        }
      })
    }
  }

  clear(): void {
    this.#listeners.clear()
  }
}
