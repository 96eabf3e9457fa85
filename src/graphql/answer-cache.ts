import { createHash } from 'node:crypto'
import { type ExecutionResult, Kind, type OperationDefinitionNode, OperationTypeNode } from 'graphql'
import type { GraphQLContext } from './context.ts'

/** A late point may still change a range of the past: an answer to a GET is at most so old, in seconds. */
export const CLOSED_AGE_SECONDS = 60

/** Whether an answer holds nothing but queries over ranges that lie entirely in the past. */
export function isClosedAnswer(
  operation: OperationDefinitionNode,
  { errors }: ExecutionResult,
  { openRanges }: GraphQLContext,
): boolean {
  return (
    errors === undefined &&
    openRanges.count === 0 &&
    operation.operation === OperationTypeNode.QUERY &&
    operation.selectionSet.selections.every(
      (selection) =>
        selection.kind === Kind.FIELD && (selection.name.value === 'query' || selection.name.value === '__typename'),
    )
  )
}

export function etagOf(body: string): string {
  return `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`
}
