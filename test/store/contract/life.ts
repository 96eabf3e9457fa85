import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { seriesIdOf } from '../../../src/model/series.ts'
import type { Store } from '../../../src/store/store.ts'
import { listAll } from '../../support/list-metrics.ts'
import {
  block,
  commit,
  DAY,
  HOUR,
  list,
  MINUTE,
  metricOf,
  NOW,
  type Openers,
  only,
  PARTITIONS,
  part,
  SECONDS_10,
  seriesTouch,
  timeline,
  touch,
  WRITER,
} from './fixtures.ts'
import { Model, stepArbitrary } from './model.ts'

export function describeLife(name: string, { openedStore, openStore, openEmpty }: Openers): void {
  describe(`${name}: life`, () => {
    test('a reopened store has all data', async () => {
      const opened = await openedStore()
      const { store } = opened
      const metric = metricOf('m', { type: 'set', unit: 'u' })
      const { partition, metricId } = metric
      const seriesId = seriesIdOf(metricId, [['a', 'b']])
      const content = part({
        marker: { project: 'shop', key: 'k' },
        block: block(9, 9),
        metrics: [touch(metric)],
        series: [seriesTouch(metric, [['a', 'b']])],
        members: [{ metricId, seriesId, bucketMs: NOW, members: ['x', 'y'] }],
        events: [{ project: 'shop', id: 'e', timeMs: NOW, json: '{}' }],
      })
      await store.append([commit(partition, 1, content), commit((partition + 1) % PARTITIONS, 1)])
      await list(store, metric, SECONDS_10, NOW)
      await store.expireWindow({ partition, window: { metricId, resolutionMs: MINUTE, windowMs: NOW }, nowMs: NOW })
      await store.writeReceipt('shop', 'k', { requestHash: 'aa', status: 202, body: 'ü' }, NOW)
      await store.saveKey({ hash: '11'.repeat(32), project: 'shop', scopes: ['admin'], label: '', createdMs: 1 })
      const everything = async (from: Store) => [
        await listAll(from, 'shop'),
        await from.readSeries(partition, metricId, 0, 10),
        await from.hasSeries(partition, metricId, [seriesId]),
        await from.readWatermarks(WRITER, [0, 1, 2, 3]),
        await from.readInbox(partition, 1e9),
        await from.inboxSize(partition),
        await from.readBlocks(partition, [content.block!.name], 'sketches'),
        await timeline(from, metric, SECONDS_10),
        await timeline(from, metric, MINUTE),
        await from.dueWindows(partition, NOW + 10 * DAY, 10),
        await from.countDistinct(partition, [[{ metricId, seriesId, resolutionMs: HOUR, bucketMs: NOW }]]),
        await from.readEvents({ project: 'shop', fromMs: 0, toMs: NOW, limit: 10, bytesMax: 1e6 }),
        await from.readReceipt('shop', 'k', NOW),
        await from.listKeys(),
      ]
      const before = await everything(store)
      expect(before.every((value) => value !== undefined)).toBe(true)
      const reopened = await opened.reopen()
      expect(await everything(reopened)).toEqual(before)
      const again = commit(partition, 2, content)
      expect(await only(reopened.append([again]))).toEqual({ status: 'applied', skipped: [0] })
    })

    test('after close every verb rejects with store_unavailable, and closing again does nothing', async () => {
      const store = await openStore()
      await store.ping()
      await store.close()
      await store.close()
      const unavailable = { name: 'GatewayError', code: 'store_unavailable' }
      await expect(store.ping()).rejects.toMatchObject(unavailable)
      await expect(store.readMetric('shop', 'm')).rejects.toMatchObject(unavailable)
      await expect(store.append([commit(0, 1)])).rejects.toMatchObject(unavailable)
      await expect(store.writeBlocks(0, [block()], NOW)).rejects.toMatchObject(unavailable)
      await expect(
        store.takePermits({ limitKey: 'b', permits: 1, limit: 1, windowWidthMs: 1, nowMs: 1 }),
      ).rejects.toMatchObject(unavailable)
      await expect(store.takeLease({ partition: 0, holder: 'h', leaseMs: 1, nowMs: NOW })).rejects.toMatchObject(
        unavailable,
      )
      await expect(store.sweep(NOW)).rejects.toMatchObject(unavailable)
    })

    test('commits under way when the store closes are finished', async () => {
      const opened = await openedStore()
      const outcomes = [1, 2, 3].map((number) => opened.store.append([commit(0, number)]))
      const store = await opened.reopen()
      expect((await Promise.all(outcomes)).flat().map(({ status }) => status)).toEqual([
        'applied',
        'applied',
        'applied',
      ])
      expect(await store.readWatermarks(WRITER, [0])).toEqual([3])
    })

    test('any sequence of verbs agrees with a simple model', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(stepArbitrary, { minLength: 1, maxLength: 40 }), async (steps) => {
          const opened = await openEmpty()
          const model = new Model()
          let { store } = opened
          try {
            for (const step of steps) {
              if (step.kind === 'reopen') store = await opened.reopen()
              else await model.take(store, step)
              await model.check(store)
            }
          } finally {
            await opened.dispose()
          }
        }),
        { numRuns: 25 },
      )
    })
  })
}
