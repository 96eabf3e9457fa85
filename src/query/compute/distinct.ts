import { type Pace, runPaced, StepBudget, type Steps } from '../../model/steps.ts'
import { floorTo } from '../../model/time.ts'
import type { MetricRow } from '../../store/catalog.ts'
import type { SetKey, Store } from '../../store/store.ts'
import { BucketFinder, PlannedReadFinder } from '../plan/find-by-time.ts'
import type { SeriesList } from '../plan/series-cache.ts'
import type { Cells } from './cells.ts'
import type { CellMergeInput } from './merge-unordered.ts'

/** Numbers of distinct members of sets. */
export interface DistinctCounts {
  /** By cell: the number of distinct members of the group in the result bucket. */
  readonly countOfCell: Float64Array
  /** By slot: the number of distinct members of the group in the whole range. Empty unless totals are requested. */
  readonly countOfRange: Float64Array
}

/**
 * Counts the distinct members of sets. A rollup of a set has only the number of points. It shows that the store has a
 * sketch of the series and bucket of the rollup. The store merges the sketches of all series and stored buckets of a
 * cell, so a member counts once per cell.
 */
export async function countDistinct(
  store: Store,
  metric: MetricRow,
  list: SeriesList,
  input: CellMergeInput,
  cells: Cells,
  withTotals: boolean,
  pace: Pace,
): Promise<DistinctCounts> {
  const { cellUnions, unionIndexByCell } = await runPaced(collectUnions(metric, list, input, cells), pace)
  const rangeUnions: SetKey[][] = withTotals ? cells.groupsWithCells.map(() => []) : []
  for (const [cell, unionIndex] of unionIndexByCell) {
    const rangeUnion = rangeUnions[Math.floor(cell / cells.bucketCount)]
    if (rangeUnion !== undefined) for (const key of cellUnions[unionIndex]!) rangeUnion.push(key)
  }
  const counts = await store.countDistinct(metric.partition, [...cellUnions, ...rangeUnions])
  const countOfCell = new Float64Array(cells.groupsWithCells.length * cells.bucketCount)
  for (const [cell, unionIndex] of unionIndexByCell) countOfCell[cell] = counts[unionIndex]!
  return { countOfCell, countOfRange: Float64Array.from(counts.slice(cellUnions.length)) }
}

/** The sketches to merge, for each cell that has points. */
interface CellUnions {
  readonly cellUnions: readonly (readonly SetKey[])[]
  /** By cell: the index of its sketches in `cellUnions`. */
  readonly unionIndexByCell: ReadonlyMap<number, number>
}

/** Units of work (`StepBudget`) of a rollup: a few hundred nanoseconds. */
const ROW_STEP_UNITS = 64

/** Adds the points to the counts of the cells, and lists the sketches of each cell. */
function* collectUnions(
  metric: MetricRow,
  list: SeriesList,
  { plan, resolutionsMs, sources, groupOfSeries }: CellMergeInput,
  cells: Cells,
): Steps<CellUnions> {
  const reads = new PlannedReadFinder(plan.reads)
  const buckets = new BucketFinder(plan.edges)
  const seenByLevel = resolutionsMs.map(() => new Map<number, Set<number>>())
  const cellUnions: SetKey[][] = []
  const unionIndexByCell = new Map<number, number>()
  const budget = new StepBudget()
  for (const source of sources) {
    const { section, ordinals } = source
    for (let seriesIndex = 0; seriesIndex < section.seriesCount; seriesIndex++) {
      const ordinal = ordinals[seriesIndex]!
      const group = groupOfSeries[ordinal] ?? -1
      if (group < 0) continue
      for (let row = section.rowStart[seriesIndex]!; row < section.rowStart[seriesIndex + 1]!; row++) {
        const timeMs = section.bucketMs[row]!
        const read = reads.plannedReadOfRow(source, timeMs)
        if (read === undefined) continue
        const cell = cells.ensureCellsOf(group) + buckets.bucketIndexAt(timeMs)
        cells.count[cell]! += section.count[row]!
        const resolutionMs = resolutionsMs[read.level]!
        const bucketMs = floorTo(timeMs, resolutionMs)
        if (!addIfNew(seenByLevel[read.level]!, ordinal, bucketMs)) continue
        let unionIndex = unionIndexByCell.get(cell)
        if (unionIndex === undefined) unionIndexByCell.set(cell, (unionIndex = cellUnions.push([]) - 1))
        cellUnions[unionIndex]!.push({
          metricId: metric.metricId,
          seriesId: list.rows[ordinal]!.seriesId,
          resolutionMs,
          bucketMs,
        })
      }
      const rowCount = section.rowStart[seriesIndex + 1]! - section.rowStart[seriesIndex]!
      if (budget.spend(rowCount * ROW_STEP_UNITS)) yield
    }
  }
  return { cellUnions, unionIndexByCell }
}

/**
 * Records a series and stored bucket. Returns false if they were recorded before: several runs and the inbox may hold
 * the same stored bucket.
 */
function addIfNew(seen: Map<number, Set<number>>, ordinal: number, bucketMs: number): boolean {
  let buckets = seen.get(ordinal)
  if (buckets === undefined) seen.set(ordinal, (buckets = new Set()))
  if (buckets.has(bucketMs)) return false
  buckets.add(bucketMs)
  return true
}
