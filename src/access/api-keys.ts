import { createHash, randomBytes } from 'node:crypto'
import { GatewayError } from '../model/errors.ts'
import type { RateLimits } from '../model/rate.ts'
import { within } from '../model/within.ts'
import { type KeyRow, SCOPES, type Scope } from '../store/api-keys.ts'
import type { KeyStore, Store } from '../store/store.ts'

/** What a key opens: one project, and of it what the scopes say. */
export interface Grant {
  readonly project: string
  readonly scopes: readonly Scope[]
  /** Rate limits of its own; where it has none, the gateway's. */
  readonly limits?: Partial<RateLimits>
}

/** Who is asking. */
export interface Principal extends Grant {
  /** Tells keys apart and opens nothing. */
  readonly keyId: string
}

/** How long a key that was looked up is trusted without asking the store again: revoking takes effect everywhere within it. */
const TRUST_MS = 5_000
/** While the store does not answer, a key that was good is trusted for so long. */
const TRUST_AWAY_MS = 60_000
/** A store that hangs is waited for so long for the sake of such a key, … */
const ASK_WAIT_MS = 500
/** … and asked again after so long. */
const AWAY_PAUSE_MS = 1_000
const HELD_MAX = 10_000
const KEY_CHARS_MAX = 512

interface Held {
  readonly principal: Principal
  readonly expiresMs: number
  readonly readMs: number
  /** When the store was asked in vain last. */
  readonly awayMs?: number
}

/**
 * API keys. Only their hashes are kept and compared: looking up a SHA-256 leaks nothing of a key by its timing, because
 * nobody can choose which prefix of a hash a guess shares.
 */
export class Keys {
  readonly #store: Store
  readonly #fixed: ReadonlyMap<string, Grant>
  readonly #now: () => number
  /** By hash. What strangers try is held apart, so that it drives no good key out. */
  readonly #good = new Map<string, Held>()
  readonly #bad = new Map<string, number>()
  /** When the store was last seen to have keys. */
  #listedMs = Number.NEGATIVE_INFINITY

  /** With `fixed` keys (by hash) the store's are not looked at. */
  constructor(store: Store, fixed: ReadonlyMap<string, Grant>, now: () => number) {
    this.#store = store
    this.#fixed = fixed
    this.#now = now
  }

  /** Undefined: no such key, or it was revoked, or its time is over. */
  async authenticate(key: string): Promise<Principal | undefined> {
    if (key.length > KEY_CHARS_MAX) return undefined
    const keyId = hashKey(key)
    if (this.#fixed.size > 0) {
      const grant = this.#fixed.get(keyId)
      return grant && { ...grant, keyId }
    }
    const nowMs = this.#now()
    const held = this.#good.get(keyId)
    if (held !== undefined && isTrusted(held, nowMs)) return valid(held, nowMs)
    const refusedMs = this.#bad.get(keyId)
    if (refusedMs !== undefined && isWithin(TRUST_MS, refusedMs, nowMs)) return undefined
    return this.#read(keyId, held)
  }

  /** Throws `store_unavailable` when the store knows no key at all: it was emptied, and nobody can be served. */
  async requireKeys(): Promise<void> {
    if (this.#fixed.size > 0) return
    const nowMs = this.#now()
    if (isWithin(TRUST_MS, this.#listedMs, nowMs)) return
    if ((await this.#store.listKeys()).length === 0) {
      throw new GatewayError(
        'store_unavailable',
        'the store has no API keys, it was emptied: restart the gateway, which makes a first key, or run its command keys',
      )
    }
    this.#listedMs = nowMs
  }

  async #read(keyId: string, held: Held | undefined): Promise<Principal | undefined> {
    let row: KeyRow | undefined
    try {
      const ask = (): Promise<KeyRow | undefined> => this.#store.readKey(keyId)
      // Only where there is something else to go by: the partition of the keys need not be the one that a request is about.
      const isBounded = held !== undefined && isWithin(TRUST_AWAY_MS, held.readMs, this.#now())
      row = await (isBounded ? within(ASK_WAIT_MS, ask) : ask())
    } catch (error) {
      const nowMs = this.#now()
      if (held !== undefined && isUnavailable(error) && isWithin(TRUST_AWAY_MS, held.readMs, nowMs)) {
        keep(this.#good, keyId, { ...held, awayMs: nowMs })
        return valid(held, nowMs)
      }
      throw error
    }
    const readMs = this.#now()
    this.#good.delete(keyId)
    if (row === undefined || row.revokedMs !== undefined) {
      keep(this.#bad, keyId, readMs)
      return undefined
    }
    const { project, scopes, limits, expiresMs = Number.POSITIVE_INFINITY } = row
    const fresh = { principal: { keyId, project, scopes, ...(limits && { limits }) }, expiresMs, readMs }
    keep(this.#good, keyId, fresh)
    return valid(fresh, readMs)
  }
}

function isTrusted({ readMs, awayMs }: Held, nowMs: number): boolean {
  if (isWithin(TRUST_MS, readMs, nowMs)) return true
  return awayMs !== undefined && isWithin(AWAY_PAUSE_MS, awayMs, nowMs) && isWithin(TRUST_AWAY_MS, readMs, nowMs)
}

/** Also false when the clock was set back: then ask again. */
function isWithin(ms: number, sinceMs: number, nowMs: number): boolean {
  return nowMs >= sinceMs && nowMs - sinceMs < ms
}

function valid({ principal, expiresMs }: Held, nowMs: number): Principal | undefined {
  return nowMs < expiresMs ? principal : undefined
}

/** The oldest makes room. */
function keep<V>(held: Map<string, V>, keyId: string, value: V): void {
  held.delete(keyId)
  if (held.size >= HELD_MAX) {
    for (const oldest of held.keys()) {
      held.delete(oldest)
      break
    }
  }
  held.set(keyId, value)
}

function isUnavailable(error: unknown): boolean {
  return error instanceof GatewayError && error.code === 'store_unavailable'
}

export function hashKey(key: string): string {
  return createHash('sha256').update(key).digest('hex')
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

/** Makes a key with every scope when the store has none; answers it, for it is shown this once. */
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
