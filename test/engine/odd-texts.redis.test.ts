import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { type RedisServer, startRedis } from '../support/redis-server.ts'

/**
 * Texts of clients that would become a part of a stored key, at every door: refused or not found, and alike on each
 * store.
 */

let redis: RedisServer
let embedded: TestGateway
let onRedis: TestGateway
beforeAll(async () => {
  redis = await startRedis()
  embedded = await startGateway()
  onRedis = await startGateway({ env: { REDIS_URL: redis.url } })
  for (const gateway of [embedded, onRedis]) {
    const body = JSON.stringify({
      metrics: [{ name: 'm', type: 'gauge', value: 1, tags: { a: 'b' } }],
      events: [{ name: 'e' }],
    })
    await send(gateway, 'POST', '/api/v1/flux/batch', body)
  }
}, 60_000)
afterAll(async () => {
  await embedded?.close()
  await onRedis?.close()
  await redis?.stop()
})

async function send({ url, key }: TestGateway, method: string, path: string, body?: string, headers = {}) {
  const response = await fetch(url + path, {
    method,
    headers: { 'x-api-key': key, 'content-type': 'application/json', ...headers },
    ...(body !== undefined && { body }),
  })
  return { status: response.status, text: await response.text() }
}

/** The status, and the codes of all errors. */
async function onBoth(method: string, path: string, body?: string, headers = {}): Promise<string> {
  const [fromEmbedded, fromRedis] = await Promise.all(
    [embedded, onRedis].map(async (gateway) => {
      const { status, text } = await send(gateway, method, path, body, headers)
      const codes = [...text.matchAll(/"code":"(\w+)"/g)].map(([, code]) => code!.toLowerCase())
      return [status, ...codes].join(' ')
    }),
  )
  expect(fromRedis).toBe(fromEmbedded)
  return fromEmbedded!
}

const onGraphQL = (query: string, variables: object): Promise<string> =>
  onBoth('POST', '/graphql', JSON.stringify({ query, variables }))

const TEXTS: readonly (readonly [what: string, text: string, isTooLong: boolean])[] = [
  ['900 characters', 'x'.repeat(900), false],
  ['901 characters', 'x'.repeat(901), true],
  ['4,000 characters', 'x'.repeat(4_000), true],
  ['451 characters of two code units', '𝒳'.repeat(451), true],
  ['300 characters of three bytes', '…'.repeat(300), false],
  ['a NUL', 'a\0b', false],
  ['a name of another shape', '__proto__', false],
]

