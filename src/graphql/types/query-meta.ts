import { formatDuration } from '../../model/time.ts'
import type { QueryMeta } from '../../query/compute/result.ts'
import { builder } from '../builder.ts'

export const QueryMetaRef = builder.objectRef<QueryMeta>('QueryMeta').implement({
  description: 'How a result was computed.',
  fields: (t) => ({
    resolutions: t.field({
      type: ['Duration'],
      description: 'Resolutions that were read, finest first. Example: ["10s", "1m"].',
      resolve: (meta) => meta.resolutionsMs.map(formatDuration),
    }),
    rollupsRead: t.exposeFloat('rollupsRead', {
      description: 'Stored rollups that were merged into the result.',
    }),
    blocksRead: t.exposeInt('blocksRead', { description: 'Blocks that were read.' }),
    cacheHits: t.exposeInt('cacheHits', { description: 'Blocks that were in the cache.' }),
    exact: t.exposeBoolean('isExact', {
      description:
        'False when counts may be too low: a count reached its maximum (2^53), or running totals arrived too late, were reset too often within a bucket or have partly expired.',
    }),
    bucketsUnavailable: t.exposeInt('bucketsUnavailable', {
      description:
        'Buckets (also of `compare`) that are null because the stored data is too coarse to fill them exactly. When there are any, totals are null and `top` ranks by the other buckets.',
    }),
    cost: t.exposeFloat('cost', {
      description:
        'Stored rollups charged to the request before reading; `viewer.limits.requestRollups` limits their sum. Equal queries of one request are charged once.',
    }),
    durationMs: t.exposeFloat('durationMs', { description: 'Duration of the query in milliseconds.' }),
    now: t.expose('nowMs', {
      type: 'DateTime',
      description: 'Gateway time of the query. A bucket is complete when it ended before it.',
    }),
  }),
})
