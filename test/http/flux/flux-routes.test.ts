import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../../src/model/errors.ts'
import { reject } from '../../../src/model/point.ts'
import { parseAggregation } from '../../../src/query/aggregations.ts'
import type { QueryResult } from '../../../src/query/compute/result.ts'
import { metricRow, queryResult, resultGroup } from '../../support/fake-gateway.ts'
import { createFakeServer, errorOf, NOW_MS } from '../../support/fake-server.ts'

const QUERY = '/api/v1/metrics/api.response_time/query'
const good = { name: 'api.requests', type: 'counter', value: 1 }

describe('POST /api/v1/metrics', () => {
  it('returns 201 with the decoded point', async () => {
    const { post, gateway } = createFakeServer()
    const response = await post('/api/v1/metrics', {
      name: 'api.response_time',
      type: 'distribution',
      value: 145.2,
      timestamp: '2024-01-15T10:30:00Z',
      tags: { endpoint: '/users' },
    })
    expect(response.statusCode).toBe(201)
    expect(response.body).toBe(
      '{"data":{"name":"api.response_time","type":"distribution","value":145.2,"timestamp":"2024-01-15T10:30:00Z"}}',
    )
    expect(response.headers['content-type']).toBe('application/json; charset=utf-8')
    expect(gateway.points).toMatchObject([{ project: 'shop', tags: [['endpoint', '/users']] }])
  })

  it('stamps a point without a timestamp with the time of reception', async () => {
    const { post, gateway } = createFakeServer()
    const response = await post('/api/v1/metrics', { name: 'dau', type: 'set', value: 'user_123' })
    expect(response.body).toBe(
      '{"data":{"name":"dau","type":"set","value":"user_123","timestamp":"2024-01-15T12:00:00Z"}}',
    )
    expect(gateway.points[0]?.timeMs).toBe(NOW_MS)
  })

  it.each([
    [400, 'missing_name', { type: 'gauge', value: 1 }],
    [400, 'invalid_type', { ...good, type: 'timer' }],
    [400, 'invalid_value', { ...good, value: '1' }],
    [400, 'invalid_timestamp', { ...good, timestamp: 'yesterday' }],
    [400, 'invalid_tags', { ...good, tags: [] }],
    [400, 'invalid_body', [good]],
    [400, 'invalid_body', 'null'],
    [400, 'invalid_body', ''],
    [400, 'invalid_body', '{"name":'],
    [400, 'invalid_body', Buffer.from([0x7b, 0xff, 0x7d])],
  ])('returns %i %s for %j and stores nothing', async (status, code, body) => {
    const { post, gateway } = createFakeServer()
    const response = await post('/api/v1/metrics', body)
    expect([response.statusCode, errorOf(response).code]).toEqual([status, code])
    expect(Object.keys(response.json())).toEqual(['error'])
    expect(gateway.points).toEqual([])
  })

  it.each([
    [409, 'type_conflict'],
    [422, 'series_limit_exceeded'],
  ] as const)('returns %i %s when the gateway rejects the series', async (status, code) => {
    const { post } = createFakeServer({ resolve: () => reject(code, 'because') })
    const response = await post('/api/v1/metrics', good)
    expect(response.statusCode).toBe(status)
    expect(response.body).toBe(`{"error":{"code":"${code}","message":"because"}}`)
  })

  it.each([
    ['overloaded', '1'],
    ['store_unavailable', '5'],
  ] as const)('returns 503 %s with Retry-After', async (code, seconds) => {
    const { post } = createFakeServer({
      before: (verb) => {
        if (verb === 'track') throw new GatewayError(code, 'later', { details: { outcome: 'unknown' } })
      },
    })
    const response = await post('/api/v1/metrics', good)
    expect(response.statusCode).toBe(503)
    expect(response.headers['retry-after']).toBe(seconds)
    expect(errorOf(response).details).toEqual({ outcome: 'unknown' })
  })

  it('accepts __proto__ as tag key, tag value and name', async () => {
    const { post, gateway } = createFakeServer()
    const body =
      '{"name":"__proto__","type":"gauge","value":1,"tags":{"__proto__":"__proto__"},"__proto__":{"type":"set"}}'
    const response = await post('/api/v1/metrics', body)
    expect(response.statusCode).toBe(201)
    expect(response.json().data.name).toBe('__proto__')
    expect(gateway.points).toMatchObject([{ name: '__proto__', type: 'gauge', tags: [['__proto__', '__proto__']] }])
  })
})

