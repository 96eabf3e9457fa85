import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../../src/model/errors.ts'
import { runAtOnce } from '../../../src/model/steps.ts'
import { CumulativeHistograms } from '../../../src/wire/histogram/cumulative-histograms.ts'
import { decodeOtlpJson, jsonNeedsIdempotencyKey } from '../../../src/wire/otlp/otlp-json.ts'
import { decodeOtlpProtobuf, protobufNeedsIdempotencyKey } from '../../../src/wire/otlp/otlp-protobuf.ts'
import { DEFAULT_POINT_LIMITS } from '../../support/defaults.ts'
import { createRecordingSink, type RecordingSink } from '../../support/fake-gateway.ts'
import {
  attributes,
  encodeOtlp,
  type OtlpMetricJson,
  type OtlpPoint,
  type OtlpRequest,
  type OtlpValue,
  requestOf,
} from '../../support/otlp-request.ts'
import { Message } from '../../support/protobuf.ts'

const NOW_MS = Date.UTC(2024, 0, 15, 12)
const nanos = (ms: number): string => `${ms}000000`
const START = nanos(NOW_MS - 60_000)
const TIME = nanos(NOW_MS - 1_000)
const DELTA = 1
const CUMULATIVE = 2

interface Options {
  readonly tags?: readonly string[]
  readonly pointsMax?: number
  readonly recorder?: RecordingSink
  readonly histograms?: CumulativeHistograms
}

function decode(encoding: 'protobuf' | 'json', request: OtlpRequest, given: Options = {}): RecordingSink {
  const { tags = [], pointsMax = 1_000, recorder = createRecordingSink('shop'), histograms } = given
  const options = {
    nowMs: NOW_MS,
    limits: DEFAULT_POINT_LIMITS,
    pointsMax,
    configuredTagKeys: new Set(tags),
    histogramChanges: (histograms ?? new CumulativeHistograms(0)).beginChanges('shop'),
  }
  if (encoding === 'json') runAtOnce(decodeOtlpJson(JSON.parse(JSON.stringify(request)), recorder.sink, options))
  else runAtOnce(decodeOtlpProtobuf(encodeOtlp(request), recorder.sink, options))
  return recorder
}

/** `type name{tag=value,…} how value[×weight][ since start]` of each point; start and time as seconds before now. */
function spelt({ points, errors }: RecordingSink): string[] {
  const ago = (ms: number) => `${(NOW_MS - ms) / 1_000}s`
  const lines = points.map(({ name, tags, type, how, value, weight, timeMs, startMs }) => {
    const labels = tags.map(([key, text]) => `${key}=${text}`).join(',')
    const more = `${weight === undefined ? '' : `×${weight}`}${startMs === undefined ? '' : ` since ${ago(startMs)}`}`
    return `${type} ${name}{${labels}} ${how} ${value}${more} @${ago(timeMs)}`
  })
  return [...lines, ...errors.map(({ index, code }) => `${index} ${code}`)]
}

const point = (given: OtlpPoint): OtlpPoint => ({ startTimeUnixNano: START, timeUnixNano: TIME, ...given })
const gauge = (...dataPoints: OtlpPoint[]): OtlpMetricJson => ({
  name: 'm',
  gauge: { dataPoints: dataPoints.map(point) },
})
const sum = (aggregationTemporality: number, isMonotonic: boolean, ...given: OtlpPoint[]): OtlpMetricJson => ({
  name: 'm',
  sum: { dataPoints: given.map(point), aggregationTemporality, isMonotonic },
})
const histogram = (aggregationTemporality: number, given: OtlpPoint): OtlpMetricJson => ({
  name: 'm',
  histogram: { dataPoints: [point(given)], aggregationTemporality },
})
const exponential = (aggregationTemporality: number, ...given: OtlpPoint[]): OtlpMetricJson => ({
  name: 'm',
  exponentialHistogram: { dataPoints: given.map(point), aggregationTemporality },
})
const BUCKETS = { count: '6', sum: 12.5, min: 0.5, max: 4, bucketCounts: ['1', '2', '3'], explicitBounds: [1, 2.5] }
const value = (given: OtlpValue, key = 'k') => gauge({ asInt: 1, attributes: [{ key, value: given }] })

