import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { encode } from '@msgpack/msgpack'

/**
 * The contract of the Better Stack API as data: requests, their responses, and the query results they must lead to.
 * Each row uses metric names of its own, so that all rows share one gateway per store.
 */
export interface Row {
  readonly title: string
  readonly send: readonly Sent[]
  /** Expected responses of the REST API, by the path below `/api/v1/metrics/`; a number is a status. */
  readonly results?: Readonly<Record<string, unknown>>
}

export interface Sent {
  readonly body?: string | Uint8Array
  readonly method?: 'POST' | 'HEAD'
  readonly path?: '/' | '/metrics'
  readonly type?: string | undefined
  readonly encoding?: string
  readonly key?: 'reader' | 'none' | 'unknown'
  readonly idempotencyKey?: string
  readonly status: number
  readonly text?: string
  /** Items accepted and rejected. */
  readonly counts?: readonly [number, number]
}

const MIB = 1 << 20
const JSON_TYPE = 'application/json'
const NDJSON = 'application/x-ndjson'
const MSGPACK = 'application/msgpack'
const UNDECODABLE = { status: 406, text: "Couldn't parse JSON content." }
const UNAUTHORIZED = { status: 403, text: 'Unauthorized' }
const TOO_LARGE = { status: 413, text: 'payload reached size limit' }

const accepted = (items: number, left = 0) => ({ status: 202, text: '', counts: [items, left] as const })
const json = (value: unknown, items = 1, left = 0): Sent => ({
  body: JSON.stringify(value),
  type: JSON_TYPE,
  ...accepted(items, left),
})
const gauge = (name: string, value: unknown = 123, more = {}) => ({ name, gauge: { value }, ...more })
const counter = (name: string, value: number, time: string, more = {}) => ({
  name,
  counter: { value },
  dt: `2026-05-05T${time}Z`,
  ...more,
})

const LAST = 'query?interval=1d&aggregation=last'
const DAY = 'query?from=2026-05-05T00:00:00Z&to=2026-05-05T23:59:59Z&interval=1d'
const today = (name: string, aggregation: string, value: unknown) => ({
  data: { name, aggregation, interval: '1d', series: [{ timestamp: '2026-05-05T00:00:00Z', value }] },
})
const at = (name: string, timestamp: string, value: number) => ({
  data: { name, aggregation: 'last', interval: '10s', series: [{ timestamp, value }] },
})
/** Queries the 10 s bucket at an instant. */
const instant = (name: string, start: string, value: number) => ({
  [`${name}/query?from=${start}&to=${start}&interval=10s&aggregation=last`]: at(name, start, value),
})

const histogram = {
  name: 'request_duration_s',
  histogram: {
    count: 140,
    sum: 75.5,
    buckets: [
      { upper_limit: 0.1, count: 15 },
      { upper_limit: 0.2, count: 30 },
      { upper_limit: 0.5, count: 45 },
      { upper_limit: 1.0, count: 50 },
    ],
  },
  dt: '2026-05-05T09:00:00Z',
}
const summary = {
  name: 'response_size_bytes',
  summary: {
    count: 100,
    sum: 25_000,
    quantiles: [
      { quantile: 0.5, value: 200 },
      { quantile: 0.9, value: 450 },
      { quantile: 0.99, value: 600 },
    ],
  },
  dt: '2026-05-05T09:00:00Z',
}

