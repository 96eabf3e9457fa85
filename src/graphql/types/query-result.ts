import type { QueryResult } from '../../query/compute/result.ts'
import { builder } from '../builder.ts'
import { GroupRef, groupSource } from './group.ts'
import { MetricRef } from './metric.ts'
import { QueryMetaRef } from './query-meta.ts'
import { SeriesRef, seriesSourcesOf } from './series.ts'

export const QueryResultRef = builder.objectRef<QueryResult>('QueryResult').implement({
  description: 'The result of a query: as chart lines (`series`) and as objects (`groups`).',
  fields: (t) => ({
    metric: t.expose('metric', {
      type: MetricRef,
      description: 'The metric that was queried.',
    }),
    from: t.expose('fromMs', {
      type: 'DateTime',
      description: 'Start of the range, rounded down to a stored bucket.',
    }),
    to: t.expose('toMs', {
      type: 'DateTime',
      description: 'End of the range, exclusive, rounded up to a stored bucket.',
    }),
    interval: t.expose('interval', {
      type: 'Interval',
      description: 'Width of the buckets, also when "auto" chose it. Example: "5m".',
    }),
    timezone: t.expose('timezone', {
      type: 'TimeZone',
      description: 'Time zone of the buckets. Example: "Europe/Berlin".',
    }),
    series: t.field({
      type: [SeriesRef],
      description: 'Chart lines: one per group and aggregation of `aggregations` and `quantiles`.',
      resolve: seriesSourcesOf,
    }),
    groups: t.field({
      type: [GroupRef],
      description:
        'One per group, sorted by tags or by `top`; a single one without `groupBy` and `bySeries`. The fields selected below decide what is computed.',
      resolve: (result) => result.groups.map((group) => groupSource(result, group)),
    }),
    meta: t.expose('meta', {
      type: QueryMetaRef,
      description: 'How the result was computed.',
    }),
  }),
})
