import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import type { GatewayError } from '../../../src/model/errors.ts'
import { DAY_MS, MINUTE_MS } from '../../../src/model/time.ts'
import type { Store } from '../../../src/store/store.ts'
import type { Writer, WriterSettings } from '../../../src/write/commit/writer.ts'
import { foldInbox } from '../../../src/write/fold/fold.ts'
import { mergeWindow } from '../../../src/write/fold/merge-window.ts'
import { clearDeletedMetrics } from '../../../src/write/fold/remove-expired.ts'
import {
  ask,
  decoderOf,
  FOLD_SETTINGS,
  openStore,
  PROJECT,
  T0_MS,
  type TestPoint,
  totalOf,
} from '../../support/engine.ts'
import { FaultyStore, gate, lostRequest, lostResponse } from '../../support/faulty-store.ts'
import { ForgetfulStore } from '../../support/forgetful-store.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'
import { openTestStore, openTestWriter } from '../../support/test-writer.ts'

let real: Store
let nowMs: number

beforeEach(async () => {
  real = await openTestStore(1)
  nowMs = T0_MS
})

interface TestGateway {
  readonly writer: Writer
  readonly faulty: FaultyStore
  readonly seen: { lost: number; warnings: string[] }
}

/** A gateway of several that share the store, as with Redis. */
function newGateway(
  faulty = new FaultyStore(real, { mayLoseWrites: true }),
  settings: Partial<WriterSettings> = {},
): TestGateway {
  const seen = { lost: 0, warnings: [] as string[] }
  const writer = openTestWriter(
    faulty,
    { lossCheckIntervalMs: 3_600_000, storeWaitMsMax: 1_000, ...settings },
    { pointsLost: (points) => (seen.lost += points), warn: (message) => seen.warnings.push(message) },
    () => nowMs,
  )
  return { writer, faulty, seen }
}

const hit = (value = 1, host = 'a'): TestPoint => ({ name: 'hits', type: 'counter', value, tags: { host } })
const load = (value: number): TestPoint => ({ name: 'load', type: 'gauge', value })
const user = (member: string): TestPoint => ({ name: 'users', type: 'set', value: member, tags: { host: 'x' } })
const track = ({ writer }: TestGateway, ...points: readonly TestPoint[]) => writer.track(PROJECT, decoderOf(points))
const remove = ({ writer }: TestGateway, name = 'hits', generation = 1) =>
  writer.deleteMetric({ project: PROJECT, name, generation })

const DELETED_MEANWHILE = {
  code: 'store_unavailable',
  message: expect.stringMatching(/deleted meanwhile; nothing was stored, send the request again/),
  details: undefined,
}

async function fold(): Promise<void> {
  while ((await real.inboxSize(0)).entries > 0) await foldInbox(real, 0, FOLD_SETTINGS, nowMs)
}

