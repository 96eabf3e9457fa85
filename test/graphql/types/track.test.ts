import { beforeEach, expect, test } from 'vitest'
import { NOW_MS } from '../../support/fake-graphql-gateway.ts'
import { type Harness, startGraphQL } from '../harness.ts'

let graphql: Harness
beforeEach(() => {
  graphql = startGraphQL()
})

const TRACK = `mutation ($input: MetricInput!) {
  trackMetric(input: $input) { name type value timestamp tags metric { name dataPoints } }
}`
const TRACK_ALL = `mutation ($metrics: [MetricInput!]!) {
  trackMetrics(metrics: $metrics) { accepted rejected errors { index code message } }
}`

test('a tracked point is returned as it is stored', async () => {
  const input = {
    name: 'latency',
    type: 'DISTRIBUTION',
    value: 145.2,
    timestamp: '2024-01-15T11:30:00+01:00',
    tags: { status: 200, endpoint: '/users', empty: '', absent: null },
  }
  expect(await graphql.run(TRACK, { input })).toEqual({
    data: {
      trackMetric: {
        name: 'latency',
        type: 'DISTRIBUTION',
        value: 145.2,
        timestamp: '2024-01-15T10:30:00Z',
        tags: { endpoint: '/users', status: '200' },
        metric: { name: 'latency', dataPoints: 5_000_000_000 },
      },
    },
  })
  expect(graphql.gateway.points).toMatchObject([
    { name: 'latency', type: 'distribution', value: 145.2, timeMs: Date.parse('2024-01-15T10:30:00Z') },
  ])
})

test('a point without a timestamp gets the current time, and the value of a set is a string', async () => {
  const response = await graphql.run(
    'mutation { trackMetric(input: {name: "u", type: SET, value: "42"}) { value timestamp } }',
  )
  expect(response).toEqual({ data: { trackMetric: { value: '42', timestamp: '2024-01-15T12:30:00Z' } } })
  expect(graphql.gateway.points[0]?.timeMs).toBe(NOW_MS)
})

test.each([
  [{ value: '145' }, 'INVALID_VALUE'],
  [{ value: null }, 'INVALID_VALUE'],
  [{ value: { a: 1 } }, 'INVALID_VALUE'],
  [{ name: '' }, 'MISSING_NAME'],
  [{ type: 'HISTOGRAM' }, 'INVALID_TYPE'],
  [{ timestamp: 'yesterday' }, 'INVALID_TIMESTAMP'],
  [{ timestamp: [1] }, 'INVALID_TIMESTAMP'],
  [{ tags: { a: {} } }, 'INVALID_TAGS'],
  [{ tags: ['a'] }, 'INVALID_TAGS'],
  [{ name: 'requests' }, 'TYPE_CONFLICT'],
])('a point with %j is refused as %s', async (change, code) => {
  const input = { name: 'latency', type: 'DISTRIBUTION', value: 1, ...change }
  const { data, errors } = await graphql.run(TRACK, { input })
  expect(data).toEqual({ trackMetric: null })
  expect(errors).toMatchObject([{ path: ['trackMetric'], extensions: { code } }])
  expect(graphql.gateway.points).toEqual([])
})

test('a batch stores its valid items and reports the invalid ones by index', async () => {
  const good = { name: 'latency', type: 'DISTRIBUTION', value: 1 }
  const metrics = [good, { ...good, value: 'x' }, good, { ...good, tags: 7 }, { ...good, type: 'SUMMARY' }]
  const { data } = await graphql.run(TRACK_ALL, { metrics })
  expect(data.trackMetrics).toMatchObject({ accepted: 2, rejected: 3 })
  expect(data.trackMetrics.errors).toMatchObject([
    { index: 1, code: 'INVALID_VALUE', message: expect.stringContaining('finite number') },
    { index: 3, code: 'INVALID_TAGS' },
    { index: 4, code: 'INVALID_TYPE' },
  ])
  expect(graphql.gateway.points).toHaveLength(2)
})

test('a batch of 500 is stored, one more is too large and stores nothing', async () => {
  const item = { name: 'latency', type: 'DISTRIBUTION', value: 1 }
  const full = await graphql.run(TRACK_ALL, { metrics: Array(500).fill(item) })
  expect(full.data.trackMetrics).toMatchObject({ accepted: 500, rejected: 0, errors: [] })
  const { errors } = await graphql.run(TRACK_ALL, { metrics: Array(501).fill(item) })
  expect(errors).toMatchObject([{ extensions: { code: 'BATCH_TOO_LARGE', max: 500 } }])
  expect(graphql.gateway.points).toHaveLength(500)
})

test('a batch may be as large as the limit that `viewer` shows, above the limit of lists too', async () => {
  const wide = startGraphQL({ batchItemsMax: 1_500 })
  const item = { name: 'latency', type: 'DISTRIBUTION', value: 1 }
  const metrics = Array(1_500).fill(item)
  expect((await wide.run('{ viewer { limits { batchItems } } }')).data.viewer.limits).toEqual({ batchItems: 1_500 })
  const fromVariable = await wide.run(TRACK_ALL, { metrics })
  expect(fromVariable.data?.trackMetrics).toMatchObject({ accepted: 1_500 })
  const literal = '{name: "latency", type: DISTRIBUTION, value: 1}'
  const fromLiteral = await wide.run(`mutation { trackMetrics(metrics: [${literal.repeat(1_500)}]) { accepted } }`)
  expect(fromLiteral.data).toEqual({ trackMetrics: { accepted: 1_500 } })
  const { errors } = await wide.run(TRACK_ALL, { metrics: [...metrics, item] })
  expect(errors).toMatchObject([{ extensions: { code: 'BATCH_TOO_LARGE', max: 1_500 } }])
})

