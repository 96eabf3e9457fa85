import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { MINUTE_MS } from '../../../src/model/time.ts'
import type { Store } from '../../../src/store/store.ts'
import type { Writer, WriterSettings } from '../../../src/write/commit/writer.ts'
import { foldInbox } from '../../../src/write/fold/fold.ts'
import { mergeWindow } from '../../../src/write/fold/merge-window.ts'
import { clearDeleted } from '../../../src/write/fold/retention.ts'
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
import { FaultyStore, gate, lostAnswer, lostRequest } from '../../support/faulty-store.ts'
import { ForgetfulStore } from '../../support/forgetful-store.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

let real: Store
let nowMs: number

beforeEach(async () => {
  real = await openStore(await temporaryFolder(), 1)
  onTestFinished(() => real.close())
  nowMs = T0_MS
})

interface TestGateway {
  readonly writer: Writer
  readonly faulty: FaultyStore
  readonly told: { lost: number; warnings: string[] }
}

/** A gateway of several that share the store, as with Redis. */
function newGateway(
  faulty = new FaultyStore(real, { mayLoseWrites: true }),
  settings: Partial<WriterSettings> = {},
): TestGateway {
  const told = { lost: 0, warnings: [] as string[] }
  const writer = openWriter(
    faulty.store,
    { retainedLookMs: 3_600_000, storeWaitMsMax: 200, ...settings },
    { lost: (points) => (told.lost += points), warn: (message) => told.warnings.push(message) },
    () => nowMs,
  )
  onTestFinished(async () => {
    faulty.heal()
    await writer.close()
  })
  return { writer, faulty, told }
}

const hit = (value = 1, of = 'a'): TestPoint => ({ name: 'hits', type: 'counter', value, tags: { of } })
const load = (value: number): TestPoint => ({ name: 'load', type: 'gauge', value })
const user = (member: string): TestPoint => ({ name: 'users', type: 'set', value: member, tags: { of: 'x' } })
const track = ({ writer }: TestGateway, ...points: readonly TestPoint[]) => writer.track(PROJECT, decoderOf(points))
const remove = ({ writer }: TestGateway, name = 'hits', generation = 1) =>
  writer.deleteMetric({ project: PROJECT, name, generation })

async function fold(): Promise<void> {
  while ((await real.inboxSize(0)).entries > 0) await foldInbox(real, 0, FOLD_SETTINGS, nowMs)
}

describe.each([true, false])('a deleted metric (on a store that may lose writes: %s)', (mayLoseWrites) => {
  const newOne = () => newGateway(new FaultyStore(real, { mayLoseWrites }))

  it('is gone, and what is tracked next begins anew', async () => {
    const gateway = newOne()
    await track(gateway, hit(1), hit(2, 'b'))
    expect(await remove(gateway)).toBe(true)
    expect(await real.readMetric(PROJECT, 'hits')).toBeUndefined()
    expect(await track(gateway, { ...hit(), type: 'gauge', value: 5 })).toEqual([])
    expect(await real.readMetric(PROJECT, 'hits')).toMatchObject({
      type: 'gauge',
      generation: 2,
      points: 1,
      seriesCount: 1,
    })
    expect(await totalOf(real, 'hits', 'sum')).toBe(5)
    expect(gateway.told.warnings).toEqual([])
  })

  it('takes the points with it that were accepted before, and none that come after', async () => {
    const gateway = newOne()
    await track(gateway, hit(1), load(0))
    const held = gate()
    gateway.faulty.next('append', held.fault)
    const before = track(gateway, hit(10), load(1))
    const deleted = remove(gateway)
    const after = track(gateway, hit(100), load(2))
    const afterWithNewSeries = track(gateway, hit(1_000, 'new'), load(3))
    held.open()
    expect(await deleted).toBe(true)
    expect(await Promise.all([before, after, afterWithNewSeries])).toEqual([[], [], []])
    expect(await totalOf(real, 'hits', 'sum')).toBe(1_100)
    expect(await real.readMetric(PROJECT, 'hits')).toMatchObject({ generation: 2, points: 2, seriesCount: 2 })
    expect(await real.readMetric(PROJECT, 'load')).toMatchObject({ generation: 1, points: 4 })
  })

  it('may be deleted many times over', async () => {
    const gateway = newOne()
    for (let generation = 1; generation <= 20; generation++) {
      await track(gateway, hit(generation))
      expect(await totalOf(real, 'hits', 'sum')).toBe(generation)
      expect(await remove(gateway, 'hits', generation)).toBe(true)
      expect(await remove(gateway, 'hits', generation)).toBe(false)
    }
  })

  it('is not deleted when the store does not answer, and points wait for none that is under way', async () => {
    const gateway = newOne()
    await track(gateway, hit(1))
    gateway.faulty.always('append', lostRequest)
    gateway.faulty.always('deleteMetric', lostRequest)
    await expect(remove(gateway)).rejects.toMatchObject({ code: 'store_unavailable' })
    gateway.faulty.heal()
    await track(gateway, hit(2))
    expect(await totalOf(real, 'hits', 'sum')).toBe(3)
  })
})

