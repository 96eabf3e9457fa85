import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../../src/model/time.ts'
import type { IndexEntry, MetricRow, Store } from '../../../src/store/store.ts'
import { windowStart, windowWidthMs } from '../../../src/store/store.ts'
import type { Writer } from '../../../src/write/commit/writer.ts'
import { foldInbox } from '../../../src/write/fold/fold.ts'
import { FoldLoop, type FoldLoopSettings } from '../../../src/write/fold/fold-loop.ts'
import { mergeWindow, RUNS_PER_TIER, SEALED_TIER } from '../../../src/write/fold/merge-window.ts'
import { expireDue } from '../../../src/write/fold/retention.ts'
import {
  ask,
  decoderOf,
  FOLD_SETTINGS,
  openStore,
  openWriter,
  PROJECT,
  T0_MS,
  type TestPoint,
  totalOf,
} from '../../support/engine.ts'
import { FaultyStore, gate, lostRequest, respondWith } from '../../support/faulty-store.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

let store: Store
let writer: Writer
const NOW_MS = T0_MS + HOUR_MS

beforeEach(async () => {
  store = await openStore(await temporaryFolder(), 1)
  writer = openWriter(store)
  onTestFinished(async () => {
    await writer.close()
    await store.close()
  })
})

const track = (...points: readonly TestPoint[]) => writer.track(PROJECT, decoderOf(points))
const fold = (settings = FOLD_SETTINGS, through = store, nowMs = NOW_MS) => foldInbox(through, 0, settings, nowMs)
const gauge = (value: number, timeMs = T0_MS, tags: Readonly<Record<string, string>> = {}): TestPoint => ({
  name: 'level',
  type: 'gauge',
  value,
  timeMs,
  tags,
})

async function metric(name: string): Promise<MetricRow> {
  const row = await store.readMetric(PROJECT, name)
  if (row === undefined) throw new Error(`there is no metric ${name}`)
  return row
}

/** What is listed of a metric in the window of a resolution that holds `timeMs`. */
async function entriesOf(name: string, resolutionMs: number, timeMs = T0_MS): Promise<readonly IndexEntry[]> {
  const { metricId } = await metric(name)
  const fromMs = windowStart(resolutionMs, timeMs)
  const { timelines } = await store.readIndex({
    partition: 0,
    metricId,
    inbox: false,
    timelines: [{ resolutionMs, stretch: { fromMs, toMs: fromMs + windowWidthMs(resolutionMs) } }],
  })
  return timelines[0]!.entries
}

async function windowOf(name: string, resolutionMs: number, timeMs = T0_MS) {
  const { metricId } = await metric(name)
  return { metricId, resolutionMs, windowMs: windowStart(resolutionMs, timeMs) }
}

/** Points of every kind over some hours and series, some of them in the same moments. */
function mixture(seed: number): TestPoint[] {
  return Array.from({ length: 60 }, (_, i): TestPoint[] => {
    const timeMs = T0_MS + ((i * 7 + seed) % 40) * 5 * MINUTE_MS
    const tags = { host: String((i + seed) % 4) }
    return [
      gauge(seed * 100 + i, timeMs, tags),
      { name: 'hits', type: 'counter', value: i, timeMs, tags },
      {
        name: 'total',
        type: 'counter',
        value: seed * 1_000 + i,
        timeMs: T0_MS + (seed * 60 + i) * 1_000,
        tags,
        total: true,
      },
      { name: 'ms', type: 'distribution', value: (i * 31 + seed) % 97, timeMs, tags },
      { name: 'users', type: 'set', value: `user-${(i * seed) % 23}`, timeMs, tags },
    ]
  }).flat()
}

/** Everything a reader can be told of these metrics, at several widths. */
async function everything(): Promise<unknown> {
  const questions = [
    ['level', ['last', 'first', 'avg', 'min', 'max', 'sum', 'count']],
    ['hits', ['sum', 'rate', 'count']],
    ['total', ['sum', 'last', 'count']],
    ['ms', ['avg', 'sum', 'min', 'max', 'count', 'p0', 'p50', 'p99.9']],
    ['users', ['count']],
  ] as const
  const results: unknown[] = []
  for (const [name, aggregations] of questions) {
    for (const interval of ['1m', '15m', '1h', '1d']) {
      for (const groupBy of [[], ['host']]) {
        const to = T0_MS + 11 * HOUR_MS
        const { groups, startMs } = await ask(store, name, { aggregations, interval, groupBy, from: T0_MS, to })
        results.push([
          name,
          interval,
          [...startMs],
          groups.map(({ tags, present, values, totals }) => [
            tags,
            [...present],
            [...values].map(([aggregation, column]) => [aggregation, [...column].map(rounded)]),
            [...totals].map(([aggregation, value]) => [aggregation, rounded(value)]),
          ]),
        ])
      }
    }
  }
  return results
}

