import { createHash } from 'node:crypto'
import type { TrackOptions } from '../gateway.ts'
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

const KEY_DESCRIPTION =
  'The same key within 24 h counts once and gets the first answer again; with other input it is an IDEMPOTENCY_CONFLICT. 1 to 255 visible ASCII characters.'

builder.mutationFields((t) => ({
  trackMetric: t.field({
    type: TrackedMetricRef,
    nullable: true,
    description: 'Stores one point. It is durable, and in the answer of every query, when this returns.',
    args: {
      input: t.arg({ type: MetricInputRef, required: true, description: 'The point.' }),
      idempotencyKey: t.arg.id({ description: KEY_DESCRIPTION }),
    },
    resolve: (_root, { input, idempotencyKey }, context) =>
      once('trackMetric', input, idempotencyKey, context, async (options) => {
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
      'Stores up to 500 points together. Points that cannot be stored are reported by index, the others are stored.',
    args: {
      metrics: t.arg({ type: [MetricInputRef], required: true, description: 'The points, at most 500.' }),
      idempotencyKey: t.arg.id({ description: KEY_DESCRIPTION }),
    },
    resolve: (_root, { metrics, idempotencyKey }, context) =>
      once('trackMetrics', metrics, idempotencyKey, context, async (options) => {
        const max = context.limits.batchItemsMax
        if (metrics.length > max) {
          throw new GatewayError('batch_too_large', `${metrics.length} items, at most ${max} are allowed`, {
            details: { max },
          })
        }
        const { rejected } = await track(metrics, context, options)
        return { items: metrics.length, rejected }
      }),
  }),
}))

/**
 * What a field answers, with a key once. The same is what has the same field and the same input; the answer is kept as the
 * value that the field resolves to, so that a retry may select other fields of it.
 */
async function once<T>(
  field: string,
  input: unknown,
  idempotencyKey: string | null | undefined,
  context: GraphQLContext,
  serve: (options: TrackOptions) => Promise<T>,
): Promise<T> {
  requireScope(context, 'ingest')
  if (idempotencyKey === undefined || idempotencyKey === null) return serve({})
  const requestHash = createHash('sha256')
    .update(`${field}\n${JSON.stringify(input)}`)
    .digest('hex')
  const { body } = await context.gateway.once(
    context.principal.project,
    { key: idempotencyKey, requestHash },
    async () => ({ status: 200, body: JSON.stringify(await serve({ idempotencyKey })) }),
  )
  // What an equal request has been answered with: the hash says so.
  const answered: T = JSON.parse(body)
  return answered
}

interface Item {
  readonly tags?: unknown
}

/** Items are judged by the code that serves REST: an item of one dialect is one of the other. */
async function track(
  items: readonly Item[],
  context: GraphQLContext,
  options: TrackOptions,
): Promise<{ readonly tracked: Tracked | undefined; readonly rejected: readonly ItemError[] }> {
  const limits = context.limits.points
  const nowMs = context.now()
  let tracked: Tracked | undefined
  const decode = (sink: PointSink): void => {
    for (let index = 0; index < items.length; index++) {
      const item = items[index]!
      const point = decodeFluxItem(item, index, sink, nowMs, limits)
      if (index > 0 || point === undefined) continue
      const pairs = readTags(item.tags, limits)
      const { name, type, value, timeMs } = point
      tracked = { name, type, value, timeMs, tags: Array.isArray(pairs) ? canonicalTags(pairs) : [] }
    }
  }
  const rejected = await context.gateway.track(context.principal.project, decode, options)
  return { tracked, rejected }
}
