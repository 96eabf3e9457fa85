import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { GatewayError } from '../../../src/model/errors.ts'
import { partitionOf } from '../../../src/model/metric.ts'
import { DAY_MS } from '../../../src/model/time.ts'
import type { Commit } from '../../../src/store/store.ts'
import type { Writer, WriterEvents, WriterSettings } from '../../../src/write/commit/writer.ts'
import { ask, decoderOf, openWriter, PROJECT, T0_MS, type TestPoint, totalOf } from '../../support/engine.ts'
import { type FaultyStore, gate, lostRequest, lostResponse } from '../../support/faulty-store.ts'
import { ForgetfulStore } from '../../support/forgetful-store.ts'
import { listAll } from '../../support/list-metrics.ts'
import { randomOf } from '../../support/random.ts'
import { until } from '../../support/redis-server.ts'
import { openTestWriter } from '../../support/test-writer.ts'

let store: ForgetfulStore
let faulty: FaultyStore
let seen: { lost: number; losses: number; warnings: string[] }

beforeEach(async () => {
  store = await ForgetfulStore.open()
  faulty = store.faulty
  seen = { lost: 0, losses: 0, warnings: [] }
})

/** Looks by itself only when a test says how often. */
function newWriter(settings: Partial<WriterSettings> = {}, events: Partial<WriterEvents> = {}): Writer {
  return openTestWriter(
    faulty,
    { lossCheckIntervalMs: 3_600_000, ...settings },
    {
      pointsLost: (points) => (seen.lost += points),
      writesLost: () => seen.losses++,
      warn: (message) => seen.warnings.push(message),
      ...events,
    },
  )
}

const hit = (value = 1, host = ''): TestPoint => ({ name: 'hits', type: 'counter', value, tags: { host } })

function track(writer: Writer, ...points: readonly TestPoint[]) {
  return writer.track(PROJECT, decoderOf(points))
}

/** The store loses a commit of two points; a round adds 110 to their series before the loss is noticed. */
async function loseWritesUnderARound(writer: Writer): Promise<void> {
  await store.remember()
  await track(writer, hit(1, 'a'), hit(1, 'b'))
  await store.forget()
  const slow = gate()
  faulty.next('append', slow.fault)
  const first = track(writer, hit(10, 'a'))
  await slow.reached
  // Known to us, forgotten by the store, and folded before we hear of it.
  const second = track(writer, hit(100, 'b'))
  slow.open()
  await Promise.all([first, second])
}

/** The commits offered from a call on, one after the other. */
function offered(fromCall: number): Commit[] {
  return faulty
    .calls('append')
    .slice(fromCall)
    .flatMap(([commits]) => commits)
}

