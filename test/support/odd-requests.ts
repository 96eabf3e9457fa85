import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { encode } from '@msgpack/msgpack'
import fc from 'fast-check'

/** Requests that are nearly right, or not at all, for every route that reads a body. */

export interface OddRequest {
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

type Route = readonly [path: string, types: readonly string[]]

const JSON_TYPES = ['application/json', 'application/json; charset=utf-8']
const METRIC_TYPES = [...JSON_TYPES, 'application/x-ndjson', 'application/msgpack', 'application/vnd.msgpack']
const ODD_TYPES = [
  '',
  'text/plain',
  'application/json; charset=utf-16',
  ';;=',
  'application/',
  'multipart/form-data; boundary=x',
  'application/json, text/html',
]

const ROUTES: readonly Route[] = [
  ['/api/v1/metrics', JSON_TYPES],
  ['/api/v1/metrics/batch', JSON_TYPES],
  ['/api/v1/events', JSON_TYPES],
  ['/api/v1/events/batch', JSON_TYPES],
  ['/api/v1/flux/batch', JSON_TYPES],
  ['/graphql', JSON_TYPES],
  ['/', METRIC_TYPES],
  ['/metrics', METRIC_TYPES],
]

const oddText = fc.oneof(
  fc.constantFrom(
    '',
    '\ud800',
    '\0',
    '__proto__',
    'constructor',
    '+Inf',
    'NaN',
    '1e400',
    'x'.repeat(300),
    'ü'.repeat(129),
  ),
  fc.string({ maxLength: 8 }),
)
const oddNumber = fc.oneof(
  fc.constantFrom(0, -0, -1, 2 ** 53, -(2 ** 63), 1e308, 5e-324, 1.5, 1_700_000_000, 8.64e15 + 1),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
)
const odd = fc.oneof(
  oddText,
  oddNumber,
  fc.constantFrom(null, true, false, [], {}, [[]], { value: null }, [null]),
  fc.jsonValue({ maxDepth: 3 }),
)

/** Mostly what belongs there. */
const mostly = (...values: readonly unknown[]): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...values) }, { weight: 1, arbitrary: odd })

