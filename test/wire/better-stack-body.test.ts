import { encode } from '@msgpack/msgpack'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../src/model/errors.ts'
import type { PointSink } from '../../src/model/point.ts'
import { runAtOnce } from '../../src/model/steps.ts'
import {
  type BetterStackFormat,
  decodeBetterStackBody,
  decodeWithoutScanner,
} from '../../src/wire/better-stack-body.ts'
import { decodeFluxBatch } from '../../src/wire/flux-batch.ts'
import { DEFAULT_POINT_LIMITS } from '../support/defaults.ts'
import { createRecordingSink } from '../support/fake-gateway.ts'

const NOW_MS = Date.UTC(2024, 0, 15, 12)
const POINTS_MAX = 30

type Decode = typeof decodeBetterStackBody

/** What a body comes to, or the code it is refused with. `sinks` deliver to the same recorder. */
function outcomeOf(
  decode: Decode,
  bytes: Uint8Array,
  format: BetterStackFormat,
  recorder = createRecordingSink('shop'),
) {
  const { sink, points, errors } = recorder
  sink.restart()
  try {
    const body = runAtOnce(
      decode(bytes, sink, {
        format,
        nowMs: NOW_MS,
        limits: DEFAULT_POINT_LIMITS,
        pointsMax: POINTS_MAX,
      }),
    )
    return { ...body, points: [...points], errors: [...errors] }
  } catch (error) {
    if (error instanceof GatewayError) return error.code
    throw error
  }
}

/** Thrice with one memory, in which the Flux dialect has met the series too; the last time its items are known. */
function scanned(body: string | Uint8Array, format: BetterStackFormat) {
  const recorder = createRecordingSink('shop')
  const bytes = Buffer.from(body)
  flux(recorder.sink)
  for (let round = 0; round < 2; round++) outcomeOf(decodeBetterStackBody, bytes, format, recorder)
  flux(recorder.sink)
  return outcomeOf(decodeBetterStackBody, bytes, format, recorder)
}

function flux(sink: PointSink): void {
  const items = ['gauge', 'counter'].map((type) => `{"name":"a","type":"${type}","value":1,"tags":{"k":"v"}}`)
  for (let round = 0; round < 3; round++)
    runAtOnce(decodeFluxBatch(Buffer.from(`[${items.join(',')}]`), sink, NOW_MS, DEFAULT_POINT_LIMITS, 500))
}

const GAUGE = '{"name":"a","gauge":{"value":1.5},"dt":"2024-01-15T10:30:00Z","tags":{"k":"v"}}'
const COUNTER = '{"name":"a","counter":{"value":7},"tags":{"k":"v"},"timestamp":1672490759123}'

