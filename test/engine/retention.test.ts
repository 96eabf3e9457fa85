import { afterEach, beforeEach, expect, test } from 'vitest'
import type { QueryInput } from '../../src/query/plan/request.ts'
import type { IndexEntry } from '../../src/store/store.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { ask, refusal, rows, rowsOf, track } from './harness.ts'

/** What is let go, when, and what is answered from what is left. */

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const START_MS = Date.parse('2026-05-05T09:30:00Z')

let nowMs = START_MS
let gateway: TestGateway

beforeEach(async () => {
  nowMs = START_MS
  gateway = await startGateway({ now: () => nowMs })
})
afterEach(() => gateway.close())

/**
 * Lets time go by; folds and lets expire what is due then. Each step of expiry is bounded, so it is taken until nothing
 * is left.
 */
async function advance(ms: number): Promise<void> {
  nowMs += ms
  await drain()
}

async function drain(): Promise<void> {
  await gateway.folds.drain()
  for (let expired = -1; expired !== gateway.folds.totals.expired; ) {
    expired = gateway.folds.totals.expired
    // The loop looks for expired windows every ten seconds.
    nowMs += 10_000
    await gateway.folds.drain()
  }
  for (let partition = 0; partition < gateway.store.partitions; partition++) {
    expect(await gateway.store.inboxSize(partition)).toEqual({ entries: 0, bytes: 0 })
  }
}

async function blocksOf(metric: string, resolutionMs: number): Promise<readonly IndexEntry[]> {
  const row = await gateway.gateway.metric('test', metric)
  const { timelines } = await gateway.store.readIndex({
    partition: row!.partition,
    metricId: row!.metricId,
    withInbox: false,
    timelines: [{ resolutionMs, stretch: { fromMs: 0, toMs: START_MS + 365 * DAY_MS } }],
  })
  return timelines[0]!.entries
}

const at = (time: string): string => `2026-05-05T${time}Z`
const nine = { from: at('09:00:00'), to: at('09:59:59') }

test('a late point does not make the ten seconds that have expired look complete again', async () => {
  await track(gateway, 'load', 'counter', [
    { at: at('09:00:00'), value: 1 },
    { at: at('09:00:30'), value: 2 },
    { at: at('09:30:00'), value: 4 },
  ])
  await drain()
  expect(await rows(gateway, { metric: 'load', ...nine, interval: '10s' })).toHaveLength(3)

  await advance(7 * HOUR_MS)
  expect(await blocksOf('load', 10_000)).toEqual([])
  const whole: QueryInput = { metric: 'load', ...nine, interval: '1h' }
  expect(await rows(gateway, whole)).toEqual(['2026-05-05T09:00:00Z 7'])

  await track(gateway, 'load', 'counter', [{ at: at('09:45:00'), value: 8 }])
  for (const place of ['inbox', 'timelines'] as const) {
    expect(await rows(gateway, whole), place).toEqual(['2026-05-05T09:00:00Z 15'])
    const fine = await ask(gateway, { metric: 'load', ...nine })
    expect([fine.interval, ...fine.meta.resolutionsMs], place).toEqual(['1m', MINUTE_MS])
    expect(await rows(gateway, { metric: 'load', ...nine, interval: '1m' }), place).toEqual([
      '2026-05-05T09:00:00Z 3',
      '2026-05-05T09:30:00Z 4',
      '2026-05-05T09:45:00Z 8',
    ])
    const short = await ask(gateway, { metric: 'load', from: at('09:45:00'), to: at('09:45:09') })
    expect([short.interval, short.groups[0]?.totals.get('sum')], place).toEqual(['1m', 8])
    expect(await refusal(gateway, { metric: 'load', ...nine, interval: '10s' }), place).toMatchObject({
      code: 'invalid_interval',
      details: { finest: '1m' },
    })
    await drain()
  }
  expect(await blocksOf('load', 10_000)).toEqual([])
})

