import type { TrackOptions } from '../../gateway.ts'
import { GatewayError } from '../../model/errors.ts'
import type { PointSink } from '../../model/point.ts'
import { readTags } from '../../model/point.ts'
import { canonicalTags } from '../../model/series.ts'
import { decodeFluxItem } from '../../wire/flux.ts'
import { MetricInputList } from '../../wire/metric-input-list.ts'
import { builder } from '../builder.ts'
import type { GraphQLContext } from '../context.ts'
import { IDEMPOTENCY_KEY_DESCRIPTION, runIdempotently } from '../resolve/idempotent.ts'
import { BatchResultRef } from './batch-result.ts'
import { MetricInputRef } from './metric-input.ts'
import { TrackedMetricRef, type TrackedPoint } from './tracked-metric.ts'

builder.mutationFields((t) => ({
  trackMetric: t.field({
    type: TrackedMetricRef,
    nullable: true,
    description: 'Stores one point. When this returns, the point is durable and visible in queries.',
    args: {
      input: t.arg({ type: MetricInputRef, required: true, description: 'The point.' }),
      idempotencyKey: t.arg.id({ description: IDEMPOTENCY_KEY_DESCRIPTION }),
    },
    resolve: (_root, { input, idempotencyKey }, context) =>
      runIdempotently(
        'trackMetric',
        () => input,
        idempotencyKey,
        context,
        (options) => track(input, context, options),
      ),
  }),
  trackMetrics: t.field({
    type: BatchResultRef,
    nullable: true,
    description:
      'Stores a batch of points, by default up to 500. Invalid items are reported by index and the others are stored.',
    args: {
      metrics: t.arg({ type: [MetricInputRef], required: true, description: 'The points, by default at most 500.' }),
      idempotencyKey: t.arg.id({ description: IDEMPOTENCY_KEY_DESCRIPTION }),
    },
    resolve: (_root, { metrics, idempotencyKey }, context) =>
      runIdempotently(
        'trackMetrics',
        () => inputsOf(metrics),
        idempotencyKey,
        context,
        async (options) => {
          requireBatchSize(metrics, context)
          const decode = createBatchDecoder(metrics, context)
          const rejected = await context.gateway.track(context.principal.project, decode, options)
          return { itemCount: metrics.length, rejected }
        },
      ),
  }),
}))

/** A point as the client sent it. This file reads only `tags`; the decoder reads all fields. */
interface PointInput {
  readonly tags?: unknown
}

/**
 * The value of an argument of the type `[MetricInput!]`. The schema builder declares it as an array, but it is a
 * `MetricInputList` if it comes from a variable with many inputs.
 */
type PointInputs = readonly PointInput[] | MetricInputList | null | undefined

/** Returns the inputs as objects; null or undefined if the argument has no value. */
export function inputsOf(inputs: PointInputs): readonly object[] | null | undefined {
  return inputs instanceof MetricInputList ? inputs.coerce() : inputs
}

/** Throws `batch_too_large` if a batch has too many items. */
export function requireBatchSize({ length }: NonNullable<PointInputs>, { limits }: GraphQLContext): void {
  const max = limits.batchItemsMax
  if (length <= max) return
  throw new GatewayError('batch_too_large', `a batch may have at most ${max} metrics, not ${length}`, {
    details: { max },
  })
}

/**
 * Returns a function that decodes items with the decoder of REST, so that both APIs accept the same items. It must be
 * called before the resolver waits for anything: after that, a `MetricInputList` may have lost its bytes.
 */
export function createBatchDecoder(
  inputs: NonNullable<PointInputs>,
  context: GraphQLContext,
): (sink: PointSink) => void {
  const limits = context.limits.points
  const nowMs = context.now()
  return (sink) => {
    if (inputs instanceof MetricInputList) inputs.deliver(sink, nowMs, limits)
    else for (const [index, input] of inputs.entries()) decodeFluxItem(input, index, sink, nowMs, limits)
  }
}

/** Stores one point and returns it. Throws the reason if it is rejected. */
async function track(input: PointInput, context: GraphQLContext, options: TrackOptions): Promise<TrackedPoint | null> {
  const limits = context.limits.points
  const nowMs = context.now()
  let tracked: TrackedPoint | null = null
  const decode = (sink: PointSink): void => {
    const point = decodeFluxItem(input, 0, sink, nowMs, limits)
    if (point === undefined) return
    const pairs = readTags(input.tags, limits)
    const { name, type, value, timeMs } = point
    tracked = { name, type, value, timeMs, tags: Array.isArray(pairs) ? canonicalTags(pairs) : [] }
  }
  const [error] = await context.gateway.track(context.principal.project, decode, options)
  if (error !== undefined) throw new GatewayError(error.code, error.message)
  return tracked
}