describe('the fast path through a body', () => {
  it.each<[string, string]>([
    ['gauges and counters', `${GAUGE}\n${COUNTER}\n${GAUGE}`],
    ['white space', `  ${GAUGE.replaceAll(':', ' : ').replaceAll(',', ' ,\t')}  \r\n\r\n${COUNTER}\r\n`],
    ['the shape of the other dialect', '{"name":"a","type":"gauge","value":1,"tags":{"k":"v"}}'],
    ['what the other dialect sends next', `${GAUGE}\n{"name":"a","type":"counter","value":1,"tags":{"k":"v"}}`],
    ['a counter that is a delta', COUNTER.replace('}', '},"kind":"incremental"')],
    ['an unknown field', GAUGE.replace('}', '},"interval_ms":5')],
    ['two types', GAUGE.replace('}', '},"counter":{"value":1}')],
    ['a type twice', GAUGE.replace('}', '},"gauge":{"value":2}')],
    ['two times', GAUGE.replace('}', '},"timestamp":5')],
    ['a time nobody can read', GAUGE.replace('2024-01-15T10:30:00Z', 'soon')],
    ['a time too far ahead', GAUGE.replace('2024', '2025')],
    ['another field beside the value', GAUGE.replace('1.5', '1.5,"unit":"ms"')],
    ['no value', GAUGE.replace('"value":1.5', '')],
    ['a text for a value', GAUGE.replace('1.5', '"1.5"')],
    ['null for a value', GAUGE.replace('1.5', 'null')],
    ['a huge value', GAUGE.replace('1.5', '1e999')],
    ['lists of tags', GAUGE.replace('"v"', '["v","w"]')],
    ['a histogram among them', `${GAUGE}\n{"name":"h","histogram":{"count":1,"sum":2,"buckets":[]}}\n${COUNTER}`],
    ['a wrapper', `{"metric":${GAUGE}}`],
    ['a comma at the end of an item', `${GAUGE.slice(0, -1)},}`],
    ['an item that does not end', `${GAUGE}\n${GAUGE.slice(0, -1)}`],
    ['an item over two lines', GAUGE.replace(',', ',\n')],
    ['two items on a line', `${GAUGE} ${GAUGE}`],
    ['an array on a line', `${GAUGE}\n[${GAUGE},${COUNTER}]`],
    ['a number on a line', `${GAUGE}\n5`],
    [
      'more items than allowed',
      Array(POINTS_MAX + 1)
        .fill(GAUGE)
        .join('\n'),
    ],
    [
      'more points than allowed, of known items and one of many points',
      `${Array(29).fill(GAUGE).join('\n')}\n{"name":"s","set":{"values":["x","y"]}}`,
    ],
    [
      'more points than allowed, the last of them known',
      `{"name":"s","set":{"values":["x","y"]}}\n${Array(29).fill(GAUGE).join('\n')}`,
    ],
    ['more points than allowed', `{"name":"s","set":{"values":${JSON.stringify(Array(31).fill('x'))}}}`],
    ['a byte order mark', `\ufeff${GAUGE}`],
    ['an item of nothing', '{}'],
    ['only blank lines', '\n \n'],
  ])('makes of %s what the long way does', (_, lines) => {
    const array = `[${lines.split('\n').join(',\n')}]`
    for (const [text, format] of [
      [lines, 'ndjson'],
      [array, 'json'],
      [lines, 'json'],
    ] as const)
      expect(scanned(text, format)).toEqual(outcomeOf(decodeWithoutScanner, Buffer.from(text), format))
  })

  it('is taken', () => {
    for (const [body, format] of [
      [`${GAUGE}\n${COUNTER}`, 'ndjson'],
      [`[${GAUGE},${COUNTER}]`, 'json'],
      [encode([JSON.parse(GAUGE), JSON.parse(COUNTER)]), 'message-pack'],
    ] as const) {
      const recorder = createRecordingSink('shop')
      const bytes = Buffer.from(body)
      outcomeOf(decodeBetterStackBody, bytes, format, recorder)
      expect(recorder.sink.itemCache.size).toBe(2)
      // With nothing to resolve by, whatever is delivered was recognised.
      const { points } = createRecordingSink('shop')
      const blind = { ...recorder.sink, resolve: () => ({ code: 'internal', message: 'asked' }) as const }
      expect(points).toEqual([])
      runAtOnce(
        decodeBetterStackBody(bytes, blind, { format, nowMs: NOW_MS, limits: DEFAULT_POINT_LIMITS, pointsMax: 9 }),
      )
      expect(recorder.errors).toEqual([])
    }
  })
})

const NAMED = { name: 'a', tags: { k: 'v' } }
const packed = (...parts: (number | string | Uint8Array)[]): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === 'number' ? Uint8Array.of(part) : Buffer.from(part))))
const packedGauge = (value: Uint8Array, ...others: readonly Uint8Array[]) =>
  packed(0x82 + others.length, 0xa4, 'name', 0xa1, 'a', 0xa5, 'gauge', 0x81, 0xa5, 'value', value, ...others)

