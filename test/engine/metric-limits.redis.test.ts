import { encode } from '@msgpack/msgpack'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { type RedisServer, startRedis } from '../support/redis-server.ts'

/** The limits of metrics and tag keys, and what a refused item leaves behind, at every door, on both stores. */

let redis: RedisServer
let prefixes = 0

beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis?.stop())

const STORES: readonly (readonly [string, () => Readonly<Record<string, string>>])[] = [
  ['the embedded store', () => ({})],
  ['Redis', () => ({ REDIS_URL: redis.url, REDIS_PREFIX: `limits${++prefixes}` })],
]

async function open(env: Readonly<Record<string, string>>): Promise<TestGateway> {
  const gateway = await startGateway({ env })
  onTestFinished(() => gateway.close())
  return gateway
}

interface HttpResponse {
  readonly status: number
  readonly body: unknown
  /** Accepted and rejected, as the headers of the Better Stack dialect say. */
  readonly counts: string
}

async function send(
  { url, key }: TestGateway,
  path: string,
  body: unknown,
  type = 'application/json',
): Promise<HttpResponse> {
  const isText = typeof body === 'string' || body instanceof Uint8Array
  const response = await fetch(url + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': type },
    body: isText ? (body as string) : JSON.stringify(body),
  })
  const text = await response.text()
  const counts = `${response.headers.get('x-metrics-accepted')} ${response.headers.get('x-metrics-rejected')}`
  return { status: response.status, body: text === '' ? undefined : JSON.parse(text), counts }
}

const names = (beginning: string, count: number) => Array.from({ length: count }, (_, i) => `${beginning}${i}`)
const flux = (name: string, tags?: object) => ({ name, type: 'gauge', value: 1, tags })
const item = (name: string, tags?: object) => ({ name, gauge: { value: 1 }, tags })
const graphql = (gateway: TestGateway, query: string, variables: object) =>
  send(gateway, '/graphql', { query, variables })

