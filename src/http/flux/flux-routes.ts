import type { FastifyInstance } from 'fastify'
import type { Gateway } from '../../gateway.ts'
import { metricNotFoundError } from '../../model/errors.ts'
import { METRIC_TYPES } from '../../model/metric.ts'
import { Pacer } from '../../model/pacer.ts'
import type { PointLimits, PointSink } from '../../model/point.ts'
import { runPaced, type Steps } from '../../model/steps.ts'
import type { QueryInput } from '../../query/plan/request.ts'
import { decodeFluxBatch } from '../../wire/flux-batch.ts'
import { projectOf, requireScope } from '../access/authenticate.ts'
import { requireJsonBody } from '../body/media-type.ts'
import { bodyBytesOf } from '../body/request-body.ts'
import {
  API_KEY_ERROR_CODES,
  FORMAT_PARAMETER,
  FROM_PARAMETER,
  jsonContent,
  limitParameter,
  type Operation,
  type Parameter,
  queryParameter,
  STRING_SCHEMA,
  TAG_FILTER_PARAMETER,
  TO_PARAMETER,
} from '../openapi/operation.ts'
import { listOf, objectOf, refTo } from '../openapi/schemas.ts'
import { abortWhenClosed } from '../response/closed-connection.ts'
import { sendCsv, wantsCsv } from '../response/csv.ts'
import { sendJson, sendJsonStream, sendNoContent } from '../response/json-response.ts'
import { sendIdempotently } from '../server/idempotency.ts'
import { writeQueryCsv } from './flux-csv.ts'
import { parseFormat, parseMetricFilter, parseMetricQuery } from './flux-parameters.ts'
import { formatResolutions, writeBatchResult, writeMetric, writeMetrics, writeQueryResult } from './flux-responses.ts'
import { batchOperation, singleOperation } from './ingest-operation.ts'
import { storePoint } from './store-point.ts'

export interface FluxOptions {
  readonly gateway: Gateway
  readonly now: () => number
  readonly limits: FluxLimits
}

export interface FluxLimits {
  readonly points: PointLimits
  /** Maximum number of items in a batch. A combined batch may have this many events and this many metrics. */
  readonly batchItemsMax: number
  readonly eventBytesMax: number
}

type MetricNameRoute = { Params: { name: string } }

/** Registers the metric routes of the Flux API. The caller sets the path prefix. */
export function registerFluxRoutes(app: FastifyInstance, { gateway, now, limits }: FluxOptions): void {
  const ingestOne = { onRequest: [requireScope(gateway, 'ingest', 'single'), requireJsonBody] }
  const ingestBatch = { onRequest: [requireScope(gateway, 'ingest', 'batch'), requireJsonBody] }
  const read = { onRequest: requireScope(gateway, 'query', 'single') }
  const manage = { onRequest: requireScope(gateway, 'admin', 'single') }
  const query = { onRequest: requireScope(gateway, 'query', 'query') }

  app.post('/metrics', { ...ingestOne, config: { openapi: TRACK_METRIC_OPERATION } }, (request, reply) =>
    sendIdempotently(gateway, request, reply, async (options) => ({
      status: 201,
      body: await storePoint({ gateway, now, limits }, projectOf(request), bodyBytesOf(request), options),
    })),
  )

  app.post('/metrics/batch', { ...ingestBatch, config: { openapi: TRACK_METRICS_OPERATION } }, (request, reply) =>
    sendIdempotently(gateway, request, reply, async (options) => {
      const body = bodyBytesOf(request)
      let itemCount = 0
      function* decode(sink: PointSink): Steps<void> {
        itemCount = yield* decodeFluxBatch(body, sink, now(), limits.points, limits.batchItemsMax)
      }
      const errors = await gateway.track(projectOf(request), decode, options)
      const data = { accepted: itemCount - errors.length, rejected: errors.length }
      return { status: 201, body: writeBatchResult(data, errors) }
    }),
  )

  app.get('/metrics', { ...read, config: { openapi: LIST_METRICS_OPERATION } }, async (request, reply) => {
    const filter = parseMetricFilter(request.url)
    return sendJsonStream(reply, 200, writeMetrics(gateway.metricPages(projectOf(request), filter)))
  })

  app.get<MetricNameRoute>(
    '/metrics/:name',
    { ...read, config: { openapi: GET_METRIC_OPERATION } },
    async (request, reply) => {
      const { name } = request.params
      const metric = await gateway.metric(projectOf(request), name)
      if (metric === undefined) throw metricNotFoundError(name)
      return sendJson(reply, 200, writeMetric(metric))
    },
  )

  app.delete<MetricNameRoute>(
    '/metrics/:name',
    { ...manage, config: { openapi: DELETE_METRIC_OPERATION } },
    async (request, reply) => {
      const { name } = request.params
      if (!(await gateway.deleteMetric(projectOf(request), name))) throw metricNotFoundError(name)
      return sendNoContent(reply)
    },
  )

  app.get<MetricNameRoute>(
    '/metrics/:name/query',
    { ...query, config: { openapi: QUERY_METRIC_OPERATION } },
    async (request, reply) => {
      const input = parseMetricQuery(request.params.name, request.url)
      const isCsv = wantsCsv(request, reply, parseFormat(request.url))
      const session = gateway.openSession()
      abortWhenClosed(reply.raw, session)
      const result = await gateway.query(projectOf(request), { ...input, totals: false }, session)
      const resolutions = formatResolutions(result)
      if (resolutions !== '') reply.header('x-resolution', resolutions)
      reply.header('x-buckets-unavailable', result.meta.bucketsUnavailable)
      if (isCsv) return sendCsv(reply, await runPaced(writeQueryCsv(result), new Pacer()))
      return sendJson(reply, 200, await runPaced(writeQueryResult(result, groupingOf(input)), new Pacer()))
    },
  )
}