describe.each(['protobuf', 'json'] as const)('in %s,', (encoding) => {
  it.each<[string, OtlpMetricJson, string[]]>([
    ['a gauge of a double', gauge({ asDouble: 1.5 }), ['gauge m{} add 1.5 @1s']],
    ['a gauge of an integer', gauge({ asInt: '-7' }), ['gauge m{} add -7 @1s']],
    ['an integer beyond 2^53', gauge({ asInt: '9007199254740993' }), ['gauge m{} add 9007199254740992 @1s']],
    ['a point without a time', gauge({ asInt: 1, timeUnixNano: '0' }), ['gauge m{} add 1 @0s']],
    [
      'the last nanosecond of a millisecond',
      gauge({ asInt: 1, timeUnixNano: `${NOW_MS - 1}999999` }),
      ['gauge m{} add 1 @0.001s'],
    ],
    ['a monotonic delta', sum(DELTA, true, { asInt: 5 }), ['counter m{} add 5 @1s']],
    ['a delta that may be negative', sum(DELTA, false, { asInt: -5 }), ['counter m{} add -5 @1s']],
    ['a running total', sum(CUMULATIVE, true, { asInt: 5 }), ['counter m{} addTotalSince 5 since 60s @1s']],
    [
      'a running total without a start',
      sum(CUMULATIVE, true, { asInt: 5, startTimeUnixNano: '0' }),
      ['counter m{} addTotal 5 @1s'],
    ],
    [
      'a running total that starts at its own time',
      sum(CUMULATIVE, true, { asInt: 5, startTimeUnixNano: TIME }),
      ['counter m{} addTotal 5 @1s'],
    ],
    [
      'a running total that starts in its own millisecond',
      sum(CUMULATIVE, true, { asInt: 5, startTimeUnixNano: TIME, timeUnixNano: `${NOW_MS - 1_000}000001` }),
      ['counter m{} addTotalSince 5 since 1s @0.999s'],
    ],
    ['a total that may go down', sum(CUMULATIVE, false, { asInt: 5 }), ['gauge m{} add 5 @1s']],
    ['a sum without temporality', sum(0, true, { asInt: 5 }), ['0 invalid_value']],
    [
      'no value, one that is not a number, and no recorded value',
      gauge({}, { asDouble: 'NaN' }, { asInt: 1, flags: 1 }),
      [],
    ],
    ['an infinite value', gauge({ asDouble: 'Infinity' }, { asInt: 1 }), ['gauge m{} add 1 @1s', '0 invalid_value']],
    [
      'a point two days ahead',
      gauge({ asInt: 1, timeUnixNano: nanos(NOW_MS + 2 * 86_400_000) }),
      ['0 invalid_timestamp'],
    ],
    [
      'a histogram of deltas',
      histogram(DELTA, BUCKETS),
      [
        'histogram m{upper_limit=1} add 1 @1s',
        'histogram m{upper_limit=2.5} add 2 @1s',
        'histogram m{upper_limit=+Inf} add 3 @1s',
        'counter m_count{} add 6 @1s',
        'counter m_sum{} add 12.5 @1s',
        'gauge m_min{} add 0.5 @1s',
        'gauge m_max{} add 4 @1s',
      ],
    ],
    [
      'a cumulative histogram',
      histogram(CUMULATIVE, { count: 1, bucketCounts: [1, 0], explicitBounds: [5] }),
      [
        'histogram m{upper_limit=5} addTotalSince 1 since 60s @1s',
        'histogram m{upper_limit=+Inf} addTotalSince 0 since 60s @1s',
        'counter m_count{} addTotalSince 1 since 60s @1s',
      ],
    ],
    [
      'a histogram without buckets',
      histogram(DELTA, { count: 3 }),
      ['histogram m{upper_limit=+Inf} add 3 @1s', 'counter m_count{} add 3 @1s'],
    ],
    ['a histogram with too few counts', histogram(DELTA, { ...BUCKETS, bucketCounts: [1, 2] }), ['0 invalid_value']],
    [
      'a histogram with bounds that fall',
      histogram(DELTA, { ...BUCKETS, explicitBounds: [2, 1] }),
      ['0 invalid_value'],
    ],
    [
      'an exponential histogram of deltas',
      exponential(DELTA, {
        scale: 0,
        zeroCount: 2,
        positive: { offset: 1, bucketCounts: [1, 0, 3] },
        negative: { offset: 0, bucketCounts: [4] },
      }),
      [
        `distribution m{} addWeighted ${-Math.SQRT2}×4 @1s`,
        'distribution m{} addWeighted 0×2 @1s',
        `distribution m{} addWeighted ${2 ** 1.5}×1 @1s`,
        `distribution m{} addWeighted ${2 ** 3.5}×3 @1s`,
      ],
    ],
    ['a scale that no double needs', exponential(DELTA, { scale: 21 }), ['0 invalid_value']],
    [
      'a count beyond 2^53',
      exponential(DELTA, { positive: { bucketCounts: ['9007199254740994'] } }),
      ['0 invalid_value'],
    ],
    [
      'a summary',
      {
        name: 'm',
        summary: {
          dataPoints: [
            point({
              count: 10,
              sum: 25,
              quantileValues: [
                { quantile: 0.5, value: 2 },
                { quantile: 0.9, value: null },
                { quantile: 1, value: 7.5 },
              ],
            }),
          ],
        },
      },
      [
        'summary m{quantile=0.5} add 2 @1s',
        'summary m{quantile=0.9} add 0 @1s',
        'summary m{quantile=1} add 7.5 @1s',
        'counter m_count{} addTotalSince 10 since 60s @1s',
        'counter m_sum{} addTotalSince 25 since 60s @1s',
      ],
    ],
    ['a text', value({ stringValue: 'ä\u{1f600}' }), ['gauge m{k=ä\u{1f600}} add 1 @1s']],
    ['a boolean', value({ boolValue: false }), ['gauge m{k=false} add 1 @1s']],
    [
      'an integer with all digits',
      value({ intValue: '-9223372036854775807' }),
      ['gauge m{k=-9223372036854775807} add 1 @1s'],
    ],
    ['a double', value({ doubleValue: 0.1 }), ['gauge m{k=0.1} add 1 @1s']],
    ['bytes', value({ bytesValue: '/wA=' }), ['gauge m{k=/wA=} add 1 @1s']],
    [
      'a list',
      value({ arrayValue: { values: [{ stringValue: 'a' }, {}, { intValue: 2 }] } }),
      ['gauge m{k=a,2} add 1 @1s'],
    ],
    [
      'a map',
      value({ kvlistValue: { values: [...attributes({ a: 'x' }), { key: 'b', value: { intValue: 2 } }] } }),
      ['gauge m{k={"a":"x","b":2}} add 1 @1s'],
    ],
    [
      'a map with a key that is absent',
      value({ kvlistValue: { values: [{ value: { intValue: 1 } }] } } as unknown as OtlpValue),
      ['gauge m{k={"":1}} add 1 @1s'],
    ],
    ['an attribute without a value', value({}), ['gauge m{} add 1 @1s']],
    ['an attribute that is too long', value({ stringValue: 'x'.repeat(257) }), ['0 invalid_tags']],
    ['an attribute without a key', value({ stringValue: 'x' }, ''), ['0 invalid_tags']],
    [
      'too many attributes',
      gauge({
        asInt: 1,
        attributes: attributes(Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`k${i}`, 'v']))),
      }),
      ['0 invalid_tags'],
    ],
    ['a metric without a name', { ...gauge({ asInt: 1 }), name: '' }, ['0 missing_name']],
  ])('%s', (_, metric, expected) => {
    expect(spelt(decode(encoding, requestOf(metric)))).toEqual(expected)
  })

  it('resource and scope attributes that are wanted become tags, and a point overrides them', () => {
    const request: OtlpRequest = {
      resourceMetrics: [
        {
          resource: { attributes: attributes({ 'service.name': 'shop', 'host.name': 'a', 'process.pid': '1' }) },
          scopeMetrics: [
            {
              scope: { name: 'http', version: '2', attributes: attributes({ zone: 'z' }) },
              metrics: [gauge({ asInt: 1, attributes: attributes({ 'host.name': 'b' }) })],
            },
          ],
        },
        { scopeMetrics: [{ metrics: [gauge({ asInt: 2 })] }] },
      ],
    }
    expect(spelt(decode(encoding, request))).toEqual([
      'gauge m{service.name=shop,host.name=b} add 1 @1s',
      'gauge m{} add 2 @1s',
    ])
    expect(spelt(decode(encoding, request, { tags: ['host.name', 'otel.scope.name', 'zone'] }))).toEqual([
      'gauge m{service.name=shop,host.name=a,otel.scope.name=http,zone=z,host.name=b} add 1 @1s',
      'gauge m{} add 2 @1s',
    ])
  })

  it('a cumulative exponential histogram counts what was added since the one before', () => {
    const histograms = new CumulativeHistograms(NOW_MS - 120_000)
    const recorder = createRecordingSink('shop')
    const at = (seconds: number, counts: number[], startTimeUnixNano = START) =>
      decode(
        encoding,
        requestOf(
          exponential(CUMULATIVE, {
            startTimeUnixNano,
            timeUnixNano: nanos(NOW_MS - seconds * 1_000),
            scale: 0,
            positive: { offset: 0, bucketCounts: counts },
          }),
        ),
        { recorder, histograms },
      )
    at(50, [1])
    at(40, [1, 2])
    at(40, [1, 2])
    at(45, [1, 1])
    at(20, [3, 2], nanos(NOW_MS - 30_000))
    expect(spelt(recorder)).toEqual([
      `distribution m{} addWeighted ${Math.SQRT2}×1 @50s`,
      `distribution m{} addWeighted ${2 ** 1.5}×2 @40s`,
      `distribution m{} addWeighted ${Math.SQRT2}×3 @20s`,
      `distribution m{} addWeighted ${2 ** 1.5}×2 @20s`,
    ])
  })

  it('more points than a request may have are refused', () => {
    const request = requestOf(gauge({ asInt: 1 }, { asInt: 2 }, { asInt: 3 }))
    expect(() => decode(encoding, request, { pointsMax: 2 })).toThrow(
      expect.objectContaining({ code: 'payload_too_large' }),
    )
  })

  it.each<[string, OtlpMetricJson, boolean]>([
    ['a gauge', gauge({ asInt: 1 }), false],
    ['a running total', sum(CUMULATIVE, true, { asInt: 1 }), false],
    ['a delta', sum(DELTA, true, { asInt: 1 }), true],
    ['a histogram of deltas', histogram(DELTA, BUCKETS), true],
    ['a cumulative histogram', histogram(CUMULATIVE, BUCKETS), false],
    ['a cumulative exponential histogram', exponential(CUMULATIVE, {}), true],
  ])('whether a request must not count twice: %s', (_, metric, isMarked) => {
    const request = requestOf(gauge({ asInt: 1 }), metric)
    const needs =
      encoding === 'json' ? jsonNeedsIdempotencyKey(request) : protobufNeedsIdempotencyKey(encodeOtlp(request))
    expect(runAtOnce(needs)).toBe(isMarked)
  })
})

