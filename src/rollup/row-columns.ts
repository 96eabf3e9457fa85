import { addCounts } from '../model/count.ts'
import type { RollupKind } from '../model/metric.ts'
import { hasOnlyEndMarker, type RollupRows } from './rollup-rows.ts'

const NO_NUMBERS = new Float64Array(0)
/**
 * Minimum capacity of a column. Many metrics have few rows. V8 stores a typed array of up to eight numbers without a
 * separate buffer, which would take far more memory.
 */
export const CAPACITY_MIN = 8

/**
 * Columns of rollups of one kind, which can grow. The columns of this kind have the same capacity; all others are
 * empty.
 */
export class RowColumns {
  readonly kind: RollupKind
  /** Whether the kind has min and max: gauges and distributions. */
  readonly hasMinMax: boolean
  /** Whether the kind has first and last values: gauges. */
  readonly hasFirstLast: boolean
  bucketMs = NO_NUMBERS
  count = NO_NUMBERS
  sum = NO_NUMBERS
  min = NO_NUMBERS
  max = NO_NUMBERS
  firstMs = NO_NUMBERS
  first = NO_NUMBERS
  lastMs = NO_NUMBERS
  last = NO_NUMBERS

  constructor(kind: RollupKind, capacity: number) {
    this.kind = kind
    this.hasMinMax = kind === 'gauge' || kind === 'distribution'
    this.hasFirstLast = kind === 'gauge'
    this.resize(Math.max(CAPACITY_MIN, capacity))
  }

  /** Memory of the columns in bytes, with capacity that is not in use. */
  protected get columnBytes(): number {
    const { bucketMs, count, sum, min, max, firstMs, first, lastMs, last } = this
    const lengths = bucketMs.length + count.length + sum.length + min.length + max.length
    return (lengths + firstMs.length + first.length + lastMs.length + last.length) * Float64Array.BYTES_PER_ELEMENT
  }

  protected resize(capacity: number): void {
    this.bucketMs = grownNumbers(this.bucketMs, capacity)
    this.count = grownNumbers(this.count, capacity)
    if (this.kind !== 'set') this.sum = grownNumbers(this.sum, capacity)
    if (this.hasMinMax) {
      this.min = grownNumbers(this.min, capacity)
      this.max = grownNumbers(this.max, capacity)
    }
    if (this.hasFirstLast) {
      this.firstMs = grownNumbers(this.firstMs, capacity)
      this.first = grownNumbers(this.first, capacity)
      this.lastMs = grownNumbers(this.lastMs, capacity)
      this.last = grownNumbers(this.last, capacity)
    }
  }

  /**
   * Merges the `ScalarColumns` of row `sourceRow` of `source` into `row`. The points of the source row must have
   * arrived later than those of `row`, and the source row must have at least one point.
   */
  protected mergeScalars(row: number, source: ScalarColumns, sourceRow: number): void {
    const countBefore = this.count[row]!
    const count = addCounts(countBefore, source.count[sourceRow]!)
    if (countBefore === 0 || this.kind === 'set') {
      this.count[row] = count
      if (this.kind !== 'set') this.#copyScalars(row, source, sourceRow)
      return
    }
    const sum = this.sum[row]! + source.sum[sourceRow]!
    // `sum` is NaN if a row has only an end marker. It is also NaN if it adds infinity and minus infinity.
    if (
      Number.isNaN(sum) &&
      this.hasFirstLast &&
      (hasOnlyEndMarker(this, row) || hasOnlyEndMarker(source, sourceRow))
    ) {
      this.#mergeEndMarkers(row, source, sourceRow)
      return
    }
    this.count[row] = count
    this.sum[row] = sum
    if (!this.hasMinMax) return
    const min = source.min[sourceRow]!
    const max = source.max[sourceRow]!
    if (min < this.min[row]!) this.min[row] = min
    if (max > this.max[row]!) this.max[row] = max
    if (!this.hasFirstLast) return
    if (source.firstMs[sourceRow]! < this.firstMs[row]!) {
      this.firstMs[row] = source.firstMs[sourceRow]!
      this.first[row] = source.first[sourceRow]!
    }
    if (source.lastMs[sourceRow]! >= this.lastMs[row]!) {
      this.lastMs[row] = source.lastMs[sourceRow]!
      this.last[row] = source.last[sourceRow]!
    }
  }

  /**
   * Merges two rows of which at least one has an end marker and no value. If this marker and the last value or marker
   * of the other row have the same time, the one that arrived later counts.
   */
  #mergeEndMarkers(row: number, source: ScalarColumns, sourceRow: number): void {
    const sourceMs = source.lastMs[sourceRow]!
    if (!hasOnlyEndMarker(source, sourceRow)) {
      const endMs = this.lastMs[row]!
      this.count[row] = source.count[sourceRow]!
      this.#copyScalars(row, source, sourceRow)
      if (endMs > sourceMs) this.setEndMarker(row, endMs)
    } else if (sourceMs >= this.lastMs[row]!) {
      this.setEndMarker(row, sourceMs)
    }
  }

  /**
   * Adds an end marker at `timeMs` to a row with points. The row must have no value and no end marker after this time.
   */
  protected setEndMarker(row: number, timeMs: number): void {
    this.lastMs[row] = timeMs
    this.last[row] = Number.NaN
    // In a row without a value, the first time is equal to the last, so that it is encoded like a row with one value.
    if (hasOnlyEndMarker(this, row)) this.firstMs[row] = timeMs
  }

  #copyScalars(row: number, source: ScalarColumns, sourceRow: number): void {
    this.sum[row] = source.sum[sourceRow]!
    if (!this.hasMinMax) return
    this.min[row] = source.min[sourceRow]!
    this.max[row] = source.max[sourceRow]!
    if (!this.hasFirstLast) return
    this.firstMs[row] = source.firstMs[sourceRow]!
    this.first[row] = source.first[sourceRow]!
    this.lastMs[row] = source.lastMs[sourceRow]!
    this.last[row] = source.last[sourceRow]!
  }
}

/** The columns that `mergeScalars` reads. */
export type ScalarColumns = Pick<RollupRows, 'count' | 'sum' | 'min' | 'max' | 'firstMs' | 'first' | 'lastMs' | 'last'>

/** Returns a longer copy of a column. The new elements are 0. */
export function grownNumbers(column: Float64Array, capacity: number): Float64Array<ArrayBuffer> {
  const copy = new Float64Array(capacity)
  copy.set(column)
  return copy
}

/** Like {@link grownNumbers} for a column of ids, indexes or offsets. */
export function grownIds(column: Uint32Array, capacity: number): Uint32Array<ArrayBuffer> {
  const copy = new Uint32Array(capacity)
  copy.set(column)
  return copy
}
