import { createHash } from 'node:crypto'
import { GraphQLError } from 'graphql'
import { GatewayError } from '../../model/errors.ts'
import { createTextCache, type TextCache } from './text-cache.ts'

export interface PersistedSettings {
  /**
   * `optional`: a hash names a document that a client has sent with it before, or a registered one. `enforced`: only
   * registered documents run.
   */
  readonly mode: 'off' | 'optional' | 'enforced'
  /** Registered documents by their id. */
  readonly registered: ReadonlyMap<string, string>
  /** Total characters of the documents that clients have sent with their hash. */
  readonly charsMax: number
}

/**
 * Looks up the document of a request that names it by an id: the SHA-256 of its text, as Apollo clients send it, or the
 * id of a registered document. A document that a client sends is stored only under its true hash, so nobody can replace
 * the document of others.
 */
export class PersistedOperations {
  readonly #settings: PersistedSettings
  /** By hash; the least recently used is evicted. */
  readonly #sent: TextCache<string>
  readonly #registeredTexts: ReadonlySet<string>

  constructor(settings: PersistedSettings) {
    this.#settings = settings
    this.#sent = createTextCache(settings.charsMax, (text) => text)
    this.#registeredTexts = new Set(settings.registered.values())
  }

  /** Throws `invalid_body`, `forbidden`, or the errors on which Apollo clients send the document. */
  documentOf(query: string | undefined, id: string | undefined): string {
    const { mode, registered } = this.#settings
    if (id === undefined) {
      if (query === undefined) throw new GatewayError('invalid_body', '"query" is missing: the GraphQL document')
      if (mode === 'enforced' && !this.#registeredTexts.has(query)) throw notRegistered()
      return query
    }
    const found = mode === 'off' ? undefined : registered.get(id)
    if (mode === 'enforced') {
      if (found === undefined || (query !== undefined && query !== found)) throw notRegistered()
      return found
    }
    if (query === undefined) {
      if (mode === 'off') throw askForText('PersistedQueryNotSupported', 'PERSISTED_QUERY_NOT_SUPPORTED')
      const known = found ?? this.#sent.get(id.toLowerCase())
      if (known === undefined) throw askForText('PersistedQueryNotFound', 'PERSISTED_QUERY_NOT_FOUND')
      return known
    }
    if (mode === 'optional' && query !== found) {
      if (hashOf(query) !== id.toLowerCase()) {
        throw new GatewayError('invalid_body', 'the hash of the persisted query is not the SHA-256 of "query"')
      }
      this.#sent.set(id.toLowerCase(), query)
    }
    return query
  }
}

function notRegistered(): GatewayError {
  return new GatewayError('forbidden', 'this gateway runs registered operations alone, and this is none')
}

function askForText(message: string, code: string): GraphQLError {
  return new GraphQLError(message, { extensions: { code } })
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
