import { type DocumentNode, GraphQLError, getOperationAST } from 'graphql'
import type { OperationPlugin } from '../yoga.ts'

/**
 * Refuses a request that does not identify one operation of its document. Uses the messages of graphql-js, because yoga
 * responds without a reason.
 */
export function useNamedOperation(): OperationPlugin {
  return {
    onParse() {
      return ({ result, context }) => {
        if (result === null || result instanceof Error) return
        const document: DocumentNode = result
        const { operationName } = context.params
        if (!getOperationAST(document, operationName)) throw unknownOperationError(operationName)
      }
    },
  }
}

function unknownOperationError(name: string | undefined): GraphQLError {
  const message =
    name === undefined
      ? 'Must provide operation name if query contains multiple operations.'
      : `Unknown operation named "${name}".`
  return new GraphQLError(message, { extensions: { code: 'BAD_USER_INPUT' } })
}
