import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { formatId } from '../../../src/model/id.ts'
import { Pacer } from '../../../src/model/pacer.ts'
import type { CanonicalTags } from '../../../src/model/series.ts'
import { openEmbeddedStore } from '../../../src/store/embedded/embedded-store.ts'
import { STORE_FORMAT_VERSION } from '../../../src/store/embedded/format.ts'
import { FORMAT_KEY, JOURNAL_KEY, metricPrefix, seriesIdKey } from '../../../src/store/embedded/keys.ts'
import { Lmdb } from '../../../src/store/embedded/lmdb.ts'
import { decodeJson, encodeJson } from '../../../src/store/embedded/rows.ts'
import { Table } from '../../../src/store/embedded/table.ts'
import { openFor, optionsOf } from '../../support/embedded-store.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'
import { describeStore } from '../contract/describe-store.ts'
import {
  commit,
  DAY,
  metricOf,
  NOW,
  PARTITIONS,
  part,
  RECEIPTS_MAX,
  RESOLUTION_STEPS,
  SET_RESOLUTION_STEPS,
  seriesTouch,
  touch,
} from '../contract/fixtures.ts'

describeStore('embedded store', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'gaugeql-test-'))
  let store = await openEmbeddedStore(optionsOf(folder))
  return {
    store,
    async reopen() {
      await store.close()
      store = await openEmbeddedStore(optionsOf(folder))
      return store
    },
    async contents() {
      await store.close()
      const lmdb = new Lmdb(folder)
      try {
        return Object.entries(lmdb.tables).flatMap(([name, table]) =>
          [...table.getKeys()].map((key) => `${name} ${Buffer.from(key).toString('hex')}`),
        )
      } finally {
        await lmdb.close()
      }
    },
    async dispose() {
      await store.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
})

