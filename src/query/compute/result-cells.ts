import { GatewayError } from '../../model/errors.ts'
import type { RequiredAccumulators } from '../aggregations.ts'
import type { PlannedPeriod } from '../plan/period.ts'
import { finestKeptResolutionMs, fittingInterval } from '../plan/plan.ts'
import type { QueryRequest } from '../plan/request.ts'
import type { Grouping } from '../plan/series-cache.ts'
import { Cells } from './cells.ts'
import { isGrouped } from './result-groups.ts'

/**
 * Creates the cells of a period. Adding a group throws `query_too_large` if `valuesMax` does not allow so many cells.
 */
export function createResultCells(
  request: QueryRequest,
  period: PlannedPeriod,
  { groups }: Grouping,
  accumulators: RequiredAccumulators,
  aggregationsMax: number,
  valuesMax: number,
): Cells {
  const { plan, timelines } = period
  const bucketCount = plan.edges.length - 1
  const valuesPerCell = aggregationsMax * (request.compare === undefined ? 1 : 2)
  const cellsMax = Math.floor(valuesMax / valuesPerCell)
  const cells = new Cells(groups.length, bucketCount, accumulators, (cellCount) => {
    if (cellCount <= cellsMax) return
    const suggestedInterval = fittingInterval(
      plan,
      request.zone,
      Math.floor(cellsMax / groups.length),
      finestKeptResolutionMs(plan, timelines),
    )
    const advice = suggestedInterval === undefined ? '' : `; an interval of ${suggestedInterval} would fit`
    throw new GatewayError(
      'query_too_large',
      `${groups.length} groups of ${bucketCount} buckets exceed ${valuesMax} result values${advice}`,
      {
        details: {
          valuesMax,
          groups: groups.length,
          buckets: bucketCount,
          ...(suggestedInterval !== undefined && { fits: suggestedInterval }),
        },
      },
    )
  })
  // A query without grouping returns its only group even if there is no data.
  if (!isGrouped(request) && groups.length > 0) cells.ensureCellsOf(0)
  return cells
}
