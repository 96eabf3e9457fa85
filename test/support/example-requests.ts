import { attributes, type OtlpRequest, requestOf } from './otlp-request.ts'
import { snappyLiterals, writeRequestV1 } from './remote-write.ts'

/** A request for tests that go through every route. Its route is `METHOD path`, as the router has it. */
export interface ExampleRequest {
  readonly route: string
  readonly url: string
  readonly body?: string
  /** A body that is no text. */
  readonly bytes?: Uint8Array<ArrayBuffer>
  readonly headers?: Readonly<Record<string, string>>
  /** Answered without an end: what counts is the first thing that is said. */
  readonly isStream?: boolean
  /** Nobody's: sent without a key. */
  readonly isOpen?: boolean
}

/** What one caller may have seen and another tries: names, ids and cursors. */
export interface Seen {
  readonly metric: string
  readonly nodeId: string
  readonly metricCursor: string
  readonly eventCursor: string
  readonly eventConnectionCursor: string
}

/** For a caller that has seen nothing of anybody. */
export const NOTHING_SEEN: Seen = {
  metric: 'x',
  nodeId: 'x',
  metricCursor: '',
  eventCursor: 'x',
  eventConnectionCursor: 'x',
}

export interface ExampleResponse {
  readonly status: number
  readonly headers: Headers
  readonly body: string
}

export async function sendExample(origin: string, key: string, example: ExampleRequest): Promise<ExampleResponse> {
  const { route, url, bytes, body = bytes, headers = {}, isOpen, isStream } = example
  const response = await fetch(origin + url, {
    method: route.slice(0, route.indexOf(' ')),
    headers: { ...headers, ...(isOpen === true ? {} : { authorization: `Bearer ${key}` }) },
    ...(body !== undefined && { body }),
  })
  const text = isStream === true ? await firstOf(response) : await response.text()
  return { status: response.status, headers: response.headers, body: text }
}

/** The first event of a stream, which is then left. */
async function firstOf({ body }: Response): Promise<string> {
  let text = ''
  if (body === null) return text
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    text += chunk
    // Comments keep a connection open and say nothing.
    const event = /^data: .*$/m.exec(text)?.[0]
    if (event !== undefined && text.endsWith('\n\n')) return event
  }
  return text
}

const V1 = '/api/v1'

/** A gauge and a sample that is rejected. */
const write = (host: string): ExampleRequest => ({
  route: `POST ${V1}/write`,
  url: `${V1}/write`,
  headers: { 'content-type': 'application/x-protobuf', 'content-encoding': 'snappy' },
  bytes: Uint8Array.from(
    snappyLiterals(
      writeRequestV1([
        { labels: { __name__: 'shared_temp', host }, samples: [[1, Date.UTC(2024, 0, 15, 11, 59)]] },
        { labels: { __name__: `${host}_bucket`, le: 'x' }, samples: [[1, Date.UTC(2024, 0, 15, 11, 59)]] },
      ]),
    ),
  ),
})

/** A sample of a name whose type only metadata can tell, and its metadata if a type is given. */
export const writeWithMetadata = (name: string, type?: number): ExampleRequest => ({
  route: `POST ${V1}/write`,
  url: `${V1}/write`,
  headers: { 'content-type': 'application/x-protobuf', 'content-encoding': 'snappy' },
  bytes: Uint8Array.from(
    snappyLiterals(
      writeRequestV1(
        [{ labels: { __name__: name }, samples: [[1, Date.UTC(2024, 0, 15, 11, 59)]] }],
        type === undefined ? [] : [{ name, type }],
      ),
    ),
  ),
})

/** A cumulative exponential histogram, of which the gateway keeps the state. It started after the gateway did. */
export const cumulativeHistogram = (count: number): ExampleRequest => ({
  route: 'POST /v1/metrics',
  url: '/v1/metrics',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(
    requestOf({
      name: 'shared.exponential',
      exponentialHistogram: {
        aggregationTemporality: 2,
        dataPoints: [
          {
            startTimeUnixNano: `${Date.UTC(2024, 0, 15, 12, 0, 1)}000000`,
            timeUnixNano: `${Date.UTC(2024, 0, 15, 12, 0, count)}000000`,
            positive: { bucketCounts: [count] },
          },
        ],
      },
    }),
  ),
})

