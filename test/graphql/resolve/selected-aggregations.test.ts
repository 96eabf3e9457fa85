import { beforeEach, expect, test } from 'vitest'
import { type Harness, startGraphQL } from '../harness.ts'

let graphql: Harness
beforeEach(() => {
  graphql = startGraphQL()
})

const asked = () => graphql.gateway.queries.at(-1)?.optionalAggregations?.map(({ name }) => name)

test('aggregations below total and values are requested, each once', async () => {
  const { data } = await graphql.run(`{
    query(metric: "latency", aggregations: [AVG]) {
      groups { total { __typename count p95 } buckets { start values { p95 max q: quantile(q: 0.95) } } }
    }
  }`)
  expect(asked()).toEqual(['count', 'p95', 'max'])
  expect(data.query.groups[0].buckets[0].values).toEqual({ p95: 30, max: 40, q: 30 })
})

test('series request no further aggregations', async () => {
  await graphql.run('{ query(metric: "latency") { series { values total } } }')
  expect(asked()).toEqual([])
})

test('aliases, named and inline fragments count', async () => {
  const { data } = await graphql.run(`
    query { q: query(metric: "latency") { ...Outer ... on QueryResult { groups { sum: total { total: sum } } } } }
    fragment Outer on QueryResult { lines: groups { ... { rows: buckets { ...Row } } again: buckets { ...Row } } }
    fragment Row on Bucket { numbers: values { lowest: min ...Percentiles } }
    fragment Percentiles on Aggregates { p50 }
  `)
  expect(asked()?.toSorted()).toEqual(['min', 'p50', 'sum'])
  expect(data.q.groups[0].sum).toEqual({ total: expect.any(Number) })
  expect(data.q.lines[0].rows[0].numbers).toEqual({ lowest: expect.any(Number), p50: expect.any(Number) })
})

test('skip and include count, with variables', async () => {
  await graphql.run(
    `query ($yes: Boolean!, $no: Boolean! = false) {
      query(metric: "latency") {
        groups {
          total @include(if: $no) { p99 }
          buckets {
            values {
              a: avg @skip(if: $yes)
              b: max @include(if: $yes)
              ... on Aggregates @skip(if: $yes) { p90 }
              ...Rest @include(if: $no)
            }
          }
        }
      }
    }
    fragment Rest on Aggregates { p75 }`,
    { yes: true },
  )
  expect(asked()).toEqual(['max'])
})

test('a fragment that is excluded once counts where it is included', async () => {
  await graphql.run(
    `{ query(metric: "latency") { groups { total { ...Rest @skip(if: true) ...Rest } } } }
    fragment Rest on Aggregates { p75 }`,
  )
  expect(asked()).toEqual(['p75'])
})

test('a quantile may be a variable, with a default', async () => {
  const { data } = await graphql.run(
    `query ($q: Float!, $r: Float! = 0.25) {
      query(metric: "latency") { groups { total { q: quantile(q: $q) r: quantile(q: $r) one: quantile(q: 1) } } }
    }`,
    { q: 0.999 },
  )
  expect(asked()).toEqual(['p99.9', 'p25', 'p100'])
  expect(data.query.groups[0].total).toEqual({ q: 2_000, r: 3_000, one: 4_000 })
})

test.each([-0.1, 1.5, 95])('quantile(q: %d) is one error that names the field', async (q) => {
  const { data, errors } = await graphql.run(
    'query ($q: Float!) { query(metric: "latency") { groups { buckets { values { worst: quantile(q: $q) } } } } }',
    { q },
  )
  expect(data).toEqual({ query: null })
  expect(errors).toMatchObject([
    { path: ['query'], message: expect.stringContaining('worst'), extensions: { code: 'INVALID_AGGREGATION' } },
  ])
  expect(graphql.gateway.queries).toEqual([])
})

test('an aggregation that the type does not support is null', async () => {
  const { data } = await graphql.run('{ query(metric: "requests") { groups { total { p95 sum } } } }')
  expect(data.query.groups[0].total).toEqual({ p95: null, sum: 1_000 })
})

test('Metric.query looks ahead too', async () => {
  await graphql.run('{ metric(name: "latency") { query { groups { total { p99 } } } } }')
  expect(asked()).toEqual(['p99'])
})

test.each([
  ['{ query(metric: "latency") { series { values } groups { buckets { start } } } }', false],
  ['{ query(metric: "latency") { series { total } } }', true],
  ['{ query(metric: "latency") { groups { ...Sums } } } fragment Sums on Group { all: total { sum } }', true],
  ['{ query(metric: "latency") { series { total @skip(if: true) } } }', false],
])('totals are computed only when selected: %s', async (document, totals) => {
  await graphql.run(document)
  expect(graphql.gateway.queries.at(-1)?.totals).toBe(totals)
})
