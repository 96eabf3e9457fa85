import type { ErrorCode } from '../../model/errors.ts'
import { METRIC_TYPES } from '../../model/metric.ts'
import { type JsonSchema, listOf, objectOf, refTo } from './schemas.ts'

/** What one route does, for its readers. The test of the document holds this list to the routes that are registered. */
export interface Operation {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'DELETE'
  /** As the router has it: `/api/v1/metrics/:name`. */
  readonly path: string
  readonly id: string
  readonly tag: 'Metrics' | 'Events' | 'Better Stack' | 'GraphQL' | 'Operations'
  readonly summary: string
  readonly description?: string
  /** Without: no key is needed. */
  readonly scope?: 'ingest' | 'query' | 'admin' | 'any'
  readonly parameters?: readonly Parameter[]
  /** By media type. */
  readonly body?: Readonly<Record<string, JsonSchema>>
  readonly answer: Answer
  /** What a refusal answers, each with the status of its code. */
  readonly errors: readonly ErrorCode[]
  /** Of the dialect: JSON, text, or as GraphQL has it. */
  readonly errorsAs?: 'json' | 'text' | 'graphql'
}

export interface Answer {
  readonly status: number
  readonly description: string
  /** By media type; without: no body. */
  readonly content?: Readonly<Record<string, JsonSchema>>
  readonly headers?: Readonly<Record<string, string>>
}

export interface Parameter {
  readonly in: 'path' | 'query' | 'header'
  readonly name: string
  readonly description: string
  readonly schema: JsonSchema
  readonly style?: 'deepObject'
}

const json = (schema: JsonSchema) => ({ 'application/json': schema })
const STRING = { type: 'string' }
const LIMIT = { type: 'integer', minimum: 1 }

const query = (name: string, description: string, schema: JsonSchema = STRING): Parameter => ({
  in: 'query',
  name,
  description,
  schema,
})

const NAME: Parameter = {
  in: 'path',
  name: 'name',
  description: 'Name of the metric, percent-encoded.',
  schema: STRING,
}
const IDEMPOTENCY_KEY: Parameter = {
  in: 'header',
  name: 'Idempotency-Key',
  description: 'The same key within 24 hours counts once and gets the first answer of success again.',
  schema: { type: 'string', minLength: 1, maxLength: 255, pattern: '^[!-~]+$' },
}
/** Of every request with a body. */
export const CONTENT_ENCODING: Parameter = {
  in: 'header',
  name: 'Content-Encoding',
  description: 'How the body is compressed; its limit holds before and after decompression.',
  schema: { type: 'string', enum: ['identity', 'gzip', 'deflate', 'br'] },
}
const FROM = query('from', 'An instant, or relative to now such as `-6h`; inclusive. Default: 24 hours ago.')
const TO = query('to', 'The same for the end; inclusive. Default: now.')
const TAG_FILTER: Parameter = {
  in: 'query',
  name: 'tags',
  description: '`tags[key]=value`: only what has this value; repeated, any of several. Different keys are ANDed.',
  schema: { type: 'object', additionalProperties: { anyOf: [STRING, listOf(STRING)] } },
  style: 'deepObject',
}

const ANYWHERE = ['internal', 'store_unavailable'] as const
const KEYED = ['missing_api_key', 'invalid_api_key', 'forbidden', 'rate_limited', ...ANYWHERE] as const
const RECEIVING = [
  ...KEYED,
  'invalid_body',
  'request_timeout',
  'idempotency_conflict',
  'payload_too_large',
  'unsupported_media_type',
  'overloaded',
] as const
const OF_METRICS = [
  'missing_name',
  'invalid_type',
  'invalid_value',
  'invalid_timestamp',
  'invalid_tags',
  'type_conflict',
  'series_limit_exceeded',
  'metric_limit_exceeded',
] as const
const OF_EVENTS = ['missing_name', 'invalid_value', 'invalid_timestamp', 'invalid_tags'] as const
const PER_ITEM = 'An item that cannot be stored is reported by its index, the others are stored.'

