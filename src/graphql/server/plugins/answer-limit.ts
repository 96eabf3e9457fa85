import { getOperationAST, OperationTypeNode } from 'graphql'
import type { GraphQLLimits } from '../../context.ts'
import { answerTooLarge } from '../../resolve/answer-size.ts'
import type { OperationPlugin } from '../yoga.ts'

/**
 * Refuses a query whose result was cut for its size: half of it would look complete. A mutation still reports what it
 * has stored.
 */
export function useAnswerLimit(limits: GraphQLLimits): OperationPlugin {
  return {
    onExecute({ args, context }) {
      return {
        onExecuteDone() {
          if (!context.answer.isOver) return
          const operation = getOperationAST(args.document, args.operationName)
          if (operation?.operation !== OperationTypeNode.MUTATION) throw answerTooLarge(limits)
        },
      }
    },
  }
}