export const BETTER_STACK_ROWS: readonly Row[] = [
  {
    title: 'an object is one item',
    send: [json(gauge('json.one'))],
    results: { [`json.one/${LAST}`]: today('json.one', 'last', 123) },
  },
  {
    title: 'an array is many items',
    send: [json([gauge('json.a', 3.14), { name: 'json.b', counter: { value: 42 } }], 2)],
    results: {
      [`json.a/${LAST}`]: today('json.a', 'last', 3.14),
      [`json.b/query?interval=1d&aggregation=last`]: today('json.b', 'last', 42),
    },
  },
  {
    title: 'NDJSON has one item per line; CRLF, blank lines and a missing final newline are accepted',
    send: [
      { body: JSON.stringify(gauge('nd.one')), type: NDJSON, ...accepted(1) },
      {
        body: `${JSON.stringify(gauge('nd.a', 1))}\r\n\r\n${JSON.stringify(gauge('nd.b', 2))}\n`,
        type: NDJSON,
        ...accepted(2),
      },
    ],
    results: { [`nd.one/${LAST}`]: today('nd.one', 'last', 123), [`nd.b/${LAST}`]: today('nd.b', 'last', 2) },
  },
  {
    title: 'MessagePack is an object or an array',
    send: [
      { body: encode(gauge('mp.one')), type: MSGPACK, ...accepted(1) },
      { body: encode([gauge('mp.a', 3.14), gauge('mp.b', 42n)], { useBigInt64: true }), type: MSGPACK, ...accepted(2) },
    ],
    results: { [`mp.one/${LAST}`]: today('mp.one', 'last', 123), [`mp.b/${LAST}`]: today('mp.b', 'last', 42) },
  },
  {
    title: 'POST / does the same as POST /metrics, and HEAD returns 200',
    send: [
      { ...json(gauge('root')), path: '/' },
      { method: 'HEAD', path: '/', status: 200 },
      { method: 'HEAD', status: 200 },
    ],
    results: { [`root/${LAST}`]: today('root', 'last', 123) },
  },
  {
    title: 'gzip, deflate and br are decompressed',
    send: [
      { ...json(0), body: gzipSync(JSON.stringify(gauge('z.gzip'))), encoding: 'gzip', ...accepted(1) },
      { ...json(0), body: deflateSync(JSON.stringify(gauge('z.deflate'))), encoding: 'deflate', ...accepted(1) },
      { body: brotliCompressSync(encode(gauge('z.br'))), encoding: 'br', type: MSGPACK, ...accepted(1) },
    ],
    results: Object.fromEntries(
      ['z.gzip', 'z.deflate', 'z.br'].map((name) => [`${name}/${LAST}`, today(name, 'last', 123)]),
    ),
  },
  {
    title: 'a missing or unknown content type is decoded as JSON',
    send: [
      { ...json(gauge('type.none')), type: undefined },
      { ...json(gauge('type.form')), type: 'application/x-www-form-urlencoded' },
      { ...json(gauge('type.odd')), type: 'nonsense' },
      { body: encode(gauge('type.bad')), type: 'text/plain', ...UNDECODABLE },
    ],
    results: { [`type.odd/${LAST}`]: today('type.odd', 'last', 123) },
  },
  {
    title: 'a missing key, an unknown key and a key without the scope ingest are 403',
    send: (['none', 'unknown', 'reader'] as const).map((key) => ({ body: '{', type: JSON_TYPE, key, ...UNAUTHORIZED })),
  },
  {
    title: 'an undecodable body is 406 and nothing is stored',
    send: [
      { body: '', type: JSON_TYPE, ...UNDECODABLE },
      { body: `[${JSON.stringify(gauge('bad.json'))}`, type: JSON_TYPE, ...UNDECODABLE },
      { body: `${JSON.stringify(gauge('bad.nd'))}\n{"name":}\n`, type: NDJSON, ...UNDECODABLE },
      { body: encode([gauge('bad.mp'), gauge('bad.mp')]).subarray(0, -1), type: MSGPACK, ...UNDECODABLE },
      { body: 'no gzip', type: JSON_TYPE, encoding: 'gzip', ...UNDECODABLE },
    ],
    results: { 'bad.json': 404, 'bad.nd': 404, 'bad.mp': 404 },
  },
  {
    title: 'a body of more than 20 MiB, before or after decompression, is 413; 20 MiB are accepted',
    send: [
      { ...json(0), body: JSON.stringify(gauge('size.plain')).padEnd(20 * MIB), ...accepted(1) },
      {
        ...json(0),
        body: gzipSync(JSON.stringify(gauge('size.gzip')).padEnd(20 * MIB)),
        encoding: 'gzip',
        ...accepted(1),
      },
      { type: JSON_TYPE, body: JSON.stringify(gauge('size.over')).padEnd(20 * MIB + 1), ...TOO_LARGE },
      {
        body: gzipSync(JSON.stringify(gauge('size.over')).padEnd(20 * MIB + 1)),
        type: JSON_TYPE,
        encoding: 'gzip',
        ...TOO_LARGE,
      },
    ],
    results: { [`size.gzip/${LAST}`]: today('size.gzip', 'last', 123), 'size.over': 404 },
  },
  {
    title: 'invalid items are rejected, all others are stored',
    send: [
      json(
        [
          gauge('left.ok'),
          { gauge: { value: 1 } },
          { name: 'left.none' },
          gauge('left.null', null),
          gauge('left.text', '1'),
        ],
        1,
        4,
      ),
      { ...json(0), body: '[{"name":"left.huge","gauge":{"value":1e999}}]', ...accepted(0, 1) },
      json(
        [gauge('left.ahead', 1, { dt: '2026-05-06T12:00:01Z' }), gauge('left.ok', 124, { dt: '2026-05-06T11:59:59Z' })],
        1,
        1,
      ),
      json([{ name: 'left.ok', counter: { value: 1 } }, gauge('x'.repeat(256))], 0, 2),
    ],
    results: {
      'left.none': 404,
      'left.null': 404,
      'left.ahead': 404,
      [`left.ok/${LAST}`]: today('left.ok', 'last', 123),
    },
  },
  {
    title: 'dt is UNIX time in any unit, or RFC 3339 with T or space and any offset',
    send: [
      json(
        [
          gauge('dt.s', 1, { dt: 1672490759 }),
          gauge('dt.ms', 2, { dt: 1672490759123 }),
          gauge('dt.ns', 3, { dt: 1672490759123456000 }),
          gauge('dt.z', 4, { dt: '2022-12-31T13:45:59.123456Z' }),
          gauge('dt.offset', 5, { dt: '2022-12-31 13:45:59.123456+02:00' }),
          gauge('dt.space', 6, { dt: '2023-08-09 07:03:30+00:00' }),
        ],
        6,
      ),
      { body: encode(gauge('dt.ext', 7, { dt: new Date('2022-12-31T12:45:59Z') })), type: MSGPACK, ...accepted(1) },
      {
        body: encode(gauge('dt.big', 8, { dt: 1672490759123456789n }), { useBigInt64: true }),
        type: MSGPACK,
        ...accepted(1),
      },
      json(gauge('dt.vector', 9, { timestamp: '2022-12-31T12:45:59Z', kind: 'absolute' })),
    ],
    results: {
      ...instant('dt.s', '2022-12-31T12:45:50Z', 1),
      ...instant('dt.ms', '2022-12-31T12:45:50Z', 2),
      ...instant('dt.ns', '2022-12-31T12:45:50Z', 3),
      ...instant('dt.z', '2022-12-31T13:45:50Z', 4),
      ...instant('dt.offset', '2022-12-31T11:45:50Z', 5),
      ...instant('dt.space', '2023-08-09T07:03:30Z', 6),
      ...instant('dt.ext', '2022-12-31T12:45:50Z', 7),
      ...instant('dt.big', '2022-12-31T12:45:50Z', 8),
      ...instant('dt.vector', '2022-12-31T12:45:50Z', 9),
    },
  },
  {
    title: 'a missing, null or unreadable dt is replaced by the time of reception',
    send: [
      json(
        [gauge('now.none', 1), gauge('now.null', 2, { dt: null }), gauge('now.odd', 3, { dt: 'half past nine' })],
        3,
      ),
    ],
    results: {
      ...instant('now.none', '2026-05-05T12:00:00Z', 1),
      ...instant('now.null', '2026-05-05T12:00:00Z', 2),
      ...instant('now.odd', '2026-05-05T12:00:00Z', 3),
    },
  },
  {
    title: 'tags are stored; lists are joined, and the namespace becomes a tag',
    send: [
      json(gauge('cpu_temperature', 63.5, { tags: { host: 'server_1', region: 'us-east' } })),
      json(gauge('tags.list', 1, { tags: { a: ['x', 'y'] }, namespace: 'host', interval_ms: 1_000 })),
    ],
    results: {
      [`cpu_temperature/${LAST}&tags[host]=server_1`]: today('cpu_temperature', 'last', 63.5),
      [`tags.list/${LAST}&group_by=tags.a,tags.namespace`]: {
        data: { groups: { 'x\\,y,host': [{ timestamp: '2026-05-05T00:00:00Z', value: 1 }] } },
      },
    },
  },
  {
    title: 'counters without a kind are running totals',
    send: [
      json([counter('total', 42, '09:00:00'), counter('total', 50, '09:01:00'), counter('total', 3, '09:02:00')], 3),
    ],
    results: {
      [`total/${DAY}&aggregation=sum`]: today('total', 'sum', 11),
      [`total/${DAY}&aggregation=last`]: today('total', 'last', 3),
    },
  },
  {
    title: 'an incremental counter is a delta, an absolute one a running total',
    send: [
      json(
        [
          counter('kinds', 5, '09:00:00', { kind: 'incremental' }),
          counter('kinds', -2, '09:00:01', { kind: 'incremental' }),
        ],
        2,
      ),
      json(
        [
          counter('kinds', 100, '09:01:00', { kind: 'absolute' }),
          counter('kinds', 110, '09:02:00', { kind: 'absolute' }),
        ],
        2,
      ),
    ],
    results: { [`kinds/${DAY}&aggregation=sum`]: today('kinds', 'sum', 13) },
  },
  {
    title: 'a histogram is stored as counters with upper_limit, NAME_sum and NAME_count; percentiles are interpolated',
    send: [json(histogram), json(histogram)],
    results: {
      [`request_duration_s/${DAY}`]: today('request_duration_s', 'sum', 280),
      [`request_duration_s/${DAY}&aggregation=p50`]: today('request_duration_s', 'p50', 0.2 + 0.3 * (50 / 90)),
      [`request_duration_s/${DAY}&group_by=tags.upper_limit`]: {
        data: {
          groups: Object.fromEntries(
            [
              ['0.1', 30],
              ['0.2', 60],
              ['0.5', 90],
              ['1', 100],
            ].map(([limit, value]) => [limit, [{ timestamp: '2026-05-05T00:00:00Z', value }]]),
          ),
        },
      },
      [`request_duration_s_sum/${DAY}`]: today('request_duration_s_sum', 'sum', 151),
      [`request_duration_s_count/${DAY}`]: today('request_duration_s_count', 'sum', 280),
      request_duration_s: {
        data: { name: 'request_duration_s', type: 'histogram', tags: ['upper_limit'], data_points: 8 },
      },
    },
  },
  {
    title: 'a summary is stored as gauges with quantile, NAME_sum and NAME_count',
    send: [json(summary)],
    results: {
      [`response_size_bytes/${DAY}&tags[quantile]=0.99`]: today('response_size_bytes', 'last', 600),
      [`response_size_bytes_sum/${DAY}`]: today('response_size_bytes_sum', 'sum', 25_000),
      [`response_size_bytes_count/${DAY}`]: today('response_size_bytes_count', 'sum', 100),
      response_size_bytes: { data: { type: 'summary', tags: ['quantile'] } },
    },
  },
  {
    title: 'the formats of Vector are accepted: wrapped and aggregated metrics, sets and samples',
    send: [
      json({ metric: { name: 'v.set', kind: 'incremental', set: { values: ['a', 'b', 'a'] } } }),
      json({
        name: 'v.dist',
        kind: 'incremental',
        distribution: {
          samples: [
            { value: 2, rate: 3 },
            { value: 10, rate: 1 },
          ],
          statistic: 'summary',
        },
      }),
      json({
        name: 'v.hist',
        kind: 'incremental',
        aggregated_histogram: {
          buckets: [
            { upper_limit: 1, count: 2 },
            { upper_limit: 'inf', count: 1 },
          ],
          count: 3,
          sum: 4,
        },
      }),
      json({
        name: 'v.sum',
        kind: 'absolute',
        aggregated_summary: { quantiles: [{ quantile: 0.5, value: 9 }], count: 3, sum: 4 },
      }),
    ],
    results: {
      'v.set/query?interval=1d': today('v.set', 'count', 2),
      'v.dist/query?interval=1d': today('v.dist', 'avg', 4),
      'v.dist/query?interval=1d&aggregation=count': today('v.dist', 'count', 4),
      'v.hist/query?interval=1d&aggregation=p99': today('v.hist', 'p99', 1),
      [`v.sum/${LAST}`]: today('v.sum', 'last', 9),
    },
  },
  {
    title: 'different tags are different series',
    send: [json([gauge('series', 1, { tags: { host: 'a' } }), gauge('series', 2, { tags: { host: 'b' } })], 2)],
    results: { [`series/${LAST}&group_by=tags.host`]: { data: { groups: { a: [{ value: 1 }], b: [{ value: 2 }] } } } },
  },
  {
    title: 'a retry with the same Idempotency-Key counts once and gets the first response',
    send: (['/metrics', '/', '/metrics'] as const).map((path) => ({
      ...json([counter('once', 5, '09:00:00', { kind: 'incremental' }), {}], 1, 1),
      idempotencyKey: 'once',
      path,
    })),
    results: { [`once/${DAY}`]: today('once', 'sum', 5) },
  },
]
