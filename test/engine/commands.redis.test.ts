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

test('a batch over HTTP asks as much of Redis with 500 points as with 50', async () => {
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
