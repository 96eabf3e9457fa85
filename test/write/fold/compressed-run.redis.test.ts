import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { FLAG_DEFLATED, SCALARS_MAGIC } from '../../../src/rollup/block/block-format.ts'
import { openRedisStore } from '../../../src/store/redis/redis-store.ts'
import type { Store } from '../../../src/store/store.ts'
import { foldInbox } from '../../../src/write/fold/fold.ts'
import { mergeWindow } from '../../../src/write/fold/merge-window.ts'
import { RUNS_PER_MERGE } from '../../../src/write/fold/runs-to-merge.ts'
import { ask, decoderOf, FOLD_SETTINGS, openStore, openWriter, PROJECT, T0_MS } from '../../support/engine.ts'
import { FaultyStore } from '../../support/faulty-store.ts'
import { type RedisServer, startRedis } from '../../support/redis-server.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'
import { entriesOf, NOW_MS, windowOf } from './harness.ts'

/** The first run that is compressed has the data of 512 folds, and needs a further run of 64. */
const FOLDS = RUNS_PER_MERGE ** 3 + RUNS_PER_MERGE ** 2
const HOSTS = 20
const BUCKETS = 30

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server?.stop())

const openers: Readonly<Record<string, () => Promise<() => Promise<Store>>>> = {
  'the embedded store': async () => {
    const folder = await temporaryFolder()
    return () => openStore(folder, 1)
  },
  Redis: async () => {
    const { resolutions, setResolutions } = FOLD_SETTINGS
    const options = { url: server.url, prefix: 'compressed', partitions: 1, resolutions, setResolutions }
    return () => openRedisStore(options)
  },
}

test.each(Object.keys(openers))(
  '%s: a merge that writes a compressed run fails, and succeeds after a restart',
  async (name) => {
    const open = await openers[name]!()
    const store = await open()
    const writer = openWriter(store)
    for (let n = 0; n < FOLDS; n++) {
      await writer.track(PROJECT, decoderOf(pointsOf(n)))
      await foldInbox(store, 0, FOLD_SETTINGS, NOW_MS)
      // Merges into tiers 1 and 2. The merge into tier 3 is left for later.
      for (const folds of [RUNS_PER_MERGE, RUNS_PER_MERGE ** 2]) if ((n + 1) % folds === 0) await merge(store)
    }
    await writer.close()
    expect(await tiersOf(store)).toEqual(Array(9).fill(2))
    const expected = await answersOf(store)
    expect(expected.count).toBe(FOLDS * HOSTS)

    const faulty = new FaultyStore(store)
    faulty.next('commitFold', () => Promise.reject(new Error('the disk broke')))
    await expect(merge(faulty.store)).rejects.toThrow('the disk broke')
    expect(faulty.calls('writeBlocks')).toHaveLength(1)
    expect(await answersOf(store)).toEqual(expected)
    await store.close()

    const restarted = await open()
    expect(await answersOf(restarted)).toEqual(expected)
    const step = await merge(restarted)
    expect(step).toMatchObject({ isComplete: true })
    expect(await tiersOf(restarted)).toEqual([3, 2])
    expect(await answersOf(restarted)).toEqual(expected)
    await restarted.close()

    const last = await open()
    onTestFinished(() => last.close())
    expect(await answersOf(last)).toEqual(expected)
    const [entry] = await entriesOf(last, 'ms', 10_000)
    const [scalars] = await last.readBlocks(0, [entry!.block], 'scalars')
    expect(scalars![SCALARS_MAGIC.length + 1]! & FLAG_DEFLATED).toBe(FLAG_DEFLATED)
  },
)

/** One value for each host. The values repeat, so that their blocks can be compressed. */
function pointsOf(n: number) {
  return Array.from({ length: HOSTS }, (_, host) => ({
    name: 'ms',
    type: 'distribution' as const,
    value: 50 + ((n * 7 + host) % 13),
    timeMs: T0_MS + (n % BUCKETS) * 10_000,
    tags: { host: `${host}` },
  }))
}

const merge = async (store: Store) =>
  mergeWindow(store, 0, await windowOf(store, 'ms', 10_000), { isSealing: false, nowMs: NOW_MS })

const tiersOf = async (store: Store) => (await entriesOf(store, 'ms', 10_000)).map(({ tier }) => tier)

async function answersOf(store: Store) {
  const aggregations = ['count', 'sum', 'min', 'max', 'p50', 'p95']
  const { groups } = await ask(store, 'ms', { aggregations, groupBy: ['host'] })
  const count = groups.reduce((sum, group) => sum + group.totals.get('count')!, 0)
  return { count, groups }
}
