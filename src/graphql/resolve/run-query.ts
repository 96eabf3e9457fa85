import type { GraphQLResolveInfo } from 'graphql'
import { parseInstant } from '../../model/time.ts'
import type { QueryAnswer } from '../../query/compute/result.ts'
import { type GraphQLContext, requireScope, sessionOf, takeQuery } from '../context.ts'
import { type QueryArguments, toQueryInput } from '../types/query-arguments.ts'
import { selectedAggregations, selectsTotals } from './look-ahead.ts'

/** What `query` runs, at the root and on a metric. */
export async function runQuery(
  metric: string,
  args: QueryArguments,
  context: GraphQLContext,
  info: GraphQLResolveInfo,
): Promise<QueryAnswer> {
  requireScope(context, 'query')
  const input = { ...toQueryInput(metric, args, selectedAggregations(info)), totals: selectsTotals(info) }
  takeQuery(context)
  const answer = await context.gateway.query(context.principal.project, input, sessionOf(context, info))
  if (!isClosed(answer, args)) context.openRanges.count++
  return answer
}

/** Whether the same question is about the same range of the past whenever it is asked. */
function isClosed({ toMs, meta }: QueryAnswer, { from, to }: QueryArguments): boolean {
  return toMs <= meta.nowMs && parseInstant(from) !== undefined && parseInstant(to) !== undefined
}