describe('a store that lost commits', () => {
  it('gets them replayed once, in order and before anything new', async () => {
    const writer = newWriter()
    await track(writer, hit(1, 'a'))
    await store.remember()
    for (const [i, host] of ['a', 'b', 'c', 'a'].entries()) await track(writer, hit(10 ** (i + 1), host))
    await store.forget()
    const calls = faulty.calls('append').length
    await track(writer, hit(100_000, 'd'))
    expect(await totalOf(store.current, 'hits', 'sum')).toBe(111_111)
    expect((await store.current.readMetric(PROJECT, 'hits'))?.points).toBe(6)
    // Refused for the gap, then what was missing, then itself.
    expect(offered(calls).map(({ commitNumber }) => commitNumber)).toEqual([6, 2, 3, 4, 5, 6])
    expect(new Set(offered(0).map(({ writer: name }) => name)).size).toBe(1)
    expect(seen).toMatchObject({ lost: 0, losses: 1 })
  })

  it('gets their events again too', async () => {
    const writer = newWriter()
    const event = (id: string) => ({
      partition: partitionOf(PROJECT, 'hits', 2),
      event: { project: PROJECT, id, timeMs: T0_MS, json: '{"name":"e"}' },
    })
    await writer.track(PROJECT, () => {}, undefined, [event('A')])
    await store.remember()
    await writer.track(PROJECT, decoderOf([hit(1, 'a')]), undefined, [event('B')])
    await writer.track(PROJECT, () => {}, 'key', [event('C'), event('D')])
    await store.forget()
    await writer.track(PROJECT, () => {}, undefined, [event('E')])
    const request = { project: PROJECT, fromMs: T0_MS, toMs: T0_MS, limit: 10, bytesMax: 1_000 }
    expect((await store.current.readEvents(request)).map(({ id }) => id)).toEqual(['E', 'D', 'C', 'B', 'A'])
    expect(await totalOf(store.current, 'hits', 'sum')).toBe(1)
    // And its marker with them.
    await writer.track(PROJECT, () => {}, 'key', [event('F')])
    expect(await store.current.readEvents(request)).toHaveLength(5)
    expect(seen.lost).toBe(0)
  })

  it('has lost nothing when a watermark expired', async () => {
    let nowMs = T0_MS
    const writer = openWriter(
      faulty.store,
      { lossCheckIntervalMs: 500 },
      { warn: (message) => seen.warnings.push(message) },
      () => nowMs,
    )
    onTestFinished(() => writer.close())
    await track(writer, hit(1, 'a'))
    // The machine sleeps; another gateway goes on meanwhile.
    nowMs += 8 * DAY_MS
    await store.current.sweep(nowMs)
    await until('the commit is kept', () => writer.retainedBytes === 0)
    expect(await totalOf(store.current, 'hits', 'sum')).toBe(1)
    expect(seen.warnings).toEqual([])
    await track(writer, hit(10, 'a'))
    expect(await totalOf(store.current, 'hits', 'sum')).toBe(11)
  })

  it('stays without them when nothing is replayed', async () => {
    const writer = newWriter({ retainedBytesMax: 1 })
    await track(writer, hit(1, 'a'))
    await store.remember()
    for (const [i, host] of ['a', 'b', 'c', 'a'].entries()) await track(writer, hit(10 ** (i + 1), host))
    await store.forget()
    await track(writer, hit(100_000, 'd'))
    expect(await totalOf(store.current, 'hits', 'sum')).toBe(100_001)
    expect(seen.lost).toBe(4)
    expect(seen.warnings.filter((text) => text.includes('lost'))).toHaveLength(1)
    // Under another name, and every series is registered that the store may not know.
    await track(writer, hit(1_000_000, 'b'))
    const { groups } = await ask(store.current, 'hits', { aggregations: ['sum'], groupBy: ['host'] })
    expect(groups.map(({ tags, totals }) => [tags[0]![1], totals.get('sum')])).toEqual([
      ['a', 1],
      ['b', 1_000_000],
      ['d', 100_000],
    ])
    expect(new Set(offered(0).map(({ writer: name }) => name)).size).toBe(2)
  })

  it('gets all metrics and series again, with units, members and every kind of rollup', async () => {
    const writer = newWriter()
    await store.remember()
    const points: TestPoint[] = [
      hit(1, 'a'),
      { name: 'users', type: 'set', value: 'ann', tags: { host: 'a' } },
      { name: 'users', type: 'set', value: 'bob', tags: { host: 'b' } },
      { name: 'ms', type: 'distribution', value: 5, tags: { host: 'a' } },
      { name: 'level', type: 'gauge', value: 7 },
      { name: 'total', type: 'counter', value: 100, total: true },
    ]
    await writer.track(PROJECT, (sink) => {
      sink.resolve('ms', 'distribution', [], { unit: 'ms', description: 'time to answer' })
      decoderOf(points)(sink)
    })
    // Of series that were registered before, in a commit of their own.
    await track(writer, ...points)
    await track(writer, { name: 'total', type: 'counter', value: 130, total: true, timeMs: T0_MS + 1_000 })
    await store.forget()
    expect(await listAll(store.current, PROJECT)).toEqual([])
    await track(writer, { name: 'level', type: 'gauge', value: 8, timeMs: T0_MS + 1_000 })
    // The other partition, of which the request had nothing, right behind it.
    await expect.poll(async () => (await listAll(store.current, PROJECT)).length).toBe(5)
    await expect.poll(() => totalOf(store.current, 'hits', 'sum')).toBe(2)
    await expect.poll(() => totalOf(store.current, 'users', 'count')).toBe(2)
    await expect.poll(() => totalOf(store.current, 'ms', 'count')).toBe(2)
    expect(await totalOf(store.current, 'level', 'last')).toBe(8)
    expect(await totalOf(store.current, 'total', 'sum')).toBe(30)
    expect(await store.current.readMetric(PROJECT, 'ms')).toMatchObject({ unit: 'ms', description: 'time to answer' })
    expect((await store.current.readMetric(PROJECT, 'users'))?.seriesCount).toBe(2)
  })

  it('loses nothing of a round that was open meanwhile', async () => {
    const writer = newWriter()
    await loseWritesUnderARound(writer)
    expect(await totalOf(store.current, 'hits', 'sum')).toBe(112)
    expect((await store.current.readMetric(PROJECT, 'hits'))?.seriesCount).toBe(2)
  })

  it('gets them by a check, without a new request', async () => {
    const writer = newWriter({ lossCheckIntervalMs: 10 })
    await store.remember()
    await track(writer, hit(1, 'a'))
    await track(writer, hit(10, 'b'))
    await store.forget()
    await expect.poll(async () => (await store.current.readMetric(PROJECT, 'hits'))?.points).toBe(2)
    expect(await totalOf(store.current, 'hits', 'sum')).toBe(11)
    expect(seen).toMatchObject({ lost: 0, losses: 1 })
  })

  it('makes the gateway drop its caches also when it lost only the newest commit', async () => {
    const writer = newWriter({ lossCheckIntervalMs: 10 })
    await track(writer, hit(1, 'a'))
    await store.remember()
    await track(writer, hit(10, 'b'))
    await store.forget()
    await expect.poll(async () => (await store.current.readMetric(PROJECT, 'hits'))?.points).toBe(2)
    await expect.poll(() => seen.losses).toBe(1)
  })

  it('gets them again when it loses them a second time', async () => {
    const writer = newWriter()
    await store.remember()
    await track(writer, hit(1, 'a'))
    await store.forget()
    await store.remember()
    await track(writer, hit(10, 'b'))
    await store.forget()
    await track(writer, hit(100, 'c'))
    expect(await totalOf(store.current, 'hits', 'sum')).toBe(111)
  })

  it('gets them again over a bad connection', async () => {
    const writer = newWriter()
    await store.remember()
    for (let i = 0; i < 3; i++) await track(writer, hit(10 ** i, String(i)))
    await store.forget()
    faulty.next('append', (proceed) => proceed(), lostRequest, lostResponse, lostResponse, lostRequest)
    await track(writer, hit(1_000, 'last'))
    expect(await totalOf(store.current, 'hits', 'sum')).toBe(1_111)
  })

  it('gets a fence again too, so that what was refused stays out', async () => {
    const writer = newWriter({ storeWaitMsMax: 100 })
    await track(writer, hit(1, 'a'))
    await store.remember()
    faulty.always('append', lostRequest)
    await expect(track(writer, hit(10, 'b'))).rejects.toMatchObject({ details: { outcome: 'unknown' } })
    faulty.heal()
    await expect.poll(() => succeeds(track(writer, hit(100, 'c')))).toBe(true)
    await store.forget()
    await track(writer, hit(1_000, 'd'))
    expect(await totalOf(store.current, 'hits', 'sum')).toBe(1_101)
  })

  it('is detected for each partition', async () => {
    const writer = newWriter()
    const names = Array.from({ length: 12 }, (_, i): TestPoint => ({ name: `m${i}`, type: 'counter', value: 1 }))
    await track(writer, ...names)
    await store.remember()
    await track(writer, ...names)
    await track(writer, names[0]!)
    await store.forget()
    await track(writer, names[0]!)
    await track(writer, ...names)
    for (const [i, { name }] of names.entries()) expect(await totalOf(store.current, name, 'sum')).toBe(i === 0 ? 5 : 3)
  })

  it('gets markers again, so that a request with a key counts once', async () => {
    const writer = newWriter()
    await store.remember()
    await writer.track(PROJECT, decoderOf([hit(1, 'a')]), 'key')
    await store.forget()
    await track(writer, hit(10, 'b'))
    await writer.track(PROJECT, decoderOf([hit(1, 'a')]), 'key')
    expect(await totalOf(store.current, 'hits', 'sum')).toBe(11)
  })
})

