import type { ExecutionResult } from 'graphql'
import type { ErrorLog, GraphQLContext } from '../../context.ts'
import { causeOf, presentErrors } from '../errors.ts'
import { isAsyncIterable, mapResults, type OperationPlugin } from '../yoga.ts'

/**
 * Gives every error its code and HTTP status. An internal error is logged, and the client sees only the id of the
 * request, which is in the log.
 */
export function useErrorMasking(log: ErrorLog): OperationPlugin {
  const masked = (result: ExecutionResult, { requestId }: GraphQLContext): ExecutionResult =>
    result.errors === undefined ? result : { ...result, errors: presentErrors(result, requestId, log) }
  return {
    onExecutionResult({ result, setResult, context }) {
      if (result === undefined) return
      if (isAsyncIterable(result)) setResult(mapResults(result, (next) => masked(rethrow(next), context)))
      else setResult(masked(result, context))
    },
  }
}

/** Yoga turns an error that ends a stream into a result. `Streams` needs the error, to decide about reconnecting. */
function rethrow(result: ExecutionResult): ExecutionResult {
  const [error] = result.data === undefined ? (result.errors ?? []) : []
  const cause = error === undefined || error.path !== undefined ? undefined : causeOf(error)
  if (cause !== undefined) throw cause
  return result
}
