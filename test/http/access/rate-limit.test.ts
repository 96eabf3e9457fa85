import { describe, expect, it } from 'vitest'
import type { ServerOptions } from '../../../src/http/create-server.ts'
import type { RateClass } from '../../../src/model/rate.ts'
import { startGraphQL } from '../../graphql/harness.ts'
import { createFakeServer, errorOf, type FakeServer } from '../../support/fake-server.ts'

const METRICS = '/api/v1/metrics'
const good = { name: 'n', type: 'gauge', value: 1 }
const SPENT = { isGranted: false, limit: 10, remaining: 0, resetSeconds: 42 }
const LEFT = { isGranted: true, limit: 10, remaining: 7, resetSeconds: 42 }

describe('a route', () => {
  it.each([
    ['single', (server: FakeServer) => server.post(METRICS, good)],
    ['batch', (server: FakeServer) => server.post(`${METRICS}/batch`, [good])],
    ['single', (server: FakeServer) => server.get(METRICS)],
    ['single', (server: FakeServer) => server.get(`${METRICS}/n`)],
    ['query', (server: FakeServer) => server.get(`${METRICS}/n/query`)],
  ] as const)('takes a permit of the class %s and sets the RateLimit headers: %s', async (rateClass, send) => {
    const taken: string[] = []
    const takePermit = (...asked: [RateClass, string, string]) => {
      taken.push(asked.join(' '))
      return LEFT
    }
    const response = await send(createFakeServer({ takePermit }))
    expect(taken).toEqual([`${rateClass} id of test-key 127.0.0.1`])
    expect(response.headers).toMatchObject({
      'ratelimit-limit': '10',
      'ratelimit-remaining': '7',
      'ratelimit-reset': '42',
    })
    expect(response.headers).not.toHaveProperty('retry-after')

    const refused = await send(createFakeServer({ takePermit: () => SPENT }))
    expect([refused.statusCode, errorOf(refused)]).toMatchObject([
      429,
      { code: 'rate_limited', details: { limit: 10, retryAfterSeconds: 42 } },
    ])
    expect(refused.headers).toMatchObject({ 'ratelimit-remaining': '0', 'retry-after': '42' })
  })

  it('sets the RateLimit headers when it refuses for another reason', async () => {
    const keys = new Map([['writer', { project: 'shop', scopes: ['ingest'] as const }]])
    const { get, post } = createFakeServer({ keys, takePermit: () => LEFT })
    const headers = { authorization: 'Bearer writer' }
    for (const response of [await get(METRICS, headers), await post(METRICS, '{', headers)]) {
      expect(response.statusCode).toBeGreaterThanOrEqual(400)
      expect(response.headers).toMatchObject({ 'ratelimit-remaining': '7' })
    }
  })

  it('refuses before it reads the body', async () => {
    const { post, gateway } = createFakeServer({ takePermit: () => SPENT }, { bodyBytesMax: 10 })
    const response = await post(METRICS, 'x'.repeat(100), { 'content-type': 'text/html' })
    expect(response.statusCode).toBe(429)
    expect(gateway.points).toEqual([])
  })

  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['192.0.2.1:4711', '192.0.2.1'],
    ['2001:db8::1', '2001:db8::1'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['[2001:db8::1]:443', '2001:db8::1'],
    ['unknown', '127.0.0.1'],
    ['x'.repeat(8_000), '127.0.0.1'],
    ['[x]:1', '127.0.0.1'],
  ])('counts by the client address that a trusted proxy reports as %s', async (reported, counted) => {
    const addresses: string[] = []
    const takePermit = (_class: string, _keyId: string, address: string) => {
      addresses.push(address)
      return LEFT
    }
    await createFakeServer({ takePermit }, {}, { trustProxy: 1 }).post('/metrics', '[]', {
      'x-forwarded-for': reported,
    })
    expect(addresses).toEqual([counted])
  })

  it('sets no RateLimit headers without limits or without a valid key', async () => {
    const free = await createFakeServer().get(METRICS)
    const unauthenticated = await createFakeServer({ takePermit: () => LEFT }).get(METRICS, {
      authorization: 'Bearer no',
    })
    for (const { headers } of [free, unauthenticated]) expect(headers).not.toHaveProperty('ratelimit-limit')
  })

  it('does the same for GraphQL', async () => {
    const { app, gateway, run } = startGraphQL()
    gateway.permit = LEFT
    const send = () =>
      app.inject({
        method: 'POST',
        url: '/graphql',
        headers: { authorization: 'Bearer both', 'content-type': 'application/json' },
        payload: { query: '{ metrics { nodes { name } } }' },
      })
    const served = await send()
    expect(served.headers).toMatchObject({ 'ratelimit-limit': '10', 'ratelimit-remaining': '7' })
    gateway.permit = SPENT
    const refused = await send()
    expect(refused.statusCode).toBe(429)
    expect(refused.headers).toMatchObject({ 'ratelimit-remaining': '0', 'retry-after': '42' })
    expect((await run('{ metrics { nodes { name } } }')).errors).toMatchObject([
      { extensions: { code: 'RATE_LIMITED', limit: 10, retryAfterSeconds: 42 } },
    ])
  })
})

describe('the client address', () => {
  async function addressOf(trustProxy: ServerOptions['trustProxy'], forwarded: string): Promise<string | undefined> {
    let seen: string | undefined
    const takePermit = (_class: RateClass, _key: string, address: string) => {
      seen = address
      return LEFT
    }
    await createFakeServer({ takePermit }, {}, { trustProxy }).get(METRICS, { 'x-forwarded-for': forwarded })
    return seen
  }

  it.each([
    [undefined, '127.0.0.1'],
    [1, '198.51.100.3'],
    [2, '198.51.100.2'],
    [9, '198.51.100.1'],
    [['loopback'], '198.51.100.3'],
    [['127.0.0.0/8', '198.51.100.3'], '198.51.100.2'],
    [['10.0.0.0/8'], '127.0.0.1'],
  ] as const)('with TRUST_PROXY %j is %s', async (trustProxy, address) => {
    expect(await addressOf(trustProxy, '198.51.100.1, 198.51.100.2, 198.51.100.3')).toBe(address)
  })
})
