import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { startGateway, type TestGateway } from '../../support/gateway.ts'
import { type RedisServer, startRedis } from '../../support/redis-server.ts'

/**
 * A Redis that really forgets: it is made to load what it saved earlier, under two gateways that go on as if nothing
 * were.
 */

let server: RedisServer
let redis: Redis

beforeAll(async () => {
  server = await startRedis({ args: ['--save', '', '--enable-debug-command', 'yes'] })
  redis = new Redis(server.port, '127.0.0.1')
})
afterAll(async () => {
  redis?.disconnect()
  await server?.stop()
})

let stores = 0

/** On a store of their own; `fresh` starts one more that remembers nothing of it. */
async function startTwo(env: Readonly<Record<string, string>> = {}) {
  const settings = { REDIS_URL: server.url, REDIS_PREFIX: `forget${++stores}`, PARTITIONS: '4', ...env }
  const fresh = async (): Promise<TestGateway> => {
    const gateway = await startGateway({ env: settings })
    onTestFinished(() => gateway.close())
    return gateway
  }
  return { gatewayA: await fresh(), gatewayB: await fresh(), fresh }
}

const NAMES = Array.from({ length: 8 }, (_, i) => `m${i}`)

/** One of each metric, in a series of the sender's own, and a member. */
async function send(gateway: TestGateway, host: string, key?: string): Promise<void> {
  const metrics = NAMES.map((name) => ({ name, type: 'counter', value: 1, tags: { host } }))
  const response = await fetch(`${gateway.url}/api/v1/metrics/batch`, {
    method: 'POST',
    headers: {
      'x-api-key': gateway.key,
      'content-type': 'application/json',
      ...(key !== undefined && { 'idempotency-key': key }),
    },
    body: JSON.stringify([...metrics, { name: 'users', type: 'set', value: host }]),
  })
  expect(await response.json()).toEqual({ data: { accepted: NAMES.length + 1, rejected: 0 } })
}

async function total({ gateway }: TestGateway, metric: string, aggregation = 'sum'): Promise<number> {
  const { groups } = await gateway.query('test', { metric, aggregations: [aggregation], from: Date.now() - 3_600_000 })
  return groups[0]!.totals.get(aggregation)!
}

async function forgetSince(act: () => Promise<void>): Promise<void> {
  await redis.save()
  await act()
  await redis.call('DEBUG', 'RELOAD', 'NOSAVE')
}

describe('two gateways on a Redis that loses writes', () => {
  it('count all that they acknowledged, once', async () => {
    const { gatewayA, gatewayB, fresh } = await startTwo()
    await send(gatewayA, 'a')
    await send(gatewayB, 'b')
    await forgetSince(async () => {
      for (let i = 0; i < 5; i++)
        await Promise.all([send(gatewayA, `one-${i}`, `key-${i}`), send(gatewayB, `another-${i}`)])
    })
    await Promise.all([send(gatewayA, 'c'), send(gatewayB, 'd')])
    const pointsOf = async (name: string) => (await gatewayA.gateway.metric('test', name))?.points
    await expect
      .poll(async () => Promise.all([...NAMES, 'users'].map(pointsOf)), { timeout: 5_000 })
      .toEqual([...NAMES, 'users'].map(() => 14))
    const reader = await fresh()
    for (const name of NAMES) expect(await total(reader, name)).toBe(14)
    expect(await total(reader, 'users', 'count')).toBe(14)
    // Markers and receipts are there again.
    for (let i = 0; i < 5; i++) await send(gatewayB, `one-${i}`, `key-${i}`)
    for (const name of NAMES) expect(await total(reader, name)).toBe(14)
  })

  it('lose points when they retain nothing', async () => {
    const { gatewayA, gatewayB, fresh } = await startTwo({ RETAINED_BYTES: '0' })
    await send(gatewayA, 'a')
    await forgetSince(async () => {
      await Promise.all([send(gatewayA, 'b'), send(gatewayB, 'c')])
    })
    await Promise.all([send(gatewayA, 'd'), send(gatewayB, 'e')])
    const reader = await fresh()
    for (const name of NAMES) expect(await total(reader, name)).toBe(3)
  })
})
