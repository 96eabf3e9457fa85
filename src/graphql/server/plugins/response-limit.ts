import type { GraphQLLimits } from '../../operation-cost.ts'
import { responseTooLarge } from '../../resolve/response-size.ts'
import { isMutation } from '../operation-type.ts'
import type { OperationPlugin } from '../yoga.ts'

/**
 * Refuses a query whose result exceeded the response limit, because a partial result would look complete. A mutation
 * still reports what it stored.
 */
export function useResponseLimit(limits: GraphQLLimits): OperationPlugin {
  return {
    onExecute({ args, context }) {
      return {
        onExecuteDone() {
          if (context.responseBudget.isExceeded && !isMutation(args)) throw responseTooLarge(limits)
        },
      }
    },
  }
}
