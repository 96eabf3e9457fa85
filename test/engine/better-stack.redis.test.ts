import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { type RedisServer, startRedis } from '../support/redis-server.ts'
import { rows } from './harness.ts'

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
  test('running totals add what they rise by, whatever arrives when, deltas beside them', async () => {
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

  test('an item of which one series is refused is left out whole', async () => {
    const gateway = await start(settings())
    const histogram = (name: string) => ({
      name,
      histogram: { count: 3, sum: 4.5, buckets: [{ upper_limit: 1, count: 3 }] },
      dt: '2026-05-05T09:00:00Z',
    })
    expect(await send(gateway, { name: 'taken_sum', gauge: { value: 1 } })).toBe('1 0')
    // At first nobody here knows that the name is taken, then it is known.
    for (let i = 0; i < 2; i++) expect(await send(gateway, [histogram('taken'), histogram('free')])).toBe('1 1')
    for (const name of ['taken', 'taken_count']) expect(await gateway.gateway.metric('test', name)).toBeUndefined()
    expect(await rows(gateway, { metric: 'free', ...MORNING })).toEqual(['2026-05-05T09:00:00Z 6'])
    expect(await rows(gateway, { metric: 'free_sum', ...MORNING })).toEqual(['2026-05-05T09:00:00Z 9'])
    expect(await rows(gateway, { metric: 'free_count', ...MORNING })).toEqual(['2026-05-05T09:00:00Z 6'])
  })

  test('an idempotency key counts once and gets the first answer again', async () => {
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
  const [one, another] = [await start(env), await start(env)]
  await send(one, [total('turns', '09:00:01', 100), total('turns', '09:00:03', 120)])
  await send(another, [total('turns', '09:00:02', 110), total('turns', '09:00:04', 130)])
  for (const gateway of [one, another]) {
    expect(await rows(gateway, { metric: 'turns', ...MORNING })).toEqual(['2026-05-05T09:00:00Z 30'])
    await gateway.folds.drain()
  }
  expect(await rows(one, { metric: 'turns', ...MORNING })).toEqual(['2026-05-05T09:00:00Z 30'])
})
