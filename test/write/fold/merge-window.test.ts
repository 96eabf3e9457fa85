import { beforeEach, describe, expect, it } from 'vitest'
import { compareIds } from '../../../src/model/id.ts'
import type { IndexEntry, Store } from '../../../src/store/store.ts'
import type { Writer } from '../../../src/write/commit/writer.ts'
import { foldInbox } from '../../../src/write/fold/fold.ts'
import { mergeWindow } from '../../../src/write/fold/merge-window.ts'
import { RUNS_PER_MERGE, runsOf, SEALED_TIER } from '../../../src/write/fold/runs-to-merge.ts'
import { ask, decoderOf, FOLD_SETTINGS, PROJECT, T0_MS, type TestPoint, totalOf } from '../../support/engine.ts'
import { FaultyStore, gate } from '../../support/faulty-store.ts'
import { openTestStore, openTestWriter } from '../../support/test-writer.ts'
import { entriesOf, gauge, NOW_MS, windowOf } from './harness.ts'

let store: Store
let writer: Writer

beforeEach(async () => {
  store = await openTestStore(1)
  writer = openTestWriter(new FaultyStore(store))
})

const track = (...points: readonly TestPoint[]) => writer.track(PROJECT, decoderOf(points))
const fold = () => foldInbox(store, 0, FOLD_SETTINGS, NOW_MS)

