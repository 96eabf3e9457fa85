import { GatewayError } from './errors.ts'

/**
 * Returns the result of `start`. If `start` takes longer than `timeoutMs`, returns the result of `onTimeout`, which may
 * throw; by default it throws `store_unavailable`. A timeout does not stop the work of `start`; its later result or
 * error is ignored.
 */
export async function withTimeout<T>(
  timeoutMs: number,
  start: () => Promise<T>,
  onTimeout: () => T = throwStoreTimeout,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs)
  })
  try {
    return await Promise.race([start(), timeout.then(onTimeout)])
  } finally {
    clearTimeout(timer)
  }
}

function throwStoreTimeout(): never {
  throw new GatewayError('store_unavailable', 'the store does not respond in time')
}