test('live data enters the ten seconds beside an hour that has lost them', async () => {
  await track(gateway, 'load', 'counter', [{ at: at('09:00:00'), value: 1 }])
  await drain()
  await advance(7 * HOUR_MS)
  await track(gateway, 'load', 'counter', [
    { at: at('09:10:00'), value: 2 },
    { at: at('16:20:00'), value: 4 },
    { at: at('16:20:10'), value: 8 },
  ])
  await drain()
  expect(await rows(gateway, { metric: 'load', from: at('16:00:00'), to: at('16:59:59'), interval: '10s' })).toEqual([
    '2026-05-05T16:20:00Z 4',
    '2026-05-05T16:20:10Z 8',
  ])
  const both = await ask(gateway, { metric: 'load', from: at('09:00:00'), to: at('16:59:59'), interval: '1h' })
  expect(both.groups[0]?.totals.get('sum')).toBe(15)
  const fine = await ask(gateway, { metric: 'load', from: at('09:00:00'), to: at('16:59:59'), interval: '10s' })
  expect(fine.meta.bucketsUnavailable).toBe(360)
  expect(rowsOf(fine)['']).toEqual([
    ...Array.from(
      { length: 360 },
      (_, i) => `${new Date(Date.parse(at('09:00:00')) + i * 10_000).toISOString().replace('.000Z', 'Z')} null`,
    ),
    '2026-05-05T16:20:00Z 4',
    '2026-05-05T16:20:10Z 8',
  ])
  expect(fine.groups[0]?.totals.get('sum')).toBeNaN()
})

test('a range is widened at each end to what is kept there', async () => {
  await track(gateway, 'load', 'counter', [
    { at: at('09:00:05'), value: 1 },
    { at: at('09:00:55'), value: 2 },
  ])
  await drain()
  await advance(7 * HOUR_MS)
  await track(gateway, 'load', 'counter', [
    { at: at('16:20:05'), value: 4 },
    { at: at('16:20:15'), value: 8 },
  ])
  const result = await ask(gateway, { metric: 'load', from: at('09:00:30'), to: at('16:20:05'), interval: '1d' })
  expect([result.fromMs, result.toMs]).toEqual([Date.parse(at('09:00:00')), Date.parse(at('16:20:10'))])
  expect(result.groups[0]?.totals.get('sum')).toBe(7)
})

test('imported history stays as long as fresh data does', async () => {
  const imported = { from: '2024-01-15T10:00:00Z', to: '2024-01-15T10:59:59Z' }
  await track(gateway, 'import', 'gauge', [
    { at: '2024-01-15T10:30:00Z', value: 1 },
    { at: at('09:00:00'), value: 2 },
  ])
  await drain()
  await advance(5 * HOUR_MS)
  for (const range of [imported, nine]) {
    expect(await rows(gateway, { metric: 'import', ...range, interval: '10s' })).toHaveLength(1)
  }
  // Written again: kept for six more hours.
  await track(gateway, 'import', 'gauge', [{ at: '2024-01-15T10:31:00Z', value: 3 }])
  await drain()
  await advance(2 * HOUR_MS)
  expect(await rows(gateway, { metric: 'import', ...imported, interval: '10s' })).toHaveLength(2)
  expect((await refusal(gateway, { metric: 'import', ...nine, interval: '10s' })).code).toBe('invalid_interval')
  await advance(5 * HOUR_MS)
  expect((await refusal(gateway, { metric: 'import', ...imported, interval: '10s' })).code).toBe('invalid_interval')
  expect(await rows(gateway, { metric: 'import', ...imported, interval: '1m' })).toHaveLength(2)
})

