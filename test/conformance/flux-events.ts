import { CURSOR, ID, INSTANT, itemError, MESSAGE, type Row, refusal, type Step } from './row.ts'

/** Events and combined batches of the Flux API. */

const E = '/api/v1/events'
const AT = '2024-01-15T10:30:00Z'
const RANGE = 'from=2024-01-15T00:00:00Z&to=2024-01-15T23:59:59Z'

const NOTHING = {
  ...{ value: null, tags: {}, properties: null, user_id: null, session_id: null, environment: null },
  ...{ service: null, host: null, request_id: null },
}

/** The events of a name on that day, newest first. */
function listed(name: string, ...events: readonly object[]): Step {
  return {
    send: `GET ${E}?${RANGE}&name=${encodeURIComponent(name)}`,
    response: { data: events.map((event) => ({ id: ID, timestamp: AT, ...NOTHING, ...event })) },
  }
}

const event = (name: string, more: object = {}) => ({ name, timestamp: AT, ...more })

const EVENT_ROWS: readonly Row[] = [
  {
    title: 'the response to an event has its id',
    send: `POST ${E}`,
    body: event('single.placed', { value: 99.99, user_id: 'u-1' }),
    response: { data: { id: ID, name: 'single.placed', timestamp: AT, user_id: 'u-1', value: 99.99 } },
    after: [listed('single.placed', { name: 'single.placed', value: 99.99, user_id: 'u-1' })],
  },
  {
    title: 'an event needs only a name',
    send: `POST ${E}`,
    body: { name: 'single.bare' },
    response: { data: { id: ID, name: 'single.bare', timestamp: INSTANT, user_id: null, value: null } },
    after: [
      {
        send: `GET ${E}?name=single.bare`,
        response: { data: [{ id: ID, name: 'single.bare', timestamp: INSTANT, ...NOTHING }] },
      },
    ],
  },
  {
    title: 'an event is stored whole',
    send: `POST ${E}`,
    body: event('single.whole', {
      ...{ value: -1, tags: { region: 'eu', n: 1, gone: null }, properties: { a: [{ b: null }], ü: '😀' } },
      ...{ user_id: 'u', session_id: 's', environment: 'production', service: 'checkout', host: 'h', request_id: 'r' },
    }),
    after: [
      listed('single.whole', {
        ...{
          name: 'single.whole',
          value: -1,
          tags: { n: '1', region: 'eu' },
          properties: { a: [{ b: null }], ü: '😀' },
        },
        ...{
          user_id: 'u',
          session_id: 's',
          environment: 'production',
          service: 'checkout',
          host: 'h',
          request_id: 'r',
        },
      }),
    ],
  },
  {
    title: 'null is accepted for every field but the name, and unknown fields are ignored',
    send: `POST ${E}`,
    body: { name: 'single.null', ...NOTHING, tags: null, timestamp: null, color: { a: 1 } },
    response: { data: { id: ID, name: 'single.null', timestamp: INSTANT, user_id: null, value: null } },
  },
  {
    title: 'two equal events are two events',
    before: [{ send: `POST ${E}`, body: event('single.twice') }],
    send: `POST ${E}`,
    body: event('single.twice'),
    after: [listed('single.twice', { name: 'single.twice' }, { name: 'single.twice' })],
  },
  ...(
    [
      ['no name', {}, 400, 'missing_name'],
      ['a name of 256 characters', event('x'.repeat(256)), 400, 'missing_name'],
      ['a value that is text', event('single.bad', { value: '1' }), 400, 'invalid_value'],
      ['a time that is none', { name: 'single.bad', timestamp: 'soon' }, 400, 'invalid_timestamp'],
      ['tags that are a list', event('single.bad', { tags: [] }), 400, 'invalid_tags'],
      ['properties that are a list', event('single.bad', { properties: [] }), 400, 'invalid_value'],
      ['a user that is an object', event('single.bad', { user_id: {} }), 400, 'invalid_value'],
      ['a list for a body', [event('single.bad')], 400, 'invalid_body'],
      [
        'more than 32 KiB',
        event('single.bad', { properties: { text: 'x'.repeat(32 * 1024) } }),
        413,
        'payload_too_large',
      ],
    ] as const
  ).map(
    ([what, body, status, code]): Row => ({
      title: `an event with ${what} is ${code}`,
      send: `POST ${E}`,
      body,
      status,
      response: refusal(code),
      after: [listed('single.bad')],
    }),
  ),
]

