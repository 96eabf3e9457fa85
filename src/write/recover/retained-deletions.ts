import { GatewayError } from '../../model/errors.ts'
import { within } from '../../model/within.ts'
import type { MetricDeletion, Store } from '../../store/store.ts'

/**
 * Acknowledged deletions that the store may still lose. Deletions have no number that would show the loss, so they are
 * replayed on every check for a while. A deletion is idempotent: where the store has it, nothing changes.
 */
export class RetainedDeletions {
  readonly #store: Store
  readonly #keptMs: number
  readonly #now: () => number
  #deletions: { readonly deletion: MetricDeletion; readonly acknowledgedMs: number }[] = []

  constructor(store: Store, keptMs: number, now: () => number) {
    this.#store = store
    this.#keptMs = keptMs
    this.#now = now
  }

  get isEmpty(): boolean {
    return this.#deletions.length === 0
  }

  /** The oldest is evicted when there are too many: it was replayed the most often. */
  keep(deletion: MetricDeletion): void {
    if (this.#deletions.length >= DELETIONS_MAX) this.#deletions.shift()
    this.#deletions.push({ deletion, acknowledgedMs: this.#now() })
  }

  /** Stops at the first one that the store does not confirm: the rest follows on the next check. */
  async replay(): Promise<void> {
    const fromMs = this.#now() - this.#keptMs
    this.#deletions = this.#deletions.filter(({ acknowledgedMs }) => acknowledgedMs >= fromMs)
    for (const { deletion } of [...this.#deletions]) {
      try {
        await within(DELETE_MS_MAX, () => this.#store.deleteMetric(deletion))
      } catch (error) {
        if (!(error instanceof GatewayError && error.code === 'store_unavailable')) throw error
        return
      }
    }
  }
}

const DELETIONS_MAX = 1_000
/** The replay of commits waits for each deletion. */
const DELETE_MS_MAX = 2_000
