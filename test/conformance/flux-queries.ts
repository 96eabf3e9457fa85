import { ANYTHING, INSTANT, type Row, refusal, type Step } from './row.ts'

/** Queries of metrics in the Flux dialect. */

const M = '/api/v1/metrics'
const DAY = 'from=2024-01-15T00:00:00Z&to=2024-01-15T23:59:59Z'
const at = (time: string) => `2024-01-15T${time}:00Z`

/** Points of one metric, each `[time, value, tags]`. */
function points(name: string, type: string, ...of: readonly (readonly [string, number | string, object?])[]): Step {
  const metrics = of.map(([time, value, tags = {}]) => ({ name, type, value, tags, timestamp: at(time) }))
  return { send: `POST ${M}/batch`, body: { metrics }, answer: { data: { accepted: of.length, rejected: 0 } } }
}

/** An answer with one aggregation; rows are `[time, value]`. */
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
      says: `of a ${type} the default is ${name}`,
      before,
      send: query(metric, `${DAY}&interval=1h`),
      answer: line(metric, name, '1h', ['10:00', value]),
    },
    ...others.split(' ').map((other): Row => {
      const [aggregation, result] = other.split('=')
      const own = `${metric}.${aggregation}`
      return {
        says: `${aggregation} of a ${type}`,
        before: [points(own, type, ['10:00', 10], ['10:01', 20], ['10:02', 30])],
        send: query(own, `${DAY}&interval=1h&aggregation=${aggregation}`),
        answer: line(own, aggregation!, '1h', ['10:00', JSON.parse(result!)]),
      }
    }),
  ]
})