describe('a series found by its bytes', () => {
  it('is the same as one that was decoded', () => {
    const recorder = createRecordingSink('shop')
    const request: OtlpRequest = {
      resourceMetrics: [
        {
          resource: { attributes: attributes({ 'service.name': 'a' }) },
          scopeMetrics: [{ metrics: [gauge({ asInt: 1, attributes: attributes({ k: 'v' }) }, { asInt: 2 })] }],
        },
        {
          resource: { attributes: attributes({ 'service.name': 'b' }) },
          scopeMetrics: [{ metrics: [sum(DELTA, true, { asInt: 3, attributes: attributes({ k: 'v' }) })] }],
        },
      ],
    }
    decode('protobuf', request, { recorder })
    const first = spelt(recorder)
    const known = recorder.sink.itemCache.size
    expect(known).toBe(3)
    decode('protobuf', request, { recorder })
    expect(spelt(recorder)).toEqual([...first, ...first])
    expect(recorder.sink.itemCache.size).toBe(known)
  })

  it('is not taken for a metric that has become another type', () => {
    const recorder = createRecordingSink('shop')
    decode('protobuf', requestOf(gauge({ asInt: 1 })), { recorder })
    decode('protobuf', requestOf(sum(DELTA, true, { asInt: 2 })), { recorder })
    expect(spelt(recorder)).toEqual(['gauge m{} add 1 @1s', 'counter m{} add 2 @1s'])
  })

  it('has all attributes, when others lie between them', () => {
    const recorder = createRecordingSink('shop')
    const keyValue = (key: string) => new Message().bytes(1, key).bytes(2, new Message().bytes(1, 'v'))
    const number = new Message().bytes(7, keyValue('a')).fixed64(6, 5).bytes(7, keyValue('b'))
    const metric = new Message().bytes(1, 'm').bytes(5, new Message().bytes(1, number))
    const body = new Message().bytes(1, new Message().bytes(2, new Message().bytes(2, metric))).finish()
    const options = {
      nowMs: NOW_MS,
      limits: DEFAULT_POINT_LIMITS,
      pointsMax: 10,
      configuredTagKeys: new Set<string>(),
      histogramChanges: new CumulativeHistograms(0).beginChanges('shop'),
    }
    runAtOnce(decodeOtlpProtobuf(body, recorder.sink, options))
    expect(spelt(recorder)).toEqual(['gauge m{a=v,b=v} add 5 @0s'])
  })
})

