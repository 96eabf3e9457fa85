import { INSTANT, itemError, KEYS, MESSAGE, type Row, refusal, type Step } from './row.ts'

/** Keys, tracking, the catalog and deletion of the Flux API. */

const M = '/api/v1/metrics'
const AT = '2024-01-15T10:30:00Z'
const DAY = 'from=2024-01-15T00:00:00Z&to=2024-01-15T23:59:59Z&interval=1d'
const START = '2024-01-15T00:00:00Z'

function totalOf(name: string, aggregation: string, value: unknown): Step {
  return {
    send: `GET ${M}/${encodeURIComponent(name)}/query?${DAY}&aggregation=${aggregation}`,
    response: { data: { name, aggregation, interval: '1d', series: [{ timestamp: START, value }] } },
  }
}

const gauge = (name: string, value: unknown = 1, more: object = {}) => ({ name, type: 'gauge', value, ...more })
const counter = (name: string, value: unknown = 1, more: object = {}) => ({
  ...{ name, type: 'counter', value, timestamp: AT },
  ...more,
})
const accepted = (n: number) => ({ data: { accepted: n, rejected: 0 } })
const absent = (name: string): Step => ({
  send: `GET ${M}/${encodeURIComponent(name)}`,
  status: 404,
  response: refusal('metric_not_found'),
})

const KEY_ROWS: readonly Row[] = [
  {
    title: 'the key is accepted as Authorization: Bearer',
    send: `GET ${M}?limit=1&search=no+such`,
    as: 'none',
    headers: { authorization: `Bearer ${KEYS.all}` },
    response: { data: [] },
  },
  {
    title: 'the key is accepted as X-API-Key',
    send: `GET ${M}?limit=1&search=no+such`,
    as: 'none',
    headers: { 'x-api-key': KEYS.all },
    response: { data: [] },
  },
  {
    title: 'a request without a key is missing_api_key',
    send: `GET ${M}`,
    as: 'none',
    status: 401,
    response: refusal('missing_api_key'),
    responseHeaders: { 'www-authenticate': 'Bearer' },
  },
  {
    title: 'the key is not read from the query string',
    send: `GET ${M}?api_key=${KEYS.all}&key=${KEYS.all}&token=${KEYS.all}`,
    as: 'none',
    status: 401,
    response: refusal('missing_api_key'),
  },
  {
    title: 'an unknown key is invalid_api_key',
    send: `GET ${M}`,
    as: 'none',
    headers: { authorization: 'Bearer sk_live_xxx' },
    status: 401,
    response: refusal('invalid_api_key'),
  },
  {
    title: 'a key with the scope ingest alone may not query',
    send: `GET ${M}`,
    as: 'ingest',
    status: 403,
    response: refusal('forbidden', { scope: 'query' }),
    after: [
      { send: `GET ${M}/x`, as: 'ingest', status: 403, response: refusal('forbidden', { scope: 'query' }) },
      { send: `GET ${M}/x/query`, as: 'ingest', status: 403, response: refusal('forbidden', { scope: 'query' }) },
      { send: 'GET /api/v1/events', as: 'ingest', status: 403, response: refusal('forbidden', { scope: 'query' }) },
      { send: `DELETE ${M}/x`, as: 'ingest', status: 403, response: refusal('forbidden', { scope: 'admin' }) },
    ],
  },
  {
    title: 'a key with the scope query alone may not ingest',
    send: `POST ${M}`,
    body: gauge('key.query'),
    as: 'query',
    status: 403,
    response: refusal('forbidden', { scope: 'ingest' }),
    after: [
      {
        send: `POST ${M}/batch`,
        body: [],
        as: 'query',
        status: 403,
        response: refusal('forbidden', { scope: 'ingest' }),
      },
      {
        send: 'POST /api/v1/events',
        body: {},
        as: 'query',
        status: 403,
        response: refusal('forbidden', { scope: 'ingest' }),
      },
      {
        send: 'POST /api/v1/flux/batch',
        body: {},
        as: 'query',
        status: 403,
        response: refusal('forbidden', { scope: 'ingest' }),
      },
      absent('key.query'),
    ],
  },
  {
    title: 'a project sees only its own data',
    before: [{ send: `POST ${M}`, body: gauge('project.mine', 1, { tags: { secret: 'yes' } }) }],
    send: `GET ${M}`,
    as: 'other',
    response: { data: [] },
    after: [
      { send: `GET ${M}/project.mine`, as: 'other', status: 404, response: refusal('metric_not_found') },
      { send: `GET ${M}/project.mine/query`, as: 'other', status: 404, response: refusal('metric_not_found') },
      { send: `DELETE ${M}/project.mine`, as: 'other', status: 404, response: refusal('metric_not_found') },
      {
        send: `GET ${M}?search=project.mine`,
        response: {
          data: [{ name: 'project.mine', type: 'gauge', tags: ['secret'], first_seen: INSTANT, last_seen: INSTANT }],
        },
      },
    ],
  },
]

