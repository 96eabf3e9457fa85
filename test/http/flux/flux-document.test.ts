import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startGateway } from '../../support/gateway.ts'

/** The requests of the vendor's API document, in its order, against the whole gateway. */

let gateway: Awaited<ReturnType<typeof startGateway>>

beforeAll(async () => {
  gateway = await startGateway()
})

afterAll(async () => {
  await gateway.close()
})

async function send(
  method: 'GET' | 'POST',
  path: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
) {
  const response = await fetch(gateway.url + path, {
    method,
    headers: { authorization: `Bearer ${gateway.key}`, ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return { status: response.status, headers: response.headers, body: JSON.parse(await response.text()) }
}

const get = (path: string) => send('GET', path)
const post = (path: string, body: unknown) => send('POST', path, body, { 'content-type': 'application/json' })

const RANGE = 'from=2024-01-15T00:00:00Z&to=2024-01-15T23:59:59Z'
const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z$/

describe('tracking', () => {
  it('returns a tracked metric as it was sent', async () => {
    const { status, body } = await post('/api/v1/metrics', {
      name: 'api.response_time',
      type: 'distribution',
      value: 145.2,
      timestamp: '2024-01-15T10:30:00Z',
      tags: { endpoint: '/users', method: 'GET', status: '200' },
    })
    expect(status).toBe(201)
    expect(body).toEqual({
      data: { name: 'api.response_time', type: 'distribution', value: 145.2, timestamp: '2024-01-15T10:30:00Z' },
    })
  })

  it.each([
    { name: 'users.online', type: 'gauge', value: 234 },
    { name: 'api.hits', type: 'counter', value: 1 },
    { name: 'response_time', type: 'distribution', value: 145.2 },
    { name: 'daily_active_users', type: 'set', value: 'user_123' },
  ])('stores a $type without timestamp at the time of reception', async (point) => {
    const { status, body } = await post('/api/v1/metrics', point)
    expect(status).toBe(201)
    expect(body).toEqual({ data: { ...point, timestamp: expect.stringMatching(INSTANT) } })
    expect(Math.abs(Date.parse(body.data.timestamp) - Date.now())).toBeLessThan(60_000)
  })

  it('accepts the default content type of curl', async () => {
    const point = { name: 'users.online', type: 'gauge', value: 235 }
    const { status } = await send('POST', '/api/v1/metrics', point, {
      'content-type': 'application/x-www-form-urlencoded',
    })
    expect(status).toBe(201)
  })

  it('counts the items of a batch', async () => {
    const { status, body } = await post('/api/v1/metrics/batch', {
      metrics: [
        { name: 'users.online', type: 'gauge', value: 234 },
        { name: 'api.hits', type: 'counter', value: 1 },
        { name: 'response_time', type: 'distribution', value: 145.2 },
      ],
    })
    expect(status).toBe(201)
    expect(body).toEqual({ data: { accepted: 3, rejected: 0 } })
  })

  it.each([
    ['missing_name', { type: 'gauge', value: 1 }],
    ['invalid_type', { name: 'n', type: 'timer', value: 1 }],
    ['invalid_value', { name: 'n', type: 'gauge', value: 'high' }],
    ['invalid_value', { name: 'n', type: 'set', value: 1 }],
  ])('returns %s for %j', async (code, point) => {
    const { status, body } = await post('/api/v1/metrics', point)
    expect(status).toBe(400)
    expect(body).toEqual({ error: { code, message: expect.any(String) } })
  })

  it('returns batch_too_large for 501 metrics and stores none', async () => {
    const { status, body } = await post('/api/v1/metrics/batch', {
      metrics: Array(501).fill({ name: 'too.many', type: 'gauge', value: 1 }),
    })
    expect([status, body.error.code]).toEqual([400, 'batch_too_large'])
    expect((await get('/api/v1/metrics/too.many')).status).toBe(404)
  })

  it('refuses another type for a known name; other items of the batch are stored', async () => {
    const conflict = { name: 'api.response_time', type: 'gauge', value: 1 }
    const single = await post('/api/v1/metrics', conflict)
    expect([single.status, single.body.error.code]).toEqual([409, 'type_conflict'])
    const good = { name: 'kept.beside.a.conflict', type: 'gauge', value: 1 }
    const batch = await post('/api/v1/metrics/batch', { metrics: [conflict, good] })
    expect(batch.body).toEqual({
      data: { accepted: 1, rejected: 1 },
      errors: [{ index: 0, code: 'type_conflict', message: expect.any(String) }],
    })
    expect((await get('/api/v1/metrics/kept.beside.a.conflict')).body.data.data_points).toBe(1)
  })

  it('refuses requests without a key', async () => {
    const { status, body } = await send('POST', '/api/v1/metrics', {}, { authorization: '' })
    expect([status, body.error.code]).toEqual([401, 'missing_api_key'])
    const wrong = await send('GET', '/api/v1/metrics', undefined, { authorization: 'Bearer sk_live_xxx' })
    expect([wrong.status, wrong.body.error.code]).toEqual([401, 'invalid_api_key'])
  })
})

describe('definitions', () => {
  it('lists them by name', async () => {
    const { status, body } = await get('/api/v1/metrics')
    expect(status).toBe(200)
    const names = body.data.map(({ name }: { name: string }) => name)
    expect(names).toEqual([...names].sort())
    expect(body.data).toContainEqual({
      name: 'api.response_time',
      type: 'distribution',
      tags: ['endpoint', 'method', 'status'],
      first_seen: '2024-01-15T10:30:00Z',
      last_seen: '2024-01-15T10:30:00Z',
    })
  })

  it('adds the number of points to a single one', async () => {
    const { status, body } = await get('/api/v1/metrics/api.response_time')
    expect(status).toBe(200)
    expect(body).toEqual({
      data: {
        name: 'api.response_time',
        type: 'distribution',
        tags: ['endpoint', 'method', 'status'],
        first_seen: '2024-01-15T10:30:00Z',
        last_seen: '2024-01-15T10:30:00Z',
        data_points: 1,
      },
    })
  })

  it('distinguishes a metric named batch from the batch route', async () => {
    await post('/api/v1/metrics', { name: 'batch', type: 'counter', value: 1 })
    expect((await get('/api/v1/metrics/batch')).body.data).toMatchObject({ name: 'batch', data_points: 1 })
  })
})

describe('querying', () => {
  beforeAll(async () => {
    const point = (time: string, endpoint: string, value: number) => [
      { name: 'q.latency', type: 'distribution', value, timestamp: `2024-01-15T${time}Z`, tags: { endpoint } },
      { name: 'q.requests', type: 'counter', value: 1, timestamp: `2024-01-15T${time}Z`, tags: { endpoint } },
    ]
    const metrics = [
      ...point('00:10:00', '/users', 100),
      ...point('00:20:00', '/users', 200),
      ...point('01:10:00', '/users', 300),
      ...point('01:20:00', '/orders', 1_000),
      { name: 'q.visitors', type: 'set', value: 'u1', timestamp: '2024-01-15T00:00:01Z' },
      { name: 'q.visitors', type: 'set', value: 'u1', timestamp: '2024-01-15T01:00:01Z' },
      { name: 'q.visitors', type: 'set', value: 'u2', timestamp: '2024-01-15T01:00:02Z' },
      { name: 'q.online', type: 'gauge', value: 7, timestamp: '2024-01-15T00:00:01Z' },
      { name: 'q.online', type: 'gauge', value: 5, timestamp: '2024-01-15T00:00:02Z' },
    ]
    const { body } = await post('/api/v1/metrics/batch', { metrics })
    expect(body).toEqual({ data: { accepted: metrics.length, rejected: 0 } })
  })

  /** Quantiles are within 1 % of the exact value. */
  const near = (value: number) => (actual: number) => Math.abs(actual - value) <= value * 0.0101

  it('returns a percentile by hour with a tag filter', async () => {
    const { status, headers, body } = await get(
      `/api/v1/metrics/q.latency/query?${RANGE}&aggregation=p95&interval=1h&tags[endpoint]=/users`,
    )
    expect(status).toBe(200)
    expect(body).toEqual({
      data: {
        name: 'q.latency',
        aggregation: 'p95',
        interval: '1h',
        series: [
          { timestamp: '2024-01-15T00:00:00Z', value: expect.toSatisfy(near(195)) },
          { timestamp: '2024-01-15T01:00:00Z', value: expect.toSatisfy(near(300)) },
        ],
      },
    })
    expect(headers.get('x-resolution')).toMatch(/^\d+[smhd](,\d+[smhd])*$/)
  })

  it('returns several aggregations in one row per bucket', async () => {
    const { body } = await get(`/api/v1/metrics/q.latency/query?${RANGE}&aggregation=p50,max,count&interval=1h`)
    expect(body).toEqual({
      data: {
        name: 'q.latency',
        interval: '1h',
        series: [
          { timestamp: '2024-01-15T00:00:00Z', p50: expect.toSatisfy(near(150)), max: 200, count: 2 },
          { timestamp: '2024-01-15T01:00:00Z', p50: expect.toSatisfy(near(650)), max: 1_000, count: 2 },
        ],
      },
    })
  })

  it('returns groups by tag', async () => {
    const { body } = await get(
      `/api/v1/metrics/q.requests/query?${RANGE}&aggregation=sum&interval=1h&group_by=tags.endpoint`,
    )
    expect(body).toEqual({
      data: {
        groups: {
          '/orders': [{ timestamp: '2024-01-15T01:00:00Z', value: 1 }],
          '/users': [
            { timestamp: '2024-01-15T00:00:00Z', value: 2 },
            { timestamp: '2024-01-15T01:00:00Z', value: 1 },
          ],
        },
      },
    })
  })

  it('returns groups by series with the tags of each series', async () => {
    const { body } = await get(`/api/v1/metrics/q.requests/query?${RANGE}&aggregation=sum&interval=1d&group_by=series`)
    const ids = Object.keys(body.series)
    expect(Object.keys(body.data.groups)).toEqual(ids)
    const sums = ids.map((id) => [body.series[id].endpoint, body.data.groups[id][0].value])
    expect(Object.fromEntries(sums)).toEqual({ '/orders': 1, '/users': 3 })
  })

  it.each([
    ['q.requests', 'sum', [2, 2]],
    ['q.requests', 'rate', [2 / 3_600, 2 / 3_600]],
    ['q.visitors', 'count', [1, 2]],
    ['q.online', 'last', [5]],
    ['q.online', 'avg', [6]],
    ['q.online', 'min', [5]],
    ['q.online', 'max', [7]],
    ['q.latency', 'avg', [150, 650]],
    ['q.latency', 'sum', [300, 1_300]],
    ['q.latency', 'min', [100, 300]],
    ['q.latency', 'count', [2, 2]],
  ])('returns %s %s by hour', async (name, aggregation, values) => {
    const { body } = await get(`/api/v1/metrics/${name}/query?${RANGE}&aggregation=${aggregation}&interval=1h`)
    expect(body.data.series.map(({ value }: { value: number }) => value)).toEqual(values)
  })

  it.each([
    ['q.online', 'last'],
    ['q.requests', 'sum'],
    ['q.latency', 'avg'],
    ['q.visitors', 'count'],
  ])('queries %s with %s by default', async (name, aggregation) => {
    const { body } = await get(`/api/v1/metrics/${name}/query?${RANGE}&interval=1h`)
    expect(body.data.aggregation).toBe(aggregation)
  })

  it('accepts a repeated tag and encoded brackets', async () => {
    const path = `/api/v1/metrics/q.requests/query?${RANGE}&interval=1d&tags%5Bendpoint%5D=%2Fusers`
    expect((await get(path)).body.data.series[0].value).toBe(3)
    expect((await get(`${path}&tags[endpoint]=/orders`)).body.data.series[0].value).toBe(4)
    expect((await get(`${path}&tags[method]=GET`)).body.data.series).toEqual([])
  })

  it('fills empty buckets when asked', async () => {
    const path = `/api/v1/metrics/q.requests/query?from=2024-01-15T00:00:00Z&to=2024-01-15T03:59:59Z&interval=1h`
    const values = async (fill: string) => {
      const { body } = await get(`${path}&fill=${fill}`)
      return body.data.series.map(({ value }: { value: number | null }) => value)
    }
    expect(await values('none')).toEqual([2, 2])
    expect(await values('zero')).toEqual([2, 2, 0, 0])
    expect(await values('null')).toEqual([2, 2, null, null])
    expect(await values('previous')).toEqual([2, 2, 2, 2])
  })

  it.each([
    ['aggregation=p95', 'q.online', 'invalid_aggregation'],
    ['aggregation=median', 'q.latency', 'invalid_aggregation'],
    ['interval=7', 'q.latency', 'invalid_interval'],
    ['from=tomorrow', 'q.latency', 'invalid_range'],
    ['from=2024-01-16T00:00:00Z&to=2024-01-15T00:00:00Z', 'q.latency', 'invalid_range'],
    ['group_by=endpoint', 'q.latency', 'invalid_group_by'],
    ['tags=x', 'q.latency', 'invalid_tags'],
  ])('refuses %s of %s as %s', async (parameters, name, code) => {
    const { status, body } = await get(`/api/v1/metrics/${name}/query?${parameters}`)
    expect([status, body.error.code]).toEqual([400, code])
  })

  it('returns metric_not_found for an unknown name', async () => {
    const { status, body } = await get('/api/v1/metrics/never.tracked/query')
    expect([status, body.error.code]).toEqual([404, 'metric_not_found'])
  })
})