/** Sums add up in another order after a fold. */
function rounded(value: number): number {
  return Number(value.toPrecision(12))
}

describe('foldInbox', () => {
  it('changes nothing that a reader sees, nor does merging or sealing', async () => {
    await track(...mixture(1))
    await track(...mixture(2))
    const before = await everything()
    const step = await fold()
    expect(step?.entries).toBeGreaterThan(1)
    expect(await store.inboxSize(0)).toEqual({ entries: 0, bytes: 0 })
    expect(await everything()).toEqual(before)

    for (let seed = 3; seed < 14; seed++) {
      await track(...mixture(seed))
      if (seed % 4 !== 0) await fold()
    }
    const later = await everything()
    for (const { stepMs } of FOLD_SETTINGS.resolutions)
      await mergeWindow(store, 0, await windowOf('level', stepMs), { whole: false, nowMs: NOW_MS })
    expect(await everything()).toEqual(later)
    for (const name of ['level', 'hits', 'total', 'ms', 'users']) {
      const resolutions = name === 'users' ? FOLD_SETTINGS.setResolutions : FOLD_SETTINGS.resolutions
      for (const { stepMs } of resolutions)
        await mergeWindow(store, 0, await windowOf(name, stepMs), { whole: true, nowMs: NOW_MS })
    }
    await fold()
    expect(await everything()).toEqual(later)
  })

  it('does nothing with an empty inbox', async () => {
    expect(await fold()).toBeUndefined()
  })

  it('takes no more of the inbox than a step may, oldest first', async () => {
    for (let i = 0; i < 5; i++) await track(gauge(i, T0_MS + i * 1_000))
    const step = await fold({ ...FOLD_SETTINGS, stepBytesMax: 1 })
    expect(step).toMatchObject({ entries: 1 })
    expect((await store.inboxSize(0)).entries).toBe(4)
    expect(await totalOf(store, 'level', 'count')).toBe(5)
  })

  it('loses nothing and counts nothing twice when two folds run concurrently', async () => {
    for (let i = 0; i < 20; i++) await track({ name: 'hits', type: 'counter', value: 1 })
    const steps = await Promise.all([fold(), fold(), fold()])
    expect(steps.filter((step) => step !== undefined)).toHaveLength(1)
    expect(await totalOf(store, 'hits', 'sum')).toBe(20)
    expect(await entriesOf('hits', 10_000)).toHaveLength(1)
    expect((await store.inboxSize(0)).entries).toBe(0)
  })

  it('stays exact while points arrive, folds race and windows are merged', async () => {
    const faulty = new FaultyStore(store)
    const tracked = Array.from({ length: 60 }, async (_, i) => {
      for (let n = 0; n < i % 7; n++) await new Promise(setImmediate)
      await track({ name: 'hits', type: 'counter', value: 1, timeMs: T0_MS + (i % 3) * HOUR_MS })
    })
    await tracked[0]
    const folds = Array.from({ length: 15 }, () => fold(FOLD_SETTINGS, faulty.store))
    const window = await windowOf('hits', 10_000)
    const merges = [true, false, true].map((whole) => mergeWindow(faulty.store, 0, window, { whole, nowMs: NOW_MS }))
    await Promise.all([...tracked, ...folds, ...merges])
    expect(await totalOf(store, 'hits', 'sum')).toBe(60)
    while ((await fold()) !== undefined);
    expect(await totalOf(store, 'hits', 'sum')).toBe(60)
  })

  it('leaves the inbox as it is when its commit is refused', async () => {
    const faulty = new FaultyStore(store)
    await track(gauge(1))
    faulty.next('commitFold', respondWith(false))
    expect(await fold(FOLD_SETTINGS, faulty.store)).toBeUndefined()
    expect((await store.inboxSize(0)).entries).toBe(1)
    expect(await entriesOf('level', 10_000)).toHaveLength(0)
    expect(await totalOf(store, 'level', 'count')).toBe(1)
    expect(await fold(FOLD_SETTINGS, faulty.store)).toMatchObject({ entries: 1 })
  })

  it('adds a late point only to resolutions that have not expired its window', async () => {
    await track({ name: 'hits', type: 'counter', value: 1 })
    await fold()
    await expireDue(store, 0, FOLD_SETTINGS, NOW_MS + 6 * HOUR_MS)
    expect(await entriesOf('hits', 10_000)).toHaveLength(0)
    await track({ name: 'hits', type: 'counter', value: 10 })
    await track({ name: 'hits', type: 'counter', value: 100, timeMs: T0_MS + 2 * HOUR_MS })
    await fold()
    expect(await entriesOf('hits', 10_000)).toHaveLength(0)
    expect(await entriesOf('hits', 10_000, T0_MS + 2 * HOUR_MS)).toHaveLength(1)
    expect(await entriesOf('hits', MINUTE_MS)).toHaveLength(2)
    expect(await totalOf(store, 'hits', 'sum')).toBe(111)
    const { groups, meta } = await ask(store, 'hits', { interval: '10s' })
    expect(meta.bucketsUnavailable).toBeGreaterThan(0)
    expect(groups[0]!.totals.get('sum')).toBeNaN()
  })

  it('takes points of a stretch that has expired everywhere as new ones', async () => {
    await track({ name: 'hits', type: 'counter', value: 1 })
    await fold()
    for (let round = 0; round < 5; round++) await expireDue(store, 0, FOLD_SETTINGS, NOW_MS + 3_000 * DAY_MS)
    expect(await totalOf(store, 'hits', 'count')).toBe(0)
    await track({ name: 'hits', type: 'counter', value: 5 })
    await fold()
    expect(await entriesOf('hits', 10_000)).toHaveLength(1)
    const { groups } = await ask(store, 'hits', { interval: '10s', aggregations: ['sum'] })
    expect(groups[0]!.totals.get('sum')).toBe(5)
  })

  it('keeps a window that is written again from expiring', async () => {
    await track({ name: 'hits', type: 'counter', value: 1 })
    await fold()
    await track({ name: 'hits', type: 'counter', value: 2 })
    await fold(FOLD_SETTINGS, store, NOW_MS + 3 * HOUR_MS)
    expect(await expireDue(store, 0, FOLD_SETTINGS, NOW_MS + 7 * HOUR_MS)).toBe(0)
    expect(await entriesOf('hits', 10_000)).toHaveLength(2)
    expect(await expireDue(store, 0, FOLD_SETTINGS, NOW_MS + 9 * HOUR_MS)).toBe(1)
  })
})

