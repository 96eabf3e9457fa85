import { ANYTHING, INSTANT, type Row, refusal, type Step } from './row.ts'

/** Queries of metrics of the Flux API. */

const M = '/api/v1/metrics'
const DAY = 'from=2024-01-15T00:00:00Z&to=2024-01-15T23:59:59Z'
const at = (time: string) => `2024-01-15T${time}:00Z`

/** Points of one metric, each `[time, value, tags]`. */
function points(name: string, type: string, ...points: readonly (readonly [string, number | string, object?])[]): Step {
  const metrics = points.map(([time, value, tags = {}]) => ({ name, type, value, tags, timestamp: at(time) }))
  return { send: `POST ${M}/batch`, body: { metrics }, response: { data: { accepted: points.length, rejected: 0 } } }
}

/** The response with one aggregation; rows are `[time, value]`. */
function line(name: string, aggregation: string, interval: string, ...rows: readonly (readonly [string, unknown])[]) {
  return { data: { name, aggregation, interval, series: series(...rows) } }
}

function series(...rows: readonly (readonly [string, unknown])[]) {
  return rows.map(([time, value]) => ({ timestamp: time.includes('-') ? time : at(time), value }))
}

const query = (name: string, parameters: string) => `GET ${M}/${name}/query?${parameters}`

const AGGREGATION_ROWS: readonly Row[] = (
  [
    ['gauge', ['last', 30], 'avg=20 min=10 max=30 range=20 first=10 sum=60 count=3 last=30'],
    ['counter', ['sum', 60], 'sum=60 count=3 last=null'],
    ['distribution', ['avg', 20], 'avg=20 sum=60 min=10 max=30 range=20 count=3 p0=10 p100=30'],
  ] as const
).flatMap(([type, [name, value], others]) => {
  const metric = `agg.${type}`
  const before = [points(metric, type, ['10:00', 10], ['10:01', 20], ['10:02', 30])]
  return [
    {
      title: `the default aggregation of a ${type} is ${name}`,
      before,
      send: query(metric, `${DAY}&interval=1h`),
      response: line(metric, name, '1h', ['10:00', value]),
    },
    ...others.split(' ').map((other): Row => {
      const [aggregation, result] = other.split('=')
      const own = `${metric}.${aggregation}`
      return {
        title: `${aggregation} of a ${type}`,
        before: [points(own, type, ['10:00', 10], ['10:01', 20], ['10:02', 30])],
        send: query(own, `${DAY}&interval=1h&aggregation=${aggregation}`),
        response: line(own, aggregation!, '1h', ['10:00', JSON.parse(result!)]),
      }
    }),
  ]
})