describe('the fast path through MessagePack', () => {
  it.each<[string, unknown]>([
    ['a value of each width', [0, 127, -32, 255, 65_535, 2 ** 32 - 1, 2 ** 40, -129, -40_000, -(2 ** 40), 1.5, 1e300]],
    ['an integer beyond 2^53', [2n ** 64n - 1n, -(2n ** 63n)]],
    ['no number', [null, 'x', true, [], {}, Number.NaN, Number.POSITIVE_INFINITY]],
  ])('makes of %s what the long way does', (_, values) => {
    for (const value of values as readonly unknown[]) {
      const item = (type: string) => ({ ...NAMED, [type]: { value }, dt: '2024-01-15T10:30:00.250Z' })
      const body = encode([item('gauge'), item('counter'), item('gauge')], { useBigInt64: true })
      expect(scanned(body, 'message-pack')).toEqual(outcomeOf(decodeWithoutScanner, body, 'message-pack'))
    }
  })

  it.each<[string, unknown]>([
    ['a text', '2024-01-15T10:30:00Z'],
    ['a text of another day', '2024-01-14T10:30:00.001Z'],
    ['a text with an offset', '2024-01-15 10:30:00+01'],
    ['a text of ten digits and a time', '1705276800T10:30:00Z'],
    ['a text that is no time', 'soon'],
    ['seconds', 1_705_314_600],
    ['nanoseconds', 1_705_314_600_123_456_789n],
    ['a timestamp of 4 bytes', new Date('2024-01-15T10:30:00Z')],
    ['a timestamp of 8 bytes', new Date('2024-01-15T10:30:00.123Z')],
    ['a timestamp of 12 bytes', new Date('1969-01-15T10:30:00.123Z')],
    ['nothing', null],
    ['a list', [1]],
    ['a time too far ahead', '2024-01-17T10:30:00Z'],
  ])('makes of %s as the time what the long way does', (_, dt) => {
    const items = [
      { ...NAMED, gauge: { value: 1 }, dt },
      { dt, counter: { value: 7 }, ...NAMED },
    ]
    const body = encode([...items, ...items], { useBigInt64: true })
    expect(scanned(body, 'message-pack')).toEqual(outcomeOf(decodeWithoutScanner, body, 'message-pack'))
  })

  it.each<[string, Buffer]>([
    [
      'tags of every kind of scalar',
      packedGauge(
        packed(1),
        packed(
          0xa4,
          'tags',
          0x84,
          0xa1,
          'a',
          0xc3,
          0xa1,
          'b',
          0xca,
          0,
          0,
          0,
          0,
          0xa1,
          'c',
          0xc4,
          1,
          'x',
          7,
          0xd9,
          1,
          'y',
        ),
      ),
    ],
    ['a tag that is a list', packedGauge(packed(1), packed(0xa4, 'tags', 0x81, 0xa1, 'a', 0x92, 0xa1, 'b', 0xa1, 'c'))],
    ['a tag that is no UTF-8', packedGauge(packed(1), packed(0xa4, 'tags', 0x81, 0xa1, 'a', 0xa1, 0xff))],
    ['a tag whose key is nil', packedGauge(packed(1), packed(0xa4, 'tags', 0x81, 0xc0, 0xa1, 'a'))],
    ['a timestamp of an odd length', packedGauge(packed(1), packed(0xa2, 'dt', 0xd4, 0xff, 1))],
    ['a name twice', packedGauge(packed(1), packed(0xa4, 'name', 0xa1, 'b'))],
    ['a value twice', packedGauge(packed(1), packed(0xa5, 'gauge', 0x81, 0xa5, 'value', 2))],
    ['two times', packedGauge(packed(1), packed(0xa2, 'dt', 5), packed(0xa9, 'timestamp', 6))],
    ['a long name', packed(0x82, 0xa4, 'name', 0xd9, 200, 'n'.repeat(200), 0xa5, 'gauge', 0x81, 0xa5, 'value', 1)],
    [
      'a name too long',
      packed(0x82, 0xa4, 'name', 0xda, 1, 44, 'n'.repeat(300), 0xa5, 'gauge', 0x81, 0xa5, 'value', 1),
    ],
    ['a key of bytes', packed(0x82, 0xc4, 4, 'name', 0xa1, 'a', 0xa5, 'gauge', 0x81, 0xa5, 'value', 1)],
    [
      'another field beside the value',
      packed(0x82, 0xa4, 'name', 0xa1, 'a', 0xa5, 'gauge', 0x82, 0xa5, 'value', 1, 0xa1, 'u', 1),
    ],
    ['a kind', packedGauge(packed(1), packed(0xa4, 'kind', 0xab, 'incremental'))],
    ['a namespace', packedGauge(packed(1), packed(0xa9, 'namespace', 0xa1, 'n'))],
  ])('makes of %s what the long way does', (_, item) => {
    for (const body of [item, packed(0x93, item, encode({ ...NAMED, gauge: { value: 1 } }), item)])
      expect(scanned(body, 'message-pack')).toEqual(outcomeOf(decodeWithoutScanner, body, 'message-pack'))
  })
})

