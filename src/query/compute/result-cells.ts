import { GatewayError } from '../../model/errors.ts'
import type { RequiredAccumulators } from '../aggregations.ts'
import type { PlannedPeriod } from '../plan/period.ts'
import type { QueryRequest } from '../plan/request.ts'
import type { Grouping } from '../plan/series-cache.ts'
import { Cells } from './cells.ts'
import { isGrouped } from './result-groups.ts'

/**
 * Creates the cells of a period. Adding a group throws `query_too_large` if `valuesMax` does not allow so many cells.
 * The error names the interval that `suggestInterval` returns for a maximum number of buckets.
 */
export function createResultCells(
  request: QueryRequest,
  { plan }: PlannedPeriod,
  { groups }: Grouping,
  accumulators: RequiredAccumulators,
  aggregationsMax: number,
  valuesMax: number,
  suggestInterval: (bucketsMax: number) => string | undefined,
): Cells {
  const bucketCount = plan.edges.length - 1
  const valuesPerCell = aggregationsMax * (request.compare === undefined ? 1 : 2)
  const cellsMax = Math.floor(valuesMax / valuesPerCell)
  const cells = new Cells(groups.length, bucketCount, accumulators, (cellCount) => {
    if (cellCount <= cellsMax) return
    const suggestedInterval = suggestInterval(Math.floor(cellsMax / groups.length))
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
