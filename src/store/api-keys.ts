import type { RateLimits } from '../model/rate.ts'

/** The stored row of an API key, and the scopes that a key can have. */

export const SCOPES = ['ingest', 'query', 'admin'] as const
export type Scope = (typeof SCOPES)[number]

export interface ApiKeyRow {
  /** SHA-256 of the key, in hexadecimal; the key itself is not stored. */
  readonly hash: string
  readonly project: string
  readonly scopes: readonly Scope[]
  readonly label: string
  readonly createdMs: number
  /** The gateway refuses the key from this time on. Undefined: never. */
  readonly expiresMs?: number
  /** Rate limits of this key. For a class of requests without a limit here, the limit of the gateway applies. */
  readonly limits?: Partial<RateLimits>
  /** When the key was revoked: the gateway refuses it. Undefined: it is not revoked. */
  readonly revokedMs?: number
}
