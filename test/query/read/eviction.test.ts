import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { MINUTE_MS } from '../../../src/model/time.ts'
import type { Querier } from '../../../src/query/querier.ts'
import type { Store } from '../../../src/store/store.ts'
import type { Writer } from '../../../src/write/commit/writer.ts'
import { foldInbox } from '../../../src/write/fold/fold.ts'
import { mergeWindow } from '../../../src/write/fold/merge-window.ts'
import { decoderOf, FOLD_SETTINGS, openQuerier, openStore, openWriter, PROJECT, T0_MS } from '../../support/engine.ts'

/** What of the stored blocks stays in memory after queries. */

let folder: string
let store: Store
let writer: Writer

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'eviction-'))
  store = await openStore(folder, 1)
  writer = openWriter(store)
})
afterEach(async () => {
  await writer.close()
  await store.close()
  rmSync(folder, { recursive: true })
})

async function write(commits: number): Promise<void> {
  for (let i = 0; i < commits; i++) {
    const points = Array.from({ length: 20 }, (_, series) => ({
      name: 'load',
      type: 'gauge' as const,
      value: i + series,
      timeMs: T0_MS + i * 100,
      tags: { host: `h${series}` },
    }))
    await writer.track(PROJECT, decoderOf(points))
  }
}

async function fold(): Promise<void> {
  while ((await foldInbox(store, 0, FOLD_SETTINGS, T0_MS)) !== undefined);
}

async function ask(querier: Querier): Promise<void> {
  const row = await store.readMetric(PROJECT, 'load')
  await querier.query(row!, {
    metric: 'load',
    from: T0_MS,
    to: T0_MS + 10 * MINUTE_MS,
    interval: '10s',
    groupBy: ['host'],
    aggregations: ['sum', 'last'],
  })
}

/** What a querier holds that has asked this alone. */
async function bytesOfOneQuery(): Promise<number> {
  const querier = openQuerier(store)
  await ask(querier)
  return querier.cacheBytes
}

/** The store as another process sees it, which is not notified of what this one folds. */
function unheard(): Store {
  return new Proxy(store, {
    get(target, property) {
      if (property === 'onIndexRemoval') return () => () => {}
      const member: unknown = Reflect.get(target, property, target)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
}

test('inbox blocks and their digests are evicted when this process folds them', async () => {
  const querier = openQuerier(store)
  await write(200)
  await ask(querier)
  expect(querier.cacheBytes).toBeGreaterThan(0)
  await fold()
  expect(querier.cacheBytes).toBe(0)
})

test('a digest takes the place of the inbox blocks that it merges', async () => {
  const querier = openQuerier(store)
  for (let commits = 0; commits < 140; commits += 10) {
    await write(10)
    await ask(querier)
  }
  expect(querier.cacheBytes).toBe(await bytesOfOneQuery())
})

test('blocks that a merge of this process replaces are evicted', async () => {
  const querier = openQuerier(store)
  for (let i = 0; i < 8; i++) {
    await write(1)
    await fold()
  }
  await ask(querier)
  const { metricId } = (await store.readMetric(PROJECT, 'load'))!
  for (const { bucketWidthMs } of FOLD_SETTINGS.resolutions) {
    const windowMs = Math.floor(T0_MS / (bucketWidthMs * 360)) * bucketWidthMs * 360
    const merge = { isSealing: true, nowMs: T0_MS }
    expect(await mergeWindow(store, 0, { metricId, resolutionMs: bucketWidthMs, windowMs }, merge)).toBeDefined()
  }
  expect(querier.cacheBytes).toBe(0)
})

test('blocks that another process folded or merged are evicted with the next index snapshot', async () => {
  const querier = openQuerier(unheard())
  for (let i = 0; i < 8; i++) {
    await write(70)
    await ask(querier)
    await fold()
    await ask(querier)
  }
  await ask(querier)
  expect(querier.cacheBytes).toBe(await bytesOfOneQuery())
})

test('the blocks of an expired window are evicted', async () => {
  const querier = openQuerier(store)
  await write(5)
  await fold()
  await ask(querier)
  expect(querier.cacheBytes).toBeGreaterThan(0)
  const farMs = T0_MS + 10 * 365 * 86_400_000
  for (const window of await store.dueWindows(0, farMs, 100)) {
    expect(await store.expireWindow({ partition: 0, window, nowMs: farMs })).toBe(true)
  }
  expect(querier.cacheBytes).toBe(0)
})

test.each([
  ['counts what it has read', 1 << 24],
  ['holds no more than the bound', 60_000],
])('a query that is refused after its blocks were read %s', async (_, blockCacheBytesMax) => {
  const querier = openQuerier(store, { valuesMax: 500, blockCacheBytesMax })
  for (let i = 0; i < 10; i++) {
    await write(10)
    await fold()
    await expect(ask(querier)).rejects.toThrow(/exceed 500 result values/)
    expect(querier.cacheBytes).toBeGreaterThan(0)
    expect(querier.cacheBytes).toBeLessThanOrEqual(blockCacheBytesMax)
  }
})

test('an inbox whose weights are too large to be merged into one block is read block by block', async () => {
  const commits = 130
  for (let i = 0; i < commits; i++) {
    await writer.track(PROJECT, (sink) => {
      const series = sink.resolve('heavy', 'distribution', [])
      if ('code' in series) throw new Error(series.code)
      sink.addWeighted(0, series, T0_MS, 1, Number.MAX_SAFE_INTEGER - 2)
      sink.add(0, series, T0_MS, 2)
    })
  }
  const row = await store.readMetric(PROJECT, 'heavy')
  const { groups } = await openQuerier(store).query(row!, {
    metric: 'heavy',
    from: T0_MS,
    to: T0_MS + MINUTE_MS,
    interval: '1m',
    aggregations: ['max'],
  })
  expect(groups[0]!.totals.get('max')).toBe(2)
})