const SINGLE_ROWS: readonly Row[] = [
  {
    title: 'the response to a point repeats it',
    send: `POST ${M}`,
    body: counter('single.one', 145.2, { tags: { endpoint: '/users', status: '200' }, unit: 'ms', description: 'x' }),
    response: `{"data":{"name":"single.one","type":"counter","value":145.2,"timestamp":"${AT}"}}`,
    after: [totalOf('single.one', 'sum', 145.2)],
  },
  {
    title: 'a missing or null timestamp is the time of reception',
    send: `POST ${M}`,
    body: gauge('single.now', 2, { timestamp: null }),
    response: { data: { name: 'single.now', type: 'gauge', value: 2, timestamp: INSTANT } },
    after: [
      {
        send: `GET ${M}/single.now/query?from=-1m&interval=1d`,
        response: {
          data: { name: 'single.now', aggregation: 'last', interval: '1d', series: [{ timestamp: INSTANT, value: 2 }] },
        },
      },
    ],
  },
  {
    title: 'the value of a set is a string',
    send: `POST ${M}`,
    body: { name: 'single.set', type: 'set', value: 'user_123', timestamp: AT },
    response: { data: { name: 'single.set', type: 'set', value: 'user_123', timestamp: AT } },
    after: [totalOf('single.set', 'count', 1)],
  },
  {
    title: 'unknown fields are ignored',
    send: `POST ${M}`,
    body: gauge('single.unknown', 1, { color: 'red', kind: { a: 1 } }),
    response: { data: { name: 'single.unknown', type: 'gauge', value: 1, timestamp: INSTANT } },
  },
  ...(
    [
      ['no name', { type: 'gauge', value: 1 }, 'missing_name'],
      ['an empty name', gauge(''), 'missing_name'],
      ['a name of 256 characters', gauge('x'.repeat(256)), 'missing_name'],
      ['no type', { name: 'single.bad', value: 1 }, 'invalid_type'],
      ['an unknown type', { name: 'single.bad', type: 'timer', value: 1 }, 'invalid_type'],
      ['a type of the catalog alone', { name: 'single.bad', type: 'histogram', value: 1 }, 'invalid_type'],
      ['no value', { name: 'single.bad', type: 'gauge' }, 'invalid_value'],
      ['null as its value', gauge('single.bad', null), 'invalid_value'],
      ['a numeric string as its value', gauge('single.bad', '145.2'), 'invalid_value'],
      ['a boolean as its value', gauge('single.bad', true), 'invalid_value'],
      ['a number as the member of a set', { name: 'single.bad', type: 'set', value: 7 }, 'invalid_value'],
      ['a time that is none', gauge('single.bad', 1, { timestamp: 'yesterday' }), 'invalid_timestamp'],
      ['a time 25 hours ahead', gauge('single.bad', 1, { timestamp: 32_503_680_000 }), 'invalid_timestamp'],
      ['tags that are a list', gauge('single.bad', 1, { tags: ['a'] }), 'invalid_tags'],
      ['a tag that is an object', gauge('single.bad', 1, { tags: { a: {} } }), 'invalid_tags'],
      ['a tag value of 257 characters', gauge('single.bad', 1, { tags: { a: 'x'.repeat(257) } }), 'invalid_tags'],
      ['a tag key of 129 characters', gauge('single.bad', 1, { tags: { ['x'.repeat(129)]: 'a' } }), 'invalid_tags'],
      [
        '33 tags',
        gauge('single.bad', 1, { tags: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`k${i}`, 'v'])) }),
        'invalid_tags',
      ],
      ['a list for a body', [gauge('single.bad')], 'invalid_body'],
      ['text for a body', '"a"', 'invalid_body'],
      ['no JSON for a body', '{"name":', 'invalid_body'],
      ['an empty body', '', 'invalid_body'],
      ['bytes that are no UTF-8', new Uint8Array([0x22, 0xff, 0x22]), 'invalid_body'],
    ] as const
  ).map(
    ([what, body, code]): Row => ({
      title: `${what} is ${code}`,
      send: `POST ${M}`,
      body,
      status: 400,
      response: refusal(code),
      after: [absent('single.bad')],
    }),
  ),
  {
    title: 'a number too large to be finite is invalid_value',
    send: `POST ${M}`,
    body: '{"name":"single.bad","type":"gauge","value":1e999}',
    status: 400,
    response: refusal('invalid_value'),
  },
  {
    title: 'a name has one type for life',
    before: [{ send: `POST ${M}`, body: counter('single.typed') }],
    send: `POST ${M}`,
    body: gauge('single.typed'),
    status: 409,
    response: refusal('type_conflict'),
    after: [totalOf('single.typed', 'sum', 1)],
  },
  {
    title: 'a series beyond the limit is refused, existing series still accept points',
    before: [
      {
        send: `POST ${M}/batch`,
        body: Array.from({ length: 5 }, (_, i) => counter('single.wide', 1, { tags: { i } })),
        response: accepted(5),
      },
    ],
    send: `POST ${M}`,
    body: counter('single.wide', 1, { tags: { i: 5 } }),
    status: 422,
    response: refusal('series_limit_exceeded'),
    after: [
      { send: `POST ${M}`, body: counter('single.wide', 1, { tags: { i: 4 } }) },
      totalOf('single.wide', 'sum', 6),
    ],
  },
  {
    title: 'a content type other than JSON is unsupported_media_type',
    send: `POST ${M}`,
    body: '<a/>',
    headers: { 'content-type': 'application/xml' },
    status: 415,
    response: refusal('unsupported_media_type'),
  },
  {
    title: 'an unknown content encoding is unsupported_media_type',
    send: `POST ${M}`,
    body: gauge('single.bad'),
    headers: { 'content-encoding': 'zstd' },
    status: 415,
    response: refusal('unsupported_media_type'),
  },
  {
    title: 'the form type that curl sends is read as JSON',
    send: `POST ${M}`,
    body: gauge('single.form'),
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    response: { data: { name: 'single.form', type: 'gauge', value: 1, timestamp: INSTANT } },
  },
  {
    title: 'a body of more than 20 MiB is payload_too_large',
    send: `POST ${M}`,
    body: Buffer.alloc(20 * 1024 * 1024 + 1, ' '),
    status: 413,
    response: refusal('payload_too_large'),
  },
  {
    title: 'a body of 20 MiB is accepted',
    send: `POST ${M}`,
    body: JSON.stringify(gauge('single.padded')).padEnd(20 * 1024 * 1024, ' '),
    response: { data: { name: 'single.padded', type: 'gauge', value: 1, timestamp: INSTANT } },
  },
  {
    title: 'a request with Connection: close gets a response',
    send: `POST ${M}`,
    body: gauge('single.close'),
    headers: { connection: 'close' },
    responseHeaders: { connection: 'close' },
  },
  { title: 'an unknown path is not_found', send: 'GET /api/v1/metric', status: 404, response: refusal('not_found') },
  {
    title: 'an unknown method is not_found',
    send: `PUT ${M}/x`,
    body: {},
    status: 404,
    response: refusal('not_found'),
  },
]