function groupingOf({ bySeries, groupBy }: QueryInput): 'none' | 'tags' | 'series' {
  if (bySeries === true) return 'series'
  return groupBy === undefined ? 'none' : 'tags'
}

const METRIC_NAME_PARAMETER: Parameter = {
  in: 'path',
  name: 'name',
  description: 'Name of the metric, percent-encoded.',
  schema: STRING_SCHEMA,
}

const TRACK_METRIC_OPERATION = singleOperation(
  { id: 'trackMetric', tag: 'Metrics', summary: 'Stores one point', input: 'MetricInput', result: 'TrackedMetric' },
  [
    'missing_name',
    'invalid_type',
    'invalid_value',
    'invalid_timestamp',
    'invalid_tags',
    'type_conflict',
    'series_limit_exceeded',
    'metric_limit_exceeded',
  ],
)

const TRACK_METRICS_OPERATION = batchOperation({
  id: 'trackMetrics',
  tag: 'Metrics',
  summary: 'Stores several points',
  input: 'MetricBatchInput',
  result: 'BatchResult',
})

const LIST_METRICS_OPERATION: Operation = {
  id: 'listMetrics',
  tag: 'Metrics',
  summary: 'Lists the metrics of the project by name',
  scope: 'query',
  parameters: [
    queryParameter('search', 'Only names that contain this text, in upper or lower case.'),
    queryParameter('type', 'Only metrics of this type.', { type: 'string', enum: METRIC_TYPES }),
    limitParameter('Maximum number of metrics. Default: all.'),
    queryParameter('after', 'The last name of the previous page.'),
  ],
  response: {
    status: 200,
    description: 'The metrics.',
    content: jsonContent(objectOf({ data: listOf(refTo('Metric')) })),
  },
  errors: [...API_KEY_ERROR_CODES, 'invalid_type', 'invalid_value', 'invalid_range', 'query_too_large'],
}

const GET_METRIC_OPERATION: Operation = {
  id: 'getMetric',
  tag: 'Metrics',
  summary: 'Returns one metric',
  scope: 'query',
  parameters: [METRIC_NAME_PARAMETER],
  response: { status: 200, description: 'The metric.', content: jsonContent(objectOf({ data: refTo('Metric') })) },
  errors: [...API_KEY_ERROR_CODES, 'metric_not_found'],
}

const DELETE_METRIC_OPERATION: Operation = {
  id: 'deleteMetric',
  tag: 'Metrics',
  summary: 'Deletes a metric with its series and points',
  description: 'The name can be used again at once, with any type.',
  scope: 'admin',
  parameters: [METRIC_NAME_PARAMETER],
  response: { status: 204, description: 'The metric is deleted.' },
  errors: [...API_KEY_ERROR_CODES, 'metric_not_found'],
}

const QUERY_METRIC_OPERATION: Operation = {
  id: 'queryMetric',
  tag: 'Metrics',
  summary: 'Aggregates a metric over a time range, in buckets',
  scope: 'query',
  parameters: [
    METRIC_NAME_PARAMETER,
    FROM_PARAMETER,
    TO_PARAMETER,
    queryParameter(
      'aggregation',
      'One, or several separated by commas. The type of the metric decides which are possible.',
    ),
    queryParameter('interval', 'Bucket width: `10s`, `5m`, `1h`, `1d`, `1w`, `1mo`, or `auto`. Default: `auto`.'),
    TAG_FILTER_PARAMETER,
    queryParameter('group_by', '`tags.a,tags.b`, or `series`.'),
    queryParameter('fill', 'What empty buckets show.', { type: 'string', enum: ['none', 'null', 'zero', 'previous'] }),
    queryParameter(
      'timezone',
      'IANA time zone in which days, weeks and months start, and in which `from` and `to` without an offset are read. Default: UTC.',
    ),
    FORMAT_PARAMETER,
  ],
  response: {
    status: 200,
    description: 'The buckets. As CSV a row for each, with a column for each group and aggregation.',
    content: { ...jsonContent(refTo('QueryResult')), 'text/csv': STRING_SCHEMA },
    headers: {
      'X-Resolution': 'Widths of the stored buckets that were read, finest first.',
      'X-Buckets-Unavailable':
        'Number of buckets that are null because the kept data is too coarse to fill them exactly.',
    },
  },
  errors: [
    ...API_KEY_ERROR_CODES,
    'metric_not_found',
    'invalid_aggregation',
    'invalid_interval',
    'invalid_range',
    'invalid_group_by',
    'invalid_tags',
    'invalid_value',
    'query_too_large',
    'overloaded',
  ],
}
