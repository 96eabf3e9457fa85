import { addCounts } from '../model/count.ts'
import type { RollupKind } from '../model/metric.ts'
import { Observations } from './observations.ts'
import { orderByKey } from './radix-sort.ts'
import { hasOnlyEndMarker, type RollupRows } from './rollup-rows.ts'
import { CAPACITY_MIN, grownIds, RowColumns } from './row-columns.ts'
import { RunningTotals } from './running-totals.ts'

const NO_IDS = new Uint32Array(0)
/**
 * Always empty. All tables of other kinds than distributions share it, because there may be many tables.
 */
const NO_OBSERVATIONS = new Observations()
/** Approximate heap memory of a `RunningTotals` object with its points, rounded up. */
const TOTALS_OBJECT_BYTES = 400
/** Approximate heap memory of a table without the elements of its columns. */
const TABLE_OBJECT_BYTES = 2_000

let scratchNumbers = new Float64Array(1024)
let scratchIntegers = new Uint32Array(1024)
/** Scratch array of `toSortedRows`: for the index of a row before sorting, its index afterwards. */
let rowAfterSort = new Uint32Array(1024)

function permuteNumbers(column: Float64Array, order: Uint32Array): void {
  const length = order.length
  if (scratchNumbers.length < length) scratchNumbers = new Float64Array(length * 2)
  const moved = scratchNumbers
  for (let i = 0; i < length; i++) moved[i] = column[order[i]!]!
  for (let i = 0; i < length; i++) column[i] = moved[i]!
}

function permuteIntegers(column: Uint32Array, order: Uint32Array): void {
  const length = order.length
  if (scratchIntegers.length < length) scratchIntegers = new Uint32Array(length * 2)
  const moved = scratchIntegers
  for (let i = 0; i < length; i++) moved[i] = column[order[i]!]!
  for (let i = 0; i < length; i++) column[i] = moved[i]!
}

/**
 * Makes rollups from points. Rows are added in any order, and several rows may have the same series and bucket.
 * `toSortedRows` sorts the rows by series and bucket, merges rows of the same series and bucket in the order they were
 * added, and removes rows without points.
 */
export class RollupTable extends RowColumns implements RollupRows {
  seriesCount = 0
  seriesHi = NO_IDS
  seriesLo = NO_IDS
  rowStart = NO_IDS
  #length = 0
  /** Whether the rows are in the order of series and bucket, without duplicates. */
  #isSorted = true
  #rowSeriesHi = NO_IDS
  #rowSeriesLo = NO_IDS
  /**
   * For each row of a distribution, the index that `addRow` returned, by which `Observations` refer to it. Set by
   * `toSortedRows` before it moves rows, if there are observations or the rows are not sorted.
   */
  #rowBeforeSort = NO_IDS
  readonly #observations: Observations
  /** For each row of a counter: 1 + the index of its totals in `#totals`; 0 if it has no totals. */
  #totalsIndex = NO_IDS
  #totals: RunningTotals[] = []

  constructor(kind: RollupKind, capacity = CAPACITY_MIN) {
    super(kind, capacity)
    this.#observations = kind === 'distribution' ? new Observations() : NO_OBSERVATIONS
    this.#resizeIds()
  }

  get length(): number {
    return this.#length
  }

  get hasTotals(): boolean {
    return this.#totals.length > 0
  }

  /** Approximate memory of the rows, without capacity that is not in use. */
  get estimatedBytes(): number {
    const columnCount = this.hasFirstLast ? 9 : this.hasMinMax ? 5 : this.kind === 'counter' ? 3 : 2
    const observationBytes = this.#observations.estimatedBytes
    return this.#length * (columnCount * 8 + 24) + observationBytes + this.#totals.length * TOTALS_OBJECT_BYTES
  }

  /** Approximate memory of the columns and observations in bytes, with capacity that is not in use. */
  get allocatedBytes(): number {
    const { seriesHi, seriesLo, rowStart } = this
    const indexLength = seriesHi.length + seriesLo.length + rowStart.length
    const rowIdLength = this.#rowSeriesHi.length + this.#rowSeriesLo.length
    const idLength = indexLength + rowIdLength + this.#rowBeforeSort.length + this.#totalsIndex.length
    const idBytes = idLength * Uint32Array.BYTES_PER_ELEMENT
    return TABLE_OBJECT_BYTES + this.columnBytes + idBytes + this.#observations.allocatedBytes
  }

