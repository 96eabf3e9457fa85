import { createHash } from 'node:crypto'
import { GraphQLError } from 'graphql'
import { LRUCache } from 'lru-cache'
import { GatewayError } from '../../model/errors.ts'

export interface PersistedSettings {
  /**
   * `optional`: an id refers to a registered document, or to one that a client sent with it before. `enforced`: only
   * registered documents run.
   */
  readonly mode: 'off' | 'optional' | 'enforced'
  /** Registered documents by their id. */
  readonly registered: ReadonlyMap<string, string>
  /** Total characters of cached documents that clients sent. */
  readonly charsMax: number
}

/** Characters of cached documents. If a document was evicted, its client sends it again. */
export const GRAPHQL_PERSISTED_CHARS_MAX = 4_194_304

/**
 * Finds the document of an id: the SHA-256 of its text (Apollo's automatic persisted queries) or the id of a registered
 * document. The hash of a document that a client sends is checked, so no client can replace the document of another.
 */
export class PersistedOperations {
  readonly #settings: PersistedSettings
  /** Documents by hash, bounded by their total length. */
  readonly #sent: LRUCache<string, string>
  readonly #registeredTexts: ReadonlySet<string>

  constructor(settings: PersistedSettings) {
    this.#settings = settings
    this.#sent = new LRUCache({ maxSize: settings.charsMax, sizeCalculation: ({ length }) => length || 1 })
    this.#registeredTexts = new Set(settings.registered.values())
  }

  /** Throws `invalid_body`, `forbidden`, or the errors after which Apollo clients retry with the document. */
  documentOf(query: string | undefined, id: string | undefined): string {
    const { mode, registered } = this.#settings
    if (id === undefined) {
      if (query === undefined) throw new GatewayError('invalid_body', '"query" is required: the GraphQL document')
      if (mode === 'enforced' && !this.#registeredTexts.has(query)) throw notRegistered()
      return query
    }
    const found = mode === 'off' ? undefined : registered.get(id)
    if (mode === 'enforced') {
      if (found === undefined || (query !== undefined && query !== found)) throw notRegistered()
      return found
    }
    if (query === undefined) {
      if (mode === 'off') throw requestDocument('PersistedQueryNotSupported', 'PERSISTED_QUERY_NOT_SUPPORTED')
      const known = found ?? this.#sent.get(id.toLowerCase())
      if (known === undefined) throw requestDocument('PersistedQueryNotFound', 'PERSISTED_QUERY_NOT_FOUND')
      return known
    }
    if (mode === 'optional' && query !== found) {
      if (hashOf(query) !== id.toLowerCase()) {
        throw new GatewayError('invalid_body', 'the persisted query hash is not the SHA-256 of "query"')
      }
      this.#sent.set(id.toLowerCase(), query)
    }
    return query
  }
}

function notRegistered(): GatewayError {
  return new GatewayError('forbidden', 'this gateway only runs registered operations')
}

function requestDocument(message: string, code: string): GraphQLError {
  return new GraphQLError(message, { extensions: { code } })
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
