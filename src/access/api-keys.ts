import { hash, randomBytes } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { GatewayError } from '../model/errors.ts'
import type { RateLimits } from '../model/rate.ts'
import { isRecent } from '../model/time.ts'
import { withTimeout } from '../model/with-timeout.ts'
import { type ApiKeyRow, SCOPES, type Scope } from '../store/api-keys.ts'
import type { ApiKeyStore, Store } from '../store/store.ts'

/** The permissions of an API key: one project, some scopes, and rate limits of its own if it has any. */
export interface Grant {
  readonly project: string
  readonly scopes: readonly Scope[]
  /** Rate limits of this key by rate class. In a class without one, the limit of the gateway applies. */
  readonly limits?: Partial<RateLimits>
}

/** The authenticated sender of a request: the grant of its key, and the hash of the key. */
export interface Principal extends Grant {
  /** It identifies the key and grants no access. */
  readonly keyHash: string
}

/**
 * How long the result of a key's look-up is used from the cache, while the store responds: a revoked key is refused
 * after this time at the latest.
 */
const KEY_CACHED_MS = 5_000
/** How long after its last successful look-up a valid key is used from the cache while the store does not respond. */
const KEY_CACHED_WITHOUT_STORE_MS = 60_000
/** How long a request waits for the store if it can use a cached key instead. */
const KEY_READ_WAIT_MS = 500
/** How long a cached key is used without asking the store again, after the store did not respond to its look-up. */
const STORE_RETRY_PAUSE_MS = 1_000
/** Maximum number of cached valid keys, and of cached unknown keys. */
const CACHED_KEYS_MAX = 10_000
/** Maximum length of a key. Longer texts are refused without hashing them. */
const KEY_CHARS_MAX = 512

interface CachedKey {
  readonly principal: Principal
  readonly expiresMs: number
  /** The time before the store was read. */
  readonly readAtMs: number
  /**
   * The time at which the store last failed to respond to a look-up of this key. Undefined if it has not failed since
   * `readAtMs`.
   */
  readonly storeUnavailableAtMs?: number
}

/**
 * Authenticates API keys against the store or a fixed list, with a cache. Only SHA-256 hashes of keys are stored and
 * compared. The time of a comparison could at most reveal the beginning of a hash, from which a key cannot be computed.
 */
export class ApiKeyAuthenticator {
  readonly #store: Store
  readonly #fixedPrincipals: ReadonlyMap<string, Principal>
  readonly #now: () => number
  /** Keys that were in the store and not revoked when they were read, by hash. Some may have expired. */
  readonly #validKeys = new LRUCache<string, CachedKey>({ max: CACHED_KEYS_MAX })
  /**
   * The time before the look-up of each unknown or revoked key, by hash. A separate cache, so that guessed keys evict
   * no valid key.
   */
  readonly #unknownKeys = new LRUCache<string, number>({ max: CACHED_KEYS_MAX })
  /** The time of the last call of `requireKeys` that listed the keys and found at least one. */
  #keysFoundAtMs = Number.NEGATIVE_INFINITY

  /** If there are any grants in `grantsByKeyHash`, the keys in the store are ignored. */
  constructor(store: Store, grantsByKeyHash: ReadonlyMap<string, Grant>, now: () => number) {
    this.#store = store
    this.#fixedPrincipals = new Map([...grantsByKeyHash].map(([keyHash, grant]) => [keyHash, { ...grant, keyHash }]))
    this.#now = now
  }

  /**
   * Returns the sender that the key belongs to. Undefined if the key does not exist, was revoked or has expired.
   * Returns a promise only if the store must be asked. The promise rejects with `store_unavailable` if the store does
   * not respond and no cached key can be used instead.
   */
  authenticate(key: string): Principal | undefined | Promise<Principal | undefined> {
    if (key.length > KEY_CHARS_MAX) return undefined
    const keyHash = hashKey(key)
    if (this.#fixedPrincipals.size > 0) {
      return this.#fixedPrincipals.get(keyHash)
    }
    const nowMs = this.#now()
    const cached = this.#validKeys.get(keyHash)
    if (cached !== undefined && isFresh(cached, nowMs)) return principalUnlessExpired(cached, nowMs)
    const notFoundMs = this.#unknownKeys.get(keyHash)
    if (notFoundMs !== undefined && isRecent(KEY_CACHED_MS, notFoundMs, nowMs)) return undefined
    return this.#readFromStore(keyHash, cached)
  }