  get binBytes(): Uint8Array {
    return this.#observations.binBytes
  }

  get binStart(): Uint32Array {
    return this.#observations.length === 0 ? NO_IDS : this.#observations.binStart
  }

  /** Adds a row without points and returns its index, which is valid until `toSortedRows` or `clear`. */
  addRow(seriesHi: number, seriesLo: number, bucketMs: number): number {
    const row = this.#length
    if (row === this.bucketMs.length) {
      this.resize(row * 2)
      this.#resizeIds()
    }
    this.#length = row + 1
    if (this.#isSorted && row > 0) this.#isSorted = this.#precedes(row - 1, seriesHi, seriesLo, bucketMs)
    this.#rowSeriesHi[row] = seriesHi
    this.#rowSeriesLo[row] = seriesLo
    if (this.kind === 'counter') this.#totalsIndex[row] = 0
    this.bucketMs[row] = bucketMs
    this.count[row] = 0
    return row
  }

  /** Adds a value of a gauge, a delta of a counter or an observation of a distribution. Only gauges use `timeMs`. */
  addValue(row: number, timeMs: number, value: number): void {
    this.addWeighted(row, timeMs, value, 1)
  }

  /** Adds `weight` points of the same value. The weight is an integer from 1 to `COUNT_MAX`. */
  addWeighted(row: number, timeMs: number, value: number, weight: number): void {
    const countBefore = this.count[row]!
    this.count[row] = addCounts(countBefore, weight)
    if (countBefore === 0) {
      this.sum[row] = value * weight
      if (!this.hasMinMax) return
      this.min[row] = value
      this.max[row] = value
      if (!this.hasFirstLast) return
      this.firstMs[row] = timeMs
      this.first[row] = value
      this.lastMs[row] = timeMs
      this.last[row] = value
      return
    }
    const sum = this.sum[row]! + value * weight
    if (Number.isNaN(sum) && this.hasFirstLast && hasOnlyEndMarker(this, row)) {
      this.#addFirstValue(row, timeMs, value, weight)
      return
    }
    this.sum[row] = sum
    if (!this.hasMinMax) return
    if (!this.hasFirstLast) this.#observe(row, value, weight, countBefore)
    if (value < this.min[row]!) this.min[row] = value
    if (value > this.max[row]!) this.max[row] = value
    if (!this.hasFirstLast) return
    if (timeMs < this.firstMs[row]!) {
      this.firstMs[row] = timeMs
      this.first[row] = value
    }
    if (timeMs >= this.lastMs[row]!) {
      this.lastMs[row] = timeMs
      this.last[row] = value
    }
  }

  /**
   * Adds an end marker of a gauge: its series has no last value from this time on, until the next value. Ignored if the
   * row has a later value or end marker.
   */
  addEnd(row: number, timeMs: number): void {
    if (this.count[row] === 0) {
      this.addWeighted(row, timeMs, Number.NaN, 1)
    } else if (timeMs >= this.lastMs[row]!) {
      this.setEndMarker(row, timeMs)
    }
  }

  /** Adds the first value to a row that has an end marker and no value. */
  #addFirstValue(row: number, timeMs: number, value: number, weight: number): void {
    const endMs = this.lastMs[row]!
    this.count[row] = 0
    this.addWeighted(row, timeMs, value, weight)
    if (endMs > timeMs) this.setEndMarker(row, endMs)
  }

  addTotal(row: number, timeMs: number, total: number): void {
    const countBefore = this.count[row]!
    this.count[row] = addCounts(countBefore, 1)
    if (countBefore === 0) this.sum[row] = 0
    this.#totalsOf(row).add(timeMs, total)
  }

  /** Counts a point of a set. The member itself is not stored here, but in a set sketch of the store. */
  addMember(row: number): void {
    this.count[row] = addCounts(this.count[row]!, 1)
  }