const QUERY_ROWS: readonly Row[] = [
  ...AGGREGATION_ROWS,
  {
    title: 'rate is the sum divided by the seconds of the bucket',
    before: [points('q.rate', 'counter', ['10:00', 1_800], ['10:30', 1_800])],
    send: query('q.rate', `${DAY}&interval=1h&aggregation=rate`),
    response: line('q.rate', 'rate', '1h', ['10:00', 1]),
  },
  {
    title: 'a set counts each member once, over time and series',
    before: [
      points(
        'q.set',
        'set',
        ['10:00', 'ann', { a: 1 }],
        ['10:01', 'ann', { a: 2 }],
        ['11:00', 'ann'],
        ['11:00', 'bob'],
      ),
    ],
    send: query('q.set', `${DAY}&interval=1d`),
    response: line('q.set', 'count', '1d', ['00:00', 2]),
    after: [
      {
        send: query('q.set', `${DAY}&interval=1h`),
        response: line('q.set', 'count', '1h', ['10:00', 1], ['11:00', 2]),
      },
    ],
  },
  {
    title: 'several aggregations have one field each',
    before: [points('q.several', 'distribution', ['10:00', 5])],
    send: query('q.several', `${DAY}&interval=1h&aggregation=min,max,count,p50`),
    response: {
      data: {
        name: 'q.several',
        interval: '1h',
        series: [{ timestamp: at('10:00'), min: 5, max: 5, count: 1, p50: ANYTHING }],
      },
    },
  },
  {
    title: 'the response with one aggregation has exactly these bytes',
    before: [points('q.bytes', 'counter', ['10:00', 5])],
    send: query('q.bytes', `${DAY}&interval=1h`),
    response: `{"data":{"name":"q.bytes","aggregation":"sum","interval":"1h","series":[{"timestamp":"${at('10:00')}","value":5}]}}`,
    responseHeaders: { 'x-resolution': /^x-resolution: \S+$/, 'content-type': 'application/json; charset=utf-8' },
  },
  {
    title: 'percentiles are within one percent',
    before: [points('q.p', 'distribution', ...Array.from({ length: 101 }, () => ['10:00', 1_000] as const))],
    send: query('q.p', `${DAY}&interval=1h&aggregation=p99.9`),
    response: {
      data: { name: 'q.p', aggregation: 'p99.9', interval: '1h', series: [{ timestamp: at('10:00'), value: 1_000 }] },
    },
  },
  {
    title: 'the default range is the last 24 hours, the default interval auto',
    before: [{ send: `POST ${M}`, body: { name: 'q.default', type: 'counter', value: 4 } }],
    send: query('q.default', ''),
    response: {
      data: { name: 'q.default', aggregation: 'sum', interval: '15m', series: [{ timestamp: INSTANT, value: 4 }] },
    },
    after: [
      {
        send: query('q.default', 'from=-6h&interval=auto'),
        response: {
          data: { name: 'q.default', aggregation: 'sum', interval: '15m', series: [{ timestamp: INSTANT, value: 4 }] },
        },
      },
      {
        send: query('q.default', 'from=now-1h&to=now%2B1h&interval=1d'),
        response: {
          data: { name: 'q.default', aggregation: 'sum', interval: '1d', series: [{ timestamp: INSTANT, value: 4 }] },
        },
      },
      {
        send: query('q.default', 'from=-7d&to=-1d'),
        response: { data: { name: 'q.default', aggregation: 'sum', interval: ANYTHING, series: [] } },
      },
    ],
  },
  {
    title: 'from and to are both inclusive, and a stored bucket is never split',
    before: [points('q.edges', 'counter', ['10:00', 1], ['10:01', 2], ['10:02', 4])],
    send: query('q.edges', `from=${at('10:01')}&to=${at('10:02')}&interval=1m`),
    response: line('q.edges', 'sum', '1m', ['10:01', 2], ['10:02', 4]),
    after: [
      {
        send: query('q.edges', 'from=1705312860&to=1705312860000&interval=1m'),
        response: line('q.edges', 'sum', '1m', ['10:01', 2]),
      },
      {
        send: query('q.edges', `from=2024-01-15T10:01:03Z&to=2024-01-15T10:01:04Z&interval=10s`),
        response: line('q.edges', 'sum', '10s', ['10:01', 2]),
      },
      {
        send: query('q.edges', `from=2024-01-15T10:01:09Z&to=2024-01-15T10:01:09Z&interval=10s`),
        response: line('q.edges', 'sum', '10s', ['10:01', 2]),
      },
    ],
  },
  ...['10s', '1m', '5m', '90s', '1h', '6h'].map((interval): Row => {
    const name = `q.interval.${interval}`
    return {
      title: `an interval of ${interval}`,
      before: [points(name, 'counter', ['12:00', 1])],
      send: query(name, `from=${at('11:30')}&to=${at('12:30')}&interval=${interval}`),
      response: line(name, 'sum', interval, ['12:00', 1]),
    }
  }),
  {
    title: 'weeks start on Monday, days at midnight UTC',
    before: [points('q.week', 'counter', ['10:00', 1])],
    send: query('q.week', `${DAY}&interval=1w`),
    response: line('q.week', 'sum', '1w', ['2024-01-15T00:00:00Z', 1]),
    after: [
      {
        send: query('q.week', `${DAY}&interval=1mo`),
        response: line('q.week', 'sum', '1mo', ['2024-01-01T00:00:00Z', 1]),
      },
    ],
  },
  {
    title: 'days follow a time zone',
    before: [points('q.zone', 'counter', ['03:00', 1], ['12:00', 2])],
    send: query('q.zone', `from=2024-01-14T00:00:00Z&to=2024-01-16T00:00:00Z&interval=1d&timezone=America/New_York`),
    response: line('q.zone', 'sum', '1d', ['2024-01-14T05:00:00Z', 1], ['2024-01-15T05:00:00Z', 2]),
  },
]

