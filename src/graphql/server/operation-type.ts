import { type ExecutionArgs, getOperationAST, OperationTypeNode } from 'graphql'

type ExecutedOperation = Pick<ExecutionArgs, 'document' | 'operationName'>

export function isMutation({ document, operationName }: ExecutedOperation): boolean {
  return getOperationAST(document, operationName)?.operation === OperationTypeNode.MUTATION
}
