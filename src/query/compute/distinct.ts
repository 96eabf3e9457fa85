import { GatewayError } from '../../model/errors.ts'
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
 * Maximum number of sketches that a query merges for one period. Each takes about 120 bytes of memory, and a few
 * microseconds to read.
 */
const DISTINCT_SKETCHES_MAX = 500_000
/** Number of sketches after which a call of the store ends. The unions of one group are in the same call. */
const SKETCHES_PER_CALL = 1_000

/**
 * Counts the distinct members of sets. A rollup of a set has only the number of points. It shows that the store has a
 * sketch of the series and bucket of the rollup. The store merges the sketches of all series and stored buckets of a
 * cell, so a member counts once per cell. Throws `query_too_large` if there are more than `sketchesMax` sketches.
 */
export async function countDistinct(
  store: Pick<Store, 'countDistinct'>,
  metric: MetricRow,
  list: SeriesList,
  input: CellMergeInput,
  cells: Cells,
  withTotals: boolean,
  pace: Pace,
  sketchesMax = DISTINCT_SKETCHES_MAX,
): Promise<DistinctCounts> {
  const sketchesByCell = await runPaced(collectSketches(metric, list, input, cells, sketchesMax), pace)
  const groupCount = cells.groupsWithCells.length
  const countOfCell = new Float64Array(groupCount * cells.bucketCount)
  const countOfRange = new Float64Array(withTotals ? groupCount : 0)
  let unions: Union[] = []
  let sketchCount = 0
  for (let slot = 0; slot < groupCount; slot++) {
    for (const union of unionsOfGroup(slot, cells, sketchesByCell, withTotals)) {
      unions.push(union)
      sketchCount += union.sketches.length
    }
    if (sketchCount < SKETCHES_PER_CALL && slot < groupCount - 1) continue
    const sketches = unions.map((union) => union.sketches)
    const counts = await store.countDistinct(metric.partition, sketches)
    for (const [i, union] of unions.entries()) {
      if (union.cell !== undefined) countOfCell[union.cell] = counts[i]!
      if (union.rangeSlot !== undefined) countOfRange[union.rangeSlot] = counts[i]!
    }
    unions = []
    sketchCount = 0
    await pace.pause()
  }
  return { countOfCell, countOfRange }
}

/** Sketches whose members are counted together. */
interface Union {
  readonly sketches: readonly SetKey[]
  /** The cell that has all of these sketches. */
  readonly cell?: number
  /** The slot of the group that has all of these sketches in the whole range. */
  readonly rangeSlot?: number
}

/** Returns the unions of the cells of a group, and that of the range. They are the same if only one cell has data. */
function unionsOfGroup(
  slot: number,
  { bucketCount }: Cells,
  sketchesByCell: ReadonlyMap<number, readonly SetKey[]>,
  withTotals: boolean,
): readonly Union[] {
  const unions: Union[] = []
  for (let cell = slot * bucketCount; cell < (slot + 1) * bucketCount; cell++) {
    const sketches = sketchesByCell.get(cell)
    if (sketches !== undefined) unions.push({ sketches, cell })
  }
  if (!withTotals || unions.length === 0) return unions
  if (unions.length === 1) return [{ ...unions[0]!, rangeSlot: slot }]
  return [...unions, { sketches: unions.flatMap(({ sketches }) => sketches), rangeSlot: slot }]
}

/** Units of work (`StepBudget`) of a rollup: a few hundred nanoseconds. */
const ROW_STEP_UNITS = 64

/** Adds the points to the counts of the cells. Returns the sketches of each cell that has points. */
function* collectSketches(
  metric: MetricRow,
  list: SeriesList,
  { plan, resolutionsMs, sources, groupOfSeries }: CellMergeInput,
  cells: Cells,
  sketchesMax: number,
): Steps<ReadonlyMap<number, readonly SetKey[]>> {
  const reads = new PlannedReadFinder(plan.reads)
  const buckets = new BucketFinder(plan.edges)
  const seenByLevel = resolutionsMs.map(() => new Map<number, Set<number>>())
  const sketchesByCell = new Map<number, SetKey[]>()
  let sketchCount = 0
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
        if (++sketchCount > sketchesMax) throw tooManySketchesError(sketchesMax)
        let sketches = sketchesByCell.get(cell)
        if (sketches === undefined) sketchesByCell.set(cell, (sketches = []))
        sketches.push({ metricId: metric.metricId, seriesId: list.rows[ordinal]!.seriesId, resolutionMs, bucketMs })
      }
      const rowCount = section.rowStart[seriesIndex + 1]! - section.rowStart[seriesIndex]!
      if (budget.spend(rowCount * ROW_STEP_UNITS)) yield
    }
  }
  return sketchesByCell
}

function tooManySketchesError(sketchesMax: number): GatewayError {
  return new GatewayError(
    'query_too_large',
    `the query would merge more than ${sketchesMax} sketches, one for each series and stored bucket; ` +
      'a longer interval, a shorter range or a filter of series is needed',
    { details: { sketchesMax } },
  )
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
