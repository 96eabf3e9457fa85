import { type DocumentNode, GraphQLError, Kind, type ParseOptions, parse, type Source, visit } from 'graphql'
import type { GraphQLLimits } from './context.ts'

/**
 * Parses a document within limits on its size. Validation and execution take longer than linear time in the number of fields
 * and in depth, so these are refused before; arguments, such as a batch written out, may be many.
 */
export function parseDocument(
  source: string | Source,
  options: ParseOptions | undefined,
  limits: GraphQLLimits,
): DocumentNode {
  const document = parseNested(source, { ...options, maxTokens: limits.documentTokensMax })
  let fields = 0
  let depth = 0
  visit(document, {
    Field: () => {
      if (++fields > limits.documentFieldsMax) throw tooLarge('fields', limits.documentFieldsMax)
    },
    FragmentSpread: () => {
      if (++fields > limits.documentFieldsMax) throw tooLarge('fields', limits.documentFieldsMax)
    },
    SelectionSet: {
      enter: () => {
        if (++depth > limits.documentDepthMax) throw tooLarge('nested selections', limits.documentDepthMax)
      },
      leave: () => {
        depth--
      },
    },
    // Neither holds fields, and a batch written out holds many.
    Argument: () => false,
    [Kind.VARIABLE_DEFINITION]: () => false,
  })
  return document
}

/** The parser calls itself for each level, so brackets without end exhaust the stack before any limit is counted. */
function parseNested(source: string | Source, options: ParseOptions): DocumentNode {
  try {
    return parse(source, options)
  } catch (error) {
    if (error instanceof RangeError) throw refused('the document is nested too deeply')
    throw error
  }
}

function tooLarge(what: string, max: number): GraphQLError {
  return refused(`a document may have at most ${max} ${what}`)
}

function refused(message: string): GraphQLError {
  return new GraphQLError(message, { extensions: { code: 'QUERY_TOO_LARGE', http: { spec: true, status: 400 } } })
}

/** Documents above this are parsed each time: they hold their data, so they do not come again. */
const CACHED_CHARS_MAX = 16 * 1024
/** Of all cached documents. A parsed document takes some hundred bytes for each character of its text. */
const CACHE_CHARS_MAX = 256 * 1024

/** Keeps what belongs to the texts used last, bounded by their length. */
export class DocumentCache<T> {
  readonly #entries = new Map<string, T>()
  #chars = 0

  get(text: string): T | undefined {
    const entry = this.#entries.get(text)
    if (entry === undefined) return undefined
    this.#entries.delete(text)
    this.#entries.set(text, entry)
    return entry
  }

  set(text: string, entry: T): void {
    if (text.length > CACHED_CHARS_MAX) return
    if (!this.#entries.has(text)) this.#chars += text.length
    this.#entries.set(text, entry)
    for (const oldest of this.#entries.keys()) {
      if (this.#chars <= CACHE_CHARS_MAX) break
      this.#entries.delete(oldest)
      this.#chars -= oldest.length
    }
  }
}
