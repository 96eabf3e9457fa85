import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../../src/model/errors.ts'
import { reject } from '../../../src/model/point.ts'
import { runAtOnce } from '../../../src/model/steps.ts'
import { CumulativeHistograms } from '../../../src/wire/histogram/cumulative-histograms.ts'
import type { RemoteWriteOptions } from '../../../src/wire/prometheus/deliver-samples.ts'
import type { FamilyMetadata } from '../../../src/wire/prometheus/metadata-cache.ts'
import { decodeWriteRequestV1, readMetadataV1 } from '../../../src/wire/prometheus/write-request-v1.ts'
import { decodeWriteRequestV2, hasHistogramsV2 } from '../../../src/wire/prometheus/write-request-v2.ts'
import { DEFAULT_POINT_LIMITS } from '../../support/defaults.ts'
import { createRecordingSink, type RecordingSink } from '../../support/fake-gateway.ts'
import { Message } from '../../support/protobuf.ts'
import {
  COUNTER,
  GAUGE,
  HISTOGRAM,
  type Series,
  STALE,
  SUMMARY,
  writeRequestV1,
  writeRequestV2,
} from '../../support/remote-write.ts'

const NOW_MS = Date.UTC(2024, 0, 15, 12)
const AT_MS = NOW_MS - 1_000

interface Given {
  readonly recorder?: RecordingSink
  readonly families?: Readonly<Record<string, FamilyMetadata>>
  readonly histograms?: CumulativeHistograms
  readonly pointsMax?: number
}

function decode(version: 1 | 2, body: Uint8Array, given: Given = {}): RecordingSink {
  const { recorder = createRecordingSink('shop'), families = {}, histograms, pointsMax = 1_000 } = given
  const options: RemoteWriteOptions = {
    nowMs: NOW_MS,
    limits: DEFAULT_POINT_LIMITS,
    pointsMax,
    histogramChanges: (histograms ?? new CumulativeHistograms(0)).beginChanges('shop'),
    metadataOf: (family) => families[family],
  }
  const steps = version === 1 ? decodeWriteRequestV1 : decodeWriteRequestV2
  runAtOnce(steps(body, recorder.sink, options))
  return recorder
}

function spelt({ points, errors }: RecordingSink): string[] {
  const lines = points.map(({ name, tags, type, how, value, weight, timeMs, startMs }) => {
    const labels = tags.map(([key, text]) => `${key}=${text}`).join(',')
    const since = startMs === undefined ? '' : ` since ${(NOW_MS - startMs) / 1_000}s`
    return `${type} ${name}{${labels}} ${how} ${value}${weight === undefined ? '' : `×${weight}`}${since} @${(NOW_MS - timeMs) / 1_000}s`
  })
  return [...lines, ...errors.map(({ index, code }) => `${index} ${code}`)]
}

const body = (version: 1 | 2, series: readonly Series[]) =>
  version === 1 ? writeRequestV1(series) : writeRequestV2(series)
const sample = (name: string, labels: Record<string, string> = {}, value: number | typeof STALE = 5): Series => ({
  labels: { __name__: name, ...labels },
  samples: [[value, AT_MS]],
})

/** Positive bins 2 and 3 with counts 1 and 3, bin 6 with 2, at schema 0; two zeros. */
const native = (more = (message: Message): Message => message): Message =>
  more(
    new Message()
      .varint(1, 8)
      .double(3, 100)
      .sint(4, 0)
      .double(5, 0.001)
      .varint(6, 2)
      .bytes(11, new Message().sint(1, 2).varint(2, 2))
      .bytes(11, new Message().sint(1, 2).varint(2, 1))
      .packedSints(12, [1, 2, -1])
      .varint(15, AT_MS),
  )

