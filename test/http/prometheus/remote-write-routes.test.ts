import { describe, expect, it } from 'vitest'
import { type ErrorCode, GatewayError } from '../../../src/model/errors.ts'
import { reject } from '../../../src/model/point.ts'
import { metricRow } from '../../support/fake-gateway.ts'
import { createFakeServer, NOW_MS } from '../../support/fake-server.ts'
import { Message } from '../../support/protobuf.ts'
import {
  COUNTER,
  GAUGE,
  type Series,
  snappyLiterals,
  writeRequestV1,
  writeRequestV2,
} from '../../support/remote-write.ts'

const V1 = { 'content-type': 'application/x-protobuf', 'content-encoding': 'snappy' }
const V2 = { ...V1, 'content-type': 'application/x-protobuf;proto=io.prometheus.write.v2.Request' }
const series = (name: string): Series => ({ labels: { __name__: name }, samples: [[1, NOW_MS]] })
const native: Series = {
  labels: { __name__: 'rt' },
  histograms: [
    new Message().bytes(11, new Message().varint(2, 1)).packedSints(12, [2]).varint(14, 1).varint(15, NOW_MS),
  ],
}
const v1 = (...given: Series[]) => snappyLiterals(writeRequestV1(given))
const v2 = (...given: Series[]) => snappyLiterals(writeRequestV2(given))
const written = (headers: Record<string, unknown>) =>
  ['samples', 'histograms', 'exemplars'].map((kind) => headers[`x-prometheus-remote-write-${kind}-written`])