const FILL_ROWS: readonly Row[] = (
  [
    [
      'none',
      [
        ['10:00', 1],
        ['10:03', 4],
      ],
    ],
    [
      'null',
      [
        ['10:00', 1],
        ['10:01', null],
        ['10:02', null],
        ['10:03', 4],
        ['10:04', null],
      ],
    ],
    [
      'zero',
      [
        ['10:00', 1],
        ['10:01', 0],
        ['10:02', 0],
        ['10:03', 4],
        ['10:04', 0],
      ],
    ],
    [
      'previous',
      [
        ['10:00', 1],
        ['10:01', 1],
        ['10:02', 1],
        ['10:03', 4],
        ['10:04', 4],
      ],
    ],
  ] as const
).map(([fill, rows]) => ({
  title: `empty buckets are filled with ${fill}`,
  before: [points(`fill.${fill}`, 'gauge', ['10:00', 1], ['10:03', 4])],
  send: query(`fill.${fill}`, `from=${at('10:00')}&to=${at('10:04')}&interval=1m&fill=${fill}`),
  response: line(`fill.${fill}`, 'last', '1m', ...rows),
}))

const TAGGED = [
  ['10:00', 1, { endpoint: '/users', method: 'GET' }],
  ['10:00', 2, { endpoint: '/users', method: 'POST' }],
  ['10:00', 4, { endpoint: '/orders', method: 'GET' }],
  ['10:00', 8, {}],
] as const

const FILTER_ROWS: readonly Row[] = (
  [
    ['brackets may be raw', 'tags[endpoint]=/users', 3],
    ['or percent-encoded', 'tags%5Bendpoint%5D=%2Fusers', 3],
    ['a repeated key means any of its values', 'tags[endpoint]=/users&tags[endpoint]=/orders', 7],
    ['different keys are ANDed', 'tags[endpoint]=/users&tags[method]=POST', 2],
    ['a missing tag equals an empty one', 'tags[endpoint]=', 8],
  ] as const
).map(([title, filter, value], i) => ({
  title: `tags: ${title}`,
  before: [points(`filter.${i}`, 'counter', ...TAGGED)],
  send: query(`filter.${i}`, `${DAY}&interval=1d&${filter}`),
  response: line(`filter.${i}`, 'sum', '1d', ['00:00', value]),
}))

const GROUP_ROWS: readonly Row[] = [
  {
    title: 'groups are keyed by the value of their tag',
    before: [points('group.one', 'counter', ...TAGGED)],
    send: query('group.one', `${DAY}&interval=1d&group_by=tags.endpoint`),
    response: {
      data: { groups: { '': series(['00:00', 8]), '/orders': series(['00:00', 4]), '/users': series(['00:00', 3]) } },
    },
  },
  {
    title: 'several values are joined by commas',
    before: [points('group.two', 'counter', ...TAGGED)],
    send: query('group.two', `${DAY}&interval=1d&group_by=tags.endpoint,tags.method`),
    response: {
      data: {
        groups: {
          ',': series(['00:00', 8]),
          '/orders,GET': series(['00:00', 4]),
          '/users,GET': series(['00:00', 1]),
          '/users,POST': series(['00:00', 2]),
        },
      },
    },
  },
  {
    title: 'a comma or backslash inside a value is escaped by a backslash',
    before: [
      points(
        'group.escape',
        'counter',
        ['10:00', 1, { a: 'x,y', b: 'z' }],
        ['10:00', 2, { a: 'x', b: 'y,z' }],
        ['10:00', 4, { a: 'p\\', b: 'q' }],
      ),
    ],
    send: query('group.escape', `${DAY}&interval=1d&group_by=tags.a,tags.b`),
    response: {
      data: {
        groups: { 'p\\\\,q': series(['00:00', 4]), 'x,y\\,z': series(['00:00', 2]), 'x\\,y,z': series(['00:00', 1]) },
      },
    },
  },
  {
    title: 'groups named __proto__ and 200 are ordinary',
    before: [
      {
        send: `POST ${M}/batch`,
        body: `[${['__proto__', 'constructor', '200', 'b'].map((tag, i) => `{"name":"group.odd","type":"counter","value":${i + 1},"timestamp":"${at('10:00')}","tags":{"__proto__":"${tag}"}}`).join(',')}]`,
        response: { data: { accepted: 4, rejected: 0 } },
      },
    ],
    send: query('group.odd', `${DAY}&interval=1d&group_by=tags.__proto__`),
    response: `{"data":{"groups":{${[
      ['200', 3],
      ['__proto__', 1],
      ['b', 4],
      ['constructor', 2],
    ]
      .map(([key, value]) => `"${key}":[{"timestamp":"${at('00:00')}","value":${value}}]`)
      .join(',')}}}}`,
  },
  {
    title: 'several aggregations of groups have one field each',
    before: [points('group.fields', 'counter', ['10:00', 2, { a: 'x' }])],
    send: query('group.fields', `${DAY}&interval=1d&group_by=tags.a&aggregation=sum,count`),
    response: { data: { groups: { x: [{ timestamp: at('00:00'), sum: 2, count: 1 }] } } },
  },
  {
    title: 'groups by series come with the tags of each series',
    before: [points('group.series', 'counter', ['10:00', 1, { host: 'a' }])],
    send: query('group.series', `${DAY}&interval=1d&group_by=series`),
    responseHeaders: { 'content-type': 'application/json; charset=utf-8' },
    response: {
      data: { groups: { '07f9a5b157d6a09b': series(['00:00', 1]) } },
      series: { '07f9a5b157d6a09b': { host: 'a' } },
    },
  },
]

