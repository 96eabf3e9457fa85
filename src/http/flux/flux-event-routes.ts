import type { FastifyInstance } from 'fastify'
import { assert, GatewayError } from '../../model/errors.ts'
import { decodeEvent } from '../../model/event.ts'
import { Pacer } from '../../model/pacer.ts'
import type { PointSink } from '../../model/point.ts'
import { runPaced, type Steps } from '../../model/steps.ts'
import { decodeCombinedBatch } from '../../wire/flux-combined.ts'
import { decodeFluxEvent, decodeFluxEvents, type EventLimits } from '../../wire/flux-events.ts'
import { readJsonBody } from '../../wire/json-body.ts'
import { sendJson } from '../server/answer.ts'
import { projectOf, requireScope } from '../server/auth.ts'
import { bytesOf } from '../server/body.ts'
import { requireJsonBody } from '../server/media-type.ts'
import { sendOnce } from '../server/send-once.ts'
import { writeEvents, writeTrackedEvent } from './flux-event-answers.ts'
import { parseEventQuery } from './flux-parameters.ts'
import type { FluxLimits, FluxOptions } from './flux-routes.ts'

/** Events of the Flux dialect, alone and together with metrics, below the same prefix as its metrics. */
export function registerFluxEventRoutes(app: FastifyInstance, { gateway, now, limits }: FluxOptions): void {
  const ingest = { onRequest: [requireScope(gateway, 'ingest', 'single'), requireJsonBody] }
  const read = { onRequest: requireScope(gateway, 'query', 'single') }
  const eventLimits = eventLimitsOf(limits)

  app.post('/events', ingest, (request, reply) =>
    sendOnce(gateway, request, reply, async (options) => {
      const event = decodeFluxEvent(await readJsonBody(bytesOf(request)), now(), eventLimits)
      if ('code' in event) throw new GatewayError(event.code, event.message)
      const { eventIds } = await gateway.trackBatch(projectOf(request), { events: [event] }, options)
      const [id] = eventIds
      assert(id !== undefined, 'every event has an id')
      return { status: 201, body: writeTrackedEvent(decodeEvent({ id, ...event })) }
    }),
  )

  app.post('/events/batch', ingest, (request, reply) =>
    sendOnce(gateway, request, reply, async (options) => {
      const items = itemsOf(await readJsonBody(bytesOf(request)))
      const { events, rejected } = decodeFluxEvents(items, now(), eventLimits, limits.batchItemsMax)
      await gateway.trackBatch(projectOf(request), { events }, options)
      const data = { accepted: events.length, rejected: rejected.length }
      return { status: 201, body: JSON.stringify(rejected.length === 0 ? { data } : { data, errors: rejected }) }
    }),
  )

  app.post('/flux/batch', ingest, (request, reply) =>
    sendOnce(gateway, request, reply, async (options) => {
      const steps = decodeCombinedBatch(bytesOf(request), now(), eventLimits, limits.batchItemsMax)
      const batch = await runPaced(steps, new Pacer())
      const { events, rejected: rejectedEvents } = batch.events
      let metrics = 0
      function* decode(sink: PointSink): Steps<void> {
        metrics = yield* batch.decodeMetrics(sink)
      }
      const { rejected: rejectedMetrics } = await gateway.trackBatch(projectOf(request), { decode, events }, options)
      const data = {
        events: { accepted: events.length, rejected: rejectedEvents.length },
        metrics: { accepted: metrics - rejectedMetrics.length, rejected: rejectedMetrics.length },
      }
      const errors = [
        ...rejectedEvents.map((error) => ({ kind: 'events', ...error })),
        ...rejectedMetrics.map((error) => ({ kind: 'metrics', ...error })),
      ]
      return { status: 201, body: JSON.stringify(errors.length === 0 ? { data } : { data, errors }) }
    }),
  )

  app.get('/events', read, async (request, reply) => {
    const page = await gateway.events(projectOf(request), parseEventQuery(request.url))
    return sendJson(reply, 200, writeEvents(page))
  })
}

export function eventLimitsOf({ points, eventBytesMax }: FluxLimits): EventLimits {
  return { points, eventBytesMax }
}

/** Of `{"events":[…]}` or a bare array. */
function itemsOf(body: unknown): unknown {
  if (Array.isArray(body)) return body
  const items: unknown = typeof body === 'object' && body !== null && 'events' in body ? body.events : undefined
  if (Array.isArray(items)) return items
  throw new GatewayError('invalid_body', 'the body must be {"events": […]} or an array of events')
}
