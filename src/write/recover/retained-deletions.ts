import { GatewayError } from '../../model/errors.ts'
import { within } from '../../model/within.ts'
import type { MetricDeletion, Store } from '../../store/store.ts'

/**
 * Deletions that the store has acknowledged and may still forget. They have no number by which that could be found out, so it is told
 * of them again and again for a while: that changes nothing where they are known.
 */
export class RetainedDeletions {
  readonly #store: Store
  readonly #keptMs: number
  readonly #now: () => number
  #deletions: { readonly deletion: MetricDeletion; readonly toldMs: number }[] = []

  constructor(store: Store, keptMs: number, now: () => number) {
    this.#store = store
    this.#keptMs = keptMs
    this.#now = now
  }

  get isEmpty(): boolean {
    return this.#deletions.length === 0
  }

  /** The oldest makes room: it has been told the most often. */
  keep(deletion: MetricDeletion): void {
    if (this.#deletions.length >= DELETIONS_MAX) this.#deletions.shift()
    this.#deletions.push({ deletion, toldMs: this.#now() })
  }

  /** Those that the store does not answer now are told the next time. */
  async tellAgain(): Promise<void> {
    const fromMs = this.#now() - this.#keptMs
    this.#deletions = this.#deletions.filter(({ toldMs }) => toldMs >= fromMs)
    for (const { deletion } of [...this.#deletions]) {
      try {
        await within(TELL_MS_MAX, () => this.#store.deleteMetric(deletion))
      } catch (error) {
        if (!(error instanceof GatewayError && error.code === 'store_unavailable')) throw error
        return
      }
    }
  }
}

const DELETIONS_MAX = 1_000
/** Whatever is offered again waits for it. */
const TELL_MS_MAX = 2_000