const TAG_ROWS: readonly Row[] = [
  {
    title: 'tag values are strings, numbers and booleans, stored as text; null is dropped',
    send: `POST ${M}`,
    body: counter('tags.kinds', 1, { tags: { s: 'x', n: 1.5, i: 200, b: true, gone: null } }),
    after: [
      {
        send: `GET ${M}/tags.kinds`,
        response: {
          data: {
            name: 'tags.kinds',
            type: 'counter',
            tags: ['b', 'i', 'n', 's'],
            first_seen: AT,
            last_seen: AT,
            data_points: 1,
          },
        },
      },
      {
        send: `GET ${M}/tags.kinds/query?${DAY}&group_by=tags.i,tags.n,tags.b`,
        response: { data: { groups: { '200,1.5,true': [{ timestamp: START, value: 1 }] } } },
      },
    ],
  },
  {
    title: 'a number and its text are the same tag value, and the order of tags does not matter',
    before: [
      { send: `POST ${M}`, body: counter('tags.same', 1, { tags: { a: 200, b: 'x' } }) },
      { send: `POST ${M}`, body: counter('tags.same', 2, { tags: { b: 'x', a: '200', c: '' } }) },
    ],
    send: `GET ${M}/tags.same/query?${DAY}&group_by=tags.a`,
    response: { data: { groups: { '200': [{ timestamp: START, value: 3 }] } } },
  },
]

