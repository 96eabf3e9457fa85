import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { type RedisServer, startRedis } from '../support/redis-server.ts'
import { ask, refusal, rows, rowsOf } from './harness.ts'

/** The Better Stack dialect from the wire to the answer, on either store and through two gateways. */

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server?.stop())

let stores = 0
const MORNING = { from: '2026-05-05T09:00:00Z', to: '2026-05-05T10:59:59Z', interval: '1h' }
const NOW_MS = Date.parse('2026-05-05T12:00:00Z')

async function start(env: Readonly<Record<string, string>>): Promise<TestGateway> {
  const gateway = await startGateway({ env, now: () => NOW_MS })
  onTestFinished(() => gateway.close())
  return gateway
}

/** Answers how many items were accepted and rejected. */
async function send({ url, key }: TestGateway, items: unknown, headers = {}): Promise<string> {
  const response = await fetch(`${url}/metrics`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
    body: JSON.stringify(items),
  })
  expect([response.status, await response.text()]).toEqual([202, ''])
  return `${response.headers.get('x-metrics-accepted')} ${response.headers.get('x-metrics-rejected')}`
}

const total = (name: string, time: string, value: number, more = {}) => ({
  name,
  counter: { value },
  dt: `2026-05-05T${time}Z`,
  ...more,
})

const STORES = [
  ['embedded', () => ({})],
  ['Redis', () => ({ REDIS_URL: server.url, REDIS_PREFIX: `bs${++stores}`, PARTITIONS: '4' })],
] as const

