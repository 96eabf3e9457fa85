import { beforeEach, describe, expect, it } from 'vitest'
import type { Store } from '../../../src/store/store.ts'
import type { Writer, WriterEvents, WriterSettings } from '../../../src/write/commit/writer.ts'
import { ask, decoderOf, PROJECT, T0_MS, type TestPoint, totalOf } from '../../support/engine.ts'
import { FaultyStore, gate, lostRequest } from '../../support/faulty-store.ts'
import { openTestStore, openTestWriter } from '../../support/test-writer.ts'
import { held, hit, refusal, track, until } from './harness.ts'

let real: Store
let faulty: FaultyStore

beforeEach(async () => {
  real = await openTestStore()
  faulty = new FaultyStore(real)
})

const newWriter = (settings: Partial<WriterSettings> = {}, events: Partial<WriterEvents> = {}): Writer =>
  openTestWriter(faulty, settings, events)

describe('group commit', () => {
  it('resolves after the points can be read', async () => {
    const writer = newWriter()
    expect(await track(writer, hit(2), hit(3))).toEqual([])
    expect(await totalOf(real, 'hits', 'sum')).toBe(5)
  })

  it('sends the requests of one turn of the event loop in one commit', async () => {
    const writer = newWriter()
    await track(writer, hit())
    await Promise.all(Array.from({ length: 20 }, () => track(writer, hit())))
    expect(faulty.calls('append')).toHaveLength(2)
    expect(await totalOf(real, 'hits', 'sum')).toBe(21)
  })

  it('lets the requests that arrive during a commit share the next one', async () => {
    const writer = newWriter()
    await track(writer, hit())
    const slow = gate()
    faulty.next('append', slow.fault)
    const first = track(writer, hit())
    await slow.reached
    const others = Array.from({ length: 50 }, () => track(writer, hit()))
    slow.open()
    await Promise.all([first, ...others])
    expect(faulty.calls('append')).toHaveLength(3)
    expect(await totalOf(real, 'hits', 'sum')).toBe(52)
  })

  it('commits each partition it has something for, once a round, with numbers that grow by one', async () => {
    const writer = newWriter()
    const names = Array.from({ length: 12 }, (_, i) => `m${i}`)
    for (let round = 0; round < 3; round++)
      await track(writer, ...names.map((name): TestPoint => ({ name, type: 'gauge', value: round })))
    const numbers = faulty
      .calls('append')
      .map(([commits]) => commits.map(({ partition, commitNumber }) => [partition, commitNumber]))
    expect(numbers.map((round) => round.sort())).toEqual(
      [1, 2, 3].map((n) => [
        [0, n],
        [1, n],
      ]),
    )
  })

  it('stores requests with and without a key separately when they share a round and its series', async () => {
    const writer = newWriter()
    await track(writer, hit(1, { host: 'a' }), hit(1, { host: 'b' }))
    await Promise.all([
      track(writer, hit(10, { host: 'a' }), hit(20, { host: 'b' })),
      writer.track(PROJECT, decoderOf([hit(100, { host: 'b' })]), 'key'),
      track(writer, hit(1_000, { host: 'b' }), hit(2_000, { host: 'a' })),
      writer.track(PROJECT, decoderOf([hit(10_000, { host: 'a' })]), 'another'),
      track(writer, hit(100_000, { host: 'a' }), hit(200_000, { host: 'c' })),
    ])
    expect(faulty.calls('append')).toHaveLength(2)
    expect(faulty.calls('append')[1]![0].flatMap(({ parts }) => parts.map(({ marker }) => marker?.key))).toEqual([
      undefined,
      'key',
      'another',
    ])
    const { groups } = await ask(real, 'hits', { aggregations: ['sum'], groupBy: ['host'] })
    expect(groups.map(({ tags, totals }) => [tags[0]![1], totals.get('sum')])).toEqual([
      ['a', 112_011],
      ['b', 1_121],
      ['c', 200_000],
    ])
  })

  it('does not go to the store for a request without a point', async () => {
    const writer = newWriter()
    expect(await writer.track(PROJECT, () => {})).toEqual([])
    expect(faulty.calls('append')).toHaveLength(0)
  })

  it('reports the entries and bytes that each commit put into an inbox', async () => {
    const told = [0, 1].map(() => ({ entries: 0, bytes: 0 }))
    const writer = newWriter(
      {},
      {
        committed: (partition, { entries, bytes }) => {
          told[partition]!.entries += entries
          told[partition]!.bytes += bytes
        },
      },
    )
    await track(writer, hit())
    expect(told).toEqual(await Promise.all([real.inboxSize(0), real.inboxSize(1)]))
    expect(told).not.toEqual([0, 1].map(() => ({ entries: 0, bytes: 0 })))
  })
})

