import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { getIntrospectionQuery } from 'graphql'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { startGateway } from '../support/gateway.ts'
import { type Harness, startGraphQL } from './harness.ts'

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

const POINT = '{ name: "a", type: GAUGE, value: 1 }'
/** Each fragment spreads the next one twice: 2^levels fields when expanded. */
const nestedFragments = (levels: number) =>
  `{ metrics { nodes { ...F0 } } } ${Array.from(
    { length: levels },
    (_, level) =>
      `fragment F${level} on Metric { a: query { metric { ...F${level + 1} } } b: query { metric { ...F${level + 1} } } }`,
  ).join(' ')} fragment F${levels} on Metric { name }`
const deep = (levels: number) =>
  `{ metric(name: "latency") { query { ${'metric { query { '.repeat(levels / 2)}interval${' } }'.repeat(levels / 2)} } } }`

describe('every limit has an error code', () => {
  test.each([
    ['aliases', {}, `{ ${Array.from({ length: 1_000 }, (_, i) => `a${i}: __typename`).join(' ')} }`],
    ['aliases', { documentAliasesMax: 2 }, '{ metrics { nodes { a: name b: name c: name } } }'],
    [
      'aliases',
      { documentAliasesMax: 3 },
      '{ metrics { ...A nodes { query { metric { id } } } } x: metrics { ...A } } fragment A on MetricConnection { n: nodes { i: id } }',
    ],
    [
      'root fields',
      { rootFieldsMax: 2 },
      '{ __typename ...A } fragment A on Query { metrics { __typename } ... on Query { node(id: "") { id } } }',
    ],
    ['nested selections', {}, deep(100)],
    [
      'nested selections',
      { documentDepthMax: 4 },
      '{ metrics { nodes { ...A } } } fragment A on Metric { query { ...B } } fragment B on QueryResult { metric { name } }',
    ],
    ['fields', { documentDepthMax: 200 }, nestedFragments(9)],
    ['fields', { documentDepthMax: 200 }, nestedFragments(40)],
    ['fields', {}, `{ ${'__typename '.repeat(20_000)} }`],
    ['tokens', {}, `{ ${'__typename @skip(if: true) '.repeat(20_000)} }`],
    ['tokens', {}, `{ metric(name: "${'x'.repeat(1_000_000)}") { name(${'a: 1 '.repeat(20_000)}) } }`],
  ])('too many %s', async (what, limits, query) => {
    const { data, errors } = await startGraphQL(limits).run(query)
    expect(data).toBeUndefined()
    expect(errors).toMatchObject([{ message: expect.stringContaining(what), extensions: { code: 'QUERY_TOO_LARGE' } }])
    expect(errors?.[0]?.extensions?.['max']).toBeTypeOf('number')
  })

  const list = (length: number, item: string) => `[${Array.from({ length }, () => item).join(',')}]`

  test.each([
    ['a literal', `{ query(metric: "latency", quantiles: ${list(1_001, '0.5')}) { interval } }`, {}],
    ['a literal within an object', `{ query(metric: "latency", tags: {a: ${list(1_001, '"x"')}}) { interval } }`, {}],
    [
      'a variable',
      'query ($q: [Float!]) { query(metric: "latency", quantiles: $q) { interval } }',
      `{"q":${list(1_001, '0.5')}}`,
    ],
    [
      'a list within a variable',
      'query ($t: TagSelector) { query(metric: "latency", tags: $t) { interval } }',
      `{"t":{"a":${list(1_001, '"x"')}}}`,
    ],
    [
      'a default',
      `query ($q: [Float!] = ${list(1_001, '0.5')}) { query(metric: "latency", quantiles: $q) { interval } }`,
      {},
    ],
  ])('a list that is too long, as %s', async (_where, query, variables) => {
    const { errors } = await startGraphQL().run(query, variables)
    expect(errors).toMatchObject([{ extensions: { code: 'QUERY_TOO_LARGE', max: 1_000 } }])
  })

  test('a long list in a mutation is a batch that is too large, whichever limit it exceeds', async () => {
    const graphql = startGraphQL()
    const track = 'mutation ($m: [MetricInput!]!) { trackMetrics(metrics: $m) { accepted } }'
    const point = '{"name":"a","type":"GAUGE","value":1}'
    for (const [length, max] of [
      [501, 500],
      [1_001, 1_000],
    ] as const) {
      const { errors } = await graphql.run(track, `{"m":${list(length, point)}}`)
      expect(errors).toMatchObject([{ extensions: { code: 'BATCH_TOO_LARGE', max } }])
    }
    const { errors } = await graphql.run(`mutation { trackMetrics(metrics: ${list(1_001, POINT)}) { accepted } }`)
    expect(errors).toMatchObject([{ extensions: { code: 'BATCH_TOO_LARGE', max: 1_000 } }])
    expect(graphql.gateway.points).toEqual([])
  })

  test('queries count each time that fragments and lists repeat them', async () => {
    const graphql = startGraphQL({ queriesMax: 2 })
    const { errors } = await graphql.run('{ metrics { nodes { a: query { interval } b: query { interval } } } }')
    expect(errors).toContainEqual(expect.objectContaining({ extensions: { code: 'QUERY_TOO_LARGE', max: 2 } }))
    expect(graphql.gateway.queries.length).toBeLessThanOrEqual(1)
  })

  const aliases = (count: number, field: string) => Array.from({ length: count }, (_, i) => `a${i}: ${field}`).join(' ')

  test.each([
    ['fields of the items of a list', `{ metrics { nodes { ${aliases(40, 'name')} } } }`],
    [
      'fields of items of lists in lists',
      `{ query(metric: "latency") { series { points { ${aliases(25, 'value')} } } } }`,
    ],
    [
      'fields in fragments',
      `{ metrics { edges { ...A } } } fragment A on MetricEdge { node { ${aliases(40, 'id')} } }`,
    ],
    ['columns', `{ query(metric: "latency") { series { ${aliases(40, 'timestamps')} } } }`],
    ['maps', `{ events { nodes { ${aliases(2, 'properties')} } } }`],
  ])('a response that is too large because of %s', async (_what, query) => {
    const graphql = startGraphQL({ responseFieldsMax: 60 })
    const sent = { name: 'big', properties: { text: 'x'.repeat(6_000) } }
    const track = 'mutation ($e: EventInput!) { trackEvent(input: $e) { properties } }'
    expect((await graphql.run(track, { e: sent })).errors).toBeUndefined()
    const { data, errors } = await graphql.run(query)
    expect(data).toBeUndefined()
    expect(errors).toMatchObject([
      { message: expect.stringContaining('response'), extensions: { code: 'QUERY_TOO_LARGE', max: 60 } },
    ])
    const allowed = '{ metrics { nodes { id name type } } query(metric: "latency") { series { points { value } } } }'
    expect((await graphql.run(allowed)).errors).toBeUndefined()
  })

  test('a mutation whose response is too large reports what it stored', async () => {
    const graphql = startGraphQL({ responseFieldsMax: 60 })
    const response = await graphql.run(
      `mutation ($e: EventInput!) { a: trackEvent(input: $e) { id } b: trackEvent(input: $e) { id ${aliases(2, 'properties')} } }`,
      { e: { name: 'big', properties: { text: 'x'.repeat(6_000) } } },
    )
    expect(response.data).toMatchObject({ a: { id: 'E0' }, b: { id: 'E1' } })
    expect(response.errors).toMatchObject([{ path: ['b', 'a1'], extensions: { code: 'QUERY_TOO_LARGE' } }])
  })

  test('circular fragments', async () => {
    const { errors } = await startGraphQL().run(
      '{ metrics { nodes { ...A } } } fragment A on Metric { query { metric { ...B } } } fragment B on Metric { name ...A }',
    )
    expect(errors).toMatchObject([
      { message: expect.stringContaining('within itself'), extensions: { code: 'GRAPHQL_VALIDATION_FAILED' } },
    ])
  })

  test.each([
    ['a document', '{ nothing', 'GRAPHQL_PARSE_FAILED'],
    ['a field', '{ nothing }', 'GRAPHQL_VALIDATION_FAILED'],
    ['an operation', 'query A { __typename } query B { __typename }', 'BAD_USER_INPUT'],
    ['a variable', 'query ($n: String!) { metric(name: $n) { name } }', 'BAD_USER_INPUT'],
  ])('%s that GraphQL refuses', async (_what, query, code) => {
    expect((await startGraphQL().run(query)).errors).toMatchObject([{ extensions: { code } }])
  })

  test('introspection that is switched off', async () => {
    const graphql = startGraphQL({ isIntrospectionAllowed: false })
    for (const query of [getIntrospectionQuery(), '{ __type(name: "Metric") { name } }']) {
      const { data, errors } = await graphql.run(query)
      expect(data).toBeUndefined()
      expect(errors?.[0]).toMatchObject({ extensions: { code: 'FORBIDDEN' } })
    }
    expect(await graphql.run('{ __typename }')).toEqual({ data: { __typename: 'Query' } })
  })
})

