import { beforeEach, expect, test } from 'vitest'
import { type Harness, startGraphQL } from '../harness.ts'

let graphql: Harness
beforeEach(() => {
  graphql = startGraphQL()
})

test('series are chart lines with columns, points and a total, in the requested order', async () => {
  const { data } = await graphql.run(`{
    query(metric: "latency", aggregations: [P95, AVG], quantiles: [0.999]) {
      from to interval timezone
      metric { name }
      series { label aggregation seriesId tags timestamps values total points { timestamp value complete } }
      meta { resolutions rollupsRead blocksRead cacheHits exact durationMs now }
    }
  }`)
  expect(data.query).toMatchObject({
    from: '2024-01-15T10:00:00Z',
    to: '2024-01-15T13:00:00Z',
    interval: '1h',
    timezone: 'UTC',
    metric: { name: 'latency' },
    meta: {
      resolutions: ['10s'],
      rollupsRead: 7,
      blocksRead: 2,
      cacheHits: 1,
      exact: true,
      durationMs: 0.5,
      now: '2024-01-15T12:30:00Z',
    },
  })
  expect(data.query.series.map((line: { label: string }) => line.label)).toEqual(['p95', 'avg', 'p99.9'])
  expect(data.query.series[0]).toEqual({
    label: 'p95',
    aggregation: 'p95',
    seriesId: null,
    tags: {},
    timestamps: [Date.parse('2024-01-15T10:00:00Z'), Date.parse('2024-01-15T12:00:00Z')],
    values: [10, 11],
    total: 1_000,
    points: [
      { timestamp: '2024-01-15T10:00:00Z', value: 10, complete: true },
      { timestamp: '2024-01-15T12:00:00Z', value: 11, complete: false },
    ],
  })
})

test.each([
  ['NONE', [10, 11], [10, 11]],
  ['NULL', [10, null, 11], [10, null, 11]],
  ['ZERO', [10, 0, 11], [10, 0, 11]],
  ['PREVIOUS', [10, 10, 11], [10, 10, 11]],
])('fill %s treats empty buckets alike in series and groups', async (fill, line, buckets) => {
  const { data } = await graphql.run(
    `query ($fill: Fill) {
      query(metric: "latency", aggregations: [AVG], fill: $fill) {
        series { values timestamps }
        groups { buckets { start values { avg rate } } }
      }
    }`,
    { fill },
  )
  expect(data.query.series[0].values).toEqual(line)
  expect(data.query.series[0].timestamps).toHaveLength(line.length)
  const rows: { values: { avg: number | null; rate: number | null } }[] = data.query.groups[0].buckets
  expect(rows.map((row) => row.values.avg)).toEqual(buckets)
  // what the type does not support is null, however gaps are filled
  expect(rows.map((row) => row.values.rate)).toEqual(buckets.map(() => null))
})

test('groups have the groupBy tags, a missing tag as an empty string', async () => {
  const { data } = await graphql.run(`{
    query(metric: "latency", groupBy: ["endpoint", "__proto__"]) {
      groups { tags tag(key: "endpoint") other: tag(key: "region") total { avg } buckets { start end complete values { avg } } }
      series { id label }
    }
  }`)
  const { groups, series } = data.query
  expect(groups.map((group: { tag: string }) => group.tag)).toEqual(['', '/orders', '/users'])
  expect(Object.entries(groups[1].tags)).toEqual([
    ['endpoint', '/orders'],
    ['__proto__', '/orders'],
  ])
  expect(groups[1]).toMatchObject({ other: null, total: { avg: 1_000 } })
  expect(groups[1].buckets).toEqual([
    { start: '2024-01-15T10:00:00Z', end: '2024-01-15T11:00:00Z', complete: true, values: { avg: 10 } },
    { start: '2024-01-15T12:00:00Z', end: '2024-01-15T13:00:00Z', complete: false, values: { avg: 11 } },
  ])
  expect(series.map((line: { label: string }) => line.label)).toEqual([
    'avg · no endpoint, no __proto__',
    'avg · /orders, /orders',
    'avg · /users, /users',
  ])
  expect(new Set(series.map((line: { id: string }) => line.id)).size).toBe(3)
})

test('the id of a line is stable across requests and differs per aggregation', async () => {
  const ask = async (aggregations: string): Promise<readonly { id: string; seriesId: string }[]> => {
    const { data } = await graphql.run(
      `{ query(metric: "latency", bySeries: true, aggregations: [${aggregations}]) { series { id seriesId } } }`,
    )
    return data.query.series
  }
  const [p95, avg] = await ask('P95, AVG')
  const [again] = await ask('AVG')
  expect(again?.id).toBe(avg?.id)
  expect(p95?.id).not.toBe(avg?.id)
  expect(p95?.seriesId).toBe('0000000100000002')
})

