import { describe, expect, it } from 'vitest'
import type { CorsOrigins } from '../../../src/http/response/cors.ts'
import { GatewayError } from '../../../src/model/errors.ts'
import { createFakeServer } from '../../support/fake-server.ts'

const METRICS = '/api/v1/metrics'
const APP = 'https://app.example'

const serverOf = (corsOrigins: CorsOrigins | undefined, before?: () => void) =>
  createFakeServer(before === undefined ? {} : { before }, {}, { corsOrigins })

const preflight = (corsOrigins: CorsOrigins | undefined, origin: string, url = METRICS) =>
  serverOf(corsOrigins).app.inject({
    method: 'OPTIONS',
    url,
    headers: {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type,idempotency-key',
    },
  })

/** Names in a list of a header, in lower case. */
const namesIn = (header: unknown) => String(header).toLowerCase().split(', ')

describe('a page of another origin', () => {
  it.each([
    [['https://other.example', APP], APP],
    ['*', '*'],
  ] as const)(
    'may call the gateway when CORS_ORIGINS is %j, and read the response headers',
    async (corsOrigins, allowedOrigin) => {
      const asked = await preflight(corsOrigins, APP)
      expect([asked.statusCode, asked.body]).toEqual([204, ''])
      expect(asked.headers['access-control-allow-origin']).toBe(allowedOrigin)
      expect(namesIn(asked.headers['access-control-allow-methods'])).toEqual(
        expect.arrayContaining(['get', 'post', 'delete']),
      )
      expect(namesIn(asked.headers['access-control-allow-headers'])).toEqual(
        expect.arrayContaining(['authorization', 'x-api-key', 'idempotency-key', 'content-type']),
      )
      expect(Number(asked.headers['access-control-max-age'])).toBeGreaterThan(0)

      const served = await serverOf(corsOrigins).get(METRICS, { origin: APP })
      expect(served.statusCode).toBe(200)
      expect(served.headers['access-control-allow-origin']).toBe(allowedOrigin)
      expect(namesIn(served.headers['access-control-expose-headers'])).toEqual(
        expect.arrayContaining([
          ...['ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset', 'retry-after'],
          ...['x-resolution', 'x-buckets-unavailable', 'x-request-id'],
          ...['x-metrics-accepted', 'x-metrics-rejected', 'x-metrics-unreadable-time'],
        ]),
      )
      expect(served.headers).not.toHaveProperty('access-control-allow-credentials')
    },
  )

  it.each(['/graphql', '/metrics', '/', `${METRICS}/batch`, '/nothing'])(
    'gets a preflight response for %s',
    async (url) => {
      expect((await preflight('*', APP, url)).statusCode).toBe(204)
    },
  )

  it.each([
    [undefined, APP],
    [[APP], 'https://evil.example'],
    [[APP], 'https://app.example.evil.example'],
    [[APP], 'http://app.example'],
    [[APP], 'null'],
  ])('may not call the gateway when CORS_ORIGINS is %j and the origin is %s', async (corsOrigins, origin) => {
    for (const response of [
      await preflight(corsOrigins, origin),
      await serverOf(corsOrigins).get(METRICS, { origin }),
    ]) {
      const names = Object.keys(response.headers).filter((name) => name.startsWith('access-control'))
      expect(names).toEqual([])
    }
  })

  it('can read the error of a refused request', async () => {
    const { get } = serverOf([APP])
    const unauthenticated = await get(METRICS, { origin: APP, authorization: 'Bearer nobody' })
    const lost = await get('/nothing', { origin: APP })
    const busy = await serverOf([APP], () => {
      throw new GatewayError('overloaded', 'busy')
    }).get(METRICS, { origin: APP })
    const full = await createFakeServer({}, { bodiesBytesMax: 1 }, { corsOrigins: [APP] }).post(
      METRICS,
      {},
      { origin: APP },
    )
    const seen = [unauthenticated, lost, busy, full].map(({ statusCode, headers }) => [
      statusCode,
      headers['access-control-allow-origin'],
    ])
    expect(seen).toEqual([401, 404, 503, 503].map((status) => [status, APP]))
  })

  it.each([[[APP]], ['*']] as const)(
    'may send the headers that its libraries add when CORS_ORIGINS is %j',
    async (origins) => {
      const added = [
        'traceparent',
        'tracestate',
        'baggage',
        'sentry-trace',
        'apollographql-client-name',
        'x-a!#$%&*+.^_`|~1',
      ]
      const asked = async (headers: string) => {
        const response = await serverOf(origins).app.inject({
          method: 'OPTIONS',
          url: '/graphql',
          headers: { origin: APP, 'access-control-request-method': 'POST', 'access-control-request-headers': headers },
        })
        expect(namesIn(response.headers['vary'])).toContain('access-control-request-headers')
        return String(response.headers['access-control-allow-headers'])
      }
      expect(namesIn(await asked(added.join(',')).then((list) => list.replaceAll(/, */g, ', ')))).toEqual(
        expect.arrayContaining(added),
      )
      for (const odd of ['x-a, x b', 'x-a,', '<script>', `${'x-long, '.repeat(600)}x`])
        expect(await asked(odd)).not.toContain(odd)
    },
  )

  it('is part of the cache key of every cacheable response', async () => {
    for (const path of [METRICS, '/nothing', '/health'])
      expect((await serverOf([APP]).get(path)).headers['vary']).toBe('Origin')
    // The same for every origin.
    const { headers } = await serverOf('*').get(METRICS)
    expect(headers).not.toHaveProperty('vary')
    expect(headers['access-control-allow-origin']).toBe('*')
  })
})
