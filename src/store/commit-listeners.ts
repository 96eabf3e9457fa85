import type { Id64 } from '../model/id.ts'

/** Called with the metrics that a commit or a deletion touched. */
export type CommitListener = (metricIds: readonly Id64[]) => void

/** Notifies listeners after a commit, not within it: the writer never waits, and errors of listeners are ignored. */
export class CommitListeners {
  readonly #listeners = new Set<CommitListener>()

  get size(): number {
    return this.#listeners.size
  }

  /** The returned function removes the listener. */
  add(listener: CommitListener): () => void {
    // A function of its own, so that the same listener may be added twice.
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
          // The commit is durable and acknowledged whatever a listener does.
        }
      })
    }
  }

  clear(): void {
    this.#listeners.clear()
  }
}