  /**
   * Throws `store_unavailable` if the store has no keys, not even revoked ones. The store was then emptied after the
   * start, because a gateway without fixed keys creates a key if there is none when it starts. Does nothing if the
   * gateway uses fixed keys, or if a call found keys less than `KEY_CACHED_MS` ago.
   */
  async requireKeys(): Promise<void> {
    if (this.#fixedPrincipals.size > 0) return
    const nowMs = this.#now()
    if (isRecent(KEY_CACHED_MS, this.#keysFoundAtMs, nowMs)) return
    if ((await this.#store.listKeys()).length === 0) {
      throw new GatewayError(
        'store_unavailable',
        'the store has no API keys, it was emptied: restart the gateway, which creates a first key, or run its command keys',
      )
    }
    this.#keysFoundAtMs = nowMs
  }

  async #readFromStore(keyHash: string, cached: CachedKey | undefined): Promise<Principal | undefined> {
    // The time before the read: the key may be revoked after the store has read it and before its response arrives.
    const readAtMs = this.#now()
    let row: ApiKeyRow | undefined
    try {
      const read = (): Promise<ApiKeyRow | undefined> => this.#store.readKey(keyHash)
      // If a cached key can be used instead, the read has a time limit: the partition that holds the keys may be down
      // while the partition that the request needs is available.
      const mayUseCached = cached !== undefined && isRecent(KEY_CACHED_WITHOUT_STORE_MS, cached.readAtMs, readAtMs)
      row = await (mayUseCached ? withTimeout(KEY_READ_WAIT_MS, read) : read())
    } catch (error) {
      const nowMs = this.#now()
      if (
        cached !== undefined &&
        isUnavailable(error) &&
        isRecent(KEY_CACHED_WITHOUT_STORE_MS, cached.readAtMs, nowMs)
      ) {
        this.#validKeys.set(keyHash, { ...cached, storeUnavailableAtMs: nowMs })
        return principalUnlessExpired(cached, nowMs)
      }
      throw error
    }
    this.#validKeys.delete(keyHash)
    if (row === undefined || row.revokedMs !== undefined) {
      this.#unknownKeys.set(keyHash, readAtMs)
      return undefined
    }
    const { project, scopes, limits, expiresMs = Number.POSITIVE_INFINITY } = row
    const fresh = { principal: { keyHash, project, scopes, ...(limits && { limits }) }, expiresMs, readAtMs }
    this.#validKeys.set(keyHash, fresh)
    return principalUnlessExpired(fresh, this.#now())
  }
}

/** Whether the cached key may be used without reading the store. */
function isFresh({ readAtMs, storeUnavailableAtMs }: CachedKey, nowMs: number): boolean {
  if (isRecent(KEY_CACHED_MS, readAtMs, nowMs)) return true
  return (
    storeUnavailableAtMs !== undefined &&
    isRecent(STORE_RETRY_PAUSE_MS, storeUnavailableAtMs, nowMs) &&
    isRecent(KEY_CACHED_WITHOUT_STORE_MS, readAtMs, nowMs)
  )
}

/** Returns the principal of a cached key. Undefined if the key has expired, even if it is still cached. */
function principalUnlessExpired({ principal, expiresMs }: CachedKey, nowMs: number): Principal | undefined {
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

/** Generates a key with 192 random bits. */
export function newKey(): string {
  return `gq_${randomBytes(24).toString('base64url')}`
}

/**
 * Creates a key with all scopes if the store has no keys, and returns it; undefined otherwise. The key cannot be read
 * again later.
 */
export async function ensureFirstKey(store: ApiKeyStore, nowMs: number): Promise<string | undefined> {
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