test('a batch of 500 may be written as literals', async () => {
  const item =
    '{name: "latency", type: DISTRIBUTION, value: 1.5, timestamp: 1705314600, tags: {a: "1", b: "2", c: "3"}}'
  const { data } = await graphql.run(`mutation { trackMetrics(metrics: [${item.repeat(500)}]) { accepted } }`)
  expect(data).toEqual({ trackMetrics: { accepted: 500 } })
})

test.each([
  [{ colour: 'red' }, 'colour'],
  [{ type: 'gauge' }, 'gauge'],
  [{ type: undefined }, 'type'],
  [{ name: undefined }, 'name'],
])('an item with %j refuses the whole batch, names the path and stores nothing', async (change, named) => {
  const good = { name: 'latency', type: 'DISTRIBUTION', value: 1 }
  const { data, errors } = await graphql.run(TRACK_ALL, { metrics: [good, { ...good, ...change }] })
  expect(data).toBeUndefined()
  expect(errors?.[0]?.message).toContain('metrics[1]')
  expect(errors?.[0]?.message).toContain(named)
  expect(graphql.gateway.points).toEqual([])
})

test('__proto__ is an ordinary tag key in variables and in literals', async () => {
  const fromVariable = await graphql.run(
    TRACK,
    '{"input":{"name":"a","type":"GAUGE","value":1,"tags":{"__proto__":"x","constructor":"y"}}}',
  )
  const fromLiteral = await graphql.run(
    'mutation { trackMetric(input: {name: "a", type: GAUGE, value: 1, tags: {__proto__: "x", constructor: "y"}}) { tags } }',
  )
  for (const { data } of [fromVariable, fromLiteral]) {
    expect(Object.entries(data.trackMetric.tags)).toEqual([
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ])
  }
  expect(graphql.gateway.points.map((point) => point.tags)).toEqual(
    Array(2).fill([
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ]),
  )
})

test('variables work inside literal tags, and large literals keep their digits as in JSON', async () => {
  const { data } = await graphql.run(
    `mutation ($e: String) {
      trackMetric(input: {name: "a", type: GAUGE, value: 9007199254740993, timestamp: 1705314600000000000, tags: {e: $e, ok: true, n: 1}})
      { value timestamp tags }
    }`,
    { e: '/users' },
  )
  expect(data.trackMetric).toEqual({
    value: 9007199254740992,
    timestamp: '2024-01-15T10:30:00Z',
    tags: { e: '/users', n: '1', ok: 'true' },
  })
})

test('an unquoted string in a literal is refused, and the error quotes it', async () => {
  const { errors } = await graphql.run(
    'mutation { trackMetric(input: {name: "a", type: GAUGE, value: high}) { name } }',
  )
  expect(errors?.[0]?.message).toContain('high')
  expect(graphql.gateway.points).toEqual([])
})

test('a store failure has its code; any other error is INTERNAL with the request id, which is logged', async () => {
  const { GatewayError } = await import('../../../src/model/errors.ts')
  const input = { name: 'a', type: 'GAUGE', value: 1 }
  graphql.gateway.failure = new GatewayError('store_unavailable', 'the store is away', {
    details: { outcome: 'unknown' },
  })
  expect((await graphql.run(TRACK, { input })).errors).toMatchObject([
    {
      message: 'the store is away',
      path: ['trackMetric'],
      extensions: { code: 'STORE_UNAVAILABLE', outcome: 'unknown' },
    },
  ])
  expect(graphql.logged).toEqual([])

  graphql.gateway.failure = new Error('password is hunter2')
  const { errors } = await graphql.run(TRACK, { input })
  expect(errors).toMatchObject([{ path: ['trackMetric'], extensions: { code: 'INTERNAL' } }])
  expect(JSON.stringify(errors)).not.toContain('hunter2')
  expect(graphql.logged).toMatchObject([
    { err: graphql.gateway.failure, requestId: errors?.[0]?.extensions?.['requestId'] },
  ])
})

test('deep nesting is refused with an idempotency key as without one', async () => {
  const single = `mutation ($input: MetricInput!, $key: ID) { trackMetric(input: $input, idempotencyKey: $key) { name } }`
  const batch = `mutation ($all: [MetricInput!]!, $key: ID) { trackMetrics(metrics: $all, idempotencyKey: $key) { errors { code } } }`
  const itemOf = (levels: number): string =>
    `{"name":"latency","type":"DISTRIBUTION","value":1,"tags":{"a":${'{"a":['.repeat(levels / 2)}1${']}'.repeat(levels / 2)}}}`
  for (const key of ['null', '"k"']) {
    const nested = await graphql.run(single, `{"input":${itemOf(200)},"key":${key}}`)
    expect(nested.errors?.map(({ extensions }) => extensions?.['code'])).toEqual(['INVALID_TAGS'])
    const { data } = await graphql.run(batch, `{"all":[${itemOf(200)}],"key":${key}}`)
    expect(data.trackMetrics.errors).toEqual([{ code: 'INVALID_TAGS' }])
    for (const body of [`{"input":${itemOf(40_000)},"key":${key}}`, `{"all":[${itemOf(40_000)}],"key":${key}}`]) {
      const { errors } = await graphql.run(body.startsWith('{"input"') ? single : batch, body)
      expect(errors?.map(({ extensions }) => extensions?.['code'])).toEqual(['INVALID_BODY'])
    }
  }
})
