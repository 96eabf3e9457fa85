import { addCounts, COUNT_MAX } from '../../model/count.ts'
import { StepBudget, type Steps } from '../../model/steps.ts'
import { hasOnlyEndMarker, type RollupRows } from '../../rollup/rollup-rows.ts'
import type { RequiredAccumulators } from '../aggregations.ts'
import { BucketFinder, PlannedReadFinder } from '../plan/find-by-time.ts'
import type { Plan } from '../plan/plan.ts'
import type { MergeSource } from '../read/source-reader.ts'
import type { Cells } from './cells.ts'
import { type BucketLimits, NO_BUCKET_LIMITS } from './limit-counts.ts'
import { RowsByCell } from './rows-by-cell.ts'

/**
 * Merges the block columns that do not depend on the order of points into cells, block by block: count, sum, min, max,
 * sketch bins and counts by limit. No object is created per rollup.
 */

export interface CellMergeInput {
  readonly plan: Plan
  /** Width of the stored buckets, by level. */
  readonly resolutionsMs: readonly number[]
  readonly sources: readonly MergeSource[]
  /**
   * The index of the group of each ordinal; -1 for a series in no group. Ordinals beyond the end belong to series that
   * were registered later; they are in no group.
   */
  readonly groupOfSeries: Int32Array
  /** Empty unless the metric is a histogram. */
  readonly bucketLimits: BucketLimits
  readonly accumulators: RequiredAccumulators
}

/** Whether the series has a cumulative histogram count that is included in the count of the next higher limit. */
export function hasNextLimit({ nextLimit }: BucketLimits, ordinal: number): boolean {
  return nextLimit.length > 0 && !Number.isNaN(nextLimit[ordinal]!)
}

/**
 * Adds a cumulative histogram count to its own bucket, and subtracts it from the next one. Does not add it to the sum
 * of the cell: the count of the highest limit includes it. Does nothing unless counts by limit are needed.
 */
export function addCumulativeCount(
  cells: Cells,
  cell: number,
  { upperLimit, nextLimit }: BucketLimits,
  accumulators: RequiredAccumulators,
  ordinal: number,
  count: number,
): void {
  if (!accumulators.needsCountsByLimit) return
  const counts = cells.countsByLimitOf(cell)
  counts.add(upperLimit[ordinal]!, count)
  counts.add(nextLimit[ordinal]!, -count)
}

/** Units of work (`StepBudget`) of a row that is merged without regard to order: about ten nanoseconds. */
const UNORDERED_ROW_STEP_UNITS = 8
/** Number of rows that are merged before a step may end: so many that the bookkeeping does not matter. */
const ROWS_PER_STEP = 4_096

/** Merges count, sum, min, max, sketch bins and counts by limit. */
export function* mergeUnordered(input: CellMergeInput, cells: Cells): Steps<void> {
  const merge = new UnorderedMerge(input, cells)
  const budget = new StepBudget()
  for (const source of input.sources) {
    const { seriesCount, length } = source.section
    const seriesPerStep = Math.max(1, Math.floor((seriesCount * ROWS_PER_STEP) / length))
    for (let series = 0; series < seriesCount; series += seriesPerStep) {
      const rowCount = merge.addSeries(source, series, Math.min(seriesCount, series + seriesPerStep))
      if (budget.spend(UNORDERED_ROW_STEP_UNITS * (seriesPerStep + rowCount))) yield
    }
    merge.addBins(source)
    if (input.accumulators.needsSketches && budget.spend(source.section.binBytes.length)) yield
  }
  merge.finish()
}

/**
 * Merges one step after the other: finds the cells of the rows, then adds one column at a time. The loops over columns
 * are short functions, which the engine compiles sooner than one long function.
 */
class UnorderedMerge {
  readonly #input: CellMergeInput
  readonly #cells: Cells
  readonly #reads: PlannedReadFinder
  readonly #buckets: BucketFinder
  readonly #rowsByCell = new RowsByCell()
  #totalCount = 0
  /** The rows of the step that belong to a cell, and for each of them its cell and the ordinal of its series. */
  #rows = new Uint32Array(0)
  #cellOfRow = new Uint32Array(0)
  #ordinalOfRow = new Uint32Array(0)
  #rowCount = 0

  constructor(input: CellMergeInput, cells: Cells) {
    this.#input = input
    this.#cells = cells
    this.#reads = new PlannedReadFinder(input.plan.reads)
    this.#buckets = new BucketFinder(input.plan.edges)
  }

