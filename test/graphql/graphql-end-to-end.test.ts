import { afterAll, beforeAll, expect, test } from 'vitest'
import { startGateway } from '../support/gateway.ts'
import type { GraphQLResponse } from './harness.ts'

let gateway: Awaited<ReturnType<typeof startGateway>>
beforeAll(async () => {
  gateway = await startGateway()
})
afterAll(async () => {
  await gateway.close()
})

async function graphql(query: string, variables: object = {}): Promise<GraphQLResponse> {
  const response = await fetch(`${gateway.url}/graphql`, {
    method: 'POST',
    headers: { authorization: `Bearer ${gateway.key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables }),
  })
  expect(response.status).toBe(200)
  return JSON.parse(await response.text())
}

async function rest(path: string, body?: object): Promise<unknown> {
  const response = await fetch(`${gateway.url}/api/v1${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { 'x-api-key': gateway.key, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  expect(response.ok).toBe(true)
  return JSON.parse(await response.text())
}

const TRACK_ALL =
  'mutation ($metrics: [MetricInput!]!) { trackMetrics(metrics: $metrics) { accepted rejected errors { index code } } }'

test('tracked points are in series, in groups and in REST', async () => {
  const at = (minute: number) => `2024-01-15T10:${String(minute).padStart(2, '0')}:00Z`
  const point = (minute: number, value: number, endpoint: string) => ({
    name: 'e2e.latency',
    type: 'DISTRIBUTION',
    value,
    timestamp: at(minute),
    tags: { endpoint },
  })
  const single = await graphql(
    'mutation ($input: MetricInput!) { trackMetric(input: $input) { name type value timestamp tags metric { dataPoints } } }',
    { input: { ...point(0, 100, '/users'), unit: 'ms', description: 'time to respond' } },
  )
  expect(single).toEqual({
    data: {
      trackMetric: {
        name: 'e2e.latency',
        type: 'DISTRIBUTION',
        value: 100,
        timestamp: at(0),
        tags: { endpoint: '/users' },
        metric: { dataPoints: 1 },
      },
    },
  })
  const batch = await graphql(TRACK_ALL, {
    metrics: [point(1, 300, '/users'), point(2, 50, '/orders'), { ...point(3, 1, '/users'), value: 'x' }],
  })
  expect(batch).toEqual({
    data: { trackMetrics: { accepted: 2, rejected: 1, errors: [{ index: 2, code: 'INVALID_VALUE' }] } },
  })
  await rest('/metrics', { ...point(30, 200, '/orders'), type: 'distribution' })

  const { data, errors } = await graphql(`{
    query(metric: "e2e.latency", from: "2024-01-15T10:00:00Z", to: "2024-01-15T10:59:59Z", interval: "1h",
      aggregations: [AVG, COUNT], groupBy: ["endpoint"]) {
      interval
      metric { type unit description dataPoints tagKeys seriesCount firstSeen lastSeen }
      series { label timestamps values total }
      groups {
        endpoint: tag(key: "endpoint")
        total { count max p50 rate }
        buckets { start end complete values { sum top: quantile(q: 1) } }
      }
    }
  }`)
  expect(errors).toBeUndefined()
  const timestamps = [Date.parse(at(0))]
  expect(data.query).toEqual({
    interval: '1h',
    metric: {
      type: 'DISTRIBUTION',
      unit: 'ms',
      description: 'time to respond',
      dataPoints: 4,
      tagKeys: ['endpoint'],
      seriesCount: 2,
      firstSeen: at(0),
      lastSeen: at(30),
    },
    series: [
      { label: 'avg · /orders', timestamps, values: [125], total: 125 },
      { label: 'count · /orders', timestamps, values: [2], total: 2 },
      { label: 'avg · /users', timestamps, values: [200], total: 200 },
      { label: 'count · /users', timestamps, values: [2], total: 2 },
    ],
    groups: [
      {
        endpoint: '/orders',
        total: { count: 2, max: 200, p50: expect.closeTo(125, -0.3), rate: null },
        buckets: [{ start: at(0), end: '2024-01-15T11:00:00Z', complete: true, values: { sum: 250, top: 200 } }],
      },
      {
        endpoint: '/users',
        total: { count: 2, max: 300, p50: expect.closeTo(200, -0.6), rate: null },
        buckets: [{ start: at(0), end: '2024-01-15T11:00:00Z', complete: true, values: { sum: 400, top: 300 } }],
      },
    ],
  })

  const range = 'from=2024-01-15T10:00:00Z&to=2024-01-15T10:59:59Z&interval=1h'
  expect(await rest(`/metrics/e2e.latency/query?${range}&aggregation=avg&group_by=tags.endpoint`)).toEqual({
    data: {
      groups: {
        '/orders': [{ timestamp: at(0), value: 125 }],
        '/users': [{ timestamp: at(0), value: 200 }],
      },
    },
  })
})

test('every type can be tracked and queried', async () => {
  const timestamp = '2024-02-01T00:00:00Z'
  const { data } = await graphql(TRACK_ALL, {
    metrics: [
      { name: 'e2e.gauge', type: 'GAUGE', value: 1, timestamp },
      { name: 'e2e.gauge', type: 'GAUGE', value: 3, timestamp },
      { name: 'e2e.counter', type: 'COUNTER', value: 30, timestamp },
      { name: 'e2e.set', type: 'SET', value: 'ann', timestamp },
      { name: 'e2e.set', type: 'SET', value: 'bob', timestamp },
      { name: 'e2e.set', type: 'SET', value: 'ann', timestamp },
      { name: 'e2e.gauge', type: 'COUNTER', value: 1, timestamp },
    ],
  })
  expect(data.trackMetrics).toEqual({ accepted: 6, rejected: 1, errors: [{ index: 6, code: 'TYPE_CONFLICT' }] })
  const response = await graphql(
    `
    query ($from: DateTime) {
      gauge: query(metric: "e2e.gauge", from: $from, to: $from, interval: "1m") { series { aggregation values } }
      counter: query(metric: "e2e.counter", from: $from, to: "2024-02-01T00:00:59Z", interval: "1m") {
        series { aggregation values }
        groups { total { sum rate p95 } }
      }
      set: query(metric: "e2e.set", from: $from, to: $from, interval: "1m") { series { aggregation values total } }
      metrics(search: "E2E.", first: 2, type: GAUGE) { nodes { name aggregations } pageInfo { hasNextPage } }
    }`,
    { from: timestamp },
  )
  expect(response).toEqual({
    data: {
      gauge: { series: [{ aggregation: 'last', values: [3] }] },
      counter: {
        series: [{ aggregation: 'sum', values: [30] }],
        groups: [{ total: { sum: 30, rate: 0.5, p95: null } }],
      },
      set: { series: [{ aggregation: 'count', values: [2], total: 2 }] },
      metrics: {
        nodes: [{ name: 'e2e.gauge', aggregations: ['COUNT', 'SUM', 'AVG', 'MIN', 'MAX', 'RANGE', 'FIRST', 'LAST'] }],
        pageInfo: { hasNextPage: false },
      },
    },
  })
})

test('__proto__ is an ordinary tag key all the way', async () => {
  const tags = JSON.parse('{"__proto__":"x","constructor":"y"}')
  await graphql(TRACK_ALL, { metrics: [{ name: 'e2e.proto', type: 'GAUGE', value: 1, tags }] })
  const { data } = await graphql(
    'query ($tags: TagSelector) { query(metric: "e2e.proto", tags: $tags, groupBy: ["__proto__"]) { groups { tags total { last } } } }',
    { tags },
  )
  expect(data.query.groups).toHaveLength(1)
  expect(Object.entries(data.query.groups[0].tags)).toEqual([['__proto__', 'x']])
  expect(data.query.groups[0].total.last).toBe(1)
})

test('where filters series, and so groups', async () => {
  const hosts = ['web-1', 'web-2', 'db-1', undefined]
  await graphql(TRACK_ALL, {
    metrics: hosts.map((host, i) => ({
      name: 'e2e.where',
      type: 'COUNTER',
      value: 2 ** i,
      ...(host && { tags: { host } }),
    })),
  })
  const sumOf = async (where: string): Promise<number | null> => {
    const { data, errors } = await graphql(`{ query(metric: "e2e.where", where: [${where}]) { series { total } } }`)
    expect(errors).toBeUndefined()
    return data.query.series[0].total
  }
  expect(await sumOf('{key: "host", glob: "web-?"}')).toBe(3)
  expect(await sumOf('{key: "host", neq: "web-1"}')).toBe(14)
  expect(await sumOf('{key: "host", exists: false}')).toBe(8)
  expect(await sumOf('{key: "host", startsWith: "web"}, {key: "host", notIn: ["web-1"]}')).toBe(2)
  expect(await sumOf('{key: "host", eq: "nobody"}')).toBeNull()
  const { data } = await graphql(
    '{ metric(name: "e2e.where") { tagValues(key: "host", first: 2) { value seriesCount } } }',
  )
  expect(data.metric.tagValues).toEqual([
    { value: 'db-1', seriesCount: 1 },
    { value: 'web-1', seriesCount: 1 },
  ])
})

test('top groups come with a remainder that differs from every tag value', async () => {
  const hosts = ['other', 'b', 'c', 'd']
  await graphql(TRACK_ALL, {
    metrics: hosts.flatMap((host, i) =>
      ['x', 'y'].map((user) => ({ name: 'e2e.top', type: 'SET', value: `${user}${i % 2}`, tags: { host } })),
    ),
  })
  const { data, errors } = await graphql(`{
    query(metric: "e2e.top", groupBy: ["host"], top: { n: 1, by: COUNT, direction: ASC, other: true }) {
      groups { tags tag(key: "host") total { count } }
      series { id label tags total }
    }
    other: query(metric: "e2e.top", groupBy: ["host"], where: [{ key: "host", eq: "other" }]) { series { id label tags } }
  }`)
  expect(errors).toBeUndefined()
  // Equal counts: the first by its tags.
  expect(data.query.groups).toEqual([
    { tags: { host: 'b' }, tag: 'b', total: { count: 2 } },
    { tags: null, tag: null, total: { count: 4 } },
  ])
  expect(data.query.series.map((line: { label: string }) => line.label)).toEqual(['count · b', 'count · other'])
  expect(data.other.series[0]).toMatchObject({ label: 'count · other', tags: { host: 'other' } })
  expect(data.other.series[0].id).not.toBe(data.query.series[1].id)
})

test('a query is compared with an earlier range, in lines and in buckets', async () => {
  const at = (day: number, hour: number): string => `2024-03-0${day}T0${hour}:30:00Z`
  await graphql(TRACK_ALL, {
    metrics: [
      { name: 'e2e.compare', type: 'COUNTER', value: 5, timestamp: at(8, 1) },
      { name: 'e2e.compare', type: 'COUNTER', value: 7, timestamp: at(8, 3) },
      { name: 'e2e.compare', type: 'COUNTER', value: 2, timestamp: at(1, 1) },
      { name: 'e2e.compare', type: 'COUNTER', value: 3, timestamp: at(1, 2) },
    ],
  })
  const ask = (compare: string) =>
    graphql(`{
      query(metric: "e2e.compare", from: "2024-03-08T00:00:00Z", to: "2024-03-08T03:59:59Z", interval: "1h" ${compare}) {
        series {
          id label timestamps values total
          comparison { id label timestamps values total points { timestamp value complete } comparison { id } }
        }
        groups { buckets { start values { sum } previous { sum count } } }
      }
    }`)
  const { data, errors } = await ask(', compare: { offset: "1w" }')
  expect(errors).toBeUndefined()
  const hours = (day: number): number[] => [1, 2, 3].map((hour) => Date.UTC(2024, 2, day, hour))
  const [line] = data.query.series
  expect(line).toMatchObject({ label: 'sum', timestamps: hours(8), values: [5, null, 7], total: 12 })
  expect(line.comparison).toMatchObject({
    label: 'sum · 1w before',
    timestamps: hours(1),
    values: [2, 3, null],
    total: 5,
    comparison: null,
  })
  expect(line.comparison.points[0]).toEqual({ timestamp: '2024-03-01T01:00:00Z', value: 2, complete: true })
  expect(line.comparison.id).not.toBe(line.id)
  expect(data.query.groups[0].buckets).toEqual([
    { start: '2024-03-08T01:00:00Z', values: { sum: 5 }, previous: { sum: 2, count: 1 } },
    { start: '2024-03-08T02:00:00Z', values: { sum: null }, previous: { sum: 3, count: 1 } },
    { start: '2024-03-08T03:00:00Z', values: { sum: 7 }, previous: { sum: null, count: null } },
  ])
  const alone = await ask('')
  expect(alone.data.query.series[0]).toMatchObject({ values: [5, 7], comparison: null })
  expect(alone.data.query.groups[0].buckets[0].previous).toBeNull()
  const both = await ask(', compare: { offset: "1w", previousPeriod: true }')
  expect(both.errors?.[0]?.message).toContain('exactly one')
})

test('a query is validated like that of REST', async () => {
  const { data, errors } = await graphql(`{
    aggregation: query(metric: "e2e.gauge", aggregations: [P95]) { interval }
    interval: query(metric: "e2e.gauge", interval: "soon") { interval }
    range: query(metric: "e2e.gauge", from: "never") { interval }
    quantile: query(metric: "e2e.latency", quantiles: [1.5]) { interval }
    missing: query(metric: "e2e.none") { interval }
  }`)
  expect(data).toEqual({ aggregation: null, interval: null, range: null, quantile: null, missing: null })
  const codes = Object.fromEntries((errors ?? []).map((error) => [error.path?.[0], error.extensions?.['code']]))
  expect(codes).toEqual({
    aggregation: 'INVALID_AGGREGATION',
    interval: 'INVALID_INTERVAL',
    range: 'INVALID_RANGE',
    quantile: 'INVALID_AGGREGATION',
    missing: 'METRIC_NOT_FOUND',
  })
})