const BATCH_ROWS: readonly Row[] = [
  {
    title: 'a batch of events is an object with events',
    send: `POST ${E}/batch`,
    body: { events: [event('batch.e', { value: null }), event('batch.e', { value: 2 })] },
    response: '{"data":{"accepted":2,"rejected":0}}',
    after: [listed('batch.e', { name: 'batch.e', value: 2 }, { name: 'batch.e' })],
  },
  {
    title: 'a batch of events may be a bare array',
    send: `POST ${E}/batch`,
    body: [event('batch.bare')],
    response: { data: { accepted: 1, rejected: 0 } },
  },
  {
    title: 'a batch of events may be empty',
    send: `POST ${E}/batch`,
    body: { events: [] },
    response: { data: { accepted: 0, rejected: 0 } },
  },
  {
    title: 'invalid events are listed by index, all others are stored',
    send: `POST ${E}/batch`,
    body: { events: [event('batch.mixed'), {}, event('batch.mixed', { tags: 1 })] },
    response: {
      data: { accepted: 1, rejected: 2 },
      errors: [itemError(1, 'missing_name'), itemError(2, 'invalid_tags')],
    },
    after: [listed('batch.mixed', { name: 'batch.mixed' })],
  },
  {
    title: 'a batch of 501 events is refused and nothing is stored',
    send: `POST ${E}/batch`,
    body: { events: Array.from({ length: 501 }, () => event('batch.501')) },
    status: 400,
    response: refusal('batch_too_large', { max: 500 }),
    after: [listed('batch.501')],
  },
  {
    title: 'a batch without a list of events is invalid',
    send: `POST ${E}/batch`,
    body: {},
    status: 400,
    response: refusal('invalid_body'),
  },
  {
    title: 'a batch of events with an idempotency key counts once',
    before: [{ send: `POST ${E}/batch`, body: [event('batch.once')], headers: { 'idempotency-key': 'events-1' } }],
    send: `POST ${E}/batch`,
    body: [event('batch.once')],
    headers: { 'idempotency-key': 'events-1' },
    response: { data: { accepted: 1, rejected: 0 } },
    after: [listed('batch.once', { name: 'batch.once' })],
  },
]

const LIST_ROWS: readonly Row[] = [
  {
    title: 'events are listed newest first, page by page, each once',
    before: [
      {
        send: `POST ${E}/batch`,
        body: ['10:00', '10:02', '10:01'].map((time) => ({ name: 'list.pages', timestamp: `2024-01-15T${time}:00Z` })),
      },
    ],
    send: `GET ${E}?${RANGE}&name=list.pages&limit=2`,
    response: {
      data: ['10:02', '10:01'].map((time) => ({
        id: ID,
        name: 'list.pages',
        timestamp: `2024-01-15T${time}:00Z`,
        ...NOTHING,
      })),
      next: CURSOR,
    },
    after: [
      {
        send: `GET ${E}?${RANGE}&name=list.pages&limit=3`,
        response: {
          data: ['10:02', '10:01', '10:00'].map((time) => ({
            id: ID,
            name: 'list.pages',
            timestamp: `2024-01-15T${time}:00Z`,
            ...NOTHING,
          })),
        },
      },
    ],
  },
  {
    title: 'events are filtered by the start of the name and by tags',
    before: [
      {
        send: `POST ${E}/batch`,
        body: [
          event('list.a.x', { tags: { region: 'eu', n: 1 } }),
          event('list.a.y', { tags: { region: 'us' } }),
          event('list.b', { tags: { region: 'eu' } }),
        ],
      },
    ],
    send: `GET ${E}?${RANGE}&name=list.a.*&tags[region]=eu&tags[region]=us&tags[n]=1`,
    response: { data: [{ id: ID, name: 'list.a.x', timestamp: AT, ...NOTHING, tags: { n: '1', region: 'eu' } }] },
    after: [
      {
        send: `GET ${E}?${RANGE}&name=list.a.*&tags%5Bregion%5D=us`,
        response: { data: [{ id: ID, name: 'list.a.y', timestamp: AT, ...NOTHING, tags: { region: 'us' } }] },
      },
      { send: `GET ${E}?${RANGE}&name=list.a`, response: { data: [] } },
    ],
  },
  {
    title: 'by default the events of the last 24 hours are listed',
    before: [
      { send: `POST ${E}`, body: event('list.old') },
      { send: `POST ${E}`, body: { name: 'list.old' } },
    ],
    send: `GET ${E}?name=list.old`,
    response: { data: [{ id: ID, name: 'list.old', timestamp: INSTANT, ...NOTHING }] },
  },
  {
    title: 'only events of the own project are listed',
    before: [{ send: `POST ${E}`, body: { name: 'list.mine' } }],
    send: `GET ${E}`,
    as: 'other',
    response: { data: [] },
  },
  ...['limit=1001', 'after=x', 'from=soon', `from=${AT}&to=2024-01-14T00:00:00Z`].map(
    (parameters): Row => ({
      title: `${parameters} is an invalid range`,
      send: `GET ${E}?${parameters}`,
      status: 400,
      response: { error: { code: 'invalid_range', message: MESSAGE, ...detailsOf(parameters) } },
    }),
  ),
]