const FLUX: readonly Operation[] = [
  {
    method: 'POST',
    path: '/api/v1/metrics',
    id: 'trackMetric',
    tag: 'Metrics',
    summary: 'Stores one point',
    scope: 'ingest',
    parameters: [IDEMPOTENCY_KEY],
    body: json(refTo('MetricInput')),
    answer: { status: 201, description: 'The point is stored for good.', content: json(refTo('TrackedMetric')) },
    errors: [...RECEIVING, ...OF_METRICS],
  },
  {
    method: 'POST',
    path: '/api/v1/metrics/batch',
    id: 'trackMetrics',
    tag: 'Metrics',
    summary: 'Stores points together',
    description: PER_ITEM,
    scope: 'ingest',
    parameters: [IDEMPOTENCY_KEY],
    body: json(refTo('MetricBatchInput')),
    answer: { status: 201, description: 'What was stored, and what was not.', content: json(refTo('BatchResult')) },
    errors: [...RECEIVING, 'batch_too_large'],
  },
  {
    method: 'GET',
    path: '/api/v1/metrics',
    id: 'listMetrics',
    tag: 'Metrics',
    summary: 'The metrics of the project, by name',
    scope: 'query',
    parameters: [
      query('search', 'Only names that hold this text, in any case.'),
      query('type', 'Only metrics of this type.', { type: 'string', enum: METRIC_TYPES }),
      query('limit', 'At most so many. Default: all.', LIMIT),
      query('after', 'The last name of the page before.'),
    ],
    answer: { status: 200, description: 'The metrics.', content: json(objectOf({ data: listOf(refTo('Metric')) })) },
    errors: [...KEYED, 'invalid_type', 'invalid_value', 'query_too_large'],
  },
  {
    method: 'GET',
    path: '/api/v1/metrics/:name',
    id: 'getMetric',
    tag: 'Metrics',
    summary: 'One metric',
    scope: 'query',
    parameters: [NAME],
    answer: { status: 200, description: 'The metric.', content: json(objectOf({ data: refTo('Metric') })) },
    errors: [...KEYED, 'metric_not_found'],
  },
  {
    method: 'GET',
    path: '/api/v1/metrics/:name/query',
    id: 'queryMetric',
    tag: 'Metrics',
    summary: 'Aggregations of a metric over a range of time, in buckets',
    scope: 'query',
    parameters: [
      NAME,
      FROM,
      TO,
      query('aggregation', 'One, or several by comma; which there are depends on the type of the metric.'),
      query('interval', 'Width of a bucket: `10s`, `5m`, `1h`, `1d`, `1w`, `1mo`, or `auto`. Default: `auto`.'),
      TAG_FILTER,
      query('group_by', '`tags.a,tags.b`, or `series`.'),
      query('fill', 'Empty buckets.', { type: 'string', enum: ['none', 'null', 'zero', 'previous'] }),
      query(
        'timezone',
        'IANA name of the zone in which days, weeks and months begin, and by whose clock `from` and `to` without an offset are read. Default: UTC.',
      ),
    ],
    answer: {
      status: 200,
      description: 'The buckets.',
      content: json(refTo('QueryResult')),
      headers: {
        'X-Resolution': 'Widths of the stored buckets that were read, finest first.',
        'X-Buckets-Unavailable':
          'How many buckets are null because what is kept of that time is too coarse to fill them exactly.',
      },
    },
    errors: [
      ...KEYED,
      'metric_not_found',
      'invalid_timestamp',
      'invalid_aggregation',
      'invalid_interval',
      'invalid_range',
      'invalid_group_by',
      'invalid_tags',
      'query_too_large',
    ],
  },
  {
    method: 'DELETE',
    path: '/api/v1/metrics/:name',
    id: 'deleteMetric',
    tag: 'Metrics',
    summary: 'Deletes a metric with its series and points, for good',
    description: 'The name may be sent anew at once, with any type.',
    scope: 'admin',
    parameters: [NAME],
    answer: { status: 204, description: 'It is gone.' },
    errors: [...KEYED, 'metric_not_found'],
  },
  {
    method: 'POST',
    path: '/api/v1/events',
    id: 'trackEvent',
    tag: 'Events',
    summary: 'Stores one event',
    scope: 'ingest',
    parameters: [IDEMPOTENCY_KEY],
    body: json(refTo('EventInput')),
    answer: { status: 201, description: 'The event is stored for good.', content: json(refTo('TrackedEvent')) },
    errors: [...RECEIVING, ...OF_EVENTS],
  },
  {
    method: 'POST',
    path: '/api/v1/events/batch',
    id: 'trackEvents',
    tag: 'Events',
    summary: 'Stores events together',
    description: PER_ITEM,
    scope: 'ingest',
    parameters: [IDEMPOTENCY_KEY],
    body: json(refTo('EventBatchInput')),
    answer: { status: 201, description: 'What was stored, and what was not.', content: json(refTo('BatchResult')) },
    errors: [...RECEIVING, 'batch_too_large'],
  },
  {
    method: 'GET',
    path: '/api/v1/events',
    id: 'listEvents',
    tag: 'Events',
    summary: 'Events of a range of time, newest first',
    scope: 'query',
    parameters: [
      query('name', 'Only events of this name, or, with a star at the end, of names that begin so.'),
      FROM,
      TO,
      TAG_FILTER,
      query('limit', 'At most so many, at most 1,000. Default: 100.', LIMIT),
      query('after', 'The `next` of the page before.'),
    ],
    answer: {
      status: 200,
      description: 'The events; `next` when there is a page to go on with.',
      content: json(objectOf({ data: listOf(refTo('Event')), next: STRING }, ['next'])),
    },
    errors: [...KEYED, 'invalid_timestamp', 'invalid_range', 'invalid_tags', 'invalid_value', 'query_too_large'],
  },
  {
    method: 'POST',
    path: '/api/v1/flux/batch',
    id: 'trackBatch',
    tag: 'Events',
    summary: 'Stores events and points together',
    description: PER_ITEM,
    scope: 'ingest',
    parameters: [IDEMPOTENCY_KEY],
    body: json(refTo('CombinedBatchInput')),
    answer: {
      status: 201,
      description: 'What was stored, and what was not.',
      content: json(refTo('CombinedBatchResult')),
    },
    errors: [...RECEIVING, 'batch_too_large'],
  },
]

