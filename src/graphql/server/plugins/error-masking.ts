import type { ExecutionResult } from 'graphql'
import type { GraphQLContext, InternalErrorLog } from '../../context.ts'
import { causeOf, toClientErrors } from '../errors.ts'
import { isAsyncIterable, mapResults, type OperationPlugin } from '../yoga.ts'

/**
 * Gives errors their codes, and errors of a whole request the HTTP status. An internal error is logged, and the client
 * sees only the id of the request, which is in the log.
 */
export function useErrorMasking(log: InternalErrorLog): OperationPlugin {
  const withClientErrors = (result: ExecutionResult, { requestId }: GraphQLContext): ExecutionResult =>
    result.errors === undefined ? result : { ...result, errors: toClientErrors(result, requestId, log) }
  return {
    onExecutionResult({ result, setResult, context }) {
      if (result === undefined) return
      if (isAsyncIterable(result))
        setResult(mapResults(result, (next) => withClientErrors(throwStreamError(next), context)))
      else setResult(withClientErrors(result, context))
    },
  }
}

/**
 * Throws the error that ended a stream: yoga converts it to a result, but the stream writer needs the error itself.
 * Returns any other result.
 */
function throwStreamError(result: ExecutionResult): ExecutionResult {
  const [error] = result.data === undefined ? (result.errors ?? []) : []
  const cause = error === undefined || error.path !== undefined ? undefined : causeOf(error)
  if (cause !== undefined) throw cause
  return result
}
