import { type ExecutionArgs, getOperationAST, OperationTypeNode } from 'graphql'
import { GatewayError } from '../../../model/errors.ts'
import type { GraphQLLimits } from '../../context.ts'
import type { OperationPlugin } from '../yoga.ts'

/**
 * Responds when an operation runs longer than `timeoutMs`, and starts none of its fields any more. A query is then
 * `query_too_large`; the outcome of a mutation is unknown.
 */
export function useDeadline({ timeoutMs }: GraphQLLimits): OperationPlugin {
  return {
    onExecute({ context, executeFn, setExecuteFn }) {
      setExecuteFn((args) => {
        const running: unknown = executeFn(args)
        if (!(running instanceof Promise)) return running
        return withinTime(running, timeoutMs, () => {
          context.deadline.isOver = true
          return timedOut(args, timeoutMs)
        })
      })
    },
  }
}

async function withinTime<T>(running: Promise<T>, timeoutMs: number, expire: () => GatewayError): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(expire()), timeoutMs)
  })
  try {
    return await Promise.race([running, late])
  } finally {
    clearTimeout(timer)
  }
}

function timedOut({ document, operationName }: ExecutionArgs, timeoutMs: number): GatewayError {
  const details = { timeoutMs }
  return getOperationAST(document, operationName)?.operation === OperationTypeNode.MUTATION
    ? new GatewayError('store_unavailable', `the mutation took longer than ${timeoutMs} ms; it may have been stored`, {
        details: { ...details, outcome: 'unknown' },
      })
    : new GatewayError('query_too_large', `the query took longer than ${timeoutMs} ms`, { details })
}