test('arguments reach the gateway as the same query that REST sends', async () => {
  await graphql.run(
    `query ($tags: TagSelector) {
      query(metric: "latency", from: "-6h", to: 1705314600, interval: "5m", timezone: "Europe/Berlin", aggregations: [P999, MAX],
        quantiles: [0.5], tags: $tags, groupBy: ["a"], bySeries: false, fill: PREVIOUS) { interval }
    }`,
    '{"tags":{"endpoint":["/users","/orders"],"status":200,"__proto__":"x"}}',
  )
  expect(graphql.gateway.queries).toEqual([
    {
      metric: 'latency',
      from: '-6h',
      to: 1705314600,
      interval: '5m',
      timezone: 'Europe/Berlin',
      aggregations: ['p999', 'max'],
      quantiles: [0.5],
      tags: new Map([
        ['endpoint', ['/users', '/orders']],
        ['status', ['200']],
        ['__proto__', ['x']],
      ]),
      groupBy: ['a'],
      bySeries: false,
      fill: 'previous',
      optionalAggregations: [],
      totals: false,
    },
  ])
})

test('filters reach the gateway, and null operators count as absent', async () => {
  await graphql.run(`{
    query(metric: "latency", where: [
      { key: "endpoint", glob: "/api/*", neq: "/api/health", eq: null }
      { key: "status", in: ["200"], notIn: ["500"], startsWith: "2", exists: true }
      { key: "region", eq: "" }
    ]) { interval }
  }`)
  expect(graphql.gateway.queries[0]?.where).toEqual([
    { key: 'endpoint', glob: '/api/*', neq: '/api/health' },
    { key: 'status', in: ['200'], notIn: ['500'], startsWith: '2', exists: true },
    { key: 'region', eq: '' },
  ])
})

test('null arguments count as absent', async () => {
  await graphql.run('{ query(metric: "latency", from: null, last: null, tags: null, fill: null) { interval } }')
  expect(graphql.gateway.queries).toEqual([{ metric: 'latency', optionalAggregations: [], totals: false }])
})

test.each(['7', '["a"]', '{"a":null}', '{"a":[]}', '{"a":{"b":1}}', '{"a":["x",null]}'])(
  'the tag selector %s is refused',
  async (tags) => {
    const { errors } = await graphql.run(
      'query ($tags: TagSelector) { query(metric: "latency", tags: $tags) { interval } }',
      `{"tags":${tags}}`,
    )
    expect(errors).toMatchObject([{ path: ['query'], extensions: { code: 'INVALID_TAGS' } }])
  },
)

test('an unknown metric is an error in a query and null in the catalog', async () => {
  const { data, errors } = await graphql.run('{ query(metric: "nope") { interval } metric(name: "nope") { name } }')
  expect(data).toEqual({ query: null, metric: null })
  expect(errors).toMatchObject([{ path: ['query'], extensions: { code: 'METRIC_NOT_FOUND' } }])
})

test('an aggregation of another type is refused, and the error lists those that the type supports', async () => {
  const { errors } = await graphql.run('{ query(metric: "requests", aggregations: [P95]) { interval } }')
  expect(errors).toMatchObject([
    {
      message: expect.stringContaining('sum, count, last, rate'),
      extensions: { code: 'INVALID_AGGREGATION', allowed: ['sum', 'count', 'last', 'rate'] },
    },
  ])
})

test('an error in one alias leaves the others', async () => {
  const { data, errors } = await graphql.run(`{
    good: query(metric: "latency") { interval }
    bad: query(metric: "nope") { interval }
    nested: metric(name: "latency") { name query(aggregations: [RATE]) { interval } }
  }`)
  expect(data).toEqual({ good: { interval: '1h' }, bad: null, nested: { name: 'latency', query: null } })
  expect(errors?.map((error) => error.path)).toEqual(expect.arrayContaining([['bad'], ['nested', 'query']]))
})

test('the queries of one request are limited, however they are written', async () => {
  graphql = startGraphQL({ queriesMax: 4 })
  const { data, errors } = await graphql.run(
    '{ a: query(metric: "latency") { interval metric { b: query { interval } } } metrics { nodes { query { interval } } } }',
  )
  // The listing is the fourth.
  expect(graphql.gateway.queries).toHaveLength(3)
  expect(data.a.interval).toBe('1h')
  expect(errors).toMatchObject([{ extensions: { code: 'QUERY_TOO_LARGE', max: 4 } }])
})

test('listings count as queries, filtered ones as several', async () => {
  graphql = startGraphQL({ queriesMax: 6 })
  const listing = (name: string, args: string) => `${name}: metrics${args} { nodes { name } }`
  const plain = await graphql.run(`{ ${listing('a', '(search: "x")')} ${listing('b', '')} }`)
  expect(plain.errors).toBeUndefined()
  const { errors } = await graphql.run(`{ ${listing('a', '(search: "x")')} ${listing('b', '(search: "y")')} }`)
  expect(errors).toMatchObject([{ path: ['b'], extensions: { code: 'QUERY_TOO_LARGE' } }])
})

test('an invalid scalar is refused by GraphQL, which names the argument', async () => {
  const { data, errors } = await graphql.run('{ query(metric: "latency", last: 6) { interval } }')
  expect(data).toBeUndefined()
  expect(errors?.[0]?.message).toContain('Duration')
})
