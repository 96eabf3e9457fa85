import { GatewayError } from '../../model/errors.ts'
import { withTimeout } from '../../model/with-timeout.ts'
import type { MetricDeletion, Store } from '../../store/store.ts'

/**
 * Acknowledged deletions that the store may still lose. A deletion has no number that would reveal its loss, so every
 * check replays all deletions of the last `keptMs`. Deletions are idempotent, so this is safe.
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

  /** Keeps a deletion. If there are too many, evicts the oldest one, which was replayed most often. */
  keep(deletion: MetricDeletion): void {
    if (this.#deletions.length >= DELETIONS_MAX) this.#deletions.shift()
    this.#deletions.push({ deletion, acknowledgedMs: this.#now() })
  }

  /** Replays the deletions. Stops at the first one that the store does not confirm; the next check starts again. */
  async replay(): Promise<void> {
    const fromMs = this.#now() - this.#keptMs
    this.#deletions = this.#deletions.filter(({ acknowledgedMs }) => acknowledgedMs >= fromMs)
    for (const { deletion } of [...this.#deletions]) {
      try {
        await withTimeout(DELETE_MS_MAX, () => this.#store.deleteMetric(deletion))
      } catch (error) {
        if (!(error instanceof GatewayError && error.code === 'store_unavailable')) throw error
        return
      }
    }
  }
}

const DELETIONS_MAX = 1_000
/** How long to wait for the store. It is short, because the replay of commits waits for each deletion. */
const DELETE_MS_MAX = 2_000
