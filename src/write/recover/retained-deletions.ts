import { GatewayError } from '../../model/errors.ts'
import { withTimeout } from '../../model/with-timeout.ts'
import type { MetricDeletion } from '../../store/catalog.ts'
import type { Store } from '../../store/store.ts'

/**
 * Acknowledged deletions of metrics that the store may still lose. A deletion has no number by which its loss could be
 * detected, so every check for lost writes replays the retained deletions. Deletions are idempotent.
 */
export class RetainedDeletions {
  readonly #store: Store
  readonly #retainedMsMax: number
  readonly #now: () => number
  #deletions: { readonly deletion: MetricDeletion; readonly acknowledgedMs: number }[] = []

  constructor(store: Store, retainedMsMax: number, now: () => number) {
    this.#store = store
    this.#retainedMsMax = retainedMsMax
    this.#now = now
  }

  /** Whether no deletion is retained. */
  get isEmpty(): boolean {
    return this.#deletions.length === 0
  }

  /** Keeps a deletion. If there are too many, evicts the oldest one, which the store is least likely to lose. */
  add(deletion: MetricDeletion): void {
    if (this.#deletions.length >= DELETIONS_MAX) this.#deletions.shift()
    this.#deletions.push({ deletion, acknowledgedMs: this.#now() })
  }

  /**
   * Evicts the deletions that are older than `retainedMsMax` and replays the others. Stops at the first one for which
   * the store is unavailable; the next check for lost writes begins again. Rejects with other errors.
   */
  async replay(): Promise<void> {
    const fromMs = this.#now() - this.#retainedMsMax
    this.#deletions = this.#deletions.filter(({ acknowledgedMs }) => acknowledgedMs >= fromMs)
    for (const { deletion } of [...this.#deletions]) {
      try {
        await withTimeout(DELETE_TIMEOUT_MS, () => this.#store.deleteMetric(deletion))
      } catch (error) {
        if (!(error instanceof GatewayError && error.code === 'store_unavailable')) throw error
        return
      }
    }
  }
}

/** Maximum number of retained deletions. */
const DELETIONS_MAX = 1_000
/** Maximum time to wait for one deletion. It is short, because the replay of commits waits for all deletions. */
const DELETE_TIMEOUT_MS = 2_000