describe('what is refused', () => {
  it('refuses requests before it folds anything of them when too much is pending', async () => {
    const writer = newWriter({ pendingBytesMax: 10_000 })
    await track(writer, hit())
    const slow = gate()
    faulty.next('append', slow.fault)
    const accepted = [track(writer, hit())]
    await slow.reached
    const many = Array.from({ length: 100 }, (_, i) => hit(1, { host: String(i) }))
    accepted.push(track(writer, ...many))
    await until(() => faulty.calls('defineMetrics').length > 0)
    await new Promise(setImmediate)
    expect(await refusal(track(writer, hit(1_000)))).toMatchObject({ code: 'overloaded' })
    // Another project, which has nothing waiting, is not refused for it.
    accepted.push(writer.track('other', decoderOf([hit()])))
    await new Promise(setImmediate)
    slow.open()
    await Promise.all(accepted)
    await track(writer, hit())
    expect(await totalOf(real, 'hits', 'sum')).toBe(103)
  })

  it('gives a name to the first of two types that claim it concurrently and rejects the items of the other', async () => {
    const writer = newWriter()
    const [counters, gauges] = await Promise.all([
      track(writer, hit(1), { name: 'ok', type: 'gauge', value: 1 }),
      track(writer, { name: 'ok', type: 'gauge', value: 2 }, { name: 'hits', type: 'gauge', value: 5 }),
    ])
    expect(counters).toEqual([])
    expect(gauges).toMatchObject([{ index: 1, code: 'type_conflict' }])
    expect(await totalOf(real, 'hits', 'sum')).toBe(1)
    expect(await totalOf(real, 'ok', 'count')).toBe(2)
  })

  it('rejects a type conflict within one request, each item once and in their order', async () => {
    const writer = newWriter()
    await track(writer, hit(1))
    const wrong: TestPoint = { name: 'hits', type: 'distribution', value: 1 }
    const rejected = await track(writer, wrong, hit(1), { ...wrong, tags: { a: 'b' } }, hit(1))
    expect(rejected.map(({ index, code }) => [index, code])).toEqual([
      [0, 'type_conflict'],
      [2, 'type_conflict'],
    ])
    expect(await totalOf(real, 'hits', 'sum')).toBe(3)
  })

  it('rejects series beyond the limit of a metric and goes on taking the known ones', async () => {
    const writer = newWriter({ seriesPerMetricMax: 3 })
    await track(writer, hit(1, { host: 'a' }), hit(1, { host: 'b' }))
    const rejected = await track(writer, ...['a', 'c', 'd', 'b', 'e'].map((host) => hit(1, { host })))
    expect(rejected.map(({ index, code }) => [index, code])).toEqual([
      [2, 'series_limit_exceeded'],
      [4, 'series_limit_exceeded'],
    ])
    expect(await track(writer, hit(1, { host: 'c' }))).toEqual([])
    expect(await totalOf(real, 'hits', 'sum')).toBe(6)
    expect((await real.readMetric(PROJECT, 'hits'))?.seriesCount).toBe(3)
  })

  it('holds the series limit against what an earlier process registered', async () => {
    await track(newWriter(), hit(1, { host: 'a' }), hit(1, { host: 'b' }), hit(1, { host: 'c' }))
    const writer = newWriter({ seriesPerMetricMax: 3 })
    expect(await track(writer, hit(1, { host: 'b' }), hit(1, { host: 'c' }))).toEqual([])
    expect(await track(writer, hit(1, { host: 'd' }))).toMatchObject([{ code: 'series_limit_exceeded' }])
  })

  it('holds the series limit between requests that arrive at once', async () => {
    const writer = newWriter({ seriesPerMetricMax: 3 })
    await track(writer, hit(1, { host: 'a' }))
    const rejected = await Promise.all(['b', 'c', 'd', 'e'].map((host) => track(writer, hit(1, { host }))))
    expect(rejected.flat()).toHaveLength(2)
    expect((await real.readMetric(PROJECT, 'hits'))?.seriesCount).toBe(3)
  })

  it('stores nothing of a request whose decoder throws, and takes the next one', async () => {
    const writer = newWriter()
    const decode = decoderOf([hit(5), hit(6, { host: 'x' })])
    await expect(
      writer.track(PROJECT, (sink) => {
        decode(sink)
        throw new RangeError('odd bytes')
      }),
    ).rejects.toThrow(new RangeError('odd bytes'))
    expect(faulty.calls('append')).toHaveLength(0)
    expect(faulty.calls('defineMetrics')).toHaveLength(0)
    await track(writer, hit(1))
    expect(await totalOf(real, 'hits', 'sum')).toBe(1)
    await writer.close()
  })
})

