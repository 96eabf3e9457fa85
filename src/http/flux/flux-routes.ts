import type { FastifyInstance } from 'fastify'
import type { Gateway } from '../../gateway.ts'
import { assert, GatewayError } from '../../model/errors.ts'
import type { PointLimits, PointSink } from '../../model/point.ts'
import { describe } from '../../model/point.ts'
import type { Steps } from '../../model/steps.ts'
import type { QueryInput } from '../../query/plan/request.ts'
import type { TrackedPoint } from '../../wire/flux.ts'
import { decodeFluxItem } from '../../wire/flux.ts'
import { decodeFluxBatch } from '../../wire/flux-batch.ts'
import { readJsonBody } from '../../wire/json-body.ts'
import { sendJson, sendJsonParts, sendNothing } from '../server/answer.ts'
import { projectOf, requireScope } from '../server/auth.ts'
import { bytesOf } from '../server/body.ts'
import { requireJsonBody } from '../server/media-type.ts'
import { sendOnce } from '../server/send-once.ts'
import { resolutionsOf, writeMetric, writeMetrics, writeQueryAnswer, writeTrackedPoint } from './flux-answers.ts'
import { parseMetricFilter, parseMetricQuery } from './flux-parameters.ts'

export interface FluxOptions {
  readonly gateway: Gateway
  readonly now: () => number
  readonly limits: FluxLimits
}

export interface FluxLimits {
  readonly points: PointLimits
  /** Metrics in a batch, and events. */
  readonly batchItemsMax: number
  readonly eventBytesMax: number
}

type NameRoute = { Params: { name: string } }

/** The Flux dialect, below the prefix that the server gives it. */
export function registerFluxRoutes(app: FastifyInstance, { gateway, now, limits }: FluxOptions): void {
  const single = { onRequest: [requireScope(gateway, 'ingest', 'single'), requireJsonBody] }
  const batch = { onRequest: [requireScope(gateway, 'ingest', 'batch'), requireJsonBody] }
  const read = { onRequest: requireScope(gateway, 'query', 'single') }
  const manage = { onRequest: requireScope(gateway, 'admin', 'single') }
  const query = { onRequest: requireScope(gateway, 'query', 'query') }

  app.post('/metrics', single, (request, reply) =>
    sendOnce(gateway, request, reply, async (options) => {
      const item = await readJsonBody(bytesOf(request))
      const accepted: TrackedPoint[] = []
      const decode = (sink: PointSink): void => {
        const point = decodeFluxItem(item, 0, sink, now(), limits.points)
        if (point !== undefined) accepted.push(point)
      }
      const [rejected] = await gateway.track(projectOf(request), decode, options)
      if (rejected !== undefined) throw new GatewayError(rejected.code, rejected.message)
      const [point] = accepted
      assert(point !== undefined, 'what was not rejected was decoded')
      return { status: 201, body: writeTrackedPoint(point) }
    }),
  )

  app.post('/metrics/batch', batch, (request, reply) =>
    sendOnce(gateway, request, reply, async (options) => {
      const body = bytesOf(request)
      let items = 0
      function* decode(sink: PointSink): Steps<void> {
        items = yield* decodeFluxBatch(body, sink, now(), limits.points, limits.batchItemsMax)
      }
      const errors = await gateway.track(projectOf(request), decode, options)
      const data = { accepted: items - errors.length, rejected: errors.length }
      return { status: 201, body: JSON.stringify(errors.length === 0 ? { data } : { data, errors }) }
    }),
  )

  app.get('/metrics', read, async (request, reply) => {
    const filter = parseMetricFilter(request.url)
    return sendJsonParts(reply, 200, writeMetrics(gateway.metricPages(projectOf(request), filter)))
  })

  app.get<NameRoute>('/metrics/:name', read, async (request, reply) => {
    const { name } = request.params
    const metric = await gateway.metric(projectOf(request), name)
    if (metric === undefined) throw unknownMetric(name)
    return sendJson(reply, 200, writeMetric(metric))
  })

  app.delete<NameRoute>('/metrics/:name', manage, async (request, reply) => {
    const { name } = request.params
    if (!(await gateway.deleteMetric(projectOf(request), name))) throw unknownMetric(name)
    return sendNothing(reply)
  })

  app.get<NameRoute>('/metrics/:name/query', query, async (request, reply) => {
    const input = parseMetricQuery(request.params.name, request.url)
    const answer = await gateway.query(projectOf(request), { ...input, totals: false })
    const resolutions = resolutionsOf(answer)
    if (resolutions !== '') reply.header('x-resolution', resolutions)
    reply.header('x-buckets-unavailable', answer.meta.bucketsUnavailable)
    return sendJson(reply, 200, writeQueryAnswer(answer, groupingOf(input)))
  })
}

function unknownMetric(name: string): GatewayError {
  return new GatewayError('metric_not_found', `there is no metric ${describe(name)}`)
}

function groupingOf({ bySeries, groupBy }: QueryInput): 'none' | 'tags' | 'series' {
  if (bySeries === true) return 'series'
  return groupBy === undefined ? 'none' : 'tags'
}