const STACK_BODY = {
  'application/json': {
    description: 'An item or an array of items of the Better Stack metrics API, or of the Vector agent.',
  },
  'application/x-ndjson': { type: 'string', description: 'An item a line.' },
  'application/msgpack': { type: 'string', format: 'binary', description: 'An item or an array of items.' },
}

const BETTER_STACK: readonly Operation[] = (['/metrics', '/'] as const).flatMap((path): Operation[] => {
  const suffix = path === '/' ? 'AtRoot' : ''
  return [
    {
      method: 'POST',
      path,
      id: `sendMetrics${suffix}`,
      tag: 'Better Stack',
      summary: 'Stores metrics in the Better Stack dialect',
      description: 'Items that make no sense are left out and counted in headers.',
      scope: 'ingest',
      parameters: [IDEMPOTENCY_KEY],
      body: STACK_BODY,
      answer: {
        status: 202,
        description: 'Stored for good.',
        headers: {
          'X-Metrics-Accepted': 'Items stored.',
          'X-Metrics-Rejected': 'Items left out.',
          'X-Metrics-Unreadable-Time': 'Items stored at the time of reception because their own cannot be read.',
        },
      },
      errors: [...KEYED, 'request_timeout', 'idempotency_conflict', 'payload_too_large', 'overloaded'],
      errorsAs: 'text',
    },
    {
      method: 'HEAD',
      path,
      id: `checkMetrics${suffix}`,
      tag: 'Better Stack',
      summary: 'Says that somebody is there',
      answer: { status: 200, description: 'Somebody is.' },
      errors: [],
    },
  ]
})

