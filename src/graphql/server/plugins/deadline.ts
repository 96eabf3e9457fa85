import { GatewayError } from '../../../model/errors.ts'
import { withTimeout } from '../../../model/with-timeout.ts'
import type { GraphQLLimits } from '../../operation-cost.ts'
import { isMutation } from '../operation-type.ts'
import type { OperationPlugin } from '../yoga.ts'

/**
 * If a query or mutation runs longer than `timeoutMs`, responds with an error, and its resolvers start no further work
 * and its queries stop. It is then unknown whether a mutation was executed.
 */
export function useDeadline({ timeoutMs }: GraphQLLimits): OperationPlugin {
  return {
    onExecute({ context, executeFn, setExecuteFn }) {
      setExecuteFn((args) => {
        const resultOrPromise: unknown = executeFn(args)
        if (!(resultOrPromise instanceof Promise)) return resultOrPromise
        return withTimeout(
          timeoutMs,
          () => resultOrPromise,
          () => {
            context.deadline.hasPassed = true
            context.session.abort(queryTimeoutError(timeoutMs))
            throw isMutation(args) ? mutationTimeoutError(timeoutMs) : queryTimeoutError(timeoutMs)
          },
        )
      })
    },
  }
}

function queryTimeoutError(timeoutMs: number): GatewayError {
  return new GatewayError('query_too_large', `the query took longer than ${timeoutMs} ms`, { details: { timeoutMs } })
}

function mutationTimeoutError(timeoutMs: number): GatewayError {
  return new GatewayError(
    'store_unavailable',
    `the mutation took longer than ${timeoutMs} ms; its points may have been stored`,
    { details: { timeoutMs, outcome: 'unknown' } },
  )
}