describe.each([true, false])('a deleted metric (on a store that may lose writes: %s)', (mayLoseWrites) => {
  const newOne = () => newGateway(new FaultyStore(real, { mayLoseWrites }))

  it('that could not be deleted fails nobody but who asked for it', async () => {
    const gateway = newOne()
    await track(gateway, hit(1))
    const deletion = gate()
    gateway.faulty.next('deleteMetric', () =>
      deletion.fault(async () => {
        await Promise.resolve()
        throw new Error('the disk broke')
      }),
    )
    const removed = remove(gateway).catch((error: Error) => error.message)
    await deletion.reached
    const tracked = track(gateway, hit(2))
    deletion.open()
    expect(await removed).toBe('the disk broke')
    expect(await tracked).toEqual([])
    expect(await totalOf(real, 'hits', 'sum')).toBe(3)
  })

  it('is gone, and the next points define it again', async () => {
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
    expect(gateway.seen.warnings).toEqual([])
  })

  it('includes points accepted before the deletion, and none accepted after it', async () => {
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

  it('may be defined and deleted many times', async () => {
    const gateway = newOne()
    for (let generation = 1; generation <= 20; generation++) {
      await track(gateway, hit(generation))
      expect(await totalOf(real, 'hits', 'sum')).toBe(generation)
      expect(await remove(gateway, 'hits', generation)).toBe(true)
      expect(await remove(gateway, 'hits', generation)).toBe(false)
    }
  })

  it('stays when the store does not respond, and later points do not wait', async () => {
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

describe('a commit of another gateway', () => {
  it('is refused once, stores nothing, and its retry counts in the metric that is defined again', async () => {
    const [first, other] = [newGateway(), newGateway()]
    const kinds: TestPoint[] = [
      hit(1),
      hit(2, 'b'),
      load(7),
      user('ann'),
      { name: 'time', type: 'distribution', value: 5, tags: { b: '1', a: '2' } },
      { name: 'total', type: 'counter', value: 10, total: true },
    ]
    await track(other, ...kinds)
    for (const name of ['hits', 'users', 'time', 'total']) expect(await remove(first, name)).toBe(true)
    const again = kinds.map((point) =>
      point.total === true ? { ...point, value: 30, timeMs: T0_MS + MINUTE_MS } : point,
    )
    const request = [...again, hit(3, 'c'), user('bob'), { ...kinds[4]!, value: 50 }]
    await expect(track(other, ...request)).rejects.toMatchObject(DELETED_MEANWHILE)
    expect(await totalOf(real, 'load', 'count')).toBe(1)
    expect(await track(other, ...request)).toEqual([])
    expect(await totalOf(real, 'hits', 'sum')).toBe(6)
    expect(await totalOf(real, 'load', 'count')).toBe(2)
    expect(await totalOf(real, 'users', 'count')).toBe(2)
    expect(await totalOf(real, 'time', 'count')).toBe(2)
    // The total before was deleted, so that this one is the first.
    expect(await totalOf(real, 'total', 'sum')).toBe(0)
    expect(await real.readMetric(PROJECT, 'hits')).toMatchObject({ generation: 2, points: 3, seriesCount: 3 })
    expect(await real.readMetric(PROJECT, 'load')).toMatchObject({ generation: 1, points: 2, seriesCount: 1 })
    const { groups } = await ask(real, 'hits', { aggregations: ['sum'], groupBy: ['host'] })
    expect(groups.map(({ tags, totals }) => [tags[0]![1], totals.get('sum')])).toEqual([
      ['a', 1],
      ['b', 2],
      ['c', 3],
    ])
    const calls = other.faulty.calls('append').length
    await track(other, ...again)
    expect(other.faulty.calls('append')).toHaveLength(calls + 1)
    expect(other.seen).toEqual({ lost: 0, warnings: [] })
    await fold()
    expect(await totalOf(real, 'hits', 'sum')).toBe(9)
  })

  it('may retry with its idempotency key: the request counts once, also when the response of a commit is lost', async () => {
    const [first, other] = [newGateway(), newGateway()]
    await track(other, hit(1))
    await remove(first)
    other.faulty.next('append', lostResponse)
    const attempt = () => other.writer.track(PROJECT, decoderOf([hit(10)]), 'key')
    await expect(attempt()).rejects.toMatchObject(DELETED_MEANWHILE)
    other.faulty.next('append', lostResponse)
    await attempt()
    await attempt()
    expect(await totalOf(real, 'hits', 'sum')).toBe(10)
    expect(await real.readMetric(PROJECT, 'hits')).toMatchObject({ points: 1 })
  })

  it('counts nothing of a refused commit, even when its first attempt arrives late', async () => {
    const [first, other] = [newGateway(), newGateway()]
    await track(other, hit(1), load(1))
    await remove(first)
    other.faulty.next('append', lostRequest)
    await expect(track(other, hit(2), load(2))).rejects.toMatchObject(DELETED_MEANWHILE)
    const [late] = other.faulty.calls('append').at(-3)!
    const fenced = late.map(() => ({ status: 'known' }))
    expect(await real.append(late)).toEqual(fenced)
    expect(await totalOf(real, 'load', 'sum')).toBe(1)
    await track(other, hit(2), load(2))
    expect(await totalOf(real, 'hits', 'sum')).toBe(2)
    expect(await totalOf(real, 'load', 'sum')).toBe(3)
  })

  it('refuses only requests with points in the refused commit', async () => {
    const store = await openStore(await temporaryFolder(), 2)
    onTestFinished(() => store.close())
    const [first, other] = [new FaultyStore(store), new FaultyStore(store)].map((faulty) => newGateway(faulty))
    const partitionOfName = async (name: string) => (await store.readMetric(PROJECT, name))!.partition
    const gauge = (name: string): TestPoint => ({ name, type: 'gauge', value: 1 })
    const names = Array.from({ length: 20 }, (_, i) => `m${i}`)
    await track(other!, ...names.map(gauge))
    const partitions = await Promise.all(names.map(partitionOfName))
    const [here, there] = [names[partitions.indexOf(0)]!, names[partitions.indexOf(1)]!]
    const neighbour = names[partitions.lastIndexOf(0)]!
    await remove(first!, here)
    const requests = [[here], [there], [neighbour, there], [neighbour]].map((tracked) =>
      track(other!, ...tracked.map(gauge)).then(
        () => 'stored',
        (error: GatewayError) => error.details?.['outcome'] ?? error.code,
      ),
    )
    expect(await Promise.all(requests)).toEqual(['store_unavailable', 'stored', 'unknown', 'store_unavailable'])
    expect(await totalOf(store, neighbour, 'count')).toBe(1)
    expect(await totalOf(store, there, 'count')).toBe(3)
  })

  it('is refused, and its retry gets a type conflict where the name has another type by then', async () => {
    const [first, other] = [newGateway(), newGateway()]
    await track(other, hit(1))
    await remove(first)
    await track(first, { ...hit(), type: 'gauge', value: 5 })
    await expect(track(other, hit(2), load(1))).rejects.toMatchObject(DELETED_MEANWHILE)
    expect((await track(other, hit(2), load(1))).map(({ index, code }) => [index, code])).toEqual([
      [0, 'type_conflict'],
    ])
    expect(await totalOf(real, 'hits', 'sum')).toBe(5)
    expect(await real.readMetric(PROJECT, 'load')).toMatchObject({ points: 1 })
  })

  it.each([
    ['', 1_000],
    [', and no longer when the clock was set back', -DAY_MS],
  ])('caches a type conflict for one second%s', async (_, passedMs) => {
    const [first, other] = [newGateway(), newGateway()]
    await track(first, hit(1))
    const gauge: TestPoint = { ...hit(), type: 'gauge', value: 5 }
    expect((await track(other, gauge)).map(({ code }) => code)).toEqual(['type_conflict'])
    await remove(first)
    expect((await track(other, gauge)).map(({ code }) => code)).toEqual(['type_conflict'])
    nowMs += passedMs
    expect(await track(other, gauge)).toEqual([])
    expect(await real.readMetric(PROJECT, 'hits')).toMatchObject({ type: 'gauge' })
  })

  it('caches a type conflict for one second from before the row was read', async () => {
    const [first, other] = [newGateway(), newGateway()]
    await track(first, hit(1))
    other.faulty.next('readMetrics', async (proceed) => {
      const rows = await proceed()
      await remove(first)
      nowMs += 900
      return rows
    })
    const gauge: TestPoint = { ...hit(), type: 'gauge', value: 5 }
    expect((await track(other, gauge)).map(({ code }) => code)).toEqual(['type_conflict'])
    nowMs += 100
    expect(await track(other, gauge)).toEqual([])
  })
})

describe('a fold', () => {
  it('that read the inbox before the deletion brings nothing back', async () => {
    const gateway = newGateway()
    await track(gateway, hit(1), load(1), user('ann'))
    await remove(gateway)
    await remove(gateway, 'users')
    await track(gateway, hit(10), user('bob'))
    await clearDeletedMetrics(real, 0, nowMs, () => false)
    await fold()
    await track(gateway, hit(100), user('bill'))
    await clearDeletedMetrics(real, 0, nowMs, () => false)
    expect(await totalOf(real, 'hits', 'sum')).toBe(110)
    expect(await totalOf(real, 'users', 'count')).toBe(2)
    expect(await totalOf(real, 'load', 'sum')).toBe(1)
    const windows = await real.dueWindows(0, Number.MAX_SAFE_INTEGER, 1_000)
    // A counter, a gauge and a set that live.
    expect(new Set(windows.map(({ metricId }) => `${metricId.hi} ${metricId.lo}`)).size).toBe(3)
  })

  it('or a merge in progress fails when the data is cleared', async () => {
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
    const merging = mergeWindow(slow.store, 0, window!, { isSealing: true, nowMs })
    await held.reached
    await clearDeletedMetrics(real, 0, nowMs, () => false)
    held.open()
    expect(await merging).toBeUndefined()
    const timelines = [{ resolutionMs: window!.resolutionMs, stretch: { fromMs: 0, toMs: 2 * T0_MS } }]
    const index = await real.readIndex({ partition: 0, metricId, withInbox: false, timelines })
    expect(index.timelines[0]!.entries).toEqual([])
  })
})

describe('a store that lost writes', () => {
  it('gets all other points again, and nothing of the deleted metric', async () => {
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
    expect(gateway.seen.lost).toBe(0)
  })

  it('gets a lost deletion again though it lost nothing else', async () => {
    const store = await ForgetfulStore.open()
    const gateway = newGateway(store.faulty, { lossCheckIntervalMs: 5 })
    await track(gateway, hit(1))
    await store.remember()
    await remove(gateway)
    await store.forget()
    await expect.poll(() => store.current.readMetric(PROJECT, 'hits')).toBeUndefined()
  })
})