const TIME_ROWS: readonly Row[] = (
  [
    ['2024-01-15T10:30:00Z', AT],
    ['2024-01-15T12:30:00+02:00', AT],
    ['2024-01-15 10:30:00 UTC', AT],
    ['2024-01-15T10:30:00.123456789Z', '2024-01-15T10:30:00.123Z'],
    [1_705_314_600, AT],
    [1_705_314_600_500, '2024-01-15T10:30:00.500Z'],
    [1_705_314_600_000_000, AT],
    [1_705_314_600_000_000_000, AT],
    ['1969-07-20T20:17:40Z', '1969-07-20T20:17:40Z'],
  ] as const
).map(([timestamp, instant], i) => ({
  title: `${timestamp} is ${instant}`,
  send: `POST ${M}`,
  body: counter(`time.${i}`, 1, { timestamp }),
  response: { data: { name: `time.${i}`, type: 'counter', value: 1, timestamp: instant } },
}))

const BATCH_ROWS: readonly Row[] = [
  {
    title: 'a batch is an object with metrics',
    send: `POST ${M}/batch`,
    body: { metrics: [counter('batch.object'), counter('batch.object', 2)] },
    response: '{"data":{"accepted":2,"rejected":0}}',
    after: [totalOf('batch.object', 'sum', 3)],
  },
  {
    title: 'a batch may be a bare array',
    send: `POST ${M}/batch`,
    body: [counter('batch.bare'), counter('batch.bare', 2)],
    response: accepted(2),
    after: [totalOf('batch.bare', 'sum', 3)],
  },
  { title: 'a batch may be empty', send: `POST ${M}/batch`, body: { metrics: [] }, response: accepted(0) },
  { title: 'a bare array may be empty', send: `POST ${M}/batch`, body: [], response: accepted(0) },
  {
    title: 'invalid items are listed by index, all others are stored',
    before: [{ send: `POST ${M}`, body: gauge('batch.gauge') }],
    send: `POST ${M}/batch`,
    body: {
      metrics: [
        counter('batch.mixed'),
        counter('batch.mixed', 'x'),
        7,
        counter('batch.gauge'),
        { type: 'gauge' },
        counter('batch.mixed', 5),
        counter('batch.mixed', null),
      ],
    },
    response: {
      data: { accepted: 2, rejected: 5 },
      errors: [
        itemError(1, 'invalid_value'),
        itemError(2, 'invalid_body'),
        itemError(3, 'type_conflict'),
        itemError(4, 'missing_name'),
        itemError(6, 'invalid_value'),
      ],
    },
    after: [totalOf('batch.mixed', 'sum', 6)],
  },
  {
    title: 'a batch of 500 items is accepted',
    send: `POST ${M}/batch`,
    body: Array.from({ length: 500 }, () => counter('batch.500')),
    response: accepted(500),
    after: [totalOf('batch.500', 'sum', 500)],
  },
  {
    title: 'a batch of 501 items is refused and nothing is stored',
    send: `POST ${M}/batch`,
    body: { metrics: Array.from({ length: 501 }, () => counter('batch.501')) },
    status: 400,
    response: refusal('batch_too_large', { max: 500 }),
    after: [absent('batch.501')],
  },
  ...[{}, { metrics: {} }, { metrics: null }, '7', '{"metrics":[{}'].map(
    (body, i): Row => ({
      title: `a body without a list of metrics is invalid (${i})`,
      send: `POST ${M}/batch`,
      body,
      status: 400,
      response: refusal('invalid_body'),
    }),
  ),
  {
    title: 'of two points with equal times in one request, the last one wins',
    send: `POST ${M}/batch`,
    body: [1, 3, 2].map((value) => gauge('batch.order', value, { timestamp: AT })),
    after: [totalOf('batch.order', 'last', 2)],
  },
  {
    title: 'negative values of counters are accepted',
    send: `POST ${M}/batch`,
    body: [counter('batch.down', 5), counter('batch.down', -2)],
    response: accepted(2),
    after: [totalOf('batch.down', 'sum', 3)],
  },
]

