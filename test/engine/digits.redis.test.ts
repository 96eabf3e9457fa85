import { encode } from '@msgpack/msgpack'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { type RedisServer, startRedis } from '../support/redis-server.ts'
import { ask, rowsOf } from './harness.ts'

/**
 * Numbers that stand for names (ids of users, requests, posts) keep their digits through every door and both stores.
 */

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server?.stop())

const A = '653247040368672768'
const B = '653247040368672769'

async function send({ url, key }: TestGateway, path: string, type: string, body: string | Uint8Array) {
  const response = await fetch(`${url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': type },
    body: Buffer.from(body),
  })
  const text = await response.text()
  expect([response.status, text]).toEqual([expect.toBeOneOf([200, 201, 202]), expect.not.stringContaining('errors')])
  return text
}

const JSON_TYPE = 'application/json'
const items = (item: (id: string) => string): string => `[${item(A)},${item(B)}]`
const better = (id: string): string => `{"name":"m","gauge":{"value":1},"tags":{"id":${id},"list":[${id},1.50]}}`
const flux = (id: string): string => `{"name":"m","type":"gauge","value":1,"tags":{"id":${id},"list":"${id},1.5"}}`
const graphql = (id: string): string => flux(id).replace('gauge', 'GAUGE')
const ADD =
  'mutation ($metrics: [MetricInput!]!, $key: ID) { trackMetrics(metrics: $metrics, idempotencyKey: $key) { accepted } }'
const query = (document: string, variables = '{}'): string =>
  `{"query":${JSON.stringify(document)},"variables":${variables}}`
const unquoted = (json: string): string => json.replaceAll(/"(\w+)":/g, '$1:').replaceAll('"GAUGE"', 'GAUGE')
const packed = (id: string) => ({ name: 'm', gauge: { value: 1 }, tags: { id: BigInt(id), list: [BigInt(id), 1.5] } })

const DOORS: readonly (readonly [string, (gateway: TestGateway) => Promise<unknown>])[] = [
  ['a batch', (gateway) => send(gateway, '/api/v1/metrics/batch', JSON_TYPE, items(flux))],
  ['a wrapped batch', (gateway) => send(gateway, '/api/v1/metrics/batch', JSON_TYPE, `{"metrics":${items(flux)}}`)],
  [
    'single metrics',
    async (gateway) => {
      for (const id of [A, B]) await send(gateway, '/api/v1/metrics', JSON_TYPE, flux(id))
    },
  ],
  ['a combined batch', (gateway) => send(gateway, '/api/v1/flux/batch', JSON_TYPE, `{"metrics":${items(flux)}}`)],
  ['Better Stack JSON', (gateway) => send(gateway, '/metrics', JSON_TYPE, items(better))],
  ['NDJSON', (gateway) => send(gateway, '/metrics', 'application/x-ndjson', `${better(A)}\n${better(B)}`)],
  [
    'MessagePack',
    (gateway) =>
      send(gateway, '/metrics', 'application/msgpack', encode([packed(A), packed(B)], { useBigInt64: true })),
  ],
  ['GraphQL variables', (gateway) => send(gateway, '/graphql', JSON_TYPE, query(ADD, `{"metrics":${items(graphql)}}`))],
  [
    'GraphQL variables, twice with a key',
    async (gateway) => {
      for (let i = 0; i < 2; i++)
        await send(gateway, '/graphql', JSON_TYPE, query(ADD, `{"metrics":${items(graphql)},"key":"k"}`))
    },
  ],
  [
    'GraphQL literals',
    (gateway) =>
      send(
        gateway,
        '/graphql',
        JSON_TYPE,
        query(`mutation { trackMetrics(metrics: ${unquoted(items(graphql))}) { accepted } }`),
      ),
  ],
]

const STORES = [
  ['embedded', () => ({})],
  ['Redis', () => ({ REDIS_URL: server.url, PARTITIONS: '4' })],
] as const

describe.each(STORES)('on %s', (_, settings) => {
  let prefix = 0
  async function start(): Promise<TestGateway> {
    const gateway = await startGateway({ env: { ...settings(), REDIS_PREFIX: `d${++prefix}` } })
    onTestFinished(() => gateway.close())
    return gateway
  }

  test.each(DOORS)('ids in tags stay apart that are sent by %s', async (_door, track) => {
    const gateway = await start()
    await track(gateway)
    const result = await ask(gateway, {
      metric: 'm',
      from: '-1h',
      interval: '1d',
      aggregations: ['count'],
      groupBy: ['id', 'list'],
    })
    expect(Object.keys(rowsOf(result))).toEqual([`${A}|${A},1.5`, `${B}|${B},1.5`])
    expect(result.groups).toHaveLength(2)
  })

  test('a selector may name them as numbers', async () => {
    const gateway = await start()
    await send(gateway, '/api/v1/metrics/batch', JSON_TYPE, items(flux))
    for (const text of [
      query(`{ query(metric: "m", tags: {id: ${B}}, groupBy: ["id"]) { groups { tags } } }`),
      query(
        'query ($tags: TagSelector) { query(metric: "m", tags: $tags, groupBy: ["id"]) { groups { tags } } }',
        `{"tags":{"id":[${B}]}}`,
      ),
    ])
      expect(JSON.parse(await send(gateway, '/graphql', JSON_TYPE, text)).data.query.groups).toEqual([
        { tags: { id: B } },
      ])
  })

  test('instants in nanoseconds are arguments of queries, live queries and events', async () => {
    const gateway = await start()
    await send(gateway, '/api/v1/metrics/batch', JSON_TYPE, items(flux))
    const variables = '{"from":1705276800123456789}'
    const range = await send(
      gateway,
      '/graphql',
      JSON_TYPE,
      query(
        'query ($from: DateTime) { query(metric: "m", from: $from) { from } events(from: $from) { nodes { id } } }',
        variables,
      ),
    )
    expect(range).toMatch(/^{"data":{"query":{"from":"2024-01-1[45]T/)
    const abort = new AbortController()
    const response = await fetch(`${gateway.url}/graphql`, {
      method: 'POST',
      headers: { authorization: `Bearer ${gateway.key}`, 'content-type': JSON_TYPE, accept: 'text/event-stream' },
      body: query('subscription ($from: DateTime) { live(metric: "m", from: $from) { kind } }', variables),
      signal: abort.signal,
    })
    const reader = response.body!.getReader()
    let text = ''
    while (!text.includes('"data"') && !text.includes('"errors"'))
      text += Buffer.from((await reader.read()).value!).toString()
    abort.abort()
    expect(text).toContain('{"data":{"live":{"kind":"SNAPSHOT"}}}')
  })

  test('events keep them in tags, texts and properties, through every API', async () => {
    const gateway = await start()
    const event = (name: string): string =>
      `{"name":"${name}","value":${A},"tags":{"id":${B}},"user_id":${B},"session_id":${A},"request_id":-${B},"properties":{"id":${B},"ids":[${A}]}}`
    await send(gateway, '/api/v1/events', JSON_TYPE, event('rest'))
    await send(gateway, '/api/v1/events/batch', JSON_TYPE, `[${event('batch')}]`)
    await send(gateway, '/api/v1/flux/batch', JSON_TYPE, `{"events":[${event('combined')}]}`)
    const ALL = 'name value tags userId sessionId requestId properties'
    const TRACK = `mutation ($input: EventInput!, $key: ID) { trackEvent(input: $input, idempotencyKey: $key) { ${ALL} } }`
    const shown = (name: string): string =>
      `{"name":"${name}","value":653247040368672800,"tags":{"id":"${B}"},"userId":"${B}","sessionId":"${A}","requestId":"-${B}","properties":{"id":${B},"ids":[${A}]}}`
    for (const body of [
      query(TRACK, `{"input":${event('variables')}}`),
      query(TRACK, `{"input":${event('variables')},"key":"k"}`),
      query(TRACK, `{"input":${event('variables')},"key":"k"}`),
      query(`mutation { trackEvent(input: ${unquoted(event('variables'))}) { ${ALL} } }`),
    ])
      expect(await send(gateway, '/graphql', JSON_TYPE, body)).toBe(`{"data":{"trackEvent":${shown('variables')}}}`)
    const listed = await send(gateway, '/graphql', JSON_TYPE, query(`{ events(name: "rest") { nodes { ${ALL} } } }`))
    expect(listed).toBe(`{"data":{"events":{"nodes":[${shown('rest')}]}}}`)
    const rest = await fetch(`${gateway.url}/api/v1/events`, { headers: { 'x-api-key': gateway.key } })
    const text = await rest.text()
    expect(text.match(new RegExp(`"properties":{"id":${B},"ids":\\[${A}]},"user_id":"${B}"`, 'g'))).toHaveLength(6)
  })
})
