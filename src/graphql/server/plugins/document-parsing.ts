import { type DocumentNode, GraphQLError, parse } from 'graphql'
import { GatewayError } from '../../../model/errors.ts'
import { requireShortVariables, requireSmallDocument } from '../../documents/document-limits.ts'
import { type GraphQLLimits, listItemsMaxOf } from '../../operation-cost.ts'
import type { OperationPlugin } from '../yoga.ts'

/**
 * Parses documents, and refuses those that are too large before they are validated. Variables with a list that is too
 * long are refused before they are coerced. Cached documents are not parsed again.
 */
export function useDocumentParsing(limits: GraphQLLimits): OperationPlugin {
  const listItemsMax = listItemsMaxOf(limits)
  const parseFn = (source: unknown) => parseDocument(String(source), limits)
  return {
    onParse: ({ setParseFn }) => setParseFn(parseFn),
    onExecute: ({ args }) => requireShortVariables(args.variableValues, args.document, listItemsMax),
    onSubscribe: ({ args }) => requireShortVariables(args.variableValues, args.document, listItemsMax),
  }
}

/** Throws `query_too_large`, `batch_too_large` or a syntax error. */
export function parseDocument(text: string, limits: GraphQLLimits): DocumentNode {
  const document = parseTokens(text, limits.documentTokensMax)
  requireSmallDocument(document, limits)
  return document
}

function parseTokens(text: string, maxTokens: number): DocumentNode {
  try {
    return parse(text, { maxTokens })
  } catch (error) {
    // The parser is recursive: deep nesting may exhaust the stack before the depth is checked.
    if (error instanceof RangeError) throw new GatewayError('query_too_large', 'the document is nested too deeply')
    if (error instanceof GraphQLError && error.message.includes('tokens. Parsing aborted')) {
      throw new GatewayError('query_too_large', `a document may have at most ${maxTokens} tokens`, {
        details: { max: maxTokens },
      })
    }
    throw error
  }
}
