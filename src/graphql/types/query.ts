import { builder } from '../builder.ts'
import { requireScope, takeQuery } from '../context.ts'
import { pageSize } from '../resolve/page-size.ts'
import { runQuery } from '../resolve/run-query.ts'
import { MetricRef, readMetric } from './metric.ts'
import { decodeCursor, MetricConnectionRef, metricPage } from './metric-connection.ts'
import { MetricTypeEnum } from './metric-type.ts'
import { queryArguments } from './query-arguments.ts'
import { QueryResultRef } from './query-result.ts'

const FILTERED_LISTING_COST = 5

builder.queryFields((t) => ({
  metric: t.field({
    type: MetricRef,
    nullable: true,
    description: 'The metric of this name; null when there is none.',
    args: { name: t.arg.string({ required: true, description: 'Example: "api.response_time".' }) },
    resolve: (_root, { name }, context) => readMetric(name, context),
  }),
  metrics: t.field({
    type: MetricConnectionRef,
    nullable: true,
    description: 'The metrics of the project, sorted by name, a page at a time.',
    args: {
      first: t.arg.int({ description: 'Length of the page, at most 1,000. Default: 100.' }),
      after: t.arg.string({ description: 'Cursor of the item before the page: `endCursor` of the page before.' }),
      search: t.arg.string({ description: 'Only names that contain this text, in any case. Example: "latency".' }),
      type: t.arg({ type: MetricTypeEnum, description: 'Only metrics of this type.' }),
    },
    resolve: async (_root, args, context) => {
      requireScope(context, 'query')
      // A filter is held against every name of the project.
      const isFiltered = args.search != null || args.type != null
      takeQuery(context, isFiltered ? FILTERED_LISTING_COST : 1)
      const first = pageSize(args.first)
      const rows = await context.gateway.metrics(context.principal.project, {
        limit: first + 1,
        ...(args.after != null && { after: decodeCursor(args.after) }),
        ...(args.search != null && { search: args.search }),
        ...(args.type != null && { type: args.type }),
      })
      return metricPage(rows, first, args.after != null)
    },
  }),
  query: t.field({
    type: QueryResultRef,
    nullable: true,
    description: 'Aggregations of one metric over a range of time, in buckets.',
    args: {
      metric: t.arg.string({ required: true, description: 'Name of the metric. Example: "api.response_time".' }),
      ...queryArguments,
    },
    resolve: (_root, args, context, info) => runQuery(args.metric, args, context, info),
  }),
}))