const GRAPHQL_ANSWER = {
  'application/json': refTo('GraphQLResult'),
  'application/graphql-response+json': refTo('GraphQLResult'),
  'text/event-stream': {
    type: 'string',
    description: 'Results one by one, in the distinct connections mode of graphql-sse.',
  },
  'multipart/mixed': {
    type: 'string',
    description: "Results one by one, in Apollo's multipart protocol for subscriptions.",
  },
}
const GRAPHQL_ERRORS = [...KEYED, 'invalid_body', 'query_too_large', 'overloaded'] as const

const GRAPHQL: readonly Operation[] = [
  {
    method: 'POST',
    path: '/graphql',
    id: 'graphql',
    tag: 'GraphQL',
    summary: 'Runs an operation',
    description:
      'The schema can be asked for by introspection. Errors have these codes in upper case in `extensions.code`.',
    scope: 'any',
    body: json(refTo('GraphQLRequest')),
    answer: { status: 200, description: 'The result, with errors by field.', content: GRAPHQL_ANSWER },
    errors: [...GRAPHQL_ERRORS, 'request_timeout', 'payload_too_large', 'unsupported_media_type'],
    errorsAs: 'graphql',
  },
  {
    method: 'GET',
    path: '/graphql',
    id: 'graphqlByGet',
    tag: 'GraphQL',
    summary: 'Runs a query; answers browsers with the playground',
    scope: 'any',
    parameters: [
      query('query', 'The document.'),
      query('operationName', 'Which of its operations.'),
      query('variables', 'As JSON.'),
      query('extensions', 'As JSON.'),
    ],
    answer: {
      status: 200,
      description: 'The result, with errors by field.',
      content: { ...GRAPHQL_ANSWER, 'text/html': { type: 'string' } },
    },
    errors: GRAPHQL_ERRORS,
    errorsAs: 'graphql',
  },
]

const PLAYGROUND: readonly Operation[] = [
  {
    method: 'GET',
    path: '/graphql/playground/:name',
    id: 'playgroundPart',
    tag: 'GraphQL',
    summary: 'A part of the playground',
    description: 'Named by its content, and kept by browsers for ever.',
    parameters: [{ ...NAME, description: 'As the page of the playground names it.' }],
    answer: {
      status: 200,
      description: 'A script, a style or a picture.',
      content: { 'text/javascript': STRING, 'text/css': STRING, 'image/svg+xml': STRING },
    },
    errors: ['not_found'],
  },
]

const status = (word: string): JsonSchema => objectOf({ status: { type: 'string', const: word } })

const OPERATIONAL: readonly Operation[] = [
  {
    method: 'GET',
    path: '/health',
    id: 'health',
    tag: 'Operations',
    summary: 'The process lives',
    answer: { status: 200, description: 'It does.', content: json(status('ok')) },
    errors: [],
  },
  {
    method: 'GET',
    path: '/ready',
    id: 'ready',
    tag: 'Operations',
    summary: 'The store answers, and the process is not about to end',
    answer: { status: 200, description: 'Send requests.', content: json(status('ready')) },
    errors: ['store_unavailable', 'overloaded'],
  },
  {
    method: 'GET',
    path: '/metrics',
    id: 'ownMetrics',
    tag: 'Operations',
    summary: 'How the gateway itself is doing, for Prometheus',
    answer: { status: 200, description: 'Prometheus text, nothing of a project.', content: { 'text/plain': STRING } },
    errors: ['internal', 'overloaded'],
  },
  {
    method: 'GET',
    path: '/openapi.json',
    id: 'openapi',
    tag: 'Operations',
    summary: 'This document',
    answer: { status: 200, description: 'OpenAPI 3.1.', content: json({ type: 'object' }) },
    errors: [],
  },
]

export const OPERATIONS: readonly Operation[] = [...FLUX, ...BETTER_STACK, ...GRAPHQL, ...PLAYGROUND, ...OPERATIONAL]