describe('mergeWindow', () => {
  async function foldOften(times: number, from = 0): Promise<void> {
    for (let i = from; i < from + times; i++) {
      // All in one moment: the later arrival is the last value.
      await track(gauge(i), { name: 'hits', type: 'counter', value: 1 })
      await fold()
      await mergeWindow(store, 0, await windowOf('level', 10_000), { whole: false, nowMs: NOW_MS })
    }
  }

  it('makes one run of eight of a tier, and of eight of those one of the next', async () => {
    await foldOften(9)
    expect((await entriesOf('level', 10_000)).map(({ tier }) => tier)).toEqual([1, 0])
    expect(await totalOf(store, 'level', 'last')).toBe(8)
    await foldOften(56, 9)
    await mergeWindow(store, 0, await windowOf('level', 10_000), { whole: false, nowMs: NOW_MS })
    expect((await entriesOf('level', 10_000)).map(({ tier }) => tier)).toEqual([2, 0])
    expect(await totalOf(store, 'level', 'last')).toBe(64)
    expect(await totalOf(store, 'level', 'first')).toBe(0)
    expect(await totalOf(store, 'level', 'count')).toBe(65)
  })

  it('waits until a pile is complete', async () => {
    for (let i = 0; i < RUNS_PER_TIER - 1; i++) {
      await track(gauge(i))
      await fold()
    }
    const window = await windowOf('level', 10_000)
    expect(await mergeWindow(store, 0, window, { whole: false, nowMs: NOW_MS })).toBeUndefined()
    expect(await entriesOf('level', 10_000)).toHaveLength(RUNS_PER_TIER - 1)
  })

  it('seals a window into one deflated run and does so again only after more points', async () => {
    for (let n = 0; n < 3; n++) {
      await track(
        ...Array.from({ length: 300 }, (_, i) => gauge(50 + (i % 7) * n, T0_MS + i * 10_000, { host: `${i % 3}` })),
      )
      await fold()
    }
    const window = await windowOf('level', 10_000)
    const bytes = (entries: readonly IndexEntry[]) => entries.reduce((sum, { scalarBytes }) => sum + scalarBytes, 0)
    const open = bytes(await entriesOf('level', 10_000))
    expect(await mergeWindow(store, 0, window, { whole: true, nowMs: NOW_MS })).toMatchObject({ bytesRead: open })
    const sealed = await entriesOf('level', 10_000)
    expect(sealed.map(({ tier }) => tier)).toEqual([SEALED_TIER])
    expect(bytes(sealed)).toBeLessThan(open / 2)
    expect(await mergeWindow(store, 0, window, { whole: true, nowMs: NOW_MS })).toBeUndefined()

    await track(gauge(7, T0_MS, { host: 'late' }))
    await fold()
    expect(await mergeWindow(store, 0, window, { whole: true, nowMs: NOW_MS })).toBeDefined()
    expect((await entriesOf('level', 10_000)).map(({ tier }) => tier)).toEqual([SEALED_TIER])
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
    const window = await windowOf('level', 10_000)
    const late = mergeWindow(faulty.store, 0, window, { whole: true, nowMs: NOW_MS })
    await slow.reached
    expect(await mergeWindow(store, 0, window, { whole: true, nowMs: NOW_MS })).toBeDefined()
    const entries = await entriesOf('level', 10_000)
    slow.open()
    expect(await late).toBeUndefined()
    expect(await entriesOf('level', 10_000)).toEqual(entries)
    expect(await totalOf(store, 'level', 'count')).toBe(3)
  })

  it('splits a large window into blocks by series and merges it range by range', async () => {
    const series = 1_000
    const buckets = 30
    const wide = (n: number) =>
      Array.from({ length: series * buckets }, (_, i): TestPoint => {
        const bucket = Math.floor(i / series)
        // Values without a pattern, so that blocks are large.
        const value = Math.sin(i * 12.9898 + n) * 43_758.5453
        return gauge(value, T0_MS + bucket * 30_000 + n, { host: `host-${i % series}` })
      })
    for (let n = 0; n < 3; n++) await track(...wide(n))
    while ((await fold()) !== undefined);
    const before = await totals()
    const window = await windowOf('level', 10_000)
    expect(await mergeWindow(store, 0, window, { whole: true, nowMs: NOW_MS })).toBeDefined()
    const blocks = await entriesOf('level', 10_000)
    expect(await totals()).toEqual(before)
    for (let n = 3; n < 5; n++) await track(...wide(n))
    while ((await fold()) !== undefined);
    const after = await totals()
    expect(await mergeWindow(store, 0, window, { whole: true, nowMs: NOW_MS })).toBeDefined()
    expect(await totals()).toEqual(after)
    expect(after).toMatchObject({ count: series * buckets * 5 })
    expect(blocks.length).toBeGreaterThan(1)
    const sealed = await entriesOf('level', 10_000)
    expect(sealed.length).toBeGreaterThanOrEqual(blocks.length)
    expect(new Set(sealed.map(({ order }) => order)).size).toBe(1)

    async function totals() {
      const aggregations = ['count', 'min', 'max', 'last']
      const { groups } = await ask(store, 'level', { aggregations, groupBy: ['host'], interval: '1d' })
      const count = groups.reduce((sum, group) => sum + group.totals.get('count')!, 0)
      return { count, groups: groups.map((group) => [group.tags, [...group.totals]]) }
    }
  })
})