test('answers of coarser resolutions stay the same while the finer ones expire', async () => {
  const spread = Array.from({ length: 400 }, (_, i) => START_MS - ((i * 7_919_377) % (3 * HOUR_MS)))
  const host = (i: number) => ({ host: String(i % 3) })
  await track(
    gateway,
    'g',
    'gauge',
    spread.map((ms, i) => ({ at: ms, value: i, tags: host(i) })),
  )
  await track(
    gateway,
    'c',
    'counter',
    spread.map((ms, i) => ({ at: ms, total: Math.floor((ms - START_MS) / 1_000) + 20_000, tags: host(i) })),
  )
  await track(
    gateway,
    'd',
    'distribution',
    spread.map((ms, i) => ({ at: ms, value: i - 100, tags: host(i) })),
  )
  await track(
    gateway,
    's',
    'set',
    spread.map((ms, i) => ({ at: ms, member: `m${i % 60}`, tags: host(i) })),
  )
  const asked: readonly [string, readonly string[]][] = [
    ['g', ['last', 'first', 'avg', 'min', 'max', 'sum', 'count']],
    ['c', ['sum', 'rate', 'count', 'last']],
    ['d', ['p50', 'p95', 'avg', 'min', 'max', 'count']],
    ['s', ['count']],
  ]
  const resultsBy = async (interval: string): Promise<unknown> =>
    Promise.all(
      asked.map(async ([metric, aggregations]) => {
        const range = { from: START_MS - 4 * HOUR_MS - 30 * MINUTE_MS, to: START_MS + 30 * MINUTE_MS - 1 }
        const result = await ask(gateway, { metric, ...range, interval, aggregations, groupBy: ['host'] })
        return result.groups.map(({ tags, values, totals }) => [tags, [...values], [...totals]])
      }),
    )
  nowMs += HOUR_MS
  const inInbox = { hours: await resultsBy('1h'), days: await resultsBy('1d') }
  await drain()
  expect({ hours: await resultsBy('1h'), days: await resultsBy('1d') }).toEqual(inInbox)
  await advance(8 * HOUR_MS)
  expect(await blocksOf('g', 10_000)).toEqual([])
  expect(await blocksOf('s', MINUTE_MS)).toEqual([])
  expect({ hours: await resultsBy('1h'), days: await resultsBy('1d') }).toEqual(inInbox)
  await advance(8 * DAY_MS)
  expect(await blocksOf('g', MINUTE_MS)).toEqual([])
  expect(await resultsBy('1h')).toEqual(inInbox.hours)
  await advance(85 * DAY_MS)
  expect(await blocksOf('g', 900_000)).toEqual([])
  expect((await blocksOf('g', HOUR_MS)).length).toBeGreaterThan(0)
  expect(await blocksOf('s', HOUR_MS)).toEqual([])
})

test('when everything has expired a late point starts anew at every resolution', async () => {
  await gateway.close()
  gateway = await startGateway({
    now: () => nowMs,
    env: { RESOLUTIONS: '10s:1h,1m:2h,1h:3h,1d:4h', SET_RESOLUTIONS: '1m:1h,1h:3h,1d:4h' },
  })
  await track(gateway, 'load', 'counter', [{ at: at('09:00:00'), value: 1 }])
  await track(gateway, 'users', 'set', [{ at: at('09:00:00'), member: 'ada' }])
  await drain()
  for (const [ms, finest] of [
    [90 * MINUTE_MS, '1m'],
    [HOUR_MS, '1h'],
    [HOUR_MS, '1d'],
  ] as const) {
    await advance(ms)
    expect((await refusal(gateway, { metric: 'load', ...nine, interval: '10s' })).details).toMatchObject({ finest })
  }
  await advance(HOUR_MS)
  for (const resolution of [10_000, MINUTE_MS, HOUR_MS, DAY_MS]) expect(await blocksOf('load', resolution)).toEqual([])
  expect(await rows(gateway, { metric: 'load', ...nine })).toEqual([])

  await track(gateway, 'load', 'counter', [{ at: at('09:10:00'), value: 2 }])
  await track(gateway, 'users', 'set', [
    { at: at('09:10:00'), member: 'bob' },
    { at: at('09:11:00'), member: 'eve' },
  ])
  for (const place of ['inbox', 'timelines']) {
    for (const interval of ['10s', '1m', '1h', '1d']) {
      const result = await ask(gateway, { metric: 'load', ...nine, interval })
      expect(result.groups[0]?.totals.get('sum'), `${interval} from ${place}`).toBe(2)
    }
    for (const interval of ['1m', '1h', '1d']) {
      const result = await ask(gateway, { metric: 'users', ...nine, interval })
      expect(result.groups[0]?.totals.get('count'), `${interval} from ${place}`).toBe(2)
    }
    await drain()
  }
})

test('a late member of a set counts where finer sketches have expired', async () => {
  await track(gateway, 'users', 'set', [
    { at: at('09:00:00'), member: 'ada' },
    { at: at('09:01:00'), member: 'bob' },
  ])
  await drain()
  await advance(7 * HOUR_MS)
  await track(gateway, 'users', 'set', [
    { at: at('09:00:30'), member: 'ada' },
    { at: at('09:00:30'), member: 'eve' },
  ])
  for (const place of ['inbox', 'timelines']) {
    const result = await ask(gateway, { metric: 'users', ...nine })
    expect([result.interval, result.groups[0]?.totals.get('count')], place).toEqual(['1h', 3])
    await drain()
  }
})