const CATALOG_ROWS: readonly Row[] = [
  {
    title: 'metrics are listed by name, with their tag keys and times',
    before: [
      {
        send: `POST ${M}/batch`,
        body: [
          counter('list.b', 1, { tags: { z: 1 } }),
          counter('list.b', 1, { tags: { a: 1 }, timestamp: '2024-01-10T00:00:00Z' }),
          gauge('list.a', 1, { timestamp: AT }),
          { name: 'list.C', type: 'set', value: 'x', timestamp: AT },
        ],
      },
    ],
    send: `GET ${M}?search=LIST.`,
    response: `{"data":[{"name":"list.C","type":"set","tags":[],"first_seen":"${AT}","last_seen":"${AT}"},{"name":"list.a","type":"gauge","tags":[],"first_seen":"${AT}","last_seen":"${AT}"},{"name":"list.b","type":"counter","tags":["a","z"],"first_seen":"2024-01-10T00:00:00Z","last_seen":"${AT}"}]}`,
    after: [
      {
        send: `GET ${M}?search=list.&type=gauge`,
        response: { data: [{ name: 'list.a', type: 'gauge', tags: [], first_seen: AT, last_seen: AT }] },
      },
      {
        send: `GET ${M}?search=list.&limit=1`,
        response: { data: [{ name: 'list.C', type: 'set', tags: [], first_seen: AT, last_seen: AT }] },
      },
      {
        send: `GET ${M}?search=list.&limit=1&after=list.C`,
        response: { data: [{ name: 'list.a', type: 'gauge', tags: [], first_seen: AT, last_seen: AT }] },
      },
      { send: `GET ${M}?search=list.&after=list.b`, response: { data: [] } },
    ],
  },
  {
    title: 'a list filtered by an unknown type is invalid_type',
    send: `GET ${M}?type=timer`,
    status: 400,
    response: refusal('invalid_type'),
  },
  {
    title: 'a limit that is not a whole number is invalid_value',
    send: `GET ${M}?limit=0`,
    status: 400,
    response: refusal('invalid_value'),
  },
  {
    title: 'a single metric comes with its number of points',
    before: [{ send: `POST ${M}/batch`, body: [counter('one.metric'), counter('one.metric')] }],
    send: `GET ${M}/one.metric`,
    response: `{"data":{"name":"one.metric","type":"counter","tags":[],"first_seen":"${AT}","last_seen":"${AT}","data_points":2}}`,
  },
  {
    title: 'an unknown metric is metric_not_found',
    send: `GET ${M}/no.such`,
    status: 404,
    response: refusal('metric_not_found'),
  },
  ...['batch', 'a/b c%?&#ü😀', '__proto__', 'query', '..'].map(
    (name): Row => ({
      title: `names are percent-decoded: ${name}`,
      before: [{ send: `POST ${M}/batch`, body: [counter(name, 2)] }],
      send: `GET ${M}/${encodeURIComponent(name).replaceAll('.', '%2E')}`,
      response: { data: { name, type: 'counter', tags: [], first_seen: AT, last_seen: AT, data_points: 1 } },
      after: [
        {
          send: `GET ${M}/${encodeURIComponent(name).replaceAll('.', '%2E')}/query?${DAY}`,
          response: { data: { name, aggregation: 'sum', interval: '1d', series: [{ timestamp: START, value: 2 }] } },
        },
        { send: `DELETE ${M}/${encodeURIComponent(name).replaceAll('.', '%2E')}`, status: 204, response: '' },
      ],
    }),
  ),
]

