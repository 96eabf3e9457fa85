import { formatDuration } from '../../model/time.ts'
import type { QueryMeta } from '../../query/compute/result.ts'
import { builder } from '../builder.ts'

export const QueryMetaRef = builder.objectRef<QueryMeta>('QueryMeta').implement({
  description: 'How an answer came about.',
  fields: (t) => ({
    resolutions: t.field({
      type: ['Duration'],
      description: 'Widths of the stored buckets that were read, finest first. Example: ["10s", "1m"].',
      resolve: (meta) => meta.resolutionsMs.map(formatDuration),
    }),
    rollupsRead: t.float({
      description: 'Stored rollups merged into the answer.',
      resolve: (meta) => meta.rollupsRead,
    }),
    blocksRead: t.int({ description: 'Blocks of rollups that were looked at.', resolve: (meta) => meta.blocksRead }),
    cacheHits: t.int({ description: 'Those of them that were already decoded.', resolve: (meta) => meta.cacheHits }),
    exact: t.boolean({
      description:
        'False: counts have reached 2^53, where they stay; or some running totals came too late, or fell too often within a bucket, to be counted in full. What is counted may be too small, never too great.',
      resolve: (meta) => meta.isExact,
    }),
    bucketsUnavailable: t.int({
      description:
        'Buckets whose value is null because what is kept of that time is too coarse to fill them exactly (of the range, or of what it is compared with). Where there are any, totals are null and `top` ranks by the others.',
      resolve: (meta) => meta.bucketsUnavailable,
    }),
    cost: t.float({
      description:
        'Stored rollups the query was charged for before it read any; all queries of one request together have `viewer.limits.requestRollups`. Equal queries of one request share one charge.',
      resolve: (meta) => meta.cost,
    }),
    durationMs: t.float({ description: 'Time taken, in milliseconds.', resolve: (meta) => meta.durationMs }),
    now: t.field({
      type: 'DateTime',
      description: 'The clock of the gateway, by which buckets are complete.',
      resolve: (meta) => meta.nowMs,
    }),
  }),
})
