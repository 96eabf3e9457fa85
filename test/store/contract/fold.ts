import { describe, expect, test } from 'vitest'
import { UNLISTED_BLOCK_KEPT_MS } from '../../../src/store/bookkeeping-lifetimes.ts'
import type { IndexEntry, IndexRemovals } from '../../../src/store/store.ts'
import { windowWidthMs } from '../../../src/store/windows.ts'
import {
  ALWAYS,
  block,
  blocksOf,
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
  part,
  SECONDS_10,
  timeline,
} from './fixtures.ts'

export function describeFold(name: string, { openedStore, openStore }: Openers): void {
  describe(`${name}: fold`, () => {
    const metric = metricOf('folded')
    const { partition, metricId } = metric
    const timelineOf = (resolutionMs: number) => ({ metricId, resolutionMs })
    const width = windowWidthMs(SECONDS_10)
    const touched = (windowMs: number, expiresMs = NOW + DAY) => [{ ...timelineOf(SECONDS_10), windowMs, expiresMs }]

    /** A store with one inbox entry, one listed entry and one block to add. */
    async function foldable() {
      const opened = await openedStore()
      const { store } = opened
      await store.append([commit(partition, 1, part({ block: block(3, 2) }))])
      const inbox = await store.readInbox(partition, 1e9)
      const listed = await list(store, metric, SECONDS_10, NOW)
      const written = block(8, 9)
      await store.writeBlocks(partition, [written], NOW)
      const entry = entryOf(written.name, NOW, { order: 2, tier: 1, scalarBytes: 8, sketchBytes: 9 })
      const fold = {
        partition,
        inbox,
        removed: [{ timeline: timelineOf(SECONDS_10), entry: listed }],
        added: [{ timeline: timelineOf(SECONDS_10), entry }],
        touched: touched(NOW, NOW + 2 * DAY),
        nowMs: NOW,
      }
      return { opened, store, inbox, listed, written, entry, fold }
    }

    test('a fold replaces entries at once, and what it added stays for good', async () => {
      const { opened, store, inbox, listed, written, entry, fold } = await foldable()
      expect(await store.commitFold(fold)).toBe(true)
      expect(await store.readInbox(partition, 1e9)).toEqual([])
      expect(await store.inboxSize(partition)).toEqual({ entries: 0, bytes: 0 })
      expect((await timeline(store, metric, SECONDS_10)).entries).toEqual([entry])
      for (const name of [inbox[0]!.block, listed.block]) expect(await exists(store, partition, name)).toBe(true)
      await store.sweep(NOW + UNLISTED_BLOCK_KEPT_MS - 1)
      for (const name of [inbox[0]!.block, listed.block]) expect(await exists(store, partition, name)).toBe(true)
      await store.sweep(NOW + UNLISTED_BLOCK_KEPT_MS + 1)
      for (const name of [inbox[0]!.block, listed.block]) expect(await exists(store, partition, name)).toBe(false)
      expect(await store.readBlocks(partition, [inbox[0]!.block], 'sketches')).toEqual([undefined])
      await store.sweep(NOW + 30 * DAY)
      const reopened = await opened.reopen()
      expect(await reopened.readBlocks(partition, [written.name], 'scalars')).toEqual([written.scalars])
      expect(await reopened.readBlocks(partition, [written.name], 'sketches')).toEqual([written.sketches])
      expect((await timeline(reopened, metric, SECONDS_10)).entries).toEqual([entry])
    })

    test('the unfolded rest of an entry takes its place', async () => {
      const { opened, store, inbox, written, fold } = await foldable()
      await store.append([commit(partition, 2, part({ block: block(5) }))])
      const [, later] = await store.readInbox(partition, 1e9)
      const restBlock = block(2, 1)
      const partlyFolded = [{ entry: inbox[0]!, block: restBlock }]
      expect(await store.commitFold({ ...fold, partlyFolded })).toBe(false)
      // The store may have dropped the blocks of the refused fold.
      await store.writeBlocks(partition, [written, restBlock], NOW)
      expect(await store.commitFold({ ...fold, partlyFolded })).toBe(true)
      const rest = { ...inbox[0]!, block: restBlock.name, scalarBytes: 2, sketchBytes: 1 }
      expect(await store.readInbox(partition, 1e9)).toEqual([rest, later])
      expect(await store.inboxSize(partition)).toEqual({ entries: 2, bytes: 8 })
      await store.sweep(NOW + 30 * DAY)
      const reopened = await opened.reopen()
      expect(await reopened.readInbox(partition, 1e9)).toEqual([rest, later])
      expect(await reopened.readBlocks(partition, [restBlock.name], 'scalars')).toEqual([restBlock.scalars])
      const done = { partition, removed: [], added: [], touched: [], nowMs: NOW }
      expect(await reopened.commitFold({ ...done, inbox })).toBe(false)
      expect(await reopened.commitFold({ ...done, inbox: [rest, later!] })).toBe(true)
      expect(await reopened.inboxSize(partition)).toEqual({ entries: 0, bytes: 0 })
      await reopened.sweep(NOW + 2 * UNLISTED_BLOCK_KEPT_MS)
      expect(await exists(reopened, partition, restBlock.name)).toBe(false)
    })

    test('of equal orders the run of the greater tier is listed first', async () => {
      const store = await openStore()
      const blocks = [block(), block(), block()]
      await store.writeBlocks(partition, blocks, NOW)
      const added = [0, 2, 1].map((tier, i) => ({
        timeline: timelineOf(SECONDS_10),
        entry: entryOf(blocks[i]!.name, NOW, { tier, seriesFrom: { hi: i, lo: 0 } }),
      }))
      await store.commitFold({ partition, inbox: [], removed: [], added, touched: touched(NOW), nowMs: NOW })
      const { entries } = await timeline(store, metric, SECONDS_10)
      expect(entries.map(({ tier }) => tier)).toEqual([2, 1, 0])
    })

    test('listeners are notified of what a fold or an expiry removes from the index', async () => {
      const { store, inbox, listed, fold } = await foldable()
      const received: IndexRemovals[] = []
      const stop = store.onIndexRemoval((removals) => received.push(removals))
      expect(
        await store.commitFold({
          ...fold,
          removed: [],
          added: [],
          inbox: [{ ...inbox[0]!, order: inbox[0]!.order + 1 }],
        }),
      ).toBe(false)
      expect(received).toEqual([])
      expect(await store.commitFold(fold)).toBe(true)
      expect(received).toEqual([
        {
          partition,
          inboxEntries: inbox,
          replacedBlocks: [listed.block],
          expiredWindows: [],
        },
      ])
      const window = { ...timelineOf(SECONDS_10), windowMs: NOW }
      expect(await store.expireWindow({ partition, window, nowMs: NOW + 2 * DAY })).toBe(true)
      expect(received[1]).toEqual({ partition, inboxEntries: [], replacedBlocks: [], expiredWindows: [window] })
      stop()
      await store.expireWindow({ partition, window, nowMs: NOW + 3 * DAY })
      expect(received).toHaveLength(2)
    })

    const refusals: readonly [string, (fold: Awaited<ReturnType<typeof foldable>>) => Promise<object>][] = [
      [
        'an inbox entry that is not there',
        async ({ inbox }) => ({ inbox: [{ ...inbox[0]!, order: inbox[0]!.order + 1 }] }),
      ],
      ['an inbox entry of another block', async ({ inbox }) => ({ inbox: [{ ...inbox[0]!, block: 'other' }] })],
      [
        'a replaced entry that is not listed',
        async ({ listed }) => ({
          removed: [{ timeline: timelineOf(SECONDS_10), entry: { ...listed, block: 'other' } }],
        }),
      ],
      [
        'a replaced entry of another timeline',
        async ({ listed }) => ({ removed: [{ timeline: timelineOf(MINUTE), entry: listed }] }),
      ],
      [
        'a new block that does not exist',
        async ({ entry, fold }) => ({
          added: [...fold.added, { timeline: timelineOf(SECONDS_10), entry: { ...entry, block: 'other' } }],
        }),
      ],
      [
        'a new block whose 15 minutes are over',
        async ({ store }) => {
          await store.sweep(NOW + 15 * MINUTE + 1)
          return {}
        },
      ],
      [
        'a new entry in a window that has expired',
        async ({ store }) => {
          const window = { ...timelineOf(SECONDS_10), windowMs: NOW - width }
          await store.expireWindow({ partition, window, nowMs: NOW })
          const late = block()
          await store.writeBlocks(partition, [late], NOW)
          const added = [{ timeline: timelineOf(SECONDS_10), entry: entryOf(late.name, NOW - width) }]
          return { added, touched: touched(NOW - width) }
        },
      ],
    ]

    test.each(refusals)('%s: nothing is changed', async (_, spoil) => {
      const made = await foldable()
      const { store, inbox, listed, fold } = made
      const spoilt = { ...fold, ...(await spoil(made)) }
      expect(await store.commitFold(spoilt)).toBe(false)
      expect(await store.readInbox(partition, 1e9)).toEqual(inbox)
      expect((await timeline(store, metric, SECONDS_10)).entries).toEqual([listed])
      expect(await store.dueWindows(partition, NOW + DAY, 10)).toEqual([{ ...timelineOf(SECONDS_10), windowMs: NOW }])
      await store.sweep(NOW + 2 * UNLISTED_BLOCK_KEPT_MS)
      expect(await exists(store, partition, listed.block)).toBe(true)
      expect(await exists(store, partition, inbox[0]!.block)).toBe(true)
    })

    test('of two folds of the same entries one succeeds', async () => {
      const { store, fold } = await foldable()
      const other = block()
      await store.writeBlocks(partition, [other], NOW)
      const rival = { ...fold, added: [{ timeline: timelineOf(SECONDS_10), entry: entryOf(other.name, NOW) }] }
      const outcomes = await Promise.all([store.commitFold(fold), store.commitFold(rival)])
      expect(outcomes.sort()).toEqual([false, true])
      expect(await blocksOf(store, metric, SECONDS_10)).toHaveLength(1)
    })

    test('a block that several windows list stays until the last drops it', async () => {
      const store = await openStore()
      const shared = block()
      await store.writeBlocks(partition, [shared], NOW)
      const added = [NOW, NOW + width].map((windowMs) => ({
        timeline: timelineOf(SECONDS_10),
        entry: entryOf(shared.name, windowMs),
      }))
      const both = [...touched(NOW), ...touched(NOW + width)]
      const empty = { partition, inbox: [], removed: [], added: [], touched: [], nowMs: NOW }
      expect(await store.commitFold({ ...empty, added, touched: both })).toBe(true)
      expect(await store.commitFold({ ...empty, removed: [added[0]!] })).toBe(true)
      await store.sweep(NOW + 2 * UNLISTED_BLOCK_KEPT_MS)
      expect(await exists(store, partition, shared.name)).toBe(true)
      expect(await store.commitFold({ ...empty, removed: [added[1]!], nowMs: NOW + 3 * UNLISTED_BLOCK_KEPT_MS })).toBe(
        true,
      )
      await store.sweep(NOW + 4 * UNLISTED_BLOCK_KEPT_MS - 1)
      expect(await exists(store, partition, shared.name)).toBe(true)
      await store.sweep(NOW + 4 * UNLISTED_BLOCK_KEPT_MS + 1)
      expect(await exists(store, partition, shared.name)).toBe(false)
    })

    test('a block stays readable for a while after the last window dropped it', async () => {
      const store = await openStore()
      const shared = block()
      await store.writeBlocks(partition, [shared], NOW)
      const added = [NOW, NOW + width].map((windowMs) => ({
        timeline: timelineOf(SECONDS_10),
        entry: entryOf(shared.name, windowMs),
      }))
      const both = [...touched(NOW), ...touched(NOW + width)]
      const empty = { partition, inbox: [], removed: [], added: [], touched: [], nowMs: NOW }
      await store.commitFold({ ...empty, added, touched: both })
      await store.commitFold({ ...empty, removed: [added[0]!] })
      await store.commitFold({ ...empty, removed: [added[1]!], nowMs: NOW + 30_000 })
      await store.sweep(NOW + 30_000 + UNLISTED_BLOCK_KEPT_MS - 1)
      expect(await exists(store, partition, shared.name)).toBe(true)
      await store.sweep(NOW + 30_000 + UNLISTED_BLOCK_KEPT_MS + 1)
      expect(await exists(store, partition, shared.name)).toBe(false)
    })

    test('a replaced block that is listed again before it expires stays', async () => {
      const store = await openStore()
      const entry = await list(store, metric, SECONDS_10, NOW)
      const empty = { partition, inbox: [], removed: [], added: [], touched: [], nowMs: NOW }
      const listing = { timeline: timelineOf(SECONDS_10), entry }
      expect(await store.commitFold({ ...empty, removed: [listing] })).toBe(true)
      expect(await store.commitFold({ ...empty, added: [listing], touched: touched(NOW) })).toBe(true)
      await store.sweep(NOW + 2 * UNLISTED_BLOCK_KEPT_MS)
      expect(await exists(store, partition, entry.block)).toBe(true)
    })

    test('an index lists the windows that overlap a stretch, by window, order and series', async () => {
      const store = await openStore()
      const at = (windowMs: number, entry: Partial<IndexEntry>) => list(store, metric, SECONDS_10, windowMs, { entry })
      const entries = [
        await at(NOW + width, { order: 3 }),
        await at(NOW, { order: 300, seriesFrom: { hi: 0, lo: 1 } }),
        await at(NOW, { order: 20, seriesFrom: { hi: 0xffffffff, lo: 0 } }),
        await at(NOW, { order: 20, seriesFrom: { hi: 2, lo: 0xffffffff } }),
        await at(NOW - width, { order: 400 }),
        await at(-width, { order: 7 }),
      ]
      await list(store, metric, MINUTE, NOW)
      await list(store, metricOf('another', {}), SECONDS_10, NOW)
      const entriesIn = async (fromMs: number, toMs: number) =>
        (await timeline(store, metric, SECONDS_10, { fromMs, toMs })).entries
      const [next, late, high, low, before, ancient] = entries
      expect(await entriesIn(-10 * width, NOW + 10 * width)).toEqual([ancient, before, low, high, late, next])
      expect(await entriesIn(NOW, NOW + width)).toEqual([low, high, late])
      expect(await entriesIn(NOW - 1, NOW + 1)).toEqual([before, low, high, late])
      expect(await entriesIn(NOW + width - 1, NOW + width + 1)).toEqual([low, high, late, next])
      expect(await entriesIn(NOW + 2 * width, NOW + 3 * width)).toEqual([])
      expect(await entriesIn(NOW, NOW)).toEqual([])
    })

    test('an entry is removed with the buckets with which it was added, or without buckets', async () => {
      const opened = await openedStore()
      let { store } = opened
      for (const buckets of [{ fromMs: NOW, toMs: NOW + SECONDS_10 }, { fromMs: -SECONDS_10, toMs: 0 }, undefined]) {
        const entry = await list(store, metric, MINUTE, NOW, { entry: { buckets } })
        store = await opened.reopen()
        const { entries } = await timeline(store, metric, MINUTE)
        expect(entries).toEqual([entry])
        const removed = entries.map((stored) => ({ timeline: timelineOf(MINUTE), entry: stored }))
        const fold = { partition, inbox: [], removed, added: [], touched: [], nowMs: NOW }
        expect(await store.commitFold(fold)).toBe(true)
        expect((await timeline(store, metric, MINUTE)).entries).toEqual([])
      }
    })

    test('a request for a range of series lists every block that may have some of them', async () => {
      const store = await openStore()
      const idOf = (number: number) => ({ hi: Math.floor(number / 2), lo: (number % 2) * 0xffffffff })
      const ranges = [
        [0, 3],
        [3, 3],
        [4, 6],
        [7, 9],
      ] as const
      const entries: IndexEntry[] = []
      for (const [from, to] of ranges) {
        const entry = { order: from, seriesFrom: idOf(from), seriesTo: idOf(to) }
        entries.push(await list(store, metric, SECONDS_10, NOW, { entry }))
      }
      const timelines = [{ resolutionMs: SECONDS_10, stretch: ALWAYS }]
      for (let from = 0; from < 10; from++) {
        for (let to = from; to < 10; to++) {
          const seriesRange = { from: idOf(from), to: idOf(to) }
          const snapshot = await store.readIndex({ partition, metricId, timelines, withInbox: false, seriesRange })
          const needed = entries.filter((_, i) => ranges[i]![0] <= to && ranges[i]![1] >= from)
          expect(snapshot.timelines[0]!.entries).toEqual(expect.arrayContaining(needed))
        }
      }
    })

    test('several timelines are returned in the order of the request', async () => {
      const store = await openStore()
      const coarse = await list(store, metric, HOUR, NOW)
      const fine = await list(store, metric, SECONDS_10, NOW)
      const timelines = [HOUR, SECONDS_10, MINUTE].map((resolutionMs) => ({ resolutionMs, stretch: ALWAYS }))
      expect((await store.readIndex({ partition, metricId, timelines, withInbox: false })).timelines).toEqual([
        { resolutionMs: HOUR, entries: [coarse], expired: [] },
        { resolutionMs: SECONDS_10, entries: [fine], expired: [] },
        { resolutionMs: MINUTE, entries: [], expired: [] },
      ])
    })

    test('several stretches of one timeline may be requested', async () => {
      const store = await openStore()
      const width = windowWidthMs(SECONDS_10)
      const early = await list(store, metric, SECONDS_10, NOW)
      await list(store, metric, SECONDS_10, NOW + width)
      const late = await list(store, metric, SECONDS_10, NOW + 2 * width)
      const stretches = [NOW, NOW + 2 * width].map((fromMs) => ({ fromMs, toMs: fromMs + 1 }))
      const timelines = stretches.map((stretch) => ({ resolutionMs: SECONDS_10, stretch }))
      expect((await store.readIndex({ partition, metricId, timelines, withInbox: false })).timelines).toEqual([
        { resolutionMs: SECONDS_10, entries: [early], expired: [] },
        { resolutionMs: SECONDS_10, entries: [late], expired: [] },
      ])
    })

    test('a snapshot never sees half a fold: every block is in the inbox or in the timeline, once', async () => {
      const store = await openStore()
      const rounds = 30
      let appended = 0
      let writing = true
      async function write() {
        for (let number = 1; number <= rounds; number++) {
          await store.append([commit(partition, number, part({ block: block() }))])
          appended = number
        }
        writing = false
      }
      async function fold() {
        while (writing || (await store.inboxSize(partition)).entries > 0) {
          const inbox = await store.readInbox(partition, 25)
          const added = []
          for (const { order } of inbox) {
            const folded = block()
            await store.writeBlocks(partition, [folded], NOW)
            added.push({ timeline: timelineOf(SECONDS_10), entry: entryOf(folded.name, NOW, { order }) })
          }
          const committed = { partition, inbox, removed: [], added, touched: touched(NOW), nowMs: NOW }
          expect(await store.commitFold(committed)).toBe(true)
        }
      }
      async function read() {
        while (writing) {
          const before = appended
          const request = {
            partition,
            metricId,
            timelines: [{ resolutionMs: SECONDS_10, stretch: ALWAYS }],
            withInbox: true,
          }
          const { inbox, timelines } = await store.readIndex(request)
          const orders = [...timelines[0]!.entries, ...inbox].map(({ order }) => order)
          expect(new Set(orders).size).toBe(orders.length)
          expect(orders.length).toBeGreaterThanOrEqual(before)
          // Gives way to the others, which wait for the disk.
          await new Promise((resolve) => setImmediate(resolve))
        }
      }
      await Promise.all([write(), fold(), read()])
      expect(await blocksOf(store, metric, SECONDS_10)).toHaveLength(rounds)
      expect(await store.inboxSize(partition)).toEqual({ entries: 0, bytes: 0 })
    })
  })
}