  /**
   * Adds the rows of the series with the indexes from `seriesFrom` to `seriesTo` - 1, without their bins. Returns the
   * number of rows that were added.
   */
  addSeries(source: MergeSource, seriesFrom: number, seriesTo: number): number {
    const { section } = source
    this.#reserveRows(section.rowStart[seriesTo]! - section.rowStart[seriesFrom]!)
    this.#rowCount = 0
    for (let seriesIndex = seriesFrom; seriesIndex < seriesTo; seriesIndex++) {
      const group = this.#input.groupOfSeries[source.ordinals[seriesIndex]!] ?? -1
      if (group >= 0) this.#findCells(source, seriesIndex, group)
    }
    if (this.#rowCount > 0) this.#addColumns(section)
    return this.#rowCount
  }

  /** Adds the bins of the rows of a source that have been added. */
  addBins({ section }: MergeSource): void {
    if (this.#input.accumulators.needsSketches) this.#rowsByCell.mergeInto(this.#cells, section)
  }

  finish(): void {
    if (this.#totalCount === COUNT_MAX) this.#cells.isInexact = true
  }

  #reserveRows(rowCountMax: number): void {
    if (rowCountMax <= this.#rows.length) return
    this.#rows = new Uint32Array(rowCountMax)
    this.#cellOfRow = new Uint32Array(rowCountMax)
    this.#ordinalOfRow = new Uint32Array(rowCountMax)
  }

  /** Lists the rows of a series that the plan reads, with their cells. */
  #findCells(source: MergeSource, seriesIndex: number, group: number): void {
    const { section, ordinals } = source
    const { bucketMs, rowStart, sum } = section
    const isGauge = section.kind === 'gauge'
    const ordinal = ordinals[seriesIndex]!
    const endRow = rowStart[seriesIndex + 1]!
    let firstCell = -1
    let n = this.#rowCount
    for (let row = rowStart[seriesIndex]!; row < endRow; row++) {
      const timeMs = bucketMs[row]!
      if (this.#reads.plannedReadOfRow(source, timeMs) === undefined) continue
      // Skips rows that hold only an end marker. A sum of NaN alone does not identify them: it also results if
      // one sum has overflowed to infinity and another to minus infinity.
      if (isGauge && Number.isNaN(sum[row]) && hasOnlyEndMarker(section, row)) continue
      if (firstCell < 0) firstCell = this.#cells.ensureCellsOf(group)
      this.#rows[n] = row
      this.#cellOfRow[n] = firstCell + this.#buckets.bucketIndexAt(timeMs)
      this.#ordinalOfRow[n++] = ordinal
    }
    this.#rowCount = n
  }

  #addColumns(section: RollupRows): void {
    const { accumulators, bucketLimits } = this.#input
    const cells = this.#cells
    const sum = section.kind === 'set' ? section.count : section.sum
    const rows = this.#rows
    const cellOfRow = this.#cellOfRow
    const rowCount = this.#rowCount
    this.#totalCount = addCounts(
      this.#totalCount,
      addCountColumn(cells.count, section.count, cellOfRow, rows, rowCount),
    )
    if (bucketLimits === NO_BUCKET_LIMITS) addSumColumn(cells.sum, sum, cellOfRow, rows, rowCount)
    else this.#addHistogramCounts(sum)
    if (accumulators.needsMinAndMax) {
      mergeMinColumn(cells.min, section.min, cellOfRow, rows, rowCount)
      mergeMaxColumn(cells.max, section.max, cellOfRow, rows, rowCount)
    }
    if (accumulators.needsSketches) this.#rowsByCell.add(cellOfRow, rows, rowCount)
  }

  #addHistogramCounts(sum: Float64Array): void {
    const { accumulators, bucketLimits } = this.#input
    const cells = this.#cells
    for (let i = 0; i < this.#rowCount; i++) {
      const value = sum[this.#rows[i]!]!
      const cell = this.#cellOfRow[i]!
      const ordinal = this.#ordinalOfRow[i]!
      if (hasNextLimit(bucketLimits, ordinal))
        addCumulativeCount(cells, cell, bucketLimits, accumulators, ordinal, value)
      else {
        cells.sum[cell]! += value
        if (accumulators.needsCountsByLimit) cells.countsByLimitOf(cell).add(bucketLimits.upperLimit[ordinal]!, value)
      }
    }
  }
}

/** Adds counts of rows to their cells. Returns the sum of the counts. */
function addCountColumn(
  cellCounts: Float64Array,
  counts: Float64Array,
  cellOfRow: Uint32Array,
  rows: Uint32Array,
  rowCount: number,
): number {
  let total = 0
  for (let i = 0; i < rowCount; i++) {
    const cell = cellOfRow[i]!
    const count = counts[rows[i]!]!
    cellCounts[cell] = addCounts(cellCounts[cell]!, count)
    total = addCounts(total, count)
  }
  return total
}

function addSumColumn(
  cellSums: Float64Array,
  sums: Float64Array,
  cellOfRow: Uint32Array,
  rows: Uint32Array,
  rowCount: number,
): void {
  for (let i = 0; i < rowCount; i++) {
    const cell = cellOfRow[i]!
    cellSums[cell] = cellSums[cell]! + sums[rows[i]!]!
  }
}

function mergeMinColumn(
  cellMins: Float64Array,
  mins: Float64Array,
  cellOfRow: Uint32Array,
  rows: Uint32Array,
  rowCount: number,
): void {
  for (let i = 0; i < rowCount; i++) {
    const min = mins[rows[i]!]!
    if (min < cellMins[cellOfRow[i]!]!) cellMins[cellOfRow[i]!] = min
  }
}

function mergeMaxColumn(
  cellMaxima: Float64Array,
  maxima: Float64Array,
  cellOfRow: Uint32Array,
  rows: Uint32Array,
  rowCount: number,
): void {
  for (let i = 0; i < rowCount; i++) {
    const max = maxima[rows[i]!]!
    if (max > cellMaxima[cellOfRow[i]!]!) cellMaxima[cellOfRow[i]!] = max
  }
}
