import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { TrackedType } from '../../src/model/metric.ts'
import type { QueryInput } from '../../src/query/plan/request.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { ask, rows as rowsNow, rowsOf, type Sample, track } from './harness.ts'

/** The meaning of the numbers, one by one, each of points that lie in the inbox and of points that were folded. */

const NOW = '2026-05-05T12:34:56.789Z'
const NOW_MS = Date.parse(NOW)
const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000

describe.each(['in the inbox', 'folded'])('%s', (place) => {
  let gateway: TestGateway

  beforeAll(async () => {
    gateway = await startGateway({ now: () => NOW_MS })
    gateway.folds.hold(Number.POSITIVE_INFINITY)
  })
  afterAll(() => gateway.close())

  async function foldAll(): Promise<void> {
    if (place === 'in the inbox') return
    gateway.folds.hold(0)
    await gateway.folds.drain()
    gateway.folds.hold(Number.POSITIVE_INFINITY)
  }

  /** Each list of samples is a request of its own. */
  async function given(name: string, type: TrackedType, ...requests: readonly (readonly Sample[])[]): Promise<void> {
    for (const samples of requests) {
      expect(await track(gateway, name, type, samples)).toEqual([])
      await foldAll()
    }
  }

  const rows = (metric: string, input: Omit<QueryInput, 'metric'>): Promise<string[]> =>
    rowsNow(gateway, { metric, ...input })
  const groups = async (metric: string, input: Omit<QueryInput, 'metric'>): Promise<Record<string, string[]>> =>
    rowsOf(await ask(gateway, { metric, ...input }))

  async function post(path: string, body: unknown): Promise<{ status: number; body: unknown }> {
    const response = await fetch(`${gateway.url}/api/v1${path}`, {
      method: 'POST',
      headers: { 'x-api-key': gateway.key, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    return { status: response.status, body: JSON.parse(await response.text()) }
  }

  const at = (time: string): string => `2026-05-05T${time}Z`
  const morning = { from: at('08:00:00'), to: at('11:59:59'), interval: '1h' }

  test('a late point does not disturb last', async () => {
    await given(
      'late.last',
      'gauge',
      [{ at: at('09:30:00'), value: 7 }],
      [{ at: at('09:10:00'), value: 3 }],
      [{ at: at('09:29:59.999'), value: 4 }],
    )
    expect(await rows('late.last', { ...morning, aggregations: ['last', 'first', 'count'] })).toEqual([
      '2026-05-05T09:00:00Z 7 3 3',
    ])
  })

  test('points of 2024 and of the next minute land in their buckets, 24 h and a second ahead is refused', async () => {
    const item = (timestamp: string) => ({ name: 'far', type: 'gauge', value: 1, timestamp })
    expect((await post('/metrics', item('2024-02-29T23:59:59.999Z'))).status).toBe(201)
    expect((await post('/metrics', item('2026-05-05T12:35:56Z'))).status).toBe(201)
    expect((await post('/metrics', item('2026-05-06T12:34:56.789Z'))).status).toBe(201)
    expect(await post('/metrics', item('2026-05-06T12:34:57.790Z'))).toMatchObject({
      status: 400,
      body: { error: { code: 'invalid_timestamp' } },
    })
    await foldAll()
    expect(await rows('far', { from: '2024-02-29T00:00:00Z', to: '2026-05-07T00:00:00Z', interval: '1d' })).toEqual([
      '2024-02-29T00:00:00Z 1',
      '2026-05-05T00:00:00Z 1',
      '2026-05-06T00:00:00Z 1',
    ])
    expect(await rows('far', { from: at('12:00:00'), to: at('12:59:59'), interval: '1m' })).toEqual([
      '2026-05-05T12:35:00Z 1',
    ])
  })

  test('a member of two hours and two series counts once over both', async () => {
    await given(
      'users',
      'set',
      [
        { at: at('09:10:00'), member: 'ada', tags: { app: 'web' } },
        { at: at('09:11:00'), member: 'bob', tags: { app: 'web' } },
      ],
      [
        { at: at('10:10:00'), member: 'ada', tags: { app: 'ios' } },
        { at: at('10:10:30'), member: 'eve', tags: { app: 'ios' } },
      ],
    )
    expect(await rows('users', morning)).toEqual(['2026-05-05T09:00:00Z 2', '2026-05-05T10:00:00Z 2'])
    expect(await rows('users', { ...morning, interval: '1d' })).toEqual(['2026-05-05T00:00:00Z 3'])
    const { groups: byApp } = await ask(gateway, { metric: 'users', ...morning, groupBy: ['app'] })
    expect(byApp.map(({ totals }) => totals.get('count'))).toEqual([2, 2])
    const { groups: together } = await ask(gateway, { metric: 'users', ...morning })
    expect(together[0]?.totals.get('count')).toBe(3)
  })

  test('a thousand members count within 3 %, a hundred nearly exactly', async () => {
    const members = (from: number, count: number, hour: string): Sample[] =>
      Array.from({ length: count }, (_, i) => ({
        at: at(`${hour}:${String(i % 60).padStart(2, '0')}:00`),
        member: `user-${from + i}`,
        tags: { app: i % 2 === 0 ? 'web' : 'ios' },
      }))
    await given('thousand', 'set', members(0, 600, '09'), members(500, 500, '10'), members(0, 100, '11'))
    const { groups: resultGroups } = await ask(gateway, { metric: 'thousand', ...morning })
    const [, nine, ten, eleven] = resultGroups[0]!.values.get('count')!
    expect(Math.abs(nine! - 600)).toBeLessThanOrEqual(18)
    expect(Math.abs(ten! - 500)).toBeLessThanOrEqual(15)
    expect(Math.abs(eleven! - 100)).toBeLessThanOrEqual(1)
    expect(Math.abs(resultGroups[0]!.totals.get('count')! - 1_000)).toBeLessThanOrEqual(30)
  })

  test('the second of two gauges without a time in one batch is last', async () => {
    const item = (value: number) => ({ name: 'pair', type: 'gauge', value })
    expect(await post('/metrics/batch', [item(9), item(2)])).toEqual({
      status: 201,
      body: { data: { accepted: 2, rejected: 0 } },
    })
    await foldAll()
    expect(await rows('pair', { last: '1m', interval: '1m', aggregations: ['last', 'first', 'max'] })).toEqual([
      '2026-05-05T12:34:00Z 2 9 9',
    ])
  })

  test('the average of two series is weighted by their points', async () => {
    await given('weights', 'gauge', [
      { at: at('09:00:01'), value: 1, tags: { host: 'a' } },
      { at: at('09:00:02'), value: 1, tags: { host: 'a' } },
      { at: at('09:00:03'), value: 1, tags: { host: 'a' } },
      { at: at('09:00:04'), value: 5, tags: { host: 'b' } },
    ])
    expect(await rows('weights', { ...morning, aggregations: ['avg'] })).toEqual(['2026-05-05T09:00:00Z 2'])
    await given('heavy', 'distribution', [
      { at: at('09:00:01'), value: 1, weight: 3 },
      { at: at('09:00:04'), value: 5 },
    ])
    expect(await rows('heavy', { ...morning, aggregations: ['avg', 'count', 'p50'] })).toEqual([
      '2026-05-05T09:00:00Z 2 4 1',
    ])
  })

  test('a total that begins anew is never a negative increase', async () => {
    await given('restart', 'counter', [
      { at: at('09:00:00'), total: 100 },
      { at: at('09:00:10'), total: 130 },
      { at: at('09:00:20'), total: 4 },
      { at: at('09:00:30'), total: 6 },
      { at: at('10:00:00'), total: 1 },
    ])
    expect(await rows('restart', morning)).toEqual(['2026-05-05T09:00:00Z 36', '2026-05-05T10:00:00Z 1'])
    expect(await rows('restart', { ...morning, interval: '10s', aggregations: ['sum', 'last'] })).toEqual([
      '2026-05-05T09:00:00Z 0 100',
      '2026-05-05T09:00:10Z 30 130',
      '2026-05-05T09:00:20Z 4 4',
      '2026-05-05T09:00:30Z 2 6',
      '2026-05-05T10:00:00Z 1 1',
    ])
  })

  test('totals that two writers send in turns count once', async () => {
    await given(
      'turns',
      'counter',
      [
        { at: at('09:00:00'), total: 0 },
        { at: at('09:00:02'), total: 20 },
      ],
      [
        { at: at('09:00:01'), total: 10 },
        { at: at('09:00:03'), total: 30 },
      ],
    )
    expect(await rows('turns', morning)).toEqual(['2026-05-05T09:00:00Z 30'])
  })

  test('a late total between two others changes where the increase lies, not how much it is', async () => {
    await given(
      'late.total',
      'counter',
      [{ at: at('09:00:00'), total: 0 }],
      [{ at: at('09:00:40'), total: 30 }],
      [{ at: at('09:00:20'), total: 10 }],
    )
    expect(await rows('late.total', morning)).toEqual(['2026-05-05T09:00:00Z 30'])
    expect(await rows('late.total', { ...morning, interval: '10s' })).toEqual([
      '2026-05-05T09:00:00Z 0',
      '2026-05-05T09:00:20Z 10',
      '2026-05-05T09:00:40Z 20',
    ])
  })

  test('a late total across a reset is read in order of time', async () => {
    await given(
      'late.reset',
      'counter',
      [{ at: at('09:00:00'), total: 100 }],
      [{ at: at('09:20:00'), total: 20 }],
      [{ at: at('09:10:00'), total: 150 }],
    )
    expect(await rows('late.reset', morning)).toEqual(['2026-05-05T09:00:00Z 70'])
  })

  test('the first total adds nothing, nor does the first after more than seven silent days', async () => {
    await given('silent', 'counter', [
      { at: '2026-04-01T00:00:00Z', total: 1_000 },
      { at: '2026-04-08T00:00:00Z', total: 1_005 },
      { at: '2026-04-15T00:00:01Z', total: 1_100 },
      { at: '2026-04-15T00:00:02Z', total: 1_101 },
    ])
    const april = { from: '2026-04-01T00:00:00Z', to: '2026-04-30T00:00:00Z', interval: '1d' }
    expect(await rows('silent', april)).toEqual([
      '2026-04-01T00:00:00Z 0',
      '2026-04-08T00:00:00Z 5',
      '2026-04-15T00:00:00Z 1',
    ])
    expect(await rows('silent', { ...april, from: '2026-04-08T00:00:00Z' })).toEqual([
      '2026-04-08T00:00:00Z 5',
      '2026-04-15T00:00:00Z 1',
    ])
  })

  test.each(['10s', '1m', '1h', '1d'])(
    'an increase lies in the %s of the later total, also when the earlier one lies before the range',
    async (interval) => {
      const name = `before.${interval}`
      await given(
        name,
        'counter',
        [{ at: '2026-05-03T23:59:55Z', total: 10 }],
        [{ at: '2026-05-04T00:00:01Z', total: 25 }],
      )
      const day = { interval, to: '2026-05-04T23:59:59Z' }
      expect(await rows(name, { ...day, from: '2026-05-04T00:00:00Z' })).toEqual(['2026-05-04T00:00:00Z 15'])
      expect((await rows(name, { ...day, from: '2026-05-03T00:00:00Z' })).at(-1)).toBe('2026-05-04T00:00:00Z 15')
    },
  )

  test('deltas and totals share a counter', async () => {
    await given(
      'mixed',
      'counter',
      [
        { at: at('09:00:00'), value: 5 },
        { at: at('09:00:01'), total: 10 },
      ],
      [
        { at: at('09:30:00'), total: 17 },
        { at: at('09:40:00'), value: -1 },
        { at: at('10:40:00'), value: 3 },
      ],
    )
    expect(await rows('mixed', { ...morning, aggregations: ['sum', 'count', 'last'] })).toEqual([
      '2026-05-05T09:00:00Z 11 4 17',
      '2026-05-05T10:00:00Z 3 1 null',
    ])
  })

  test('days of Berlin have 23 and 25 hours when the clock changes', async () => {
    const hourly = (from: string, hours: number): Sample[] =>
      Array.from({ length: hours }, (_, i) => ({ at: Date.parse(from) + i * HOUR_MS, value: 1 }))
    await given('dst', 'counter', hourly('2025-10-24T22:00:00Z', 4 * 24), hourly('2026-03-27T23:00:00Z', 4 * 24))
    const daily = { interval: '1d', timezone: 'Europe/Berlin' }
    expect(await rows('dst', { ...daily, from: '2025-10-24T22:00:00Z', to: '2025-10-27T22:59:59Z' })).toEqual([
      '2025-10-24T22:00:00Z 24',
      '2025-10-25T22:00:00Z 25',
      '2025-10-26T23:00:00Z 24',
    ])
    expect(await rows('dst', { ...daily, from: '2026-03-27T23:00:00Z', to: '2026-03-30T21:59:59Z' })).toEqual([
      '2026-03-27T23:00:00Z 24',
      '2026-03-28T23:00:00Z 23',
      '2026-03-29T22:00:00Z 24',
    ])
    expect(
      await rows('dst', { ...daily, interval: '1mo', from: '2026-03-01T00:00:00Z', to: '2026-03-30T23:59:59Z' }),
    ).toEqual(['2026-02-28T23:00:00Z 73'])
  })

  test('days of Kathmandu begin at a quarter past six in the evening', async () => {
    await given('nepal', 'counter', [
      { at: '2026-05-03T18:14:59.999Z', value: 1 },
      { at: '2026-05-03T18:15:00Z', value: 10 },
      { at: '2026-05-04T18:14:59.999Z', value: 100 },
      { at: '2026-05-04T18:15:00Z', value: 1_000 },
    ])
    const input = {
      from: '2026-05-03T00:00:00Z',
      to: '2026-05-05T00:00:00Z',
      interval: '1d',
      timezone: 'Asia/Kathmandu',
    }
    expect(await rows('nepal', input)).toEqual([
      '2026-05-02T18:15:00Z 1',
      '2026-05-03T18:15:00Z 110',
      '2026-05-04T18:15:00Z 1000',
    ])
  })

  test('percentiles interpolate between neighbouring ranks; the outermost are exact', async () => {
    const tens = Array.from({ length: 10 }, (_, i) => ({
      at: at(`09:0${i}:00`),
      value: (i + 1) * 10 + (i === 0 ? 0.123 : 0),
    }))
    await given('tens', 'distribution', tens.slice(0, 4), tens.slice(4))
    const { groups: resultGroups } = await ask(gateway, {
      metric: 'tens',
      ...morning,
      aggregations: ['p95', 'p0', 'p100', 'min', 'p50', 'p99.999'],
    })
    const value = (name: string): number => resultGroups[0]!.values.get(name)![1]!
    expect(Math.abs(value('p95') - 95.5)).toBeLessThanOrEqual(0.955)
    expect(Math.abs(value('p50') - 55)).toBeLessThanOrEqual(0.55)
    expect([value('p0'), value('min'), value('p100')]).toEqual([10.123, 10.123, 100])
    expect(value('p99.999')).toBeLessThanOrEqual(100)
    expect(resultGroups[0]!.totals.get('p0')).toBe(10.123)
    await given(
      'below',
      'distribution',
      [-10, 0, 10].map((n, i) => ({ at: at(`09:00:0${i}`), value: n })),
    )
    const below = await ask(gateway, { metric: 'below', ...morning, aggregations: ['p0', 'p50', 'p100', 'p25'] })
    const [lowest, middle, highest, quarter] = ['p0', 'p50', 'p100', 'p25'].map(
      (name) => below.groups[0]!.values.get(name)![1]!,
    )
    expect([lowest, middle, highest]).toEqual([-10, 0, 10])
    expect(Math.abs(quarter! + 5)).toBeLessThanOrEqual(0.05)
  })

  test('a rate is over the bucket, cut by the range and by now, but at least over a base bucket', async () => {
    await given('speed', 'counter', [
      { at: at('09:30:00'), value: 3_600 },
      { at: at('12:30:00'), value: 2_096.789 },
      { at: at('12:34:55'), value: 60 },
      { at: at('14:30:00'), value: 7_200 },
      { at: at('15:00:00'), value: 90 },
    ])
    const rate = { interval: '1h', aggregations: ['rate'] }
    expect(await rows('speed', { ...rate, from: at('09:00:00'), to: at('14:59:59') })).toEqual([
      '2026-05-05T09:00:00Z 1',
      `2026-05-05T12:00:00Z ${(2_096.789 + 60) / 2_096.789}`,
      '2026-05-05T14:00:00Z 2',
    ])
    // Cut by the range, which is widened by the base: 20 s of the hour.
    expect(await rows('speed', { ...rate, from: at('09:29:55'), to: at('09:30:05') })).toEqual([
      '2026-05-05T09:00:00Z 180',
    ])
    expect(await rows('speed', { ...rate, from: at('14:59:59'), to: at('15:00:09') })).toEqual([
      '2026-05-05T15:00:00Z 9',
    ])
    // The bucket has lasted 6.789 s.
    expect(await rows('speed', { ...rate, interval: '10s', from: at('12:34:50'), to: at('12:34:59') })).toEqual([
      '2026-05-05T12:34:50Z 6',
    ])
    const whole = await ask(gateway, { metric: 'speed', ...rate, from: at('09:00:00'), to: at('09:59:59') })
    expect(whole.groups[0]?.totals.get('rate')).toBe(1)
  })

  test('from and to are widened to whole stored buckets, and the resolutions are told', async () => {
    await given('edges', 'counter', [
      { at: at('09:59:49.999'), value: 1 },
      { at: at('09:59:50'), value: 10 },
      { at: at('10:00:00'), value: 100 },
      { at: at('11:00:09.999'), value: 1_000 },
      { at: at('11:00:10'), value: 10_000 },
    ])
    const result = await ask(gateway, { metric: 'edges', from: at('09:59:55'), to: at('11:00:00'), interval: '1h' })
    expect(rowsOf(result)).toEqual({
      '': ['2026-05-05T09:00:00Z 10', '2026-05-05T10:00:00Z 100', '2026-05-05T11:00:00Z 1000'],
    })
    expect([result.fromMs, result.toMs].map((ms) => new Date(ms).toISOString().slice(11, 19))).toEqual([
      '09:59:50',
      '11:00:10',
    ])
    expect(result.meta.resolutionsMs).toEqual([10_000, HOUR_MS])
    const query = `from=${at('09:59:55')}&to=${at('11:00:00')}&interval=1h`
    const response = await fetch(`${gateway.url}/api/v1/metrics/edges/query?${query}`, {
      headers: { 'x-api-key': gateway.key },
    })
    expect(response.headers.get('x-resolution')).toBe('10s,1h')
    const single = await ask(gateway, { metric: 'edges', from: at('10:00:00'), to: at('10:00:00'), interval: 'auto' })
    expect(rowsOf(single)).toEqual({ '': ['2026-05-05T10:00:00Z 100'] })
  })

  test('auto takes the finest step with at most 300 buckets', async () => {
    await given('auto', 'gauge', [{ at: at('12:00:00'), value: 1 }])
    await given('auto.set', 'set', [{ at: at('12:00:00'), member: 'x' }])
    const years = (n: number) => ({ from: `${2026 - n}-05-05T00:00:00Z`, to: NOW })
    const chosen = async (metric: string): Promise<string[]> => {
      const ranges = [
        { last: '40m' },
        { last: '1h' },
        { last: '6h' },
        { last: '24h' },
        { last: '7d' },
        years(1),
        years(10),
      ]
      return Promise.all(ranges.map(async (range) => (await ask(gateway, { metric, ...range })).interval))
    }
    expect(await chosen('auto')).toEqual(['10s', '1m', '15m', '15m', '1h', '1w', '1mo'])
    expect(await chosen('auto.set')).toEqual(['1m', '1m', '1h', '1h', '1h', '1w', '1mo'])
  })

  test('an interval that stored buckets do not fill is refused with the finest that they do', async () => {
    await given('fine', 'gauge', [{ at: at('12:00:00'), value: 1 }])
    await given('fine.set', 'set', [{ at: at('12:00:00'), member: 'x' }])
    for (const interval of ['5s', '15s', '1s']) {
      await expect(ask(gateway, { metric: 'fine', last: '1h', interval })).rejects.toMatchObject({
        code: 'invalid_interval',
        details: { finest: '10s' },
      })
    }
    for (const interval of ['10s', '90s']) {
      await expect(ask(gateway, { metric: 'fine.set', last: '1h', interval })).rejects.toMatchObject({
        code: 'invalid_interval',
        details: { finest: '1m' },
      })
    }
  })

  test('groups by two tags; a missing tag is an empty one', async () => {
    await given('two.tags', 'counter', [
      { at: at('09:00:00'), value: 1, tags: { a: 'x', b: 'y' } },
      { at: at('09:00:00'), value: 2, tags: { a: 'x' } },
      { at: at('09:00:00'), value: 4, tags: { a: 'x', b: '' } },
      { at: at('09:00:00'), value: 8, tags: { b: 'y' } },
      { at: at('09:00:00'), value: 16 },
    ])
    expect(await groups('two.tags', { ...morning, groupBy: ['a', 'b'] })).toEqual({
      '|': ['2026-05-05T09:00:00Z 16'],
      '|y': ['2026-05-05T09:00:00Z 8'],
      'x|': ['2026-05-05T09:00:00Z 6'],
      'x|y': ['2026-05-05T09:00:00Z 1'],
    })
    // Two of the five have the same tags.
    expect((await ask(gateway, { metric: 'two.tags', ...morning, bySeries: true })).groups).toHaveLength(4)
    expect(await rows('two.tags', { ...morning, tags: new Map([['b', ['']]]) })).toEqual(['2026-05-05T09:00:00Z 22'])
  })

  test('names and tags may be called __proto__', async () => {
    await given('__proto__', 'counter', [
      { at: at('09:00:00'), value: 1, tags: { a: '__proto__' } },
      { at: at('09:00:00'), value: 2, tags: { a: 'constructor' } },
      { at: at('09:00:00'), value: 4, tags: { ['__proto__']: 'x' } },
    ])
    const { groups: byA } = await ask(gateway, { metric: '__proto__', ...morning, groupBy: ['a'] })
    expect(byA.map(({ tags, totals }) => [tags[0]?.[1], totals.get('sum')])).toEqual([
      ['', 4],
      ['__proto__', 1],
      ['constructor', 2],
    ])
    const { groups: byProto } = await ask(gateway, { metric: '__proto__', ...morning, groupBy: ['__proto__'] })
    expect(byProto.map(({ tags, totals }) => [tags[0]?.[1], totals.get('sum')])).toEqual([
      ['', 3],
      ['x', 4],
    ])
    expect(await rows('__proto__', { ...morning, tags: new Map([['__proto__', ['x']]]) })).toEqual([
      '2026-05-05T09:00:00Z 4',
    ])
  })

  test('values of one filter are alternatives, filters of several keys hold together', async () => {
    await given('filters', 'counter', [
      { at: at('09:00:00'), value: 1, tags: { a: 'x', b: 'p' } },
      { at: at('09:00:00'), value: 2, tags: { a: 'y', b: 'p' } },
      { at: at('09:00:00'), value: 4, tags: { a: 'z', b: 'q' } },
    ])
    const sum = async (...tags: [string, string[]][]): Promise<string[]> =>
      rows('filters', { ...morning, tags: new Map(tags) })
    expect(await sum(['a', ['x', 'y', 'y']])).toEqual(['2026-05-05T09:00:00Z 3'])
    expect(await sum(['a', ['x', 'z']], ['b', ['p']])).toEqual(['2026-05-05T09:00:00Z 1'])
    expect(await sum(['a', ['nobody']])).toEqual([])
    expect(await sum(['nobody', ['x']])).toEqual([])
    expect(await groups('filters', { ...morning, tags: new Map([['a', ['nobody']]]), groupBy: ['b'] })).toEqual({})
  })

  test('a range without points has no rows, whatever is filled', async () => {
    await given('empty', 'gauge', [{ at: at('09:00:00'), value: 1, tags: { a: 'x' } }])
    const nothing = { from: '2026-01-01T00:00:00Z', to: '2026-01-01T01:59:59Z', interval: '1h' }
    expect(await rows('empty', nothing)).toEqual([])
    expect(await rows('empty', { ...nothing, fill: 'zero' })).toEqual([
      '2026-01-01T00:00:00Z 0',
      '2026-01-01T01:00:00Z 0',
    ])
    expect(await groups('empty', { ...nothing, groupBy: ['a'], fill: 'zero' })).toEqual({})
  })

  test('fill says what stands in empty buckets', async () => {
    await given('gaps', 'gauge', [
      { at: at('09:00:00'), value: 3 },
      { at: at('11:00:00'), value: 5 },
    ])
    const filled = async (fill: string): Promise<string[]> =>
      (await rows('gaps', { ...morning, fill })).map((row) => row.slice(11, 13) + row.slice(20))
    expect(await filled('none')).toEqual(['09 3', '11 5'])
    expect(await filled('null')).toEqual(['08 null', '09 3', '10 null', '11 5'])
    expect(await filled('zero')).toEqual(['08 0', '09 3', '10 0', '11 5'])
    expect(await filled('previous')).toEqual(['08 null', '09 3', '10 3', '11 5'])
  })

  test('of equal times the later arrival is last in one series, the greater value among several', async () => {
    await given(
      'ties',
      'gauge',
      [
        { at: at('09:00:00'), value: 8, tags: { host: 'a' } },
        { at: at('09:00:00'), value: 2, tags: { host: 'a' } },
      ],
      [{ at: at('09:00:00'), value: 1, tags: { host: 'a' } }],
      [{ at: at('09:00:00'), value: 5, tags: { host: 'b' } }],
    )
    const ends = { ...morning, aggregations: ['last', 'first', 'max', 'count'] }
    expect(await groups('ties', { ...ends, groupBy: ['host'] })).toEqual({
      a: ['2026-05-05T09:00:00Z 1 8 8 3'],
      b: ['2026-05-05T09:00:00Z 5 5 5 1'],
    })
    expect(await rows('ties', ends)).toEqual(['2026-05-05T09:00:00Z 5 5 8 4'])
  })

  test('a sum beyond all numbers is null, the other answers stand', async () => {
    const huge = [1e308, 1.5e308].map((value, i) => ({ at: at(`09:00:0${i}`), value }))
    await given('huge', 'gauge', huge)
    expect(await rows('huge', { ...morning, aggregations: ['sum', 'avg', 'max', 'last', 'count'] })).toEqual([
      '2026-05-05T09:00:00Z null null 1.5e+308 1.5e+308 2',
    ])
    await given('huge.counter', 'counter', huge)
    expect(await rows('huge.counter', { ...morning, aggregations: ['sum', 'rate', 'count'] })).toEqual([
      '2026-05-05T09:00:00Z null null 2',
    ])
    await given('huge.distribution', 'distribution', huge)
    expect(await rows('huge.distribution', { ...morning, aggregations: ['sum', 'p100', 'p0'] })).toEqual([
      '2026-05-05T09:00:00Z null 1.5e+308 1e+308',
    ])
    await given('huge.both', 'gauge', [
      ...huge,
      ...huge.map(({ value }, i) => ({ at: at(`10:00:0${i}`), value: -value })),
    ])
    expect(await rows('huge.both', { ...morning, interval: '1d', aggregations: ['sum', 'min'] })).toEqual([
      '2026-05-05T00:00:00Z null -1.5e+308',
    ])
  })

  test('calendar days beyond the range are answered by what lies in it', async () => {
    await given('partial', 'counter', [
      { at: at('01:00:00'), value: 1 },
      { at: at('11:00:00'), value: 2 },
    ])
    expect(await rows('partial', { from: at('10:00:00'), to: at('12:00:00'), interval: '1d' })).toEqual([
      '2026-05-05T00:00:00Z 2',
    ])
  })

  test('what lies before 1970 is answered too', async () => {
    await given('old', 'counter', [
      { at: -DAY_MS - 1, value: 1 },
      { at: -DAY_MS, value: 2 },
      { at: -1, value: 4 },
      { at: 0, value: 8 },
    ])
    expect(await rows('old', { from: '1969-12-30T00:00:00Z', to: '1970-01-01T00:00:00Z', interval: '1d' })).toEqual([
      '1969-12-30T00:00:00Z 1',
      '1969-12-31T00:00:00Z 6',
      '1970-01-01T00:00:00Z 8',
    ])
    expect(await rows('old', { from: '1969-12-31T23:55:00Z', to: '1969-12-31T23:59:59.999Z', interval: '1m' })).toEqual(
      ['1969-12-31T23:59:00Z 4'],
    )
  })
})
