import { AT, absent, counter, DAY, gauge, PATH, START, totalOf } from './flux-requests.ts'
import { itemError, MESSAGE, type Row, refusal } from './row.ts'

/** The catalog, deletion and idempotency keys of the Flux API. */

const CATALOG_ROWS: readonly Row[] = [
  {
    title: 'metrics are listed by name, with their tag keys and times',
    before: [
      {
        send: `POST ${PATH}/batch`,
        body: [
          counter('list.b', 1, { tags: { z: 1 } }),
          counter('list.b', 1, { tags: { a: 1 }, timestamp: '2024-01-10T00:00:00Z' }),
          gauge('list.a', 1, { timestamp: AT }),
          { name: 'list.C', type: 'set', value: 'x', timestamp: AT },
        ],
      },
    ],
    send: `GET ${PATH}?search=LIST.`,
    response: `{"data":[{"name":"list.C","type":"set","tags":[],"first_seen":"${AT}","last_seen":"${AT}"},{"name":"list.a","type":"gauge","tags":[],"first_seen":"${AT}","last_seen":"${AT}"},{"name":"list.b","type":"counter","tags":["a","z"],"first_seen":"2024-01-10T00:00:00Z","last_seen":"${AT}"}]}`,
    after: [
      {
        send: `GET ${PATH}?search=list.&type=gauge`,
        response: { data: [{ name: 'list.a', type: 'gauge', tags: [], first_seen: AT, last_seen: AT }] },
      },
      {
        send: `GET ${PATH}?search=list.&limit=1`,
        response: { data: [{ name: 'list.C', type: 'set', tags: [], first_seen: AT, last_seen: AT }] },
      },
      {
        send: `GET ${PATH}?search=list.&limit=1&after=list.C`,
        response: { data: [{ name: 'list.a', type: 'gauge', tags: [], first_seen: AT, last_seen: AT }] },
      },
      { send: `GET ${PATH}?search=list.&after=list.b`, response: { data: [] } },
    ],
  },
  {
    title: 'a list filtered by an unknown type is invalid_type',
    send: `GET ${PATH}?type=timer`,
    status: 400,
    response: refusal('invalid_type'),
  },
  {
    title: 'a limit that is not a whole number is invalid_value',
    send: `GET ${PATH}?limit=0`,
    status: 400,
    response: refusal('invalid_value'),
  },
  {
    title: 'a single metric comes with its number of points',
    before: [{ send: `POST ${PATH}/batch`, body: [counter('one.metric'), counter('one.metric')] }],
    send: `GET ${PATH}/one.metric`,
    response: `{"data":{"name":"one.metric","type":"counter","tags":[],"first_seen":"${AT}","last_seen":"${AT}","data_points":2}}`,
  },
  {
    title: 'an unknown metric is metric_not_found',
    send: `GET ${PATH}/no.such`,
    status: 404,
    response: refusal('metric_not_found'),
  },
  ...['batch', 'a/b c%?&#ü😀', '__proto__', 'query', '..'].map(
    (name): Row => ({
      title: `names are percent-decoded: ${name}`,
      before: [{ send: `POST ${PATH}/batch`, body: [counter(name, 2)] }],
      send: `GET ${PATH}/${encodeURIComponent(name).replaceAll('.', '%2E')}`,
      response: { data: { name, type: 'counter', tags: [], first_seen: AT, last_seen: AT, data_points: 1 } },
      after: [
        {
          send: `GET ${PATH}/${encodeURIComponent(name).replaceAll('.', '%2E')}/query?${DAY}`,
          response: { data: { name, aggregation: 'sum', interval: '1d', series: [{ timestamp: START, value: 2 }] } },
        },
        { send: `DELETE ${PATH}/${encodeURIComponent(name).replaceAll('.', '%2E')}`, status: 204, response: '' },
      ],
    }),
  ),
]

const DELETE_ROWS: readonly Row[] = [
  {
    title: 'a deleted metric is not found, and its name can be used with another type',
    before: [{ send: `POST ${PATH}`, body: counter('delete.me', 1, { tags: { a: 1 } }) }],
    send: `DELETE ${PATH}/delete.me`,
    as: 'admin',
    status: 204,
    response: '',
    after: [
      absent('delete.me'),
      { send: `GET ${PATH}/delete.me/query`, status: 404, response: refusal('metric_not_found') },
      { send: `GET ${PATH}?search=delete.me`, response: { data: [] } },
      { send: `DELETE ${PATH}/delete.me`, status: 404, response: refusal('metric_not_found') },
      { send: `POST ${PATH}`, body: gauge('delete.me', 7, { timestamp: AT }) },
      {
        send: `GET ${PATH}/delete.me`,
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
    before: [{ send: `POST ${PATH}`, body: counter('once.single'), headers: { 'idempotency-key': 'single-1' } }],
    send: `POST ${PATH}`,
    body: counter('once.single'),
    headers: { 'idempotency-key': 'single-1' },
    response: { data: { name: 'once.single', type: 'counter', value: 1, timestamp: AT } },
    after: [totalOf('once.single', 'sum', 1)],
  },
  {
    title: 'a retry of a batch gets the first response with its errors',
    before: [
      { send: `POST ${PATH}/batch`, body: [counter('once.batch'), {}], headers: { 'idempotency-key': 'batch-1' } },
    ],
    send: `POST ${PATH}/batch`,
    body: [counter('once.batch'), {}],
    headers: { 'idempotency-key': 'batch-1' },
    response: { data: { accepted: 1, rejected: 1 }, errors: [itemError(1, 'missing_name')] },
    after: [totalOf('once.batch', 'sum', 1)],
  },
  {
    title: 'another body with the same key is idempotency_conflict',
    before: [{ send: `POST ${PATH}`, body: counter('once.other'), headers: { 'idempotency-key': 'other-1' } }],
    send: `POST ${PATH}`,
    body: counter('once.other', 2),
    headers: { 'idempotency-key': 'other-1' },
    status: 409,
    response: refusal('idempotency_conflict'),
    after: [totalOf('once.other', 'sum', 1)],
  },
  {
    title: 'idempotency keys belong to a project',
    before: [{ send: `POST ${PATH}`, body: counter('once.project'), headers: { 'idempotency-key': 'project-1' } }],
    send: `POST ${PATH}`,
    body: counter('once.project', 3),
    as: 'other',
    headers: { 'idempotency-key': 'project-1' },
    response: { data: { name: 'once.project', type: 'counter', value: 3, timestamp: AT } },
    after: [totalOf('once.project', 'sum', 1), { send: `DELETE ${PATH}/once.project`, as: 'other', status: 204 }],
  },
  {
    title: 'after a refused request, the corrected one may use the same key',
    before: [
      {
        send: `POST ${PATH}`,
        body: counter('once.again', 'x'),
        headers: { 'idempotency-key': 'again-1' },
        status: 400,
      },
    ],
    send: `POST ${PATH}`,
    body: counter('once.again'),
    headers: { 'idempotency-key': 'again-1' },
    after: [totalOf('once.again', 'sum', 1)],
  },
  {
    title: 'a malformed idempotency key is invalid_body',
    send: `POST ${PATH}`,
    body: counter('once.bad'),
    headers: { 'idempotency-key': 'a b' },
    status: 400,
    response: { error: { code: 'invalid_body', message: MESSAGE } },
    after: [absent('once.bad')],
  },
]

export const FLUX_CATALOG_ROWS: readonly Row[] = [...CATALOG_ROWS, ...DELETE_ROWS, ...IDEMPOTENCY_ROWS]
