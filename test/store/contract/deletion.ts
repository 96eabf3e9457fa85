import { describe, expect, onTestFinished, test } from 'vitest'
import { metricIdOf } from '../../../src/model/metric.ts'
import { seriesIdOf } from '../../../src/model/series.ts'
import type { Store } from '../../../src/store/store.ts'
import { windowWidthMs } from '../../../src/store/windows.ts'
import { listAll } from '../../support/list-metrics.ts'
import {
  block,
  blocksOf,
  commit,
  DAY,
  entryOf,
  HOUR,
  list,
  MINUTE,
  metricOf,
  NOW,
  namesOf,
  type Openers,
  only,
  part,
  SECONDS_10,
  SET_RESOLUTION_STEPS,
  seriesTouch,
  touch,
} from './fixtures.ts'

export function describeDeletion(name: string, { openedStore, openStore }: Openers): void {
  describe(`${name}: deleted metrics`, () => {
    const set = metricOf('m', { type: 'set' })
    const { partition, metricId, definition } = set
    const seriesId = seriesIdOf(metricId, [['a', 'b']])
    const deletion = (generation = 1) => ({ project: 'shop', name: 'm', generation })
    const setKey = (resolutionMs: number, bucketMs = NOW) => ({ metricId, seriesId, resolutionMs, bucketMs })
    const filled = (times: readonly number[] = [NOW]) =>
      part({
        block: block(),
        metrics: [touch(set)],
        series: [seriesTouch(set, [['a', 'b']])],
        members: times.map((bucketMs) => ({ metricId, seriesId, bucketMs, members: ['x'] })),
      })
    /** As a fold would: the inbox becomes a window at each resolution of sets. */
    const fold = async (store: Store, times: readonly number[] = [NOW]): Promise<boolean> => {
      const inbox = await store.readInbox(partition, 1e9)
      const windows = SET_RESOLUTION_STEPS.flatMap((resolutionMs) => {
        const width = windowWidthMs(resolutionMs)
        const starts = new Set(times.map((timeMs) => Math.floor(timeMs / width) * width))
        return [...starts].map((windowMs) => ({ metricId, resolutionMs, windowMs }))
      })
      const blocks = windows.map(() => block())
      await store.writeBlocks(partition, blocks, NOW)
      const added = windows.map((window, i) => ({ timeline: window, entry: entryOf(blocks[i]!.name, window.windowMs) }))
      const touched = windows.map((window) => ({ ...window, expiresMs: NOW + DAY }))
      return store.commitFold({ partition, inbox, removed: [], added, touched, nowMs: NOW })
    }
    /** Until nothing is left to do; how often it was called. */
    const clear = async (store: Store, max: number): Promise<number> => {
      for (let calls = 1; ; calls++) {
        if (!(await store.clearDeleted(partition, max, NOW))) return calls
        if (calls > 100) throw new Error('there is no end to it')
      }
    }

    test('are gone at once, and their name is free for another type', async () => {
      const store = await openStore()
      await store.append([commit(partition, 1, filled())])
      await store.defineMetrics([{ ...definition, name: 'other' }])
      expect(await store.deleteMetric(deletion())).toBe(true)
      expect(await store.readMetric('shop', 'm')).toBeUndefined()
      expect(await listAll(store, 'shop')).toEqual([])
      expect(await store.deleteMetric(deletion())).toBe(false)
      const [again] = await store.defineMetrics([{ ...definition, type: 'counter' }])
      expect(again).toMatchObject({ type: 'counter', generation: 2, points: 0, seriesCount: 0, tagKeys: [] })
      expect(again!.metricId).toEqual(metricIdOf('shop', 'm', 2))
      expect(await store.readMetric('shop', 'm')).toEqual(again)
      expect(await store.readSeries(partition, again!.metricId, 0, 10)).toEqual([])
      expect(await store.deleteMetric(deletion(2))).toBe(true)
      const [third] = await store.defineMetrics([definition])
      expect(third).toMatchObject({ type: 'set', generation: 3 })
    })

    test('of another generation, project or name are left alone', async () => {
      const store = await openStore()
      await store.defineMetrics([definition, { ...definition, project: 'other' }])
      expect(await store.deleteMetric(deletion(0))).toBe(false)
      expect(await store.deleteMetric({ ...deletion(), name: 'n' })).toBe(false)
      expect(await store.readMetric('shop', 'm')).toMatchObject({ generation: 1 })
      expect(await store.deleteMetric(deletion())).toBe(true)
      expect(await store.readMetric('other', 'm')).toMatchObject({ generation: 1 })
    })

    test('cannot come back with a commit of a gateway that does not know of the deletion', async () => {
      const store = await openStore()
      const other = namesOf(partition, 'o')
      await store.append([commit(partition, 1, filled())])
      await store.deleteMetric(deletion())
      const conflict = { status: 'conflict', metricIds: [metricId], deleted: [metricId] }
      const late = part({ ...filled(), metrics: [touch(set), touch(other)] })
      expect(await only(store.append([commit(partition, 2, late)]))).toEqual(conflict)
      await store.defineMetrics([{ ...definition, type: 'gauge' }])
      expect(await only(store.append([commit(partition, 2, late)]))).toEqual(conflict)
      expect(await store.readMetric('shop', other.definition.name)).toBeUndefined()
      expect(await store.readMetric('shop', 'm')).toMatchObject({ type: 'gauge', points: 0 })
      // The number is free, and the others may go on.
      const rest = part({ metrics: [touch(other)] })
      expect(await only(store.append([commit(partition, 2, rest)]))).toEqual({ status: 'applied', skipped: [] })
    })

    test('cannot come back on a store that lost the deletion, once it is replayed', async () => {
      const store = await openStore()
      expect(await store.deleteMetric(deletion(2))).toBe(false)
      for (const generation of [1, 2]) {
        const old = metricOf('m', { type: 'set' }, generation)
        const outcome = await only(
          store.append([commit(partition, 1, part({ metrics: [touch(old, { generation })] }))]),
        )
        expect(outcome).toEqual({ status: 'conflict', metricIds: [old.metricId], deleted: [old.metricId] })
      }
      expect(await store.defineMetrics([definition])).toMatchObject([{ generation: 3 }])
    })

    test('are notified like a commit', async () => {
      const store = await openStore()
      await store.append([commit(partition, 1, filled())])
      const notified = new Promise<unknown>((resolve) => {
        const end = store.onCommit(resolve)
        onTestFinished(end)
      })
      await store.deleteMetric(deletion())
      expect(await notified).toEqual([metricId])
    })

    test('keep their data until their inbox is folded, then it is removed in steps', async () => {
      const opened = await openedStore()
      const { store } = opened
      const times = Array.from({ length: 5 }, (_, i) => NOW - i * windowWidthMs(MINUTE))
      await store.append([commit(partition, 1, filled(times))])
      const { order } = (await store.readInbox(partition, 1))[0]!
      await store.deleteMetric(deletion())
      expect(await clear(store, 100)).toBe(1)
      // A query in progress can still read the blocks.
      expect(await store.readSeries(partition, metricId, 0, 10)).toHaveLength(1)
      expect(await store.countDistinct(partition, [[setKey(MINUTE)]])).toEqual([1])
      expect(order).toBeGreaterThan(0)
      expect(await fold(store, times)).toBe(true)
      expect(await clear(store, 2)).toBeGreaterThan(2)
      expect(await store.readSeries(partition, metricId, 0, 10)).toEqual([])
      for (const resolution of SET_RESOLUTION_STEPS) expect(await blocksOf(store, set, resolution)).toEqual([])
      expect(await store.dueWindows(partition, NOW + 1_000 * DAY, 100)).toEqual([])
      expect(
        await store.countDistinct(partition, [times.map((timeMs) => setKey(MINUTE, timeMs)), [setKey(HOUR)]]),
      ).toEqual([0, 0])
    })

    test('are all removed before there is no more to remove, however many they are', async () => {
      const store = await openStore()
      const metrics = Array.from({ length: 2_600 }, (_, i) => metricOf(`many${i}`))
        .filter((metric) => metric.partition === partition)
        .slice(0, 600)
      expect(metrics).toHaveLength(600)
      const series = metrics.map((metric) => seriesTouch(metric, [['a', 'b']]))
      await store.append([commit(partition, 1, part({ metrics: metrics.map((metric) => touch(metric)), series }))])
      const inbox = await store.readInbox(partition, 1e9)
      await store.commitFold({ partition, inbox, removed: [], added: [], touched: [], nowMs: NOW })
      for (const { definition } of metrics) await store.deleteMetric({ ...deletion(), name: definition.name })
      const calls = await clear(store, 250)
      const left = await Promise.all(metrics.map((metric) => store.readSeries(partition, metric.metricId, 0, 1)))
      expect(left.flatMap((rows) => rows ?? [])).toHaveLength(0)
      // Each call is bounded.
      expect(calls).toBeGreaterThan(1)
    })

    test('that wait for a fold do not hold up the others, however many they are', async () => {
      const store = await openStore()
      const metrics = Array.from({ length: 4_500 }, (_, i) => metricOf(`many${i}`))
        .filter((metric) => metric.partition === partition)
        .sort((a, b) => a.metricId.hi - b.metricId.hi)
      const last = metrics.pop()!
      expect(metrics.length).toBeGreaterThan(1_000)
      const remove = (name: string): Promise<boolean> => store.deleteMetric({ ...deletion(), name })
      const series = [seriesTouch(last, [['a', 'b']])]
      await store.append([commit(partition, 1, part({ metrics: [touch(last)], series }))])
      await remove(last.definition.name)
      await store.append([
        commit(partition, 2, part({ block: block(), metrics: metrics.map((metric) => touch(metric)) })),
      ])
      await Promise.all(metrics.map((metric) => remove(metric.definition.name)))
      expect(await store.readSeries(partition, last.metricId, 0, 10)).toHaveLength(1)
      expect(await clear(store, 100)).toBe(1)
      expect(await store.readSeries(partition, last.metricId, 0, 10)).toEqual([])
    })

    test('count towards the bound of a call even if they have no stored rows', async () => {
      const store = await openStore()
      const names = Array.from({ length: 100 }, (_, i) => `empty${i}`)
      const rows = await store.defineMetrics(names.map((name) => ({ ...definition, name })))
      const cleared = rows.filter((row) => row.partition === partition)
      for (const row of rows) await store.deleteMetric({ ...deletion(), name: row.name })
      expect(cleared.length).toBeGreaterThan(20)
      expect(await clear(store, 10)).toBe(Math.floor(cleared.length / 10) + 1)
    })

    test('do not wait for what others commit meanwhile', async () => {
      const store = await openStore()
      const other = namesOf(partition, 'o')
      await store.append([commit(partition, 1, filled())])
      await fold(store)
      await store.deleteMetric(deletion())
      await store.append([commit(partition, 2, part({ block: block(), metrics: [touch(other)] }))])
      await clear(store, 100)
      expect(await blocksOf(store, set, MINUTE)).toEqual([])
      expect(await store.readSeries(partition, metricId, 0, 10)).toEqual([])
    })

    test('leave nothing behind', async () => {
      const contents = async (lives: boolean): Promise<readonly string[]> => {
        const opened = await openedStore()
        const { store } = opened
        const neighbour = part({ block: block(), metrics: [touch(namesOf(partition, 'o'))] })
        await store.append([commit(partition, 1, neighbour)])
        if (lives) {
          await store.append([commit(partition, 2, filled())])
          await list(store, set, SECONDS_10, NOW)
          await list(store, set, SECONDS_10, NOW - windowWidthMs(SECONDS_10), { expiresMs: NOW })
          const window = { metricId, resolutionMs: SECONDS_10, windowMs: NOW - windowWidthMs(SECONDS_10) }
          expect(await store.expireWindow({ partition, window, nowMs: NOW })).toBe(true)
          await store.append([commit(partition, 3, filled())])
          await store.deleteMetric(deletion())
          // A fold that began before continues.
          expect(await fold(store)).toBe(true)
          const reopened = await opened.reopen()
          await clear(reopened, 2)
          for (let i = 0; i < 3; i++) await reopened.sweep(NOW + HOUR)
        } else {
          const inbox = await store.readInbox(partition, 1e9)
          await store.commitFold({ partition, inbox, removed: [], added: [], touched: [], nowMs: NOW })
          for (let i = 0; i < 3; i++) await store.sweep(NOW + HOUR)
        }
        return opened.contents()
      }
      const [without, after] = [await contents(false), await contents(true)]
      expect(without.length).toBeGreaterThan(3)
      // But for the end of its generation, which is remembered.
      expect(after.filter((line) => !line.includes('deleted'))).toEqual(without)
    })

    test('cannot be folded again', async () => {
      const store = await openStore()
      await store.append([commit(partition, 1, filled())])
      const inbox = await store.readInbox(partition, 1e9)
      await store.deleteMetric(deletion())
      expect(await fold(store)).toBe(true)
      await clear(store, 100)
      // Another fold of the same inbox, and a merge of what it had brought.
      const late = block()
      await store.writeBlocks(partition, [late], NOW)
      const timelineKey = { metricId, resolutionMs: MINUTE }
      const added = [{ timeline: timelineKey, entry: entryOf(late.name, NOW) }]
      const touched = [{ ...timelineKey, windowMs: NOW, expiresMs: NOW + DAY }]
      const foldOf = { partition, added, touched, nowMs: NOW }
      expect(await store.commitFold({ ...foldOf, inbox, removed: [] })).toBe(false)
      const removed = [{ timeline: timelineKey, entry: entryOf('block-x', NOW) }]
      expect(await store.commitFold({ ...foldOf, inbox: [], removed })).toBe(false)
    })
  })
}
