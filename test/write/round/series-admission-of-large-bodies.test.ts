import { beforeEach, describe, expect, it, vi } from 'vitest'
import type { PointSink } from '../../../src/model/point.ts'
import type { Steps } from '../../../src/model/steps.ts'
import type { Store } from '../../../src/store/store.ts'
import { decodeBetterStackBody } from '../../../src/wire/better-stack-body.ts'
import type { Writer, WriterSettings } from '../../../src/write/commit/writer.ts'
import { Metric } from '../../../src/write/round/cached-metric.ts'
import { PointBatch } from '../../../src/write/round/point-batch.ts'
import { Registry, type RegistryLimits } from '../../../src/write/round/registry.ts'
import { Admission } from '../../../src/write/round/series-admission.ts'
import { DEFAULT_POINT_LIMITS } from '../../support/defaults.ts'
import { decoderOf, PROJECT, T0_MS, type TestPoint, totalOf } from '../../support/engine.ts'
import { FaultyStore } from '../../support/faulty-store.ts'
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

async function typesOf(...names: readonly string[]): Promise<Readonly<Record<string, string>>> {
  const rows = await real.readMetrics(PROJECT, names)
  return Object.fromEntries(rows.flatMap((row) => (row === undefined ? [] : [[row.name, row.type]])))
}

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
        registryEntriesMax: 10_000,
        itemCacheBytesMax: 1 << 24,
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
      expect(registry.isFull).toBe(false)
      if (!Admission.isReviewDue(batch)) continue
      reviews++
      await admission.review()
    }
    await admission.admitAllAndDefine()
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
    await admission.admitAllAndDefine()
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
    await admission.admitAllAndDefine()
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
    const writer = newWriter({ newMetricsPerRequestMax: 10, registryEntriesMax: 1_000_000 })
    const rejects = callsOfATurn(PointBatch.prototype, 'reject')
    expect(await track(writer, ...named(0, 20_000))).toHaveLength(19_990)
    expect(rejects()).toBeLessThanOrEqual(1_000)
  })

  it('releases at most 5,000 places between two turns of the event loop when it fails', async () => {
    const writer = newWriter({ seriesPerMetricMax: 100_000, registryEntriesMax: 1_000_000 })
    faulty.next('defineMetrics', () => Promise.reject(new Error('a defect')))
    const releases = callsOfATurn(Metric.prototype, 'release')
    const series = Array.from({ length: 30_000 }, (_, i) => gauge('m', { of: String(i) }))
    await expect(track(writer, ...series)).rejects.toThrow('a defect')
    expect(releases()).toBeLessThanOrEqual(5_000)
    expect(await track(writer, ...series.slice(0, 10))).toEqual([])
  })
})
