import { rollupKindOf } from '../../model/metric.ts'
import { type Pace, runPaced } from '../../model/steps.ts'
import type { MetricRow } from '../../store/catalog.ts'
import type { Store } from '../../store/store.ts'
import type { PlannedRead } from '../plan/plan.ts'
import type { SeriesList } from '../plan/series-cache.ts'
import type { Cells } from './cells.ts'
import { countDistinct, type DistinctCounts } from './distinct.ts'
import { bucketLimitsOf, NO_BUCKET_LIMITS } from './limit-counts.ts'
import { mergeFirstAndLast, mergeRunningTotals } from './merge-ordered.ts'
import { type CellMergeInput, mergeUnordered } from './merge-unordered.ts'

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

/**
 * Merges opened blocks into cells, and pauses between steps. For a set metric, also returns numbers of distinct
 * members; otherwise undefined.
 */
export async function accumulate(
  store: Store,
  { metric, list, resolutionsMs, sources, lookbackReads }: PeriodSources,
  { plan, groupOfSeries, accumulators }: Pick<CellMergeInput, 'plan' | 'groupOfSeries' | 'accumulators'>,
  cells: Cells,
  withTotals: boolean,
  pace: Pace,
): Promise<DistinctCounts | undefined> {
  const bucketLimits =
    metric.type === 'histogram'
      ? await runPaced(bucketLimitsOf(list.rows, groupOfSeries, accumulators.needsCountsByLimit), pace)
      : NO_BUCKET_LIMITS
  const input: CellMergeInput = { plan, resolutionsMs, sources, groupOfSeries, bucketLimits, accumulators }
  const kind = rollupKindOf(metric.type)
  if (kind === 'set') return countDistinct(store, metric, list, input, cells, withTotals, pace)
  await runPaced(mergeUnordered(input, cells), pace)
  if (kind === 'gauge' && accumulators.needsFirstAndLast) await runPaced(mergeFirstAndLast(input, cells), pace)
  if (kind === 'counter' && sources.some(({ section }) => section.hasTotals))
    await runPaced(mergeRunningTotals(input, lookbackReads, cells), pace)
  return undefined
}
