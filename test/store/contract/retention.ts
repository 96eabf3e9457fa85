import { describe, expect, test } from 'vitest'
import { seriesIdOf } from '../../../src/model/series.ts'
import { UNLISTED_BLOCK_KEPT_MS } from '../../../src/store/bookkeeping-lifetimes.ts'
import type { Store } from '../../../src/store/store.ts'
import { windowWidthMs } from '../../../src/store/windows.ts'
import {
  block,
  commit,
  DAY,
  entryOf,
  exists,
  HOUR,
  list,
  MINUTE,
  metricOf,
  NOW,
  type Openers,
  PARTITIONS,
  part,
  SECONDS_10,
  timeline,
  touch,
} from './fixtures.ts'

export function describeRetention(name: string, { openStore }: Openers): void {
  describe(`${name}: retention`, () => {
    const metric = metricOf('kept', { type: 'set' })
    const { partition, metricId } = metric
    const width = windowWidthMs(MINUTE)
    const window = (windowMs: number, resolutionMs: number = MINUTE) => ({ metricId, resolutionMs, windowMs })
    const expired = async (store: Store, resolutionMs = MINUTE) => (await timeline(store, metric, resolutionMs)).expired

    test('windows fall due in the order they expire, finer resolutions first', async () => {
      const store = await openStore()
      await list(store, metric, HOUR, NOW, { expiresMs: NOW + 5 })
      await list(store, metric, MINUTE, NOW, { expiresMs: NOW + 5 })
      await list(store, metric, MINUTE, NOW + width, { expiresMs: NOW + 3 })
      await list(store, metric, MINUTE, NOW - width, { expiresMs: NOW + 6 })
      const due = [window(NOW + width), window(NOW), window(NOW, HOUR), window(NOW - width)]
      expect(await store.dueWindows(partition, NOW + 2, 10)).toEqual([])
      expect(await store.dueWindows(partition, NOW + 3, 10)).toEqual(due.slice(0, 1))
      expect(await store.dueWindows(partition, NOW + 6, 10)).toEqual(due)
      expect(await store.dueWindows(partition, NOW + 6, 2)).toEqual(due.slice(0, 2))
      expect(await store.dueWindows((partition + 1) % PARTITIONS, NOW + 6, 10)).toEqual([])
    })

    test('a touch keeps a window longer, never shorter, and a rewrite leaves it as it is', async () => {
      const store = await openStore()
      const first = await list(store, metric, MINUTE, NOW, { expiresMs: NOW + 10 })
      const second = await list(store, metric, MINUTE, NOW, { expiresMs: NOW + 20, entry: { order: 2 } })
      await list(store, metric, MINUTE, NOW, { expiresMs: NOW + 15, entry: { order: 3 } })
      const merged = block()
      await store.writeBlocks(partition, [merged], NOW)
      const fold = {
        partition,
        inbox: [],
        removed: [first, second].map((entry) => ({ timeline: { metricId, resolutionMs: MINUTE }, entry })),
        added: [{ timeline: { metricId, resolutionMs: MINUTE }, entry: entryOf(merged.name, NOW, { order: 2 }) }],
        touched: [],
        nowMs: NOW + 30,
      }
      expect(await store.commitFold(fold)).toBe(true)
      expect(await store.dueWindows(partition, NOW + 19, 10)).toEqual([])
      expect(await store.dueWindows(partition, NOW + 20, 10)).toEqual([window(NOW)])
    })

    test('an empty window is not due', async () => {
      const store = await openStore()
      const entry = await list(store, metric, MINUTE, NOW)
      const removed = [{ timeline: { metricId, resolutionMs: MINUTE }, entry }]
      expect(await store.commitFold({ partition, inbox: [], removed, added: [], touched: [], nowMs: NOW })).toBe(true)
      expect(await store.dueWindows(partition, NOW + 10 * DAY, 10)).toEqual([])
    })

    test('an expired window is gone with its sets, and its blocks a minute later', async () => {
      const store = await openStore()
      const entries = [
        await list(store, metric, MINUTE, NOW),
        await list(store, metric, MINUTE, NOW, { entry: { order: 2 } }),
      ]
      const next = await list(store, metric, MINUTE, NOW + width)
      const seriesId = seriesIdOf(metricId, [])
      const buckets = [NOW, NOW + width - MINUTE, NOW + width]
      const members = buckets.map((bucketMs) => ({ metricId, seriesId, bucketMs, members: ['a'] }))
      await store.append([commit(partition, 1, part({ metrics: [touch(metric)], members }))])
      const nowMs = NOW + 2 * DAY
      expect(await store.expireWindow({ partition, window: window(NOW), nowMs })).toBe(true)
      expect((await timeline(store, metric, MINUTE)).entries).toEqual([next])
      expect(await store.dueWindows(partition, NOW + 10 * DAY, 10)).toEqual([window(NOW + width)])
      const keys = buckets.map((bucketMs) => [{ metricId, seriesId, resolutionMs: MINUTE, bucketMs }])
      expect(await store.countDistinct(partition, keys)).toEqual([0, 0, 1])
      const coarse = { metricId, seriesId, resolutionMs: HOUR, bucketMs: NOW }
      expect(await store.countDistinct(partition, [[coarse]])).toEqual([1])
      await store.sweep(nowMs + UNLISTED_BLOCK_KEPT_MS - 1)
      expect(await exists(store, partition, entries[0]!.block)).toBe(true)
      await store.sweep(nowMs + UNLISTED_BLOCK_KEPT_MS + 1)
      for (const { block: gone } of entries) expect(await exists(store, partition, gone)).toBe(false)
      expect(await exists(store, partition, next.block)).toBe(true)
    })

    test('a window that was written meanwhile does not expire', async () => {
      const store = await openStore()
      const entry = await list(store, metric, MINUTE, NOW, { expiresMs: NOW + 11 })
      expect(await store.expireWindow({ partition, window: window(NOW), nowMs: NOW + 10 })).toBe(false)
      expect(await timeline(store, metric, MINUTE)).toEqual({ resolutionMs: MINUTE, entries: [entry], expired: [] })
      expect(await store.expireWindow({ partition, window: window(NOW), nowMs: NOW + 11 })).toBe(true)
    })

    test('expired stretches that touch are merged', async () => {
      const store = await openStore()
      const expire = (windowMs: number) => store.expireWindow({ partition, window: window(windowMs), nowMs: NOW })
      await expire(NOW)
      await expire(NOW + 2 * width)
      await expire(NOW - 4 * width)
      expect(await expired(store)).toEqual([
        { fromMs: NOW - 4 * width, toMs: NOW - 3 * width },
        { fromMs: NOW, toMs: NOW + width },
        { fromMs: NOW + 2 * width, toMs: NOW + 3 * width },
      ])
      await expire(NOW + width)
      await expire(NOW + width)
      expect(await expired(store)).toEqual([
        { fromMs: NOW - 4 * width, toMs: NOW - 3 * width },
        { fromMs: NOW, toMs: NOW + 3 * width },
      ])
      const within = await timeline(store, metric, MINUTE, { fromMs: NOW - 3 * width, toMs: NOW + 1 })
      expect(within.expired).toEqual([{ fromMs: NOW, toMs: NOW + 3 * width }])
      expect(await expired(store, HOUR)).toEqual([])
    })

    test('with `dropExpiredAtResolutions` the expired stretches of those resolutions are removed within the window', async () => {
      const store = await openStore()
      const coarseWidth = windowWidthMs(HOUR)
      const windows = [NOW - width, NOW, NOW + coarseWidth - width, NOW + coarseWidth]
      for (const windowMs of windows) await store.expireWindow({ partition, window: window(windowMs), nowMs: NOW })
      const fine = windowWidthMs(SECONDS_10)
      await store.expireWindow({ partition, window: window(NOW, SECONDS_10), nowMs: NOW })
      await list(store, metric, HOUR, NOW, { expiresMs: NOW })
      const expiry = { partition, window: window(NOW, HOUR), dropExpiredAtResolutions: [MINUTE], nowMs: NOW }
      expect(await store.expireWindow(expiry)).toBe(true)
      expect(await expired(store)).toEqual([
        { fromMs: NOW - width, toMs: NOW },
        { fromMs: NOW + coarseWidth, toMs: NOW + coarseWidth + width },
      ])
      expect(await expired(store, HOUR)).toEqual([])
      expect(await expired(store, SECONDS_10)).toEqual([{ fromMs: NOW, toMs: NOW + fine }])
      // A fold into the window is possible again.
      await list(store, metric, MINUTE, NOW)
    })
  })
}