  totalsAt(row: number): RunningTotals | undefined {
    const totalsIndex = this.kind === 'counter' ? this.#totalsIndex[row]! : 0
    return totalsIndex === 0 ? undefined : this.#totals[totalsIndex - 1]
  }

  /**
   * Sorts the rows, merges those with the same series and bucket, and removes those without points. Returns the table
   * itself as `RollupRows`. Indexes returned by `addRow` are invalid afterwards.
   */
  toSortedRows(): RollupRows {
    const needsRowMap = this.kind === 'distribution' && (this.#observations.length > 0 || !this.#isSorted)
    if (needsRowMap) this.#rememberRowNumbers()
    if (!this.#isSorted) this.#permute(this.#sortedOrder())
    this.#mergeDuplicates(needsRowMap)
    this.#isSorted = true
    this.#indexSeries()
    if (this.#observations.length > 0) this.#observations.encode(this.#length, rowAfterSort)
    return this
  }

  /** Removes all rows and keeps the memory of the columns for reuse. The rows must not be read afterwards. */
  clear(): void {
    this.#length = 0
    this.#isSorted = true
    this.seriesCount = 0
    this.#observations.clear()
    this.#totals = []
  }

  /** Whether a row is before the row of this series and bucket, in the order of series and bucket. */
  #precedes(row: number, seriesHi: number, seriesLo: number, bucketMs: number): boolean {
    const hi = this.#rowSeriesHi[row]!
    if (hi !== seriesHi) return hi < seriesHi
    const lo = this.#rowSeriesLo[row]!
    return lo === seriesLo ? this.bucketMs[row]! < bucketMs : lo < seriesLo
  }

  /**
   * Stores a value of a distribution row, so that the bins of the row can be computed later. While all values of the
   * row are equal, nothing is stored: the only bin can be computed from `min` and `count`. Must be called before `min`
   * and `max` include the value. `countBefore` is the count of the row without the value.
   */
  #observe(row: number, value: number, weight: number, countBefore: number): void {
    const min = this.min[row]!
    if (min === this.max[row]) {
      if (value === min) return
      this.#observations.add(row, min, countBefore)
    }
    this.#observations.add(row, value, weight)
  }

  #totalsOf(row: number): RunningTotals {
    const totalsIndex = this.#totalsIndex[row]!
    if (totalsIndex !== 0) return this.#totals[totalsIndex - 1]!
    const totals = new RunningTotals()
    this.#totalsIndex[row] = this.#totals.push(totals)
    return totals
  }

