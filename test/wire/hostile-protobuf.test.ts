import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../src/model/errors.ts'
import type { PointSink } from '../../src/model/point.ts'
import { runAtOnce, type Steps } from '../../src/model/steps.ts'
import { CumulativeHistograms } from '../../src/wire/histogram/cumulative-histograms.ts'
import { decodeOtlpProtobuf, protobufNeedsIdempotencyKey } from '../../src/wire/otlp/otlp-protobuf.ts'
import { decodeWriteRequestV1, readMetadataV1 } from '../../src/wire/prometheus/write-request-v1.ts'
import { decodeWriteRequestV2, hasHistogramsV2 } from '../../src/wire/prometheus/write-request-v2.ts'
import { DEFAULT_POINT_LIMITS } from '../support/defaults.ts'
import { createRecordingSink } from '../support/fake-gateway.ts'
import { attributes, encodeOtlp, type OtlpRequest } from '../support/otlp-request.ts'
import { Message } from '../support/protobuf.ts'
import { type Series, writeRequestV1, writeRequestV2 } from '../support/remote-write.ts'

/** Bodies that nobody should send: each is decoded or refused by name, in short steps and bounded memory. */

const NOW_MS = Date.UTC(2024, 0, 15, 12)

const options = () => ({
  nowMs: NOW_MS,
  limits: DEFAULT_POINT_LIMITS,
  pointsMax: 10_000,
  configuredTagKeys: new Set<string>(),
  histogramChanges: new CumulativeHistograms(0).beginChanges('shop'),
  metadataOf: () => undefined,
})

const DECODERS: Readonly<Record<string, readonly ((bytes: Uint8Array, sink: PointSink) => Steps<unknown>)[]>> = {
  otlp: [(bytes) => protobufNeedsIdempotencyKey(bytes), (bytes, sink) => decodeOtlpProtobuf(bytes, sink, options())],
  'remote write 1.0': [(bytes) => readMetadataV1(bytes), (bytes, sink) => decodeWriteRequestV1(bytes, sink, options())],
  'remote write 2.0': [
    (bytes) => hasHistogramsV2(bytes),
    (bytes, sink) => decodeWriteRequestV2(bytes, sink, options()),
  ],
}

/** What becomes of a body; throws what is not an error with a code. */
function outcomeOf(name: string, bytes: Uint8Array): string {
  try {
    for (const decode of DECODERS[name]!) runAtOnce(decode(bytes, createRecordingSink('shop').sink))
    return 'decoded'
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    return error.code
  }
}

const otlp: OtlpRequest = {
  resourceMetrics: [
    {
      resource: { attributes: attributes({ 'service.name': 'a' }) },
      scopeMetrics: [
        {
          scope: { name: 's' },
          metrics: [
            { name: 'g', unit: 's', gauge: { dataPoints: [{ asDouble: 1, attributes: attributes({ k: 'v' }) }] } },
            { name: 's', sum: { aggregationTemporality: 2, isMonotonic: true, dataPoints: [{ asInt: 3 }] } },
            {
              name: 'h',
              histogram: {
                aggregationTemporality: 1,
                dataPoints: [{ count: 1, bucketCounts: [1, 0], explicitBounds: [2] }],
              },
            },
            {
              name: 'e',
              exponentialHistogram: {
                aggregationTemporality: 2,
                dataPoints: [{ scale: 3, positive: { offset: 4, bucketCounts: [1, 2] } }],
              },
            },
            { name: 'q', summary: { dataPoints: [{ quantileValues: [{ quantile: 0.5, value: 1 }] }] } },
          ],
        },
      ],
    },
  ],
}
const series: Series[] = [
  { labels: { __name__: 'a_total', job: 'x' }, samples: [[1, NOW_MS]] },
  {
    labels: { __name__: 'rt' },
    histograms: [
      new Message()
        .sint(4, 2)
        .bytes(11, new Message().sint(1, 1).varint(2, 2))
        .packedSints(12, [1, 2])
        .varint(15, NOW_MS),
    ],
  },
]
const VALID: Readonly<Record<string, Uint8Array>> = {
  otlp: encodeOtlp(otlp),
  'remote write 1.0': writeRequestV1(series, [{ name: 'a', type: 1 }]),
  'remote write 2.0': writeRequestV2(series),
}