const DELETE_ROWS: readonly Row[] = [
  {
    title: 'a deleted metric is not found, and its name can be used with another type',
    before: [{ send: `POST ${M}`, body: counter('delete.me', 1, { tags: { a: 1 } }) }],
    send: `DELETE ${M}/delete.me`,
    as: 'admin',
    status: 204,
    response: '',
    after: [
      absent('delete.me'),
      { send: `GET ${M}/delete.me/query`, status: 404, response: refusal('metric_not_found') },
      { send: `GET ${M}?search=delete.me`, response: { data: [] } },
      { send: `DELETE ${M}/delete.me`, status: 404, response: refusal('metric_not_found') },
      { send: `POST ${M}`, body: gauge('delete.me', 7, { timestamp: AT }) },
      {
        send: `GET ${M}/delete.me`,
        response: {
          data: { name: 'delete.me', type: 'gauge', tags: [], first_seen: AT, last_seen: AT, data_points: 1 },
        },
      },
      totalOf('delete.me', 'last', 7),
    ],
  },
]

const IDEMPOTENCY_ROWS: readonly Row[] = [
  {
    title: 'a retry with the same idempotency key counts once and gets the first response',
    before: [{ send: `POST ${M}`, body: counter('once.single'), headers: { 'idempotency-key': 'single-1' } }],
    send: `POST ${M}`,
    body: counter('once.single'),
    headers: { 'idempotency-key': 'single-1' },
    response: { data: { name: 'once.single', type: 'counter', value: 1, timestamp: AT } },
    after: [totalOf('once.single', 'sum', 1)],
  },
  {
    title: 'a retry of a batch gets the first response with its errors',
    before: [{ send: `POST ${M}/batch`, body: [counter('once.batch'), {}], headers: { 'idempotency-key': 'batch-1' } }],
    send: `POST ${M}/batch`,
    body: [counter('once.batch'), {}],
    headers: { 'idempotency-key': 'batch-1' },
    response: { data: { accepted: 1, rejected: 1 }, errors: [itemError(1, 'missing_name')] },
    after: [totalOf('once.batch', 'sum', 1)],
  },
  {
    title: 'another body with the same key is idempotency_conflict',
    before: [{ send: `POST ${M}`, body: counter('once.other'), headers: { 'idempotency-key': 'other-1' } }],
    send: `POST ${M}`,
    body: counter('once.other', 2),
    headers: { 'idempotency-key': 'other-1' },
    status: 409,
    response: refusal('idempotency_conflict'),
    after: [totalOf('once.other', 'sum', 1)],
  },
  {
    title: 'idempotency keys belong to a project',
    before: [{ send: `POST ${M}`, body: counter('once.project'), headers: { 'idempotency-key': 'project-1' } }],
    send: `POST ${M}`,
    body: counter('once.project', 3),
    as: 'other',
    headers: { 'idempotency-key': 'project-1' },
    response: { data: { name: 'once.project', type: 'counter', value: 3, timestamp: AT } },
    after: [totalOf('once.project', 'sum', 1), { send: `DELETE ${M}/once.project`, as: 'other', status: 204 }],
  },
  {
    title: 'after a refused request, the corrected one may use the same key',
    before: [
      { send: `POST ${M}`, body: counter('once.again', 'x'), headers: { 'idempotency-key': 'again-1' }, status: 400 },
    ],
    send: `POST ${M}`,
    body: counter('once.again'),
    headers: { 'idempotency-key': 'again-1' },
    after: [totalOf('once.again', 'sum', 1)],
  },
  {
    title: 'a malformed idempotency key is invalid_body',
    send: `POST ${M}`,
    body: counter('once.bad'),
    headers: { 'idempotency-key': 'a b' },
    status: 400,
    response: { error: { code: 'invalid_body', message: MESSAGE } },
    after: [absent('once.bad')],
  },
]

export const FLUX_TRACK_ROWS: readonly Row[] = [
  ...KEY_ROWS,
  ...SINGLE_ROWS,
  ...TAG_ROWS,
  ...TIME_ROWS,
  ...BATCH_ROWS,
  ...CATALOG_ROWS,
  ...DELETE_ROWS,
  ...IDEMPOTENCY_ROWS,
]