describe.each(TEXTS)('%s', (_, text, isTooLong) => {
  const path = encodeURIComponent(text)

  test.each([
    ['GET', `/api/v1/metrics/${path}`],
    ['GET', `/api/v1/metrics/${path}/query`],
    ['DELETE', `/api/v1/metrics/${path}`],
  ])('as the name of %s', async (method, url) => {
    expect(await onBoth(method, url)).toBe('404 metric_not_found')
  })

  test('in the query string of a list', async () => {
    expect(await onBoth('GET', `/api/v1/metrics?after=${path}`)).toBe(isTooLong ? '400 invalid_range' : '200')
    expect(await onBoth('GET', `/api/v1/metrics?search=${path}`)).toBe('200')
    expect(await onBoth('GET', `/api/v1/events?name=${path}`)).toBe('200')
    expect(await onBoth('GET', `/api/v1/events?after=${path}`)).toBe('400 invalid_range')
    expect(await onBoth('GET', `/api/v1/events?tags[${path}]=${path.slice(0, 6_000)}`)).toMatch(
      /^(?:200|400 invalid_tags)$/,
    )
    expect(await onBoth('GET', `/api/v1/metrics/m/query?tags[${path}]=b`)).toMatch(/^(?:200|400 invalid_tags)$/)
    expect(await onBoth('GET', `/api/v1/metrics/m/query?group_by=tags.${path}`)).toMatch(
      /^(?:200|400 invalid_group_by)$/,
    )
  })

  test('in GraphQL', async () => {
    const notFound = '200 metric_not_found'
    const cursor = (text: string) => Buffer.from(text).toString('base64url')
    expect(await onGraphQL('query ($t: String!) { metric(name: $t) { name } }', { t: text })).toBe('200')
    expect(await onGraphQL('query ($t: String!) { query(metric: $t) { interval } }', { t: text })).toBe(notFound)
    expect(await onGraphQL('mutation ($t: String!) { deleteMetric(name: $t) }', { t: text })).toBe('200')
    for (const id of [Buffer.from(`Metric:${text}`).toString('base64'), cursor(`Metric:${text}`)])
      expect(await onGraphQL('query ($t: ID!) { node(id: $t) { id } }', { t: id })).toBe('200')
    const list = 'query ($t: String!) { metrics(after: $t) { nodes { name } } }'
    expect(await onGraphQL(list, { t: cursor(`name:${text}`) })).toBe(isTooLong ? '200 invalid_range' : '200')
    expect(await onGraphQL('query ($t: String!) { events(after: $t) { nodes { name } } }', { t: cursor(text) })).toBe(
      '200 invalid_range',
    )
    expect(
      await onGraphQL('query ($t: String!) { metric(name: "m") { tagValues(key: $t) { value } } }', { t: text }),
    ).toBe('200')
  })

  test('as an idempotency key', async () => {
    const mutation =
      'mutation ($t: ID!) { trackMetric(input: {name: "m", type: GAUGE, value: 1}, idempotencyKey: $t) { name } }'
    expect(await onGraphQL(mutation, { t: text })).toMatch(/^200(?: invalid_body)?$/)
    if (/^[!-~]+$/.test(text)) {
      const body = JSON.stringify({ name: 'm', type: 'gauge', value: 1 })
      const response = await onBoth('POST', '/api/v1/metrics', body, { 'idempotency-key': text })
      expect(response).toMatch(/^(?:409 idempotency_conflict|400 invalid_body)$/)
    }
  })

  test('as the hash of a persisted document, and as a key', async () => {
    const body = JSON.stringify({ extensions: { persistedQuery: { version: 1, sha256Hash: text } } })
    expect(await onBoth('POST', '/graphql', body)).toBe('200 persisted_query_not_found')
    expect(await onBoth('GET', `/graphql?documentId=${path}`)).toBe('200 persisted_query_not_found')
    expect(await onBoth('GET', '/api/v1/metrics', undefined, { 'x-api-key': path })).toBe('401 invalid_api_key')
  })
})

test('a lone surrogate matches no name', async () => {
  const half = '\ud83d'
  expect(await onGraphQL('query ($t: String!) { metric(name: $t) { name } }', { t: half })).toBe('200')
  expect(await onGraphQL('query ($t: String!) { query(metric: $t) { interval } }', { t: half })).toBe(
    '200 metric_not_found',
  )
  expect(await onGraphQL('mutation ($t: String!) { deleteMetric(name: $t) }', { t: half })).toBe('200')
})

test.each([
  ['-9999999999999999:A', 400],
  ['9999999999999999:A', 400],
  ['-62135596800001:A', 400],
  ['253402300800001:A', 400],
  ['-62135596800000:0', 200],
  ['253402300799999:ZZZZ', 200],
  ['253402300800000:0', 200],
  ['0:', 400],
  [`0:${'A'.repeat(65)}`, 400],
  ['1e3:A', 400],
])('the cursor %s of a list of events is answered %i', async (cursor, status) => {
  const after = Buffer.from(cursor).toString('base64url')
  const errorCode = status === 200 ? '' : ' invalid_range'
  const range = 'from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59Z'
  expect(await onBoth('GET', `/api/v1/events?after=${after}&${range}`)).toBe(`${status}${errorCode}`)
  const query = 'query ($t: String!) { events(after: $t, from: "0001-01-01T00:00:00Z") { nodes { name } } }'
  expect(await onGraphQL(query, { t: after })).toBe(`200${errorCode}`)
})
