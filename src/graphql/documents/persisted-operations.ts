import { createHash } from 'node:crypto'
import { GraphQLError } from 'graphql'
import { LRUCache } from 'lru-cache'
import { GatewayError } from '../../model/errors.ts'

export interface PersistedOperationSettings {
  /**
   * `off`: requests must contain their document; an id beside it is ignored. `optional`: a request may have an id
   * instead, of a registered document or of one that a client sent with this id before. `enforced`: only registered
   * documents run.
   */
  readonly mode: 'off' | 'optional' | 'enforced'
  /** Registered documents by their id. */
  readonly registeredDocuments: ReadonlyMap<string, string>
  /** Maximum total number of characters of the cached documents that clients sent. */
  readonly sentDocumentCharsMax: number
}

/**
 * Maximum total number of characters of the cached documents that clients sent. After a document is evicted, its client
 * sends it again.
 */
export const GRAPHQL_SENT_DOCUMENT_CHARS_MAX = 4_194_304

/**
 * Persisted operations: requests that contain an id instead of a GraphQL document. The id is the SHA-256 of a document
 * that a client sent before (Apollo's automatic persisted queries), or the id of a registered document. The hash of a
 * sent document is verified before it is cached, so no client can replace the document of another.
 */
export class PersistedOperations {
  readonly #settings: PersistedOperationSettings
  /** Documents that clients have sent, by hash; bounded by their total length. */
  readonly #clientDocuments: LRUCache<string, string>
  readonly #registeredTexts: ReadonlySet<string>

  constructor(settings: PersistedOperationSettings) {
    this.#settings = settings
    this.#clientDocuments = new LRUCache({
      maxSize: settings.sentDocumentCharsMax,
      sizeCalculation: ({ length }) => length || 1,
    })
    this.#registeredTexts = new Set(settings.registeredDocuments.values())
  }

  /**
   * Returns the document of a request. Throws `invalid_body`, `forbidden`, or the error codes of Apollo after which
   * clients send the request again with the document.
   */
  findDocument(query: string | undefined, id: string | undefined): string {
    const { mode, registeredDocuments } = this.#settings
    if (id === undefined) {
      if (query === undefined) throw new GatewayError('invalid_body', '"query" is required: the GraphQL document')
      if (mode === 'enforced' && !this.#registeredTexts.has(query)) throw notRegisteredError()
      return query
    }
    const registered = mode === 'off' ? undefined : registeredDocuments.get(id)
    if (mode === 'enforced') {
      if (registered === undefined || (query !== undefined && query !== registered)) throw notRegisteredError()
      return registered
    }
    if (query === undefined) {
      if (mode === 'off') throw persistedQueryError('PersistedQueryNotSupported', 'PERSISTED_QUERY_NOT_SUPPORTED')
      const document = registered ?? this.#clientDocuments.get(id.toLowerCase())
      if (document === undefined) throw persistedQueryError('PersistedQueryNotFound', 'PERSISTED_QUERY_NOT_FOUND')
      return document
    }
    if (mode === 'optional' && query !== registered) {
      if (hashOf(query) !== id.toLowerCase()) {
        throw new GatewayError('invalid_body', 'the persisted query hash is not the SHA-256 of "query"')
      }
      this.#clientDocuments.set(id.toLowerCase(), query)
    }
    return query
  }
}

function notRegisteredError(): GatewayError {
  return new GatewayError('forbidden', 'this gateway only runs registered operations')
}

function persistedQueryError(message: string, code: string): GraphQLError {
  return new GraphQLError(message, { extensions: { code } })
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