/** A gauge, a delta and a point that is rejected. */
const otlp = (service: string): OtlpRequest => ({
  resourceMetrics: [
    {
      resource: { attributes: attributes({ 'service.name': service }) },
      scopeMetrics: [
        {
          metrics: [
            { name: 'shared.otlp', description: service, gauge: { dataPoints: [{ asInt: 1 }] } },
            { name: `${service}.otlp`, sum: { aggregationTemporality: 1, dataPoints: [{ asInt: 2 }] } },
            { name: 'shared.typed', summary: { dataPoints: [{ quantileValues: [{ quantile: 2, value: 1 }] }] } },
          ],
        },
      ],
    },
  ],
})

function graphql(query: string, variables: Readonly<Record<string, unknown>> = {}): ExampleRequest {
  return {
    route: 'POST /graphql',
    url: '/graphql',
    body: JSON.stringify({ query, variables }),
    headers: { 'content-type': 'application/json' },
  }
}

const QUERY_FIELDS = `interval from to
  metric { name dataPoints seriesCount }
  series { id label tags aggregation timestamps values total }
  groups { tags total { count sum last avg } buckets { start values { count sum } } }
  meta { resolutions rollupsRead }`
const METRIC_FIELDS = `id name type unit description tagKeys firstSeen lastSeen dataPoints seriesCount
  tagValues(key: "who") { value seriesCount }`
const PAGE = 'pageInfo { hasNextPage hasPreviousPage }'

/**
 * Requests through every route and every root field, in an order that makes sense: `mark` is in everything that is
 * written, while `shared` names are the same whoever writes. `seen` is tried wherever a name, an id or a cursor fits.
 */
