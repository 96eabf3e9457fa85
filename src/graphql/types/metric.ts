import { AGGREGATIONS } from '../../query/plan/aggregation.ts'
import type { TagValue } from '../../query/tag-values.ts'
import type { MetricRow } from '../../store/store.ts'
import { builder } from '../builder.ts'
import { type GraphQLContext, requireScope, takeQuery } from '../context.ts'
import { pageSize } from '../resolve/page-size.ts'
import { runQuery } from '../resolve/run-query.ts'
import { AggregationEnum } from './aggregation.ts'
import { MetricTypeEnum } from './metric-type.ts'
import { queryArguments } from './query-arguments.ts'
import { QueryResultRef } from './query-result.ts'

const TagValueRef = builder.objectRef<TagValue>('TagValue').implement({
  description: 'One value of a tag.',
  fields: (t) => ({
    value: t.exposeString('value', { description: 'Never empty. Example: "/users".' }),
    seriesCount: t.int({ description: 'Series of the metric that have it.', resolve: ({ series }) => series }),
  }),
})

export const MetricRef = builder.objectRef<MetricRow>('Metric')

builder.node(MetricRef, {
  description: 'A name under which points were tracked, with one type for life.',
  // A name belongs to one project, and the key says which.
  id: { resolve: (row) => row.name },
  brandLoadedObjects: true,
  loadWithoutCache: readMetric,
  fields: (t) => ({
    name: t.exposeString('name', { description: 'Unique within the project. Example: "api.response_time".' }),
    type: t.field({ type: MetricTypeEnum, description: 'What its points mean.', resolve: (row) => row.type }),
    unit: t.string({
      nullable: true,
      description: 'As sent with the first point; null when none was. Example: "ms".',
      resolve: (row) => row.unit,
    }),
    description: t.string({
      nullable: true,
      description: 'As sent with the first point; null when none was.',
      resolve: (row) => row.description,
    }),
    tagKeys: t.stringList({ description: 'Every tag key its points have had, sorted.', resolve: (row) => row.tagKeys }),
    firstSeen: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'Least time of a point; null while there is none.',
      resolve: (row) => row.firstSeenMs,
    }),
    lastSeen: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'Greatest time of a point; null while there is none.',
      resolve: (row) => row.lastSeenMs,
    }),
    dataPoints: t.float({ description: 'Points ever accepted.', resolve: (row) => row.points }),
    seriesCount: t.int({
      description: 'Different sets of tags its points have had.',
      resolve: (row) => row.seriesCount,
    }),
    aggregations: t.field({
      type: [AggregationEnum],
      description: 'The aggregations of its type. A type with percentiles has every other quantile too.',
      resolve: (row) => AGGREGATIONS.flatMap(({ name, types }) => (types.includes(row.type) ? [name] : [])),
    }),
    tagValues: t.field({
      type: [TagValueRef],
      nullable: true,
      description:
        'The values of one tag, those of the most series first, then by their text. Series without the tag do not count.',
      args: {
        key: t.arg.string({ required: true, description: 'A tag key. Example: "endpoint".' }),
        first: t.arg.int({ description: 'At most so many, up to 1,000. Default: 100.' }),
      },
      resolve: (row, { key, first }, context) => {
        requireScope(context, 'query')
        takeQuery(context)
        return context.gateway.tagValues(row, key, pageSize(first))
      },
    }),
    query: t.field({
      type: QueryResultRef,
      nullable: true,
      description: 'The same as `query` at the root, for this metric.',
      args: queryArguments,
      resolve: (row, args, context, info) => runQuery(row.name, args, context, info),
    }),
  }),
})

export async function readMetric(name: string, context: GraphQLContext): Promise<MetricRow | null> {
  requireScope(context, 'query')
  return (await context.gateway.metric(context.principal.project, name)) ?? null
}