describe('a store that lost more than is retained', () => {
  it('loses the points of evicted commits and gets the rest under a new writer name', async () => {
    // Room for two or three commits.
    const writer = newWriter({ retainedBytesMax: 1_700 })
    await track(writer, hit(1, 'a'))
    await store.remember()
    for (let i = 1; i < 9; i++) await track(writer, hit(10 ** i, String(i)), hit(0, String(i)))
    await store.forget()
    await track(writer, hit(0, 'last'))
    const total = await totalOf(store.current, 'hits', 'sum')
    // The newest are all there: some nines of ones, then zeros, then the first.
    expect(String(total)).toMatch(/^1+0+1$/)
    const kept = String(total).replaceAll('0', '').length - 1
    expect(seen.lost).toBe(2 * (8 - kept))
    expect(seen.lost).toBeGreaterThan(0)
    expect(seen.warnings.filter((text) => text.includes('shorter'))).toHaveLength(1)
    await track(writer, hit(2, 'a'))
    expect(await totalOf(store.current, 'hits', 'sum')).toBe(total + 2)
  })

  it('gets the series of replayed commits, whatever commit registered them first', async () => {
    // Room for the newest commit.
    const writer = newWriter({ retainedBytesMax: 900 })
    await store.remember()
    await track(writer, hit(1, 'a'))
    await track(writer, hit(10, 'a'))
    await store.forget()
    await track(writer, hit(100, 'b'))
    const { groups } = await ask(store.current, 'hits', { aggregations: ['sum'], groupBy: ['host'] })
    expect(groups.map(({ tags, totals }) => [tags[0]![1], totals.get('sum')])).toEqual([
      ['a', 10],
      ['b', 100],
    ])
    expect(seen.lost).toBeGreaterThan(0)
  })

  it('gets the series of a round that was open meanwhile', async () => {
    const writer = newWriter({ retainedBytesMax: 1 })
    await loseWritesUnderARound(writer)
    expect(await totalOf(store.current, 'hits', 'sum')).toBe(110)
    expect((await store.current.readMetric(PROJECT, 'hits'))?.seriesCount).toBe(2)
  })

  it('may have lost everything', async () => {
    const writer = newWriter({ retainedBytesMax: 1 })
    await store.remember()
    await track(writer, hit(1, 'a'))
    await track(writer, hit(1, 'a'))
    await store.forget()
    await track(writer, hit(10, 'a'))
    expect(await totalOf(store.current, 'hits', 'sum')).toBe(10)
    expect(seen.lost).toBe(2)
  })

  it('stays without what it lost when nothing is retained', async () => {
    const writer = newWriter({ retainedBytesMax: 0 })
    await track(writer, hit(1, 'a'))
    await store.remember()
    await track(writer, hit(10, 'b'))
    expect(writer.retainedBytes).toBe(0)
    await store.forget()
    await track(writer, hit(100, 'b'), hit(100, 'c'))
    expect(await totalOf(store.current, 'hits', 'sum')).toBe(201)
    expect((await store.current.readMetric(PROJECT, 'hits'))?.seriesCount).toBe(3)
    expect(seen.lost).toBe(1)
    expect(seen.warnings.filter((text) => text.includes('shorter'))).toEqual([])
  })

  it('may hold other metrics under the same names: points that it refuses are counted as lost', async () => {
    const writer = newWriter()
    await store.remember()
    await track(writer, hit(1, 'a'), { name: 'other', type: 'gauge', value: 1 })
    await track(writer, { name: 'fine', type: 'counter', value: 1 })
    await store.forget()
    const another = openWriter(store.current)
    await track(another, { name: 'hits', type: 'gauge', value: 5 })
    await another.close()
    await track(writer, { name: 'fine', type: 'counter', value: 10 })
    await expect.poll(() => succeeds(track(writer, hit(1, 'a')))).toBe(true)
    expect(await track(writer, hit(1, 'a'))).toMatchObject([{ code: 'type_conflict' }])
    expect(await totalOf(store.current, 'fine', 'sum')).toBe(11)
    expect(await totalOf(store.current, 'hits', 'last')).toBe(5)
    expect(seen.lost).toBeGreaterThan(0)
    expect(seen.warnings.some((text) => text.includes('refuses its replay'))).toBe(true)
  })
})