describe('another gateway', () => {
  it('brings its points to the metric that is defined anew, all of them and each once', async () => {
    const [one, other] = [newGateway(), newGateway()]
    const kinds: TestPoint[] = [
      hit(1),
      hit(2, 'b'),
      load(7),
      user('ann'),
      { name: 'time', type: 'distribution', value: 5, tags: { b: '1', a: '2' } },
      { name: 'total', type: 'counter', value: 10, total: true },
    ]
    await track(other, ...kinds)
    for (const name of ['hits', 'users', 'time', 'total']) expect(await remove(one, name)).toBe(true)
    const again = kinds.map((point) =>
      point.total === true ? { ...point, value: 30, timeMs: T0_MS + MINUTE_MS } : point,
    )
    expect(await track(other, ...again, hit(3, 'c'), user('bob'), { ...kinds[4]!, value: 50 })).toEqual([])
    expect(await totalOf(real, 'hits', 'sum')).toBe(6)
    expect(await totalOf(real, 'load', 'count')).toBe(2)
    expect(await totalOf(real, 'users', 'count')).toBe(2)
    expect(await totalOf(real, 'time', 'count')).toBe(2)
    expect(Math.abs((await totalOf(real, 'time', 'max')) - 50)).toBeLessThan(1)
    // The total before was deleted, so that this one is the first.
    expect(await totalOf(real, 'total', 'sum')).toBe(0)
    expect(await real.readMetric(PROJECT, 'hits')).toMatchObject({ generation: 2, points: 3, seriesCount: 3 })
    const { groups } = await ask(real, 'hits', { aggregations: ['sum'], groupBy: ['of'] })
    expect(groups.map(({ tags, totals }) => [tags[0]![1], totals.get('sum')])).toEqual([
      ['a', 1],
      ['b', 2],
      ['c', 3],
    ])
    // From now on without a detour.
    const calls = other.faulty.calls('append').length
    await track(other, ...again)
    expect(other.faulty.calls('append')).toHaveLength(calls + 1)
    expect(other.told).toEqual({ lost: 0, warnings: [] })
    await fold()
    expect(await totalOf(real, 'hits', 'sum')).toBe(9)
  })

  it('also when a commit was applied and its answer lost, or its number is taken by a request with a key', async () => {
    const [one, other] = [newGateway(), newGateway()]
    await track(other, hit(1))
    await remove(one)
    other.faulty.next('append', lostAnswer)
    await other.writer.track(PROJECT, decoderOf([hit(10)]), 'key')
    await other.writer.track(PROJECT, decoderOf([hit(10)]), 'key')
    expect(await totalOf(real, 'hits', 'sum')).toBe(10)
  })

  it('refuses what it cannot bring there, and says so of each point from then on', async () => {
    const [one, other] = [newGateway(), newGateway()]
    await track(other, hit(1))
    await remove(one)
    await track(one, { ...hit(), type: 'gauge', value: 5 })
    const refused = { code: 'store_unavailable', message: expect.stringContaining('send the request again') }
    await expect(track(other, hit(2), load(1))).rejects.toMatchObject(refused)
    expect((await track(other, hit(2), load(1))).map(({ index, code }) => [index, code])).toEqual([
      [0, 'type_conflict'],
    ])
    expect(await totalOf(real, 'hits', 'sum')).toBe(5)
    expect(await real.readMetric(PROJECT, 'load')).toMatchObject({ points: 1 })
  })

  it('does not hold on to a type that is not the type any more', async () => {
    const [one, other] = [newGateway(), newGateway()]
    await track(one, hit(1))
    const gauge: TestPoint = { ...hit(), type: 'gauge', value: 5 }
    expect((await track(other, gauge)).map(({ code }) => code)).toEqual(['type_conflict'])
    await remove(one)
    expect((await track(other, gauge)).map(({ code }) => code)).toEqual(['type_conflict'])
    nowMs += 1_000
    expect(await track(other, gauge)).toEqual([])
    expect(await real.readMetric(PROJECT, 'hits')).toMatchObject({ type: 'gauge' })
  })
})

