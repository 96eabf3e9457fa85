import { assert, GatewayError } from '../../model/errors.ts'
import { decodeEvent } from '../../model/event.ts'
import { runAtOnce } from '../../model/steps.ts'
import { decodeFluxEvent, decodeFluxEvents, type EventLimits } from '../../wire/flux-events.ts'
import { builder } from '../builder.ts'
import type { GraphQLContext } from '../context.ts'
import { IDEMPOTENCY_KEY_DESCRIPTION, runIdempotently } from '../resolve/idempotent.ts'
import { type BatchOutcome, BatchResultRef } from './batch-result.ts'
import { EventInputRef, EventRef } from './event.ts'
import { MetricInputRef } from './metric-input.ts'
import { createBatchDecoder, inputsOf, requireBatchSize } from './track.ts'

interface CombinedBatch {
  readonly metrics: BatchOutcome
  readonly events: BatchOutcome
}

const CombinedBatchResultRef = builder.objectRef<CombinedBatch>('CombinedBatchResult').implement({
  description: 'The outcome of a batch of points and events.',
  fields: (t) => ({
    metrics: t.expose('metrics', {
      type: BatchResultRef,
      description: 'Outcome of the points.',
    }),
    events: t.expose('events', { type: BatchResultRef, description: 'Outcome of the events.' }),
  }),
})

builder.mutationFields((t) => ({
  trackEvent: t.field({
    type: EventRef,
    nullable: true,
    description: 'Stores one event. When this returns, the event is durable and visible in `events`.',
    args: {
      input: t.arg({ type: EventInputRef, required: true, description: 'The event.' }),
      idempotencyKey: t.arg.id({ description: IDEMPOTENCY_KEY_DESCRIPTION }),
    },
    resolve: (_root, { input, idempotencyKey }, context) =>
      runIdempotently(
        'trackEvent',
        () => input,
        idempotencyKey,
        context,
        async (options) => {
          const event = decodeFluxEvent(input, context.now(), eventLimitsOf(context))
          if ('code' in event) throw new GatewayError(event.code, event.message)
          const { eventIds } = await context.gateway.trackBatch(context.principal.project, { events: [event] }, options)
          const [id] = eventIds
          assert(id !== undefined, 'every event has an id')
          return decodeEvent({ id, ...event })
        },
      ),
  }),
  trackBatch: t.field({
    type: CombinedBatchResultRef,
    nullable: true,
    description:
      'Stores points and events, by default up to 500 of each. Invalid items are reported by index and the others are stored.',
    args: {
      metrics: t.arg({ type: [MetricInputRef], description: 'The points, by default at most 500.' }),
      events: t.arg({ type: [EventInputRef], description: 'The events, by default at most 500.' }),
      idempotencyKey: t.arg.id({ description: IDEMPOTENCY_KEY_DESCRIPTION }),
    },
    resolve: (_root, { metrics, events, idempotencyKey }, context) =>
      runIdempotently(
        'trackBatch',
        () => [inputsOf(metrics), events],
        idempotencyKey,
        context,
        async (options) => {
          const points = metrics ?? []
          requireBatchSize(points, context)
          const { batchItemsMax } = context.limits
          // At once, because the bytes of `metrics` must be read before the first wait. A body of GraphQL is short.
          const decoded = runAtOnce(
            decodeFluxEvents(events ?? [], context.now(), eventLimitsOf(context), batchItemsMax),
          )
          const batch = { decode: createBatchDecoder(points, context), events: decoded.events }
          const { rejected } = await context.gateway.trackBatch(context.principal.project, batch, options)
          return {
            metrics: { itemCount: points.length, rejected },
            events: { itemCount: decoded.events.length + decoded.rejected.length, rejected: decoded.rejected },
          }
        },
      ),
  }),
}))

function eventLimitsOf({ limits: { points, eventBytesMax } }: GraphQLContext): EventLimits {
  return { points, eventBytesMax }
}
