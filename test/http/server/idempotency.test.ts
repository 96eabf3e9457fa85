import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startGateway, type TestGateway } from '../../support/gateway.ts'

/** The header `Idempotency-Key` and its argument in GraphQL, over HTTP against the whole gateway. */

let gateway: TestGateway
let nowMs = Date.UTC(2024, 0, 15, 12)

beforeAll(async () => {
  gateway = await startGateway({ now: () => nowMs })
})
afterAll(() => gateway.close())

async function post(path: string, body: string, key?: string): Promise<{ status: number; body: string }> {
  const response = await fetch(`${gateway.url}${path}`, {
    method: 'POST',
    headers: {
      'x-api-key': gateway.key,
      'content-type': 'application/json',
      ...(key !== undefined && { 'idempotency-key': key }),
    },
    body,
  })
  return { status: response.status, body: await response.text() }
}

async function points(name: string): Promise<unknown> {
  const response = await fetch(`${gateway.url}/api/v1/metrics/${name}`, { headers: { 'x-api-key': gateway.key } })
  const { data } = JSON.parse(await response.text())
  return data?.data_points
}

describe('POST /api/v1/metrics with a key', () => {
  const path = '/api/v1/metrics'

  it('counts once and returns the same bytes, including the time of reception', async () => {
    const body = '{"name":"single","type":"counter","value":1}'
    const first = await post(path, body, 'single-1')
    expect(first).toEqual({
      status: 201,
      body: '{"data":{"name":"single","type":"counter","value":1,"timestamp":"2024-01-15T12:00:00Z"}}',
    })
    nowMs += 3_600_000
    expect(await post(path, body, 'single-1')).toEqual(first)
    expect(await points('single')).toBe(1)
    await post(path, body)
    await post(path, body)
    expect(await points('single')).toBe(3)
  })

  it('returns 409 for another body and for another route', async () => {
    const body = '{"name":"conflict","type":"counter","value":1}'
    await post(path, body, 'conflict-1')
    for (const other of [await post(path, `${body} `, 'conflict-1'), await post(`${path}/batch`, body, 'conflict-1')]) {
      expect(other.status).toBe(409)
      expect(JSON.parse(other.body)).toMatchObject({ error: { code: 'idempotency_conflict' } })
    }
    expect(await points('conflict')).toBe(1)
  })

  it('does not record a refused request: the corrected one may use its key', async () => {
    const bad = await post(path, '{"name":"corrected","type":"counter","value":"x"}', 'corrected-1')
    expect(bad.status).toBe(400)
    expect((await post(path, 'no json', 'corrected-1')).status).toBe(400)
    expect((await post(path, '{"name":"corrected","type":"counter","value":1}', 'corrected-1')).status).toBe(201)
    expect(await points('corrected')).toBe(1)
  })

  it('counts again when the key is a day old', async () => {
    const body = '{"name":"daily","type":"counter","value":1}'
    await post(path, body, 'daily-1')
    nowMs += 86_400_000
    await post(path, body, 'daily-1')
    expect(await points('daily')).toBe(2)
  })

  it('records a small response to a batch of invalid items, and returns it to a retry', async () => {
    const name = '\u0001'.repeat(255)
    await post(path, JSON.stringify({ name, type: 'gauge', value: 1 }))
    const conflicts = JSON.stringify(Array.from({ length: 500 }, () => ({ name, type: 'counter', value: 1 })))
    const first = await post(`${path}/batch`, conflicts, 'conflicts-1')
    const { data, errors } = JSON.parse(first.body)
    expect(data).toEqual({ accepted: 0, rejected: 500 })
    expect(new Set(errors.map(({ code }: { code: string }) => code))).toEqual(new Set(['type_conflict']))
    expect(errors[0].message).toContain('is a gauge, not a counter')
    expect(errors).toHaveLength(500)
    // One of these messages with the whole name in it had 2 KB.
    expect(first.body.length).toBeLessThan(150_000)
    expect(await post(`${path}/batch`, conflicts, 'conflicts-1')).toEqual(first)
  })

  it.each([
    ['an empty key', ''],
    ['a key with a space', 'a b'],
    ['a key of 256 characters', 'k'.repeat(256)],
  ])('returns 400 for %s and stores nothing', async (_, key) => {
    const { status, body } = await post(path, '{"name":"badkey","type":"counter","value":1}', key)
    expect(status).toBe(400)
    expect(JSON.parse(body)).toMatchObject({ error: { code: 'invalid_body' } })
    expect(await points('badkey')).toBeUndefined()
    const plain = await post('/metrics', '{"name":"badkey","gauge":{"value":1}}', key)
    expect(plain).toEqual({ status: 400, body: expect.stringMatching(/^an idempotency key must/) })
    expect(await points('badkey')).toBeUndefined()
  })
})