describe('POST /api/v1/metrics/batch', () => {
  it.each([
    ['an envelope', { metrics: [good, good, good] }],
    ['a bare array', [good, good, good]],
  ])('counts the items of %s', async (_shape, body) => {
    const response = await createFakeServer().post('/api/v1/metrics/batch', body)
    expect(response.statusCode).toBe(201)
    expect(response.body).toBe('{"data":{"accepted":3,"rejected":0}}')
  })

  it('accepts an empty batch', async () => {
    const response = await createFakeServer().post('/api/v1/metrics/batch', [])
    expect(response.statusCode).toBe(201)
    expect(response.body).toBe('{"data":{"accepted":0,"rejected":0}}')
  })

  it('stores valid items and lists invalid ones by index and code', async () => {
    const { post, gateway } = createFakeServer({
      resolve: (name) => (name === 'taken' ? reject('type_conflict', 'taken is a gauge') : undefined),
    })
    const response = await post('/api/v1/metrics/batch', [good, { ...good, value: '1' }, 7, { ...good, name: 'taken' }])
    expect(response.statusCode).toBe(201)
    expect(response.body).toBe(
      '{"data":{"accepted":1,"rejected":3},"errors":[' +
        '{"index":1,"code":"invalid_value","message":"value of a counter must be a finite number, not \\"1\\""},' +
        '{"index":2,"code":"invalid_body","message":"a metric must be an object, not 7"},' +
        '{"index":3,"code":"type_conflict","message":"taken is a gauge"}]}',
    )
    expect(gateway.points.map(({ index }) => index)).toEqual([0])
  })

  it('accepts 500 items and stores none of 501', async () => {
    const { post, gateway } = createFakeServer()
    const refused = await post('/api/v1/metrics/batch', { metrics: Array(501).fill(good) })
    expect([refused.statusCode, errorOf(refused).code]).toEqual([400, 'batch_too_large'])
    expect(gateway.points).toEqual([])
    const accepted = await post('/api/v1/metrics/batch', { metrics: Array(500).fill(good) })
    expect(accepted.json()).toEqual({ data: { accepted: 500, rejected: 0 } })
  })

  it('reports where the JSON is invalid', async () => {
    const response = await createFakeServer().post('/api/v1/metrics/batch', '{"metrics":[\n  {"name":}]}')
    expect([response.statusCode, errorOf(response).code]).toEqual([400, 'invalid_body'])
    expect(errorOf(response).message).toContain('unexpected "}" at position 23')
  })

  it('refuses an object without metrics', async () => {
    const response = await createFakeServer().post('/api/v1/metrics/batch', { metric: good })
    expect([response.statusCode, errorOf(response).code]).toEqual([400, 'invalid_body'])
  })
})

describe('GET /api/v1/metrics', () => {
  it('lists metrics with null for missing times', async () => {
    const { get } = createFakeServer({
      metrics: [
        metricRow(),
        metricRow({ name: 'new', type: 'gauge', tagKeys: [], firstSeenMs: undefined, lastSeenMs: undefined }),
      ],
    })
    const response = await get('/api/v1/metrics')
    expect(response.statusCode).toBe(200)
    expect(response.body).toBe(
      '{"data":[{"name":"api.response_time","type":"distribution","tags":["endpoint","method","status"],' +
        '"first_seen":"2024-01-01T00:00:00Z","last_seen":"2024-01-15T10:30:00Z"},' +
        '{"name":"new","type":"gauge","tags":[],"first_seen":null,"last_seen":null}]}',
    )
  })

  it('lists only the metrics of the project', async () => {
    const { get } = createFakeServer({ metrics: [metricRow({ project: 'other' })] })
    expect((await get('/api/v1/metrics')).body).toBe('{"data":[]}')
  })

  it('passes the filter to the gateway', async () => {
    const { get, gateway } = createFakeServer()
    await get('/api/v1/metrics?search=api%20x&type=gauge&limit=20&after=a+b')
    expect(gateway.filters).toEqual([{ search: 'api x', type: 'gauge', limit: 20, after: 'a b' }])
  })

  it.each([
    ['type=timer', 'invalid_type'],
    ['limit=0', 'invalid_value'],
    ['limit=1e3', 'invalid_value'],
    ['limit=-1', 'invalid_value'],
  ])('refuses %s as %s', async (parameters, code) => {
    const response = await createFakeServer().get(`/api/v1/metrics?${parameters}`)
    expect([response.statusCode, errorOf(response).code]).toEqual([400, code])
  })
})