describe('what is retained', () => {
  it('is evicted when the store has had it for long enough, and not before', async () => {
    let nowMs = T0_MS
    const writer = openWriter(faulty.store, { lossCheckIntervalMs: 5 }, {}, () => nowMs)
    onTestFinished(() => writer.close())
    await track(writer, hit())
    expect(writer.retainedBytes).toBeGreaterThan(0)
    faulty.always('readWatermarks', lostRequest)
    nowMs += 60_000
    const looks = faulty.calls('readWatermarks').length
    await expect.poll(() => faulty.calls('readWatermarks').length).toBeGreaterThan(looks + 1)
    expect(writer.retainedBytes).toBeGreaterThan(0)
    faulty.heal()
    await expect.poll(() => writer.retainedBytes).toBe(0)
    const after = faulty.calls('readWatermarks').length
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(faulty.calls('readWatermarks').length).toBe(after)
  })

  it('is nothing for a store that cannot lose writes', async () => {
    const writer = openWriter(store.current)
    await track(writer, hit())
    expect(writer.retainedBytes).toBe(0)
    await writer.close()
  })
})

describe('over many lost responses, lost requests and lost writes', () => {
  it.each([1, 2, 3, 4, 5, 6])('acknowledged points count once (seed %i)', async (seed) => {
    const random = randomOf(seed)
    const writer = newWriter({ lossCheckIntervalMs: random() < 0.5 ? 5 : 3_600_000 })
    let expected = 0
    await store.remember()
    for (let step = 0; step < 60; step++) {
      const dice = random()
      if (dice < 0.1) await store.remember()
      else if (dice < 0.2) {
        await store.forget()
        await store.remember()
      } else if (dice < 0.4) faulty.next('append', random() < 0.5 ? lostResponse : lostRequest)
      const requests = Array.from({ length: 1 + Math.floor(random() * 3) }, () => {
        const points = Array.from({ length: 1 + Math.floor(random() * 4) }, (): TestPoint => {
          const value = Math.floor(random() * 100)
          return { name: `m${Math.floor(random() * 4)}`, type: 'counter', value, tags: { host: String(value % 7) } }
        })
        expected += points.reduce((sum, { value }) => sum + Number(value), 0)
        const key = random() < 0.3 ? `key-${step}-${random()}` : undefined
        return writer.track(PROJECT, decoderOf(points), key)
      })
      expect((await Promise.all(requests)).flat()).toEqual([])
    }
    await track(writer, ...[0, 1, 2, 3].map((i): TestPoint => ({ name: `m${i}`, type: 'counter', value: 0 })))
    let total = 0
    for (let i = 0; i < 4; i++) total += await totalOf(store.current, `m${i}`, 'sum')
    expect(total).toBe(expected)
    expect(seen.lost).toBe(0)
  })
})

function succeeds(promise: Promise<unknown>): Promise<boolean> {
  return promise.then(
    () => true,
    (error: unknown) => {
      if (error instanceof GatewayError) return false
      throw error
    },
  )
}
