import { GatewayError } from './errors.ts'

/**
 * The result of `start`, or that of `onTimeout` when it takes longer than `msMax`; `onTimeout` may throw. By default a
 * timeout rejects with `store_unavailable`. The work itself goes on after a timeout, and its result is ignored.
 */
export async function within<T>(
  msMax: number,
  start: () => Promise<T>,
  onTimeout: () => T = throwStoreTimeout,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, msMax)
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
