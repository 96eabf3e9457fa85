import { describe, expect, it } from 'vitest'
import { ALL_SCOPES } from '../../support/fake-gateway.ts'
import { createFakeServer, errorOf } from '../../support/fake-server.ts'

const KEYS = new Map([
  ['reader', { project: 'shop', scopes: ['query'] as const }],
  ['writer', { project: 'shop', scopes: ['ingest'] as const }],
  ['all', { project: 'shop', scopes: ALL_SCOPES }],
])
const URL = '/api/v1/metrics'

function ask(headers: Record<string, string>, url = URL) {
  return createFakeServer({ keys: KEYS }).app.inject({ method: 'GET', url, headers })
}

describe('API keys', () => {
  it.each([
    [{ authorization: 'Bearer reader' }],
    [{ authorization: 'bearer reader' }],
    [{ authorization: 'BEARER   reader' }],
    [{ 'x-api-key': 'reader' }],
    [{ authorization: 'Basic abc', 'x-api-key': 'reader' }],
    [{ authorization: 'Bearer reader', 'x-api-key': 'unknown' }],
  ])('are read from %j', async (headers) => {
    expect((await ask(headers)).statusCode).toBe(200)
  })

  it.each([
    [{}],
    [{ authorization: 'reader' }],
    [{ authorization: 'Bearer' }],
    [{ authorization: 'Bearer ' }],
    [{ authorization: 'Bearer two words' }],
    [{ authorization: 'Basic cmVhZGVy' }],
    [{ 'x-api-key': '' }],
  ])('are missing from %j', async (headers) => {
    const response = await ask(headers)
    expect([response.statusCode, errorOf(response).code]).toEqual([401, 'missing_api_key'])
    expect(response.headers['www-authenticate']).toBe('Bearer')
  })

  it.each([
    '?api_key=reader',
    '?key=reader',
    '?token=reader',
    '?access_token=reader',
    '?x-api-key=reader',
    '?authorization=Bearer+reader',
  ])('are not read from the query string %s', async (parameters) => {
    const response = await ask({}, URL + parameters)
    expect([response.statusCode, errorOf(response).code]).toEqual([401, 'missing_api_key'])
  })

  it.each(['unknown', 'Reader', 'x'.repeat(2_000), '__proto__'])('are refused when unknown: %s', async (key) => {
    const response = await ask({ authorization: `Bearer ${key}` })
    expect([response.statusCode, errorOf(response).code]).toEqual([401, 'invalid_api_key'])
    expect(response.body).not.toContain(key)
  })

  it('allow only what their scopes name', async () => {
    const { get, post } = createFakeServer({ keys: KEYS })
    const reading = await get(URL, { authorization: 'Bearer writer' })
    expect([reading.statusCode, errorOf(reading).code]).toEqual([403, 'forbidden'])
    const body = { name: 'n', type: 'gauge', value: 1 }
    const writing = await post(URL, body, { authorization: 'Bearer reader' })
    expect([writing.statusCode, errorOf(writing).code]).toEqual([403, 'forbidden'])
    expect((await post(URL, body, { authorization: 'Bearer writer' })).statusCode).toBe(201)
  })

  it('are checked before the body is read', async () => {
    const { post, gateway } = createFakeServer({ keys: KEYS }, { bodyBytesMax: 10 })
    const response = await post(URL, 'x'.repeat(100), { authorization: 'Bearer unknown', 'content-type': 'text/html' })
    expect([response.statusCode, errorOf(response).code]).toEqual([401, 'invalid_api_key'])
    expect(gateway.points).toEqual([])
  })
})
