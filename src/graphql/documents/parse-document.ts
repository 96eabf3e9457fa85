import { type DocumentNode, GraphQLError, parse } from 'graphql'
import { GatewayError } from '../../model/errors.ts'
import type { GraphQLLimits } from '../context.ts'
import { requireFitting } from './document-limits.ts'

/** Parses a document and checks its size. Throws `query_too_large`, `batch_too_large` or a syntax error. */
export function parseDocument(text: string, limits: GraphQLLimits): DocumentNode {
  const document = parseNested(text, limits.documentTokensMax)
  requireFitting(document, limits)
  return document
}

/** The parser is recursive: deep nesting exhausts the stack before any limit is counted. */
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
