import type { Plan } from '../plan/plan.ts'
import type { QueryRequest } from '../plan/request.ts'
import { type Comparison, withComparison } from './compare.ts'
import { compareTags, type Evaluation, emptyGroup } from './evaluate.ts'
import type { ResultGroup } from './result.ts'

/** Joins the groups of a range and of the earlier period that it is compared with. */

export interface EvaluatedPeriod {
  readonly evaluation: Evaluation
  readonly groups: ReadonlyMap<number, ResultGroup>
}

/**
 * Adds to each period the groups that only the other one has, without data: a fill with `previous` then searches the
 * last values before both.
 */
export function withGroupsOfBoth(periods: readonly EvaluatedPeriod[]): EvaluatedPeriod[] {
  const indexes = new Set(periods.flatMap(({ groups }) => [...groups.keys()]))
  return periods.map(({ evaluation, groups }) => ({
    evaluation,
    groups: new Map(Array.from(indexes, (index) => [index, groups.get(index) ?? emptyGroup(evaluation, index)])),
  }))
}

/**
 * Returns the groups of the result, sorted by rank or by tags. Both periods must have the same groups. If the query
 * groups its series, only groups with data in either period are returned.
 */
export function resultGroups(
  request: QueryRequest,
  { evaluation, groups }: EvaluatedPeriod,
  earlier: EvaluatedPeriod | undefined,
  comparison: Comparison | undefined,
): readonly ResultGroup[] {
  const result: ResultGroup[] = []
  for (const [index, mainGroup] of [...groups].sort(([a], [b]) => a - b)) {
    if (comparison === undefined) result.push(mainGroup)
    else {
      const earlierGroup = earlier?.groups.get(index) ?? emptyGroup(evaluation, index)
      result.push(withComparison(mainGroup, earlierGroup, comparison))
    }
  }
  const shownGroups = isGrouped(request)
    ? result.filter((group) => hasData(group) || hasData(group.comparison))
    : result
  return request.top === undefined ? shownGroups.sort((a, b) => compareTags(a.tags, b.tags)) : shownGroups
}

export function isGrouped({ groupBy, bySeries }: QueryRequest): boolean {
  return groupBy.length > 0 || bySeries
}

function hasData(group: ResultGroup | undefined): boolean {
  return group?.bucketStates.includes(1) ?? false
}

/** Returns the number of buckets that are unavailable, or whose counterpart is. */
export function countUnavailableBuckets(
  current: Plan,
  earlier: Plan | undefined,
  comparison: Comparison | undefined,
): number {
  if (earlier === undefined || comparison === undefined) return current.unavailableCount
  return comparison.counterpartOf.reduce(
    (count, bucket, i) =>
      count + (current.unavailableBuckets[i] === 1 || earlier.unavailableBuckets[bucket] === 1 ? 1 : 0),
    0,
  )
}
