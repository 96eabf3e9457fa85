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
    rollupsRead: t.float({
      description: 'Stored rollups that were merged into the result.',
      resolve: (meta) => meta.rollupsRead,
    }),
    blocksRead: t.int({ description: 'Blocks that were read.', resolve: (meta) => meta.blocksRead }),
    cacheHits: t.int({ description: 'Blocks that were in the cache.', resolve: (meta) => meta.cacheHits }),
    exact: t.boolean({
      description:
        'False when counts may be too low: a count reached its maximum (2^53), or running totals arrived too late or were reset too often within a bucket.',
      resolve: (meta) => meta.isExact,
    }),
    bucketsUnavailable: t.int({
      description:
        'Buckets (also of `compare`) that are null because the stored data is too coarse to fill them exactly. When there are any, totals are null and `top` ranks by the other buckets.',
      resolve: (meta) => meta.bucketsUnavailable,
    }),
    cost: t.float({
      description:
        'Stored rollups charged to the request before reading; `viewer.limits.requestRollups` limits their sum. Equal queries of one request are charged once.',
      resolve: (meta) => meta.cost,
    }),
    durationMs: t.float({ description: 'Duration of the query in milliseconds.', resolve: (meta) => meta.durationMs }),
    now: t.field({
      type: 'DateTime',
      description: 'Gateway time of the query. A bucket is complete when it ended before it.',
      resolve: (meta) => meta.nowMs,
    }),
  }),
})
