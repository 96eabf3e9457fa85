import { rollupKindOf } from '../../model/metric.ts'
import type { MetricRow } from '../../store/catalog.ts'
import type { Store } from '../../store/store.ts'
import type { PlannedRead } from '../plan/plan.ts'
import type { SeriesList } from '../plan/series-cache.ts'
import type { Cells } from './cells.ts'
import { countDistinct, type DistinctCounts } from './distinct.ts'
import { NO_LIMITS, seriesLimitsOf } from './limit-counts.ts'
import { type CellMergeInput, mergeFirstAndLast, mergeRunningTotals, mergeUnordered } from './merge.ts'

/**
 * The opened blocks of a period (`sources`). Each source has, for every series in it, the position of the series in
 * `list` (its ordinal).
 */
export interface PeriodSources {
  readonly metric: MetricRow
  readonly list: SeriesList
  readonly resolutionsMs: readonly number[]
  readonly sources: CellMergeInput['sources']
  readonly lookbackReads: readonly PlannedRead[]
}

/** Merges opened blocks into cells. For a set metric, also returns the number of distinct members of each cell. */
export async function accumulate(
  store: Store,
  { metric, list, resolutionsMs, sources, lookbackReads }: PeriodSources,
  { plan, groupOfSeries, accumulators }: Pick<CellMergeInput, 'plan' | 'groupOfSeries' | 'accumulators'>,
  cells: Cells,
  wantTotals: boolean,
): Promise<DistinctCounts | undefined> {
  const seriesLimits =
    metric.type === 'histogram' ? seriesLimitsOf(list.rows, groupOfSeries, accumulators.limitCounts) : NO_LIMITS
  const input: CellMergeInput = { plan, resolutionsMs, sources, groupOfSeries, seriesLimits, accumulators }
  const kind = rollupKindOf(metric.type)
  if (kind === 'set') return countDistinct(store, metric, list, input, cells, wantTotals)
  mergeUnordered(input, cells)
  if (kind === 'gauge' && accumulators.firstAndLast) mergeFirstAndLast(input, cells)
  if (kind === 'counter' && sources.some(({ section }) => section.hasTotals))
    mergeRunningTotals(input, lookbackReads, cells)
  return undefined
}
