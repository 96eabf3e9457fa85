import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { GRAPHQL_QUERIES_MAX } from '../../../src/graphql/operation-cost.ts'
import { startGateway, type TestGateway } from '../../support/gateway.ts'
import type { GraphQLResponse } from '../harness.ts'

/** Events and combined batches over HTTP against the whole gateway. */

const T0 = Date.UTC(2024, 0, 15, 12)
let gateway: TestGateway

beforeAll(async () => {
  gateway = await startGateway({
    now: () => T0,
    env: { API_KEYS: 'all-keys-1:shop:ingest+query,ingest-1:shop:ingest,query-key-1:shop:query' },
  })
})
afterAll(() => gateway.close())

async function run(query: string, variables?: object, key = 'all-keys-1'): Promise<GraphQLResponse> {
  const response = await fetch(`${gateway.url}/graphql`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables }),
  })
  return JSON.parse(await response.text())
}

const codes = ({ errors }: GraphQLResponse) => errors?.map(({ extensions }) => extensions?.['code'])
const TRACK = 'mutation ($input: EventInput!, $key: ID) { trackEvent(input: $input, idempotencyKey: $key) { id name } }'
const ALL = 'id name timestamp value tags properties userId sessionId environment service host requestId'

describe('trackEvent', () => {
  it('accepts the item of the REST API and returns it completely', async () => {
    const input = {
      ...{ name: 'whole', value: -1.5, timestamp: T0 / 1_000 - 1, tags: { n: 1, gone: null }, user_id: 7 },
      properties: { deep: [{ a: null }], '200': true },
      ...{ session_id: 's', environment: 'e', service: 'é', host: 'h', request_id: 'r' },
    }
    const mutation = `mutation ($input: EventInput!) { trackEvent(input: $input) { ${ALL} } }`
    const { data } = await run(mutation, { input })
    expect(data.trackEvent).toEqual({
      ...{ id: expect.stringMatching(/^[0-9A-Z]{26}$/), name: 'whole', timestamp: '2024-01-15T11:59:59Z', value: -1.5 },
      ...{ tags: { n: '1' }, properties: input.properties },
      ...{ userId: '7', sessionId: 's', environment: 'e', service: 'é', host: 'h', requestId: 'r' },
    })
    const listed = await run(`{ events(name: "whole") { nodes { ${ALL} } } }`)
    expect(listed.data.events.nodes).toEqual([data.trackEvent])
    const rest = await fetch(`${gateway.url}/api/v1/events?name=whole`, { headers: { 'x-api-key': 'all-keys-1' } })
    const [event] = JSON.parse(await rest.text()).data
    expect(event).toMatchObject({ id: data.trackEvent.id, tags: { n: '1' }, user_id: '7', request_id: 'r' })
  })

  it('accepts literals, and refuses with the codes of REST', async () => {
    const literal = await run(
      'mutation { trackEvent(input: { name: "l", properties: { a: { b: [1, "x"] } } }) { properties value } }',
    )
    expect(literal.data.trackEvent).toEqual({ properties: { a: { b: [1, 'x'] } }, value: null })
    expect(codes(await run(TRACK, { input: { name: 'e', value: 'x' } }))).toEqual(['INVALID_VALUE'])
    expect(codes(await run(TRACK, { input: { name: 'e', properties: [] } }))).toEqual(['INVALID_VALUE'])
    expect(codes(await run(TRACK, { input: { name: '' } }))).toEqual(['MISSING_NAME'])
    expect(codes(await run(TRACK, { input: { name: 'e' } }, 'query-key-1'))).toEqual(['FORBIDDEN'])
    expect((await run('{ events(name: "e") { nodes { id } } }')).data.events.nodes).toEqual([])
  })

  it('is idempotent with a key', async () => {
    const [first, again] = [
      await run(TRACK, { input: { name: 'once' }, key: 'k' }),
      await run(TRACK, { input: { name: 'once' }, key: 'k' }),
    ]
    expect(again).toEqual(first)
    expect((await run('{ events(name: "once") { nodes { id } } }')).data.events.nodes).toHaveLength(1)
    expect(codes(await run(TRACK, { input: { name: 'other' }, key: 'k' }))).toEqual(['IDEMPOTENCY_CONFLICT'])
  })
})