describe('FoldLoop', () => {
  const LOOP: FoldLoopSettings = { ...FOLD_SETTINGS, inboxBytesMax: 1 << 20, inboxAgeMsMax: 15_000, eventsKeptMs: 1 }

  function newLoop(through: Store, settings: Partial<FoldLoopSettings> = {}) {
    const failures: string[] = []
    let nowMs = NOW_MS
    const log = { error: (_details: object, message: string) => failures.push(message) }
    const loop = new FoldLoop(through, { ...LOOP, ...settings }, log, () => nowMs)
    onTestFinished(() => loop.stop())
    return { loop, failures, advance: (ms: number) => (nowMs += ms) }
  }

  async function noteInbox(loop: FoldLoop): Promise<void> {
    loop.noteCommit(0, (await store.inboxSize(0)).bytes)
  }

  it('folds what an earlier process left, on drain', async () => {
    for (let i = 0; i < 20; i++) await track(gauge(i))
    const { loop } = newLoop(store)
    await loop.start()
    await loop.drain()
    expect(await store.inboxSize(0)).toEqual({ entries: 0, bytes: 0 })
    expect(loop.totals).toMatchObject({ entries: 20, failures: 0 })
    expect(await totalOf(store, 'level', 'last')).toBe(19)
  })

  it('folds at once when the inbox has grown to its bound', async () => {
    const { loop } = newLoop(store, { inboxBytesMax: 10 })
    await track(gauge(1))
    await noteInbox(loop)
    await expect.poll(async () => (await store.inboxSize(0)).entries).toBe(0)
  })

  it('does not fold while it is held', async () => {
    const { loop, advance } = newLoop(store)
    loop.hold(NOW_MS + 5_000)
    await track(gauge(1))
    await noteInbox(loop)
    await loop.drain()
    expect((await store.inboxSize(0)).entries).toBe(1)
    advance(6_000)
    await loop.drain()
    expect((await store.inboxSize(0)).entries).toBe(0)
  })

  it('logs a failing store, lets points in meanwhile and goes on later', async () => {
    const faulty = new FaultyStore(store)
    const { loop, failures, advance } = newLoop(faulty.store)
    await track(gauge(1))
    await noteInbox(loop)
    faulty.always('commitFold', lostRequest)
    await loop.drain()
    expect(failures).toHaveLength(1)
    expect(loop.totals.failures).toBe(1)
    await track(gauge(2))
    expect(await totalOf(store, 'level', 'last')).toBe(2)
    faulty.heal()
    await loop.drain()
    expect((await store.inboxSize(0)).entries).toBe(2)
    advance(10_000)
    await loop.drain()
    expect((await store.inboxSize(0)).entries).toBe(0)
    expect(await totalOf(store, 'level', 'last')).toBe(2)
  })

  it('does not spin when its commits are refused again and again', async () => {
    const faulty = new FaultyStore(store)
    const { loop } = newLoop(faulty.store)
    await track(gauge(1))
    await noteInbox(loop)
    faulty.always('commitFold', respondWith(false))
    await loop.drain()
    expect(faulty.calls('commitFold')).toHaveLength(1)
    faulty.heal()
    await loop.drain()
    expect((await store.inboxSize(0)).entries).toBe(0)
  })

  it('stops in the middle of its work', async () => {
    for (let i = 0; i < 10; i++) await track(gauge(i))
    const faulty = new FaultyStore(store)
    const { loop } = newLoop(faulty.store, { stepBytesMax: 1 })
    await noteInbox(loop)
    const slow = gate()
    faulty.next('commitFold', slow.fault)
    const drained = loop.drain()
    await slow.reached
    const stopped = loop.stop()
    slow.open()
    await Promise.all([drained, stopped])
    expect((await store.inboxSize(0)).entries).toBe(9)
    expect(await totalOf(store, 'level', 'count')).toBe(10)
  })

  it('merges piles and seals windows that have ended', async () => {
    const { loop, advance } = newLoop(store)
    for (let i = 0; i < 8; i++) {
      await track(gauge(i))
      await noteInbox(loop)
      await loop.drain()
    }
    expect(loop.totals).toMatchObject({ steps: 8, merges: 4, seals: 0 })
    expect((await entriesOf('level', 10_000)).map(({ tier }) => tier)).toEqual([1])
    advance(2 * HOUR_MS)
    await loop.drain()
    expect((await entriesOf('level', 10_000)).map(({ tier }) => tier)).toEqual([SEALED_TIER])
    expect(await totalOf(store, 'level', 'last')).toBe(7)
  })
})