  #resizeIds(): void {
    const capacity = this.bucketMs.length
    this.#rowSeriesHi = grownIds(this.#rowSeriesHi, capacity)
    this.#rowSeriesLo = grownIds(this.#rowSeriesLo, capacity)
    if (this.kind === 'distribution') this.#rowBeforeSort = grownIds(this.#rowBeforeSort, capacity)
    if (this.kind === 'counter') this.#totalsIndex = grownIds(this.#totalsIndex, capacity)
  }

  /** Returns the row indexes in the order of series, bucket and arrival. */
  #sortedOrder(): Uint32Array {
    const rowLo = this.#rowSeriesLo
    const bucketMs = this.bucketMs
    return orderByKey(
      this.#rowSeriesHi,
      this.#length,
      (a, b) => rowLo[a]! - rowLo[b]! || bucketMs[a]! - bucketMs[b]! || a - b,
    )
  }

  #permute(order: Uint32Array): void {
    permuteIntegers(this.#rowSeriesHi, order)
    permuteIntegers(this.#rowSeriesLo, order)
    if (this.kind === 'distribution') permuteIntegers(this.#rowBeforeSort, order)
    if (this.#totals.length > 0) permuteIntegers(this.#totalsIndex, order)
    permuteNumbers(this.bucketMs, order)
    permuteNumbers(this.count, order)
    if (this.kind === 'set') return
    permuteNumbers(this.sum, order)
    if (!this.hasMinMax) return
    permuteNumbers(this.min, order)
    permuteNumbers(this.max, order)
    if (!this.hasFirstLast) return
    permuteNumbers(this.firstMs, order)
    permuteNumbers(this.first, order)
    permuteNumbers(this.lastMs, order)
    permuteNumbers(this.last, order)
  }

  /** Merges rows with the same series and bucket, and removes rows without points. */
  #mergeDuplicates(needsRowMap: boolean): void {
    const length = this.#length
    // `#moveRow` writes only to rows before this one, so `rowBeforeSort[row]` is not overwritten yet.
    const rowBeforeSort = this.#rowBeforeSort
    let keptRow = -1
    for (let row = 0; row < length; row++) {
      if (this.count[row] === 0) continue
      const isSameRollup =
        keptRow >= 0 &&
        this.bucketMs[row] === this.bucketMs[keptRow] &&
        this.#rowSeriesLo[row] === this.#rowSeriesLo[keptRow] &&
        this.#rowSeriesHi[row] === this.#rowSeriesHi[keptRow]
      if (isSameRollup) this.#mergeRow(keptRow, row)
      else if (++keptRow !== row) this.#moveRow(row, keptRow)
      if (needsRowMap) rowAfterSort[rowBeforeSort[row]!] = keptRow
    }
    this.#length = keptRow + 1
  }

  /** Merges the row `sourceRow`, which was added later, into `row`. */
  #mergeRow(row: number, sourceRow: number): void {
    if (this.kind === 'distribution') this.#observeBoth(row, sourceRow)
    this.mergeScalars(row, this, sourceRow)
    const totals = this.totalsAt(sourceRow)
    if (totals !== undefined) this.#totalsOf(row).merge(totals)
  }

  /**
   * Must be called before two rows are merged. If the merged row has different values, stores the value of each of the
   * two rows whose own values are all equal: `#observe` has stored nothing for such a row.
   */
  #observeBoth(row: number, sourceRow: number): void {
    const { min, max, count } = this
    const isFlat = min[row] === max[row]
    const isSourceFlat = min[sourceRow] === max[sourceRow]
    if (isFlat && isSourceFlat && min[row] === min[sourceRow]) return
    if (isFlat) this.#observations.add(this.#rowBeforeSort[row]!, min[row]!, count[row]!)
    if (isSourceFlat) this.#observations.add(this.#rowBeforeSort[sourceRow]!, min[sourceRow]!, count[sourceRow]!)
  }

  #rememberRowNumbers(): void {
    const length = this.#length
    if (rowAfterSort.length < length) rowAfterSort = new Uint32Array(length * 2)
    for (let row = 0; row < length; row++) this.#rowBeforeSort[row] = row
  }

  #moveRow(from: number, to: number): void {
    this.#rowSeriesHi[to] = this.#rowSeriesHi[from]!
    this.#rowSeriesLo[to] = this.#rowSeriesLo[from]!
    if (this.kind === 'distribution') this.#rowBeforeSort[to] = this.#rowBeforeSort[from]!
    if (this.kind === 'counter') this.#totalsIndex[to] = this.#totalsIndex[from]!
    this.bucketMs[to] = this.bucketMs[from]!
    this.count[to] = this.count[from]!
    if (this.kind === 'set') return
    this.sum[to] = this.sum[from]!
    if (!this.hasMinMax) return
    this.min[to] = this.min[from]!
    this.max[to] = this.max[from]!
    if (!this.hasFirstLast) return
    this.firstMs[to] = this.firstMs[from]!
    this.first[to] = this.first[from]!
    this.lastMs[to] = this.lastMs[from]!
    this.last[to] = this.last[from]!
  }

  #indexSeries(): void {
    const length = this.#length
    const rowHi = this.#rowSeriesHi
    const rowLo = this.#rowSeriesLo
    if (this.rowStart.length < length + 1) {
      this.seriesHi = new Uint32Array(this.bucketMs.length)
      this.seriesLo = new Uint32Array(this.bucketMs.length)
      this.rowStart = new Uint32Array(this.bucketMs.length + 1)
    }
    const { seriesHi, seriesLo, rowStart } = this
    let series = 0
    for (let row = 0; row < length; row++) {
      const hi = rowHi[row]!
      const lo = rowLo[row]!
      if (row > 0 && hi === rowHi[row - 1] && lo === rowLo[row - 1]) continue
      seriesHi[series] = hi
      seriesLo[series] = lo
      rowStart[series++] = row
    }
    rowStart[series] = length
    this.seriesCount = series
  }
}
