import { GatewayError } from '../../model/errors.ts'
import { validateListCursor } from '../../model/metric.ts'
import type { MetricRow } from '../../store/catalog.ts'
import { builder } from '../builder.ts'
import { requireScopeAndTime } from '../context.ts'
import { chargeQueries, FILTERED_LISTING_COST } from '../operation-cost.ts'
import { pageSizeOf } from '../resolve/page-size.ts'
import { withoutNullArguments } from '../resolve/without-nulls.ts'
import { findMetric, MetricRef } from './metric.ts'
import { MetricTypeEnum } from './metric-type.ts'

const MetricConnectionRef = builder.connectionObject(
  { type: MetricRef, name: 'MetricConnection', description: 'A page of metrics, sorted by name.' },
  { name: 'MetricEdge', description: 'A metric and its cursor.' },
)

builder.queryFields((t) => ({
  metric: t.field({
    type: MetricRef,
    nullable: true,
    description: 'The metric with this name; null when there is none.',
    args: { name: t.arg.string({ required: true, description: 'Example: "api.response_time".' }) },
    resolve: (_root, { name }, context) => findMetric(name, context),
  }),
  metrics: t.field({
    type: MetricConnectionRef,
    nullable: true,
    description: 'The metrics of the project, sorted by name.',
    args: {
      first: t.arg.int({ description: 'Length of the page, at most 1,000. Default: 100.' }),
      after: t.arg.string({ description: 'Cursor: `endCursor` of the previous page.' }),
      search: t.arg.string({ description: 'Only names that contain this text, ignoring case. Example: "latency".' }),
      type: t.arg({ type: MetricTypeEnum, description: 'Only metrics of this type.' }),
    },
    resolve: async (_root, args, context) => {
      requireScopeAndTime(context, 'query')
      const { first: requested, after, ...filter } = withoutNullArguments(args)
      chargeQueries(context, Object.keys(filter).length > 0 ? FILTERED_LISTING_COST : 1)
      const first = pageSizeOf(requested)
      const rows = await context.gateway.metrics(context.principal.project, {
        limit: first + 1,
        ...(after !== undefined && { after: decodeCursor(after) }),
        ...filter,
      })
      return metricPage(rows, first, after !== undefined)
    },
  }),
}))

/** Encodes a cursor. It holds a name, so pages stay correct while metrics are added and deleted. */
function encodeCursor(name: string): string {
  return Buffer.from(`name:${name}`).toString('base64url')
}

/** Throws `invalid_range`. */
function decodeCursor(cursor: string): string {
  const text = Buffer.from(cursor, 'base64url').toString()
  if (text.startsWith('name:')) return validateListCursor(text.slice('name:'.length))
  throw new GatewayError('invalid_range', 'after is not a cursor of this list')
}

/** Makes a page of at most `first` metrics. If `rows` has more than `first` rows, another page follows. */
function metricPage(rows: readonly MetricRow[], first: number, hasPreviousPage: boolean) {
  const edges = rows.slice(0, first).map((row) => ({ cursor: encodeCursor(row.name), node: row }))
  return {
    edges,
    pageInfo: {
      hasNextPage: rows.length > first,
      hasPreviousPage,
      startCursor: edges[0]?.cursor ?? null,
      endCursor: edges.at(-1)?.cursor ?? null,
    },
  }
}