describe.each([1, 2] as const)('in protocol %i,', (version) => {
  it.each<[string, Series, string[]]>([
    ['a name without a suffix is a gauge', sample('temp', { job: 'a' }), ['gauge temp{job=a} add 5 @1s']],
    ['_total is a counter', sample('hits_total'), ['counter hits_total{} addTotal 5 @1s']],
    ['_count is a counter', sample('rt_count'), ['counter rt_count{} addTotal 5 @1s']],
    ['_sum is a counter', sample('rt_sum'), ['counter rt_sum{} addTotal 5 @1s']],
    ['a bucket', sample('rt_bucket', { le: '1.0' }), ['histogram rt{le=1} addTotal 5 @1s']],
    ['the last bucket', sample('rt_bucket', { le: '+Inf', a: 'b' }), ['histogram rt{le=+Inf,a=b} addTotal 5 @1s']],
    ['a bucket without a limit is a gauge', sample('rt_bucket'), ['gauge rt_bucket{} add 5 @1s']],
    ['a bucket with an odd limit', sample('rt_bucket', { le: 'x' }), ['0 invalid_tags']],
    ['a quantile', sample('rt', { quantile: '0.50' }), ['summary rt{quantile=0.5} add 5 @1s']],
    ['a series without a name', { labels: { a: 'b' }, samples: [[1, AT_MS]] }, ['0 missing_name']],
    ['a value that is not a number', sample('temp', {}, Number.NaN), []],
    ['a stale marker of a gauge', sample('temp', {}, STALE), ['gauge temp{} addEnd NaN @1s']],
    [
      'a stale marker of a quantile',
      sample('rt', { quantile: '0.5' }, STALE),
      ['summary rt{quantile=0.5} addEnd NaN @1s'],
    ],
    ['a stale marker of a counter', sample('hits_total', {}, STALE), []],
    [
      'a stale marker two days ahead',
      { labels: { __name__: 'temp' }, samples: [[STALE, NOW_MS + 2 * 86_400_000]] },
      [],
    ],
    ['a stale marker of a series without a name', { labels: { a: 'b' }, samples: [[STALE, AT_MS]] }, []],
    ['an infinite value', sample('temp', {}, Number.POSITIVE_INFINITY), ['0 invalid_value']],
    [
      'several samples',
      {
        labels: { __name__: 'temp' },
        samples: [
          [1, AT_MS - 1_000],
          [2, NOW_MS + 9e8],
          [3, AT_MS],
        ],
      },
      ['gauge temp{} add 1 @2s', 'gauge temp{} add 3 @1s', '1 invalid_timestamp'],
    ],
    ['a label that is too long', sample('temp', { a: 'x'.repeat(257) }), ['0 invalid_tags']],
    [
      'a native histogram',
      { labels: { __name__: 'rt', job: 'a' }, histograms: [native((m) => m.varint(14, 1))] },
      [
        'distribution rt{job=a} addWeighted 0×2 @1s',
        'distribution rt{job=a} addWeighted 2.56410×1 @1s',
        'distribution rt{job=a} addWeighted 5.12820×3 @1s',
        'distribution rt{job=a} addWeighted 41.02560×2 @1s',
      ],
    ],
    [
      'a native histogram that marks the end of its series',
      { labels: { __name__: 'rt' }, histograms: [new Message().fixed64(3, 0x7ff0000000000002n).varint(15, AT_MS)] },
      [],
    ],
    [
      'a histogram that is a gauge',
      { labels: { __name__: 'rt' }, histograms: [native((m) => m.varint(14, 3))] },
      ['0 invalid_type'],
    ],
    [
      'a histogram with custom buckets',
      {
        labels: { __name__: 'rt' },
        histograms: [
          new Message()
            .varint(1, 6)
            .double(3, 9)
            .sint(4, -53)
            .bytes(11, new Message().sint(1, 1).varint(2, 2))
            .packedSints(12, [2, 2])
            .packedDoubles(16, [0.5, 1])
            .varint(15, AT_MS),
        ],
      },
      [
        'histogram rt{upper_limit=0.5} addTotal 0 @1s',
        'histogram rt{upper_limit=1} addTotal 2 @1s',
        'histogram rt{upper_limit=+Inf} addTotal 4 @1s',
        'counter rt_count{} addTotal 6 @1s',
        'counter rt_sum{} addTotal 9 @1s',
      ],
    ],
    [
      'more bins than a histogram may have',
      {
        labels: { __name__: 'rt' },
        histograms: [native((m) => m.bytes(11, new Message().sint(1, 0).varint(2, 1_000_000)))],
      },
      ['0 invalid_value'],
    ],
    [
      'a histogram of fractions',
      {
        labels: { __name__: 'rt' },
        histograms: [new Message().bytes(11, new Message().varint(2, 1)).packedDoubles(13, [0.5]).varint(15, AT_MS)],
      },
      ['0 invalid_value'],
    ],
  ])('%s', (_, series, expected) => {
    const found = spelt(decode(version, body(version, [series])))
    const rounded = (line: string) => line.replace(/\d+\.\d{5,}/g, (digits) => Number(digits).toFixed(3))
    expect(found.map(rounded)).toEqual(expected.map(rounded))
  })

  it.each<[string, (message: Message) => Message, string[]]>([
    ['a count that is not a number', (m) => m.double(2, Number.NaN), ['0 invalid_value']],
    ['an infinite count', (m) => m.double(2, Number.POSITIVE_INFINITY), ['0 invalid_value']],
    ['a fraction as its count', (m) => m.double(2, 1.5), ['0 invalid_value']],
    ['an infinite sum', (m) => m.double(3, Number.NEGATIVE_INFINITY), ['0 invalid_value']],
    ['fractions in its buckets', (m) => m.packedDoubles(13, [0.5, 1]), ['0 invalid_value']],
    ['a limit that is not a number', (m) => m.packedDoubles(16, [Number.NaN]), ['0 invalid_value']],
    ['the limit +Inf, which the last bucket has', (m) => m.packedDoubles(16, [Infinity]), ['0 invalid_value']],
    ['limits that fall', (m) => m.packedDoubles(16, [0.4]), ['0 invalid_value']],
    [
      'a sum that is not a number, which is left out',
      (m) => m.double(3, Number.NaN),
      [
        'histogram rt{upper_limit=0.5} addTotal 2 @1s',
        'histogram rt{upper_limit=+Inf} addTotal 4 @1s',
        'counter rt_count{} addTotal 6 @1s',
      ],
    ],
  ])('a histogram with custom buckets has %s', (what, change, expected) => {
    const custom = new Message().double(2, 6).double(3, 9).sint(4, -53).varint(15, AT_MS)
    custom.bytes(11, new Message().varint(2, 2)).packedDoubles(16, [0.5])
    const changed = change(custom)
    if (!what.startsWith('fractions')) changed.packedDoubles(13, [2, 4])
    const series: Series = { labels: { __name__: 'rt' }, histograms: [changed] }
    expect(spelt(decode(version, body(version, [series])))).toEqual(expected)
  })

  it('more samples than a request may have are refused', () => {
    const series = [sample('a'), sample('b'), sample('c')]
    expect(() => decode(version, body(version, series), { pointsMax: 2 })).toThrow(
      expect.objectContaining({ code: 'payload_too_large' }),
    )
  })

  it('a metric keeps the type that its first sample gave it', () => {
    const refuse = (name: string, type: string) =>
      name === 'hits' && type === 'counter' ? reject('type_conflict', 'hits is a gauge') : undefined
    const recorder = createRecordingSink('shop', refuse)
    const given = { ...sample('hits'), type: COUNTER }
    decode(version, body(version, [given]), { recorder, families: { hits: { type: 'counter', about: {} } } })
    expect(spelt(recorder)).toEqual(['gauge hits{} add 5 @1s'])
  })

  it('tells whether a body has native histograms', () => {
    const has = (series: Series) =>
      version === 1
        ? runAtOnce(readMetadataV1(writeRequestV1([series]))).hasHistograms
        : runAtOnce(hasHistogramsV2(writeRequestV2([series])))
    expect([has(sample('a')), has({ labels: { __name__: 'rt' }, histograms: [native()] })]).toEqual([false, true])
  })
})

