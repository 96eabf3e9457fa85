import { type DocumentNode, GraphQLError, type GraphQLSchema, parse, specifiedRules, validate } from 'graphql'
import { GatewayError } from '../../model/errors.ts'
import type { GraphQLLimits } from '../context.ts'
import { callersError, withCode } from '../server/errors.ts'
import { requireFitting } from './document-limits.ts'
import { NoIntrospection } from './no-introspection.ts'
import { TextCache } from './text-cache.ts'

/** A document that may be executed, or why it may not. */
export type Prepared =
  | { readonly document: DocumentNode; readonly errors?: undefined }
  | { readonly errors: readonly GraphQLError[] }

/** Documents above this are prepared each time: they hold their data, so they do not come again. */
const CACHED_CHARS_MAX = 16 * 1024
/** Of all cached documents. A parsed document takes some hundred bytes for each character of its text. */
const CACHE_CHARS_MAX = 256 * 1024

/** Parses and validates documents, and remembers those used last. */
export class Documents {
  readonly #schema: GraphQLSchema
  readonly #limits: GraphQLLimits
  readonly #rules: typeof specifiedRules
  readonly #prepared = new TextCache<Prepared>(CACHE_CHARS_MAX)

  constructor(schema: GraphQLSchema, limits: GraphQLLimits) {
    this.#schema = schema
    this.#limits = limits
    this.#rules = limits.introspection ? specifiedRules : [...specifiedRules, NoIntrospection]
  }

  prepare(text: string): Prepared {
    let prepared = this.#prepared.get(text)
    if (prepared === undefined) {
      prepared = this.#prepare(text)
      if (text.length <= CACHED_CHARS_MAX) this.#prepared.set(text, prepared, text.length)
    }
    return prepared
  }

  #prepare(text: string): Prepared {
    let document: DocumentNode
    try {
      document = parseDocument(text, this.#limits)
    } catch (error) {
      const presentable = callersError(error)
      if (presentable === undefined) throw error
      return { errors: withCode([presentable], 'GRAPHQL_PARSE_FAILED') }
    }
    const errors = validate(this.#schema, document, this.#rules)
    return errors.length === 0 ? { document } : { errors: withCode(errors, 'GRAPHQL_VALIDATION_FAILED') }
  }
}

/** Parses a document within the limits on its size. Throws `query_too_large`, `batch_too_large` or a syntax error. */
export function parseDocument(text: string, limits: GraphQLLimits): DocumentNode {
  const document = parseNested(text, limits.documentTokensMax)
  requireFitting(document, limits)
  return document
}

/** The parser calls itself for each level, so brackets without end exhaust the stack before any limit is counted. */
function parseNested(text: string, maxTokens: number): DocumentNode {
  try {
    return parse(text, { maxTokens })
  } catch (error) {
    if (error instanceof RangeError) throw new GatewayError('query_too_large', 'the document is nested too deeply')
    if (error instanceof GraphQLError && error.message.includes('tokens. Parsing aborted')) {
      throw new GatewayError('query_too_large', `a document may have at most ${maxTokens} tokens`, {
        details: { max: maxTokens },
      })
    }
    throw error
  }
}
