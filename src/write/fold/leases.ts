import { randomBytes } from 'node:crypto'
import type { Store } from '../../store/store.ts'

/**
 * Leases of the partitions that this gateway folds, so that several gateways do not do the same work. Correctness does
 * not depend on leases: a fold commits only if all of its inputs are still listed.
 */
export class FoldLeases {
  readonly #store: Store
  readonly #now: () => number
  readonly #holder = randomBytes(8).toString('hex')
  /** Time until which the lease of each partition is certainly held. */
  readonly #heldUntilMs = new Map<number, number>()
  /** Partitions whose lease another gateway held at the last attempt. */
  readonly #refused = new Set<number>()

  constructor(store: Store, now: () => number) {
    this.#store = store
    this.#now = now
  }

  /**
   * Takes the lease of a partition for a few steps, or uses the one it holds. Returns whether the lease is held. A
   * lease that was refused is not requested again before `release`.
   */
  async hold(partition: number): Promise<boolean> {
    if (this.#refused.has(partition)) return false
    const nowMs = this.#now()
    if (nowMs < (this.#heldUntilMs.get(partition) ?? Number.NEGATIVE_INFINITY)) return true
    const isTaken = await this.#take(partition, LEASE_MS)
    if (isTaken) this.#heldUntilMs.set(partition, nowMs + LEASE_MS / 2)
    else {
      this.#heldUntilMs.delete(partition)
      this.#refused.add(partition)
    }
    return isTaken
  }

  /** Releases all leases. A lease that cannot be released expires after `LEASE_MS`. */
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

/**
 * Length of a lease. A step normally takes less than a second. After a crash, nobody folds the partition for this long.
 */
const LEASE_MS = 20_000
