import { GatewayError, type ItemError } from '../model/errors.ts'
import type { PointSink } from '../model/point.ts'
import { readTags } from '../model/point.ts'
import { canonicalTags } from '../model/series.ts'
import { decodeFluxItem } from '../wire/flux.ts'
import { BatchResultRef } from './batch-result.ts'
import { builder } from './builder.ts'
import { type GraphQLContext, requireScope } from './context.ts'
import { MetricInputRef } from './metric-input.ts'
import { type Tracked, TrackedMetricRef } from './tracked-metric.ts'

builder.mutationFields((t) => ({
  trackMetric: t.field({
    type: TrackedMetricRef,
    nullable: true,
    description: 'Stores one point. It is durable, and in the answer of every query, when this returns.',
    args: { input: t.arg({ type: MetricInputRef, required: true, description: 'The point.' }) },
    resolve: async (_root, { input }, context) => {
      const { tracked, rejected } = await track([input], context)
      const [error] = rejected
      if (error !== undefined) throw new GatewayError(error.code, error.message)
      return tracked ?? null
    },
  }),
  trackMetrics: t.field({
    type: BatchResultRef,
    nullable: true,
    description:
      'Stores up to 500 points together. Points that cannot be stored are reported by index, the others are stored.',
    args: { metrics: t.arg({ type: [MetricInputRef], required: true, description: 'The points, at most 500.' }) },
    resolve: async (_root, { metrics }, context) => {
      const max = context.limits.batchItemsMax
      if (metrics.length > max) {
        throw new GatewayError('batch_too_large', `${metrics.length} items, at most ${max} are allowed`, {
          details: { max },
        })
      }
      const { rejected } = await track(metrics, context)
      return { items: metrics.length, rejected }
    },
  }),
}))

interface Item {
  readonly tags?: unknown
}

/** Items are judged by the code that serves REST: an item of one dialect is one of the other. */
async function track(
  items: readonly Item[],
  context: GraphQLContext,
): Promise<{ readonly tracked: Tracked | undefined; readonly rejected: readonly ItemError[] }> {
  requireScope(context, 'ingest')
  const limits = context.limits.points
  const nowMs = context.now()
  let tracked: Tracked | undefined
  const decode = (sink: PointSink): void => {
    for (let index = 0; index < items.length; index++) {
      const item = items[index]!
      const point = decodeFluxItem(item, index, sink, nowMs, limits)
      if (index > 0 || point === undefined) continue
      const pairs = readTags(item.tags, limits)
      tracked = { ...point, tags: Array.isArray(pairs) ? canonicalTags(pairs) : [] }
    }
  }
  const rejected = await context.gateway.track(context.principal.project, decode)
  return { tracked, rejected }
}
