import { floorTo } from '../../model/time.ts'
import type { PermitRequest } from '../store.ts'
import { digestOf, permitPartition } from './keys.ts'
import { type RedisAccess, textList } from './redis-access.ts'
import { ScriptCall } from './scripts.ts'

/** Takes permits of a rate limit. For each limit and time window, a key in Redis counts the permits that were taken. */
export async function takePermits(
  redis: RedisAccess,
  request: PermitRequest,
): Promise<{ readonly granted: number; readonly left: number }> {
  const { limitKey, permits, limit, windowWidthMs, nowMs } = request
  const startMs = floorTo(nowMs, windowWidthMs)
  const digest = digestOf(limitKey)
  const key = redis.keys(permitPartition(limitKey, redis.partitions)).permits(digest, windowWidthMs, startMs)
  // The key expires two windows after the last grant. So gateways whose clocks differ by up to one window share it.
  const call = new ScriptCall().key(key).arg(permits, limit, 2 * windowWidthMs)
  const [granted, left] = textList(await redis.run('take-permits', call))
  return { granted: Number(granted), left: Number(left) }
}
