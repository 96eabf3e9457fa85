import type { GraphQLLimits } from '../../context.ts'
import { requireShortVariables } from '../../documents/document-limits.ts'
import type { OperationPlugin } from '../yoga.ts'

/**
 * Refuses long lists in variables before their items are coerced. Lists in the document are among the document limits.
 */
export function useListLimits({ listItemsMax }: GraphQLLimits): OperationPlugin {
  return {
    onExecute({ args }) {
      requireShortVariables(args.variableValues, args.document, listItemsMax)
    },
    onSubscribe({ args }) {
      requireShortVariables(args.variableValues, args.document, listItemsMax)
    },
  }
}
