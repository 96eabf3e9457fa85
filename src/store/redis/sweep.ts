import { IDEMPOTENCY_MARKER_KEPT_MS, WATERMARK_KEPT_MS } from '../bookkeeping-lifetimes.ts'
import { type RedisAccess, textList } from './redis-access.ts'
import { ScriptCall } from './scripts.ts'
import { finishClearing } from './sets.ts'

/** One call of `sweep.lua` removes at most this many watermarks, markers and blocks each, which takes about 1 ms. */
const SWEPT_PER_CALL = 100
/** Maximum number of calls per partition in one sweep. The next sweep removes what is left. */
const CALLS_PER_SWEEP_MAX = 100

export async function sweep(redis: RedisAccess, nowMs: number): Promise<void> {
  // The other partitions are swept even if one is unavailable.
  const sweeps = await Promise.allSettled(
    redis.allPartitions().map((partition) => sweepPartition(redis, partition, nowMs)),
  )
  for (const result of sweeps) if (result.status === 'rejected') throw result.reason
}

export async function sweepPartition(redis: RedisAccess, partition: number, nowMs: number): Promise<void> {
  const keys = redis.keys(partition)
  for (let calls = 0; calls < CALLS_PER_SWEEP_MAX; calls++) {
    const reply = await redis.call('zrangebyscore', keys.expiringBlocks, '-inf', nowMs, 'LIMIT', 0, SWEPT_PER_CALL)
    const blocks = textList(reply)
    const call = new ScriptCall()
      .key(keys.watermarks, keys.writers, keys.markers, keys.expiringBlocks)
      .arg(nowMs, nowMs - WATERMARK_KEPT_MS, nowMs - IDEMPOTENCY_MARKER_KEPT_MS, SWEPT_PER_CALL, blocks.length)
    for (const block of blocks) call.key(keys.scalars(block), keys.sketches(block)).arg(block)
    const [watermarks, markers] = textList(await redis.run('sweep', call)).map(Number)
    if (Math.max(watermarks!, markers!, blocks.length) < SWEPT_PER_CALL) break
  }
  await finishClearing(redis, partition)
}
