import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { type RedisServer, startRedis } from '../support/redis-server.ts'
import { BETTER_STACK_ROWS, type Sent } from './better-stack-rows.ts'

/** Every row of the Better Stack API on each store. The results are compared before and after a fold. */

let server: RedisServer
const gateways: TestGateway[] = []
const READER = 'reader-key-0123456789'

beforeAll(async () => {
  server = await startRedis()
})
afterAll(async () => {
  for (const gateway of gateways) await gateway.close()
  await server?.stop()
})

describe.each([
  ['embedded', () => ({})],
  ['Redis', () => ({ REDIS_URL: server.url, PARTITIONS: '4' })],
] as const)('on the store %s', (_, settings) => {
  let gateway: TestGateway
  beforeAll(async () => {
    const env = {
      ...settings(),
      API_KEYS: `test-key-0123456789:test:ingest+query,${READER}:test:query`,
      RATE_LIMITS: 'off',
    }
    gateway = await startGateway({ env, now: () => Date.parse('2026-05-05T12:00:00Z') })
    gateways.push(gateway)
  })

  test.each(BETTER_STACK_ROWS.map((row) => [row.title, row] as const))('%s', async (_title, { send, results = {} }) => {
    for (const sent of send) {
      const { method = 'POST', path = '/metrics', body, status, text, counts } = sent
      const response = await fetch(gateway.url + path, {
        method,
        headers: headersOf(gateway, sent),
        ...(body !== undefined && { body: typeof body === 'string' ? body : new Uint8Array(body) }),
      })
      const responseText = await response.text()
      expect([response.status, text === undefined ? undefined : responseText]).toEqual([status, text])
      if (text !== undefined && text !== '')
        expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8')
      if (counts === undefined) continue
      expect([response.headers.get('x-metrics-accepted'), response.headers.get('x-metrics-rejected')]).toEqual(
        counts.map(String),
      )
    }
    for (const folded of [false, true]) {
      if (folded) await gateway.folds.drain()
      for (const [path, expected] of Object.entries(results)) {
        const response = await fetch(`${gateway.url}/api/v1/metrics/${path}`, { headers: { 'x-api-key': gateway.key } })
        if (typeof expected === 'number') expect([path, response.status]).toEqual([path, expected])
        else expect([path, await response.json()]).toMatchObject([path, expected])
      }
    }
  })
})

function headersOf({ key: good }: TestGateway, { key, type, encoding, idempotencyKey }: Sent): Record<string, string> {
  const token = key === 'reader' ? READER : key === 'unknown' ? 'unknown' : good
  return {
    ...(key !== 'none' && { authorization: `Bearer ${token}` }),
    ...(type !== undefined && { 'content-type': type }),
    ...(encoding !== undefined && { 'content-encoding': encoding }),
    ...(idempotencyKey !== undefined && { 'idempotency-key': idempotencyKey }),
  }
}
