import type { GraphQLLimits } from '../../operation-cost.ts'
import { responseTooLargeError } from '../../resolve/response-size.ts'
import { isMutation } from '../operation-type.ts'
import type { OperationPlugin } from '../yoga.ts'

/**
 * Replaces the result of a query by an error if it exceeded the response limit, because a partial result would look
 * complete. The result of a mutation is kept, so that the client knows what was stored.
 */
export function useResponseLimit(limits: GraphQLLimits): OperationPlugin {
  return {
    onExecute({ args, context }) {
      return {
        onExecuteDone() {
          if (context.responseFieldBudget.isExceeded && !isMutation(args)) throw responseTooLargeError(limits)
        },
      }
    },
  }
}
