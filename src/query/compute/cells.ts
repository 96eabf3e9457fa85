import { addCounts } from '../../model/count.ts'
import { QuantileSketch } from '../../sketch/quantile-sketch.ts'
import type { AccumulatedValues, RequiredAccumulators } from '../aggregations.ts'
import { HistogramCounts } from './limit-counts.ts'

/**
 * The accumulators of a query, as columns: one cell for each group and result bucket. A group gets a row of cells only
 * when `ensureCellsOf` is called for it, so groups without data take little memory. The position of a row is its slot.
 */
export class Cells {
  readonly bucketCount: number
  readonly #accumulators: RequiredAccumulators
  readonly #requireSize: (cellCount: number) => void
  readonly #slotOfGroup: Int32Array
  readonly #groupsBySlot: number[] = []
  count = new Float64Array(0)
  sum = new Float64Array(0)
  min = new Float64Array(0)
  max = new Float64Array(0)
  firstMs = new Float64Array(0)
  first = new Float64Array(0)
  lastMs = new Float64Array(0)
  last = new Float64Array(0)
  /** Cells in which a series of a gauge ended. */
  readonly cellsWithEnd = new Set<number>()
  /**
   * By slot: the last value of the group in the whole range, and its time. Series that had ended by the end of the
   * range are left out.
   */
  readonly #rangeLastMs: number[] = []
  readonly #rangeLast: number[] = []
  /** By cell. Undefined while nothing was added to the cell. */
  readonly sketches: (QuantileSketch | undefined)[] = []
  /** By cell. Undefined while nothing was added to the cell. */
  readonly countsByLimit: (HistogramCounts | undefined)[] = []
  /**
   * Whether results may be too small: the counts of all cells together reached `COUNT_MAX`, or a counter may have
   * increased by more than its running totals show.
   */
  isInexact = false

  /** `requireSize` is called with the new number of cells when a group gets cells. It throws if there are too many. */
  constructor(
    groupCount: number,
    bucketCount: number,
    accumulators: RequiredAccumulators,
    requireSize: (cellCount: number) => void = () => {},
  ) {
    this.bucketCount = bucketCount
    this.#accumulators = accumulators
    this.#requireSize = requireSize
    this.#slotOfGroup = new Int32Array(groupCount).fill(-1)
  }

  /** The groups that have cells, in the order of their slots. */
  get groupsWithCells(): readonly number[] {
    return this.#groupsBySlot
  }

  /** Adds a row of cells for the group if it has none. Returns the index of the first cell of the group. */
  ensureCellsOf(group: number): number {
    let slot = this.#slotOfGroup[group]!
    if (slot < 0) {
      slot = this.#groupsBySlot.push(group) - 1
      this.#slotOfGroup[group] = slot
      this.#reserve(this.#groupsBySlot.length * this.bucketCount)
    }
    return slot * this.bucketCount
  }

  /**
   * Whether the group of this cell ended in the bucket of this cell: one of its series ended there, and none has a last
   * value there.
   */
  isEnd(cell: number): boolean {
    return this.cellsWithEnd.has(cell) && Number.isNaN(this.last[cell])
  }

  /**
   * Merges the last value that a series has in the whole range into the last value of its group, which has cells. At
   * equal times, the greater value counts.
   */
  mergeRangeLast(group: number, timeMs: number, value: number): void {
    const slot = this.#slotOfGroup[group]!
    const previousMs = this.#rangeLastMs[slot] ?? Number.NEGATIVE_INFINITY
    if (timeMs < previousMs || (timeMs === previousMs && value <= this.#rangeLast[slot]!)) return
    this.#rangeLastMs[slot] = timeMs
    this.#rangeLast[slot] = value
  }

  /** Returns the last value of the group with this slot in the whole range; NaN if there is none. */
  rangeLast(slot: number): number {
    return this.#rangeLast[slot] ?? Number.NaN
  }

  /** Returns the sketch of a cell. Creates it at the first call. */
  sketchOf(cell: number): QuantileSketch {
    let sketch = this.sketches[cell]
    if (sketch === undefined) this.sketches[cell] = sketch = new QuantileSketch()
    return sketch
  }

  /** Returns the histogram counts of a cell. Creates them at the first call. */
  countsByLimitOf(cell: number): HistogramCounts {
    let counts = this.countsByLimit[cell]
    if (counts === undefined) this.countsByLimit[cell] = counts = new HistogramCounts()
    return counts
  }

  #reserve(cellCount: number): void {
    this.#requireSize(cellCount)
    if (cellCount <= this.count.length) return
    const capacity = Math.max(cellCount, this.count.length * 2)
    this.count = enlargedCopy(this.count, capacity, 0)
    this.sum = enlargedCopy(this.sum, capacity, 0)
    if (this.#accumulators.needsMinAndMax) {
      this.min = enlargedCopy(this.min, capacity, Number.POSITIVE_INFINITY)
      this.max = enlargedCopy(this.max, capacity, Number.NEGATIVE_INFINITY)
    }
    if (this.#accumulators.needsFirstAndLast) {
      this.firstMs = enlargedCopy(this.firstMs, capacity, Number.POSITIVE_INFINITY)
      this.first = enlargedCopy(this.first, capacity, Number.NaN)
      this.lastMs = enlargedCopy(this.lastMs, capacity, Number.NEGATIVE_INFINITY)
      this.last = enlargedCopy(this.last, capacity, Number.NaN)
    }
  }
}

/** The values of one cell, as aggregations read them. */
export class CellValues implements AccumulatedValues {
  readonly #cells: Cells
  readonly #cell: number
  readonly #distinctCounts: Float64Array | undefined
  readonly seconds: number