test('a total is compared with one whose fine buckets have expired', async () => {
  await track(gateway, 'requests', 'counter', [
    { at: at('09:00:00'), total: 100 },
    { at: at('09:20:00'), total: 130 },
  ])
  await drain()
  await advance(7 * HOUR_MS)
  await track(gateway, 'requests', 'counter', [{ at: at('16:20:00'), total: 150 }])
  for (const place of ['inbox', 'timelines']) {
    expect(
      await rows(gateway, { metric: 'requests', from: at('16:00:00'), to: at('16:59:59'), interval: '10s' }),
      place,
    ).toEqual(['2026-05-05T16:20:00Z 20'])
    await drain()
  }
})

test('a total is compared with the one before it when days further back have expired altogether', async () => {
  await gateway.close()
  gateway = await startGateway({ now: () => nowMs, env: { RESOLUTIONS: '10s:30m,1m:1h', SET_RESOLUTIONS: '1m:1h' } })
  nowMs = Date.parse(at('11:50:00'))
  await track(gateway, 'requests', 'counter', [{ at: at('11:50:00'), total: 100 }])
  await drain()
  await advance(30 * MINUTE_MS)
  await track(gateway, 'requests', 'counter', [{ at: at('12:20:00'), total: 200 }])
  await advance(40 * MINUTE_MS)
  await track(gateway, 'requests', 'counter', [{ at: at('12:55:00'), total: 250 }])
  expect(await rows(gateway, { metric: 'requests', from: at('11:00:00'), to: at('11:59:59'), interval: '1h' })).toEqual(
    [],
  )
  const hour = { from: at('12:00:00'), to: at('12:59:59'), interval: '1h' }
  expect(await rows(gateway, { metric: 'requests', ...hour })).toEqual(['2026-05-05T12:00:00Z 50'])
  expect(await rows(gateway, { metric: 'requests', ...hour, from: at('12:50:00') })).toEqual([
    '2026-05-05T12:00:00Z 50',
  ])
})

test('windows merged in tiers and sealed answer as their folds did', async () => {
  const folds = 70
  const input: QueryInput = {
    metric: 'piled',
    ...nine,
    interval: '10s',
    aggregations: ['last', 'first', 'sum', 'count', 'min', 'max'],
    groupBy: ['host'],
  }
  const result = async (): Promise<unknown> =>
    (await ask(gateway, input)).groups.map(({ tags, values, bucketStates }) => [tags, [...values], bucketStates])
  for (let i = 0; i < folds; i++) {
    // Every fold writes the same two buckets, one of them at the same instant.
    await track(gateway, 'piled', 'gauge', [
      { at: at('09:00:00'), value: i, tags: { host: String(i % 2) } },
      { at: Date.parse(at('09:10:00')) + ((i * 37) % 100), value: i, tags: { host: 'c' } },
      { at: Date.parse(at('09:20:00')) + i * 10_000, value: i, tags: { host: 'c' } },
    ])
    const before = await result()
    await gateway.folds.drain()
    expect(await result()).toEqual(before)
  }
  const piled = await blocksOf('piled', 10_000)
  expect(piled.length).toBeLessThan(16)
  expect(Math.max(...piled.map(({ tier }) => tier))).toBe(2)
  expect(gateway.folds.totals.merges).toBeGreaterThan(8)
  const before = await result()

  await advance(2 * HOUR_MS)
  expect(await result()).toEqual(before)
  expect(await blocksOf('piled', 10_000)).toMatchObject([{ tier: 255 }])
  // A sealed window takes late points and is sealed again.
  await track(gateway, 'piled', 'gauge', [{ at: at('09:00:00'), value: 1_000, tags: { host: '0' } }])
  await drain()
  const last = (await ask(gateway, { ...input, groupBy: [], interval: '1m', to: at('09:00:59') })).groups[0]
  expect(last?.values.get('last')?.[0]).toBe(1_000)
  expect(last?.values.get('count')?.[0]).toBe(folds + 1)
  await advance(HOUR_MS)
  expect(await blocksOf('piled', 10_000)).toMatchObject([{ tier: 255 }])
  expect((await ask(gateway, { ...input, groupBy: [], interval: '1m', to: at('09:00:59') })).groups[0]?.values).toEqual(
    last?.values,
  )
})

