import { type ExecutionResult, getOperationAST, Kind, type OperationDefinitionNode, OperationTypeNode } from 'graphql'
import type { GraphQLContext } from '../../context.ts'
import { isAsyncIterable, type OperationPlugin } from '../yoga.ts'

/** A late point may still change a range of the past: clients may keep a response to GET for so long. */
const CLOSED_AGE_SECONDS = 60

/** Lets clients cache a GET whose queries all lie in the past. */
export function useCacheControl(): OperationPlugin {
  return {
    onExecute({ args, context }) {
      if (context.request.method !== 'GET') return
      return {
        onExecuteDone({ result, setResult }) {
          const operation = getOperationAST(args.document, args.operationName)
          if (!operation || isAsyncIterable(result) || !isClosed(operation, result, context)) return
          setResult({
            ...result,
            extensions: { http: { headers: { 'cache-control': `private, max-age=${CLOSED_AGE_SECONDS}` } } },
          })
        },
      }
    },
  }
}

/** Whether a result holds nothing but queries over ranges that lie in the past. */
function isClosed(
  { operation, selectionSet }: OperationDefinitionNode,
  { errors }: ExecutionResult,
  { openRanges }: GraphQLContext,
): boolean {
  return (
    errors === undefined &&
    openRanges.count === 0 &&
    operation === OperationTypeNode.QUERY &&
    selectionSet.selections.every(
      (selection) =>
        selection.kind === Kind.FIELD && (selection.name.value === 'query' || selection.name.value === '__typename'),
    )
  )
}
