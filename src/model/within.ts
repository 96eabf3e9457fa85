import { GatewayError } from './errors.ts'

/** Rejects with `store_unavailable` when the store keeps a call waiting for longer than that. */
export async function within<T>(msMax: number, ask: () => Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new GatewayError('store_unavailable', 'the store does not answer')), msMax)
  })
  try {
    return await Promise.race([ask(), late])
  } finally {
    clearTimeout(timer)
  }
}
