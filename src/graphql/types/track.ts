import type { TrackOptions } from '../../gateway.ts'
import { GatewayError, type ItemError } from '../../model/errors.ts'
import type { PointSink } from '../../model/point.ts'
import { readTags } from '../../model/point.ts'
import { canonicalTags } from '../../model/series.ts'
import { decodeFluxItem } from '../../wire/flux.ts'
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
      runIdempotently('trackMetric', input, idempotencyKey, context, async (options) => {
        const { tracked, rejected } = await track([input], context, options)
        const [error] = rejected
        if (error !== undefined) throw new GatewayError(error.code, error.message)
        return tracked ?? null
      }),
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
      runIdempotently('trackMetrics', metrics, idempotencyKey, context, async (options) => {
        requireBatchSize(metrics, context)
        const { rejected } = await track(metrics, context, options)
        return { itemCount: metrics.length, rejected }
      }),
  }),
}))

/** A point as the client sent it. This file reads only `tags`; the decoder reads all fields. */
interface PointItem {
  readonly tags?: unknown
}

/** Throws `batch_too_large` if a batch has too many items. */
export function requireBatchSize(metrics: readonly PointItem[], { limits }: GraphQLContext): void {
  const max = limits.batchItemsMax
  if (metrics.length <= max) return
  throw new GatewayError('batch_too_large', `a batch may have at most ${max} metrics, not ${metrics.length}`, {
    details: { max },
  })
}

/**
 * Returns a function that decodes items with the decoder of REST, so that both APIs accept the same items. `onFirst` is
 * called with the point of the first item if it can be decoded; the point may still be rejected later.
 */
export function createPointDecoder(
  items: readonly PointItem[],
  context: GraphQLContext,
  onFirst: (tracked: TrackedPoint) => void = () => {},
): (sink: PointSink) => void {
  const limits = context.limits.points
  const nowMs = context.now()
  return (sink) => {
    for (const [index, item] of items.entries()) {
      const point = decodeFluxItem(item, index, sink, nowMs, limits)
      if (index > 0 || point === undefined) continue
      const pairs = readTags(item.tags, limits)
      const { name, type, value, timeMs } = point
      onFirst({ name, type, value, timeMs, tags: Array.isArray(pairs) ? canonicalTags(pairs) : [] })
    }
  }
}

async function track(
  items: readonly PointItem[],
  context: GraphQLContext,
  options: TrackOptions,
): Promise<{ readonly tracked: TrackedPoint | undefined; readonly rejected: readonly ItemError[] }> {
  let tracked: TrackedPoint | undefined
  const decode = createPointDecoder(items, context, (first) => {
    tracked = first
  })
  const rejected = await context.gateway.track(context.principal.project, decode, options)
  return { tracked, rejected }
}
