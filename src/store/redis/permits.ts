import { floorTo } from '../../model/time.ts'
import type { PermitRequest } from '../store.ts'
import { digestOf, permitPartition } from './keys.ts'
import { type RedisAccess, texts } from './redis-access.ts'
import { Call } from './scripts.ts'

/** Takes permits of a rate limit: each window of time has a key of its own, which the server expires. */
export async function takePermits(
  redis: RedisAccess,
  request: PermitRequest,
): Promise<{ readonly granted: number; readonly left: number }> {
  const { bucket, permits, limit, windowMs, nowMs } = request
  const startMs = floorTo(nowMs, windowMs)
  const digest = digestOf(bucket)
  const key = redis.keys(permitPartition(bucket, redis.partitions)).permits(digest, windowMs, startMs)
  // Twice the window: the clocks of gateways differ by less than one.
  const call = new Call().key(key).arg(permits, limit, 2 * windowMs)
  const [granted, left] = texts(await redis.run('take-permits', call))
  return { granted: Number(granted), left: Number(left) }
}