const QUERY_ROWS: readonly Row[] = [
  ...AGGREGATION_ROWS,
  {
    says: 'rate is the sum by the seconds of the bucket',
    before: [points('q.rate', 'counter', ['10:00', 1_800], ['10:30', 1_800])],
    send: query('q.rate', `${DAY}&interval=1h&aggregation=rate`),
    answer: line('q.rate', 'rate', '1h', ['10:00', 1]),
  },
  {
    says: 'a set counts each member once, over time and series',
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
    answer: line('q.set', 'count', '1d', ['00:00', 2]),
    after: [
      { send: query('q.set', `${DAY}&interval=1h`), answer: line('q.set', 'count', '1h', ['10:00', 1], ['11:00', 2]) },
    ],
  },
  {
    says: 'several aggregations are a field each',
    before: [points('q.several', 'distribution', ['10:00', 5])],
    send: query('q.several', `${DAY}&interval=1h&aggregation=min,max,count,p50`),
    answer: {
      data: {
        name: 'q.several',
        interval: '1h',
        series: [{ timestamp: at('10:00'), min: 5, max: 5, count: 1, p50: ANYTHING }],
      },
    },
  },
  {
    says: 'the shape of one aggregation, to the byte',
    before: [points('q.bytes', 'counter', ['10:00', 5])],
    send: query('q.bytes', `${DAY}&interval=1h`),
    answer: `{"data":{"name":"q.bytes","aggregation":"sum","interval":"1h","series":[{"timestamp":"${at('10:00')}","value":5}]}}`,
    answers: { 'x-resolution': /^x-resolution: \S+$/, 'content-type': 'application/json; charset=utf-8' },
  },
  {
    says: 'percentiles are within one percent',
    before: [points('q.p', 'distribution', ...Array.from({ length: 101 }, () => ['10:00', 1_000] as const))],
    send: query('q.p', `${DAY}&interval=1h&aggregation=p99.9`),
    answer: {
      data: { name: 'q.p', aggregation: 'p99.9', interval: '1h', series: [{ timestamp: at('10:00'), value: 1_000 }] },
    },
  },
  {
    says: 'the default range is the last 24 hours, its interval auto',
    before: [{ send: `POST ${M}`, body: { name: 'q.default', type: 'counter', value: 4 } }],
    send: query('q.default', ''),
    answer: {
      data: { name: 'q.default', aggregation: 'sum', interval: '15m', series: [{ timestamp: INSTANT, value: 4 }] },
    },
    after: [
      {
        send: query('q.default', 'from=-6h&interval=auto'),
        answer: {
          data: { name: 'q.default', aggregation: 'sum', interval: '15m', series: [{ timestamp: INSTANT, value: 4 }] },
        },
      },
      {
        send: query('q.default', 'from=now-1h&to=now%2B1h&interval=1d'),
        answer: {
          data: { name: 'q.default', aggregation: 'sum', interval: '1d', series: [{ timestamp: INSTANT, value: 4 }] },
        },
      },
      {
        send: query('q.default', 'from=-7d&to=-1d'),
        answer: { data: { name: 'q.default', aggregation: 'sum', interval: ANYTHING, series: [] } },
      },
    ],
  },
  {
    says: 'from and to are both inclusive, and a stored bucket is never split',
    before: [points('q.edges', 'counter', ['10:00', 1], ['10:01', 2], ['10:02', 4])],
    send: query('q.edges', `from=${at('10:01')}&to=${at('10:02')}&interval=1m`),
    answer: line('q.edges', 'sum', '1m', ['10:01', 2], ['10:02', 4]),
    after: [
      {
        send: query('q.edges', 'from=1705312860&to=1705312860000&interval=1m'),
        answer: line('q.edges', 'sum', '1m', ['10:01', 2]),
      },
      {
        send: query('q.edges', `from=2024-01-15T10:01:03Z&to=2024-01-15T10:01:04Z&interval=10s`),
        answer: line('q.edges', 'sum', '10s', ['10:01', 2]),
      },
      {
        send: query('q.edges', `from=2024-01-15T10:01:09Z&to=2024-01-15T10:01:09Z&interval=10s`),
        answer: line('q.edges', 'sum', '10s', ['10:01', 2]),
      },
    ],
  },
  ...['10s', '1m', '5m', '90s', '1h', '6h'].map((interval): Row => {
    const name = `q.interval.${interval}`
    return {
      says: `an interval of ${interval}`,
      before: [points(name, 'counter', ['12:00', 1])],
      send: query(name, `from=${at('11:30')}&to=${at('12:30')}&interval=${interval}`),
      answer: line(name, 'sum', interval, ['12:00', 1]),
    }
  }),
  {
    says: 'weeks begin on Monday, days at midnight UTC',
    before: [points('q.week', 'counter', ['10:00', 1])],
    send: query('q.week', `${DAY}&interval=1w`),
    answer: line('q.week', 'sum', '1w', ['2024-01-15T00:00:00Z', 1]),
    after: [
      {
        send: query('q.week', `${DAY}&interval=1mo`),
        answer: line('q.week', 'sum', '1mo', ['2024-01-01T00:00:00Z', 1]),
      },
    ],
  },
  {
    says: 'days follow a time zone',
    before: [points('q.zone', 'counter', ['03:00', 1], ['12:00', 2])],
    send: query('q.zone', `from=2024-01-14T00:00:00Z&to=2024-01-16T00:00:00Z&interval=1d&timezone=America/New_York`),
    answer: line('q.zone', 'sum', '1d', ['2024-01-14T05:00:00Z', 1], ['2024-01-15T05:00:00Z', 2]),
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
  says: `empty buckets are filled with ${fill}`,
  before: [points(`fill.${fill}`, 'gauge', ['10:00', 1], ['10:03', 4])],
  send: query(`fill.${fill}`, `from=${at('10:00')}&to=${at('10:04')}&interval=1m&fill=${fill}`),
  answer: line(`fill.${fill}`, 'last', '1m', ...rows),
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
).map(([says, filter, value], i) => ({
  says: `tags: ${says}`,
  before: [points(`filter.${i}`, 'counter', ...TAGGED)],
  send: query(`filter.${i}`, `${DAY}&interval=1d&${filter}`),
  answer: line(`filter.${i}`, 'sum', '1d', ['00:00', value]),
}))

const GROUP_ROWS: readonly Row[] = [
  {
    says: 'groups are keyed by the value of their tag',
    before: [points('group.one', 'counter', ...TAGGED)],
    send: query('group.one', `${DAY}&interval=1d&group_by=tags.endpoint`),
    answer: {
      data: { groups: { '': series(['00:00', 8]), '/orders': series(['00:00', 4]), '/users': series(['00:00', 3]) } },
    },
  },
  {
    says: 'several values are joined by commas',
    before: [points('group.two', 'counter', ...TAGGED)],
    send: query('group.two', `${DAY}&interval=1d&group_by=tags.endpoint,tags.method`),
    answer: {
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
    says: 'a comma or backslash inside a value is preceded by a backslash',
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
    answer: {
      data: {
        groups: { 'p\\\\,q': series(['00:00', 4]), 'x,y\\,z': series(['00:00', 2]), 'x\\,y,z': series(['00:00', 1]) },
      },
    },
  },
  {
    says: 'keys such as __proto__ and 200 are ordinary',
    before: [
      {
        send: `POST ${M}/batch`,
        body: `[${['__proto__', 'constructor', '200', 'b'].map((tag, i) => `{"name":"group.odd","type":"counter","value":${i + 1},"timestamp":"${at('10:00')}","tags":{"__proto__":"${tag}"}}`).join(',')}]`,
        answer: { data: { accepted: 4, rejected: 0 } },
      },
    ],
    send: query('group.odd', `${DAY}&interval=1d&group_by=tags.__proto__`),
    answer: `{"data":{"groups":{${[
      ['200', 3],
      ['__proto__', 1],
      ['b', 4],
      ['constructor', 2],
    ]
      .map(([key, value]) => `"${key}":[{"timestamp":"${at('00:00')}","value":${value}}]`)
      .join(',')}}}}`,
  },
  {
    says: 'several aggregations of groups are a field each',
    before: [points('group.fields', 'counter', ['10:00', 2, { a: 'x' }])],
    send: query('group.fields', `${DAY}&interval=1d&group_by=tags.a&aggregation=sum,count`),
    answer: { data: { groups: { x: [{ timestamp: at('00:00'), sum: 2, count: 1 }] } } },
  },
  {
    says: 'groups by series tell the tags of each',
    before: [points('group.series', 'counter', ['10:00', 1, { host: 'a' }])],
    send: query('group.series', `${DAY}&interval=1d&group_by=series`),
    answers: { 'content-type': 'application/json; charset=utf-8' },
    answer: {
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
      says: `${parameters} is ${code}`,
      before: [points(`refused.${i}`, 'counter', ['10:00', 1])],
      send: query(`refused.${i}`, parameters),
      status: 400,
      answer: refusal(code, details),
    }),
  ),
  {
    says: 'a query of a metric that is not there',
    send: query('no.such', DAY),
    status: 404,
    answer: refusal('metric_not_found'),
  },
  {
    says: 'empty and unknown parameters count as absent',
    before: [points('refused.none', 'counter', ['10:00', 1])],
    send: query('refused.none', `${DAY}&interval=1d&aggregation=&to=&fill=&color=red&to=2024-01-15T23:59:59Z`),
    answer: line('refused.none', 'sum', '1d', ['00:00', 1]),
  },
]

export const FLUX_QUERY_ROWS: readonly Row[] = [
  ...QUERY_ROWS,
  ...FILL_ROWS,
  ...FILTER_ROWS,
  ...GROUP_ROWS,
  ...REFUSAL_ROWS,
]