const value = fc.constantFrom('1', '-2.5', '1e3', '0.10', '00', 'null', '"7"', '123456789012345679', '1e999', '{}')
const tags = fc.constantFrom(
  '{"k":"v"}',
  '{}',
  '{"k":["v",null,1]}',
  'null',
  '[]',
  '{"k":{}}',
  '{"__proto__":"x"}',
  '{"k":"\\u00e9"}',
  '{"k":653247040368672769}',
)
const time = fc.constantFrom(
  '"2024-01-15T10:30:00.123Z"',
  '1672490759',
  '1672490759123456789',
  'null',
  '"soon"',
  '"1705276800T10:30:00Z"',
  '"0001-01-01T00:00:00Z"',
  '" 2024-01-15T10:30:00Z"',
  '"2024-01-15 10:30:00 +0100 CET"',
  '"2025-01-15"',
  '-5',
  '{}',
)
const list = fc.constantFrom(
  '[]',
  'null',
  '[1]',
  '["a","b"]',
  '[{"upper_limit":null,"count":2},{"count":null},null]',
  '[653247040368672769,"a"]',
  '[{"quantile":0.5,"value":null},{"quantile":1,"value":2}]',
  '[{"upper_limit":0.5,"count":2},{"upper_limit":"inf","count":1}]',
  '[{"quantile":0.5,"value":3}]',
  '[{"value":1.5,"rate":2}]',
)
const typed = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.tuple(
      fc.constantFrom('gauge', 'counter'),
      value.map((v) => `{"value":${v}}`),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(
      fc.constantFrom('histogram', 'summary', 'aggregated_histogram', 'aggregated_summary', 'set', 'distribution'),
      fc
        .tuple(value, value, list)
        .map(
          ([count, sum, items]) =>
            `{"count":${count},"sum":${sum},"buckets":${items},"quantiles":${items},"values":${items},"samples":${items}}`,
        ),
    ),
  },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom('gauge', 'sketch', 'type'), value) },
)
const field = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constant('name'), fc.constantFrom('"a"', '"b"', '"é"', '""', '5', 'null')) },
  { weight: 4, arbitrary: typed },
  { weight: 2, arbitrary: fc.tuple(fc.constantFrom('dt', 'timestamp'), time) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('tags'), tags) },
  {
    weight: 1,
    arbitrary: fc.tuple(
      fc.constantFrom('kind', 'namespace', 'interval_ms', '__proto__'),
      fc.constantFrom('"incremental"', '"absolute"', 'null', '1'),
    ),
  },
)
const spell = (fields: readonly (readonly [string, string])[]) =>
  `{${fields.map(([key, text]) => `"${key}":${text}`).join(', ')}}`
const item = fc.oneof(
  fc
    .record({ typed, time, tags })
    .map((members) => spell([['name', '"a"'], members.typed, ['dt', members.time], ['tags', members.tags]])),
  fc.array(field, { maxLength: 6 }).map(spell),
)
const items = fc.array(item, { maxLength: 5 })
const cut = (text: string, length: number) => text.slice(0, length)

describe('any body', () => {
  it('of JSON or NDJSON comes to what it does the long way', () => {
    const body = fc.oneof(
      items.map((list) => [`[${list.join(',')}]`, 'json'] as const),
      fc
        .tuple(items, fc.constantFrom('\n', '\r\n', '\n\n', ' \n'))
        .map(([list, end]) => [list.join(end), 'ndjson'] as const),
      fc.tuple(items, fc.nat(300)).map(([list, length]) => [cut(list.join('\n'), length), 'ndjson'] as const),
      fc.tuple(items, fc.nat(300)).map(([list, length]) => [cut(list.join('\n'), length), 'json'] as const),
      items.map((list) => [list.join('\n'), 'json'] as const),
      fc.tuple(items, fc.nat(300)).map(([list, length]) => [cut(`[${list.join(',')}]`, length), 'json'] as const),
    )
    fc.assert(
      fc.property(body, ([text, format]) => {
        expect(scanned(text, format)).toEqual(outcomeOf(decodeWithoutScanner, Buffer.from(text), format))
      }),
      { numRuns: 12_000, seed: 20_240_115 },
    )
  })

  it('of MessagePack comes to what it does the long way', () => {
    const body = fc.tuple(
      items.map((list) => list.filter(isJson)),
      fc.nat(400),
      fc.boolean(),
    )
    fc.assert(
      fc.property(body, ([list, length, isCut]) => {
        const whole = encode(JSON.parse(`[${list.join(',')}]`))
        const bytes = isCut ? whole.subarray(0, length) : whole
        expect(scanned(bytes, 'message-pack')).toEqual(outcomeOf(decodeWithoutScanner, bytes, 'message-pack'))
      }),
      { numRuns: 12_000, seed: 20_240_115 },
    )
  })

  it('of MessagePack comes to what it does in JSON', () => {
    const parseable = items.map((list) => list.filter((text) => isJson(text) && !/__proto__|1e999/.test(text)))
    fc.assert(
      fc.property(parseable, (list) => {
        const values: unknown = JSON.parse(`[${list.join(',')}]`)
        const packed = outcomeOf(decodeBetterStackBody, encode(values), 'message-pack')
        const plain = outcomeOf(decodeWithoutScanner, Buffer.from(JSON.stringify(values)), 'json')
        if (typeof packed === 'string' || typeof plain === 'string') expect(packed).toBe(plain)
        // What JSON has no number for is told in other words.
        else
          expect({ ...packed, errors: packed.errors.map(codeOf) }).toEqual({
            ...plain,
            errors: plain.errors.map(codeOf),
          })
      }),
      { numRuns: 5_000 },
    )
  })
})

function codeOf({ index, code }: { readonly index: number; readonly code: string }): string {
  return `${index} ${code}`
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
