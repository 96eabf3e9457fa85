import type { Principal } from './keys.ts'
import { GatewayError } from './model/errors.ts'
import { RATE_WINDOW_MS, type RateClass, type RateLimits } from './model/rate.ts'
import type { Store } from './store/store.ts'

/** The answer to a request that wants to be served. */
export interface Permit {
  readonly isGranted: boolean
  /** Requests a minute. */
  readonly limit: number
  /** Those left in this minute, as far as this gateway knows. */
  readonly remaining: number
  /** Whole seconds until the minute is over, at least 1. */
  readonly resetSeconds: number
}

export interface RateLimiterSettings {
  readonly limits: RateLimits
  /** Keys or addresses of a class that are counted at a time. */
  readonly countersMax: number
}

/** A lease that the store has not answered by then is replaced by credit … */
const LEASE_WAIT_MS = 500
/** … and while the store is away it is asked this often. */
const AWAY_PAUSE_MS = 1_000
const LEASES_OF_LIMIT = 50

/** What is known of one key or address in one minute. */
interface Counter {
  readonly bucket: string
  readonly limit: number
  readonly endMs: number
  /** Permits leased and not used. */
  held: number
  /** Permits that nobody had leased when the store was asked last. */
  left: number
  /** Requests admitted that no lease has paid for, because the store did not answer. */
  debt: number
  /** Requests that wait for the lease under way. */
  waiting: number
  lease: Promise<void> | undefined
}

/**
 * Counts requests in minutes that begin with the clock's. All gateways of a store take their permits from it, a fiftieth of
 * the limit at a time, so the limit is never exceeded, a refusal comes at most one lease per gateway early, and most requests
 * cost no question to the store.
 *
 * While the store does not answer, each gateway counts by itself, from where the minute stood, up to the limit: a request is not
 * refused for that reason alone, since the writer may outwait a short absence. What was admitted so is taken from the store
 * when it answers again within the minute.
 */
export class RateLimiter {
  readonly #store: Store
  readonly #settings: RateLimiterSettings
  readonly #now: () => number
  /** Of each class by key or address, the oldest first. */
  readonly #counters = new Map<RateClass, Map<string, Counter>>()
  #awayUntilMs = Number.NEGATIVE_INFINITY

  constructor(store: Store, settings: RateLimiterSettings, now: () => number) {
    this.#store = store
    this.#settings = settings
    this.#now = now
  }

  /** Counters held, at most `countersMax` of each class. */
  get counters(): number {
    let held = 0
    for (const counters of this.#counters.values()) held += counters.size
    return held
  }

  /** Undefined: such requests are not limited. At once when a permit is at hand. */
  take(principal: Principal, rateClass: RateClass, address: string): Permit | undefined | Promise<Permit> {
    const own = principal.limits?.[rateClass]
    const limit = own ?? this.#settings.limits[rateClass]
    if (limit === 'off') return undefined
    const counter = this.#counter(rateClass, subjectOf(principal, rateClass, address, own !== undefined), limit)
    if (counter.held > 0) {
      counter.held--
      return this.#permit(counter, true)
    }
    if (counter.left === 0) return this.#permit(counter, false)
    if (counter.lease === undefined && this.#now() < this.#awayUntilMs) return this.#onCredit(counter)
    return this.#leased(counter)
  }

  #counter(rateClass: RateClass, subject: string, limit: number): Counter {
    const nowMs = this.#now()
    const counters = this.#countersOf(rateClass)
    const known = counters.get(subject)
    const isCurrent = known !== undefined && nowMs < known.endMs && nowMs >= known.endMs - RATE_WINDOW_MS
    if (isCurrent && known.limit === limit) return known
    // What comes anew goes to the end, so the first is the one whose minute began first.
    counters.delete(subject)
    if (counters.size >= this.#settings.countersMax) {
      for (const oldest of counters.keys()) {
        counters.delete(oldest)
        break
      }
    }
    const bucket = `${rateClass} ${subject}`
    const endMs = (Math.floor(nowMs / RATE_WINDOW_MS) + 1) * RATE_WINDOW_MS
    const counter = { bucket, limit, endMs, held: 0, left: limit, debt: 0, waiting: 0, lease: undefined }
    counters.set(subject, counter)
    return counter
  }

  #countersOf(rateClass: RateClass): Map<string, Counter> {
    const counters = this.#counters.get(rateClass) ?? new Map<string, Counter>()
    if (counters.size === 0) this.#counters.set(rateClass, counters)
    return counters
  }

