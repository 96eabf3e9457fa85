import type { InputShapeFromFields } from '@pothos/core'
import type { GraphQLResolveInfo } from 'graphql'
import { describeValue } from '../../model/point.ts'
import type { QueryInput } from '../../query/plan/request.ts'
import { builder } from '../builder.ts'
import { type GraphQLContext, requireScopeAndTime } from '../context.ts'
import { chargeQueries } from '../operation-cost.ts'
import { selectedAggregations, selectsTotals } from '../resolve/selected-aggregations.ts'
import { withoutNullArguments } from '../resolve/without-nulls.ts'
import { AggregationEnum } from './aggregation.ts'
import { CompareInputRef } from './compare-input.ts'
import { FillEnum } from './fill.ts'
import { parseTagSelector, TagFilterRef } from './tag-filter.ts'
import { TopInputRef } from './top-input.ts'

/** The arguments of `query` and `live`, without the name of the metric. */
export const queryArguments = builder.args((t) => ({
  from: t.field({
    type: 'DateTime',
    description: 'Start, inclusive. Default: 24 hours before the end. Example: "-6h".',
  }),
  to: t.field({ type: 'DateTime', description: 'End, inclusive. Default: now. Example: "2024-01-15T12:00:00Z".' }),
  last: t.field({
    type: 'Duration',
    description: 'Length of the range that ends at `to`; use it instead of `from`. Example: "6h".',
  }),
  interval: t.field({ type: 'Interval', description: 'Width of a bucket. Default: "auto". Example: "5m".' }),
  timezone: t.field({
    type: 'TimeZone',
    description:
      'Time zone of the buckets, and of `from` and `to` without an offset. Default: "UTC". Example: "Europe/Berlin".',
  }),
  aggregations: t.field({
    type: [AggregationEnum],
    description: 'Lines of `series`, in this order. Default: one, which depends on the type. Example: [P50, P95, P99].',
  }),
  quantiles: t.floatList({
    description: 'More lines: quantiles from 0 to 1, for types with percentiles. Example: [0.999].',
  }),
  tags: t.field({
    type: 'TagSelector',
    description: 'Reads only series with these tags. Default: all. Example: {endpoint: "/users"}.',
  }),
  where: t.field({
    type: [TagFilterRef],
    description:
      'More conditions on tags; all must match. Example: [{key: "endpoint", glob: "/api/*"}, {key: "status", notIn: ["200", "204"]}].',
  }),
  groupBy: t.stringList({
    description: 'Tag keys; each combination of their values is a group. Example: ["endpoint"].',
  }),
  bySeries: t.boolean({ description: 'Makes each series a group; use it instead of `groupBy`. Default: false.' }),
  top: t.field({
    type: TopInputRef,
    description: 'Returns only the highest-ranked groups. Default: all. Example: {n: 5, by: P95, other: true}.',
  }),
  compare: t.field({
    type: CompareInputRef,
    description: 'An earlier range to compare with. Example: {offset: "1w"}.',
  }),
  fill: t.field({ type: FillEnum, description: 'How empty buckets are returned. Default: NONE.' }),
}))

export type QueryArguments = InputShapeFromFields<typeof queryArguments>

/**
 * Builds the query of a field from its arguments and selected subfields, and takes one query from the budget of the
 * request. Throws `forbidden`, `query_too_large`, `invalid_tags` or `invalid_aggregation`.
 */
export function queryInputOf(
  metric: string,
  args: QueryArguments,
  context: GraphQLContext,
  info: GraphQLResolveInfo,
): QueryInput {
  requireScopeAndTime(context, 'query')
  const { from, to, tags, where, top, compare, ...others } = withoutNullArguments(args)
  const input: QueryInput = {
    metric,
    ...others,
    ...(from !== undefined && { from: toInstantInput(from) }),
    ...(to !== undefined && { to: toInstantInput(to) }),
    ...(tags !== undefined && { tags: parseTagSelector(tags) }),
    ...(where !== undefined && { where: where.map(withoutNullArguments) }),
    ...(top !== undefined && { top: withoutNullArguments(top) }),
    ...(compare !== undefined && { compare: withoutNullArguments(compare) }),
    optionalAggregations: selectedAggregations(info),
    totals: selectsTotals(info),
  }
  chargeQueries(context)
  return input
}

/** `DateTime` accepts any JSON. A bigint (nanoseconds) becomes its digits; lists and objects become a short text. */
function toInstantInput(value: unknown): unknown {
  if (typeof value === 'bigint') return String(value)
  return typeof value === 'object' ? describeValue(value) : value
}
