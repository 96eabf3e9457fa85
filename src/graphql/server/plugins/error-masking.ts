import type { ExecutionResult } from 'graphql'
import { GatewayError } from '../../../model/errors.ts'
import type { ErrorLog, GraphQLContext } from '../../context.ts'
import { causeOf, presentErrors } from '../errors.ts'
import { isAsyncIterable, mapResults, type OperationPlugin } from '../yoga.ts'

/**
 * Gives every error its code, its HTTP status and, when it is internal, the id of the request by which the log knows it. Clients see
 * nothing else of internal errors.
 */
export function useErrorMasking(log: ErrorLog): OperationPlugin {
  return {
    onExecutionResult({ result, setResult, context }) {
      if (result === undefined) return
      if (isAsyncIterable(result)) setResult(mapResults(result, (next) => masked(rethrowCut(next), context, log)))
      else if (result.errors !== undefined) setResult(masked(result, context, log))
    },
  }
}

function masked(result: ExecutionResult, { requestId }: GraphQLContext, log: ErrorLog): ExecutionResult {
  return result.errors === undefined ? result : { ...result, errors: presentErrors(result, requestId, log) }
}

/** Yoga makes a result of an error that ends a stream. The one that asks clients to reconnect must cut the stream off instead. */
function rethrowCut(result: ExecutionResult): ExecutionResult {
  for (const error of result.errors ?? []) {
    const cause = causeOf(error)
    if (cause instanceof GatewayError && cause.details?.['reconnect'] === true) throw cause
  }
  return result
}
