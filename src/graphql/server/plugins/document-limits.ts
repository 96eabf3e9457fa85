import type { GraphQLLimits } from '../../context.ts'
import { parseDocument } from '../../documents/parse-document.ts'
import type { OperationPlugin } from '../yoga.ts'

/** Refuses documents that are too large to validate. Runs only for documents that are not cached. */
export function useDocumentLimits(limits: GraphQLLimits): OperationPlugin {
  const parseFn = (source: unknown) => parseDocument(String(source), limits)
  return {
    onParse({ setParseFn }) {
      setParseFn(parseFn)
    },
  }
}
