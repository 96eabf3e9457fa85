import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { EmbeddedStoreOptions } from '../../../src/store/embedded/embedded-store.ts'
import type { TableName } from '../../../src/store/embedded/keys.ts'
import { MemoryTable } from '../../../src/store/embedded/memory-table.ts'
import { REMOVALS_PER_WRITE_MAX, WriteSet } from '../../../src/store/embedded/write-set.ts'
import type { CommitPart, Store } from '../../../src/store/store.ts'
import { openFor, optionsOf } from '../../support/embedded-store.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'
import { block, commit, DAY, entryOf, metricOf, NOW, part, seriesTouch, touch } from '../contract/fixtures.ts'

/** Expired and deleted data is removed in short steps, between which other writes run. */

describe('an embedded store', () => {
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
})
