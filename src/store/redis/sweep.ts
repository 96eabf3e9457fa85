import { IDEMPOTENCY_MARKER_MS } from '../idempotency-keys.ts'
import { WATERMARK_MS } from '../lifetimes.ts'
import { type Engine, texts } from './engine.ts'
import { Call } from './scripts.ts'
import { finishClearing } from './sets.ts'

/** Rows of each kind that one call of `sweep.lua` removes: about a millisecond of the server. */
const SWEPT_PER_CALL = 100
/** Calls per partition of one sweep. The next sweep continues. */
const CALLS_MAX = 100

export async function sweep(engine: Engine, nowMs: number): Promise<void> {
  // A partition that is unavailable does not stop the sweep of the others.
  const sweeps = await Promise.allSettled(engine.all().map((partition) => sweepPartition(engine, partition, nowMs)))
  for (const result of sweeps) if (result.status === 'rejected') throw result.reason
}

export async function sweepPartition(engine: Engine, partition: number, nowMs: number): Promise<void> {
  const keys = engine.keys(partition)
  for (let calls = 0; calls < CALLS_MAX; calls++) {
    const found = await engine.call('zrangebyscore', keys.expiring, '-inf', nowMs, 'LIMIT', 0, SWEPT_PER_CALL)
    const blocks = texts(found)
    const call = new Call()
      .key(keys.watermarks, keys.writers, keys.markers, keys.expiring)
      .arg(nowMs, nowMs - WATERMARK_MS, nowMs - IDEMPOTENCY_MARKER_MS, SWEPT_PER_CALL, blocks.length)
    for (const block of blocks) call.key(keys.scalars(block), keys.sketches(block)).arg(block)
    const [watermarks, markers] = texts(await engine.run('sweep', call)).map(Number)
    if (Math.max(watermarks!, markers!, blocks.length) < SWEPT_PER_CALL) break
  }
  await finishClearing(engine, partition)
}
