import { beforeEach, expect, test } from 'vitest'
import { type Harness, startGraphQL } from '../harness.ts'

let graphql: Harness
beforeEach(() => {
  graphql = startGraphQL()
})

test('a metric has its name, type, tags, times and aggregations', async () => {
  const { data } = await graphql.run(`{
    metric(name: "latency") {
      name type unit description tagKeys firstSeen lastSeen dataPoints seriesCount aggregations
    }
  }`)
  expect(data.metric).toEqual({
    name: 'latency',
    type: 'DISTRIBUTION',
    unit: 'ms',
    description: null,
    tagKeys: ['endpoint'],
    firstSeen: '2024-01-01T00:00:00Z',
    lastSeen: '2024-01-15T12:30:00Z',
    dataPoints: 5_000_000_000,
    seriesCount: 3,
    aggregations: ['COUNT', 'SUM', 'AVG', 'MIN', 'MAX', 'RANGE', 'P50', 'P75', 'P90', 'P95', 'P99', 'P999'],
  })
})

test.each(['latency', 'a:b', 'größe/ 1%', '__proto__'])('node finds the metric %s by its id', async (name) => {
  graphql.gateway.define(name, 'gauge')
  const { data } = await graphql.run('query ($n: String!) { metric(name: $n) { id } }', { n: name })
  const found = await graphql.run(
    'query ($id: ID!) { node(id: $id) { __typename id ... on Metric { name } } }',
    data.metric,
  )
  expect(found.data.node).toEqual({ __typename: 'Metric', id: data.metric.id, name })
})

test.each(['', '???', Buffer.from('Metric:gone').toString('base64url'), Buffer.from('Query:x').toString('base64url')])(
  'node of the id %j is null',
  async (id) => {
    expect(await graphql.run('query ($id: ID!) { node(id: $id) { id } }', { id })).toEqual({ data: { node: null } })
  },
)

const PAGE = `query ($first: Int, $after: String) {
  metrics(first: $first, after: $after) {
    nodes { name }
    edges { cursor node { name } }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}`

test('cursors lead through all pages', async () => {
  for (const name of ['a', 'b', 'c']) graphql.gateway.define(name, 'gauge')
  const pages: string[][] = []
  let after: string | null = null
  while (pages.length < 10) {
    const { data } = await graphql.run(PAGE, { first: 2, after })
    const { nodes, edges, pageInfo } = data.metrics
    pages.push(nodes.map((node: { name: string }) => node.name))
    expect(edges.map((edge: { node: { name: string } }) => edge.node)).toEqual(nodes)
    expect(pageInfo.hasPreviousPage).toBe(after !== null)
    expect(pageInfo.startCursor).toBe(edges[0].cursor)
    expect(pageInfo.endCursor).toBe(edges.at(-1).cursor)
    if (!pageInfo.hasNextPage) break
    after = pageInfo.endCursor
  }
  expect(pages).toEqual([['a', 'b'], ['c', 'latency'], ['requests']])
})

test('an empty page has no cursors and says whether another page follows', async () => {
  const { data } = await graphql.run(PAGE, { first: 0 })
  expect(data.metrics).toEqual({
    nodes: [],
    edges: [],
    pageInfo: { hasNextPage: true, hasPreviousPage: false, startCursor: null, endCursor: null },
  })
})

test('search and type narrow the list', async () => {
  graphql.gateway.define('latency.db', 'gauge')
  const { data } = await graphql.run('{ metrics(search: "latency", type: GAUGE) { nodes { name } } }')
  expect(data.metrics.nodes).toEqual([{ name: 'latency.db' }])
})

test.each([{ first: -1 }, { first: 1_001 }, { after: 'nonsense' }])('the page %j is refused', async (variables) => {
  const { errors } = await graphql.run(PAGE, variables)
  expect(errors).toMatchObject([{ path: ['metrics'], extensions: { code: 'INVALID_RANGE' } }])
})

test('the values of a tag come with their number of series, and cost as much as a query', async () => {
  graphql = startGraphQL({ queriesMax: 2 })
  const { data, errors } = await graphql.run(`{
    metric(name: "latency") {
      all: tagValues(key: "endpoint") { value seriesCount }
      one: tagValues(key: "endpoint", first: 1) { value }
      more: tagValues(key: "endpoint") { value }
    }
  }`)
  expect(data.metric).toEqual({
    all: [
      { value: 'endpoint=/users', seriesCount: 2 },
      { value: 'endpoint=/orders', seriesCount: 1 },
    ],
    one: [{ value: 'endpoint=/users' }],
    more: null,
  })
  expect(errors).toMatchObject([{ path: ['metric', 'more'], extensions: { code: 'QUERY_TOO_LARGE' } }])
  const refused = await startGraphQL().run('{ metric(name: "latency") { tagValues(key: "a", first: 1001) { value } } }')
  expect(refused.errors).toMatchObject([{ extensions: { code: 'INVALID_RANGE' } }])
})

test('viewer returns project, scopes and limits for a key with any scope', async () => {
  graphql = startGraphQL({ batchItemsMax: 7 })
  const VIEWER = '{ viewer { project scopes limits { batchItems tagValueCharacters queryValues } } }'
  const { data } = await graphql.run(VIEWER, {}, 'writer')
  expect(data.viewer).toEqual({
    project: 'shop',
    scopes: ['INGEST'],
    limits: { batchItems: 7, tagValueCharacters: 256, queryValues: 50_000 },
  })
  expect((await graphql.run(VIEWER)).data.viewer.scopes).toEqual(['INGEST', 'QUERY'])
})
