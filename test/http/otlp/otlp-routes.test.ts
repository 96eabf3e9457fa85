import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { type ErrorCode, GatewayError } from '../../../src/model/errors.ts'
import { reject } from '../../../src/model/point.ts'
import { createFakeServer } from '../../support/fake-server.ts'
import { encodeOtlp, type OtlpMetricJson, requestOf } from '../../support/otlp-request.ts'
import { Message } from '../../support/protobuf.ts'

const PROTOBUF = { 'content-type': 'application/x-protobuf' }
const gauge = (name: string): OtlpMetricJson => ({ name, gauge: { dataPoints: [{ asInt: 1 }] } })
const delta: OtlpMetricJson = { name: 'd', sum: { aggregationTemporality: 1, dataPoints: [{ asInt: 1 }] } }
const refuseBad = {
  resolve: (name: string) => (name === 'bad' ? reject('type_conflict', 'bad is a gauge') : undefined),
}

describe('POST /v1/metrics', () => {
  it.each<[string, string | Buffer, Record<string, string>, string]>([
    ['JSON', JSON.stringify(requestOf(gauge('a'))), {}, '{}'],
    [
      'JSON with a charset',
      JSON.stringify(requestOf(gauge('a'))),
      { 'content-type': 'application/json; charset=utf-8' },
      '{}',
    ],
    ['protobuf', encodeOtlp(requestOf(gauge('a'))), PROTOBUF, ''],
    ['protobuf of the newer type', encodeOtlp(requestOf(gauge('a'))), { 'content-type': 'application/protobuf' }, ''],
    ['gzipped protobuf', gzipSync(encodeOtlp(requestOf(gauge('a')))), { ...PROTOBUF, 'content-encoding': 'gzip' }, ''],
  ])('stores %s and answers in kind', async (_, body, headers, expected) => {
    const { post, gateway } = createFakeServer()
    const response = await post('/v1/metrics', body, headers)
    expect([response.statusCode, response.body]).toEqual([200, expected])
    const type = expected === '' ? 'application/x-protobuf' : 'application/json'
    expect(response.headers['content-type']).toBe(type)
    expect(gateway.points).toMatchObject([{ project: 'shop', name: 'a', type: 'gauge', value: 1 }])
  })

  it.each<[string, string | Buffer, Record<string, string>]>([
    ['JSON', JSON.stringify({ resourceMetrics: [] }), {}],
    ['protobuf', Buffer.alloc(0), PROTOBUF],
  ])('takes an empty request in %s', async (_, body, headers) => {
    const response = await createFakeServer().post('/v1/metrics', body, headers)
    expect([response.statusCode, response.body.length]).toEqual([200, body.length === 0 ? 0 : 2])
  })

  it('stores the good points and reports the others', async () => {
    const { post, gateway } = createFakeServer(refuseBad)
    const request = requestOf(gauge('a'), gauge('bad'), gauge('bad'), gauge('b'))
    const json = await post('/v1/metrics', request)
    expect(json.statusCode).toBe(200)
    expect(json.json()).toEqual({
      partialSuccess: { rejectedDataPoints: '2', errorMessage: 'type_conflict: bad is a gauge' },
    })
    const protobuf = await post('/v1/metrics', encodeOtlp(request), PROTOBUF)
    const partial = new Message().varint(1, 2).bytes(2, 'type_conflict: bad is a gauge')
    expect([...protobuf.rawPayload]).toEqual([...new Message().bytes(1, partial).finish()])
    expect(gateway.points.map(({ name }) => name)).toEqual(['a', 'b', 'a', 'b'])
  })

  it('marks requests that must not count twice, by all of their bytes', async () => {
    const { post, gateway } = createFakeServer()
    const other = encodeOtlp(requestOf(delta, gauge('a')))
    await post('/v1/metrics', encodeOtlp(requestOf(gauge('a'))), PROTOBUF)
    for (const body of [encodeOtlp(requestOf(delta)), encodeOtlp(requestOf(delta)), other])
      await post('/v1/metrics', body, PROTOBUF)
    await post('/v1/metrics', requestOf(delta))
    await post('/v1/metrics', requestOf(delta), { 'idempotency-key': 'mine' })
    const [gauges, first, again, more, json, given] = gateway.keysTracked
    expect([gauges, given]).toEqual([undefined, 'mine'])
    expect(first).toMatch(/^otlp-[0-9a-f]{64}$/)
    expect(again).toBe(first)
    expect(new Set([first, more, json]).size).toBe(3)
  })

  it('counts the same again when a request was not stored', async () => {
    let isDown = true
    const { post, gateway } = createFakeServer({
      before: (verb) => {
        if (verb === 'track' && isDown) throw new GatewayError('store_unavailable', 'the store does not respond')
      },
    })
    const startMs = Date.UTC(2024, 0, 15, 12, 1)
    const point = (seconds: number, count: number) => ({
      startTimeUnixNano: `${startMs}000000`,
      timeUnixNano: `${startMs + seconds * 1_000}000000`,
      positive: { bucketCounts: [count] },
    })
    const send = (seconds: number, count: number) =>
      post(
        '/v1/metrics',
        requestOf({
          name: 'm',
          exponentialHistogram: { aggregationTemporality: 2, dataPoints: [point(seconds, count)] },
        }),
      )
    isDown = false
    await send(10, 1)
    isDown = true
    expect((await send(20, 3)).statusCode).toBe(503)
    isDown = false
    await send(20, 3)
    await send(20, 3)
    expect(gateway.points.map(({ weight }) => weight)).toEqual([1, 2])
  })

  it.each<[string, string | Buffer, Record<string, string>, number, number, string]>([
    ['truncated protobuf', Buffer.from([0x0a, 0x05]), PROTOBUF, 400, 3, 'invalid_body: the body is not valid protobuf'],
    ['malformed JSON', '{', {}, 400, 3, 'invalid_body: the body is not valid JSON'],
    ['an empty JSON body', '', {}, 400, 3, 'invalid_body: the body is empty'],
    ['another content type', 'x', { 'content-type': 'text/plain' }, 415, 3, 'unsupported_media_type: '],
    ['an unknown key', '{}', { authorization: 'Bearer none' }, 401, 16, 'invalid_api_key: '],
    ['a body that is too large', 'x'.repeat(101), {}, 413, 8, 'payload_too_large: '],
    ['an encoding that is unknown', '{}', { 'content-encoding': 'zstd' }, 415, 3, 'unsupported_media_type: '],
  ])('refuses %s with a Status in kind', async (_, body, headers, status, code, message) => {
    const { post } = createFakeServer({}, { bodyBytesMax: 100 })
    const response = await post('/v1/metrics', body, headers)
    expect(response.statusCode).toBe(status)
    if (response.headers['content-type'] === 'application/json')
      expect(response.json()).toEqual({ code, message: expect.stringContaining(message) })
    else {
      expect(response.headers['content-type']).toBe('application/x-protobuf')
      expect([...response.rawPayload.subarray(0, 3)]).toEqual([0x08, code, 0x12])
      expect(response.rawPayload.toString()).toContain(message)
    }
  })

  it.each<[ErrorCode, number, string | undefined]>([
    ['overloaded', 503, '1'],
    ['store_unavailable', 503, '5'],
    ['request_timeout', 503, '1'],
    ['internal', 500, undefined],
    ['idempotency_conflict', 409, undefined],
  ])('%s is status %i', async (code, status, retryAfter) => {
    const { post } = createFakeServer({
      before: (verb) => {
        if (verb === 'track') throw new GatewayError(code, 'no')
      },
    })
    const response = await post('/v1/metrics', requestOf(gauge('a')))
    expect([response.statusCode, response.headers['retry-after']]).toEqual([status, retryAfter])
  })

  it('takes permits of its own class', async () => {
    const classes: string[] = []
    const { post } = createFakeServer({
      takePermit: (rateClass) => {
        classes.push(rateClass)
        return { isGranted: false, limit: 3_000, remaining: 0, resetSeconds: 7 }
      },
    })
    const response = await post('/v1/metrics', requestOf(gauge('a')))
    expect([response.statusCode, response.headers['retry-after'], classes]).toEqual([429, '7', ['otlp']])
  })

  it('is not the path of the gateway’s own metrics', async () => {
    const response = await createFakeServer().get('/v1/metrics')
    expect(response.statusCode).toBe(404)
  })
})
