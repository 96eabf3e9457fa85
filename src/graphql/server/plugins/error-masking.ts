import type { ExecutionResult } from 'graphql'
import type { ErrorLog, GraphQLContext } from '../../context.ts'
import { causeOf, presentErrors } from '../errors.ts'
import { isAsyncIterable, mapResults, type OperationPlugin } from '../yoga.ts'

/**
 * Gives every error its code, its HTTP status and, when it is internal, the id of the request by which the log knows
 * it. Clients see nothing else of internal errors.
 */
export function useErrorMasking(log: ErrorLog): OperationPlugin {
  return {
    onExecutionResult({ result, setResult, context }) {
      if (result === undefined) return
      if (isAsyncIterable(result)) setResult(mapResults(result, (next) => masked(rethrow(next), context, log)))
      else if (result.errors !== undefined) setResult(masked(result, context, log))
    },
  }
}

function masked(result: ExecutionResult, { requestId }: GraphQLContext, log: ErrorLog): ExecutionResult {
  return result.errors === undefined ? result : { ...result, errors: presentErrors(result, requestId, log) }
}

/**
 * Yoga turns an error that ends a stream into a result. The stream needs the error: whether clients connect again
 * depends on it.
 */
function rethrow(result: ExecutionResult): ExecutionResult {
  const [error] = result.data === undefined ? (result.errors ?? []) : []
  const cause = error === undefined || error.path !== undefined ? undefined : causeOf(error)
  if (cause !== undefined) throw cause
  return result
}