  constructor(cells: Cells, cell: number, seconds: number, distinctCounts: Float64Array | undefined) {
    this.#cells = cells
    this.#cell = cell
    this.#distinctCounts = distinctCounts
    this.seconds = seconds
  }

  get count(): number {
    return (this.#distinctCounts ?? this.#cells.count)[this.#cell]!
  }

  get sum(): number {
    return this.#cells.sum[this.#cell]!
  }

  get min(): number {
    return this.#cells.min[this.#cell]!
  }

  get max(): number {
    return this.#cells.max[this.#cell]!
  }

  get first(): number {
    return this.#cells.first[this.#cell]!
  }

  get last(): number {
    return this.#cells.last[this.#cell]!
  }

  quantile(q: number): number {
    const { countsByLimit, sketches } = this.#cells
    const counts = countsByLimit[this.#cell]
    if (counts !== undefined) return counts.quantile(q)
    return sketches[this.#cell]?.quantile(q, this.min, this.max) ?? Number.NaN
  }
}

/**
 * The values of a group over the whole range, as aggregations read them. They are computed when they are read, but for
 * quantiles: `mergeQuantilesOf` must be called for each bucket before, because merging all of them may take long.
 */
export class RangeValues implements AccumulatedValues {
  readonly #cells: Cells
  readonly #slot: number
  readonly #firstCell: number
  readonly #endCell: number
  /** Number of distinct members in the whole range; undefined unless the metric is a set. */
  readonly #distinctCount: number | undefined
  #sketch: QuantileSketch | undefined
  #countsByLimit: HistogramCounts | undefined
  readonly seconds: number

  constructor(cells: Cells, slot: number, seconds: number, distinctCount: number | undefined) {
    this.#cells = cells
    this.#slot = slot
    this.#firstCell = slot * cells.bucketCount
    this.#endCell = this.#firstCell + cells.bucketCount
    this.#distinctCount = distinctCount
    this.seconds = seconds
  }

  get count(): number {
    return this.#distinctCount ?? this.#reduce(this.#cells.count, 0, addCounts)
  }

  get sum(): number {
    return this.#reduce(this.#cells.sum, 0, (total, value) => total + value)
  }

  get min(): number {
    return this.#reduce(this.#cells.min, Number.POSITIVE_INFINITY, (least, value) => (value < least ? value : least))
  }

  get max(): number {
    return this.#reduce(this.#cells.max, Number.NEGATIVE_INFINITY, (most, value) => (value > most ? value : most))
  }

  get first(): number {
    return this.#valueFrom(this.#cells.first, 1)
  }

  get last(): number {
    if (this.#cells.cellsWithEnd.size > 0) return this.#cells.rangeLast(this.#slot)
    return this.#valueFrom(this.#cells.last, -1)
  }

  quantile(q: number): number {
    return this.#countsByLimit?.quantile(q) ?? this.#sketch?.quantile(q, this.min, this.max) ?? Number.NaN
  }

  /** Merges the sketch and the histogram counts of a bucket into those of the range. */
  mergeQuantilesOf(bucket: number): void {
    const { countsByLimit, sketches } = this.#cells
    const counts = countsByLimit[this.#firstCell + bucket]
    if (counts !== undefined) (this.#countsByLimit ??= new HistogramCounts()).merge(counts)
    const sketch = sketches[this.#firstCell + bucket]
    if (sketch !== undefined) (this.#sketch ??= new QuantileSketch()).merge(sketch)
  }

  #reduce(column: Float64Array, start: number, combine: (total: number, value: number) => number): number {
    let total = start
    for (let cell = this.#firstCell; cell < this.#endCell; cell++) total = combine(total, column[cell]!)
    return total
  }

  /** Returns the value of the first (step 1) or the last (step -1) cell that has one; NaN if none has. */
  #valueFrom(column: Float64Array, step: 1 | -1): number {
    for (
      let cell = step === 1 ? this.#firstCell : this.#endCell - 1;
      cell >= this.#firstCell && cell < this.#endCell;
      cell += step
    ) {
      if (!Number.isNaN(column[cell])) return column[cell]!
    }
    return Number.NaN
  }
}

/** Returns a copy of a column with room for `capacity` cells. The additional cells have the value `fill`. */
function enlargedCopy(column: Float64Array<ArrayBuffer>, capacity: number, fill: number): Float64Array<ArrayBuffer> {
  const wider = new Float64Array(capacity)
  if (fill !== 0) wider.fill(fill, column.length)
  wider.set(column)
  return wider
}
