import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { startGateway } from '../support/gateway.ts'
import { type RedisServer, startRedis } from '../support/redis-server.ts'

/** What requests ask of Redis, from the key to the receipt: as many commands for many points as for few. */

let server: RedisServer

beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server?.stop())

const REQUESTS = 5

test('a page of the metrics costs as much of Redis with 2,000 metrics as with 200', async () => {
  const gateway = await startGateway({
    env: { REDIS_URL: server.url, REDIS_PREFIX: 'listing', FOLD_INBOX_AGE_MS: '3600000', RETAINED_BYTES: '0' },
  })
  onTestFinished(() => gateway.close())
  const client = new Redis(server.url)
  onTestFinished(() => client.disconnect())
  const define = async (from: number, to: number): Promise<void> => {
    await gateway.gateway.track('test', (sink) => {
      for (let i = from; i < to; i++) {
        const series = sink.resolve(`metric.${i + 10_000}`, 'gauge', [])
        if (!('code' in series)) sink.add(i - from, series, Date.now(), 1)
      }
    })
  }
  const sentBytes = async (): Promise<number> =>
    Number(/total_net_output_bytes:(\d+)/.exec(await client.info('stats'))![1])
  const costOf = async (after: string): Promise<number> => {
    const before = await sentBytes()
    const page = await gateway.gateway.metrics('test', { limit: 11, after })
    expect(page.map(({ name }) => name)).toEqual(Array.from({ length: 11 }, (_, i) => `metric.${i + 10_050}`))
    return (await sentBytes()) - before
  }
  await define(0, 200)
  const few = await costOf('metric.10049')
  await define(200, 1_000)
  await define(1_000, 2_000)
  const many = await costOf('metric.10049')
  expect(many).toBeLessThan(few + 2_000)
})

test('a batch over HTTP costs as many Redis commands with 500 points as with 50', async () => {
  const gateway = await startGateway({
    // Nothing but the requests is at work.
    env: { REDIS_URL: server.url, RATE_LIMITS: 'batch=1000000', FOLD_INBOX_AGE_MS: '3600000', RETAINED_BYTES: '0' },
  })
  onTestFinished(() => gateway.close())
  const send = async (points: number, request: string): Promise<void> => {
    const metrics = Array.from({ length: points }, (_, i) => ({
      name: `metric-${i % 10}`,
      type: ['gauge', 'counter', 'distribution'][(i % 10) % 3],
      value: i,
      tags: { host: `h${i % 50}` },
    }))
    const response = await fetch(`${gateway.url}/api/v1/metrics/batch`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${gateway.key}`,
        'content-type': 'application/json',
        'idempotency-key': request,
      },
      body: JSON.stringify({ metrics }),
    })
    expect(response.status).toBe(201)
  }
  const client = new Redis(server.url)
  onTestFinished(() => client.disconnect())
  /** Calls by clients and those within scripts, less these look-ups. */
  const commandsOf = async (points: number): Promise<number> => {
    await client.config('RESETSTAT')
    for (let i = 0; i < REQUESTS; i++) await send(points, `${points}-${i}`)
    const stats = String(await client.info('commandstats'))
    const calls = [...stats.matchAll(/^cmdstat_(\S+):calls=(\d+)/gm)].map(
      ([, name, count]) => [name, Number(count)] as const,
    )
    return calls.filter(([name]) => !/^(info|config|ping)/.test(name!)).reduce((sum, [, count]) => sum + count, 0)
  }
  // Metrics and series are known from here on, and scripts are loaded.
  await send(500, 'first')
  const few = await commandsOf(50)
  const many = await commandsOf(500)
  expect(few).toBeGreaterThan(REQUESTS)
  // A look of the writer, once a second, may fall into either.
  expect(many).toBeLessThan(few + 50)
  expect(many).toBeLessThan(REQUESTS * 120)
})
