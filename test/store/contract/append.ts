import { describe, expect, test } from 'vitest'
import type { Id64 } from '../../../src/model/id.ts'
import { type CanonicalTags, seriesIdOf } from '../../../src/model/series.ts'
import type { StoredEvent } from '../../../src/store/events.ts'
import {
  block,
  commit,
  DAY,
  exists,
  MINUTE,
  metricOf,
  NOW,
  type Openers,
  OTHER_WRITER,
  only,
  PARTITIONS,
  part,
  seriesTouch,
  touch,
  WRITER,
} from './fixtures.ts'

export function describeAppend(name: string, { openStore }: Openers): void {
  describe(`${name}: append`, () => {
    test('numbers are applied one after the other: a smaller one is known, a greater one a gap', async () => {
      const store = await openStore()
      const metric = metricOf('m')
      const { partition } = metric
      const counted = part({ metrics: [touch(metric)], block: block() })
      expect(await only(store.append([commit(partition, 2, counted)]))).toEqual({ status: 'gap', watermark: 0 })
      expect(await store.readMetric('shop', 'm')).toBeUndefined()
      expect(await only(store.append([commit(partition, 1, counted)]))).toEqual({ status: 'applied', skipped: [] })
      expect(await only(store.append([commit(partition, 1, counted)]))).toEqual({ status: 'known' })
      expect(await only(store.append([commit(partition, 3, counted)]))).toEqual({ status: 'gap', watermark: 1 })
      expect(await store.readMetric('shop', 'm')).toMatchObject({ points: 1 })
      expect((await store.inboxSize(partition)).entries).toBe(1)
      expect(await only(store.append([commit(partition, 2)]))).toMatchObject({ status: 'applied' })
      expect(await store.readWatermarks(WRITER, [partition, (partition + 1) % PARTITIONS])).toEqual([2, 0])
      expect(await store.readWatermarks(OTHER_WRITER, [partition])).toEqual([0])
    })

    test('a fence takes a number, so that the commit it replaces is known', async () => {
      const store = await openStore()
      const metric = metricOf('m')
      const { partition } = metric
      expect(await only(store.append([commit(partition, 1)]))).toEqual({ status: 'applied', skipped: [] })
      const late = commit(partition, 1, part({ metrics: [touch(metric)], block: block() }))
      expect(await only(store.append([late]))).toEqual({ status: 'known' })
      expect(await store.inboxSize(partition)).toEqual({ entries: 0, bytes: 0 })
      expect(await store.readMetric('shop', 'm')).toBeUndefined()
    })

    test('the commits of a round have an outcome each, in the order given', async () => {
      const store = await openStore()
      await store.append([commit(2, 1)])
      const round = [commit(3, 1, part({ block: block(5) })), commit(2, 1), commit(0, 4), commit(1, 1)]
      expect(await store.append(round)).toEqual([
        { status: 'applied', skipped: [] },
        { status: 'known' },
        { status: 'gap', watermark: 0 },
        { status: 'applied', skipped: [] },
      ])
      expect(await store.readWatermarks(WRITER, [0, 1, 2, 3])).toEqual([0, 1, 1, 1])
      expect(await store.inboxSize(3)).toEqual({ entries: 1, bytes: 5 })
    })

    test('each writer has its own numbers', async () => {
      const store = await openStore()
      await store.append([commit(0, 1)])
      expect(await only(store.append([{ ...commit(0, 1), writer: OTHER_WRITER }]))).toMatchObject({ status: 'applied' })
    })

    test('a metric that exists with another type is a conflict that changes nothing', async () => {
      const store = await openStore()
      const metric = metricOf('m')
      const { partition } = metric
      await store.defineMetrics([metric.definition])
      const clash = metricOf('m', { type: 'counter' })
      const members = [{ metricId: metric.metricId, seriesId: { hi: 0, lo: 1 }, bucketMs: NOW, members: ['a'] }]
      const event: StoredEvent = { project: 'shop', id: 'e', timeMs: NOW, json: '{}' }
      const parts = [
        part({ block: block(), members, events: [event], marker: { project: 'shop', key: 'k' } }),
        part({ metrics: [touch(clash)], series: [seriesTouch(clash, [['a', 'b']])] }),
      ]
      expect(await only(store.append([commit(partition, 1, ...parts)]))).toEqual({
        status: 'conflict',
        metricIds: [metric.metricId],
        deleted: [],
      })
      expect(await store.readWatermarks(WRITER, [partition])).toEqual([0])
      expect(await store.inboxSize(partition)).toEqual({ entries: 0, bytes: 0 })
      expect(await exists(store, partition, parts[0]!.block!.name)).toBe(false)
      expect(await store.readSeries(partition, metric.metricId, 0, 10)).toEqual([])
      expect(await store.readEvents({ project: 'shop', fromMs: 0, toMs: NOW, limit: 10, bytesMax: 1e6 })).toEqual([])
      const key = { metricId: metric.metricId, seriesId: { hi: 0, lo: 1 }, resolutionMs: MINUTE, bucketMs: NOW }
      expect(await store.countDistinct(partition, [[key]])).toEqual([0])
      // The number and the marker are still free.
      const retried = commit(partition, 1, part({ marker: { project: 'shop', key: 'k' } }))
      expect(await only(store.append([retried]))).toEqual({ status: 'applied', skipped: [] })
    })

    test('an id that names another metric or another series is a conflict', async () => {
      const store = await openStore()
      const metric = metricOf('m')
      const { partition } = metric
      await store.append([commit(partition, 1, part({ metrics: [touch(metric)], series: [seriesTouch(metric, [])] }))])
      const conflict = { status: 'conflict', metricIds: [metric.metricId], deleted: [] }
      const renamed = touch({ ...metric, definition: { ...metric.definition, name: 'n' } })
      expect(await only(store.append([commit(partition, 2, part({ metrics: [renamed] }))]))).toEqual(conflict)
      const retagged = { ...seriesTouch(metric, []), tags: [['a', 'b']] as CanonicalTags }
      const second = part({ metrics: [touch(metric)], series: [retagged] })
      expect(await only(store.append([commit(partition, 2, second)]))).toEqual(conflict)
      expect(await store.readMetric('shop', 'm')).toMatchObject({ points: 1, seriesCount: 1, tagKeys: [] })
    })

    test('a conflict in one partition leaves the other commits of the round alone', async () => {
      const store = await openStore()
      const metric = metricOf('m')
      await store.defineMetrics([metric.definition])
      const clash = touch(metricOf('m', { type: 'set' }))
      const other = (metric.partition + 1) % PARTITIONS
      const outcomes = await store.append([
        commit(metric.partition, 1, part({ metrics: [clash] })),
        commit(other, 1, part({ block: block() })),
      ])
      expect(outcomes.map(({ status }) => status)).toEqual(['conflict', 'applied'])
      expect((await store.inboxSize(other)).entries).toBe(1)
    })

    test('a touch defines a metric that the store lost', async () => {
      const store = await openStore()
      const metric = metricOf('m', { unit: 's', description: 'd' })
      await store.append([commit(metric.partition, 1, part({ metrics: [touch(metric)] }))])
      expect(await store.readMetric('shop', 'm')).toMatchObject({ ...metric.definition, metricId: metric.metricId })
    })

    test('a part whose marker exists is skipped whole, and the number advances', async () => {
      const store = await openStore()
      const metric = metricOf('m', { type: 'set' })
      const { partition, metricId } = metric
      const seriesId = seriesIdOf(metricId, [])
      const marked = (key: string, id: string) =>
        part({
          marker: { project: 'shop', key },
          block: block(5),
          metrics: [touch(metric)],
          series: [seriesTouch(metric, [['id', id]])],
          members: [{ metricId, seriesId, bucketMs: NOW, members: [id] }],
          events: [{ project: 'shop', id, timeMs: NOW, json: '{}' }],
        })
      const first = commit(partition, 1, marked('k', 'a'))
      expect(await only(store.append([first]))).toEqual({ status: 'applied', skipped: [] })
      const second = commit(partition, 2, marked('other', 'b'), marked('k', 'c'), marked('other', 'd'))
      expect(await only(store.append([second]))).toEqual({ status: 'applied', skipped: [1, 2] })
      expect(await store.readMetric('shop', 'm')).toMatchObject({ points: 2, seriesCount: 2 })
      expect(await store.inboxSize(partition)).toEqual({ entries: 2, bytes: 10 })
      const events = await store.readEvents({ project: 'shop', fromMs: NOW, toMs: NOW, limit: 10, bytesMax: 1e6 })
      expect(events.map(({ id }) => id)).toEqual(['b', 'a'])
      const key = { metricId, seriesId, resolutionMs: MINUTE, bucketMs: NOW }
      expect(await store.countDistinct(partition, [[key]])).toEqual([2])
      expect(await store.readWatermarks(WRITER, [partition])).toEqual([2])
    })

    test('markers belong to a project and a partition and last 24 hours', async () => {
      const store = await openStore()
      const marked = (project: string, nowMs: number) => part({ marker: { project, key: 'k' }, nowMs })
      await store.append([commit(0, 1, marked('shop', NOW))])
      const other = [commit(0, 2, marked('other', NOW)), commit(1, 1, marked('shop', NOW))]
      expect(await store.append(other)).toEqual([
        { status: 'applied', skipped: [] },
        { status: 'applied', skipped: [] },
      ])
      const before = commit(0, 3, marked('shop', NOW + DAY - 1))
      expect(await only(store.append([before]))).toEqual({ status: 'applied', skipped: [0] })
      const marker = { project: 'shop', key: 'k' }
      expect(await store.readMarker(0, marker)).toBe(NOW)
      expect(await store.readMarker(2, marker)).toBeUndefined()
      expect(await store.readMarker(0, { project: 'shop', key: 'l' })).toBeUndefined()
      const after = commit(0, 4, marked('shop', NOW + DAY + 1))
      expect(await only(store.append([after]))).toEqual({ status: 'applied', skipped: [] })
      expect(await store.readMarker(0, marker)).toBe(NOW + DAY + 1)
    })

    test('watermarks are removed 7 days after the last commit', async () => {
      const store = await openStore()
      await store.append([commit(0, 1, part())])
      await store.append([commit(0, 2, part({ nowMs: NOW + DAY }))])
      await store.sweep(NOW + 8 * DAY - 1)
      expect(await store.readWatermarks(WRITER, [0])).toEqual([2])
      await store.sweep(NOW + 8 * DAY + 1)
      expect(await store.readWatermarks(WRITER, [0])).toEqual([0])
    })

    test('listeners are notified after applied commits, and errors of a listener are ignored', async () => {
      const store = await openStore()
      const metric = metricOf('m')
      const { partition, metricId } = metric
      const received: (readonly Id64[])[] = []
      let notified: () => void = () => undefined
      const notification = () =>
        new Promise<void>((resolve) => {
          notified = resolve
        })
      store.onCommit(() => {
        throw new Error('of a listener')
      })
      const stop = store.onCommit((metricIds) => {
        received.push(metricIds)
        notified()
      })
      let next = notification()
      const marked = part({ marker: { project: 'shop', key: 'k' }, metrics: [touch(metric)] })
      await store.append([commit(partition, 1, marked)])
      await next
      expect(received).toEqual([[metricId]])
      // Known, and skipped: no notification.
      await store.append([commit(partition, 1, marked)])
      await store.append([commit(partition, 2, marked)])
      next = notification()
      await store.append([commit(partition, 3, part({ metrics: [touch(metric)] }))])
      await next
      expect(received).toHaveLength(2)
      stop()
      await store.append([commit(partition, 4, part({ metrics: [touch(metric)] }))])
      await store.ping()
      expect(received).toHaveLength(2)
    })
  })
}
