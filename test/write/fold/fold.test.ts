import { beforeEach, describe, expect, it } from 'vitest'
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../../src/model/time.ts'
import type { Store } from '../../../src/store/store.ts'
import type { Writer } from '../../../src/write/commit/writer.ts'
import { foldInbox } from '../../../src/write/fold/fold.ts'
import { mergeWindow } from '../../../src/write/fold/merge-window.ts'
import { expireDueWindows } from '../../../src/write/fold/remove-expired.ts'
import { ask, decoderOf, FOLD_SETTINGS, PROJECT, T0_MS, type TestPoint, totalOf } from '../../support/engine.ts'
import { FaultyStore, respondWith } from '../../support/faulty-store.ts'
import { openTestStore, openTestWriter } from '../../support/test-writer.ts'
import { entriesOf, gauge, NOW_MS, windowOf } from './harness.ts'

let store: Store
let writer: Writer

beforeEach(async () => {
  store = await openTestStore(1)
  writer = openTestWriter(new FaultyStore(store))
})

const track = (...points: readonly TestPoint[]) => writer.track(PROJECT, decoderOf(points))
const fold = (settings = FOLD_SETTINGS, through = store, nowMs = NOW_MS) => foldInbox(through, 0, settings, nowMs)
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
          groups.map(({ tags, bucketStates, values, totals }) => [
            tags,
            [...bucketStates],
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
  it('an entry has the buckets with data in its block', async () => {
    const atSeconds = (seconds: number) => ({ fromMs: T0_MS + seconds * 1_000, toMs: T0_MS + (seconds + 10) * 1_000 })
    await track(gauge(1, T0_MS + 3_000), gauge(2, T0_MS + 31_000, { host: 'a' }), gauge(3, T0_MS + 9_000))
    await fold()
    await track(gauge(4, T0_MS + 75_000, { host: 'b' }))
    await fold()
    const bucketsAt = async (resolutionMs: number) =>
      (await entriesOf(store, 'level', resolutionMs)).map(({ buckets }) => buckets)
    expect(await bucketsAt(10_000)).toEqual([{ fromMs: T0_MS, toMs: T0_MS + 40_000 }, atSeconds(70)])
    expect(await bucketsAt(MINUTE_MS)).toEqual([
      { fromMs: T0_MS, toMs: T0_MS + MINUTE_MS },
      { fromMs: T0_MS + MINUTE_MS, toMs: T0_MS + 2 * MINUTE_MS },
    ])
    await mergeWindow(store, 0, await windowOf(store, 'level', 10_000), { nowMs: NOW_MS, isSealing: true })
    expect(await bucketsAt(10_000)).toEqual([{ fromMs: T0_MS, toMs: T0_MS + 80_000 }])
  })

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
    for (const { bucketWidthMs } of FOLD_SETTINGS.resolutions)
      await mergeWindow(store, 0, await windowOf(store, 'level', bucketWidthMs), { isSealing: false, nowMs: NOW_MS })
    expect(await everything()).toEqual(later)
    for (const name of ['level', 'hits', 'total', 'ms', 'users']) {
      const resolutions = name === 'users' ? FOLD_SETTINGS.setResolutions : FOLD_SETTINGS.resolutions
      for (const { bucketWidthMs } of resolutions)
        await mergeWindow(store, 0, await windowOf(store, name, bucketWidthMs), { isSealing: true, nowMs: NOW_MS })
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
    expect(await entriesOf(store, 'hits', 10_000)).toHaveLength(1)
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
    const window = await windowOf(store, 'hits', 10_000)
    const merges = [true, false, true].map((isSealing) =>
      mergeWindow(faulty.store, 0, window, { isSealing, nowMs: NOW_MS }),
    )
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
    expect(await entriesOf(store, 'level', 10_000)).toHaveLength(0)
    expect(await totalOf(store, 'level', 'count')).toBe(1)
    expect(await fold(FOLD_SETTINGS, faulty.store)).toMatchObject({ entries: 1 })
  })

  it('adds a late point only to resolutions that have not expired its window', async () => {
    await track({ name: 'hits', type: 'counter', value: 1 })
    await fold()
    await expireDueWindows(store, 0, FOLD_SETTINGS, NOW_MS + 6 * HOUR_MS)
    expect(await entriesOf(store, 'hits', 10_000)).toHaveLength(0)
    await track({ name: 'hits', type: 'counter', value: 10 })
    await track({ name: 'hits', type: 'counter', value: 100, timeMs: T0_MS + 2 * HOUR_MS })
    await fold()
    expect(await entriesOf(store, 'hits', 10_000)).toHaveLength(0)
    expect(await entriesOf(store, 'hits', 10_000, T0_MS + 2 * HOUR_MS)).toHaveLength(1)
    expect(await entriesOf(store, 'hits', MINUTE_MS)).toHaveLength(2)
    expect(await totalOf(store, 'hits', 'sum')).toBe(111)
    const { groups, meta } = await ask(store, 'hits', { interval: '10s' })
    expect(meta.bucketsUnavailable).toBeGreaterThan(0)
    expect(groups[0]!.totals.get('sum')).toBeNaN()
  })

  it('takes points of a stretch that has expired everywhere as new ones', async () => {
    await track({ name: 'hits', type: 'counter', value: 1 })
    await fold()
    for (let round = 0; round < 5; round++) await expireDueWindows(store, 0, FOLD_SETTINGS, NOW_MS + 3_000 * DAY_MS)
    expect(await totalOf(store, 'hits', 'count')).toBe(0)
    await track({ name: 'hits', type: 'counter', value: 5 })
    await fold()
    expect(await entriesOf(store, 'hits', 10_000)).toHaveLength(1)
    const { groups } = await ask(store, 'hits', { interval: '10s', aggregations: ['sum'] })
    expect(groups[0]!.totals.get('sum')).toBe(5)
  })

  it('keeps a window that is written again from expiring', async () => {
    await track({ name: 'hits', type: 'counter', value: 1 })
    await fold()
    await track({ name: 'hits', type: 'counter', value: 2 })
    await fold(FOLD_SETTINGS, store, NOW_MS + 3 * HOUR_MS)
    expect(await expireDueWindows(store, 0, FOLD_SETTINGS, NOW_MS + 7 * HOUR_MS)).toBe(0)
    expect(await entriesOf(store, 'hits', 10_000)).toHaveLength(2)
    expect(await expireDueWindows(store, 0, FOLD_SETTINGS, NOW_MS + 9 * HOUR_MS)).toBe(1)
  })
})
