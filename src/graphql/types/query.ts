import type { GraphQLResolveInfo } from 'graphql'
import type { QueryResult } from '../../query/compute/result.ts'
import { builder } from '../builder.ts'
import { type GraphQLContext, querySessionOf } from '../context.ts'
import { MetricRef } from './metric.ts'
import { type QueryArguments, queryArguments, queryInputOf } from './query-arguments.ts'
import { QueryResultRef } from './query-result.ts'

builder.queryField('query', (t) =>
  t.field({
    type: QueryResultRef,
    nullable: true,
    description: 'Aggregates one metric over a time range, in buckets.',
    args: {
      metric: t.arg.string({ required: true, description: 'Name of the metric. Example: "api.response_time".' }),
      ...queryArguments,
    },
    resolve: (_root, args, context, info) => runQuery(args.metric, args, context, info),
  }),
)

builder.objectField(MetricRef, 'query', (t) =>
  t.field({
    type: QueryResultRef,
    nullable: true,
    description: 'The same as `query` of the root, for this metric.',
    args: queryArguments,
    resolve: (row, args, context, info) => runQuery(row.name, args, context, info),
  }),
)

function runQuery(
  metric: string,
  args: QueryArguments,
  context: GraphQLContext,
  info: GraphQLResolveInfo,
): Promise<QueryResult> {
  const input = queryInputOf(metric, args, context, info)
  return context.gateway.query(context.principal.project, input, querySessionOf(context, info))
}