test('days of a zone are answered as far back as hours are kept, the days before are null', async () => {
  const dayOf = (days: number): number => START_MS - days * DAY_MS
  const visits = [1, 40, 80, 120].flatMap((days) => [
    { at: dayOf(days), member: 'ada', tags: { host: 'a' } },
    { at: dayOf(days) + HOUR_MS, member: 'ada', tags: { host: 'a' } },
    { at: dayOf(days), member: `bob-${days}`, tags: { host: 'b' } },
  ])
  await track(gateway, 'users', 'set', visits)
  await drain()
  // Imported history counts from its arrival; what came before is let go.
  await advance(60 * DAY_MS)
  await track(gateway, 'users', 'set', [{ at: nowMs, member: 'eve', tags: { host: 'a' } }])
  await drain()
  await advance(40 * DAY_MS)
  const input = { metric: 'users', from: dayOf(2), to: nowMs, interval: '1d', timezone: 'Europe/Berlin' }
  const result = await ask(gateway, input)
  const known = rowsOf(result)['']!.filter((row) => !row.endsWith(' null'))
  expect(known).toEqual([`${new Date(Date.parse('2026-07-03T22:00:00Z')).toISOString().replace('.000Z', 'Z')} 1`])
  expect(result.meta.bucketsUnavailable).toBeGreaterThan(0)
  expect(rowsOf(result)['']).toHaveLength(result.meta.bucketsUnavailable + 1)
  expect(
    rowsOf(await ask(gateway, { ...input, fill: 'zero' }))['']!.filter((row) => row.endsWith(' null')),
  ).toHaveLength(result.meta.bucketsUnavailable)
  // Groups rank by the days that are answered; a total of all days is not known.
  const top = await ask(gateway, { ...input, groupBy: ['host'], top: { n: 1 } })
  expect(top.groups.map(({ tags }) => tags)).toEqual([[['host', 'a']]])
  expect(top.groups[0]?.totals.get('count')).toBeNaN()
  expect((await ask(gateway, { ...input, timezone: 'UTC' })).meta.bucketsUnavailable).toBe(0)
  expect(await refusal(gateway, { ...input, to: dayOf(1), from: dayOf(1), timezone: 'Asia/Kolkata' })).toMatchObject({
    code: 'invalid_interval',
    details: { setting: 'SET_RESOLUTIONS', step: '30m' },
  })
})

test('a running total is not carried over a stretch that is not answered', async () => {
  await track(gateway, 'bytes', 'counter', [
    { at: at('09:00:05'), total: 100 },
    { at: at('09:10:05'), total: 150 },
  ])
  await drain()
  await advance(7 * HOUR_MS)
  await track(gateway, 'bytes', 'counter', [
    { at: at('16:20:05'), total: 175 },
    { at: at('16:20:15'), total: 180 },
  ])
  await drain()
  const asked = { metric: 'bytes', from: at('09:00:00'), to: at('16:59:59'), interval: '10s' }
  const result = await ask(gateway, asked)
  expect(rowsOf(result)['']!.filter((row) => !row.endsWith('null'))).toEqual([
    // Minutes still have the total of 09:10, before the first one in the result.
    '2026-05-05T16:20:00Z 25',
    '2026-05-05T16:20:10Z 5',
  ])
  expect(result.meta.isExact).toBe(true)
})

test('groups of running totals rank by the buckets that are answered', async () => {
  await track(gateway, 'sent', 'counter', [{ at: at('09:00:05'), total: 1, tags: { host: 'a' } }])
  await drain()
  await advance(7 * HOUR_MS)
  const points = (host: string, increase: number) => [
    { at: at('16:20:05'), total: 100, tags: { host } },
    { at: at('16:22:05'), total: 100 + increase, tags: { host } },
  ]
  await track(gateway, 'sent', 'counter', [...points('b', 10), ...points('c', 30), ...points('d', 20)])
  await drain()
  const asked = { metric: 'sent', from: at('09:00:00'), to: at('16:59:59'), interval: '10s', groupBy: ['host'] }
  const result = await ask(gateway, { ...asked, aggregations: ['sum'], top: { n: 2 } })
  expect(result.meta.bucketsUnavailable).toBeGreaterThan(0)
  expect(result.groups.map(({ tags }) => tags)).toEqual([[['host', 'c']], [['host', 'd']]])
})
