import type { RateLimits } from '../model/rate.ts'

/** What a store holds of an API key, and what a key may be allowed to do. */

export const SCOPES = ['ingest', 'query', 'admin'] as const
export type Scope = (typeof SCOPES)[number]

export interface KeyRow {
  /** SHA-256 of the key, in hexadecimal; the key itself is not stored. */
  readonly hash: string
  readonly project: string
  readonly scopes: readonly Scope[]
  readonly label: string
  readonly createdMs: number
  /** The key is refused from then on. */
  readonly expiresMs?: number
  /** Override the gateway's rate limits for this key. */
  readonly limits?: Partial<RateLimits>
  readonly revokedMs?: number
}