describe.each(Object.keys(DECODERS))('%s', (name) => {
  const valid = VALID[name]!

  it('is decoded when it is whole, and refused or decoded when it ends early', () => {
    expect(outcomeOf(name, valid)).toBe('decoded')
    const outcomes = Array.from(valid, (_, length) => outcomeOf(name, valid.subarray(0, length)))
    expect(outcomes.filter((outcome) => outcome !== 'decoded' && outcome !== 'invalid_body')).toEqual([])
    expect(outcomes.filter((outcome) => outcome === 'invalid_body').length).toBeGreaterThan(valid.length / 2)
  })

  it('survives any change of any bytes', () => {
    const changes = fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(changes, (given) => {
        const bytes = Uint8Array.from(valid)
        for (const [at, byte] of given) bytes[at] = byte
        expect(['decoded', 'invalid_body', 'payload_too_large']).toContain(outcomeOf(name, bytes))
      }),
      { numRuns: 1_500 },
    )
  })

  it('survives any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(['decoded', 'invalid_body', 'payload_too_large']).toContain(outcomeOf(name, bytes))
      }),
      { numRuns: 1_500 },
    )
  })

  it('takes many steps for a body of many small parts, skips it, or refuses it', () => {
    const courses = Object.entries(MANY_PARTS).map(([what, bytes]) => [
      what,
      DECODERS[name]!.map((decode) => courseOf(decode, bytes)),
    ])
    expect(Object.fromEntries(courses)).toEqual(COURSES[name])
  })
})

const MANY_PARTS = {
  'empty messages': filled([0x0a, 0], 2_000_000),
  'empty messages of 2.0': filled([0x2a, 0], 2_000_000),
  'unknown fields': filled([0x78, 1], 2_000_000),
  'a message of empty messages': wrapped(1, filled([0x12, 0], 2_000_000)),
  'a message of them in a message': wrapped(1, wrapped(2, filled([0x12, 0], 2_000_000))),
}

const MANY = ['many steps', 'many steps']
const ALL_MANY = {
  'empty messages': MANY,
  'empty messages of 2.0': MANY,
  'unknown fields': MANY,
  'a message of empty messages': MANY,
  'a message of them in a message': MANY,
}

/** By decoder: how the look before it, and the decoder itself, get through each of them. */
const COURSES: Readonly<Record<string, Readonly<Record<keyof typeof MANY_PARTS, readonly string[]>>>> = {
  otlp: ALL_MANY,
  'remote write 1.0': {
    ...ALL_MANY,
    'a message of empty messages': ['many steps', 'payload_too_large'],
    'a message of them in a message': ['skipped', 'invalid_body'],
  },
  'remote write 2.0': {
    ...ALL_MANY,
    'a message of empty messages': ['skipped', 'skipped'],
    'a message of them in a message': ['skipped', 'skipped'],
  },
}

it.each([
  ['a resource', [1, 1], 1],
  ['a scope', [1, 2, 1], 2],
  ['a metric', [1, 2, 2], 1],
  ['the data of a metric', [1, 2, 2, 5], 2],
] as const)('unknown fields in %s end steps each time that they are read', (_, path, passes) => {
  const fields = 2_000_000
  let bytes = filled([0x78, 1], fields * 2)
  for (const field of path.toReversed()) bytes = wrapped(field, bytes)
  const running = decodeOtlpProtobuf(bytes, createRecordingSink('shop').sink, options())
  let steps = 0
  while (running.next().done !== true) steps++
  expect(steps).toBeGreaterThanOrEqual(passes * Math.floor(fields / 32_768))
})

function courseOf(decode: (bytes: Uint8Array, sink: PointSink) => Steps<unknown>, bytes: Uint8Array): string {
  const running = decode(bytes, createRecordingSink('shop').sink)
  let steps = 0
  try {
    while (running.next().done !== true) steps++
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    return error.code
  }
  return steps > 50 ? 'many steps' : 'skipped'
}

function filled(pattern: readonly number[], bytes: number): Uint8Array {
  const body = new Uint8Array(bytes)
  for (let i = 0; i < bytes; i++) body[i] = pattern[i % pattern.length]!
  return body
}

function wrapped(field: number, bytes: Uint8Array): Uint8Array {
  const head = [field * 8 + 2]
  let rest = bytes.length
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) head.push((rest % 0x80) | 0x80)
  head.push(rest)
  const body = new Uint8Array(head.length + bytes.length)
  body.set(head)
  body.set(bytes, head.length)
  return body
}