describe.each(STORES)('on %s', (_, settings) => {
  test('a request may define a bounded number of new metrics, through every API', async () => {
    const gateway = await open({ ...settings(), NEW_METRICS_PER_REQUEST_MAX: '3' })
    const errors = [3, 4].map((index) => ({ index, code: 'metric_limit_exceeded' }))
    const batch = names('batch', 5).map((name) => flux(name))
    expect(await send(gateway, '/api/v1/metrics/batch', batch)).toMatchObject({
      status: 201,
      body: { data: { accepted: 3, rejected: 2 }, errors },
    })
    const combined = { metrics: names('combined', 5).map((name) => flux(name)) }
    expect(await send(gateway, '/api/v1/flux/batch', combined)).toMatchObject({
      status: 201,
      body: { data: { metrics: { accepted: 3, rejected: 2 } } },
    })
    const metrics = names('graphql', 5).map((name) => ({ name, type: 'GAUGE', value: 1 }))
    const mutation =
      'mutation ($metrics: [MetricInput!]!) { trackMetrics(metrics: $metrics) { accepted errors { index code } } }'
    expect(await graphql(gateway, mutation, { metrics })).toMatchObject({
      body: {
        data: {
          trackMetrics: { accepted: 3, errors: [3, 4].map((index) => ({ index, code: 'METRIC_LIMIT_EXCEEDED' })) },
        },
      },
    })
    const bodies: readonly (readonly [string, string, (names: readonly string[]) => unknown])[] = [
      ['json', 'application/json', (all) => all.map((name) => item(name))],
      ['ndjson', 'application/x-ndjson', (all) => all.map((name) => JSON.stringify(item(name))).join('\n')],
      ['msgpack', 'application/msgpack', (all) => encode(all.map((name) => item(name)))],
    ]
    for (const [beginning, type, bodyOf] of bodies) {
      const { status, counts } = await send(gateway, '/metrics', bodyOf(names(beginning, 5)), type)
      expect([beginning, status, counts]).toEqual([beginning, 202, '3 2'])
      // What is known already is not new.
      expect((await send(gateway, '/metrics', bodyOf(names(beginning, 5)), type)).counts).toBe('5 0')
    }
  })

  test('a project has a bounded number of metrics, over gateways and restarts; deleting one makes room', async () => {
    const env = { ...settings(), METRICS_PER_PROJECT_MAX: '4' }
    let gateway = await open(env)
    expect(
      await send(
        gateway,
        '/api/v1/metrics/batch',
        names('m', 3).map((name) => flux(name)),
      ),
    ).toMatchObject({ body: { data: { accepted: 3 } } })
    if (Object.hasOwn(env, 'REDIS_URL')) gateway = await open(env)
    const histogram = { name: 'h', histogram: { count: 1, sum: 1, buckets: [{ upper_limit: 1, count: 1 }] } }
    expect((await send(gateway, '/metrics', [histogram, item('m3'), item('m4')])).counts).toBe('1 2')
    expect(await send(gateway, '/api/v1/metrics', flux('m4'))).toMatchObject({
      status: 422,
      body: { error: { code: 'metric_limit_exceeded' } },
    })
    const mutation = 'mutation ($input: MetricInput!) { trackMetric(input: $input) { name } }'
    const input = { name: 'm4', type: 'GAUGE', value: 1 }
    expect(await graphql(gateway, mutation, { input })).toMatchObject({
      body: { errors: [{ extensions: { code: 'METRIC_LIMIT_EXCEEDED' } }] },
    })
    expect(await graphql(gateway, 'mutation { deleteMetric(name: "m0") }', {})).toMatchObject({
      body: { data: { deleteMetric: true } },
    })
    expect((await send(gateway, '/metrics', [item('m4'), item('m5')])).counts).toBe('1 1')
  })

  test('a metric has a bounded number of tag keys, however many a body has', async () => {
    const gateway = await open(settings())
    const lines = Array.from({ length: 5_000 }, (_, i) =>
      JSON.stringify(item('keys', Object.fromEntries(names(`k${i}.`, 32).map((key) => [key, 'v'])))),
    )
    const body = [...lines, JSON.stringify(item('other', { a: 'b' }))].join('\n')
    expect(await send(gateway, '/metrics', body, 'application/x-ndjson')).toMatchObject({
      status: 202,
      counts: '32 4969',
    })
    const { body: metric } = await graphql(gateway, '{ metric(name: "keys") { tagKeys seriesCount } }', {})
    expect(metric).toMatchObject({ data: { metric: { seriesCount: 31 } } })
    expect((metric as { data: { metric: { tagKeys: string[] } } }).data.metric.tagKeys).toHaveLength(992)
    expect(
      await send(gateway, '/api/v1/metrics', flux('keys', Object.fromEntries(names('more', 9).map((key) => [key, 1])))),
    ).toMatchObject({
      status: 400,
      body: { error: { code: 'invalid_tags', message: expect.stringContaining('1000 tag keys') } },
    })
  }, 60_000)

  test('a refused histogram defines no name', async () => {
    const gateway = await open(settings())
    await send(gateway, '/metrics', [item('latency')])
    const histogram = { name: 'latency', histogram: { count: 1, sum: 1, buckets: [{ upper_limit: 1, count: 1 }] } }
    expect((await send(gateway, '/metrics', [histogram, item('good')])).counts).toBe('1 1')
    for (const name of ['latency_count', 'latency_sum', 'good'])
      expect(await send(gateway, '/api/v1/metrics', flux(name))).toMatchObject({ status: 201 })
  })
})

test('no script of a large round occupies Redis for long, and none has more arguments than a call takes', async () => {
  const client = new Redis(redis.port, '127.0.0.1')
  onTestFinished(() => client.disconnect())
  const gateway = await open({ REDIS_URL: redis.url, REDIS_PREFIX: 'large', NEW_METRICS_PER_REQUEST_MAX: '5000' })
  const day = 86_400_000
  const days = Array.from({ length: 5_000 }, (_, i) => ({
    name: 'days',
    set: { values: ['x'] },
    dt: Date.now() - 2 * day * i,
  }))
  const bodies = [names('m', 5_000).map((name) => item(name)), names('s', 5_000).map((s) => item('many', { s })), days]
  const calls = async () => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await client.info('commandstats'))?.[1])
  for (const body of bodies) {
    const before = await calls()
    expect((await send(gateway, '/metrics', body)).counts).toBe('5000 0')
    expect((await calls()) - before).toBeGreaterThan(8)
  }
  const { body } = await graphql(
    gateway,
    '{ metric(name: "days") { dataPoints } many: metric(name: "many") { seriesCount } }',
    {},
  )
  expect(body).toMatchObject({ data: { metric: { dataPoints: 5_000 }, many: { seriesCount: 5_000 } } })
}, 90_000)
