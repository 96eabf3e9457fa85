import { beforeEach, describe, expect, it } from 'vitest'
import { runAtOnce } from '../../../src/model/steps.ts'
import type { Store } from '../../../src/store/store.ts'
import { decodeBetterStackItem } from '../../../src/wire/better-stack.ts'
import type { Writer, WriterSettings } from '../../../src/write/commit/writer.ts'
import { Metric } from '../../../src/write/round/cached-metric.ts'
import { rejectTypeConflict } from '../../../src/write/round/registry.ts'
import { DEFAULT_POINT_LIMITS } from '../../support/defaults.ts'
import { decoderOf, PROJECT, T0_MS, type TestPoint, totalOf } from '../../support/engine.ts'
import { FaultyStore, gate, lostRequest } from '../../support/faulty-store.ts'
import { openTestStore, openTestWriter } from '../../support/test-writer.ts'

let real: Store
let faulty: FaultyStore

beforeEach(async () => {
  real = await openTestStore()
  faulty = new FaultyStore(real)
})

const newWriter = (settings: Partial<WriterSettings> = {}, store = faulty): Writer => openTestWriter(store, settings)

const gauge = (name: string, tags: Readonly<Record<string, string>> = {}): TestPoint => ({
  name,
  type: 'gauge',
  value: 1,
  tags,
})

const named = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => gauge(`m${from + i}`))

const track = (writer: Writer, ...points: readonly TestPoint[]) => writer.track(PROJECT, decoderOf(points))

/** What was refused, by index. */
async function refusals(writer: Writer, points: readonly TestPoint[]): Promise<(readonly [number, string])[]> {
  return (await track(writer, ...points)).map(({ index, code }) => [index, code] as const)
}

const trackItems = (writer: Writer, items: readonly unknown[]) =>
  writer.track(PROJECT, (sink) => {
    const options = { nowMs: T0_MS, limits: DEFAULT_POINT_LIMITS, onUnreadableTime: () => {} }
    for (const [i, item] of items.entries()) runAtOnce(decodeBetterStackItem(item, i, sink, options))
  })

const COUNTED = { count: 3, sum: 6 }
const BUCKETS = [
  { upper_limit: 1, count: 1 },
  { upper_limit: 2, count: 2 },
]
const QUANTILES = [{ quantile: 0.5, value: 1 }]
/** Everything that stands for several metrics. */
const SEVERAL: readonly (readonly [string, string, (name: string) => unknown])[] = [
  ['histogram', 'histogram', (name) => ({ name, histogram: { ...COUNTED, buckets: BUCKETS } })],
  ['histogram', 'aggregated_histogram', (name) => ({ name, aggregated_histogram: { ...COUNTED, buckets: BUCKETS } })],
  ['summary', 'summary', (name) => ({ name, summary: { ...COUNTED, quantiles: QUANTILES } })],
  ['summary', 'aggregated_summary', (name) => ({ name, aggregated_summary: { ...COUNTED, quantiles: QUANTILES } })],
]

async function typesOf(...names: readonly string[]): Promise<Readonly<Record<string, string>>> {
  const rows = await real.readMetrics(PROJECT, names)
  return Object.fromEntries(rows.flatMap((row) => (row === undefined ? [] : [[row.name, row.type]])))
}

it.each([
  ['gauge', 'metric "m" is a gauge, not a counter'],
  [undefined, 'metric "m" is not a counter'],
] as const)('the message of a type conflict is a sentence, the stored type being %s', (storedType, message) => {
  const rejection = rejectTypeConflict(new Metric(PROJECT, 'm', 'counter'), storedType)
  expect(rejection).toEqual({ code: 'type_conflict', message })
})