const COUNTER = { allowed: ['sum', 'count', 'last', 'rate'] }
const REFUSED: readonly (readonly [parameters: string, code: string, details?: unknown])[] = [
  ['aggregation=p99', 'invalid_aggregation', COUNTER],
  ['aggregation=median', 'invalid_aggregation', COUNTER],
  ['aggregation=sum,rate,avg', 'invalid_aggregation', COUNTER],
  ['interval=1x', 'invalid_interval'],
  ['interval=0s', 'invalid_interval'],
  ['interval=7s', 'invalid_interval', { finest: '10s' }],
  ['interval=15s', 'invalid_interval', { finest: '10s' }],
  ['timezone=Mars/Olympus', 'invalid_interval', { argument: 'timezone' }],
  ['from=yesterday', 'invalid_range', { argument: 'from' }],
  ['from=2024-01-16T00:00:00Z&to=2024-01-15T00:00:00Z', 'invalid_range'],
  ['fill=linear', 'invalid_range', { argument: 'fill' }],
  ['group_by=endpoint', 'invalid_group_by'],
  ['group_by=tags.', 'invalid_group_by'],
  ['group_by=series,tags.a', 'invalid_group_by'],
  ['tags=a', 'invalid_tags'],
  [
    'from=2023-01-01T00:00:00Z&to=2024-01-16T00:00:00Z&interval=10s',
    'query_too_large',
    { bucketsMax: 50_000, fits: '15m' },
  ],
]

const REFUSAL_ROWS: readonly Row[] = [
  ...REFUSED.map(
    ([parameters, code, details], i): Row => ({
      title: `${parameters} is ${code}`,
      before: [points(`refused.${i}`, 'counter', ['10:00', 1])],
      send: query(`refused.${i}`, parameters),
      status: 400,
      response: refusal(code, details),
    }),
  ),
  {
    title: 'a query of an unknown metric is metric_not_found',
    send: query('no.such', DAY),
    status: 404,
    response: refusal('metric_not_found'),
  },
  {
    title: 'empty and unknown parameters are ignored',
    before: [points('refused.none', 'counter', ['10:00', 1])],
    send: query('refused.none', `${DAY}&interval=1d&aggregation=&to=&fill=&color=red&to=2024-01-15T23:59:59Z`),
    response: line('refused.none', 'sum', '1d', ['00:00', 1]),
  },
]

export const FLUX_QUERY_ROWS: readonly Row[] = [
  ...QUERY_ROWS,
  ...FILL_ROWS,
  ...FILTER_ROWS,
  ...GROUP_ROWS,
  ...REFUSAL_ROWS,
]