describe('opening an embedded store', () => {
  test('creates the folder and missing parent folders', async () => {
    const store = await openFor(optionsOf(join(await temporaryFolder(), 'a', 'b.c')))
    await store.ping()
    expect(store.partitions).toBe(PARTITIONS)
  })

  test('a folder that is open already is refused by name, and free again after closing', async () => {
    const folder = await temporaryFolder()
    const first = await openFor(optionsOf(folder))
    await expect(openEmbeddedStore(optionsOf(folder))).rejects.toThrow(`${folder} is in use by another gateway`)
    await first.ping()
    await first.close()
    await (await openFor(optionsOf(folder))).ping()
  })

  test('a folder is recognised under another path', async () => {
    const folder = await temporaryFolder()
    await openFor(optionsOf(folder))
    await expect(openEmbeddedStore(optionsOf(join(folder, '..', folder.split('/').at(-1)!)))).rejects.toThrow('in use')
  })

  const minute = { bucketWidthMs: 60_000, keptMs: DAY }
  test.each([
    ['partitions', { partitions: 5 }, 'partitions 4, not 5'],
    ['resolutions', { resolutions: [minute] }, 'resolutions 10s,60s,3600s, not 60s'],
    ['set resolutions', { setResolutions: [minute] }, 'set resolutions 60s,3600s, not 60s'],
  ])('other %s than the store was made with are refused', async (_, other, message) => {
    const folder = await temporaryFolder()
    await (await openEmbeddedStore(optionsOf(folder))).close()
    await expect(openEmbeddedStore(optionsOf(folder, other))).rejects.toThrow(message)
    // The refusal let go of the folder.
    await (await openFor(optionsOf(folder))).ping()
  })

  test('the retention of data may be changed', async () => {
    const folder = await temporaryFolder()
    await (await openEmbeddedStore(optionsOf(folder))).close()
    const resolutions = RESOLUTION_STEPS.map((bucketWidthMs) => ({ bucketWidthMs, keptMs: 2 * DAY }))
    await (await openFor(optionsOf(folder, { resolutions }))).ping()
  })

  test('a folder of format 1, which had no journal, is opened and becomes one of the newest format', async () => {
    const folder = await temporaryFolder()
    const store = await openEmbeddedStore(optionsOf(folder))
    await store.defineMetrics([{ project: 'shop', name: 'm', type: 'gauge' }])
    await store.close()
    const lmdb = new Lmdb(folder)
    const { meta } = lmdb.tables
    const found = decodeJson(meta.getBinary(FORMAT_KEY)!) as object
    await lmdb.write(() => {
      meta.put(FORMAT_KEY, encodeJson({ ...found, version: 1 }))
      meta.remove(JOURNAL_KEY)
    })
    await lmdb.close()
    const opened = await openFor(optionsOf(folder))
    expect(await opened.readMetric('shop', 'm')).toMatchObject({ type: 'gauge' })
    await opened.close()
    const again = new Lmdb(folder)
    expect(decodeJson(again.tables.meta.getBinary(FORMAT_KEY)!)).toMatchObject({ version: STORE_FORMAT_VERSION })
    await again.close()
  })

  test('a folder of format 2, in which each series has a row, is read, and its rows stay', async () => {
    const folder = await temporaryFolder()
    const metric = metricOf('cpu')
    const { partition, metricId } = metric
    const metrics = [touch(metric)]
    const tags = (host: number): CanonicalTags => [['host', `${host}`]]
    const series = Array.from({ length: 6 }, (_, i) => seriesTouch(metric, tags(i)))
    const rows = series.map(({ seriesId }, i) => ({ seriesId, tags: tags(i) }))
    const store = await openEmbeddedStore(optionsOf(folder))
    for (let i = 0; i < 3; i++) await store.append([commit(partition, i + 1, part({ metrics, series: [series[i]!] }))])
    await store.close()
    const lmdb = new Lmdb(folder)
    const { meta } = lmdb.tables
    const found = decodeJson(meta.getBinary(FORMAT_KEY)!) as object
    await lmdb.write(() => {
      meta.put(FORMAT_KEY, encodeJson({ ...found, version: 2 }))
      for (const key of [...lmdb.tables.series.getKeys()]) lmdb.tables.series.remove(key)
      for (const [i, { seriesId }] of series.slice(0, 3).entries()) {
        const position = Buffer.alloc(4)
        position.writeUInt32BE(i)
        const idBytes = Buffer.from(formatId(seriesId), 'hex')
        lmdb.tables.series.put(
          Buffer.concat([metricPrefix(partition, metricId), position]),
          Buffer.concat([idBytes, Buffer.from(JSON.stringify(tags(i)))]),
        )
        lmdb.tables['series-ids'].put(seriesIdKey(partition, metricId, seriesId), position)
      }
    })
    await lmdb.close()
    let opened = await openFor(optionsOf(folder))
    expect(await opened.readSeries(partition, metricId, 0, 10)).toEqual(rows.slice(0, 3))
    const added = part({ metrics, series: [...series].reverse() })
    expect(await opened.append([commit(partition, 4, added)])).toEqual([{ status: 'applied', skipped: [] }])
    const retagged = part({ metrics, series: [{ ...series[1]!, tags: tags(7) }] })
    expect(await opened.append([commit(partition, 5, retagged)])).toMatchObject([{ status: 'conflict' }])
    await opened.close()
    opened = await openFor(optionsOf(folder))
    const expected = [...rows.slice(0, 3), ...rows.slice(3).reverse()]
    for (let cursor = 0; cursor <= 6; cursor++)
      expect(await opened.readSeries(partition, metricId, cursor, 2)).toEqual(expected.slice(cursor, cursor + 2))
    expect(await opened.readSeries(partition, metricId, 7, 2)).toBeUndefined()
    expect(await opened.readMetric('shop', 'cpu')).toMatchObject({ seriesCount: 6 })
  })

  test('a store of a newer format is refused', async () => {
    const folder = await temporaryFolder()
    await (await openEmbeddedStore(optionsOf(folder))).close()
    const lmdb = new Lmdb(folder)
    const { meta } = lmdb.tables
    const found = decodeJson(meta.getBinary(FORMAT_KEY)!) as object
    await lmdb.write(() => meta.put(FORMAT_KEY, encodeJson({ ...found, version: STORE_FORMAT_VERSION + 1 })))
    await lmdb.close()
    await expect(openEmbeddedStore(optionsOf(folder))).rejects.toThrow(
      `the store in ${folder} has format ${STORE_FORMAT_VERSION + 1}, this version of the gateway reads format ${STORE_FORMAT_VERSION}`,
    )
  })
})

