import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import type { OddRequest } from './odd-requests.ts'
import { attributes, encodeOtlp, type OtlpMetricJson, requestOf } from './otlp-request.ts'
import { Message } from './protobuf.ts'
import { type Series, STALE, snappyLiterals, writeRequestV1, writeRequestV2 } from './remote-write.ts'

/**
 * Requests of OTLP, in both encodings, and remote write that are nearly right: valid ones, of which some bytes are
 * changed.
 */

const name = fc.constantFrom('fuzz.a', 'fuzz.b', 'fuzz_total', 'fuzz_bucket')
const number = fc.oneof(fc.constantFrom(0, 1, -1, 2 ** 53, Number.NaN, 1e308), fc.double())
const integer = fc.constantFrom('0', '7', '-1', '9223372036854775807')
const time = fc.constantFrom('0', '1700000000000000000', '-1')
const count = fc.constantFrom('0', '3', '9007199254740993')

const point = fc.record(
  {
    attributes: fc.constantFrom(attributes({ k: 'v' }), attributes({ k: 'x'.repeat(300) }), []),
    startTimeUnixNano: time,
    timeUnixNano: time,
    asInt: integer,
    asDouble: number,
    count,
    sum: number,
    min: number,
    bucketCounts: fc.array(count, { maxLength: 4 }),
    explicitBounds: fc.array(number, { maxLength: 3 }),
    scale: fc.constantFrom(-10, 0, 3, 20, 1_000),
    positive: fc.record({ offset: fc.constantFrom(-5, 0, 2 ** 30), bucketCounts: fc.array(count, { maxLength: 4 }) }),
    quantileValues: fc.array(fc.record({ quantile: number, value: number }), { maxLength: 2 }),
  },
  { requiredKeys: [] },
)
const data = fc.record({
  dataPoints: fc.array(point, { maxLength: 3 }),
  aggregationTemporality: fc.constantFrom(0, 1, 2, 9),
  isMonotonic: fc.boolean(),
})
const metric: fc.Arbitrary<OtlpMetricJson> = fc
  .tuple(name, fc.constantFrom('gauge', 'sum', 'histogram', 'exponentialHistogram', 'summary'), data)
  .map(([metricName, kind, given]) => ({ name: metricName, [kind]: given }))
const otlp = fc.array(metric, { maxLength: 4 }).map((metrics) => requestOf(...metrics))

const histogram = fc
  .tuple(fc.constantFrom(-53, 0, 8, 99), fc.array(fc.constantFrom(-1, 0, 5), { maxLength: 4 }), fc.nat(5_000))
  .map(([schema, deltas, length]) =>
    new Message()
      .sint(4, schema)
      .bytes(11, new Message().sint(1, -3).varint(2, length))
      .packedSints(12, deltas)
      .varint(15, 1_700_000_000_000),
  )
const series: fc.Arbitrary<Series> = fc.record({
  labels: fc.tuple(name, fc.constantFrom('1', '+Inf', 'x')).map(([__name__, le]) => ({ __name__, le })),
  samples: fc.array(fc.tuple(fc.oneof(number, fc.constant(STALE)), fc.constantFrom(0, 1_700_000_000_000, 2 ** 52)), {
    maxLength: 3,
  }),
  histograms: fc.array(histogram, { maxLength: 1 }),
  type: fc.nat(9),
})
const written = fc
  .tuple(fc.array(series, { maxLength: 4 }), fc.boolean())
  .map(([all, isV2]) => Buffer.from(isV2 ? writeRequestV2(all) : writeRequestV1(all)))

const changed = (body: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> =>
  fc.tuple(body, fc.array(fc.tuple(fc.nat(1 << 16), fc.nat(255)), { maxLength: 2 })).map(([start, changes]) => {
    const bytes = Buffer.from(start)
    for (const [at, byte] of changes) if (bytes.length > 0) bytes[at % bytes.length] = byte
    return bytes
  })

/** 20 MiB of copies of one byte. */
const SNAPPY_BOMB = Buffer.concat([
  Buffer.from([0x80, 0x80, 0x80, 0x0a, 0x00, 0x0a]),
  Buffer.alloc(3 * 327_680, Buffer.from([0xfe, 1, 0])),
])

const PROTOBUF = { 'content-type': 'application/x-protobuf' }
const JSON_TYPE = { 'content-type': 'application/json' }
const inProtobuf = fc.record({ type: fc.constant(PROTOBUF), body: changed(otlp.map(encodeOtlp)) })
const inJson = fc.record({
  type: fc.constant(JSON_TYPE),
  body: changed(otlp.map((request) => Buffer.from(JSON.stringify(request)))),
})
const otlpRequest: fc.Arbitrary<OddRequest> = fc
  .tuple(fc.oneof({ weight: 2, arbitrary: inProtobuf }, { weight: 1, arbitrary: inJson }), fc.boolean())
  .map(([{ type, body }, isGzip]) => ({
    path: '/v1/metrics',
    headers: { ...type, ...(isGzip && { 'content-encoding': 'gzip' }) },
    body: isGzip ? gzipSync(body, { level: 1 }) : body,
  }))
const writeTypes = ['', ';proto=io.prometheus.write.v2.Request', ';proto=prometheus.WriteRequest', ';proto=x']
/** Fast-check draws small numbers more often than others: weights say how often. */
const compressed = fc.oneof(
  { weight: 160, arbitrary: changed(written).map(snappyLiterals) },
  { weight: 40, arbitrary: changed(written.map(snappyLiterals)) },
  { weight: 1, arbitrary: fc.constant(SNAPPY_BOMB) },
)
const writeRequest: fc.Arbitrary<OddRequest> = fc
  .tuple(compressed, fc.constantFrom(...writeTypes))
  .map(([body, type]) => ({
    path: '/api/v1/write',
    headers: { 'content-type': `application/x-protobuf${type}`, 'content-encoding': 'snappy' },
    body,
  }))

export const oddProtobuf: fc.Arbitrary<OddRequest> = fc.oneof(otlpRequest, writeRequest)
