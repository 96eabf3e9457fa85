import { GatewayError } from '../model/errors.ts'
import { type FixedOrCalendar, formatInterval } from '../model/interval.ts'
import { planComparison } from './compute/compare.ts'
import { fittingInterval } from './plan/fitting-interval.ts'
import { blocksForReads, countRollups, type PlannedPeriod } from './plan/period.ts'
import { intervalsOfWidth, type Plan, type PlanRequest, planGivenBuckets, planRange } from './plan/plan.ts'
import type { QueryRequest } from './plan/request.ts'
import type { SeriesIdRange } from './plan/series-cache.ts'

/** A query that is planned, and what it may read and return. */
export interface PlannedRequest extends QueryRequest, Pick<PlanRequest, 'retentionSetting'> {
  /** Maximum number of buckets in one period of the result. */
  readonly bucketsMax: number
  /** The period of the query, and the earlier one if it has one. */
  readonly periods: readonly PlannedPeriod[]
  readonly idRange: SeriesIdRange | undefined
  /** Maximum number of rollups that the query may read from timelines. */
  readonly rollupsMax: number
}

/** Returns the finest resolution that is accepted as the interval of the query. Undefined if there is none. */
export function suggestResolution(planned: PlannedRequest): string | undefined {
  const intervals = planned.periods[0]!.timelines.flatMap(({ resolutionMs }) => intervalsOfWidth(resolutionMs))
  const interval = intervals.find((candidate) => isAccepted(planned, candidate))
  return interval && formatInterval(interval)
}

/** Returns a round interval with which the query has few enough buckets and is accepted. Undefined if there is none. */
export function suggestInterval(planned: PlannedRequest): string | undefined {
  const { periods, zone, bucketsMax } = planned
  return fittingInterval(periods[0]!.plan, zone, bucketsMax, (candidate) => isAccepted(planned, candidate))
}

/** Whether the query, asked again with this interval, has no unavailable buckets and reads few enough rollups. */
function isAccepted(planned: PlannedRequest, interval: FixedOrCalendar): boolean {
  const plans = completePlans(planned, interval)
  if (plans === undefined) return false
  let rollupCount = 0
  for (const [i, { reads }] of plans.entries()) {
    const { timelines, timelineEntries, lookbackReads } = planned.periods[i]!
    const resolutionsMs = timelines.map(({ resolutionMs }) => resolutionMs)
    rollupCount += countRollups(
      blocksForReads(timelineEntries, resolutionsMs, [...lookbackReads, ...reads], planned.idRange),
    )
  }
  return rollupCount <= planned.rollupsMax
}

/**
 * Plans each period with another interval. Undefined if a plan has unavailable buckets, if planning throws a
 * `GatewayError`, or if the index of a period was not read.
 */
function completePlans(planned: PlannedRequest, interval: FixedOrCalendar): readonly Plan[] | undefined {
  const { periods, compare, zone, retentionSetting } = planned
  const [current, earlier] = periods
  try {
    const plans = [planRange({ ...planned, interval, timelines: current!.timelines })]
    const comparison = compare && planComparison(compare, planned, plans[0]!)
    if (comparison !== undefined && comparison.edges.length > 0) {
      if (earlier === undefined) return undefined
      const { timelines } = earlier
      plans.push(planGivenBuckets({ ...comparison, zone, interval, timelines, retentionSetting }, comparison.edges))
    }
    return plans.every(({ unavailableCount }) => unavailableCount === 0) ? plans : undefined
  } catch (error) {
    if (error instanceof GatewayError) return undefined
    throw error
  }
}
