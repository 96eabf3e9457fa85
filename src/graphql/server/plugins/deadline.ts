import { GatewayError } from '../../../model/errors.ts'
import type { GraphQLLimits } from '../../context.ts'
import { isMutation } from '../operation-type.ts'
import type { OperationPlugin } from '../yoga.ts'

/**
 * Responds with an error when an operation runs longer than `timeoutMs`; no further resolver of it starts. The outcome
 * of a mutation is then unknown.
 */
export function useDeadline({ timeoutMs }: GraphQLLimits): OperationPlugin {
  return {
    onExecute({ context, executeFn, setExecuteFn }) {
      setExecuteFn((args) => {
        const running: unknown = executeFn(args)
        if (!(running instanceof Promise)) return running
        return withinTime(running, timeoutMs, () => {
          context.deadline.hasPassed = true
          return isMutation(args) ? mutationTimedOut(timeoutMs) : queryTimedOut(timeoutMs)
        })
      })
    },
  }
}

async function withinTime<T>(running: Promise<T>, timeoutMs: number, expire: () => GatewayError): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const expired = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(expire()), timeoutMs)
  })
  try {
    return await Promise.race([running, expired])
  } finally {
    clearTimeout(timer)
  }
}

function queryTimedOut(timeoutMs: number): GatewayError {
  return new GatewayError('query_too_large', `the query took longer than ${timeoutMs} ms`, { details: { timeoutMs } })
}

function mutationTimedOut(timeoutMs: number): GatewayError {
  return new GatewayError(
    'store_unavailable',
    `the mutation took longer than ${timeoutMs} ms; its points may have been stored`,
    { details: { timeoutMs, outcome: 'unknown' } },
  )
}
