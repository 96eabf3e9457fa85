import { describe, expect, it, onTestFinished } from 'vitest'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { snappyLiterals, writeRequestV1 } from '../support/remote-write.ts'

const T0_MS = Date.UTC(2024, 0, 15, 12)
const KEY = 'test-key-0123456789'

/** The limits as shipped, over HTTP, with a clock that stands still until it is moved. */
export function describeRateLimits(name: string, storeOf: () => Readonly<Record<string, string>>): void {
  const clock = { nowMs: T0_MS }

  async function started(env: Readonly<Record<string, string>>): Promise<TestGateway> {
    const gateway = await startGateway({ env: { RATE_LIMITS: '', ...env }, now: () => clock.nowMs })
    onTestFinished(() => gateway.close())
    return gateway
  }

  async function send({ url }: TestGateway, path: string, body?: string, key = KEY): Promise<Response> {
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
    const response = await fetch(url + path, body === undefined ? { headers } : { method: 'POST', headers, body })
    await response.clone().arrayBuffer()
    return response
  }

  async function sendSamples({ url }: TestGateway, key: string): Promise<Response> {
    return fetch(`${url}/api/v1/write`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${key}`,
        'content-type': 'application/x-protobuf',
        'content-encoding': 'snappy',
      },
      body: Uint8Array.from(snappyLiterals(writeRequestV1([{ labels: { __name__: 'n' }, samples: [[1, T0_MS]] }]))),
    })
  }

  const POINT = '{"name":"n","type":"gauge","value":1}'

  describe(`${name}: requests of a minute`, () => {
    it.each([
      ['the 501st of Better Stack', 500, '/metrics', '[{"name":"n","gauge":{"value":1}}]', 202],
      ['the 11th batch', 10, '/api/v1/metrics/batch', `[${POINT}]`, 201],
      ['the 61st query', 60, '/api/v1/metrics/n/query', undefined, 200],
      ['the 601st of GraphQL', 600, '/graphql', '{"query":"{ metric(name: \\"n\\") { name } }"}', 200],
    ] as const)('%s is refused, and served in the next minute', async (_, limit, path, body, status) => {
      clock.nowMs = T0_MS
      const gateway = await started(storeOf())
      expect((await send(gateway, '/api/v1/metrics', POINT)).status).toBe(201)
      for (let i = 1; i <= limit; i++) {
        const served = await send(gateway, path, body)
        expect([served.status, served.headers.get('ratelimit-remaining')]).toEqual([status, String(limit - i)])
      }
      clock.nowMs = T0_MS + 59_000
      const refused = await send(gateway, path, body)
      expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1'])
      // The other classes have limits of their own.
      expect((await send(gateway, '/api/v1/metrics', POINT)).status).toBe(201)
      clock.nowMs = T0_MS + 60_000
      const next = await send(gateway, path, body)
      expect([next.status, next.headers.get('ratelimit-remaining')]).toEqual([status, String(limit - 1)])
    })

    it('are counted by key, and refused in the format of the dialect', async () => {
      clock.nowMs = T0_MS
      const keys = ['one-key-12345', 'two-key-12345'] as const
      const gateway = await started({
        ...storeOf(),
        API_KEYS: keys.map((key) => `${key}:shop:ingest+query`).join(','),
        RATE_LIMITS: 'single=1,graphql=1,betterstack=2,otlp=1,write=1',
      })
      const stack = '{"name":"s","gauge":{"value":1}}'
      const graphql = '{"query":"{ __typename }"}'
      for (const key of keys) {
        expect((await send(gateway, '/api/v1/metrics', POINT, key)).status).toBe(201)
        expect((await send(gateway, '/graphql', graphql, key)).status).toBe(200)
        expect((await send(gateway, '/', stack, key)).status).toBe(202)
        expect((await send(gateway, '/v1/metrics', '{}', key)).status).toBe(200)
        expect((await sendSamples(gateway, key)).status).toBe(204)
      }
      const flux = await send(gateway, '/api/v1/metrics', POINT, keys[0])
      expect([flux.status, await flux.json()]).toMatchObject([429, { error: { code: 'rate_limited' } }])
      const field = await send(gateway, '/graphql', graphql, keys[1])
      expect([field.status, await field.json()]).toMatchObject([
        429,
        { errors: [{ extensions: { code: 'RATE_LIMITED' } }] },
      ])
      const otlp = await send(gateway, '/v1/metrics', '{}', keys[0])
      expect([otlp.status, otlp.headers.get('retry-after'), await otlp.json()]).toEqual([
        429,
        '60',
        { code: 8, message: expect.stringContaining('rate_limited: ') },
      ])
      const write = await sendSamples(gateway, keys[0])
      expect([write.status, write.headers.get('retry-after'), await write.text()]).toEqual([
        429,
        '60',
        expect.stringContaining('rate_limited: '),
      ])
      const text = await send(gateway, '/metrics', stack, keys[1])
      expect([text.status, text.headers.get('content-type'), text.headers.get('retry-after')]).toEqual([
        429,
        'text/plain; charset=utf-8',
        '60',
      ])
    })
  })
}