describe.each(SEVERAL)('a refused %s (%s)', (type, _, itemOf) => {
  const ALL = ['latency', 'latency_sum', 'latency_count']

  it.each(ALL)('takes no name when %s is of another type', async (taken) => {
    const writer = newWriter()
    await track(writer, gauge(taken))
    const rejected = await trackItems(writer, [itemOf('other'), itemOf('latency'), itemOf('third')])
    expect(rejected).toMatchObject([{ index: 1, code: 'type_conflict' }])
    expect(await typesOf(...ALL)).toEqual({ [taken]: 'gauge' })
    expect(await typesOf('other', 'third', 'third_sum', 'third_count')).toEqual({
      other: type,
      third: type,
      third_sum: 'counter',
      third_count: 'counter',
    })
    const free = ALL.filter((name) => name !== taken)
    expect(await track(writer, ...free.map((name) => gauge(name)))).toEqual([])
  })

  it('takes no name when an item before it in the batch takes one of them', async () => {
    const writer = newWriter()
    const rejected = await trackItems(writer, [{ name: 'latency_count', gauge: { value: 1 } }, itemOf('latency')])
    expect(rejected).toMatchObject([{ index: 1, code: 'type_conflict' }])
    expect(await typesOf(...ALL)).toEqual({ latency_count: 'gauge' })
  })

  it('takes no name when another request at the same time takes one of them', async () => {
    const writer = newWriter()
    const [first, second] = await Promise.all([
      trackItems(writer, [{ name: 'latency_sum', gauge: { value: 1 } }]),
      trackItems(writer, [itemOf('latency')]),
    ])
    expect([first, second]).toMatchObject([[], [{ code: 'type_conflict' }]])
    expect(await typesOf(...ALL)).toEqual({ latency_sum: 'gauge' })
  })

  it('takes no name when the project has no room for all three', async () => {
    const writer = newWriter({ metricsPerProjectMax: 4 })
    await track(writer, gauge('a'), gauge('b'))
    const rejected = await trackItems(writer, [itemOf('latency'), { name: 'c', gauge: { value: 1 } }])
    expect(rejected).toMatchObject([{ index: 0, code: 'metric_limit_exceeded' }])
    expect(await typesOf('a', 'b', 'c', ...ALL)).toEqual({ a: 'gauge', b: 'gauge', c: 'gauge' })
  })

  it('takes no name when one of its series finds no place', async () => {
    const writer = newWriter({ seriesPerMetricMax: 1 })
    await trackItems(writer, [
      { ...(itemOf('other') as object), tags: { a: '1' } },
      { name: 'other_sum', counter: { value: 1 } },
    ])
    await real.deleteMetric({ project: PROJECT, name: 'other_count', generation: 1 })
    const rejected = await trackItems(newWriter({ seriesPerMetricMax: 1 }), [
      { ...(itemOf('other') as object), tags: { b: '1' } },
    ])
    expect(rejected).toMatchObject([{ index: 0, code: 'series_limit_exceeded' }])
    expect(await typesOf('other_count')).toEqual({})
  })
})

