import { hash, randomBytes } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { GatewayError } from '../model/errors.ts'
import type { RateLimits } from '../model/rate.ts'
import { isRecent } from '../model/time.ts'
import { within } from '../model/within.ts'
import { type KeyRow, SCOPES, type Scope } from '../store/api-keys.ts'
import type { KeyStore, Store } from '../store/store.ts'

/** What a key allows: access to one project, within its scopes. */
export interface Grant {
  readonly project: string
  readonly scopes: readonly Scope[]
  /** Its own rate limits; for the other classes those of the gateway apply. */
  readonly limits?: Partial<RateLimits>
}

/** The authenticated sender of a request. */
export interface Principal extends Grant {
  /** The hash of the key. It identifies the key and grants no access. */
  readonly keyId: string
}

/** How long a lookup is cached. Revoking a key takes effect everywhere within this time. */
const CACHED_MS = 5_000
/** How long a valid key stays cached while the store does not respond. */
const CACHED_UNAVAILABLE_MS = 60_000
/** How long to wait for the store when the key is cached. */
const READ_WAIT_MS = 500
/** The pause before the next attempt. */
const UNAVAILABLE_PAUSE_MS = 1_000
/** Cached keys, valid and unknown ones each. */
const CACHED_KEYS_MAX = 10_000
/** Longer texts are no keys, and are not hashed. */
const KEY_CHARS_MAX = 512

interface CachedKey {
  readonly principal: Principal
  readonly expiresMs: number
  readonly readMs: number
  /** When the store last failed to respond for this key. */
  readonly unavailableMs?: number
}

/**
 * Authenticates API keys against the store or against a fixed list, with a cache. Only hashes are stored and
 * compared. A lookup by SHA-256 leaks nothing by its timing, because a guess cannot choose the prefix of its hash.
 */
export class Keys {
  readonly #store: Store
  readonly #fixed: ReadonlyMap<string, Principal>
  readonly #now: () => number
  /** By hash. */
  readonly #valid = new LRUCache<string, CachedKey>({ max: CACHED_KEYS_MAX })
  /** When an unknown key was looked up, by hash. A separate cache, so that guesses evict no valid key. */
  readonly #unknown = new LRUCache<string, number>({ max: CACHED_KEYS_MAX })
  /** When the store last listed at least one key. */
  #listedMs = Number.NEGATIVE_INFINITY

  /** When there are `fixed` keys (by hash), the keys in the store are ignored. */
  constructor(store: Store, fixed: ReadonlyMap<string, Grant>, now: () => number) {
    this.#store = store
    this.#fixed = new Map([...fixed].map(([keyId, grant]) => [keyId, { ...grant, keyId }]))
    this.#now = now
  }

  /** Undefined: the key does not exist, was revoked or has expired. Synchronous when the key is cached. */
  authenticate(key: string): Principal | undefined | Promise<Principal | undefined> {
    if (key.length > KEY_CHARS_MAX) return undefined
    const keyId = hashKey(key)
    if (this.#fixed.size > 0) {
      return this.#fixed.get(keyId)
    }
    const nowMs = this.#now()
    const cached = this.#valid.get(keyId)
    if (cached !== undefined && isFresh(cached, nowMs)) return unexpired(cached, nowMs)
    const refusedMs = this.#unknown.get(keyId)
    if (refusedMs !== undefined && isRecent(CACHED_MS, refusedMs, nowMs)) return undefined
    return this.#read(keyId, cached)
  }

  /** Throws `store_unavailable` when the store has no keys: it was emptied, and no request can be authenticated. */
  async requireKeys(): Promise<void> {
    if (this.#fixed.size > 0) return
    const nowMs = this.#now()
    if (isRecent(CACHED_MS, this.#listedMs, nowMs)) return
    if ((await this.#store.listKeys()).length === 0) {
      throw new GatewayError(
        'store_unavailable',
        'the store has no API keys, it was emptied: restart the gateway, which creates a first key, or run its command keys',
      )
    }
    this.#listedMs = nowMs
  }

  async #read(keyId: string, cached: CachedKey | undefined): Promise<Principal | undefined> {
    let row: KeyRow | undefined
    try {
      const read = (): Promise<KeyRow | undefined> => this.#store.readKey(keyId)
      // A short wait only when the cache can serve instead: the request may need another partition than the keys do.
      const isBounded = cached !== undefined && isRecent(CACHED_UNAVAILABLE_MS, cached.readMs, this.#now())
      row = await (isBounded ? within(READ_WAIT_MS, read) : read())
    } catch (error) {
      const nowMs = this.#now()
      if (cached !== undefined && isUnavailable(error) && isRecent(CACHED_UNAVAILABLE_MS, cached.readMs, nowMs)) {
        this.#valid.set(keyId, { ...cached, unavailableMs: nowMs })
        return unexpired(cached, nowMs)
      }
      throw error
    }
    const readMs = this.#now()
    this.#valid.delete(keyId)
    if (row === undefined || row.revokedMs !== undefined) {
      this.#unknown.set(keyId, readMs)
      return undefined
    }
    const { project, scopes, limits, expiresMs = Number.POSITIVE_INFINITY } = row
    const fresh = { principal: { keyId, project, scopes, ...(limits && { limits }) }, expiresMs, readMs }
    this.#valid.set(keyId, fresh)
    return unexpired(fresh, readMs)
  }
}

/** Whether the cached key may be used without reading the store. */
function isFresh({ readMs, unavailableMs }: CachedKey, nowMs: number): boolean {
  if (isRecent(CACHED_MS, readMs, nowMs)) return true
  return (
    unavailableMs !== undefined &&
    isRecent(UNAVAILABLE_PAUSE_MS, unavailableMs, nowMs) &&
    isRecent(CACHED_UNAVAILABLE_MS, readMs, nowMs)
  )
}

function unexpired({ principal, expiresMs }: CachedKey, nowMs: number): Principal | undefined {
  return nowMs < expiresMs ? principal : undefined
}

function isUnavailable(error: unknown): boolean {
  return error instanceof GatewayError && error.code === 'store_unavailable'
}

export function hashKey(key: string): string {
  return hash('sha256', key)
}

export function isProjectName(text: string): boolean {
  return /^[A-Za-z0-9._-]{1,64}$/.test(text)
}

export function isScope(text: string): text is Scope {
  return (SCOPES as readonly string[]).includes(text)
}

/** 192 random bits. */
export function newKey(): string {
  return `gq_${randomBytes(24).toString('base64url')}`
}

/** Creates a key with all scopes when the store has no keys. Returns the key, which is shown only then. */
export async function ensureFirstKey(store: KeyStore, nowMs: number): Promise<string | undefined> {
  if ((await store.listKeys()).length > 0) return undefined
  const key = newKey()
  await store.saveKey({
    hash: hashKey(key),
    project: 'default',
    scopes: [...SCOPES],
    label: 'first key',
    createdMs: nowMs,
  })
  return key
}