describe('a body of another structure', () => {
  const refused = (body: unknown): string => {
    const options = {
      nowMs: NOW_MS,
      limits: DEFAULT_POINT_LIMITS,
      pointsMax: 10,
      configuredTagKeys: new Set<string>(),
      histogramChanges: new CumulativeHistograms(0).beginChanges('shop'),
    }
    const { sink } = createRecordingSink('shop')
    const steps =
      body instanceof Uint8Array ? decodeOtlpProtobuf(body, sink, options) : decodeOtlpJson(body, sink, options)
    try {
      runAtOnce(steps)
      return 'accepted'
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error
      return `${error.code}: ${error.message}`
    }
  }
  const metric = (given: unknown) => ({ resourceMetrics: [{ scopeMetrics: [{ metrics: [given] }] }] })
  it.each<[unknown, string]>([
    [[], 'the body must be an object, not an array'],
    [{ resourceMetrics: 1 }, 'resourceMetrics must be an array, not 1'],
    [{ resourceMetrics: [null] }, 'resourceMetrics[0] must be an object, not null'],
    [
      metric({ name: 'm', gauge: { dataPoints: {} } }),
      'resourceMetrics[0].scopeMetrics[0].metrics[0].gauge.dataPoints must be an array',
    ],
    [metric({ name: 'm', gauge: { dataPoints: [{ asInt: '1.5' }] } }), 'an integer must be digits'],
    [metric({ name: 'm', gauge: { dataPoints: [{ asDouble: true }] } }), 'a number must be a number, not true'],
  ])('in JSON: %j', (body, reason) => {
    expect(refused(body)).toContain(`invalid_body: ${reason}`)
  })

  it.each<[string, Message, string]>([
    ['ends too early', new Message().raw([0x0a, 0x05, 0x12]), 'a length reaches beyond the end (at byte 2)'],
    ['has a field number 0', new Message().raw([0x00]), 'a field has the number 0'],
    ['has a group', new Message().raw([0x0b]), 'field 1 is of wire type 3, not a length-delimited value'],
    ['has a long varint', new Message().raw(Array(11).fill(0xff)), 'a varint has more than 10 bytes'],
    ['has a number for a message', new Message().varint(1, 5), 'field 1 is a varint, not a length-delimited value'],
    [
      'has a field that reaches beyond its message',
      new Message().raw([0x0a, 0x02, 0x12, 0x02, 0, 0]),
      'a field reaches beyond its message',
    ],
    [
      'has a text that is not UTF-8',
      new Message().bytes(
        1,
        new Message().bytes(2, new Message().bytes(2, new Message().bytes(1, Buffer.from([0xff])))),
      ),
      'field 1 is not valid UTF-8',
    ],
  ])('in protobuf: one that %s', (_, body, reason) => {
    expect(refused(body.finish())).toContain(`invalid_body: the body is not valid protobuf: ${reason}`)
  })

  it('in protobuf: an attribute nested without end', () => {
    let nested = new Message().bytes(1, 'x')
    for (let i = 0; i < 100; i++) nested = new Message().bytes(5, new Message().bytes(1, nested))
    const number = new Message().fixed64(6, 5).bytes(7, new Message().bytes(1, 'k').bytes(2, nested))
    const given = new Message().bytes(1, 'm').bytes(5, new Message().bytes(1, number))
    const body = new Message().bytes(1, new Message().bytes(2, new Message().bytes(2, given)))
    expect(refused(body.finish())).toContain('an attribute is nested deeper than 16 levels')
  })

  it('in JSON: an attribute nested without end', () => {
    let nested: unknown = { stringValue: 'x' }
    for (let i = 0; i < 100; i++) nested = { arrayValue: { values: [nested] } }
    const given = { name: 'm', gauge: { dataPoints: [{ asInt: 1, attributes: [{ key: 'k', value: nested }] }] } }
    expect(refused(metric(given))).toContain('an attribute is nested deeper than 16 levels')
  })
})
