import { expect, test } from 'vitest'
import { allowOrigins } from '../../../src/http/server/cors.ts'
import { startGraphQL } from '../harness.ts'

const CLOSED = 'from: "2024-01-14T00:00:00Z", to: 1705233600'
/** The fake gateway's buckets end after its now unless a query says when. */
const graphql = startGraphQL()
graphql.gateway.toMs = Date.parse('2024-01-15T00:00:00Z')

test('an answer over the past may be kept for a minute, and is not sent again while it is the same', async () => {
  const query = `{ query(metric: "latency", ${CLOSED}) { series { values } } }`
  const first = await graphql.get({ query })
  expect(first.headers['cache-control']).toBe('private, max-age=60')
  expect(first.headers.vary).toContain('authorization')
  const again = await graphql.get({ query }, { 'if-none-match': String(first.headers.etag) })
  expect(again.statusCode).toBe(304)
  expect(again.body).toBe('')
  expect(again.headers['cache-control']).toBe('private, max-age=60')
  const other = await graphql.get(
    { query: query.replace('values', 'timestamps') },
    { 'if-none-match': String(first.headers.etag) },
  )
  expect(other.statusCode).toBe(200)
})

test('a kept answer, and the playground, depend on everything that they were made from', async () => {
  const { app, gateway, get } = startGraphQL()
  gateway.toMs = Date.parse('2024-01-15T00:00:00Z')
  allowOrigins(app, ['https://app.example'])
  const varyOf = async (query: string | undefined, headers: Record<string, string>) =>
    (await get(query === undefined ? {} : { query }, headers)).headers.vary
  const query = `{ query(metric: "latency", ${CLOSED}) { interval } }`
  for (const headers of [{}, { origin: 'https://app.example' }])
    expect(await varyOf(query, headers)).toBe('Origin, accept, authorization, x-api-key')
  expect(await varyOf(undefined, { accept: 'text/html' })).toBe('Origin, accept, accept-encoding')
})

test.each([
  ['its range ends with now', '{ query(metric: "latency", last: "6h") { interval } }'],
  ['its range moves', '{ query(metric: "latency", from: "-6h", to: "-1h") { interval } }'],
  [
    'one of its ranges is open',
    `{ a: query(metric: "latency", ${CLOSED}) { interval } query(metric: "latency") { interval } }`,
  ],
  ['a range below it is open', `{ query(metric: "latency", ${CLOSED}) { metric { query { interval } } } }`],
  ['it asks something else', `{ query(metric: "latency", ${CLOSED}) { interval } metrics { nodes { name } } }`],
  ['it has an error', `{ query(metric: "nothing", ${CLOSED}) { interval } }`],
])('an answer is not kept when %s', async (_why, query) => {
  const { headers } = await graphql.get({ query })
  expect(headers['cache-control']).toBe('no-store')
  expect(headers.etag).toBeUndefined()
})

test('an answer is not kept when its range has not ended', async () => {
  const open = startGraphQL()
  const { headers } = await open.get({ query: `{ query(metric: "latency", ${CLOSED}) { interval } }` })
  expect(headers['cache-control']).toBe('no-store')
})

test('answers to POST are not kept', async () => {
  const { headers } = await graphql.post({ query: `{ query(metric: "latency", ${CLOSED}) { interval } }` })
  expect(headers['cache-control']).toBe('no-store')
})