export function exampleRequests(mark: string, seen: Seen): readonly ExampleRequest[] {
  const item = (name: string, type: string, value: number | string) => ({
    ...{ name, type, value, tags: { who: mark } },
    ...{ timestamp: '2024-01-15T11:59:00Z', description: mark },
  })
  const event = (name: string) => ({ name, value: 1, tags: { who: mark }, user_id: mark, properties: { mark } })
  const post = (path: string, body: unknown, headers: Readonly<Record<string, string>> = {}): ExampleRequest => ({
    route: `POST ${path}`,
    url: path,
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json', ...headers },
  })
  const get = (path: string, url = path): ExampleRequest => ({ route: `GET ${path}`, url })
  const once = { 'idempotency-key': 'shared-key' }
  const metric = encodeURIComponent(seen.metric)
  const upper = (type: string) => ({ type: type.toUpperCase() })
  const stack = [{ name: 'shared.stack', gauge: { value: 2 }, tags: { who: mark } }]
  const names = [`${mark}.own`, 'shared.gauge', seen.metric]
  return [
    // Writing
    post(`${V1}/metrics`, item('shared.gauge', 'gauge', 1)),
    post(`${V1}/metrics`, item(`${mark}.own`, 'counter', 1), once),
    post(`${V1}/metrics`, item(`${mark}.own`, 'counter', 1), once),
    post(`${V1}/metrics/batch`, {
      metrics: [item('shared.set', 'set', mark), item('shared.latency', 'distribution', 5), {}],
    }),
    // A type that another project may have given this name.
    post(`${V1}/metrics`, item('shared.typed', 'distribution', 5)),
    post(`${V1}/events`, event('shared.event')),
    post(`${V1}/events`, event('shared.event'), { 'idempotency-key': 'shared-event-key' }),
    post(`${V1}/events/batch`, { events: [event('shared.event'), event(`${mark}.event`), {}] }),
    post(`${V1}/flux/batch`, { events: [event('shared.event')], metrics: [item('shared.gauge', 'gauge', 2)] }),
    ...['/metrics', '/'].flatMap((path): ExampleRequest[] => [
      post(path, stack),
      { route: `HEAD ${path}`, url: path, isOpen: true },
    ]),
    { ...post('/metrics', ''), body: JSON.stringify(stack[0]), headers: { 'content-type': 'application/x-ndjson' } },
    post('/v1/metrics', otlp(mark)),
    post('/v1/metrics', otlp('shared')),
    cumulativeHistogram(3),
    write(mark),
    write('shared'),
    writeWithMetadata('shared_meta'),
    graphql('mutation ($input: MetricInput!) { trackMetric(input: $input) { name value metric { dataPoints } } }', {
      input: { ...item('shared.graphql', 'gauge', 3), ...upper('gauge') },
    }),
    graphql('mutation ($m: [MetricInput!]!) { trackMetrics(metrics: $m) { accepted rejected errors { code } } }', {
      m: [{ ...item('shared.graphql', 'gauge', 4), ...upper('gauge') }],
    }),
    graphql('mutation { trackEvent(input: { name: "shared.event", value: 2 }) { name value } }'),
    graphql(
      `mutation { trackBatch(metrics: [{ name: "shared.graphql", type: GAUGE, value: 5 }], events: [{ name: "shared.event" }]) {
        metrics { accepted rejected } events { accepted rejected } } }`,
    ),
    // Reading
    ...['', '?search=e', '?type=gauge', '?limit=2', `?after=${metric}`, '?after=a'].map((query) =>
      get(`${V1}/metrics`, `${V1}/metrics${query}`),
    ),
    ...names.map((name) => get(`${V1}/metrics/:name`, `${V1}/metrics/${encodeURIComponent(name)}`)),
    ...['', '&group_by=tags.who', '&group_by=series', `&tags[who]=${mark}`, '&interval=1m&fill=zero'].flatMap((query) =>
      [...names, 'shared.set', 'shared.typed', 'shared.stack', 'shared.exponential'].map((name) =>
        get(`${V1}/metrics/:name/query`, `${V1}/metrics/${encodeURIComponent(name)}/query?from=-1h${query}`),
      ),
    ),
    ...['', '?name=shared.*', '?limit=1', `?tags[who]=${mark}`, `?after=${encodeURIComponent(seen.eventCursor)}`].map(
      (query) => get(`${V1}/events`, `${V1}/events${query}`),
    ),
    ...names.map((name) => graphql(`query ($name: String!) { metric(name: $name) { ${METRIC_FIELDS} } }`, { name })),
    graphql(`query ($id: ID!) { node(id: $id) { id ... on Metric { ${METRIC_FIELDS} } } }`, { id: seen.nodeId }),
    graphql(`{ metrics { nodes { ${METRIC_FIELDS} } ${PAGE} } }`),
    graphql(`query ($after: String) { metrics(first: 2, after: $after) { nodes { name } ${PAGE} } }`, {
      after: seen.metricCursor,
    }),
    ...names.flatMap((metricName) =>
      ['groupBy: ["who"]', 'bySeries: true', 'aggregations: [LAST, COUNT]'].map((how) =>
        graphql(`query ($m: String!) { query(metric: $m, last: "1h", ${how}) { ${QUERY_FIELDS} } }`, { m: metricName }),
      ),
    ),
    graphql(`{ events(name: "shared.*") { nodes { name value tags properties userId } ${PAGE} } }`),
    graphql(`query ($after: String) { events(after: $after) { nodes { name value tags } ${PAGE} } }`, {
      after: seen.eventConnectionCursor,
    }),
    ...names.map((name) => {
      const live = graphql(
        `subscription ($m: String!) { live(metric: $m, last: "1h", groupBy: ["who"]) {
        kind dropBefore series { label tags values } groups { tags total { count } } } }`,
        { m: name },
      )
      return { ...live, headers: { ...live.headers, accept: 'text/event-stream' }, isStream: true }
    }),
    graphql('{ viewer { project scopes } }'),
    graphql('{ __typename }'),
    get('/graphql', `/graphql?query=${encodeURIComponent('{ metrics { nodes { name dataPoints } } }')}`),
    { ...get('/graphql'), headers: { accept: 'text/html' }, isOpen: true },
    { ...get('/graphql/playground/:name', '/graphql/playground/none.js'), isOpen: true },
    { ...get('/pages/:version/:folder/:name', '/pages/none/explore/main.js'), isOpen: true },
    // Deleting
    { route: `DELETE ${V1}/metrics/:name`, url: `${V1}/metrics/${metric}` },
    { route: `DELETE ${V1}/metrics/:name`, url: `${V1}/metrics/shared.set` },
    graphql('mutation ($name: String!) { deleteMetric(name: $name) }', { name: seen.metric }),
    graphql('mutation { deleteMetric(name: "shared.latency") }'),
    get(`${V1}/metrics`),
    // What is nobody's
    ...[
      ...['/', '/explore', '/health', '/ready', '/metrics', '/openapi.json'],
      ...['/client/tracker.js', '/client/live.js'],
    ].map((path) => ({
      ...get(path),
      isOpen: true,
    })),
  ]
}
