import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import type { Json } from '../support/json.ts'
import { type RedisServer, startRedis } from '../support/redis-server.ts'

/** Deleting metrics over HTTP, with two gateways on one Redis. */

let redis: RedisServer
let gateways: readonly TestGateway[]
let nowMs = Date.now()

beforeAll(async () => {
  redis = await startRedis({ appendonly: true })
  const env = {
    REDIS_URL: redis.url,
    API_KEYS: 'all-keys-1:shop:ingest+query+admin,other-key:other:ingest+query+admin,plain-key:shop:ingest+query',
  }
  gateways = await Promise.all([0, 1].map(() => startGateway({ env, now: () => nowMs })))
})
afterAll(async () => {
  await Promise.all((gateways ?? []).map((gateway) => gateway.close()))
  await redis?.stop()
})

interface HttpResponse {
  readonly status: number
  readonly body: Json
}

async function send(
  at: number,
  method: string,
  path: string,
  body?: unknown,
  key = 'all-keys-1',
  idempotencyKey?: string,
): Promise<HttpResponse> {
  const response = await fetch(`${gateways[at]!.url}${path}`, {
    method,
    headers: {
      'x-api-key': key,
      ...(idempotencyKey !== undefined && { 'idempotency-key': idempotencyKey }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, body: text === '' ? undefined : JSON.parse(text) }
}

const M = '/api/v1/metrics'
const batch = (at: number, ...metrics: object[]) => send(at, 'POST', `${M}/batch`, { metrics })
const hit = (value: number, host = 'a') => ({ name: 'hits', type: 'counter', value, tags: { host } })
async function sum(at: number, name = 'hits'): Promise<number> {
  const { body } = await send(at, 'GET', `${M}/${name}/query?aggregation=sum&interval=1d&from=${nowMs - 3_600_000}`)
  return body.data.series.reduce((total: number, { value }: { value: number }) => total + value, 0)
}

describe('DELETE /metrics/:name', () => {
  it('is seen by both gateways at once; both can send new points, the other one after one retry', async () => {
    await batch(0, hit(1), { name: 'load', type: 'gauge', value: 1 })
    await batch(1, hit(2, 'b'), { name: 'load', type: 'gauge', value: 2 })
    expect(await sum(1)).toBe(3)
    expect(await send(0, 'DELETE', `${M}/hits`)).toEqual({ status: 204, body: undefined })
    expect((await send(1, 'GET', `${M}/hits`)).status).toBe(404)
    expect((await send(1, 'GET', `${M}/hits/query`)).body.error.code).toBe('metric_not_found')
    expect((await send(1, 'GET', M)).body.data.map(({ name }: { name: string }) => name)).toEqual(['load'])
    const accepted = { status: 201, body: { data: { accepted: 2, rejected: 0 } } }
    // The other gateway has it in its caches.
    const refused = await send(1, 'POST', M, hit(10, 'b'))
    expect([refused.status, refused.body.error.code]).toEqual([503, 'store_unavailable'])
    expect(refused.body.error.message).toContain('deleted meanwhile; nothing was stored, send the request again')
    expect(await batch(1, hit(10, 'b'), { name: 'load', type: 'gauge', value: 3 })).toEqual(accepted)
    expect(await batch(0, hit(20), { name: 'load', type: 'gauge', value: 4 })).toEqual(accepted)
    for (const at of [0, 1]) expect(await sum(at)).toBe(30)
    expect((await send(0, 'GET', `${M}/load`)).body.data.data_points).toBe(4)
  })

  it('frees the name for another type; the other gateway finds out with its next commit', async () => {
    await send(0, 'DELETE', `${M}/hits`)
    const gauge = { name: 'hits', type: 'gauge', value: 7 }
    expect((await send(0, 'POST', M, gauge)).status).toBe(201)
    const late = await send(1, 'POST', M, hit(1, 'b'))
    expect([late.status, late.body.error.code]).toEqual([503, 'store_unavailable'])
    expect((await send(1, 'POST', M, hit(1, 'b'))).body.error.code).toBe('type_conflict')
    expect((await send(1, 'POST', M, gauge)).status).toBe(201)
    expect((await send(1, 'GET', `${M}/hits`)).body.data).toMatchObject({ type: 'gauge', tags: [], data_points: 2 })
  })

  it('loses and duplicates nothing when clients retry with a key while names are deleted under load', async () => {
    let deletions = 0
    let refusals = 0
    const sender = async (at: number): Promise<void> => {
      for (let i = 0; i < 40; i++) {
        const metrics = [{ name: 'steady', type: 'counter', value: 1 }, hit(1, `${at}.${i % 5}`)]
        for (;;) {
          const { status, body } = await send(at, 'POST', `${M}/batch`, { metrics }, 'all-keys-1', `${at}.${i}`)
          if (status === 201) {
            expect(body.data).toMatchObject({ accepted: 2 })
            break
          }
          expect([status, body.error.code]).toEqual([503, 'store_unavailable'])
          refusals++
        }
      }
    }
    const deleter = async (): Promise<void> => {
      for (let i = 0; i < 12; i++) if ((await send(i % 2, 'DELETE', `${M}/hits`)).status === 204) deletions++
    }
    await send(0, 'DELETE', `${M}/hits`)
    // The other gateway caches the type for a second.
    nowMs += 1_000
    await Promise.all([sender(0), sender(1), deleter()])
    expect(deletions).toBeGreaterThan(0)
    expect(refusals).toBeLessThan(80)
    for (const at of [0, 1]) expect(await sum(at, 'steady')).toBe(80)
  })

  it('needs a name that is there and the scope admin, and keeps to its project', async () => {
    await send(0, 'POST', M, { name: 'mine', type: 'gauge', value: 1 })
    const absent = await send(0, 'DELETE', `${M}/none`)
    expect([absent.status, absent.body.error.code]).toEqual([404, 'metric_not_found'])
    expect((await send(0, 'DELETE', `${M}/mine`, undefined, 'other-key')).status).toBe(404)
    expect((await send(0, 'DELETE', `${M}/mine`, undefined, 'plain-key')).body.error.code).toBe('forbidden')
    const mutation = { query: 'mutation { a: deleteMetric(name: "mine") b: deleteMetric(name: "mine") }' }
    const refused = await send(0, 'POST', '/graphql', mutation, 'plain-key')
    expect(refused.body.data).toEqual({ a: null, b: null })
    expect(refused.body.errors[0].extensions.code).toBe('FORBIDDEN')
    expect((await send(1, 'POST', '/graphql', mutation)).body).toEqual({ data: { a: true, b: false } })
    for (const name of ['batch', 'a/b', '__proto__']) {
      await send(0, 'POST', M, { name, type: 'gauge', value: 1 })
      expect((await send(0, 'DELETE', `${M}/${encodeURIComponent(name)}`)).status).toBe(204)
    }
  })

  it('leaves nothing of it in the store', async () => {
    const names = ['hits', 'load', 'steady']
    for (const name of names) await send(0, 'DELETE', `${M}/${name}`)
    // Folded when due, cleared by the next run of retention, the blocks a minute later.
    for (const { folds } of gateways) await folds.drain()
    const client = new Redis(redis.url)
    onTestFinished(() => client.disconnect())
    const left = async () =>
      (await client.keys('*')).filter((key) => /:(metric|series|tag-keys|timeline|block|dying|inbox$)/.test(key))
    expect(await left()).not.toEqual([])
    await expect
      .poll(
        async () => {
          nowMs += 120_000
          return left()
        },
        { timeout: 20_000, interval: 250 },
      )
      .toEqual([])
  })
})