describe('GET /api/v1/metrics/:name', () => {
  it('returns the metric with its number of points', async () => {
    const response = await createFakeServer({ metrics: [metricRow()] }).get('/api/v1/metrics/api.response_time')
    expect(response.statusCode).toBe(200)
    expect(response.body).toBe(
      '{"data":{"name":"api.response_time","type":"distribution","tags":["endpoint","method","status"],' +
        '"first_seen":"2024-01-01T00:00:00Z","last_seen":"2024-01-15T10:30:00Z","data_points":1234567}}',
    )
  })

  it('returns metric_not_found for an unknown name', async () => {
    const response = await createFakeServer().get('/api/v1/metrics/nothing')
    expect([response.statusCode, errorOf(response).code]).toEqual([404, 'metric_not_found'])
  })

  it.each([
    'batch',
    'query',
    'a/b',
    'a/b/query',
    '50%',
    '%2F',
    'a b+c',
    'a?b#c&d=e',
    'größe 🌡',
    '__proto__',
    'constructor',
    ';:@,$',
    '😀'.repeat(127),
  ])('finds a metric named %j', async (name) => {
    const { get } = createFakeServer({
      metrics: [metricRow({ name })],
      query: (_project, input) =>
        queryResult({ metric: metricRow({ name: input.metric }), groups: [resultGroup({ p95: [1] })] }),
    })
    const definition = await get(`/api/v1/metrics/${encodeURIComponent(name)}`)
    expect([definition.statusCode, definition.json().data.name]).toEqual([200, name])
    const response = await get(`/api/v1/metrics/${encodeURIComponent(name)}/query?interval=1h`)
    expect([response.statusCode, response.json().data.name]).toEqual([200, name])
  })

  it.each(['%', '%zz', '%E0%A4%A', '%ff'])('returns not_found for the broken escape %s', async (path) => {
    const response = await createFakeServer().get(`/api/v1/metrics/${path}`)
    expect([response.statusCode, errorOf(response).code]).toEqual([404, 'not_found'])
  })
})

