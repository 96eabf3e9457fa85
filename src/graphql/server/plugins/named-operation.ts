import { type DocumentNode, GraphQLError, getOperationAST, Kind } from 'graphql'
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
        if (!getOperationAST(document, operationName)) throw operationError(document, operationName)
      }
    },
  }
}

function operationError(document: DocumentNode, name: string | undefined): GraphQLError {
  return new GraphQLError(messageOf(document, name), { extensions: { code: 'BAD_USER_INPUT' } })
}

function messageOf({ definitions }: DocumentNode, name: string | undefined): string {
  if (name !== undefined) return `Unknown operation named "${name}".`
  return definitions.some(({ kind }) => kind === Kind.OPERATION_DEFINITION)
    ? 'Must provide operation name if query contains multiple operations.'
    : 'Must provide an operation.'
}
