import type { LeaseRequest } from '../store.ts'

/** Leases of partitions for the fold. They are only in memory, because only this process folds. */
export class Leases {
  readonly #leases = new Map<number, { readonly holder: string; readonly endMs: number }>()

  take({ partition, holder, leaseMs, nowMs }: LeaseRequest): boolean {
    const lease = this.#leases.get(partition)
    if (lease !== undefined && lease.holder !== holder && lease.endMs > nowMs) return false
    if (leaseMs === 0) this.#leases.delete(partition)
    else this.#leases.set(partition, { holder, endMs: nowMs + leaseMs })
    return true
  }
}
