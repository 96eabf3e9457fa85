import { GatewayError } from '../model/errors.ts'
import { networkOf } from '../model/network.ts'
import { RATE_WINDOW_MS, type RateClass, type RateLimits } from '../model/rate.ts'
import { isRecent } from '../model/time.ts'
import { withTimeout } from '../model/with-timeout.ts'
import type { Store } from '../store/store.ts'
import type { Principal } from './api-keys.ts'

/** Whether a request may be served, and the values of its rate-limit headers. */
export interface RateLimitDecision {
  readonly isGranted: boolean
  /** Maximum number of requests per minute. */
  readonly limit: number
  /** Requests left in this minute, as far as this gateway knows. */
  readonly remaining: number
  /** Seconds until the minute ends, rounded up; at least 1. */
  readonly resetSeconds: number
}

interface RateLimiterSettings {
  readonly limits: RateLimits
  /** Maximum number of counters in each class. */
  readonly countersPerClassMax: number
}

/**
 * Maximum number of counters per rate class. One more counter evicts the oldest one, whose reserved permits are then
 * lost.
 */
export const RATE_COUNTERS_PER_CLASS_MAX = 100_000

/**
 * How long a reservation may take. After that, the store counts as not responding, and the requests that waited for the
 * reservation are counted in this process only.
 */
const RESERVATION_WAIT_MS = 500
/**
 * How long no reservation is started after the store did not respond, unless a late response arrives. Meanwhile,
 * requests that would need a new reservation are counted in this process only.
 */
const STORE_RETRY_PAUSE_MS = 1_000
/**
 * A gateway reserves permits in the store. One reservation has the limit divided by this constant, rounded down and at
 * least 1, or one permit for each waiting request if that is more.
 */
const RESERVATIONS_PER_LIMIT = 50

type CounterState = 'reserved' | 'exhausted' | 'unreserved' | 'local'

/** The permits of one key, client network, or both (see `counterSubjectOf`) in one class and one minute. */
interface PermitCounter {
  readonly limitKey: string
  readonly limit: number
  readonly endMs: number
  /** Permits that were reserved in the store and are not used yet. */
  reservedPermits: number
  /**
   * Permits that no gateway had reserved when the store last responded for this counter, or the limit before the first
   * response; less those that this gateway has used without a reservation since then.
   */
  availablePermits: number
  /** Number of requests that wait for the reservation in progress. */
  waitingRequests: number
  reservationInProgress: Promise<void> | undefined
}

/**
 * Limits requests per clock minute (fixed windows). Each gateway reserves permits in the store, usually a fiftieth of
 * the limit at a time. So most requests need no round trip to the store, and the limit is not exceeded in a minute in
 * which the store responds to all gateways. A request may be refused although other gateways have unused permits.
 *
 * | state of a counter | reserved | available | a request |
 * | --- | --- | --- | --- |
 * | `reserved` | some | | takes a reserved permit |
 * | `exhausted` | none | none | is refused |
 * | `unreserved` | none | some | waits for a reservation |
 * | `local` | none | some | takes an available permit, because the store does not respond |
 *
 * In the state `local` each gateway counts by itself, up to the permits that were available when the store last
 * responded to it in this minute, or up to the limit if it has not responded. The limit then applies to each
 * gateway separately, so no request is refused only because the store does not respond.
 */
export class RateLimiter {
  readonly #store: Store
  readonly #settings: RateLimiterSettings
  readonly #now: () => number
  /** Counters by class, then by key, client network, or both (see `counterSubjectOf`), the oldest first. */
  readonly #counters = new Map<RateClass, Map<string, PermitCounter>>()
  /**
   * Time at which the store last failed to respond. Minus infinity if it has responded since then or has never failed.
   */
  #storeUnavailableAtMs = Number.NEGATIVE_INFINITY

  constructor(store: Store, settings: RateLimiterSettings, now: () => number) {
    this.#store = store
    this.#settings = settings
    this.#now = now
  }

  /** Number of counters in memory, at most `countersPerClassMax` in each class. */
  get counterCount(): number {
    let count = 0
    for (const counters of this.#counters.values()) count += counters.size
    return count
  }

  /**
   * Takes a permit. Returns a promise only if the request must wait for a reservation in the store. Returns undefined
   * if the limit is `off`.
   */
  take(
    principal: Principal,
    rateClass: RateClass,
    address: string,
  ): RateLimitDecision | undefined | Promise<RateLimitDecision> {
    const ownLimit = principal.limits?.[rateClass]
    const limit = ownLimit ?? this.#settings.limits[rateClass]
    if (limit === 'off') return undefined
    const counter = this.#currentCounter(
      rateClass,
      counterSubjectOf(principal, rateClass, address, ownLimit !== undefined),
      limit,
    )
    return this.#takeNow(counter) ?? this.#takeAfterReservation(counter)
  }

