import { AGGREGATIONS } from '../../query/aggregations.ts'
import type { TagValueCount } from '../../query/tag-values.ts'
import type { MetricRow } from '../../store/catalog.ts'
import { builder } from '../builder.ts'
import { type GraphQLContext, requireScopeAndTime } from '../context.ts'
import { chargeQueries } from '../operation-cost.ts'
import { pageSizeOf } from '../resolve/page-size.ts'
import { AggregationEnum } from './aggregation.ts'
import { MetricTypeEnum } from './metric-type.ts'

const TagValueRef = builder.objectRef<TagValueCount>('TagValue').implement({
  description: 'One value of a tag.',
  fields: (t) => ({
    value: t.exposeString('value', { description: 'Never empty. Example: "/users".' }),
    seriesCount: t.exposeInt('seriesCount', {
      description: 'How many series of the metric have this value.',
    }),
  }),
})

export const MetricRef = builder.objectRef<MetricRow>('Metric')

/** The GraphQL type `Metric`. `query.ts` adds its field `query`. */
builder.node(MetricRef, {
  description: 'A metric: a name whose points all have the same type.',
  // An API key belongs to one project, so the name alone identifies the metric.
  id: { resolve: (row) => row.name },
  brandLoadedObjects: true,
  loadWithoutCache: findMetric,
  fields: (t) => ({
    name: t.exposeString('name', { description: 'Unique within the project. Example: "api.response_time".' }),
    type: t.expose('type', { type: MetricTypeEnum, description: 'Type of its points.' }),
    unit: t.exposeString('unit', {
      nullable: true,
      description: 'Unit that was sent when the metric was created; null when none was. Example: "ms".',
    }),
    description: t.exposeString('description', {
      nullable: true,
      description: 'Description that was sent when the metric was created; null when none was.',
    }),
    tagKeys: t.exposeStringList('tagKeys', { description: 'All tag keys of its points, sorted.' }),
    firstSeen: t.expose('firstSeenMs', {
      type: 'DateTime',
      nullable: true,
      description: 'Earliest timestamp of a point; null when there are no points.',
    }),
    lastSeen: t.expose('lastSeenMs', {
      type: 'DateTime',
      nullable: true,
      description: 'Latest timestamp of a point; null when there are no points.',
    }),
    dataPoints: t.exposeFloat('points', { description: 'Points accepted so far.' }),
    seriesCount: t.exposeInt('seriesCount', {
      description: 'Number of series: distinct sets of tags.',
    }),
    aggregations: t.field({
      type: [AggregationEnum],
      description: 'Aggregations that its type supports. A type with percentiles supports any quantile.',
      resolve: (row) => AGGREGATIONS.flatMap(({ name, types }) => (types.includes(row.type) ? [name] : [])),
    }),
    tagValues: t.field({
      type: [TagValueRef],
      nullable: true,
      description: 'Values of one tag, sorted by number of series, then by text.',
      args: {
        key: t.arg.string({ required: true, description: 'A tag key. Example: "endpoint".' }),
        first: t.arg.int({ description: 'How many values, at most 1,000. Default: 100.' }),
      },
      resolve: (row, { key, first }, context) => {
        requireScopeAndTime(context, 'query')
        chargeQueries(context)
        return context.gateway.tagValues(row, key, pageSizeOf(first))
      },
    }),
  }),
})

export async function findMetric(name: string, context: GraphQLContext): Promise<MetricRow | null> {
  requireScopeAndTime(context, 'query')
  return (await context.gateway.metric(context.principal.project, name)) ?? null
}
