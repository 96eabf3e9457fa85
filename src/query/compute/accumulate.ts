import { rollupKindOf } from '../../model/metric.ts'
import type { MetricRow, Store } from '../../store/store.ts'
import type { Read } from '../plan/plan.ts'
import type { SeriesList } from '../plan/series-index.ts'
import type { Cells } from './cells.ts'
import { countDistinct, type DistinctCounts } from './distinct.ts'
import { limitsOf, NO_LIMITS } from './limit-counts.ts'
import { type Merge, mergeEnds, mergeSums, mergeTotals } from './merge.ts'

/** The opened blocks of a period, with the ordinals of their series in `list`. */
export interface Reading {
  readonly metric: MetricRow
  readonly list: SeriesList
  readonly stepsMs: readonly number[]
  readonly sources: Merge['sources']
  readonly lookback: readonly Read[]
}

/** Merges opened blocks into cells. For a set, also returns the number of distinct members of each cell. */
export async function accumulate(
  store: Store,
  { metric, list, stepsMs, sources, lookback }: Reading,
  { plan, groupOf, needs }: Pick<Merge, 'plan' | 'groupOf' | 'needs'>,
  cells: Cells,
  wantTotals: boolean,
): Promise<DistinctCounts | undefined> {
  const limits = metric.type === 'histogram' ? limitsOf(list.rows, groupOf, needs.limits) : NO_LIMITS
  const merge: Merge = { plan, stepsMs, sources, groupOf, limits, needs }
  const kind = rollupKindOf(metric.type)
  if (kind === 'set') return countDistinct(store, metric, list, merge, cells, wantTotals)
  mergeSums(merge, cells)
  if (kind === 'gauge' && needs.ends) mergeEnds(merge, cells)
  if (kind === 'counter' && sources.some(({ section }) => section.hasTotals)) mergeTotals(merge, lookback, cells)
  return undefined
}