describe('time', () => {
  /** Reads and writes begin when the returned function is called. */
  const hold = ({ gateway }: Harness): (() => void) => {
    let release = (): void => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    gateway.before = () => held
    return release
  }

  test('a query that takes too long is an error, and no further resolver of it starts', async () => {
    const graphql = startGraphQL({ timeoutMs: 20 })
    const openSession = vi.spyOn(graphql.gateway, 'openSession')
    const release = hold(graphql)
    const response = await graphql.post({ query: '{ metric(name: "latency") { query { interval } } }' })
    expect(response.statusCode).toBe(400)
    // Its running queries stop.
    expect(openSession.mock.results[0]!.value.signal.reason).toMatchObject({ code: 'query_too_large' })
    expect(response.json()).toMatchObject({ errors: [{ extensions: { code: 'QUERY_TOO_LARGE', timeoutMs: 20 } }] })
    release()
    await new Promise((resolve) => setImmediate(resolve))
    expect(graphql.gateway.queries).toEqual([])
  })

  test('the outcome of a mutation that takes too long is unknown', async () => {
    const graphql = startGraphQL({ timeoutMs: 20 })
    const release = hold(graphql)
    const response = await graphql.post({
      query: `mutation { a: trackMetric(input: ${POINT}) { name } b: trackMetric(input: ${POINT}) { name } }`,
    })
    expect(response.statusCode).toBe(503)
    expect(response.headers['retry-after']).toBeTypeOf('string')
    expect(response.json()).toMatchObject({
      errors: [{ extensions: { code: 'STORE_UNAVAILABLE', outcome: 'unknown', timeoutMs: 20 } }],
    })
    release()
    await new Promise((resolve) => setImmediate(resolve))
    expect(graphql.gateway.points).toHaveLength(1)
  })
})