describe('mergeWindow', () => {
  async function foldOften(times: number, from = 0): Promise<void> {
    for (let i = from; i < from + times; i++) {
      // All in one moment: the later arrival is the last value.
      await track(gauge(i), { name: 'hits', type: 'counter', value: 1 })
      await fold()
      await mergeWindow(store, 0, await windowOf(store, 'level', 10_000), { isSealing: false, nowMs: NOW_MS })
    }
  }

  it('makes one run of eight of a tier, and of eight of those one of the next', async () => {
    await foldOften(9)
    expect((await entriesOf(store, 'level', 10_000)).map(({ tier }) => tier)).toEqual([1, 0])
    expect(await totalOf(store, 'level', 'last')).toBe(8)
    await foldOften(56, 9)
    await mergeWindow(store, 0, await windowOf(store, 'level', 10_000), { isSealing: false, nowMs: NOW_MS })
    expect((await entriesOf(store, 'level', 10_000)).map(({ tier }) => tier)).toEqual([2, 0])
    expect(await totalOf(store, 'level', 'last')).toBe(64)
    expect(await totalOf(store, 'level', 'first')).toBe(0)
    expect(await totalOf(store, 'level', 'count')).toBe(65)
  })

  it('waits until a pile is complete', async () => {
    for (let i = 0; i < RUNS_PER_MERGE - 1; i++) {
      await track(gauge(i))
      await fold()
    }
    const window = await windowOf(store, 'level', 10_000)
    expect(await mergeWindow(store, 0, window, { isSealing: false, nowMs: NOW_MS })).toBeUndefined()
    expect(await entriesOf(store, 'level', 10_000)).toHaveLength(RUNS_PER_MERGE - 1)
  })

  it('seals a window into one deflated run and does so again only after more points', async () => {
    for (let n = 0; n < 3; n++) {
      await track(
        ...Array.from({ length: 300 }, (_, i) => gauge(50 + (i % 7) * n, T0_MS + i * 10_000, { host: `${i % 3}` })),
      )
      await fold()
    }
    const window = await windowOf(store, 'level', 10_000)
    const bytes = (entries: readonly IndexEntry[]) => entries.reduce((sum, { scalarBytes }) => sum + scalarBytes, 0)
    const open = bytes(await entriesOf(store, 'level', 10_000))
    expect(await mergeWindow(store, 0, window, { isSealing: true, nowMs: NOW_MS })).toMatchObject({ bytesRead: open })
    const sealed = await entriesOf(store, 'level', 10_000)
    expect(sealed.map(({ tier }) => tier)).toEqual([SEALED_TIER])
    expect(bytes(sealed)).toBeLessThan(open / 2)
    expect(await mergeWindow(store, 0, window, { isSealing: true, nowMs: NOW_MS })).toBeUndefined()

    await track(gauge(7, T0_MS, { host: 'late' }))
    await fold()
    expect(await mergeWindow(store, 0, window, { isSealing: true, nowMs: NOW_MS })).toBeDefined()
    expect((await entriesOf(store, 'level', 10_000)).map(({ tier }) => tier)).toEqual([SEALED_TIER])
    expect(await totalOf(store, 'level', 'count')).toBe(901)
  })

  it('changes nothing when the window changed meanwhile', async () => {
    for (let i = 0; i < 3; i++) {
      await track(gauge(i))
      await fold()
    }
    const faulty = new FaultyStore(store)
    const slow = gate()
    faulty.next('commitFold', slow.fault)
    const window = await windowOf(store, 'level', 10_000)
    const late = mergeWindow(faulty.store, 0, window, { isSealing: true, nowMs: NOW_MS })
    await slow.reached
    expect(await mergeWindow(store, 0, window, { isSealing: true, nowMs: NOW_MS })).toBeDefined()
    const entries = await entriesOf(store, 'level', 10_000)
    slow.open()
    expect(await late).toBeUndefined()
    expect(await entriesOf(store, 'level', 10_000)).toEqual(entries)
    expect(await totalOf(store, 'level', 'count')).toBe(3)
  })

  it.each(['scalars', 'sketches'] as const)('changes nothing when only the %s are gone in between', async (gone) => {
    const observed = (value: number): TestPoint => ({ name: 'ms', type: 'distribution', value, timeMs: T0_MS })
    for (let i = 0; i < 2; i++) {
      await track(observed(i), observed(i + 5))
      await fold()
    }
    const faulty = new FaultyStore(store)
    const window = await windowOf(store, 'ms', 10_000)
    // Another merge comes between the two reads of the blocks.
    faulty.alwaysOf('readBlocks', async (proceed, [, names, part]) => {
      if (part !== gone) return proceed()
      await mergeWindow(store, 0, window, { isSealing: true, nowMs: NOW_MS })
      return names.map(() => undefined)
    })
    expect(await mergeWindow(faulty.store, 0, window, { isSealing: true, nowMs: NOW_MS })).toBeUndefined()
    expect((await entriesOf(store, 'ms', 10_000)).map(({ tier }) => tier)).toEqual([SEALED_TIER])
    expect(await totalOf(store, 'ms', 'count')).toBe(4)
  })

  it('splits a large window into blocks by series and merges it range by range', async () => {
    for (let n = 0; n < 3; n++) await track(...wideWindow(n))
    while ((await fold()) !== undefined);
    const before = await totals()
    const window = await windowOf(store, 'level', 10_000)
    expect(await mergeWindow(store, 0, window, { isSealing: true, nowMs: NOW_MS })).toBeDefined()
    const blocks = await entriesOf(store, 'level', 10_000)
    expect(await totals()).toEqual(before)
    for (let n = 3; n < 5; n++) await track(...wideWindow(n))
    while ((await fold()) !== undefined);
    const after = await totals()
    // A merge that fails in a later range has written no block.
    const faulty = new FaultyStore(store)
    faulty.always('readBlocks', async (proceed) => {
      if (faulty.calls('readBlocks').length > 2) throw new Error('the disk broke')
      return proceed()
    })
    await expect(mergeWindow(faulty.store, 0, window, { isSealing: true, nowMs: NOW_MS })).rejects.toThrow('the disk')
    expect(faulty.calls('readBlocks').length).toBeGreaterThan(2)
    expect(faulty.calls('writeBlocks')).toEqual([])
    expect(await mergeWindow(store, 0, window, { isSealing: true, nowMs: NOW_MS })).toBeDefined()
    expect(await totals()).toEqual(after)
    expect(after).toMatchObject({ count: pointsOf(5) })
    expect(blocks.length).toBeGreaterThan(1)
    const sealed = await entriesOf(store, 'level', 10_000)
    expect(sealed.length).toBeGreaterThanOrEqual(blocks.length)
    expect(new Set(sealed.map(({ order }) => order)).size).toBe(1)
  })

  describe('in several steps', () => {
    const STEP = { nowMs: NOW_MS, stepBytesMax: 1 }
    const RUNS = 9

    async function foldRuns(from: number, to: number): Promise<void> {
      for (let n = from; n < to; n++) {
        await track(...wideWindow(n))
        while ((await fold()) !== undefined);
      }
    }

    const runsOfWindow = async () => runsOf(await entriesOf(store, 'level', 10_000))

    it('merges a tier, also when points arrive between two steps', async () => {
      await foldRuns(0, RUNS - 1)
      const window = await windowOf(store, 'level', 10_000)
      let expected = await totals()
      let steps = 0
      for (; ; steps++) {
        const step = await mergeWindow(store, 0, window, { isSealing: false, ...STEP })
        expect(step).toBeDefined()
        expect(await totals()).toEqual(expected)
        if (step!.isComplete) break
        const [first, second] = await runsOfWindow()
        expect([first!.tier, second!.tier]).toEqual([0, 0])
        if (steps === 0) {
          await foldRuns(RUNS - 1, RUNS)
          expected = await totals()
        }
      }
      expect(steps).toBeGreaterThan(1)
      expect((await runsOfWindow()).map(({ tier }) => tier)).toEqual([1, 0])
      expect(await mergeWindow(store, 0, window, { isSealing: false, ...STEP })).toBeUndefined()
    })

    it('seals a window, begins again after late points, and ends with one run', async () => {
      await foldRuns(0, 3)
      const window = await windowOf(store, 'level', 10_000)
      // Interrupted: a merge of the first runs that is not complete.
      for (let n = 0; n < 2; n++) {
        const step = await mergeWindow(store, 0, window, { isSealing: true, ...STEP })
        expect(step).toMatchObject({ isComplete: false })
      }
      await foldRuns(3, 4)
      const expected = await totals()
      let steps = 0
      let bytesWritten = 0
      for (let isComplete = false; !isComplete; steps++) {
        const step = await mergeWindow(store, 0, window, { isSealing: true, ...STEP })
        bytesWritten += step!.bytesWritten
        isComplete = step!.isComplete
        expect(await totals()).toEqual(expected)
      }
      expect(steps).toBeGreaterThan(1)
      const sealed = await runsOfWindow()
      expect(sealed.map(({ tier }) => tier)).toEqual([SEALED_TIER])
      // No series is in two blocks of the run.
      const { entries } = sealed[0]!
      for (const [i, { seriesFrom }] of entries.entries())
        if (i > 0) expect(compareIds(entries[i - 1]!.seriesTo, seriesFrom)).toBeLessThan(0)
      expect(bytesWritten).toBeGreaterThan(entries.reduce((sum, { scalarBytes }) => sum + scalarBytes, 0))
      expect(await mergeWindow(store, 0, window, { isSealing: true, ...STEP })).toBeUndefined()
      expect(expected.count).toBe(pointsOf(4))
    })

    it('ends each step when its blocks have the maximum size', async () => {
      await foldRuns(0, 2)
      const window = await windowOf(store, 'level', 10_000)
      const observed = new FaultyStore(store)
      const stepBytesMax = 300_000
      let isComplete = false
      while (!isComplete)
        isComplete = (await mergeWindow(observed.store, 0, window, { isSealing: true, nowMs: NOW_MS, stepBytesMax }))!
          .isComplete
      const commits = observed.calls('commitFold').map(([{ added }]) => added)
      expect(commits.length).toBeGreaterThan(1)
      for (const added of commits) {
        const bytes = added
          .filter(({ entry }) => entry.tier === SEALED_TIER)
          .reduce((sum, { entry }) => sum + entry.scalarBytes, 0)
        // The last range of series of a step has at most one block of each source run.
        expect(bytes).toBeLessThan(stepBytesMax + 2 * 131_072)
      }
    })
  })

  const WIDE_SERIES = 1_000
  const WIDE_BUCKETS = 30

  /** Points of many series and buckets. In each run, other points are missing, so its blocks end at other series. */
  function wideWindow(n: number): TestPoint[] {
    const points: TestPoint[] = []
    for (let i = 0; i < WIDE_SERIES * WIDE_BUCKETS; i++) {
      if (i % (n + 5) === 0) continue
      const bucket = Math.floor(i / WIDE_SERIES)
      // Values without a pattern, so that blocks are large.
      const value = Math.sin(i * 12.9898 + n) * 43_758.5453
      points.push(gauge(value, T0_MS + bucket * 30_000 + n, { host: `host-${i % WIDE_SERIES}` }))
    }
    return points
  }

  /** Number of points of the first `runs` runs. */
  function pointsOf(runs: number): number {
    return Array.from({ length: runs }, (_, n) => wideWindow(n).length).reduce((sum, length) => sum + length)
  }

  async function totals() {
    const aggregations = ['count', 'min', 'max', 'last']
    const { groups } = await ask(store, 'level', { aggregations, groupBy: ['host'], interval: '1d' })
    const count = groups.reduce((sum, group) => sum + group.totals.get('count')!, 0)
    return { count, groups: groups.map((group) => [group.tags, [...group.totals]]) }
  }
})
