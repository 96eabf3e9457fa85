import { createHash, randomBytes } from 'node:crypto'
import { type KeyRow, SCOPES, type Scope, type Store } from './store/store.ts'

/** Who is asking: a key belongs to one project. */
export interface Principal {
  readonly project: string
  readonly scopes: readonly Scope[]
}

/** How long a key that was looked up is trusted without asking the store again. */
const TRUST_MS = 5_000
const HELD_MAX = 10_000
const KEY_CHARS_MAX = 512

/**
 * API keys. Only their hashes are kept and compared: looking up a SHA-256 leaks nothing of a key by its timing, because
 * nobody can choose which prefix of a hash a guess shares.
 */
export class Keys {
  readonly #store: Store
  readonly #fixed: ReadonlyMap<string, Principal>
  readonly #now: () => number
  readonly #held = new Map<string, { readonly principal: Principal | undefined; readonly untilMs: number }>()

  /** With `fixed` keys (by hash) the store's are not looked at. */
  constructor(store: Store, fixed: ReadonlyMap<string, Principal>, now: () => number) {
    this.#store = store
    this.#fixed = fixed
    this.#now = now
  }

  /** Undefined: no such key, or it was revoked. */
  async authenticate(key: string): Promise<Principal | undefined> {
    if (key.length > KEY_CHARS_MAX) return undefined
    const hash = hashKey(key)
    if (this.#fixed.size > 0) return this.#fixed.get(hash)
    const held = this.#held.get(hash)
    if (held !== undefined && held.untilMs > this.#now()) return held.principal
    const row = await this.#store.readKey(hash)
    const principal =
      row === undefined || row.revokedMs !== undefined ? undefined : { project: row.project, scopes: row.scopes }
    if (this.#held.size >= HELD_MAX) this.#held.clear()
    this.#held.set(hash, { principal, untilMs: this.#now() + TRUST_MS })
    return principal
  }
}

export function hashKey(key: string): string {
  return createHash('sha256').update(key).digest('hex')
}

/** Makes a key with every scope when the store has none; answers it, for it is shown this once. */
export async function ensureFirstKey(store: Store, nowMs: number): Promise<string | undefined> {
  if ((await store.listKeys()).length > 0) return undefined
  const key = `gq_${randomBytes(24).toString('base64url')}`
  const row: KeyRow = {
    hash: hashKey(key),
    project: 'default',
    scopes: [...SCOPES],
    label: 'first key',
    createdMs: nowMs,
  }
  await store.saveKey(row)
  return key
}