describe('a registry that reaches its bound', () => {
  it('is filled again under traffic, and every total stays exact', async () => {
    const writer = newWriter({ registryEntriesMax: 5 })
    const requests = Array.from({ length: 300 }, (_, i) =>
      track(
        writer,
        hit(1, { host: String(i % 17) }),
        { name: 'users', type: 'set', value: `user-${i % 20}`, tags: { host: String(i % 3) } },
        { name: 'ms', type: 'distribution', value: i, tags: { host: String(i % 5) }, timeMs: T0_MS + (i % 50) * 1_000 },
        { name: 'level', type: 'gauge', value: i, timeMs: T0_MS + i },
      ),
    )
    const pausing = requests.map((request, i) => (i % 20 === 0 ? request : undefined))
    for (const request of pausing) await request
    const rejected = await Promise.all(requests)
    expect(rejected.flat()).toEqual([])
    expect(await totalOf(real, 'hits', 'sum')).toBe(300)
    expect(await totalOf(real, 'users', 'count')).toBe(20)
    expect(await totalOf(real, 'ms', 'count')).toBe(300)
    expect(await totalOf(real, 'ms', 'p100')).toBe(299)
    expect(await totalOf(real, 'level', 'last')).toBe(299)
    expect((await real.readMetric(PROJECT, 'hits'))?.seriesCount).toBe(17)
    expect((await real.readMetric(PROJECT, 'hits'))?.points).toBe(300)
  })

  it.each([
    [20, 1],
    [19, 4],
  ])('counts each series once: with room for %i of 20 series, reads their metric %i times', async (max, readCount) => {
    const writer = newWriter({ registryEntriesMax: max })
    const tags = Array.from({ length: 20 }, (_, i) => ({ region: i < 10 ? 'eu' : 'us', host: String(i), zone: 'a' }))
    const inOrder = tags.map((each) => hit(1, each))
    const reversed = tags.map(({ region, host, zone }) => hit(1, { zone, host, region }))
    for (const points of [inOrder, reversed, inOrder, reversed]) await track(writer, ...points)
    expect(faulty.calls('readMetrics')).toHaveLength(readCount)
    expect(await totalOf(real, 'hits', 'sum')).toBe(80)
    expect((await real.readMetric(PROJECT, 'hits'))?.seriesCount).toBe(20)
  })

  it('keeps totals exact when it is cleared while a request waits for a definition', async () => {
    const writer = newWriter({ registryEntriesMax: 3 })
    const slow = gate()
    faulty.next('defineMetrics', slow.fault)
    const waiting = track(writer, hit(1, { host: 'a' }), hit(2, { host: 'b' }), hit(4, { host: 'c' }))
    await slow.reached
    const cleared = [track(writer, hit(8, { host: 'a' })), track(writer, hit(16, { host: 'b' }))]
    slow.open()
    await Promise.all([waiting, ...cleared])
    expect(await totalOf(real, 'hits', 'sum')).toBe(31)
    expect((await real.readMetric(PROJECT, 'hits'))?.seriesCount).toBe(3)
  })
})

describe('close', () => {
  it('finishes every accepted request and refuses later ones', async () => {
    const writer = newWriter()
    const slow = gate()
    faulty.next('append', slow.fault)
    const accepted = [track(writer, hit())]
    await slow.reached
    accepted.push(track(writer, hit()), track(writer, { name: 'new', type: 'gauge', value: 1 }))
    const closed = writer.close()
    expect(await refusal(track(writer, hit()))).toMatchObject({ code: 'overloaded' })
    slow.open()
    await Promise.all([...accepted, closed])
    expect(await totalOf(real, 'hits', 'sum')).toBe(2)
    expect(await totalOf(real, 'new', 'count')).toBe(1)
  })

  it('ends when the store stays unavailable, and every request gets a response', async () => {
    const writer = newWriter({ storeWaitMsMax: 100 })
    faulty.always('append', lostRequest)
    const requests = [held(track(writer, hit())), held(track(writer, hit()))]
    await until(() => faulty.calls('append').length > 0)
    await writer.close()
    for (const request of requests) await refusal(request)
  })
})
