import { randomBytes } from 'node:crypto'
import type { Store } from '../../store/store.ts'

/**
 * Leases of the partitions that this gateway folds, so that several gateways do not do the same work. Correctness does
 * not depend on leases: the store refuses a fold or merge if one of the entries that it replaces no longer exists.
 */
export class FoldLeases {
  readonly #store: Store
  readonly #now: () => number
  readonly #holder = randomBytes(8).toString('hex')
  /** For each partition whose lease this gateway has, the time from which the lease must be renewed. */
  readonly #renewFromMs = new Map<number, number>()
  /** Partitions whose lease another gateway held at the last attempt. */
  readonly #heldByOthers = new Set<number>()

  constructor(store: Store, now: () => number) {
    this.#store = store
    this.#now = now
  }

  /**
   * Tries to get the lease of a partition: takes it, or renews it after half of its time. Returns whether this gateway
   * has it. A lease that another gateway holds is not requested again before `releaseAll`.
   */
  async takeOrKeep(partition: number): Promise<boolean> {
    if (this.#heldByOthers.has(partition)) return false
    const nowMs = this.#now()
    if (nowMs < (this.#renewFromMs.get(partition) ?? Number.NEGATIVE_INFINITY)) return true
    const isTaken = await this.#take(partition, LEASE_MS)
    if (isTaken) this.#renewFromMs.set(partition, nowMs + LEASE_MS / 2)
    else {
      this.#renewFromMs.delete(partition)
      this.#heldByOthers.add(partition)
    }
    return isTaken
  }

  /** Releases all leases. A lease that cannot be released expires after `LEASE_MS`. */
  async releaseAll(): Promise<void> {
    const held = [...this.#renewFromMs.keys()]
    this.#renewFromMs.clear()
    this.#heldByOthers.clear()
    await Promise.allSettled(held.map((partition) => this.#take(partition, 0)))
  }

  #take(partition: number, leaseMs: number): Promise<boolean> {
    return this.#store.takeLease({ partition, holder: this.#holder, leaseMs, nowMs: this.#now() })
  }
}

/** Length of a lease: much longer than a step. After a crash, no gateway folds the partition for up to this long. */
const LEASE_MS = 20_000
