import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { formatId } from '../../../src/model/id.ts'
import { Pacer } from '../../../src/model/pacer.ts'
import type { CanonicalTags } from '../../../src/model/series.ts'
import { type EmbeddedStoreOptions, openEmbeddedStore } from '../../../src/store/embedded/embedded-store.ts'
import { STORE_FORMAT_VERSION } from '../../../src/store/embedded/format.ts'
import { FORMAT_KEY, JOURNAL_KEY, metricPrefix, seriesIdKey, type TableName } from '../../../src/store/embedded/keys.ts'
import { Lmdb } from '../../../src/store/embedded/lmdb.ts'
import { MemoryTable } from '../../../src/store/embedded/memory-table.ts'
import { decodeJson, encodeJson } from '../../../src/store/embedded/rows.ts'
import { Table } from '../../../src/store/embedded/table.ts'
import { REMOVALS_PER_WRITE_MAX, WriteSet } from '../../../src/store/embedded/write-set.ts'
import type { CommitPart, Store } from '../../../src/store/store.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'
import { describeStore } from '../contract/describe-store.ts'
import {
  block,
  commit,
  DAY,
  entryOf,
  metricOf,
  NOW,
  PARTITIONS,
  part,
  RECEIPTS_BYTES_MAX,
  RECEIPTS_MAX,
  RESOLUTION_STEPS,
  SET_RESOLUTION_STEPS,
  seriesTouch,
  touch,
} from '../contract/fixtures.ts'

function optionsOf(folder: string, options: Partial<EmbeddedStoreOptions> = {}): EmbeddedStoreOptions {
  return {
    folder,
    partitions: PARTITIONS,
    resolutions: RESOLUTION_STEPS.map((bucketWidthMs) => ({ bucketWidthMs, keptMs: DAY })),
    setResolutions: SET_RESOLUTION_STEPS.map((bucketWidthMs) => ({ bucketWidthMs, keptMs: DAY })),
    receiptBounds: { receiptsMax: RECEIPTS_MAX, receiptsBytesMax: RECEIPTS_BYTES_MAX },
    ...options,
  }
}

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