describe('the limits of metrics', () => {
  const over = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => [from + i, 'metric_limit_exceeded'])

  it('lets a request bring so many new ones, and any number of known ones', async () => {
    const writer = newWriter({ newMetricsPerRequestMax: 5 })
    expect(await refusals(writer, named(0, 8))).toEqual(over(5, 8))
    expect(await refusals(writer, named(0, 12))).toEqual(over(10, 12))
    expect(await refusals(newWriter({ newMetricsPerRequestMax: 5 }), named(0, 16))).toEqual(over(15, 16))
    expect(await refusals(writer, [...named(0, 15), gauge('m1', { a: 'b' })])).toEqual([])
  })

  it('hold for a project over restarts, and a deleted metric makes room', async () => {
    const first = newWriter({ metricsPerProjectMax: 5 })
    expect(await refusals(first, named(0, 3))).toEqual([])
    const second = newWriter({ metricsPerProjectMax: 5 })
    expect(await refusals(second, named(0, 8))).toEqual(over(5, 8))
    expect(await refusals(first, [gauge('m7')])).toEqual(over(0, 1))
    await first.deleteMetric({ project: PROJECT, name: 'm0', generation: 1 })
    expect(await refusals(first, [gauge('m7'), gauge('m6')])).toEqual(over(1, 2))
    expect(await first.track('another', decoderOf(named(0, 6)))).toMatchObject([{ index: 5 }])
  })

  it('hold between concurrent requests', async () => {
    const writer = newWriter({ metricsPerProjectMax: 5 })
    const rejected = await Promise.all(Array.from({ length: 9 }, (_, i) => track(writer, gauge(`m${i}`), gauge('all'))))
    expect(rejected.flat()).toHaveLength(5)
    expect(await real.countMetrics(PROJECT)).toBe(5)
  })

  it('leave room that a failed definition did not take', async () => {
    const writer = newWriter({ metricsPerProjectMax: 2 })
    faulty.next('defineMetrics', () => Promise.reject(new Error('a defect')))
    await expect(track(writer, gauge('a'), gauge('b'))).rejects.toThrow('a defect')
    expect(await track(writer, gauge('c'), gauge('d'))).toEqual([])
  })

  it('split a body of 100,000 new names into bounded calls that yield to the event loop', async () => {
    const writer = newWriter({ registryEntriesMax: 1_000_000 })
    let turns = 0
    let isRunning = true
    const tick = (): void => {
      turns++
      if (isRunning) setImmediate(tick)
    }
    setImmediate(tick)
    const rejected = await track(writer, ...named(0, 100_000))
    isRunning = false
    expect(rejected).toHaveLength(99_000)
    expect(new Set(rejected.map(({ code }) => code))).toEqual(new Set(['metric_limit_exceeded']))
    expect(await real.countMetrics(PROJECT)).toBe(1_000)
    const sizes = [
      ...faulty.calls('readMetrics').map(([, names]) => names.length),
      ...faulty.calls('defineMetrics').map(([all]) => all.length),
    ]
    expect(Math.max(...sizes)).toBeLessThanOrEqual(500)
    expect(turns).toBeGreaterThan(300)
  }, 60_000)
})

describe('backpressure', () => {
  it('counts the memory of rollups, and of requests that wait for the store', async () => {
    const writer = newWriter({ newMetricsPerRequestMax: 10_000 })
    const names = Array.from({ length: 2_000 }, (_, i) => gauge(`m${i}`))
    const asked = gate()
    faulty.next('readMetrics', asked.fault)
    const first = track(writer, ...names)
    await asked.reached
    expect(writer.pendingBytes).toBeGreaterThan(2_000 * 2_000)
    asked.open()
    await first
    expect(writer.pendingBytes).toBe(0)
    const slow = gate()
    faulty.next('append', slow.fault)
    const [second, third] = [track(writer, ...names), track(writer, gauge('m0'))]
    await slow.reached
    const fourth = track(writer, ...names)
    expect(writer.pendingBytes).toBeGreaterThan(2_000 * 4_000)
    slow.open()
    await Promise.all([second, third, fourth])
    expect(writer.pendingBytes).toBe(0)
  })

  it('refuses a name without a call when not all names before it can exist', async () => {
    const writer = newWriter({ metricsPerProjectMax: 10, newMetricsPerRequestMax: 5 })
    const rejected = await track(writer, ...Array.from({ length: 100 }, (_, i) => gauge(`m${i}`)))
    expect(rejected).toHaveLength(95)
    expect(faulty.calls('readMetrics').map(([, names]) => names.length)).toEqual([15])
  })
})

