import { Redis } from 'ioredis'
import { readConfig } from '../src/config/config.ts'
import { Arena } from '../src/rollup/arena.ts'
import { partitionKeys } from '../src/store/redis/keys.ts'
import { openRedisStore } from '../src/store/redis/redis-store.ts'
import { openAllBlocks } from '../src/write/fold/timeline-blocks.ts'
import { BIN_BUDGET, binsOf } from './bytes.ts'
import { COUNTER, DISTRIBUTION } from './day.ts'
import { median, type Report } from './report.ts'
import type { BenchStore } from './store.ts'

/** Measures the memory that stored rollups use in Redis, including keys and the server's overhead, by MEMORY USAGE. */

const PROJECT = 'bench'
const ALWAYS = { fromMs: 0, toMs: Number.MAX_SAFE_INTEGER }
/** A point every 15 s: a bucket of 10 s holds one. */
const ONE_VALUE_BUDGET = 10
const SEVERAL_BUDGET = 36
const ONE_VALUE_STEP_MS = 10_000
const KEYS_AT_ONCE = 500

export async function measureRedisMemory(report: Report, { env }: BenchStore): Promise<void> {
  const section = 'memory of Redis for a stored rollup: keys, blocks and index; 1,000 series × 24 h'
  const config = readConfig(env)
  const { resolutions } = config.store
  const { url, prefix } = config.redis
  const store = await openRedisStore({ ...config.store, ...config.redis })
  const client = new Redis(url!)
  try {
    for (const name of [COUNTER, DISTRIBUTION]) {
      const { metricId, partition, type } = (await store.readMetric(PROJECT, name))!
      const keys = partitionKeys(prefix, partition)
      for (const { bucketWidthMs } of resolutions) {
        const timelines = [{ resolutionMs: bucketWidthMs, stretch: ALWAYS }]
        const index = await store.readIndex({ partition, metricId, withInbox: false, timelines })
        const { entries } = index.timelines[0]!
        const blocks = entries.map(({ block }) => block)
        const rollups = entries.reduce((sum, entry) => sum + entry.rollupCount, 0)
        if (rollups === 0) continue
        const timeline = await memoryOf(client, [keys.timeline({ metricId, resolutionMs: bucketWidthMs })])
        const scalars = await memoryOf(client, blocks.map(keys.scalars))
        const title = `${type} at ${bucketWidthMs / 1_000} s`
        report.add({
          section,
          name: title,
          measured: (timeline + scalars) / rollups,
          unit: 'B',
          budget: bucketWidthMs === ONE_VALUE_STEP_MS ? ONE_VALUE_BUDGET : SEVERAL_BUDGET,
          note: `${rollups.toLocaleString('en-US')} rollups in ${entries.length} blocks, median ${median(entries.map((entry) => entry.rollupCount))}`,
        })
        const sketches = await memoryOf(client, blocks.map(keys.sketches))
        if (sketches === 0) continue
        const opened = (await openAllBlocks(store, partition, blocks, new Arena()))!
        const bins = opened.flatMap((block) => block.sections).reduce((sum, rows) => sum + binsOf(rows), 0)
        const note = `${(bins / rollups).toFixed(1)} bins a rollup`
        report.add({ section, name: `${title}, a bin`, measured: sketches / bins, unit: 'B', budget: BIN_BUDGET, note })
      }
    }
  } finally {
    client.disconnect()
    await store.close()
  }
}

/** Keys that do not exist count as 0 bytes. */
async function memoryOf(client: Redis, keys: readonly string[]): Promise<number> {
  let bytes = 0
  for (let from = 0; from < keys.length; from += KEYS_AT_ONCE) {
    const pipeline = client.pipeline()
    for (const key of keys.slice(from, from + KEYS_AT_ONCE)) pipeline.memory('USAGE', key)
    for (const [error, reply] of (await pipeline.exec()) ?? []) {
      if (error !== null) throw error
      bytes += Number(reply ?? 0)
    }
  }
  return bytes
}