describe('POST /api/v1/metrics/batch with a key', () => {
  it('counts once and returns the same bytes, including rejected items', async () => {
    const body = JSON.stringify({
      metrics: [
        { name: 'batch.count', type: 'counter', value: 1 },
        { name: 'batch.count', type: 'counter', value: 'x' },
        { name: 'batch.users', type: 'set', value: 'ann' },
        { name: 'batch.ms', type: 'distribution', value: 3 },
      ],
    })
    const first = await post('/api/v1/metrics/batch', body, 'batch-1')
    expect(first.status).toBe(201)
    expect(JSON.parse(first.body)).toMatchObject({
      data: { accepted: 3, rejected: 1 },
      errors: [{ index: 1, code: 'invalid_value' }],
    })
    const responses = await Promise.all(Array.from({ length: 4 }, () => post('/api/v1/metrics/batch', body, 'batch-1')))
    expect(responses).toEqual(Array(4).fill(first))
    for (const name of ['batch.count', 'batch.users', 'batch.ms']) expect(await points(name)).toBe(1)
    await post('/api/v1/metrics/batch', body)
    expect(await points('batch.count')).toBe(2)
  })
})

describe('GraphQL with a key', () => {
  const send = async (query: string, variables: object) => {
    const { status, body } = await post('/graphql', JSON.stringify({ query, variables }))
    expect(status).toBe(200)
    return JSON.parse(body)
  }
  const TRACK =
    'mutation ($input: MetricInput!, $key: ID) { trackMetric(input: $input, idempotencyKey: $key) { name type value timestamp tags } }'
  const TRACK_ALL =
    'mutation ($metrics: [MetricInput!]!, $key: ID) { trackMetrics(metrics: $metrics, idempotencyKey: $key) { accepted rejected errors { index code message } } }'

  it('counts a point once and returns the same result, whatever is selected', async () => {
    const variables = {
      input: { name: 'gql.single', type: 'COUNTER', value: 1.5, tags: { b: '2', a: '1', __proto__: null } },
      key: 'gql-1',
    }
    const first = await send(TRACK, variables)
    expect(first.data.trackMetric).toMatchObject({ name: 'gql.single', value: 1.5, tags: { a: '1', b: '2' } })
    nowMs += 60_000
    expect(await send(TRACK, variables)).toEqual(first)
    const other = TRACK.replace('name type value timestamp tags', 'timestamp metric { dataPoints }')
    expect((await send(other, variables)).data.trackMetric).toEqual({
      timestamp: first.data.trackMetric.timestamp,
      metric: { dataPoints: 1 },
    })
    await send(TRACK, { ...variables, key: null })
    expect(await points('gql.single')).toBe(2)
  })

  it('counts a batch once and returns the same result, including rejected items', async () => {
    const good = { name: 'gql.batch', type: 'COUNTER', value: 1 }
    const variables = { metrics: [good, { ...good, value: 'x' }, good], key: 'gql-2' }
    const first = await send(TRACK_ALL, variables)
    expect(first.data.trackMetrics).toMatchObject({ accepted: 2, rejected: 1, errors: [{ index: 1 }] })
    expect(await send(TRACK_ALL, variables)).toEqual(first)
    expect(await points('gql.batch')).toBe(2)
  })

  it('conflicts with other input, with another field and with REST', async () => {
    const input = { name: 'gql.conflict', type: 'COUNTER', value: 1 }
    await send(TRACK, { input, key: 'gql-3' })
    await post('/api/v1/metrics', '{"name":"gql.conflict","type":"counter","value":1}', 'rest-3')
    for (const { errors } of [
      await send(TRACK, { input: { ...input, value: 2 }, key: 'gql-3' }),
      await send(TRACK_ALL, { metrics: [input], key: 'gql-3' }),
      await send(TRACK, { input, key: 'rest-3' }),
    ])
      expect(errors).toMatchObject([{ extensions: { code: 'IDEMPOTENCY_CONFLICT' } }])
    expect(await points('gql.conflict')).toBe(2)
  })

  it('refuses a malformed key', async () => {
    const input = { name: 'gql.badkey', type: 'COUNTER', value: 1 }
    const { data, errors } = await send(TRACK, { input, key: 'a b' })
    expect(data).toEqual({ trackMetric: null })
    expect(errors).toMatchObject([{ extensions: { code: 'INVALID_BODY' } }])
    expect(await points('gql.badkey')).toBeUndefined()
  })
})