describe('a fold', () => {
  it('that has read the inbox before brings nothing back', async () => {
    const gateway = newGateway()
    await track(gateway, hit(1), load(1), user('ann'))
    await remove(gateway)
    await remove(gateway, 'users')
    await track(gateway, hit(10), user('bob'))
    await clearDeleted(real, 0, nowMs, () => false)
    await fold()
    await track(gateway, hit(100), user('bill'))
    await clearDeleted(real, 0, nowMs, () => false)
    expect(await totalOf(real, 'hits', 'sum')).toBe(110)
    expect(await totalOf(real, 'users', 'count')).toBe(2)
    expect(await totalOf(real, 'load', 'sum')).toBe(1)
    const windows = await real.dueWindows(0, Number.MAX_SAFE_INTEGER, 1_000)
    // A counter, a gauge and a set that live.
    expect(new Set(windows.map(({ metricId }) => `${metricId.hi} ${metricId.lo}`)).size).toBe(3)
  })

  it('or a merge that is under way when the rest goes finds it gone', async () => {
    const gateway = newGateway()
    for (let i = 0; i < 8; i++) {
      await track(gateway, hit(1))
      await fold()
    }
    const { metricId } = (await real.readMetric(PROJECT, 'hits'))!
    const [window] = await real.dueWindows(0, Number.MAX_SAFE_INTEGER, 1)
    await remove(gateway)
    // Between its reading and its commit everything goes.
    const slow = new FaultyStore(real)
    const held = gate()
    slow.next('commitFold', held.fault)
    const merging = mergeWindow(slow.store, 0, window!, { whole: true, nowMs })
    await held.reached
    await clearDeleted(real, 0, nowMs, () => false)
    held.open()
    expect(await merging).toBeUndefined()
    const timelines = [{ resolutionMs: window!.resolutionMs, stretch: { fromMs: 0, toMs: 2 * T0_MS } }]
    const index = await real.readIndex({ partition: 0, metricId, inbox: false, timelines })
    expect(index.timelines[0]!.entries).toEqual([])
  })
})

describe('a store that forgets', () => {
  it('is not given back what was deleted, and loses nothing else', async () => {
    const store = await ForgetfulStore.open()
    const gateway = newGateway(store.faulty)
    await track(gateway, hit(1), load(1))
    await store.remember()
    await track(gateway, hit(2), hit(3, 'b'), load(2), user('ann'))
    await remove(gateway)
    await remove(gateway, 'users')
    await track(gateway, { ...hit(), type: 'gauge', value: 40 }, user('bob'))
    await store.forget()
    await track(gateway, load(4), user('bill'))
    expect(await totalOf(store.current, 'load', 'sum')).toBe(7)
    expect(await store.current.readMetric(PROJECT, 'hits')).toMatchObject({ type: 'gauge', generation: 2, points: 1 })
    expect(await totalOf(store.current, 'hits', 'last')).toBe(40)
    expect(await totalOf(store.current, 'users', 'count')).toBe(2)
    expect(gateway.told.lost).toBe(0)
  })

  it('is told of a deletion again though nothing else was forgotten', async () => {
    const store = await ForgetfulStore.open()
    const gateway = newGateway(store.faulty, { retainedLookMs: 5 })
    await track(gateway, hit(1))
    await store.remember()
    await remove(gateway)
    await store.forget()
    await expect.poll(() => store.current.readMetric(PROJECT, 'hits')).toBeUndefined()
  })
})
