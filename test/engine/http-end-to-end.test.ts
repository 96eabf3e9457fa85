import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { track } from './harness.ts'

/**
 * Requests that go wrong, over HTTP against the whole gateway: the code they get, and that they leave nothing behind.
 */

interface HttpResponse {
  readonly status: number
  readonly body: unknown
}

let gateway: TestGateway

beforeAll(async () => {
  gateway = await startGateway({ env: { SERIES_PER_METRIC_MAX: '5' } })
})
afterAll(() => gateway.close())

async function send(path: string, body?: string, key: string | undefined = gateway.key): Promise<HttpResponse> {
  const response = await fetch(`${gateway.url}/api/v1${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { ...(key !== '' && { 'x-api-key': key }), 'content-type': 'application/json' },
    ...(body !== undefined && { body }),
  })
  return { status: response.status, body: JSON.parse(await response.text()) }
}

const get = (path: string): Promise<HttpResponse> => send(path)
const post = (path: string, body: unknown): Promise<HttpResponse> => send(path, JSON.stringify(body))
const failed = (status: number, code: string, message: RegExp = /./): object => ({
  status,
  body: { error: { code, message: expect.stringMatching(message) } },
})

const TIME = '2026-01-15T10:30:00Z'
const DAY = 'from=2026-01-15T00:00:00Z&to=2026-01-15T23:59:59Z&interval=1d'

/** What a metric answers for the day of `TIME`. */
async function series(name: string, query = ''): Promise<unknown> {
  const { body } = await get(`/metrics/${encodeURIComponent(name)}/query?${DAY}${query}`)
  return body
}

const point = (name: unknown, type: unknown, value: unknown, rest: object = {}): object => ({
  name,
  type,
  value,
  timestamp: TIME,
  ...rest,
})

describe('a bad point is refused and leaves no metric behind', () => {
  test.each([
    ['a missing name', { type: 'gauge', value: 1 }, 'missing_name'],
    ['a name that is null', point(null, 'gauge', 1), 'missing_name'],
    ['an empty name', point('', 'gauge', 1), 'missing_name'],
    ['a name that is a number', point(7, 'gauge', 1), 'missing_name'],
    ['a name of 256 characters', point('n'.repeat(256), 'gauge', 1), 'missing_name'],
    ['an unknown type', point('bad', 'meter', 1), 'invalid_type'],
    ['a missing type', point('bad', undefined, 1), 'invalid_type'],
    ['a type of the catalog only', point('bad', 'histogram', 1), 'invalid_type'],
    ['the type `__proto__`', point('bad', '__proto__', 1), 'invalid_type'],
    ['text as the value of a gauge', point('bad', 'gauge', 'abc'), 'invalid_value'],
    ['digits in text as the value of a gauge', point('bad', 'gauge', '12'), 'invalid_value'],
    ['a boolean as the value of a gauge', point('bad', 'gauge', true), 'invalid_value'],
    ['an object as the value of a counter', point('bad', 'counter', {}), 'invalid_value'],
    ['null as the value of a gauge', point('bad', 'gauge', null), 'invalid_value'],
    ['no value of a gauge', point('bad', 'gauge', undefined), 'invalid_value'],
    ['a number as the member of a set', point('bad', 'set', 42), 'invalid_value'],
    ['no member of a set', point('bad', 'set', undefined), 'invalid_value'],
    ['a time that is no time', point('bad', 'gauge', 1, { timestamp: 'yesterday' }), 'invalid_timestamp'],
    ['a day that does not exist', point('bad', 'gauge', 1, { timestamp: '2026-02-30T00:00:00Z' }), 'invalid_timestamp'],
    ['a time that is an object', point('bad', 'gauge', 1, { timestamp: {} }), 'invalid_timestamp'],
    ['a time far ahead', point('bad', 'gauge', 1, { timestamp: '2999-01-01T00:00:00Z' }), 'invalid_timestamp'],
    ['tags that are a list', point('bad', 'gauge', 1, { tags: ['a'] }), 'invalid_tags'],
    ['tags that are text', point('bad', 'gauge', 1, { tags: 'a=b' }), 'invalid_tags'],
    ['a tag that is an object', point('bad', 'gauge', 1, { tags: { a: {} } }), 'invalid_tags'],
    ['a tag without a key', point('bad', 'gauge', 1, { tags: { '': 'x' } }), 'invalid_tags'],
    ['a tag of 257 characters', point('bad', 'gauge', 1, { tags: { a: 'x'.repeat(257) } }), 'invalid_tags'],
    [
      '33 tags',
      point('bad', 'gauge', 1, { tags: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`t${i}`, 'x'])) }),
      'invalid_tags',
    ],
  ])('%s', async (_, item, code) => {
    expect(await post('/metrics', item)).toEqual(failed(400, code))
    expect(await post('/metrics/batch', [item])).toMatchObject({
      status: 201,
      body: { data: { accepted: 0, rejected: 1 }, errors: [{ index: 0, code }] },
    })
    expect(await get('/metrics/bad')).toEqual(failed(404, 'metric_not_found'))
  })

  test('a number above the largest double', async () => {
    const body = '{"name":"bad","type":"gauge","value":1e999}'
    expect(await send('/metrics', body)).toEqual(failed(400, 'invalid_value'))
  })
})

describe('a request that is no request', () => {
  test.each([
    ['cut off', '{"name":"bad","type":"gauge"'],
    ['empty', ''],
    ['not JSON', 'name=bad'],
    ['with a comma too many', '[{"name":"bad","type":"gauge","value":1},]'],
  ])('%s', async (_, body) => {
    expect(await send('/metrics', body)).toEqual(failed(400, 'invalid_body'))
    expect(await send('/metrics/batch', body)).toEqual(failed(400, 'invalid_body'))
  })

  test.each([
    ['a number', 7],
    ['null', null],
    ['an object without metrics', {}],
    ['metrics that are no list', { metrics: {} }],
  ])('a batch that is %s', async (_, body) => {
    expect(await post('/metrics/batch', body)).toEqual(failed(400, 'invalid_body'))
  })

  test('of 501 items stores nothing, of 500 everything', async () => {
    const items = Array.from({ length: 501 }, () => point('crowd', 'counter', 1))
    expect(await post('/metrics/batch', { metrics: items })).toMatchObject(failed(400, 'batch_too_large', /500/))
    expect(await get('/metrics/crowd')).toEqual(failed(404, 'metric_not_found'))
    expect(await post('/metrics/batch', items.slice(1))).toEqual({
      status: 201,
      body: { data: { accepted: 500, rejected: 0 } },
    })
    expect(await series('crowd')).toMatchObject({ data: { series: [{ value: 500 }] } })
  })

  test.each([
    ['no key', '', 'missing_api_key'],
    ['a wrong key', 'test-key-9876543210', 'invalid_api_key'],
  ])('with %s stores and answers nothing', async (_, key, code) => {
    expect(await send('/metrics', JSON.stringify(point('secret', 'gauge', 1)), key)).toEqual(failed(401, code))
    expect(await send('/metrics/batch', '[]', key)).toEqual(failed(401, code))
    expect(await send('/metrics', undefined, key)).toEqual(failed(401, code))
    expect(await get('/metrics/secret')).toEqual(failed(404, 'metric_not_found'))
  })
})

describe('a query that cannot be answered', () => {
  beforeAll(async () => {
    await post('/metrics/batch', [
      point('q.gauge', 'gauge', 1),
      point('q.counter', 'counter', 1),
      point('q.distribution', 'distribution', 1),
      point('q.set', 'set', 'x'),
    ])
  })

  test('of an unknown metric', async () => {
    expect(await get('/metrics/nobody/query')).toEqual(failed(404, 'metric_not_found', /nobody/))
    expect(await get('/metrics/nobody')).toEqual(failed(404, 'metric_not_found', /nobody/))
    expect(await get('/metrics/__proto__/query')).toEqual(failed(404, 'metric_not_found'))
  })

  test.each([
    ['gauge', 'p95', 'last, count, sum, avg, min, max, range, first'],
    ['gauge', 'rate', 'last, count, sum, avg, min, max, range, first'],
    ['counter', 'avg', 'sum, count, last, rate'],
    ['distribution', 'last', 'avg, count, sum, min, max, range, p50, p75, p90, p95, p99, p999, pN'],
    ['distribution', 'p101', 'avg, count, sum, min, max, range, p50, p75, p90, p95, p99, p999, pN'],
    ['distribution', 'p1.2345', 'avg, count, sum, min, max, range, p50, p75, p90, p95, p99, p999, pN'],
    ['set', 'sum', 'count'],
    ['set', '__proto__', 'count'],
    ['counter', 'median', 'sum, count, last, rate'],
  ])('of a %s by %s: the message lists %s', async (type, aggregation, allowed) => {
    const response = await get(`/metrics/q.${type}/query?${DAY}&aggregation=${aggregation}`)
    expect(response).toMatchObject({
      status: 400,
      body: {
        error: {
          code: 'invalid_aggregation',
          message: expect.stringContaining(allowed),
          details: { allowed: allowed.split(', ') },
        },
      },
    })
  })

  test.each([
    ['from=soon', 'invalid_range'],
    ['from=2026-13-01T00:00:00Z', 'invalid_range'],
    ['to=now%2B', 'invalid_range'],
    ['from=2026-01-16T00:00:00Z&to=2026-01-15T00:00:00Z', 'invalid_range'],
    ['from=2026-01-15T00:00:00Z&to=-99999h', 'invalid_range'],
    ['fill=nothing', 'invalid_range'],
    ['interval=0s', 'invalid_interval'],
    ['interval=-1m', 'invalid_interval'],
    ['interval=5', 'invalid_interval'],
    ['interval=1.5', 'invalid_interval'],
    ['interval=fortnight', 'invalid_interval'],
    ['interval=1000y', 'invalid_interval'],
    ['interval=7s', 'invalid_interval'],
    ['interval=1h&timezone=Mars/Olympus', 'invalid_interval'],
    ['from=2025-01-15T00:00:00Z&to=2026-01-15T00:00:00Z&interval=10s', 'query_too_large'],
    ['from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59Z&interval=1h', 'query_too_large'],
    [`aggregation=${Array.from({ length: 21 }, (_, i) => `p${i}`).join(',')}`, 'query_too_large'],
    ['group_by=host', 'invalid_group_by'],
    ['group_by=tags.', 'invalid_group_by'],
    ['group_by=series,tags.a', 'invalid_group_by'],
    [`group_by=${Array.from({ length: 9 }, (_, i) => `tags.t${i}`).join(',')}`, 'invalid_group_by'],
    ['tags=a', 'invalid_tags'],
    ['tags[]=a', 'invalid_tags'],
  ])('?%s', async (query, code) => {
    expect(await get(`/metrics/q.distribution/query?${query}`)).toMatchObject({
      status: 400,
      body: { error: { code } },
    })
  })

  test('all of time is answered where the interval allows', async () => {
    const all = 'from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59Z'
    const { status, body } = await get(`/metrics/q.gauge/query?${all}&aggregation=count`)
    expect([status, body]).toMatchObject([200, { data: { series: [{ value: 1 }] } }])
  })
})

describe('`__proto__` is a name like any other', () => {
  test('of a tag, of its value and of a metric', async () => {
    const item = (tags: string) =>
      `{"name":"__proto__","type":"counter","value":1,"timestamp":"${TIME}","tags":${tags}}`
    const body = `[${item('{"__proto__":"a"}')},${item('{"__proto__":"__proto__"}')},${item('{"constructor":"x"}')}]`
    expect(await send('/metrics/batch', body)).toMatchObject({ status: 201, body: { data: { accepted: 3 } } })
    const response = await fetch(`${gateway.url}/api/v1/metrics/__proto__/query?${DAY}&group_by=tags.__proto__`, {
      headers: { 'x-api-key': gateway.key },
    })
    const row = '[{"timestamp":"2026-01-15T00:00:00Z","value":1}]'
    expect(await response.text()).toBe(`{"data":{"groups":{"":${row},"__proto__":${row},"a":${row}}}}`)
    expect(await series('__proto__', '&tags[__proto__]=__proto__')).toMatchObject({ data: { series: [{ value: 1 }] } })
    expect(await get('/metrics/__proto__')).toMatchObject({
      body: { data: { name: '__proto__', tags: ['__proto__', 'constructor'], data_points: 3 } },
    })
    expect(Object.prototype).not.toHaveProperty('a')
  })

  test('a batch that is an object with it beside metrics', async () => {
    const body = `{"__proto__":{"x":1},"metrics":[${JSON.stringify(point('proto.beside', 'counter', 1))}]}`
    expect(await send('/metrics/batch', body)).toMatchObject({ status: 201, body: { data: { accepted: 1 } } })
  })
})

test('of two types that claim a name at the same time one wins, and nothing mixes', async () => {
  for (let round = 0; round < 10; round++) {
    const name = `race.${round}`
    const responses = await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        post('/metrics/batch', [
          point(name, i % 2 === 0 ? 'gauge' : 'counter', 1),
          point(`${name}.other`, 'counter', 1),
        ]),
      ),
    )
    const { body } = await get(`/metrics/${name}`)
    expect(body).toMatchObject({ data: { data_points: 4, type: expect.stringMatching(/gauge|counter/) } })
    const accepted = responses.filter(({ body: responseBody }) => JSON.stringify(responseBody).includes('"accepted":2'))
    expect(accepted).toHaveLength(4)
    for (const response of responses) {
      if (accepted.includes(response)) continue
      expect(response).toMatchObject({
        status: 201,
        body: { data: { accepted: 1, rejected: 1 }, errors: [{ index: 0, code: 'type_conflict' }] },
      })
    }
    expect(await series(name, '&aggregation=count')).toMatchObject({ data: { series: [{ value: 4 }] } })
    expect(await series(`${name}.other`)).toMatchObject({ data: { series: [{ value: 8 }] } })
  }
  expect(await post('/metrics', point('race.0.other', 'gauge', 1))).toEqual(failed(409, 'type_conflict', /counter/))
})

test('a batch stores its good items and reports the others by index and code, in order', async () => {
  const { status, body } = await post('/metrics/batch', {
    metrics: [
      point('mixed', 'counter', 1),
      point('mixed', 'gauge', 1),
      point('mixed', 'counter', 'x'),
      7,
      point('mixed', 'counter', 2),
      point('', 'counter', 4),
      point('mixed', 'counter', 8, { timestamp: 'x' }),
      point('mixed', 'counter', 16, { tags: { a: 'b' } }),
    ],
  })
  expect([status, body]).toMatchObject([
    201,
    {
      data: { accepted: 3, rejected: 5 },
      errors: [
        { index: 1, code: 'type_conflict' },
        { index: 2, code: 'invalid_value' },
        { index: 3, code: 'invalid_body' },
        { index: 5, code: 'missing_name' },
        { index: 6, code: 'invalid_timestamp' },
      ],
    },
  ])
  expect(await series('mixed')).toMatchObject({ data: { series: [{ value: 19 }] } })
})

describe('a metric with as many series as it may have', () => {
  const hostPoint = (host: number, value = 1): object => point('limited', 'counter', value, { tags: { host } })

  test('takes points of those and no new one, also after a restart', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'gaugeql-limit-'))
    const env = { SERIES_PER_METRIC_MAX: '5' }
    const shared = gateway
    gateway = await startGateway({ folder, env })
    try {
      expect(
        await post(
          '/metrics/batch',
          [0, 1, 2].map((host) => hostPoint(host)),
        ),
      ).toMatchObject({ body: { data: { accepted: 3 } } })
      const over = { errors: [2, 3].map((index) => ({ index, code: 'series_limit_exceeded' })) }
      expect(
        await post(
          '/metrics/batch',
          [3, 4, 5, 6, 0].map((host) => hostPoint(host)),
        ),
      ).toMatchObject({
        status: 201,
        body: { data: { accepted: 3, rejected: 2 }, ...over },
      })
      expect(await post('/metrics', hostPoint(7))).toEqual(failed(422, 'series_limit_exceeded', /5/))
      await gateway.close()
      gateway = await startGateway({ folder, env })
      expect(await post('/metrics', hostPoint(7))).toEqual(failed(422, 'series_limit_exceeded'))
      expect(
        await post(
          '/metrics/batch',
          [0, 1, 2, 3, 4].map((host) => hostPoint(host)),
        ),
      ).toMatchObject({
        body: { data: { accepted: 5, rejected: 0 } },
      })
      expect(
        await post(
          '/metrics/batch',
          [4, 8].map((host) => hostPoint(host)),
        ),
      ).toMatchObject({
        body: { data: { accepted: 1, rejected: 1 } },
      })
      expect(await post('/metrics', point('unlimited', 'counter', 1, { tags: { host: 8 } }))).toMatchObject({
        status: 201,
      })
      expect(await series('limited')).toMatchObject({ data: { series: [{ value: 12 }] } })
    } finally {
      await gateway.close()
      gateway = shared
      await rm(folder, { recursive: true, force: true })
    }
  })

  test('is not taken over its limit by requests at the same time', async () => {
    const hosts = Array.from({ length: 12 }, (_, i) => ({ at: TIME, value: 1, tags: { host: String(i) } }))
    // In one turn of the event loop, closer than any two HTTP requests.
    const rejected = await Promise.all(hosts.map((sample) => track(gateway, 'crowded', 'counter', [sample])))
    expect(rejected.flat().map(({ code }) => code)).toEqual(new Array(7).fill('series_limit_exceeded'))
    const responses = await Promise.all(
      Array.from({ length: 12 }, (_, i) => post('/metrics', point('crowded', 'counter', 1, { tags: { host: i } }))),
    )
    expect(responses.filter(({ status }) => status === 201)).toHaveLength(5)
    expect(responses.filter(({ status }) => status === 422)).toHaveLength(7)
    const { groups } = await gateway.gateway.query('test', { metric: 'crowded', from: TIME, to: TIME, bySeries: true })
    expect(groups.map(({ totals }) => totals.get('sum'))).toEqual([2, 2, 2, 2, 2])
  })
})