describe('an embedded store', () => {
  test('tells a reader of the series of a deleted metric that the first ones are removed', async () => {
    const store = await openFor(optionsOf(await temporaryFolder()))
    const metric = metricOf('cpu')
    const { partition, metricId } = metric
    const series = ['a', 'b', 'c'].map((host) => seriesTouch(metric, [['host', host]]))
    for (const [i, added] of series.entries())
      await store.append([commit(partition, i + 1, part({ metrics: [touch(metric)], series: [added] }))])
    await store.deleteMetric({ project: 'shop', name: 'cpu', generation: 1 })
    // Three rows of ids, and the first row of series.
    expect(await store.clearDeleted(partition, 4, NOW)).toBe(true)
    expect(await store.readSeries(partition, metricId, 0, 10)).toHaveLength(2)
    expect(await store.readSeries(partition, metricId, 1, 10)).toBeUndefined()
    expect(await store.readSeries(partition, metricId, 2, 10)).toHaveLength(1)
  })

  test('counts the members of many sketches in short steps, between which it can pause', async () => {
    const store = await openFor(optionsOf(await temporaryFolder()))
    const metric = metricOf('users', { type: 'set' })
    const { partition, metricId } = metric
    const keys = Array.from({ length: 1_000 }, (_, lo) => ({
      metricId,
      seriesId: { hi: 0, lo },
      resolutionMs: SET_RESOLUTION_STEPS[0],
      bucketMs: NOW,
    }))
    const members = keys.map((key) => ({ ...key, members: ['x', `user-${key.seriesId.lo % 10}`] }))
    await store.append([commit(partition, 1, part({ metrics: [touch(metric)], members }))])
    const sketchReads = vi.spyOn(Table.prototype, 'addMembersTo')
    const pauses = vi.spyOn(Pacer.prototype, 'pause')
    onTestFinished(() => {
      vi.restoreAllMocks()
    })
    const counts = await store.countDistinct(partition, [keys, ...keys.map((key) => [key]), ...keys.map(() => [])])
    expect(counts).toEqual([11, ...keys.map(() => 2), ...keys.map(() => 0)])
    expect(sketchReads).toHaveBeenCalledTimes(2_000)
    const stepEnds = [...pauses.mock.invocationCallOrder, Number.POSITIVE_INFINITY]
    const readsByStep = stepEnds.map((end, step) => {
      const start = stepEnds[step - 1] ?? 0
      return sketchReads.mock.invocationCallOrder.filter((order) => order > start && order < end).length
    })
    expect(Math.max(...readsByStep)).toBeLessThanOrEqual(256)
    // The empty unions are counted in steps too.
    expect(readsByStep.filter((reads) => reads === 0).length).toBeGreaterThan(2)
  })

  test('looks for the oldest receipts only if the new one exceeds the bounds of the project', async () => {
    const store = await openFor(optionsOf(await temporaryFolder()))
    const keyReads = vi.spyOn(Table.prototype, 'keys')
    onTestFinished(() => keyReads.mockRestore())
    const receipt = { requestHash: 'c'.repeat(64), status: 200, body: '' }
    for (let written = 1; written <= RECEIPTS_MAX + 1; written++) {
      await store.writeReceipt('shop', `key ${written}`, receipt, NOW + written)
      const readTables = keyReads.mock.contexts.map((table) => (table as Table).name)
      expect(readTables).toEqual(written <= RECEIPTS_MAX ? [] : ['receipt-ages'])
    }
  })

  test('a second close waits for the first one, which holds the folder until all data is in LMDB', async () => {
    const store = await openFor(optionsOf(await temporaryFolder()))
    await store.defineMetrics([{ project: 'shop', name: 'm', type: 'gauge' }])
    let isClosed = false
    const first = store.close().then(() => {
      isClosed = true
    })
    await store.close()
    expect(isClosed).toBe(true)
    await first
  })

  test('a fence takes its time from the clock', async () => {
    const store = await openFor(optionsOf(await temporaryFolder(), { now: () => 5 * DAY }))
    const writer = '00'.repeat(16)
    await store.append([{ partition: 0, writer, commitNumber: 1, parts: [] }])
    await store.sweep(12 * DAY - 1)
    expect(await store.readWatermarks(writer, [0])).toEqual([1])
    await store.sweep(12 * DAY)
    expect(await store.readWatermarks(writer, [0])).toEqual([0])
  })

  test('two commits of one partition in a round are a fault of the caller, not of the store', async () => {
    const store = await openFor(optionsOf(await temporaryFolder()))
    const commit = { partition: 0, writer: '00'.repeat(16), commitNumber: 1, parts: [] }
    await expect(store.append([commit, commit])).rejects.toThrow('assertion failed')
    await expect(store.append([{ ...commit, partition: PARTITIONS }])).rejects.toThrow('assertion failed')
  })

  test('a fold that does not touch a window it begins changes nothing', async () => {
    const store = await openFor(optionsOf(await temporaryFolder()))
    const id = { hi: 1, lo: 2 }
    const write = () => store.writeBlocks(0, [{ name: 'new', scalars: new Uint8Array(1), sketches: undefined }], 0)
    await write()
    const entry = {
      block: 'new',
      windowMs: 0,
      tier: 0,
      order: 1,
      seriesFrom: id,
      seriesTo: id,
      rollupCount: 1,
      scalarBytes: 1,
      sketchBytes: 0,
    }
    const timeline = { metricId: id, resolutionMs: 10_000 }
    const fold = { partition: 0, inbox: [], removed: [], added: [{ timeline, entry }], touched: [], nowMs: 0 }
    await expect(store.commitFold(fold)).rejects.toThrow('assertion failed')
    const touched = [{ ...timeline, windowMs: 0, expiresMs: 1 }]
    await write()
    expect(await store.commitFold({ ...fold, touched })).toBe(true)
  })
})