describe('in protocol 1,', () => {
  const known: Readonly<Record<string, FamilyMetadata>> = {
    hits: { type: 'counter', about: {} },
    queue_count: { type: 'gauge', about: {} },
    made_total: { type: 'gauge', about: {} },
    sizes: { type: 'gaugehistogram', about: {} },
    rt: { type: 'histogram', about: {} },
  }
  it.each<[string, Series, string[]]>([
    ['a counter without its suffix', sample('hits'), ['counter hits{} addTotal 5 @1s']],
    ['a gauge with the suffix of a counter', sample('queue_count'), ['gauge queue_count{} add 5 @1s']],
    ['a gauge that ends in _total', sample('made_total'), ['gauge made_total{} add 5 @1s']],
    ['buckets that may go down', sample('sizes_bucket', { le: '1' }), ['gauge sizes_bucket{le=1} add 5 @1s']],
    ['buckets of a histogram', sample('rt_bucket', { le: '1' }), ['histogram rt{le=1} addTotal 5 @1s']],
  ])('earlier metadata decides: %s', (_, series, expected) => {
    expect(spelt(decode(1, writeRequestV1([series]), { families: known }))).toEqual(expected)
  })

  it('metadata is read with its texts', () => {
    const families = [
      { name: 'hits', type: COUNTER, help: 'Hits.', unit: 'hits' },
      { name: 'odd', type: 99 },
    ]
    expect(runAtOnce(readMetadataV1(writeRequestV1([], families))).families).toEqual([
      ['hits', { type: 'counter', about: { unit: 'hits', description: 'Hits.' } }],
      ['odd', { type: undefined, about: {} }],
    ])
  })

  it('a series is found by the bytes of its labels', () => {
    const recorder = createRecordingSink('shop')
    const request = writeRequestV1([sample('hits_total', { a: 'b' }), sample('temp'), sample('rt_bucket', { le: '1' })])
    decode(1, request, { recorder })
    const first = spelt(recorder)
    expect(recorder.sink.itemCache.size).toBe(3)
    decode(1, request, { recorder })
    expect(spelt(recorder)).toEqual([...first, ...first])
  })

  it('a native histogram counts what was added since the one before', () => {
    const recorder = createRecordingSink('shop')
    const histograms = new CumulativeHistograms(0)
    const at = (timeMs: number, count: number, hint = 0) =>
      decode(
        1,
        writeRequestV1([
          {
            labels: { __name__: 'rt' },
            histograms: [
              new Message()
                .bytes(11, new Message().sint(1, 1).varint(2, 1))
                .packedSints(12, [count])
                .varint(14, hint)
                .varint(15, timeMs),
            ],
          },
        ]),
        { recorder, histograms },
      )
    at(AT_MS - 4_000, 10)
    at(AT_MS - 3_000, 12)
    at(AT_MS - 3_000, 12)
    at(AT_MS - 2_000, 3)
    at(AT_MS - 1_000, 4, 1)
    expect(recorder.points.map(({ weight }) => weight)).toEqual([2, 3, 4])
  })
})

