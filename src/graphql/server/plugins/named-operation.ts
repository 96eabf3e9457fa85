import { type DocumentNode, GraphQLError, getOperationAST } from 'graphql'
import type { OperationPlugin } from '../yoga.ts'

/** Refuses a request that does not identify one operation, with the messages of graphql-js. Yoga gives no reason. */
export function useNamedOperation(): OperationPlugin {
  return {
    onParse() {
      return ({ result, context }) => {
        if (result === null || result instanceof Error) return
        const document: DocumentNode = result
        const { operationName } = context.params
        if (!getOperationAST(document, operationName)) throw unknownOperation(operationName)
      }
    },
  }
}

function unknownOperation(name: string | undefined): GraphQLError {
  const message =
    name === undefined
      ? 'Must provide operation name if query contains multiple operations.'
      : `Unknown operation named "${name}".`
  return new GraphQLError(message, { extensions: { code: 'BAD_USER_INPUT' } })
}
