import type { InputShapeFromFields } from '@pothos/core'
import { describe } from '../../model/point.ts'
import type { Aggregation } from '../../query/plan/aggregation.ts'
import type { CompareInput, QueryInput, TopInput } from '../../query/plan/request.ts'
import { builder } from '../builder.ts'
import { AggregationEnum } from './aggregation.ts'
import { CompareInputRef } from './compare-input.ts'
import { FillEnum } from './fill.ts'
import { readTagFilter, readTagSelector, TagFilterRef } from './tag-filter.ts'
import { TopInputRef } from './top-input.ts'

/** The arguments of a query but for the name of its metric. */
export const queryArguments = builder.args((t) => ({
  from: t.field({
    type: 'DateTime',
    description: 'Start, inclusive. Default: 24 hours before the end. Example: "-6h".',
  }),
  to: t.field({ type: 'DateTime', description: 'End, inclusive. Default: now. Example: "2024-01-15T12:00:00Z".' }),
  last: t.field({
    type: 'Duration',
    description: 'Length of the range up to `to`, in place of `from`. Example: "6h".',
  }),
  interval: t.field({ type: 'Interval', description: 'Width of a bucket. Default: "auto". Example: "5m".' }),
  timezone: t.field({
    type: 'TimeZone',
    description:
      'Whose days and weeks the buckets follow, and whose clock `from` and `to` are read by when they carry no offset. Default: "UTC".',
  }),
  aggregations: t.field({
    type: [AggregationEnum],
    description: 'The lines of `series`, in this order. Default: that of the type. Example: [P50, P95, P99].',
  }),
  quantiles: t.floatList({
    description: 'Further lines: quantiles from 0 to 1, for a DISTRIBUTION. Example: [0.999].',
  }),
  tags: t.field({
    type: 'TagSelector',
    description: 'Which series to read. Default: all. Example: {endpoint: "/users"}.',
  }),
  where: t.field({
    type: [TagFilterRef],
    description:
      'Conditions on tags that all must hold, beside `tags`. Example: [{key: "endpoint", glob: "/api/*"}, {key: "status", notIn: ["200", "204"]}].',
  }),
  groupBy: t.stringList({ description: 'Tag keys; one group for each combination of values. Example: ["endpoint"].' }),
  bySeries: t.boolean({ description: 'One group for each series, in place of `groupBy`. Default: false.' }),
  top: t.field({
    type: TopInputRef,
    description: 'Only the first groups. Default: all, by their tags. Example: {n: 5, by: P95, other: true}.',
  }),
  compare: t.field({
    type: CompareInputRef,
    description: 'Another range to hold the answer against. Example: {offset: "1w"}.',
  }),
  fill: t.field({ type: FillEnum, description: 'What becomes of empty buckets. Default: NONE.' }),
}))

export type QueryArguments = InputShapeFromFields<typeof queryArguments>

/** Null means absent, as everywhere in GraphQL. */
export function toQueryInput(
  metric: string,
  args: QueryArguments,
  optionalAggregations: readonly Aggregation[],
): QueryInput {
  return {
    metric,
    ...(args.from != null && { from: instantArgument(args.from) }),
    ...(args.to != null && { to: instantArgument(args.to) }),
    ...(args.last != null && { last: args.last }),
    ...(args.interval != null && { interval: args.interval }),
    ...(args.timezone != null && { timezone: args.timezone }),
    ...(args.aggregations != null && { aggregations: args.aggregations }),
    ...(args.quantiles != null && { quantiles: args.quantiles }),
    ...(args.tags != null && { tags: readTagSelector(args.tags) }),
    ...(args.where != null && { where: args.where.map(readTagFilter) }),
    ...(args.groupBy != null && { groupBy: args.groupBy }),
    ...(args.bySeries != null && { bySeries: args.bySeries }),
    ...(args.top != null && { top: readTop(args.top) }),
    ...(args.compare != null && { compare: readCompare(args.compare) }),
    ...(args.fill != null && { fill: args.fill }),
    optionalAggregations,
  }
}

/**
 * An input of `DateTime` is any JSON: nanoseconds beyond 2^53, a bigint, become their digits, and what is a list or an object its
 * description, so that inputs of queries are small and plain.
 */
function instantArgument(value: unknown): unknown {
  if (typeof value === 'bigint') return String(value)
  return typeof value === 'object' ? describe(value) : value
}

function readTop({ n, by, direction, other }: typeof TopInputRef.$inferInput): TopInput {
  return {
    n,
    ...(by != null && { by }),
    ...(direction != null && { direction }),
    ...(other != null && { other }),
  }
}

function readCompare({ previousPeriod, offset }: typeof CompareInputRef.$inferInput): CompareInput {
  return {
    ...(previousPeriod != null && { previousPeriod }),
    ...(offset != null && { offset }),
  }
}
