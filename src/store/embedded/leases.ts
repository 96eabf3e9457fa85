import type { LeaseRequest } from '../store.ts'

/** Who folds which partition. In memory: only this process folds, with one loop but for tests. */
export class Leases {
  readonly #held = new Map<number, { readonly holder: string; readonly untilMs: number }>()

  take({ partition, holder, leaseMs, nowMs }: LeaseRequest): boolean {
    const held = this.#held.get(partition)
    if (held !== undefined && held.holder !== holder && held.untilMs > nowMs) return false
    if (leaseMs === 0) this.#held.delete(partition)
    else this.#held.set(partition, { holder, untilMs: nowMs + leaseMs })
    return true
  }
}