async function openFor(options: EmbeddedStoreOptions): Promise<Store> {
  const store = await openEmbeddedStore(options)
  onTestFinished(() => store.close())
  return store
}

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

  test.each([
    ['the journal', false],
    ['LMDB', true],
  ])('sweeps all that has expired in %s, in bounded steps between which other writes run', async (_, isReopened) => {
    const folder = await temporaryFolder()
    let store = await openFor(optionsOf(folder))
    const markers = Array.from({ length: 30 * REMOVALS_PER_WRITE_MAX + 50 }, (_, i) => ({
      project: 'shop',
      key: `key-${i}`,
    }))
    const parts = markers.map(
      (marker): CommitPart => ({ marker, metrics: [], series: [], members: [], events: [], nowMs: 0 }),
    )
    await store.append([{ partition: 0, writer: '00'.repeat(16), commitNumber: 1, parts }])
    if (isReopened) {
      await store.close()
      store = await openFor(optionsOf(folder))
    }
    const left = async () => {
      const made = await Promise.all(markers.map((marker) => store.readMarker(0, marker)))
      return made.filter((madeMs) => madeMs !== undefined).length
    }
    const removed: number[] = []
    let isSwept = false
    const swept = store.sweep(DAY).then(() => {
      isSwept = true
    })
    for (let number = 2; !isSwept; number++) {
      await store.append([{ partition: 0, writer: '00'.repeat(16), commitNumber: number, parts: [] }])
      removed.push(markers.length - (await left()))
    }
    await swept
    expect(await left()).toBe(0)
    const between = removed.filter((count) => count > 0 && count < markers.length)
    expect(between).not.toEqual([])
    for (const count of between) expect(count % REMOVALS_PER_WRITE_MAX).toBe(0)
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

  describe('removes rows that LMDB has in steps, and no step reads the rows of all earlier ones', () => {
    const stepCount = 30
    const stepRows = 50
    const rowCount = stepCount * stepRows

    /** Reopens the store, so that all rows are in LMDB. Returns how many rows each step has read from layers. */
    async function rowsReadByStep(
      store: Store,
      options: EmbeddedStoreOptions,
      step: (store: Store) => Promise<unknown>,
    ) {
      await store.close()
      const reopened = await openFor(options)
      const layerReads = vi.spyOn(MemoryTable.prototype, 'get')
      onTestFinished(() => layerReads.mockRestore())
      const counts: number[] = []
      for (let i = 0; i < stepCount; i++) {
        layerReads.mockClear()
        await step(reopened)
        counts.push(layerReads.mock.calls.length)
      }
      return counts
    }

    /** The first steps find nothing to skip, so the later ones are compared with the third. */
    function expectLevel(counts: readonly number[]): void {
      expect(Math.max(...counts)).toBeLessThanOrEqual(2 * counts[2]!)
    }

    test('of expired events', async () => {
      const options = optionsOf(await temporaryFolder())
      const store = await openFor(options)
      const events = Array.from({ length: rowCount }, (_, i) => ({
        project: 'shop',
        id: `event-${i}`,
        timeMs: NOW,
        json: '{}',
      }))
      await store.append([commit(0, 1, part({ events }))])
      const counts = await rowsReadByStep(store, options, (opened) => opened.expireEvents(0, NOW, stepRows))
      expectLevel(counts)
    })

    test('of a deleted metric', async () => {
      const options = optionsOf(await temporaryFolder())
      const store = await openFor(options)
      const metric = metricOf('cpu')
      const { partition } = metric
      const series = Array.from({ length: rowCount }, (_, i) => seriesTouch(metric, [['host', `${i}`]]))
      await store.append([commit(partition, 1, part({ metrics: [touch(metric)], series }))])
      await store.deleteMetric({ project: 'shop', name: 'cpu', generation: 1 })
      expectLevel(await rowsReadByStep(store, options, (opened) => opened.clearDeleted(partition, stepRows, NOW)))
    })

    test('of the oldest receipts of a project', async () => {
      const receiptBounds = { receiptsMax: rowCount, receiptsBytesMax: 1e9 }
      const options = optionsOf(await temporaryFolder(), { receiptBounds })
      const store = await openFor(options)
      let written = 0
      const write = (opened: Store) =>
        opened.writeReceipt('shop', `key ${written}`, { requestHash: 'c'.repeat(64), status: 200, body: '' }, written++)
      const writeAll = (opened: Store, count: number) => Promise.all(Array.from({ length: count }, () => write(opened)))
      await writeAll(store, rowCount)
      expectLevel(await rowsReadByStep(store, options, (opened) => writeAll(opened, stepRows)))
    })
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

  test('removes the index entries of a deleted metric in bounded steps', async () => {
    const store = await openFor(optionsOf(await temporaryFolder()))
    const { definition, metricId, partition } = metricOf('cpu')
    await store.defineMetrics([definition])
    const windows = [0, 1, 2].map((n) => ({ metricId, resolutionMs: 10_000, windowMs: NOW + n * 3_600_000 }))
    const blocks = Array.from({ length: 1_800 }, (_, i) => ({ ...block(1), windowMs: windows[i % 3]!.windowMs }))
    await store.writeBlocks(partition, blocks, NOW)
    const timeline = { metricId, resolutionMs: 10_000 }
    const added = blocks.map(({ name, windowMs }, order) => ({ timeline, entry: entryOf(name, windowMs, { order }) }))
    const touched = windows.map((window) => ({ ...window, expiresMs: NOW + DAY }))
    expect(await store.commitFold({ partition, inbox: [], removed: [], added, touched, nowMs: NOW })).toBe(true)
    await store.deleteMetric({ project: 'shop', name: 'cpu', generation: 1 })
    const removals = vi.spyOn(WriteSet.prototype, 'remove')
    onTestFinished(() => removals.mockRestore())
    const removedByStep: number[] = []
    for (let mayHaveMore = true; mayHaveMore; removals.mockClear()) {
      mayHaveMore = await store.clearDeleted(partition, 100, NOW)
      removedByStep.push(removals.mock.calls.filter(([table]) => table === 'index').length)
    }
    expect(removedByStep.reduce((sum, count) => sum + count)).toBe(1_800)
    expect(Math.max(...removedByStep)).toBe(REMOVALS_PER_WRITE_MAX)
  })

  describe('removes in several short writes, whatever the limit of the call,', () => {
    const count = 3 * REMOVALS_PER_WRITE_MAX + 50
    const max = 2 * REMOVALS_PER_WRITE_MAX + 10

    /** Runs `remove` and returns how many rows of a table each write has removed. */
    async function removedByWrite(table: TableName, remove: () => Promise<unknown>): Promise<number[]> {
      const removals = vi.spyOn(WriteSet.prototype, 'remove')
      await remove()
      const counts = new Map<unknown, number>()
      removals.mock.calls.forEach(([name], i) => {
        const writes = removals.mock.contexts[i]
        if (name === table) counts.set(writes, (counts.get(writes) ?? 0) + 1)
      })
      removals.mockRestore()
      return [...counts.values()]
    }

    test('events', async () => {
      const store = await openFor(optionsOf(await temporaryFolder()))
      const events = Array.from({ length: count }, (_, i) => ({
        project: 'shop',
        id: `e${i}`,
        timeMs: NOW,
        json: '{}',
      }))
      await store.append([commit(0, 1, part({ events }))])
      const expire = () => store.expireEvents(0, NOW, max)
      expect(await removedByWrite('events', async () => expect(await expire()).toBe(max))).toEqual([
        REMOVALS_PER_WRITE_MAX,
        REMOVALS_PER_WRITE_MAX,
        10,
      ])
      expect(await removedByWrite('events', async () => expect(await expire()).toBe(count - max))).toEqual([
        REMOVALS_PER_WRITE_MAX,
        40,
      ])
      expect(await expire()).toBe(0)
    })

    test('the data of a deleted metric', async () => {
      const store = await openFor(optionsOf(await temporaryFolder()))
      const metric = metricOf('cpu')
      const { partition } = metric
      const series = Array.from({ length: count }, (_, i) => seriesTouch(metric, [['host', `host-${i}`]]))
      await store.append([commit(partition, 1, part({ metrics: [touch(metric)], series }))])
      await store.deleteMetric({ project: 'shop', name: 'cpu', generation: 1 })
      const clear = () => store.clearDeleted(partition, max, NOW)
      expect(await removedByWrite('series-ids', async () => expect(await clear()).toBe(true))).toEqual([
        REMOVALS_PER_WRITE_MAX,
        REMOVALS_PER_WRITE_MAX,
        10,
      ])
      let mayHaveMore = true
      while (mayHaveMore) mayHaveMore = await clear()
      expect(await store.readSeries(partition, metric.metricId, 0, 10)).toEqual([])
    })
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