describe('GET /api/v1/metrics/:name/query', () => {
  async function respondWith(result: QueryResult, parameters = '') {
    const response = await createFakeServer({ query: () => result }).get(`${QUERY}?${parameters}`)
    expect(response.statusCode).toBe(200)
    return response
  }

  it('returns one aggregation as timestamp and value', async () => {
    const group = resultGroup({ p95: [125.3, 132.1, 0.1 + 0.2] })
    expect((await respondWith(queryResult({ groups: [group] }))).body).toBe(
      '{"data":{"name":"api.response_time","aggregation":"p95","interval":"1h","series":[' +
        '{"timestamp":"2024-01-15T00:00:00Z","value":125.3},' +
        '{"timestamp":"2024-01-15T01:00:00Z","value":132.1},' +
        '{"timestamp":"2024-01-15T02:00:00Z","value":0.30000000000000004}]}}',
    )
  })

  const several = {
    aggregations: [parseAggregation('p99.9')!, parseAggregation('count')!],
  }

  it('returns several aggregations as one object per bucket, in the requested order', async () => {
    const group = resultGroup({ count: [2, undefined, 5], 'p99.9': [45.2, undefined, 1e21] })
    expect((await respondWith(queryResult({ ...several, groups: [group] }))).body).toBe(
      '{"data":{"name":"api.response_time","interval":"1h","series":[' +
        '{"timestamp":"2024-01-15T00:00:00Z","p99.9":45.2,"count":2},' +
        '{"timestamp":"2024-01-15T02:00:00Z","p99.9":1e+21,"count":5}]}}',
    )
  })

  it('returns an empty series when there are no rows', async () => {
    const result = queryResult({ groups: [resultGroup({ p95: [undefined] })] })
    expect((await respondWith(result)).json().data.series).toEqual([])
  })

  it.each([
    ['none', [1, 4]],
    ['null', [1, null, null, 4]],
    ['zero', [1, 0, 0, 4]],
    ['previous', [1, 1, 1, 4]],
  ] as const)('fills empty buckets: %s', async (fill, values) => {
    const result = queryResult({ fill, groups: [resultGroup({ p95: [1, undefined, undefined, 4] })] })
    const { series } = (await respondWith(result)).json<{ data: { series: { value: number }[] } }>().data
    expect(series.map(({ value }) => value)).toEqual(values)
  })

  it('fills several aggregations by the same rule', async () => {
    const group = resultGroup({ count: [2, undefined], 'p99.9': [3, undefined] })
    const response = await respondWith(queryResult({ ...several, fill: 'zero', groups: [group] }))
    expect(response.json().data.series).toEqual([
      { timestamp: '2024-01-15T00:00:00Z', 'p99.9': 3, count: 2 },
      { timestamp: '2024-01-15T01:00:00Z', 'p99.9': 0, count: 0 },
    ])
  })

  it('returns null for a value that does not exist', async () => {
    const group = resultGroup({ p95: [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0] })
    const { series } = (await respondWith(queryResult({ groups: [group] }))).json().data
    expect(series.map(({ value }: { value: unknown }) => value)).toEqual([null, null, null, 0])
  })

  it('returns groups by tag value in order, also for values such as 200 and __proto__', async () => {
    const groups = ['/users', '__proto__', '200', '', 'a,b', '"'].map((value, index) =>
      resultGroup({ p95: [index] }, { tags: [['endpoint', value]] }),
    )
    expect((await respondWith(queryResult({ groups }), 'group_by=tags.endpoint')).body).toBe(
      '{"data":{"groups":{' +
        '"/users":[{"timestamp":"2024-01-15T00:00:00Z","value":0}],' +
        '"__proto__":[{"timestamp":"2024-01-15T00:00:00Z","value":1}],' +
        '"200":[{"timestamp":"2024-01-15T00:00:00Z","value":2}],' +
        '"":[{"timestamp":"2024-01-15T00:00:00Z","value":3}],' +
        '"a,b":[{"timestamp":"2024-01-15T00:00:00Z","value":4}],' +
        '"\\"":[{"timestamp":"2024-01-15T00:00:00Z","value":5}]}}}',
    )
  })

  it('joins several tag values by commas and escapes those inside a value', async () => {
    const pairs = [
      ['a', 'b'],
      ['a,b', ''],
      ['a', ',b'],
      ['a\\', 'b'],
    ] as const
    const groups = pairs.map(([x, y]) =>
      resultGroup(
        { p95: [1] },
        {
          tags: [
            ['x', x],
            ['y', y],
          ],
        },
      ),
    )
    const response = await respondWith(queryResult({ groups }), 'group_by=tags.x,tags.y')
    expect(Object.keys(response.json().data.groups)).toEqual(['a,b', 'a\\,b,', 'a,\\,b', 'a\\\\,b'])
  })

  it('returns an empty object when there are no groups', async () => {
    expect((await respondWith(queryResult({ groups: [] }), 'group_by=tags.x')).body).toBe('{"data":{"groups":{}}}')
  })

  it('returns series by id, with their tags beside the data', async () => {
    const tags = [
      ['__proto__', 'x'],
      ['endpoint', '/users'],
    ] as const
    const group = resultGroup({ p95: [1] }, { tags, series: { seriesId: { hi: 1, lo: 0xabc }, tags } })
    expect((await respondWith(queryResult({ groups: [group] }), 'group_by=series')).body).toBe(
      '{"data":{"groups":{"0000000100000abc":[{"timestamp":"2024-01-15T00:00:00Z","value":1}]}},' +
        '"series":{"0000000100000abc":{"__proto__":"x","endpoint":"/users"}}}',
    )
  })

  it('sets X-Resolution to the resolutions read, if any', async () => {
    const result = queryResult({ groups: [resultGroup({ p95: [1] })] })
    const meta = (resolutionsMs: readonly number[]) => ({ ...result, meta: { ...result.meta, resolutionsMs } })
    const headers = async (resolutionsMs: readonly number[]) =>
      (await respondWith(meta(resolutionsMs))).headers['x-resolution']
    expect(await headers([10_000, 60_000, 900_000, 3_600_000, 86_400_000])).toBe('10s,1m,15m,1h,1d')
    expect(await headers([])).toBeUndefined()
  })

  it('counts unavailable buckets in a header and returns them as null', async () => {
    const result = queryResult({ groups: [resultGroup({ p95: [1] })] })
    expect((await respondWith(result)).headers['x-buckets-unavailable']).toBe('0')
    const bucketStates = Uint8Array.of(2)
    const group = { ...resultGroup({ p95: [Number.NaN] }), bucketStates }
    const unavailable = { ...result, groups: [group], meta: { ...result.meta, bucketsUnavailable: 1 } }
    const { headers, body } = await respondWith(unavailable)
    expect(headers['x-buckets-unavailable']).toBe('1')
    expect(body).toContain('"series":[{"timestamp":"2024-01-15T00:00:00Z","value":null}]')
  })

  it.each([
    [400, 'invalid_aggregation'],
    [400, 'invalid_interval'],
    [400, 'invalid_range'],
    [400, 'query_too_large'],
    [404, 'metric_not_found'],
    [503, 'store_unavailable'],
  ] as const)('returns %i %s when the gateway throws it', async (status, code) => {
    const { get } = createFakeServer({
      query: () => {
        throw new GatewayError(code, 'because', { details: { finest: '1m' } })
      },
    })
    const response = await get(QUERY)
    expect(response.statusCode).toBe(status)
    expect(response.body).toBe(`{"error":{"code":"${code}","message":"because","details":{"finest":"1m"}}}`)
  })
})