describe('in protocol 2,', () => {
  it.each<[string, Series, string[]]>([
    ['a counter', { ...sample('hits'), type: COUNTER }, ['counter hits{} addTotal 5 @1s']],
    [
      'a gauge with the suffix of a counter',
      { ...sample('made_total'), type: GAUGE },
      ['gauge made_total{} add 5 @1s'],
    ],
    ['a bucket', { ...sample('rt_bucket', { le: '2' }), type: HISTOGRAM }, ['histogram rt{le=2} addTotal 5 @1s']],
    ['a quantile', { ...sample('rt', { quantile: '1' }), type: SUMMARY }, ['summary rt{quantile=1} add 5 @1s']],
    [
      'a counter that says when it was created',
      { ...sample('hits'), type: COUNTER, createdMs: NOW_MS - 60_000 },
      ['counter hits{} addTotalSince 5 since 60s @1s'],
    ],
    [
      'a sample that says when it started',
      { labels: { __name__: 'hits_total' }, samples: [[5, AT_MS, NOW_MS - 30_000]], createdMs: NOW_MS - 60_000 },
      ['counter hits_total{} addTotalSince 5 since 30s @1s'],
    ],
  ])('%s', (_, series, expected) => {
    expect(spelt(decode(2, writeRequestV2([series])))).toEqual(expected)
  })

  it.each<[string, Message, string]>([
    [
      'a symbol that is not there',
      new Message().bytes(5, new Message().packedVarints(1, [0, 1])),
      'symbol 0 is not in the table of 0',
    ],
    [
      'a label without a value',
      new Message().bytes(4, '').bytes(5, new Message().packedVarints(1, [0])),
      'a label has no value',
    ],
  ])('%s refuses the body', (_, message, reason) => {
    expect(() => decode(2, message.finish())).toThrow(
      expect.objectContaining({ message: expect.stringContaining(reason) }),
    )
    expect(() => decode(2, message.finish())).toThrow(GatewayError)
  })
})