describe.each(STORES)('on %s', (_, settings) => {
  test('running totals add their increase in any order of arrival, beside deltas', async () => {
    const gateway = await start(settings())
    for (const [time, value] of [
      ['09:00:00', 100],
      ['09:30:00', 130],
      ['09:15:00', 115],
    ] as const) {
      await send(gateway, total('served', time, value))
      await gateway.folds.drain()
    }
    await send(gateway, [total('served', '10:00:00', 4), total('served', '10:00:01', 7, { kind: 'absolute' })])
    expect(await rows(gateway, { metric: 'served', ...MORNING, aggregations: ['sum', 'count', 'last'] })).toEqual([
      '2026-05-05T09:00:00Z 30 3 130',
      '2026-05-05T10:00:00Z 7 2 7',
    ])
    expect(
      await rows(gateway, { metric: 'served', ...MORNING, from: '2026-05-05T09:30:00Z', interval: '10s' }),
    ).toEqual(['2026-05-05T09:30:00Z 15', '2026-05-05T10:00:00Z 7'])
    await send(gateway, total('served', '10:30:00', -2, { kind: 'incremental' }))
    expect(await rows(gateway, { metric: 'served', ...MORNING, aggregations: ['sum', 'rate', 'last'] })).toEqual([
      `2026-05-05T09:00:00Z 30 ${30 / 3600} 130`,
      `2026-05-05T10:00:00Z 5 ${5 / 3600} 7`,
    ])
    await send(gateway, total('deltas', '09:00:00', 5, { kind: 'incremental' }))
    expect(await rows(gateway, { metric: 'deltas', ...MORNING, aggregations: ['sum', 'last'] })).toEqual([
      '2026-05-05T09:00:00Z 5 null',
    ])
  })

  test('a late total that shows a reset inside a folded bucket makes the result of its query inexact', async () => {
    const gateway = await start(settings())
    const isExact = async (interval: string) =>
      (await ask(gateway, { metric: 'unseen', ...MORNING, interval })).meta.isExact
    for (const [time, value] of [
      ['09:00:00', 100],
      ['09:10:00', 120],
      ['09:30:00', 130],
    ] as const)
      await send(gateway, total('unseen', time, value))
    await gateway.folds.drain()
    expect(await isExact('1h')).toBe(true)
    await send(gateway, total('unseen', '09:20:00', 5))
    for (const folded of [false, true]) {
      if (folded) await gateway.folds.drain()
      expect([await isExact('1h'), await isExact('1m')]).toEqual([false, true])
      expect(await rows(gateway, { metric: 'unseen', ...MORNING })).toEqual(['2026-05-05T09:00:00Z 130'])
      const minutes = await ask(gateway, { metric: 'unseen', ...MORNING, interval: '1m' })
      expect(minutes.groups[0]!.totals.get('sum')).toBe(150)
    }
  })

  test('an item of which one series is refused is left out whole', async () => {
    const gateway = await start(settings())
    const histogram = (name: string) => ({
      name,
      histogram: { count: 3, sum: 4.5, buckets: [{ upper_limit: 1, count: 3 }] },
      dt: '2026-05-05T09:00:00Z',
    })
    expect(await send(gateway, { name: 'taken_sum', gauge: { value: 1 } })).toBe('1 0')
    // In the first request the gateway does not know that the name is taken; in the second it does.
    for (let i = 0; i < 2; i++) expect(await send(gateway, [histogram('taken'), histogram('free')])).toBe('1 1')
    for (const name of ['taken', 'taken_count']) expect(await gateway.gateway.metric('test', name)).toBeUndefined()
    expect(await rows(gateway, { metric: 'free', ...MORNING })).toEqual(['2026-05-05T09:00:00Z 6'])
    expect(await rows(gateway, { metric: 'free_sum', ...MORNING })).toEqual(['2026-05-05T09:00:00Z 9'])
    expect(await rows(gateway, { metric: 'free_count', ...MORNING })).toEqual(['2026-05-05T09:00:00Z 6'])
  })

  test('quantiles of a histogram are interpolated over its limits, by bucket and group, folded or not', async () => {
    const gateway = await start(settings())
    const duration = (time: string, host: string, counts: readonly number[], more = {}) => ({
      name: 'duration',
      tags: { host },
      histogram: {
        count: counts.reduce((sum, count) => sum + count, 0),
        sum: 75.5,
        // What is counted beyond the last limit has no bucket of its own.
        buckets: [0.1, 0.2, 0.5, 1].map((upper_limit, i) => ({ upper_limit, count: counts[i] })),
      },
      dt: `2026-05-05T${time}Z`,
      ...more,
    })
    await send(gateway, [duration('09:00:00', 'a', [15, 30, 45, 50]), duration('09:10:00', 'b', [0, 0, 0, 10])])
    await gateway.folds.drain()
    await send(gateway, [duration('10:00:00', 'a', [0, 0, 4, 0, 4]), duration('10:10:00', 'a', [0, 0, 0, 0, 1])])
    const asked = { metric: 'duration', ...MORNING, aggregations: ['p50', 'p100', 'sum'] }
    expect(await rows(gateway, asked)).toEqual([
      `2026-05-05T09:00:00Z ${0.2 + 0.3 * (30 / 45)} 1 150`,
      '2026-05-05T10:00:00Z 1 1 9',
    ])
    const byHost = rowsOf(await ask(gateway, { ...asked, groupBy: ['host'], aggregations: ['p50'] }))
    expect(byHost).toEqual({
      a: [`2026-05-05T09:00:00Z ${0.2 + 0.3 * (25 / 45)}`, '2026-05-05T10:00:00Z 1'],
      b: ['2026-05-05T09:00:00Z 0.75'],
    })
    const whole = await ask(gateway, { ...asked, interval: '1d', tags: new Map([['host', ['b']]]) })
    expect(whole.groups[0]!.totals.get('p50')).toBe(0.75)
    expect(await rows(gateway, { metric: 'duration', ...MORNING, tags: new Map([['upper_limit', ['+Inf']]]) })).toEqual(
      ['2026-05-05T10:00:00Z 5'],
    )
    expect(await rows(gateway, { metric: 'duration_count', ...MORNING })).toEqual([
      '2026-05-05T09:00:00Z 150',
      '2026-05-05T10:00:00Z 9',
    ])
    expect(await gateway.gateway.metric('test', 'duration')).toMatchObject({
      type: 'histogram',
      tagKeys: ['host', 'upper_limit'],
    })
  })

  test('absolute histograms count the increase of their totals, above the limits too', async () => {
    const gateway = await start(settings())
    const scraped = (time: string, [low, high, count]: readonly [number, number, number]) => ({
      metric: {
        name: 'scraped',
        kind: 'absolute',
        timestamp: `2026-05-05T${time}Z`,
        aggregated_histogram: {
          buckets: [
            { upper_limit: 1, count: low },
            { upper_limit: 3, count: high },
          ],
          count,
          sum: count * 2,
        },
      },
    })
    await send(gateway, scraped('09:00:00', [10, 20, 30]))
    await send(gateway, scraped('09:30:00', [10, 30, 50]))
    await send(gateway, scraped('10:00:00', [1, 0, 1]))
    expect(await rows(gateway, { metric: 'scraped', ...MORNING, aggregations: ['p25', 'p99', 'sum'] })).toEqual([
      '2026-05-05T09:00:00Z 2 3 20',
      '2026-05-05T10:00:00Z 0.25 0.99 1',
    ])
    expect(await rows(gateway, { metric: 'scraped_sum', ...MORNING })).toEqual([
      '2026-05-05T09:00:00Z 40',
      '2026-05-05T10:00:00Z 2',
    ])
  })

  test('quantiles of a summary are gauges', async () => {
    const gateway = await start(settings())
    await send(gateway, {
      name: 'size',
      summary: {
        count: 100,
        sum: 25_000,
        quantiles: [
          { quantile: 0.5, value: 200 },
          { quantile: 0.99, value: 600 },
        ],
      },
      dt: '2026-05-05T09:00:00Z',
    })
    const result = await ask(gateway, {
      metric: 'size',
      ...MORNING,
      groupBy: ['quantile'],
      aggregations: ['last', 'max'],
    })
    expect(rowsOf(result)).toEqual({ 0.5: ['2026-05-05T09:00:00Z 200 200'], 0.99: ['2026-05-05T09:00:00Z 600 600'] })
    expect(await refusal(gateway, { metric: 'size', ...MORNING, aggregations: ['p50'] })).toMatchObject({
      code: 'invalid_aggregation',
      details: { allowed: ['last', 'avg', 'min', 'max'] },
    })
    expect(await rows(gateway, { metric: 'size_count', ...MORNING })).toEqual(['2026-05-05T09:00:00Z 100'])
    const response = await fetch(`${gateway.url}/api/v1/metrics?type=summary`, {
      headers: { 'x-api-key': gateway.key },
    })
    expect(await response.json()).toMatchObject({ data: [{ name: 'size', type: 'summary', tags: ['quantile'] }] })
    const metric = await fetch(`${gateway.url}/graphql`, {
      method: 'POST',
      headers: { 'x-api-key': gateway.key, 'content-type': 'application/json' },
      body: JSON.stringify({ query: '{ metrics(type: SUMMARY) { nodes { name type aggregations } } }' }),
    })
    expect(await metric.json()).toMatchObject({ data: { metrics: { nodes: [{ name: 'size', type: 'SUMMARY' }] } } })
  })

  test('an idempotency key counts once and gets the first response again', async () => {
    const gateway = await start(settings())
    const items = [{ ...total('once', '09:00:00', 5), kind: 'incremental' }, { name: 'bad' }]
    for (let i = 0; i < 3; i++) expect(await send(gateway, items, { 'idempotency-key': 'k' })).toBe('1 1')
    expect(await rows(gateway, { metric: 'once', ...MORNING })).toEqual(['2026-05-05T09:00:00Z 5'])
    const { url, key } = gateway
    const headers = { authorization: `Bearer ${key}`, 'idempotency-key': 'k' }
    const other = await fetch(`${url}/metrics`, { method: 'POST', headers, body: '[]' })
    expect([other.status, await other.text()]).toEqual([409, 'the idempotency key was used for another request'])
  })
})

test('two gateways that send totals of one series in turns count each increase once', async () => {
  const env = STORES[1][1]()
  const [gatewayA, gatewayB] = [await start(env), await start(env)]
  await send(gatewayA, [total('turns', '09:00:01', 100), total('turns', '09:00:03', 120)])
  await send(gatewayB, [total('turns', '09:00:02', 110), total('turns', '09:00:04', 130)])
  for (const gateway of [gatewayA, gatewayB]) {
    expect(await rows(gateway, { metric: 'turns', ...MORNING })).toEqual(['2026-05-05T09:00:00Z 30'])
    await gateway.folds.drain()
  }
  expect(await rows(gatewayA, { metric: 'turns', ...MORNING })).toEqual(['2026-05-05T09:00:00Z 30'])
})