describe('POST /api/v1/write', () => {
  it.each<[string, Buffer, Record<string, string>]>([
    ['1.0', v1(series('a'), native), V1],
    [
      '1.0 that names its message',
      v1(series('a'), native),
      { ...V1, 'content-type': 'application/x-protobuf; proto=prometheus.WriteRequest' },
    ],
    ['2.0', v2(series('a'), native), V2],
  ])('stores %s and says how much', async (_, body, headers) => {
    const { post, gateway } = createFakeServer()
    const response = await post('/api/v1/write', body, headers)
    expect([response.statusCode, response.body]).toEqual([204, ''])
    expect(written(response.headers)).toEqual(['1', '1', '0'])
    expect(gateway.points.map(({ name, type }) => `${type} ${name}`)).toEqual(['gauge a', 'distribution rt'])
  })

  it('stores the good samples, and the others are not sent again', async () => {
    const { post, gateway } = createFakeServer({
      resolve: (name) => (name.startsWith('bad') ? reject('series_limit_exceeded', 'no') : undefined),
    })
    const response = await post('/api/v1/write', v2(series('a'), series('bad'), series('bad2'), series('b')), V2)
    expect([response.statusCode, response.body]).toEqual([
      400,
      '2 of 4 samples were not stored: series_limit_exceeded: no',
    ])
    expect(written(response.headers)).toEqual(['2', '0', '0'])
    expect(gateway.points.map(({ name }) => name)).toEqual(['a', 'b'])
  })

  it('marks requests with native histograms alone', async () => {
    const { post, gateway } = createFakeServer()
    await post('/api/v1/write', v1(series('a')), V1)
    await post('/api/v1/write', v1(native), V1)
    await post('/api/v1/write', v2(native), V2)
    await post('/api/v1/write', v1(native), { ...V1, 'idempotency-key': 'mine' })
    const [plain, first, second, given] = gateway.keysTracked
    expect([plain, given]).toEqual([undefined, 'mine'])
    expect([first, second]).toEqual([expect.stringMatching(/^write-[0-9a-f]{64}$/), expect.stringMatching(/^write-/)])
    expect(first).not.toBe(second)
  })

  it('takes the type of a metric from metadata of an earlier request', async () => {
    const { post, gateway } = createFakeServer()
    const families = [{ name: 'hits', type: COUNTER, help: 'Hits.' }]
    const metadata = await post('/api/v1/write', snappyLiterals(writeRequestV1([], families)), V1)
    expect(metadata.statusCode).toBe(204)
    await post('/api/v1/write', v1(series('hits')), V1)
    expect(gateway.points.map(({ name, type }) => `${type} ${name}`)).toEqual(['counter hits'])
  })

  it('leaves a metric the type that it has, whatever metadata says later', async () => {
    const metrics = [metricRow({ name: 'hits', type: 'gauge' }), metricRow({ name: 'made_total', type: 'counter' })]
    const { post, gateway } = createFakeServer({ metrics })
    const families = [
      { name: 'hits', type: COUNTER },
      { name: 'made_total', type: GAUGE },
    ]
    await post('/api/v1/write', snappyLiterals(writeRequestV1([], families)), V1)
    await post('/api/v1/write', v1(series('hits'), series('made_total')), V1)
    expect(gateway.points.map(({ name, type }) => `${type} ${name}`)).toEqual(['gauge hits', 'counter made_total'])
  })

  it.each<[string, Buffer, Record<string, string>, number, string]>([
    [
      'a body that is not Snappy',
      Buffer.from('0afcfaffffff', 'hex'),
      V1,
      400,
      'invalid_body: the body is not valid Snappy',
    ],
    [
      'a body that is not protobuf',
      snappyLiterals(Buffer.from([0x0a, 0x05])),
      V1,
      400,
      'invalid_body: the body is not valid protobuf',
    ],
    ['an empty body', Buffer.alloc(0), V1, 400, 'invalid_body: '],
    [
      'a length above the limit',
      Buffer.from([0xc9, 0x01, 0xfe, 1, 0, 0xfe, 1, 0, 0xfe, 1, 0, 0xfe]),
      V1,
      413,
      'payload_too_large: ',
    ],
    [
      'another message',
      v1(),
      { ...V1, 'content-type': 'application/x-protobuf;proto=other.Message' },
      415,
      'unsupported_media_type: ',
    ],
    ['JSON', v1(), { ...V1, 'content-type': 'application/json' }, 415, 'unsupported_media_type: '],
    ['another compression', v1(), { ...V1, 'content-encoding': 'zstd' }, 415, 'unsupported_media_type: '],
    ['an unknown key', v1(), { ...V1, authorization: 'Bearer none' }, 401, 'invalid_api_key: '],
  ])('refuses %s', async (_, body, headers, status, message) => {
    const { post } = createFakeServer({}, { bodyBytesMax: 200 })
    const response = await post('/api/v1/write', body, headers)
    expect([response.statusCode, response.headers['content-type']]).toEqual([status, 'text/plain; charset=utf-8'])
    expect(response.body).toContain(message)
  })

  it.each<[ErrorCode, number, string | undefined]>([
    ['overloaded', 503, '1'],
    ['store_unavailable', 503, '5'],
    ['request_timeout', 503, '1'],
    ['internal', 500, undefined],
  ])('%s is status %i, which a sender retries', async (code, status, retryAfter) => {
    const { post } = createFakeServer({
      before: (verb) => {
        if (verb === 'track') throw new GatewayError(code, 'no')
      },
    })
    const response = await post('/api/v1/write', v1(series('a')), V1)
    expect([response.statusCode, response.headers['retry-after']]).toEqual([status, retryAfter])
  })

  it('counts what a body becomes against the budget of bodies', async () => {
    const { post, app } = createFakeServer({}, { bodiesBytesMax: 5_000, bodiesBytesPerNetworkMax: 5_000 })
    const zeros = Buffer.from([0x80, 0x7d, 0x00, 0, ...Array.from({ length: 250 }, () => [0xfe, 1, 0]).flat()])
    const response = await post('/api/v1/write', zeros, V1)
    expect([response.statusCode, response.body]).toEqual([503, expect.stringContaining('overloaded: ')])
    expect(app.bodyBudget.usedBytes).toBe(0)
  })

  it('takes permits of its own class', async () => {
    const classes: string[] = []
    const { post } = createFakeServer({
      takePermit: (rateClass) => {
        classes.push(rateClass)
        return { isGranted: false, limit: 3_000, remaining: 0, resetSeconds: 7 }
      },
    })
    const response = await post('/api/v1/write', v1(series('a')), V1)
    expect([response.statusCode, response.headers['retry-after'], classes]).toEqual([429, '7', ['write']])
  })
})
