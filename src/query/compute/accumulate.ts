import { rollupKindOf } from '../../model/metric.ts'
import type { MetricRow } from '../../store/catalog.ts'
import type { Store } from '../../store/store.ts'
import type { PlannedRead } from '../plan/plan.ts'
import type { SeriesList } from '../plan/series-cache.ts'
import type { Cells } from './cells.ts'
import { countDistinct, type DistinctCounts } from './distinct.ts'
import { bucketLimitsOf, NO_BUCKET_LIMITS } from './limit-counts.ts'
import { type CellMergeInput, mergeFirstAndLast, mergeRunningTotals, mergeUnordered } from './merge.ts'

/** The data of a metric that was read for one period. */
export interface PeriodSources {
  readonly metric: MetricRow
  /** The series of the metric. The ordinals of the sources are positions in this list. */
  readonly list: SeriesList
  readonly resolutionsMs: readonly number[]
  readonly sources: CellMergeInput['sources']
  /** For cumulative counters: additional reads, in which earlier running totals are searched. Otherwise empty. */
  readonly lookbackReads: readonly PlannedRead[]
}

/** Merges opened blocks into cells. For a set metric, also returns numbers of distinct members; otherwise undefined. */
export async function accumulate(
  store: Store,
  { metric, list, resolutionsMs, sources, lookbackReads }: PeriodSources,
  { plan, groupOfSeries, accumulators }: Pick<CellMergeInput, 'plan' | 'groupOfSeries' | 'accumulators'>,
  cells: Cells,
  withTotals: boolean,
): Promise<DistinctCounts | undefined> {
  const bucketLimits =
    metric.type === 'histogram'
      ? bucketLimitsOf(list.rows, groupOfSeries, accumulators.needsCountsByLimit)
      : NO_BUCKET_LIMITS
  const input: CellMergeInput = { plan, resolutionsMs, sources, groupOfSeries, bucketLimits, accumulators }
  const kind = rollupKindOf(metric.type)
  if (kind === 'set') return countDistinct(store, metric, list, input, cells, withTotals)
  mergeUnordered(input, cells)
  if (kind === 'gauge' && accumulators.needsFirstAndLast) mergeFirstAndLast(input, cells)
  if (kind === 'counter' && sources.some(({ section }) => section.hasTotals))
    mergeRunningTotals(input, lookbackReads, cells)
  return undefined
}
