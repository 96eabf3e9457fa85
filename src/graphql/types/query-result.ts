import type { QueryAnswer } from '../../query/compute/result.ts'
import { builder } from '../builder.ts'
import { GroupRef, groupSource } from './group.ts'
import { MetricRef } from './metric.ts'
import { QueryMetaRef } from './query-meta.ts'
import { SeriesRef, seriesSources } from './series.ts'

export const QueryResultRef = builder.objectRef<QueryAnswer>('QueryResult')

QueryResultRef.implement({
  description: 'The answer to a query, as chart lines (`series`) and as a tree to select from (`groups`).',
  fields: (t) => ({
    metric: t.field({ type: MetricRef, description: 'The metric asked.', resolve: (answer) => answer.metric }),
    from: t.field({
      type: 'DateTime',
      description: 'Start of the range, widened to a stored bucket.',
      resolve: (answer) => answer.fromMs,
    }),
    to: t.field({
      type: 'DateTime',
      description: 'End of the range, widened to a stored bucket; exclusive.',
      resolve: (answer) => answer.toMs,
    }),
    interval: t.field({
      type: 'Interval',
      description: 'Width of the buckets, also when "auto" chose it. Example: "5m".',
      resolve: (answer) => answer.interval,
    }),
    timezone: t.field({
      type: 'TimeZone',
      description: 'Whose days and weeks the buckets follow.',
      resolve: (answer) => answer.timezone,
    }),
    series: t.field({
      type: [SeriesRef],
      description: 'One line for each group and each of `aggregations` and `quantiles`.',
      resolve: seriesSources,
    }),
    groups: t.field({
      type: [GroupRef],
      description:
        'Sorted by tags, with `top` as they rank; one group without `groupBy` and `bySeries`. What is selected here is computed.',
      resolve: (answer) => answer.groups.map((group) => groupSource(answer, group)),
    }),
    meta: t.field({ type: QueryMetaRef, description: 'How the answer came about.', resolve: (answer) => answer.meta }),
  }),
})
