import { type ExecutionArgs, getOperationAST, OperationTypeNode } from 'graphql'

type Operation = Pick<ExecutionArgs, 'document' | 'operationName'>

export function isMutation({ document, operationName }: Operation): boolean {
  return getOperationAST(document, operationName)?.operation === OperationTypeNode.MUTATION
}