/** The argument is named where it alone is wrong. */
function detailsOf(parameters: string): object {
  const argument = /^(after|from)=(?:x|soon)$/.exec(parameters)?.[1]
  return argument === undefined ? {} : { details: { argument } }
}

const none = { accepted: 0, rejected: 0 }

const COMBINED_ROWS: readonly Row[] = [
  {
    title: 'a combined batch stores events and metrics',
    send: 'POST /api/v1/flux/batch',
    body: {
      events: [event('both.order', { value: 99.99 })],
      metrics: [{ name: 'both.orders', type: 'counter', value: -1, timestamp: AT, tags: { n: 1 } }],
    },
    response: '{"data":{"events":{"accepted":1,"rejected":0},"metrics":{"accepted":1,"rejected":0}}}',
    after: [
      listed('both.order', { name: 'both.order', value: 99.99 }),
      {
        send: 'GET /api/v1/metrics/both.orders',
        response: {
          data: { name: 'both.orders', type: 'counter', tags: ['n'], first_seen: AT, last_seen: AT, data_points: 1 },
        },
      },
    ],
  },
  ...[{}, { events: [], metrics: [] }, { events: null }, { metrics: [] }].map(
    (body, i): Row => ({
      title: `a combined batch may lack events or metrics (${i})`,
      send: 'POST /api/v1/flux/batch',
      body,
      response: { data: { events: none, metrics: none } },
    }),
  ),
  {
    title: 'rejected items of a combined batch are listed with their kind',
    send: 'POST /api/v1/flux/batch',
    headers: { connection: 'close' },
    body: { events: [{}, event('both.mixed')], metrics: [7, { name: 'both.mixed', type: 'counter', value: 1 }] },
    response: {
      data: { events: { accepted: 1, rejected: 1 }, metrics: { accepted: 1, rejected: 1 } },
      errors: [
        { kind: 'events', ...itemError(0, 'missing_name') },
        { kind: 'metrics', ...itemError(0, 'invalid_body') },
      ],
    },
    after: [listed('both.mixed', { name: 'both.mixed' })],
  },
  {
    title: 'a combined batch with 501 events or metrics is refused and nothing is stored',
    send: 'POST /api/v1/flux/batch',
    body: {
      events: [event('both.501')],
      metrics: Array.from({ length: 501 }, () => ({ name: 'both.501', type: 'counter', value: 1 })),
    },
    status: 400,
    response: refusal('batch_too_large', { max: 500 }),
    after: [listed('both.501'), { send: 'GET /api/v1/metrics/both.501', status: 404 }],
  },
  ...['[]', '{"events":{}}', '{"metrics":7}', '{"events":['].map(
    (body): Row => ({
      title: `${body} is not a valid combined batch`,
      send: 'POST /api/v1/flux/batch',
      body,
      status: 400,
      response: refusal('invalid_body'),
    }),
  ),
  {
    title: 'a combined batch with an idempotency key counts once',
    before: [
      {
        send: 'POST /api/v1/flux/batch',
        body: {
          events: [event('both.once')],
          metrics: [{ name: 'both.once', type: 'counter', value: 1, timestamp: AT }],
        },
        headers: { 'idempotency-key': 'both-1' },
      },
    ],
    send: 'POST /api/v1/flux/batch',
    body: { events: [event('both.once')], metrics: [{ name: 'both.once', type: 'counter', value: 1, timestamp: AT }] },
    headers: { 'idempotency-key': 'both-1' },
    response: { data: { events: { accepted: 1, rejected: 0 }, metrics: { accepted: 1, rejected: 0 } } },
    after: [
      listed('both.once', { name: 'both.once' }),
      {
        send: 'GET /api/v1/metrics/both.once',
        response: {
          data: { name: 'both.once', type: 'counter', tags: [], first_seen: AT, last_seen: AT, data_points: 1 },
        },
      },
    ],
  },
]

export const FLUX_EVENT_ROWS: readonly Row[] = [...EVENT_ROWS, ...BATCH_ROWS, ...LIST_ROWS, ...COMBINED_ROWS]
