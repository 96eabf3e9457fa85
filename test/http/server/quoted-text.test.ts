import { afterAll, beforeAll, expect, it } from 'vitest'
import { startGateway, type TestGateway } from '../../support/gateway.ts'

/** Error messages quote at most 64 characters of what a client sent, in every API. */

let gateway: TestGateway

/** Within the length limit of names, so that it is refused for another reason. */
const LONG = 'x'.repeat(250)
const TAG = 'x'.repeat(120)
const VAST = 'x'.repeat(5_000)

beforeAll(async () => {
  gateway = await startGateway({ env: { SERIES_PER_METRIC_MAX: '1' } })
  const response = await post('/api/v1/metrics', { name: LONG, type: 'gauge', value: 1 })
  expect(response).toContain('"data"')
})
afterAll(() => gateway.close())

async function send(path: string, init: RequestInit): Promise<string> {
  const response = await fetch(`${gateway.url}${path}`, {
    ...init,
    headers: { 'x-api-key': gateway.key, 'content-type': 'application/json' },
  })
  return response.text()
}

const get = (path: string): Promise<string> => send(path, {})
const post = (path: string, body: unknown): Promise<string> =>
  send(path, { method: 'POST', body: JSON.stringify(body) })

const metrics = (item: object): [string, object] => ['/api/v1/metrics/batch', [item]]
const events = (item: object): [string, object] => ['/api/v1/events/batch', [item]]
const graphql = (query: string, variables: object = {}): [string, object] => ['/graphql', { query, variables }]
const query = (parameter: string): [string, undefined] => [`/api/v1/metrics/${LONG}/query?${parameter}`, undefined]

it.each<[string, string, [path: string, body: unknown]]>([
  ['a name of another type', 'type_conflict', metrics({ name: LONG, type: 'counter', value: 1 })],
  ['a name of too many series', 'series_limit', metrics({ name: LONG, type: 'gauge', value: 1, tags: { a: 1 } })],
  ['a type', 'invalid_type', metrics({ name: 'a', type: VAST, value: 1 })],
  ['a value', 'invalid_value', metrics({ name: 'a', type: 'gauge', value: VAST })],
  ['a tag key', 'invalid_tags', metrics({ name: 'a', type: 'gauge', value: 1, tags: { [VAST]: 1 } })],
  ['the key of a bad tag', 'invalid_tags', metrics({ name: 'a', type: 'gauge', value: 1, tags: { [TAG]: [] } })],
  ['the tags', 'invalid_tags', metrics({ name: 'a', type: 'gauge', value: 1, tags: VAST })],
  ['an item', 'invalid_body', ['/api/v1/metrics/batch', [VAST]]],
  ['an event', 'invalid_body', ['/api/v1/events/batch', [VAST]]],
  ['the value of an event', 'invalid_value', events({ name: 'a', value: VAST })],
  ['the properties of an event', 'invalid_value', events({ name: 'a', properties: VAST })],
  ['the tag of an event', 'invalid_tags', events({ name: 'a', tags: { [TAG]: {} } })],
  ['a combined item', 'type_conflict', ['/api/v1/flux/batch', { metrics: [{ name: LONG, type: 'set', value: 'a' }] }]],
  ['an unknown metric', 'metric_not_found', [`/api/v1/metrics/y${LONG}`, undefined]],
  ['an unknown metric that is queried', 'metric_not_found', [`/api/v1/metrics/y${LONG}/query`, undefined]],
  ['an aggregation', 'invalid_aggregation', query(`aggregation=${VAST}`)],
  ['an interval', 'invalid_interval', query(`interval=${VAST}`)],
  ['a time', 'invalid_range', query(`from=${VAST}`)],
  ['a time zone', 'invalid_interval', query(`timezone=${VAST}`)],
  ['a fill', 'invalid_range', query(`fill=${VAST}`)],
  ['a term of group_by', 'invalid_group_by', query(`group_by=${VAST}`)],
  ['a parameter', 'invalid_tags', query(`tags[${VAST}=1`)],
  ['a limit', 'invalid_value', [`/api/v1/metrics?limit=${VAST}`, undefined]],
  ['a type to list', 'invalid_type', [`/api/v1/metrics?type=${VAST}`, undefined]],
  ['a cursor of events', 'invalid_range', [`/api/v1/events?after=${VAST}`, undefined]],
  [
    'a name over GraphQL',
    'TYPE_CONFLICT',
    graphql('mutation ($i: MetricInput!) { trackMetric(input: $i) { name } }', {
      i: { name: LONG, type: 'SET', value: 'a' },
    }),
  ],
  ['a queried name over GraphQL', 'METRIC_NOT_FOUND', graphql(`{ query(metric: "y${LONG}") { from } }`)],
  [
    'an empty list of tags',
    'INVALID_TAGS',
    graphql('query ($t: TagSelector) { query(metric: "a", tags: $t) { from } }', { t: { [VAST]: [] } }),
  ],
  [
    'a bad tag of a selector',
    'INVALID_TAGS',
    graphql('query ($t: TagSelector) { query(metric: "a", tags: $t) { from } }', { t: { [VAST]: {} } }),
  ],
  [
    'a filter that says nothing',
    'INVALID_TAGS',
    graphql(`{ query(metric: "${LONG}", where: [{ key: "${VAST}" }]) { from } }`),
  ],
  ['a word without quotes', 'strings need quotes', graphql(`{ query(metric: "a", tags: { a: ${VAST} }) { from } }`)],
])('an error message quotes at most 64 characters of %s', async (_name, code, [path, body]) => {
  const text = await (body === undefined ? get(path) : post(path, body))
  expect(text).toContain(code)
  expect(text).not.toMatch(/x{65}/)
})