test('an internal error shows only the request id, which is in the log', async () => {
  const graphql = startGraphQL()
  graphql.gateway.failure = new Error('the secret of the house')
  const response = await graphql.post({ query: '{ query(metric: "latency") { interval } }' })
  expect(response.body).not.toContain('secret')
  const requestId = response.headers['x-request-id']
  expect(response.json().errors).toMatchObject([{ extensions: { code: 'INTERNAL', requestId } }])
  expect(graphql.logged).toMatchObject([{ requestId, err: graphql.gateway.failure }])
})

describe('against the real server', () => {
  let gateway: Awaited<ReturnType<typeof startGateway>>
  beforeAll(async () => {
    gateway = await startGateway({ env: { RATE_LIMITS: 'off' } })
    const metrics = Array.from({ length: 300 }, (_, i) => ({ name: `m${i}`, type: 'GAUGE', value: i }))
    const track = 'mutation ($metrics: [MetricInput!]!) { trackMetrics(metrics: $metrics) { accepted } }'
    expect(await ask(track, { metrics })).toEqual({ data: { trackMetrics: { accepted: 300 } } })
  })
  afterAll(async () => {
    await gateway.close()
  })

  async function ask(query: string, variables?: object): Promise<unknown> {
    const response = await fetch(`${gateway.url}/graphql`, {
      method: 'POST',
      headers: { 'x-api-key': gateway.key, 'content-type': 'application/json' },
      body: JSON.stringify({ query, variables }),
    })
    return response.json()
  }

  const attacks: readonly (readonly [string, string])[] = [
    [
      '1,000 aliases',
      `{ ${Array.from({ length: 1_000 }, (_, i) => `a${i}: query(metric: "m1") { series { values } }`).join(' ')} }`,
    ],
    ['100 levels', deep(100)],
    ['a document of 10 MB', `{ ${'m1: metric(name: "m1") { name } '.repeat(330_000)} }`],
    ['a comment of 10 MB', `#${'x'.repeat(10_000_000)}\n{ nothing }`],
    ['a text of 10 MB', `{ metric(name: "${'x'.repeat(10_000_000)}", nothing: 1) { name } }`],
    [
      'circular fragments',
      '{ metrics { nodes { ...A } } } fragment A on Metric { ...B } fragment B on Metric { ...A }',
    ],
    ['fragments that multiply', nestedFragments(40)],
    [
      'everything',
      '{ metrics(first: 1000) { nodes { query(last: "10000d", interval: "10s") { series { points { timestamp value complete } } groups { buckets { values { sum avg } } } } } } }',
    ],
  ]

  test('attacks neither leak memory nor delay other requests', async () => {
    const heapUsedAfterCollection = async (): Promise<number> => {
      for (let i = 0; i < 3; i++) {
        collectGarbage()
        await new Promise((resolve) => setImmediate(resolve))
      }
      return process.memoryUsage().heapUsed
    }
    const attack = async (): Promise<void> => {
      for (const [name, query] of attacks) {
        const hostile = ask(query)
        const honest = await ask('{ metric(name: "m7") { name dataPoints } }')
        expect(honest, name).toEqual({ data: { metric: { name: 'm7', dataPoints: 1 } } })
        expect(await hostile, name).toMatchObject({ errors: expect.any(Array) })
      }
    }
    await attack()
    const before = await heapUsedAfterCollection()
    for (let round = 0; round < 3; round++) await attack()
    expect((await heapUsedAfterCollection()) - before).toBeLessThan(64 * 1024 * 1024)
  })
})
