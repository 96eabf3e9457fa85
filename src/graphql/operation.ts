import {
  type DocumentNode,
  type ExecutionResult,
  execute,
  type GraphQLSchema,
  getOperationAST,
  type OperationDefinitionNode,
  OperationTypeNode,
  subscribe,
} from 'graphql'
import { GatewayError } from '../model/errors.ts'
import { answerTooLarge } from './answer-size.ts'
import type { GraphQLContext } from './context.ts'
import { requireShortVariables } from './documents/document-limits.ts'
import { withCode } from './server/errors.ts'

export interface OperationParams {
  readonly operationName?: string
  readonly variables?: Readonly<Record<string, unknown>>
}

/** The operation that a request names; undefined when there is no such one, which execution reports. */
export function operationOf(document: DocumentNode, name: string | undefined): OperationDefinitionNode | undefined {
  return getOperationAST(document, name) ?? undefined
}

/**
 * Runs a query or a mutation that has been validated. After `context.limits.timeoutMs` nobody waits for it and none of its fields
 * is begun any more: a query is then `query_too_large`, of a mutation the outcome is unknown.
 */
export async function runOperation(
  schema: GraphQLSchema,
  document: DocumentNode,
  operation: OperationDefinitionNode | undefined,
  { operationName, variables }: OperationParams,
  context: GraphQLContext,
): Promise<ExecutionResult> {
  requireShortVariables(variables, document, context.limits.listItemsMax)
  const running = execute({
    schema,
    document,
    contextValue: context,
    ...(variables && { variableValues: variables }),
    ...(operationName !== undefined && { operationName }),
  })
  const result = running instanceof Promise ? await withinTime(running, operation, context) : running
  // A part of it would tell that there is nothing where there is too much. What a mutation has stored, it tells.
  if (context.answer.isOver && operation?.operation !== OperationTypeNode.MUTATION) throw answerTooLarge(context.limits)
  // Without data nothing was run: a variable or the operation's name does not fit.
  if (result.errors !== undefined && result.data === undefined) withCode(result.errors, 'BAD_USER_INPUT')
  return result
}

/**
 * Begins a subscription that has been validated. What it tells is pulled from the iterator; a result without one says why it
 * could not begin.
 */
export async function beginSubscription(
  schema: GraphQLSchema,
  document: DocumentNode,
  { operationName, variables }: OperationParams,
  context: GraphQLContext,
): Promise<AsyncIterator<ExecutionResult>> {
  requireShortVariables(variables, document, context.limits.listItemsMax)
  const begun = await subscribe({
    schema,
    document,
    contextValue: context,
    ...(variables && { variableValues: variables }),
    ...(operationName !== undefined && { operationName }),
  })
  return Symbol.asyncIterator in begun ? begun : toldOnce(begun)
}

/** What is answered once, told as a stream tells it. */
export async function* toldOnce(
  result: ExecutionResult | Promise<ExecutionResult>,
): AsyncGenerator<ExecutionResult, void> {
  yield await result
}

async function withinTime<T>(
  running: Promise<T>,
  operation: OperationDefinitionNode | undefined,
  { limits: { timeoutMs }, deadline }: GraphQLContext,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      deadline.isOver = true
      reject(timedOut(operation, timeoutMs))
    }, timeoutMs)
  })
  try {
    return await Promise.race([running, late])
  } finally {
    clearTimeout(timer)
  }
}

function timedOut(operation: OperationDefinitionNode | undefined, timeoutMs: number): GatewayError {
  const details = { timeoutMs }
  return operation?.operation === OperationTypeNode.MUTATION
    ? new GatewayError('store_unavailable', `the mutation took longer than ${timeoutMs} ms; it may have been stored`, {
        details: { ...details, outcome: 'unknown' },
      })
    : new GatewayError('query_too_large', `the query took longer than ${timeoutMs} ms`, { details })
}
