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
function scanned(text: string, format: BetterStackFormat) {
  const recorder = createRecordingSink('shop')
  flux(recorder.sink)
  for (let round = 0; round < 2; round++) outcomeOf(decodeBetterStackBody, Buffer.from(text), format, recorder)
  flux(recorder.sink)
  return outcomeOf(decodeBetterStackBody, Buffer.from(text), format, recorder)
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
    for (const [text, format] of [
      [`${GAUGE}\n${COUNTER}`, 'ndjson'],
      [`[${GAUGE},${COUNTER}]`, 'json'],
    ] as const) {
      const recorder = createRecordingSink('shop')
      const bytes = Buffer.from(text)
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
