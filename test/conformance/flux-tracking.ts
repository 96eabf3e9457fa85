import { AT, absent, accepted, counter, DAY, gauge, PATH, START, totalOf } from './flux-requests.ts'
import { INSTANT, itemError, KEYS, type Row, refusal } from './row.ts'

/** Keys and tracking of the Flux API. */

const KEY_ROWS: readonly Row[] = [
  {
    title: 'the key is accepted as Authorization: Bearer',
    send: `GET ${PATH}?limit=1&search=no+such`,
    as: 'none',
    headers: { authorization: `Bearer ${KEYS.all}` },
    response: { data: [] },
  },
  {
    title: 'the key is accepted as X-API-Key',
    send: `GET ${PATH}?limit=1&search=no+such`,
    as: 'none',
    headers: { 'x-api-key': KEYS.all },
    response: { data: [] },
  },
  {
    title: 'a request without a key is missing_api_key',
    send: `GET ${PATH}`,
    as: 'none',
    status: 401,
    response: refusal('missing_api_key'),
    responseHeaders: { 'www-authenticate': 'Bearer' },
  },
  {
    title: 'the key is not read from the query string',
    send: `GET ${PATH}?api_key=${KEYS.all}&key=${KEYS.all}&token=${KEYS.all}`,
    as: 'none',
    status: 401,
    response: refusal('missing_api_key'),
  },
  {
    title: 'an unknown key is invalid_api_key',
    send: `GET ${PATH}`,
    as: 'none',
    headers: { authorization: 'Bearer sk_live_xxx' },
    status: 401,
    response: refusal('invalid_api_key'),
  },
  {
    title: 'a key with the scope ingest alone may not query',
    send: `GET ${PATH}`,
    as: 'ingest',
    status: 403,
    response: refusal('forbidden', { scope: 'query' }),
    after: [
      { send: `GET ${PATH}/x`, as: 'ingest', status: 403, response: refusal('forbidden', { scope: 'query' }) },
      { send: `GET ${PATH}/x/query`, as: 'ingest', status: 403, response: refusal('forbidden', { scope: 'query' }) },
      { send: 'GET /api/v1/events', as: 'ingest', status: 403, response: refusal('forbidden', { scope: 'query' }) },
      { send: `DELETE ${PATH}/x`, as: 'ingest', status: 403, response: refusal('forbidden', { scope: 'admin' }) },
    ],
  },
  {
    title: 'a key with the scope query alone may not ingest',
    send: `POST ${PATH}`,
    body: gauge('key.query'),
    as: 'query',
    status: 403,
    response: refusal('forbidden', { scope: 'ingest' }),
    after: [
      {
        send: `POST ${PATH}/batch`,
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
    before: [{ send: `POST ${PATH}`, body: gauge('project.mine', 1, { tags: { secret: 'yes' } }) }],
    send: `GET ${PATH}`,
    as: 'other',
    response: { data: [] },
    after: [
      { send: `GET ${PATH}/project.mine`, as: 'other', status: 404, response: refusal('metric_not_found') },
      { send: `GET ${PATH}/project.mine/query`, as: 'other', status: 404, response: refusal('metric_not_found') },
      { send: `DELETE ${PATH}/project.mine`, as: 'other', status: 404, response: refusal('metric_not_found') },
      {
        send: `GET ${PATH}?search=project.mine`,
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
    send: `POST ${PATH}`,
    body: counter('single.one', 145.2, { tags: { endpoint: '/users', status: '200' }, unit: 'ms', description: 'x' }),
    response: `{"data":{"name":"single.one","type":"counter","value":145.2,"timestamp":"${AT}"}}`,
    after: [totalOf('single.one', 'sum', 145.2)],
  },
  {
    title: 'a missing or null timestamp is the time of reception',
    send: `POST ${PATH}`,
    body: gauge('single.now', 2, { timestamp: null }),
    response: { data: { name: 'single.now', type: 'gauge', value: 2, timestamp: INSTANT } },
    after: [
      {
        send: `GET ${PATH}/single.now/query?from=-1m&interval=1d`,
        response: {
          data: { name: 'single.now', aggregation: 'last', interval: '1d', series: [{ timestamp: INSTANT, value: 2 }] },
        },
      },
    ],
  },
  {
    title: 'the value of a set is a string',
    send: `POST ${PATH}`,
    body: { name: 'single.set', type: 'set', value: 'user_123', timestamp: AT },
    response: { data: { name: 'single.set', type: 'set', value: 'user_123', timestamp: AT } },
    after: [totalOf('single.set', 'count', 1)],
  },
  {
    title: 'unknown fields are ignored',
    send: `POST ${PATH}`,
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
      send: `POST ${PATH}`,
      body,
      status: 400,
      response: refusal(code),
      after: [absent('single.bad')],
    }),
  ),
  {
    title: 'a number too large to be finite is invalid_value',
    send: `POST ${PATH}`,
    body: '{"name":"single.bad","type":"gauge","value":1e999}',
    status: 400,
    response: refusal('invalid_value'),
  },
  {
    title: 'a name has one type for life',
    before: [{ send: `POST ${PATH}`, body: counter('single.typed') }],
    send: `POST ${PATH}`,
    body: gauge('single.typed'),
    status: 409,
    response: refusal('type_conflict'),
    after: [totalOf('single.typed', 'sum', 1)],
  },
  {
    title: 'a series beyond the limit is refused, existing series still accept points',
    before: [
      {
        send: `POST ${PATH}/batch`,
        body: Array.from({ length: 5 }, (_, i) => counter('single.wide', 1, { tags: { i } })),
        response: accepted(5),
      },
    ],
    send: `POST ${PATH}`,
    body: counter('single.wide', 1, { tags: { i: 5 } }),
    status: 422,
    response: refusal('series_limit_exceeded'),
    after: [
      { send: `POST ${PATH}`, body: counter('single.wide', 1, { tags: { i: 4 } }) },
      totalOf('single.wide', 'sum', 6),
    ],
  },
  {
    title: 'a content type other than JSON is unsupported_media_type',
    send: `POST ${PATH}`,
    body: '<a/>',
    headers: { 'content-type': 'application/xml' },
    status: 415,
    response: refusal('unsupported_media_type'),
  },
  {
    title: 'an unknown content encoding is unsupported_media_type',
    send: `POST ${PATH}`,
    body: gauge('single.bad'),
    headers: { 'content-encoding': 'zstd' },
    status: 415,
    response: refusal('unsupported_media_type'),
  },
  {
    title: 'the form type that curl sends is read as JSON',
    send: `POST ${PATH}`,
    body: gauge('single.form'),
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    response: { data: { name: 'single.form', type: 'gauge', value: 1, timestamp: INSTANT } },
  },
  {
    title: 'a body of more than 20 MiB is payload_too_large',
    send: `POST ${PATH}`,
    body: Buffer.alloc(20 * 1024 * 1024 + 1, ' '),
    status: 413,
    response: refusal('payload_too_large'),
  },
  {
    title: 'a body of 20 MiB is accepted',
    send: `POST ${PATH}`,
    body: JSON.stringify(gauge('single.padded')).padEnd(20 * 1024 * 1024, ' '),
    response: { data: { name: 'single.padded', type: 'gauge', value: 1, timestamp: INSTANT } },
  },
  {
    title: 'a request with Connection: close gets a response',
    send: `POST ${PATH}`,
    body: gauge('single.close'),
    headers: { connection: 'close' },
    responseHeaders: { connection: 'close' },
  },
  { title: 'an unknown path is not_found', send: 'GET /api/v1/metric', status: 404, response: refusal('not_found') },
  {
    title: 'an unknown method is not_found',
    send: `PUT ${PATH}/x`,
    body: {},
    status: 404,
    response: refusal('not_found'),
  },
]

const TAG_ROWS: readonly Row[] = [
  {
    title: 'tag values are strings, numbers and booleans, stored as text; null is dropped',
    send: `POST ${PATH}`,
    body: counter('tags.kinds', 1, { tags: { s: 'x', n: 1.5, i: 200, b: true, gone: null } }),
    after: [
      {
        send: `GET ${PATH}/tags.kinds`,
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
        send: `GET ${PATH}/tags.kinds/query?${DAY}&group_by=tags.i,tags.n,tags.b`,
        response: { data: { groups: { '200,1.5,true': [{ timestamp: START, value: 1 }] } } },
      },
    ],
  },
  {
    title: 'a number and its text are the same tag value, and the order of tags does not matter',
    before: [
      { send: `POST ${PATH}`, body: counter('tags.same', 1, { tags: { a: 200, b: 'x' } }) },
      { send: `POST ${PATH}`, body: counter('tags.same', 2, { tags: { b: 'x', a: '200', c: '' } }) },
    ],
    send: `GET ${PATH}/tags.same/query?${DAY}&group_by=tags.a`,
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
  send: `POST ${PATH}`,
  body: counter(`time.${i}`, 1, { timestamp }),
  response: { data: { name: `time.${i}`, type: 'counter', value: 1, timestamp: instant } },
}))

const BATCH_ROWS: readonly Row[] = [
  {
    title: 'a batch is an object with metrics',
    send: `POST ${PATH}/batch`,
    body: { metrics: [counter('batch.object'), counter('batch.object', 2)] },
    response: '{"data":{"accepted":2,"rejected":0}}',
    after: [totalOf('batch.object', 'sum', 3)],
  },
  {
    title: 'a batch may be a bare array',
    send: `POST ${PATH}/batch`,
    body: [counter('batch.bare'), counter('batch.bare', 2)],
    response: accepted(2),
    after: [totalOf('batch.bare', 'sum', 3)],
  },
  { title: 'a batch may be empty', send: `POST ${PATH}/batch`, body: { metrics: [] }, response: accepted(0) },
  { title: 'a bare array may be empty', send: `POST ${PATH}/batch`, body: [], response: accepted(0) },
  {
    title: 'invalid items are listed by index, all others are stored',
    before: [{ send: `POST ${PATH}`, body: gauge('batch.gauge') }],
    send: `POST ${PATH}/batch`,
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
    send: `POST ${PATH}/batch`,
    body: Array.from({ length: 500 }, () => counter('batch.500')),
    response: accepted(500),
    after: [totalOf('batch.500', 'sum', 500)],
  },
  {
    title: 'a batch of 501 items is refused and nothing is stored',
    send: `POST ${PATH}/batch`,
    body: { metrics: Array.from({ length: 501 }, () => counter('batch.501')) },
    status: 400,
    response: refusal('batch_too_large', { max: 500 }),
    after: [absent('batch.501')],
  },
  ...[{}, { metrics: {} }, { metrics: null }, '7', '{"metrics":[{}'].map(
    (body, i): Row => ({
      title: `a body without a list of metrics is invalid (${i})`,
      send: `POST ${PATH}/batch`,
      body,
      status: 400,
      response: refusal('invalid_body'),
    }),
  ),
  {
    title: 'of two points with equal times in one request, the last one wins',
    send: `POST ${PATH}/batch`,
    body: [1, 3, 2].map((value) => gauge('batch.order', value, { timestamp: AT })),
    after: [totalOf('batch.order', 'last', 2)],
  },
  {
    title: 'negative values of counters are accepted',
    send: `POST ${PATH}/batch`,
    body: [counter('batch.down', 5), counter('batch.down', -2)],
    response: accepted(2),
    after: [totalOf('batch.down', 'sum', 3)],
  },
]

export const FLUX_TRACK_ROWS: readonly Row[] = [...KEY_ROWS, ...SINGLE_ROWS, ...TAG_ROWS, ...TIME_ROWS, ...BATCH_ROWS]