describe('the limit of tag keys', () => {
  const keyed = (...keys: readonly string[]) => gauge('m', Object.fromEntries(keys.map((key) => [key, 'v'])))

  it('refuses only the items with too many', async () => {
    const writer = newWriter({ tagKeysPerMetricMax: 3 })
    expect(await refusals(writer, [keyed('a', 'b'), keyed('c', 'd'), keyed('c'), keyed('b', 'c'), keyed('e')])).toEqual(
      [
        [1, 'invalid_tags'],
        [4, 'invalid_tags'],
      ],
    )
    expect(await refusals(writer, [keyed('a', 'c'), keyed('d'), { ...keyed('d'), name: 'other' }])).toEqual([
      [1, 'invalid_tags'],
    ])
    expect((await real.readMetric(PROJECT, 'm'))?.tagKeys).toEqual(['a', 'b', 'c'])
  })

  it('holds against what other gateways have added, also since', async () => {
    const writer = newWriter({ tagKeysPerMetricMax: 3 })
    await track(writer, keyed('a'))
    await track(newWriter({}, new FaultyStore(real)), keyed('b'), keyed('c'))
    expect(await refusals(writer, [keyed('b', 'c'), keyed('d')])).toEqual([[1, 'invalid_tags']])
  })

  it('holds between concurrent requests', async () => {
    const writer = newWriter({ tagKeysPerMetricMax: 3 })
    await track(writer, keyed())
    await Promise.all(Array.from({ length: 9 }, (_, i) => track(writer, keyed(`k${i}`), keyed(`k${i}`, 'shared'))))
    expect((await real.readMetric(PROJECT, 'm'))?.tagKeys).toHaveLength(3)
  })

  it('bounds a batch of many keys an item', async () => {
    const writer = newWriter({ tagKeysPerMetricMax: 1_000, seriesPerMetricMax: 10_000 })
    const points = Array.from({ length: 5_000 }, (_, i) =>
      keyed(...Array.from({ length: 32 }, (_, k) => `key ${i} ${k}`)),
    )
    expect(await track(writer, ...points)).toHaveLength(5_000 - 31)
    expect((await real.readMetric(PROJECT, 'm'))?.tagKeys).toHaveLength(992)
  })
})

describe('reserved places', () => {
  const hostGauge = (value: string) => gauge('m', { host: value })

  it('are released when the round was never sent because the store was unavailable', async () => {
    const writer = newWriter({ seriesPerMetricMax: 3, storeWaitMsMax: 400 })
    await track(writer, gauge('m'))
    faulty.always('append', lostRequest)
    const begun = faulty.calls('append').length
    const lost: Promise<unknown>[] = [track(writer, gauge('m'))]
    await expect.poll(() => faulty.calls('append').length).toBeGreaterThan(begun)
    // It waits behind the commit on offer.
    lost.push(track(writer, hostGauge('a'), hostGauge('b')))
    expect((await Promise.allSettled(lost)).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    faulty.heal()
    await expect
      .poll(() => refusals(writer, [hostGauge('c'), hostGauge('d'), hostGauge('e')]).catch(() => 'away'))
      .toEqual([[2, 'series_limit_exceeded']])
  })

  it.each(['readMetrics', 'countMetrics', 'defineMetrics'] as const)(
    'are free again when %s answered too late',
    async (verb) => {
      const writer = newWriter({ metricsPerProjectMax: 2, storeWaitMsMax: 400 })
      const late = gate()
      faulty.next(verb, late.fault)
      await expect(track(writer, gauge('a'), gauge('b'))).rejects.toThrow()
      if (verb === 'defineMetrics') {
        late.open()
        await expect.poll(() => real.countMetrics(PROJECT)).toBe(2)
        expect(await track(writer, gauge('a'), gauge('b'))).toEqual([])
        return
      }
      expect(await track(writer, gauge('c'), gauge('d'))).toEqual([])
      late.open()
      expect(await refusals(writer, [gauge('e')])).toEqual([[0, 'metric_limit_exceeded']])
      expect(await totalOf(real, 'c', 'count')).toBe(1)
    },
  )

  it('are released when the store responded too late', async () => {
    await track(newWriter(), hostGauge('a'))
    const writer = newWriter({ seriesPerMetricMax: 2, storeWaitMsMax: 400 })
    const late = gate()
    faulty.next('hasSeries', late.fault)
    await expect(track(writer, hostGauge('b'), hostGauge('c'))).rejects.toThrow()
    late.open()
    expect(await refusals(writer, [hostGauge('d'), hostGauge('e')])).toEqual([[1, 'series_limit_exceeded']])
  })
})
