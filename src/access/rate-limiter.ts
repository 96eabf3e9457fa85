import { GatewayError } from '../model/errors.ts'
import { networkOf } from '../model/network.ts'
import { RATE_WINDOW_MS, type RateClass, type RateLimits } from '../model/rate.ts'
import { within } from '../model/within.ts'
import type { Store } from '../store/store.ts'
import type { Principal } from './api-keys.ts'

/** Whether a request may be served, and what its rate-limit headers say. */
export interface Permit {
  readonly isGranted: boolean
  /** Requests a minute. */
  readonly limit: number
  /** Requests left in this minute, as far as this gateway knows. */
  readonly remaining: number
  /** Whole seconds until the minute ends, at least 1. */
  readonly resetSeconds: number
}

interface RateLimiterSettings {
  readonly limits: RateLimits
  /** Keys or addresses counted at a time in each class. */
  readonly countersMax: number
}

/** When a class has more keys or addresses, its oldest counter is evicted together with its leased permits. */
export const RATE_COUNTERS_MAX = 100_000

/** How long a request waits for a lease before it is counted locally. */
const LEASE_WAIT_MS = 500
/** The pause between two attempts while the store does not respond. */
const UNAVAILABLE_PAUSE_MS = 1_000
/** A lease takes this part of the limit. */
const LEASES_OF_LIMIT = 50

type CounterState = 'leased' | 'exhausted' | 'unleased' | 'local'

/** The permits of one key or address in one minute. */
interface Counter {
  readonly bucket: string
  readonly limit: number
  readonly endMs: number
  /** Permits leased from the store and not used yet. */
  leased: number
  /** Permits that were unleased when the store last responded. */
  available: number
  /** Requests waiting for the lease under way. */
  waiting: number
  lease: Promise<void> | undefined
}

/**
 * Fixed-window rate limits: requests per clock minute. All gateways of a store lease permits from it, a fiftieth of
 * the limit at a time. So the limit is never exceeded, a refusal comes at most one lease per gateway early, and most
 * requests need no round trip.
 *
 * | state of a counter | leased | available | a request |
 * | --- | --- | --- | --- |
 * | `leased` | some | | takes a leased permit |
 * | `exhausted` | none | none | is refused |
 * | `unleased` | none | some | waits for a lease |
 * | `local` | none | some | takes an available permit, because the store does not respond |
 *
 * In the state `local` each gateway counts by itself, up to the permits that it last knew to be available. The limit
 * is then one per gateway: no request is refused only because the store does not respond.
 */
export class RateLimiter {
  readonly #store: Store
  readonly #settings: RateLimiterSettings
  readonly #now: () => number
  /** By class, then by key or address, the oldest first. */
  readonly #counters = new Map<RateClass, Map<string, Counter>>()
  #unavailableUntilMs = Number.NEGATIVE_INFINITY

  constructor(store: Store, settings: RateLimiterSettings, now: () => number) {
    this.#store = store
    this.#settings = settings
    this.#now = now
  }

  /** Counters in memory, at most `countersMax` of each class. */
  get counters(): number {
    let size = 0
    for (const counters of this.#counters.values()) size += counters.size
    return size
  }

  /** Takes a permit, synchronously when one is leased already. Undefined: such requests are not limited. */
  take(principal: Principal, rateClass: RateClass, address: string): Permit | undefined | Promise<Permit> {
    const own = principal.limits?.[rateClass]
    const limit = own ?? this.#settings.limits[rateClass]
    if (limit === 'off') return undefined
    const counter = this.#counter(rateClass, subjectOf(principal, rateClass, address, own !== undefined), limit)
    return this.#takeNow(counter) ?? this.#takeAfterLease(counter)
  }

  #counter(rateClass: RateClass, subject: string, limit: number): Counter {
    const nowMs = this.#now()
    const counters = this.#countersOf(rateClass)
    const known = counters.get(subject)
    const isCurrent = known !== undefined && nowMs < known.endMs && nowMs >= known.endMs - RATE_WINDOW_MS
    if (isCurrent && known.limit === limit) return known
    // A new minute moves a counter to the end of the map, so the first one is the oldest.
    counters.delete(subject)
    if (counters.size >= this.#settings.countersMax) {
      for (const oldest of counters.keys()) {
        counters.delete(oldest)
        break
      }
    }
    const bucket = `${rateClass} ${subject}`
    const endMs = (Math.floor(nowMs / RATE_WINDOW_MS) + 1) * RATE_WINDOW_MS
    const counter = { bucket, limit, endMs, leased: 0, available: limit, waiting: 0, lease: undefined }
    counters.set(subject, counter)
    return counter
  }

  #countersOf(rateClass: RateClass): Map<string, Counter> {
    const counters = this.#counters.get(rateClass) ?? new Map<string, Counter>()
    if (counters.size === 0) this.#counters.set(rateClass, counters)
    return counters
  }

  /** Undefined: the request has to wait for a lease. */
  #takeNow(counter: Counter): Permit | undefined {
    const state = this.#stateOf(counter)
    switch (state) {
      case 'leased':
        counter.leased--
        return this.#permit(counter, true)
      case 'exhausted':
        return this.#permit(counter, false)
      case 'local':
        counter.available--
        return this.#permit(counter, true)
      case 'unleased':
        return undefined
      default:
        return state satisfies never
    }
  }

  #stateOf({ leased, available, lease }: Counter): CounterState {
    if (leased > 0) return 'leased'
    if (available === 0) return 'exhausted'
    return lease === undefined && this.#isStoreUnavailable() ? 'local' : 'unleased'
  }

  async #takeAfterLease(counter: Counter): Promise<Permit> {
    for (;;) {
      counter.waiting++
      counter.lease ??= this.#lease(counter).finally(() => {
        counter.lease = undefined
      })
      try {
        await counter.lease
      } finally {
        counter.waiting--
      }
      const permit = this.#takeNow(counter)
      if (permit !== undefined) return permit
    }
  }

  /** Leases permits for all waiting requests. Resolves also when the store does not respond in time. */
  async #lease(counter: Counter): Promise<void> {
    const { bucket, limit, endMs } = counter
    // Lets the other requests of the same event-loop turn share the lease.
    await undefined
    const permits = Math.max(1, Math.floor(limit / LEASES_OF_LIMIT), counter.waiting)
    const request = { bucket, permits, limit, windowMs: RATE_WINDOW_MS, nowMs: endMs - RATE_WINDOW_MS }
    try {
      await within(LEASE_WAIT_MS, async () => {
        const { granted, left } = await this.#store.takePermits(request)
        counter.leased += granted
        counter.available = left
        this.#unavailableUntilMs = Number.NEGATIVE_INFINITY
      })
    } catch (error) {
      if (!(error instanceof GatewayError && error.code === 'store_unavailable')) throw error
      this.#unavailableUntilMs = this.#now() + UNAVAILABLE_PAUSE_MS
    }
  }

  #isStoreUnavailable(): boolean {
    return this.#now() < this.#unavailableUntilMs
  }

  #permit({ limit, leased, available, endMs }: Counter, isGranted: boolean): Permit {
    const resetSeconds = Math.max(1, Math.ceil((endMs - this.#now()) / 1_000))
    return { isGranted, limit, remaining: leased + available, resetSeconds }
  }
}

/** Whose requests count together. A key with a limit of its own is counted apart from its address. */
function subjectOf(principal: Principal, rateClass: RateClass, address: string, hasOwnLimit: boolean): string {
  if (rateClass !== 'betterstack') return principal.keyId
  return hasOwnLimit ? `${principal.keyId} ${networkOf(address)}` : networkOf(address)
}
