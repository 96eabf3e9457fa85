import { beforeEach, describe, expect, test } from 'vitest'
import { GatewayError } from '../../src/model/errors.ts'
import type { Querier } from '../../src/query/querier.ts'
import { MERGING_QUERIES_MAX } from '../../src/query/query-slots.ts'
import type { QuerySession } from '../../src/query/session.ts'
import type { IndexSnapshot } from '../../src/store/store.ts'
import { foldInbox } from '../../src/write/fold/fold.ts'
import { ask, decoderOf, FOLD_SETTINGS, openQuerier, PROJECT, T0_MS, totalOf } from '../support/engine.ts'
import { FaultyStore, gate, respondWith } from '../support/faulty-store.ts'
import { openTestStore, openTestWriter } from '../support/test-writer.ts'

test.each([
  [3, 5],
  [4, 'stored blocks were replaced faster'],
])('a query that finds a block gone %i times', async (times, expected) => {
  const store = await openTestStore(1)
  const writer = openTestWriter(new FaultyStore(store))
  await writer.track(PROJECT, decoderOf([{ name: 'hits', type: 'counter', value: 5 }]))
  await foldInbox(store, 0, FOLD_SETTINGS, T0_MS)
  const faulty = new FaultyStore(store)
  faulty.next('readBlocks', ...Array.from({ length: times }, () => respondWith([undefined])))
  const outcome = await totalOf(faulty.store, 'hits', 'sum').catch((error: Error) => error.message)
  if (typeof expected === 'string') expect(outcome).toContain(expected)
  else expect(outcome).toBe(expected)
})

test.each([
  ['an earlier range', 'Europe/Berlin', { offset: '100y' }],
  ['the previous period', 'America/New_York', { previousPeriod: true }],
])('the clock changes of %s are searched in short steps', async (_what, timezone, compare) => {
  const store = await openTestStore(1)
  await openTestWriter(new FaultyStore(store)).track(PROJECT, decoderOf([{ name: 'hits', type: 'counter', value: 5 }]))
  const prototype = Intl.DateTimeFormat.prototype
  const original = Object.getOwnPropertyDescriptor(prototype, 'format')!
  let lookupCount = 0
  let lookupCountMax = 0
  let isOver = false
  const startIteration = (): void => {
    lookupCountMax = Math.max(lookupCountMax, lookupCount)
    lookupCount = 0
    if (!isOver) setImmediate(startIteration)
  }
  startIteration()
  Object.defineProperty(prototype, 'format', {
    ...original,
    get(this: Intl.DateTimeFormat) {
      lookupCount++
      // As slow as on a busy machine, so that each slice ends after few periods.
      for (const endMs = performance.now() + 0.02; performance.now() < endMs; );
      return original.get!.call(this)
    },
  })
  const range = { from: '1964-01-01', to: '2024-01-31', interval: '1mo' }
  const { comparison } = await ask(store, 'hits', { ...range, timezone, compare }).finally(() => {
    isOver = true
    Object.defineProperty(prototype, 'format', original)
  })
  await new Promise((resolve) => setImmediate(resolve))
  expect(comparison?.startMs).toHaveLength(721)
  expect(lookupCountMax).toBeGreaterThan(100)
  expect(lookupCountMax).toBeLessThan(1_000)
})

describe('queries of many rollups', () => {
  const names = Array.from({ length: MERGING_QUERIES_MAX + 2 }, (_, i) => `large${i}`)
  let faulty: FaultyStore
  let querier: Querier
  /** The reads of blocks wait here. */
  let reads: ReturnType<typeof gate>

  beforeEach(async () => {
    const store = await openTestStore(1)
    const writer = openTestWriter(new FaultyStore(store))
    await writer.track(
      PROJECT,
      decoderOf([...names, 'small'].map((name) => ({ name, type: 'counter', value: 5, timeMs: T0_MS }))),
    )
    await foldInbox(store, 0, FOLD_SETTINGS, T0_MS)
    const small = (await store.readMetric(PROJECT, 'small'))!
    faulty = new FaultyStore(store)
    faulty.alwaysOf('readIndex', async (proceed, [{ metricId }]) => {
      const snapshot = (await proceed()) as IndexSnapshot
      if (metricId.lo === small.metricId.lo) return snapshot
      const timelines = snapshot.timelines.map((timeline) => ({
        ...timeline,
        entries: timeline.entries.map((entry) => ({ ...entry, rollupCount: 1_000_000 })),
      }))
      return { ...snapshot, timelines }
    })
    reads = gate()
    faulty.always('readBlocks', reads.fault)
    querier = openQuerier(faulty.store, { rollupsMax: 1_000_000_000 })
  })

  async function sumOf(metric: string, session?: QuerySession): Promise<number | undefined> {
    const row = (await faulty.store.readMetric(PROJECT, metric))!
    const range = { from: T0_MS, to: T0_MS + 60_000, interval: '1m', aggregations: ['sum'] }
    const { groups } = await querier.query(row, { metric, ...range }, session)
    return groups[0]!.totals.get('sum')
  }

  /** Number of reads of blocks when no query can go on. */
  async function readCount(): Promise<number> {
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
    return faulty.calls('readBlocks').length
  }

  test('wait for a slot before they read a block; a query of few rollups does not wait', async () => {
    const sums = names.map((name) => sumOf(name))
    expect(await readCount()).toBe(MERGING_QUERIES_MAX)
    const small = sumOf('small')
    expect(await readCount()).toBe(MERGING_QUERIES_MAX + 1)
    reads.open()
    expect(await Promise.all([...sums, small])).toEqual([...names, 'small'].map(() => 5))
  })

  test('stop when their session is aborted, while they wait and while they read', async () => {
    const gone = new GatewayError('request_timeout', 'the client is gone')
    const session = querier.openSession()
    const aborted = names.map((name) => sumOf(name, session).catch((error: unknown) => error))
    await readCount()
    session.abort(gone)
    expect(await Promise.all(aborted.slice(MERGING_QUERIES_MAX))).toEqual([gone, gone])
    const next = sumOf(names.at(-1)!)
    expect(await readCount()).toBe(MERGING_QUERIES_MAX)
    reads.open()
    expect(await next).toBe(5)
    expect(await Promise.all(aborted)).toEqual(names.map(() => gone))
    expect(faulty.calls('readBlocks')).toHaveLength(MERGING_QUERIES_MAX + 1)
  })
})