  async #leased(counter: Counter): Promise<Permit> {
    while (counter.held === 0 && counter.left > 0) {
      counter.waiting++
      counter.lease ??= this.#lease(counter).finally(() => {
        counter.lease = undefined
      })
      try {
        await counter.lease
      } finally {
        counter.waiting--
      }
      if (counter.held === 0 && this.#now() < this.#awayUntilMs) return this.#onCredit(counter)
    }
    if (counter.held === 0) return this.#permit(counter, false)
    counter.held--
    return this.#permit(counter, true)
  }

  /** Resolves when the store has answered or is not worth waiting for. Others wait for the same lease, and ask again if it was too small. */
  async #lease(counter: Counter): Promise<void> {
    const { bucket, limit, endMs } = counter
    // Those who ask in this turn share it.
    await undefined
    const permits = Math.max(1, Math.floor(limit / LEASES_OF_LIMIT), counter.waiting) + counter.debt
    const answered = this.#store
      .takePermits({ bucket, permits, limit, windowMs: RATE_WINDOW_MS, nowMs: endMs - RATE_WINDOW_MS })
      .then(({ granted, left }) => {
        const paid = Math.min(granted, counter.debt)
        counter.debt -= paid
        counter.held += granted - paid
        counter.left = left
        this.#awayUntilMs = Number.NEGATIVE_INFINITY
      })
    let timer: NodeJS.Timeout | undefined
    const tooLong = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        this.#awayUntilMs = this.#now() + AWAY_PAUSE_MS
        resolve()
      }, LEASE_WAIT_MS)
    })
    const failed = (error: unknown): void => {
      if (!(error instanceof GatewayError && error.code === 'store_unavailable')) throw error
      this.#awayUntilMs = this.#now() + AWAY_PAUSE_MS
    }
    try {
      await Promise.race([answered.catch(failed), tooLong])
    } finally {
      clearTimeout(timer)
    }
  }

  #onCredit(counter: Counter): Permit {
    if (counter.left === 0) return this.#permit(counter, false)
    counter.left--
    counter.debt++
    return this.#permit(counter, true)
  }

  #permit({ limit, held, left, endMs }: Counter, isGranted: boolean): Permit {
    const resetSeconds = Math.max(1, Math.ceil((endMs - this.#now()) / 1_000))
    return { isGranted, limit, remaining: held + left, resetSeconds }
  }
}

/** Who is counted. A key with a limit of its own is counted apart from the others of its address. */
function subjectOf(principal: Principal, rateClass: RateClass, address: string, hasOwnLimit: boolean): string {
  if (rateClass !== 'betterstack') return principal.keyId
  return hasOwnLimit ? `${principal.keyId} ${networkOf(address)}` : networkOf(address)
}

/** Whoever has one address of IPv6 has 2^64 of them: they count as one. */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped !== undefined) return mapped
  const [head = '', tail] = (address.split('%')[0] ?? '').toLowerCase().split('::')
  const groups = head === '' ? [] : head.split(':')
  if (tail !== undefined) {
    const after = tail === '' ? 0 : tail.split(':').length + (tail.includes('.') ? 1 : 0)
    while (groups.length + after < 8) groups.push('0')
    groups.push(...tail.split(':'))
  }
  return groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')
}
