import { beforeEach, describe, expect, it, vi } from 'vitest'
import type { PointSink } from '../../../src/model/point.ts'
import { runAtOnce, type Steps } from '../../../src/model/steps.ts'
import type { Store } from '../../../src/store/store.ts'
import { decodeBetterStackItem } from '../../../src/wire/better-stack.ts'
import { decodeBetterStackBody } from '../../../src/wire/better-stack-body.ts'
import type { Writer, WriterSettings } from '../../../src/write/commit/writer.ts'
import { Admission } from '../../../src/write/round/admission.ts'
import { Metric } from '../../../src/write/round/cached-metric.ts'
import { PointBatch } from '../../../src/write/round/point-batch.ts'
import { Registry, type RegistryLimits } from '../../../src/write/round/registry.ts'
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
    const writer = newWriter({ entriesMax: 1_000_000 })
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

describe('a body of very many names or series', () => {
  /** Calls of a function in one turn of the event loop, at most; the function still runs. */
  function callsOfATurn<K extends string>(object: Record<K, (...args: never[]) => unknown>, method: K) {
    const spy = vi.spyOn(object, method as never) as unknown as { mock: { calls: unknown[] }; mockRestore(): void }
    let before = 0
    let max = 0
    let isRunning = true
    const tick = (): void => {
      const { length } = spy.mock.calls
      max = Math.max(max, length - before)
      before = length
      if (isRunning) setImmediate(tick)
    }
    setImmediate(tick)
    return (): number => {
      isRunning = false
      max = Math.max(max, spy.mock.calls.length - before)
      spy.mockRestore()
      return max
    }
  }

  const bodyOf = (items: number, itemOf: (i: number) => unknown) =>
    Buffer.from(Array.from({ length: items }, (_, i) => JSON.stringify(itemOf(i))).join('\n'))

  const decode = (body: Uint8Array) =>
    function* (sink: PointSink): Steps<void> {
      yield* decodeBetterStackBody(body, sink, {
        format: 'ndjson',
        nowMs: T0_MS,
        limits: DEFAULT_POINT_LIMITS,
        pointsMax: 1_000_000,
      })
    }

  /** A batch and its admission, without a writer. */
  function admitting(limits: Partial<RegistryLimits> = {}) {
    const registry = new Registry(
      faulty.store,
      {
        seriesPerMetricMax: 1_000,
        tagKeysPerMetricMax: 100,
        metricsPerProjectMax: 100_000,
        newMetricsPerRequestMax: 1_000,
        storeWaitMsMax: 5_000,
        entriesMax: 10_000,
        itemMemoryBytesMax: 1 << 24,
        ...limits,
      },
      () => T0_MS,
    )
    const batch = new PointBatch(registry)
    batch.begin(PROJECT)
    const add = (item: number, name: string, type: 'gauge' | 'counter' = 'gauge') => {
      const series = batch.resolve(name, type, [])
      if ('code' in series) batch.reject(item, series)
      else batch.add(item, series, T0_MS, item)
    }
    return { registry, batch, add, admission: new Admission(registry, batch) }
  }

  it('frees names that may not be defined before it decodes the next ones', async () => {
    const { registry, batch, admission } = admitting()
    const body = bodyOf(30_000, (i) => ({ name: `m${i}`, gauge: { value: i } }))
    let reviews = 0
    for (const steps = decode(body)(batch); steps.next().done !== true; ) {
      expect(registry.full).toBe(false)
      if (!Admission.isReviewDue(batch)) continue
      reviews++
      await admission.review()
    }
    await admission.finish()
    await admission.end()
    expect(reviews).toBeGreaterThan(20)
    expect(batch.length).toBe(1_000)
    expect([...batch.value.subarray(0, 1_000)]).toEqual(Array.from({ length: 1_000 }, (_, i) => i))
    expect(batch.takeRejected().map(({ index }) => index)).toEqual(Array.from({ length: 29_000 }, (_, i) => 1_000 + i))
    // Names without a metric are not cached by the bytes of their items.
    expect(batch.itemCache.size).toBe(0)
  })

  it('judges an item whole that a review cuts', async () => {
    await track(newWriter(), gauge('taken'))
    const { batch, add, admission } = admitting()
    add(0, 'a')
    add(1, 'b')
    await admission.review()
    add(1, 'taken', 'counter')
    add(2, 'c')
    await admission.finish()
    await admission.end()
    expect(batch.series.map(({ metric }) => metric.name)).toEqual(['a', 'c'])
    expect(batch.takeRejected()).toMatchObject([{ index: 1, code: 'type_conflict' }])
    expect(await typesOf('a', 'b', 'c')).toEqual({ a: 'gauge', c: 'gauge' })
  })

  it('counts nothing of an attempt to decode that was given up', async () => {
    const { batch, add, admission } = admitting({ newMetricsPerRequestMax: 2 })
    add(0, 'a')
    add(1, 'b')
    add(2, 'c')
    await admission.review()
    batch.restart()
    add(0, 'd')
    add(1, 'e')
    add(2, 'f')
    await admission.finish()
    await admission.end()
    expect(batch.series.map(({ metric }) => metric.name)).toEqual(['d', 'e'])
    expect(await typesOf('a', 'b', 'c', 'd', 'e', 'f')).toEqual({ d: 'gauge', e: 'gauge' })
  })

  it('starts over with a body whose first attempt was reviewed', async () => {
    const writer = newWriter()
    // The last line makes the scanner give up; the body is decoded again by the general parser.
    const body = Buffer.concat([bodyOf(1_500, (i) => ({ name: `m${i}`, gauge: { value: 1 } })), Buffer.from('\n[ ]')])
    const rejected = await writer.track(PROJECT, decode(body))
    expect(rejected.map(({ index }) => index)).toEqual(Array.from({ length: 500 }, (_, i) => 1_000 + i))
    expect(await real.countMetrics(PROJECT)).toBe(1_000)
    expect(await totalOf(real, 'm7', 'count')).toBe(1)
  })

  it('leaves room for others when it turns out to be no body', async () => {
    const writer = newWriter({ metricsPerProjectMax: 2_000 })
    const body = Buffer.concat([bodyOf(1_900, (i) => ({ name: `m${i}`, gauge: { value: 1 } })), Buffer.from('\n{')])
    await expect(writer.track(PROJECT, decode(body))).rejects.toMatchObject({ code: 'invalid_body' })
    expect(await real.countMetrics(PROJECT)).toBe(0)
    expect(writer.pendingBytes).toBe(0)
    expect(await track(writer, ...named(5_000, 5_900))).toEqual([])
    expect(await track(writer, ...named(6_000, 6_900))).toEqual([])
  })

  it('rejects at most 1,000 items between two turns of the event loop', async () => {
    const writer = newWriter({ newMetricsPerRequestMax: 10, entriesMax: 1_000_000 })
    const rejects = callsOfATurn(PointBatch.prototype, 'reject')
    expect(await track(writer, ...named(0, 20_000))).toHaveLength(19_990)
    expect(rejects()).toBeLessThanOrEqual(1_000)
  })

  it('releases at most 5,000 places between two turns of the event loop when it fails', async () => {
    const writer = newWriter({ seriesPerMetricMax: 100_000, entriesMax: 1_000_000 })
    faulty.next('defineMetrics', () => Promise.reject(new Error('a defect')))
    const releases = callsOfATurn(Metric.prototype, 'release')
    const series = Array.from({ length: 30_000 }, (_, i) => gauge('m', { of: String(i) }))
    await expect(track(writer, ...series)).rejects.toThrow('a defect')
    expect(releases()).toBeLessThanOrEqual(5_000)
    expect(await track(writer, ...series.slice(0, 10))).toEqual([])
  })
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