describe('trackBatch', () => {
  const BATCH =
    'mutation ($metrics: [MetricInput!], $events: [EventInput!]) { trackBatch(metrics: $metrics, events: $events) { metrics { accepted rejected errors { index code } } events { accepted rejected errors { index code } } } }'

  it('stores points and events and reports both', async () => {
    const metrics = [
      { name: 'b.orders', type: 'COUNTER', value: 1 },
      { name: 'b.orders', type: 'COUNTER', value: 'x' },
    ]
    const { data } = await run(BATCH, {
      metrics,
      events: [
        { name: 'b.order', value: null },
        { name: 'b.x', tags: 7 },
      ],
    })
    expect(data.trackBatch).toEqual({
      metrics: { accepted: 1, rejected: 1, errors: [{ index: 1, code: 'INVALID_VALUE' }] },
      events: { accepted: 1, rejected: 1, errors: [{ index: 1, code: 'INVALID_TAGS' }] },
    })
    const read = await run('{ metric(name: "b.orders") { dataPoints } events(name: "b.*") { nodes { name } } }')
    expect(read.data).toEqual({ metric: { dataPoints: 1 }, events: { nodes: [{ name: 'b.order' }] } })
  })

  it('accepts points or events alone or none, and refuses too many', async () => {
    const none = { accepted: 0, rejected: 0, errors: [] }
    expect((await run(BATCH, {})).data.trackBatch).toEqual({ metrics: none, events: none })
    expect((await run(BATCH, { metrics: [], events: [{ name: 'alone' }] })).data.trackBatch.events.accepted).toBe(1)
    const events = Array.from({ length: 501 }, () => ({ name: 'many' }))
    expect(codes(await run(BATCH, { events, metrics: [{ name: 'many', type: 'GAUGE', value: 1 }] }))).toEqual([
      'BATCH_TOO_LARGE',
    ])
    expect((await run('{ metric(name: "many") { name } }')).data.metric).toBe(null)
  })
})

describe('events', () => {
  it('are a connection', async () => {
    for (let i = 0; i < 5; i++)
      await run(TRACK, { input: { name: `page.${i}`, timestamp: T0 - 1_000 * (i % 2), tags: { i } } })
    const query =
      'query ($after: String, $tags: TagSelector) { events(name: "page.*", first: 2, after: $after, tags: $tags) { edges { cursor node { name } } nodes { name } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }'
    const names: string[] = []
    let after: string | null = null
    for (let page = 0; page < 3; page++) {
      const { data }: GraphQLResponse = await run(query, { after })
      const { edges, nodes, pageInfo } = data.events
      expect(edges.map(({ node }: { node: unknown }) => node)).toEqual(nodes)
      expect(pageInfo).toEqual({
        hasNextPage: page < 2,
        hasPreviousPage: page > 0,
        startCursor: edges[0].cursor,
        endCursor: edges.at(-1).cursor,
      })
      names.push(...nodes.map(({ name }: { name: string }) => name))
      after = pageInfo.endCursor
    }
    expect(names).toEqual(['page.4', 'page.2', 'page.0', 'page.3', 'page.1'])
    expect((await run(query, { tags: { i: ['1', '4'] } })).data.events.nodes).toHaveLength(2)
    expect((await run('{ events(first: 0) { nodes { id } pageInfo { hasNextPage } } }')).data.events).toEqual({
      nodes: [],
      pageInfo: { hasNextPage: true },
    })
  })

  it('are refused with the codes of REST, and limited in number', async () => {
    expect(codes(await run('{ events(first: 1001) { nodes { id } } }'))).toEqual(['INVALID_RANGE'])
    expect(codes(await run('{ events(first: -1) { nodes { id } } }'))).toEqual(['INVALID_RANGE'])
    expect(codes(await run('{ events(after: "x") { nodes { id } } }'))).toEqual(['INVALID_RANGE'])
    expect(codes(await run('{ events(from: "soon") { nodes { id } } }'))).toEqual(['INVALID_RANGE'])
    expect(codes(await run('{ events { nodes { id } } }', {}, 'ingest-1'))).toEqual(['FORBIDDEN'])
    // Each counts as five queries.
    const aliases = Array.from({ length: GRAPHQL_QUERIES_MAX / 5 + 1 }, (_, i) => `a${i}`)
    const fields = aliases.map((alias) => `${alias}: events(name: "none") { nodes { id } }`)
    const { data, errors } = await run(`{ ${fields.join(' ')} }`)
    const last = aliases.at(-1)!
    expect(data).toEqual({ ...Object.fromEntries(aliases.map((alias) => [alias, { nodes: [] }])), [last]: null })
    expect(errors?.map(({ path, extensions }) => [path, extensions?.['code']])).toEqual([[[last], 'QUERY_TOO_LARGE']])
  })
})