  #currentCounter(rateClass: RateClass, subject: string, limit: number): PermitCounter {
    const nowMs = this.#now()
    const counters = this.#countersOfClass(rateClass)
    const existing = counters.get(subject)
    const isCurrent = existing !== undefined && nowMs < existing.endMs && nowMs >= existing.endMs - RATE_WINDOW_MS
    if (isCurrent && existing.limit === limit) return existing
    // A counter of another minute or another limit is removed, and the new one is added at the end. So the first
    // counter in the map is the oldest.
    counters.delete(subject)
    if (counters.size >= this.#settings.countersPerClassMax) {
      for (const oldest of counters.keys()) {
        counters.delete(oldest)
        break
      }
    }
    const limitKey = `${rateClass} ${subject}`
    const endMs = (Math.floor(nowMs / RATE_WINDOW_MS) + 1) * RATE_WINDOW_MS
    const counter = {
      limitKey,
      limit,
      endMs,
      reservedPermits: 0,
      availablePermits: limit,
      waitingRequests: 0,
      reservationInProgress: undefined,
    }
    counters.set(subject, counter)
    return counter
  }

  #countersOfClass(rateClass: RateClass): Map<string, PermitCounter> {
    const counters = this.#counters.get(rateClass) ?? new Map<string, PermitCounter>()
    if (counters.size === 0) this.#counters.set(rateClass, counters)
    return counters
  }

  /** Takes a permit without waiting. Returns undefined if the request has to wait for a reservation. */
  #takeNow(counter: PermitCounter): RateLimitDecision | undefined {
    const state = this.#stateOf(counter)
    switch (state) {
      case 'reserved':
        counter.reservedPermits--
        return this.#decisionOf(counter, true)
      case 'exhausted':
        return this.#decisionOf(counter, false)
      case 'local':
        counter.availablePermits--
        return this.#decisionOf(counter, true)
      case 'unreserved':
        return undefined
      default:
        return state satisfies never
    }
  }

  #stateOf({ reservedPermits, availablePermits, reservationInProgress }: PermitCounter): CounterState {
    if (reservedPermits > 0) return 'reserved'
    if (availablePermits === 0) return 'exhausted'
    return reservationInProgress === undefined && this.#isStoreUnavailable() ? 'local' : 'unreserved'
  }

  async #takeAfterReservation(counter: PermitCounter): Promise<RateLimitDecision> {
    for (;;) {
      counter.waitingRequests++
      counter.reservationInProgress ??= this.#reserve(counter).finally(() => {
        counter.reservationInProgress = undefined
      })
      try {
        await counter.reservationInProgress
      } finally {
        counter.waitingRequests--
      }
      const decision = this.#takeNow(counter)
      if (decision !== undefined) return decision
    }
  }

  /**
   * Tries to reserve permits for all waiting requests. Also resolves if the store is unavailable or does not respond in
   * time.
   */
  async #reserve(counter: PermitCounter): Promise<void> {
    const { limitKey, limit, endMs } = counter
    // Waits one microtask, so that `waitingRequests` includes requests that start to wait right after this one.
    await undefined
    const permits = Math.max(1, Math.floor(limit / RESERVATIONS_PER_LIMIT), counter.waitingRequests)
    const request = { limitKey, permits, limit, windowWidthMs: RATE_WINDOW_MS, nowMs: endMs - RATE_WINDOW_MS }
    try {
      await withTimeout(RESERVATION_WAIT_MS, async () => {
        const { granted, left } = await this.#store.takePermits(request)
        counter.reservedPermits += granted
        counter.availablePermits = left
        this.#storeUnavailableAtMs = Number.NEGATIVE_INFINITY
      })
    } catch (error) {
      if (!(error instanceof GatewayError && error.code === 'store_unavailable')) throw error
      this.#storeUnavailableAtMs = this.#now()
    }
  }

  #isStoreUnavailable(): boolean {
    return isRecent(STORE_RETRY_PAUSE_MS, this.#storeUnavailableAtMs, this.#now())
  }

  #decisionOf(
    { limit, reservedPermits, availablePermits, endMs }: PermitCounter,
    isGranted: boolean,
  ): RateLimitDecision {
    const resetSeconds = Math.max(1, Math.ceil((endMs - this.#now()) / 1_000))
    return { isGranted, limit, remaining: reservedPermits + availablePermits, resetSeconds }
  }
}

/**
 * Returns the text that identifies a counter within its class: the hash of the API key, or in the class `betterstack`
 * the client network. In that class, a key with its own limit has one counter for each client network.
 */
function counterSubjectOf(principal: Principal, rateClass: RateClass, address: string, hasOwnLimit: boolean): string {
  if (rateClass !== 'betterstack') return principal.keyHash
  return hasOwnLimit ? `${principal.keyHash} ${networkOf(address)}` : networkOf(address)
}
