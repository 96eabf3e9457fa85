import { randomBytes } from 'node:crypto'
import type { Store } from '../../store/store.ts'

/**
 * Which partitions this loop may fold: one that another gateway is folding would only cost the same work twice. Nothing is wrong when
 * two do it all the same, for a fold commits only what is still there.
 */
export class FoldLeases {
  readonly #store: Store
  readonly #now: () => number
  readonly #holder = randomBytes(8).toString('hex')
  /** Until when a partition is surely ours. */
  readonly #heldUntilMs = new Map<number, number>()
  /** Those of others when we last asked. */
  readonly #refused = new Set<number>()

  constructor(store: Store, now: () => number) {
    this.#store = store
    this.#now = now
  }

  /** Whether the partition is ours now, for a step or some more. One that was refused is not asked for again before `release`. */
  async hold(partition: number): Promise<boolean> {
    if (this.#refused.has(partition)) return false
    const nowMs = this.#now()
    if (nowMs < (this.#heldUntilMs.get(partition) ?? Number.NEGATIVE_INFINITY)) return true
    const isOurs = await this.#take(partition, LEASE_MS)
    if (isOurs) this.#heldUntilMs.set(partition, nowMs + LEASE_MS / 2)
    else {
      this.#heldUntilMs.delete(partition)
      this.#refused.add(partition)
    }
    return isOurs
  }

  /** Lets others have what is held; what cannot be told to the store ends by itself. */
  async release(): Promise<void> {
    const held = [...this.#heldUntilMs.keys()]
    this.#heldUntilMs.clear()
    this.#refused.clear()
    await Promise.allSettled(held.map((partition) => this.#take(partition, 0)))
  }

  #take(partition: number, leaseMs: number): Promise<boolean> {
    return this.#store.takeLease({ partition, holder: this.#holder, leaseMs, nowMs: this.#now() })
  }
}

/** A step takes less than a second as a rule; and nobody folds for so long what a gateway that died was folding. */
const LEASE_MS = 20_000
