import { createHash } from 'node:crypto'
import { GraphQLError } from 'graphql'
import { assert, GatewayError } from '../../model/errors.ts'
import type { RequestedDocument } from '../server/request-params.ts'
import { TextCache } from './text-cache.ts'

export interface PersistedSettings {
  /**
   * `optional`: a hash stands for a document that a client has sent with it before, or for a registered one; `enforced`: only
   * registered documents run.
   */
  readonly mode: 'off' | 'optional' | 'enforced'
  /** Registered documents by their id. */
  readonly registered: ReadonlyMap<string, string>
  /** Of the documents that clients have sent with their hash, together. */
  readonly charsMax: number
}

/**
 * Finds the document of a request that may name it by an id: the SHA-256 of its text as Apollo's clients send it, or the id of a
 * registered document. What a client sends is kept only under its true hash, so one cannot put words into another's mouth.
 */
export class PersistedOperations {
  readonly #settings: PersistedSettings
  /** By hash; what was used longest ago goes first. */
  readonly #sent: TextCache<string>
  readonly #registeredTexts: ReadonlySet<string>

  constructor(settings: PersistedSettings) {
    this.#settings = settings
    this.#sent = new TextCache(settings.charsMax)
    this.#registeredTexts = new Set(settings.registered.values())
  }

  /** Throws `invalid_body` for a wrong hash, `forbidden`, or the errors by which Apollo's clients know to send the document. */
  documentOf({ query, id }: RequestedDocument): string {
    const { mode, registered } = this.#settings
    if (id === undefined) {
      assert(query !== undefined, 'a request has a document or its id')
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
      this.#sent.set(id.toLowerCase(), query, query.length)
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
