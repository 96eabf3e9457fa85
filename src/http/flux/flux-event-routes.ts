import type { FastifyInstance } from 'fastify'
import { assert, GatewayError } from '../../model/errors.ts'
import { decodeEvent } from '../../model/event.ts'
import { isObject } from '../../model/is-object.ts'
import { Pacer } from '../../model/pacer.ts'
import type { PointSink } from '../../model/point.ts'
import { runPaced, type Steps } from '../../model/steps.ts'
import { decodeCombinedBatch } from '../../wire/flux-combined.ts'
import { decodeFluxEvent, decodeFluxEvents, type EventLimits } from '../../wire/flux-events.ts'
import { readJsonBody } from '../../wire/json-body.ts'
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
  queryParameter,
  STRING_SCHEMA,
  TAG_FILTER_PARAMETER,
  TO_PARAMETER,
} from '../openapi/operation.ts'
import { listOf, objectOf, refTo } from '../openapi/schemas.ts'
import { sendCsv, wantsCsv } from '../response/csv.ts'
import { sendJson } from '../response/json-response.ts'
import { sendIdempotently } from '../server/idempotency.ts'
import { writeEventsCsv } from './flux-csv.ts'
import { parseEventQuery, parseFormat } from './flux-parameters.ts'
import { writeBatchResult, writeEvents, writeTrackedEvent } from './flux-responses.ts'
import type { FluxOptions } from './flux-routes.ts'
import { batchOperation, singleOperation } from './ingest-operation.ts'

/**
 * Registers the event routes of the Flux API, and the route for batches of events and metrics. The caller sets the path
 * prefix.
 */
export function registerFluxEventRoutes(app: FastifyInstance, { gateway, now, limits }: FluxOptions): void {
  const ingest = { onRequest: [requireScope(gateway, 'ingest', 'single'), requireJsonBody] }
  const read = { onRequest: requireScope(gateway, 'query', 'single') }
  const { points, eventBytesMax, batchItemsMax } = limits
  const eventLimits: EventLimits = { points, eventBytesMax }

  app.post('/events', { ...ingest, config: { openapi: TRACK_EVENT_OPERATION } }, (request, reply) =>
    sendIdempotently(gateway, request, reply, async (options) => {
      const event = decodeFluxEvent(await readJsonBody(bodyBytesOf(request)), now(), eventLimits)
      if ('code' in event) throw new GatewayError(event.code, event.message)
      const { eventIds } = await gateway.trackBatch(projectOf(request), { events: [event] }, options)
      const [id] = eventIds
      assert(id !== undefined, 'every event has an id')
      return { status: 201, body: writeTrackedEvent(decodeEvent({ id, ...event })) }
    }),
  )

  app.post('/events/batch', { ...ingest, config: { openapi: TRACK_EVENTS_OPERATION } }, (request, reply) =>
    sendIdempotently(gateway, request, reply, async (options) => {
      const items = eventsOf(await readJsonBody(bodyBytesOf(request)))
      const steps = decodeFluxEvents(items, now(), eventLimits, batchItemsMax)
      const { events, rejected } = await runPaced(steps, new Pacer())
      await gateway.trackBatch(projectOf(request), { events }, options)
      const data = { accepted: events.length, rejected: rejected.length }
      return { status: 201, body: writeBatchResult(data, rejected) }
    }),
  )

  app.post('/flux/batch', { ...ingest, config: { openapi: TRACK_BATCH_OPERATION } }, (request, reply) =>
    sendIdempotently(gateway, request, reply, async (options) => {
      const steps = decodeCombinedBatch(bodyBytesOf(request), now(), eventLimits, batchItemsMax)
      const batch = await runPaced(steps, new Pacer())
      const { events, rejected: rejectedEvents } = batch.events
      let metricCount = 0
      function* decode(sink: PointSink): Steps<void> {
        metricCount = yield* batch.decodeMetrics(sink)
      }
      const { rejected: rejectedMetrics } = await gateway.trackBatch(projectOf(request), { decode, events }, options)
      const data = {
        events: { accepted: events.length, rejected: rejectedEvents.length },
        metrics: { accepted: metricCount - rejectedMetrics.length, rejected: rejectedMetrics.length },
      }
      const errors = [
        ...rejectedEvents.map((error) => ({ kind: 'events', ...error })),
        ...rejectedMetrics.map((error) => ({ kind: 'metrics', ...error })),
      ]
      return { status: 201, body: writeBatchResult(data, errors) }
    }),
  )

  app.get('/events', { ...read, config: { openapi: LIST_EVENTS_OPERATION } }, async (request, reply) => {
    const isCsv = wantsCsv(request, reply, parseFormat(request.url))
    const page = await gateway.events(projectOf(request), parseEventQuery(request.url))
    if (isCsv) {
      if (page.nextCursor !== undefined) reply.header('x-next', page.nextCursor)
      return sendCsv(reply, writeEventsCsv(page))
    }
    return sendJson(reply, 200, writeEvents(page))
  })
}

/** Returns the items of `{"events":[…]}` or of a bare array. Throws `invalid_body` for anything else. */
function eventsOf(body: unknown): unknown {
  if (Array.isArray(body)) return body
  const items = isObject(body) ? body['events'] : undefined
  if (Array.isArray(items)) return items
  throw new GatewayError('invalid_body', 'the body must be {"events": […]} or an array of events')
}

const TRACK_EVENT_OPERATION = singleOperation(
  { id: 'trackEvent', tag: 'Events', summary: 'Stores one event', input: 'EventInput', result: 'TrackedEvent' },
  ['missing_name', 'invalid_value', 'invalid_timestamp', 'invalid_tags'],
)

const TRACK_EVENTS_OPERATION = batchOperation({
  id: 'trackEvents',
  tag: 'Events',
  summary: 'Stores several events',
  input: 'EventBatchInput',
  result: 'BatchResult',
})

const TRACK_BATCH_OPERATION = batchOperation({
  id: 'trackBatch',
  tag: 'Events',
  summary: 'Stores events and points in one request',
  input: 'CombinedBatchInput',
  result: 'CombinedBatchResult',
})

const LIST_EVENTS_OPERATION: Operation = {
  id: 'listEvents',
  tag: 'Events',
  summary: 'Lists the events of a time range, newest first',
  scope: 'query',
  parameters: [
    queryParameter('name', 'Only events of this name, or, with a star at the end, names that start with it.'),
    FROM_PARAMETER,
    TO_PARAMETER,
    TAG_FILTER_PARAMETER,
    limitParameter('Maximum number of events, up to 1,000. Default: 100.'),
    queryParameter('after', 'The `next` of the previous page.'),
    FORMAT_PARAMETER,
  ],
  response: {
    status: 200,
    description: 'The events. `next` is present when another page may follow; with CSV it is the header `X-Next`.',
    content: {
      ...jsonContent(objectOf({ data: listOf(refTo('Event')), next: STRING_SCHEMA }, ['next'])),
      'text/csv': STRING_SCHEMA,
    },
  },
  errors: [...API_KEY_ERROR_CODES, 'invalid_range', 'invalid_tags', 'invalid_value', 'query_too_large'],
}