/** Null in all other cases. */
const oneIn = <T>(times: number, arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> =>
  fc.oneof({ weight: times - 1, arbitrary: fc.constant(null) }, { weight: 1, arbitrary })

const tags = fc.oneof(
  fc.constantFrom<unknown>({}, { endpoint: '/a', code: 200 }, { n: null }, { deep: { er: ['a', 'b'] } }),
  fc.constant(own('__proto__', 'a')),
  fc.dictionary(oddText, odd, { maxKeys: 4 }),
  odd,
)
const count = mostly(0, 1, 7)
const buckets = mostly(
  [{ upper_limit: 1, count: 2 }],
  [{ upper_limit: '+Inf', count: 2 }, { upper_limit: 1 }],
  [],
  [null],
)
const measure = { sum: mostly(1, 2.5), count }

const item = fc.record(
  {
    name: mostly('fuzz.a', 'fuzz.b', 'fuzz.c', 'fuzz.d'),
    type: mostly('gauge', 'counter', 'distribution', 'set', 'histogram'),
    value: mostly(1, 2.5, -3, 'member'),
    timestamp: mostly(undefined, 1_700_000_000, '2026-01-15T10:30:00Z'),
    dt: mostly(undefined, '2026-01-15T10:30:00Z', 1_700_000_000_000_000),
    tags,
    properties: tags,
    kind: mostly('incremental', 'absolute', undefined),
    namespace: mostly('web', undefined),
    metric: odd,
    gauge: mostly({ value: 1 }),
    counter: mostly({ value: 5 }),
    histogram: fc.record({ ...measure, buckets }, { requiredKeys: [] }),
    summary: fc.record({ ...measure, quantiles: mostly([{ quantile: 0.5, value: 1 }], []) }, { requiredKeys: [] }),
    set: fc.record({ values: mostly(['a'], [1], []) }),
    distribution: fc.record({ samples: mostly([{ value: 1, rate: 2 }], [{}], [{ value: 1, rate: 1e15 }]) }),
  },
  { requiredKeys: ['name'] },
)
/** One way to give a value only, so that a good part of the items is accepted. */
const plain = fc.oneof(
  fc.record({ name: mostly('fuzz.g'), gauge: mostly({ value: 1 }), tags }, { requiredKeys: ['name', 'gauge'] }),
  fc.record(
    { name: mostly('fuzz.h'), type: mostly('gauge'), value: mostly(1), tags },
    { requiredKeys: ['name', 'type', 'value'] },
  ),
)
const anyItem = fc.oneof(item, plain, odd)
const list = fc.array(anyItem, { maxLength: 5 })
const query = fc.record(
  {
    query: mostly(
      'mutation($m: [MetricInput!]!) { trackMetrics(metrics: $m) { accepted } }',
      '{ metrics { items { name } } }',
      '{ __schema { types { name } } }',
      `{ a ${'{ a '.repeat(60)}${'}'.repeat(61)}`,
    ),
    variables: fc.oneof(fc.record({ m: list }), odd),
    operationName: odd,
    extensions: odd,
  },
  { requiredKeys: ['query'] },
)
const payload = fc.oneof(
  anyItem,
  list,
  fc.record({ metrics: fc.oneof(list, odd), events: fc.oneof(list, odd) }, { requiredKeys: [] }),
  query,
)

type Change = (body: Buffer, at: number, byte: number) => Buffer

const insert = (body: Buffer, at: number, bytes: Uint8Array): Buffer =>
  Buffer.concat([body.subarray(0, at), bytes, body.subarray(at)])
const replace =
  (pattern: RegExp, text: string): Change =>
  (body) =>
    Buffer.from(body.toString('latin1').replace(pattern, text), 'latin1')

const CHANGES: readonly Change[] = [
  (body, at) => body.subarray(0, at),
  (body, at, byte) => insert(body, at, Uint8Array.of(byte)),
  (body, at, byte) => Buffer.from(body.map((old, i) => (i === at ? byte : old))),
  (body, at) => insert(body, at, Buffer.from('eda080c080ff', 'hex')),
  (body, at) => insert(body, at, body),
  replace(/[a-z]\./, '\xff\xfe.'),
  replace(/-?\d+(\.\d+)?/, '1e999'),
  replace(/-?\d+(\.\d+)?/, '9'.repeat(400)),
  replace(/-?\d+(\.\d+)?/, '-01'),
  replace(/\{/, '{"name":"fuzz.a","name":1,"__proto__":{"value":1},"value":1,'),
  replace(/"tags":\{/, '"tags":{"__proto__":"a","__proto__":"b",'),
]
/** Of MessagePack, lengths that are not kept among them. */
const PACKED_CHANGES: readonly Change[] = [
  ...CHANGES.slice(0, 6),
  ...['dd7fffffff', 'ddffffffff', 'dfffffffff', 'dbffffffff', 'c6ffffffff', 'c9ffffffff01', 'dc0010', 'c1', 'd801'].map(
    (head): Change =>
      (body, at) =>
        insert(body, at, Buffer.from(head, 'hex')),
  ),
  (body) => insert(body, 0, Buffer.from('dd000fffff', 'hex')),
]

const deep = (open: string | Uint8Array): fc.Arbitrary<Buffer> =>
  fc
    .constantFrom(60, 130, 300, 50_000)
    .map((depth) => Buffer.concat(Array.from({ length: depth }, () => Buffer.from(open))))

const text = fc.oneof(
  { weight: 30, arbitrary: payload.map((value) => Buffer.from(JSON.stringify(value) ?? '')) },
  {
    weight: 8,
    arbitrary: fc
      .tuple(list, fc.constantFrom('\n', '\r\n', '\n\n', ' '))
      .map(([items, end]) => Buffer.from(items.map((item) => JSON.stringify(item) + end).join(''))),
  },
  { weight: 1, arbitrary: fc.oneof(deep('['), deep('{"a":'), deep('[{"tags":')) },
)
const packed = fc.oneof(
  { weight: 30, arbitrary: payload.map((value) => Buffer.from(encode(value, { maxDepth: 1_000 }))) },
  { weight: 1, arbitrary: fc.oneof(deep(Uint8Array.of(0x91)), deep(Buffer.from('81a161', 'hex'))) },
)
const junk = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes))

const changed = (body: fc.Arbitrary<Buffer>, changes: readonly Change[]): fc.Arbitrary<Buffer> =>
  fc
    .tuple(body, fc.array(fc.tuple(fc.constantFrom(...changes), fc.nat(1 << 16), fc.nat(255)), { maxLength: 2 }))
    .map(([start, steps]) => steps.reduce((now, [change, at, byte]) => change(now, at % (now.length + 1), byte), start))

const ENCODINGS: readonly (readonly [name: string, encode: (body: Uint8Array) => Uint8Array])[] = [
  ['gzip', (body) => gzipSync(body, { level: 1 })],
  ['deflate', (body) => deflateSync(body, { level: 1 })],
  ['deflate', (body) => deflateRawSync(body, { level: 1 })],
  ['gzip', (body) => body],
  ['br', (body) => body],
  ['deflate', (body) => body],
  ['zstd', (body) => body],
  ['gzip, gzip', (body) => gzipSync(body, { level: 1 })],
  ['gzip', (body) => gzipSync(body, { level: 1 }).subarray(0, -5)],
  ['br', (body) => brotliCompressSync(body)],
]

const BOMB = Buffer.alloc(32 << 20, '[')
const BOMBS = [
  ['gzip', gzipSync(BOMB)],
  ['deflate', deflateSync(BOMB)],
  ['gzip', gzipSync(BOMB.subarray(0, 8 << 20))],
] as const

export const oddRequest: fc.Arbitrary<OddRequest> = fc
  .record({
    route: fc.constantFrom(...ROUTES),
    type: fc.nat(11),
    oddType: oneIn(15, fc.constantFrom(...ODD_TYPES, ...METRIC_TYPES)),
    encoding: oneIn(5, fc.constantFrom(...ENCODINGS)),
    bomb: oneIn(150, fc.constantFrom(...BOMBS)),
    key: oneIn(30, fc.constantFrom('k', '"q"', 'x'.repeat(300))),
    question: changed(
      query.map((value) => Buffer.from(JSON.stringify(value))),
      CHANGES,
    ),
    text: changed(text, CHANGES),
    packed: changed(packed, PACKED_CHANGES),
    junk: oneIn(30, junk),
  })
  .map(({ route: [path, types], type, oddType, encoding, bomb, key, ...bodies }) => {
    const contentType = oddType === null ? types[type % types.length]! : oddType
    const plainBody =
      bodies.junk ??
      (path === '/graphql' ? bodies.question : contentType.includes('msgpack') ? bodies.packed : bodies.text)
    const [name, body] = bomb ?? (encoding === null ? [undefined, plainBody] : [encoding[0], encoding[1](plainBody)])
    return {
      path,
      headers: {
        ...(contentType !== '' && { 'content-type': contentType }),
        ...(name !== undefined && { 'content-encoding': name }),
        ...(key !== null && { 'idempotency-key': key }),
      },
      body,
    }
  })

/** An object literal would set the prototype. */
function own(key: string, value: unknown): object {
  return Object.fromEntries([[key, value]])
}
