import { addCounts } from '../model/count.ts'
import type { RollupKind } from '../model/metric.ts'
import type { RollupRows } from './rollup-rows.ts'

const NO_NUMBERS = new Float64Array(0)
/**
 * Minimum capacity of a column. V8 keeps typed arrays of up to eight numbers in its heap; a separate buffer takes far
 * more memory, and many metrics have few rows.
 */
export const CAPACITY_MIN = 8

/** Growing columns for rollups of one kind. All columns of the kind have the same capacity; the others are empty. */
export class RowColumns {
  readonly kind: RollupKind
  /** Whether the kind has min and max: gauges and distributions. */
  readonly hasMoments: boolean
  /** Whether the kind has first and last values: gauges. */
  readonly hasEnds: boolean
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
    this.hasMoments = kind === 'gauge' || kind === 'distribution'
    this.hasEnds = kind === 'gauge'
    this.resize(Math.max(CAPACITY_MIN, capacity))
  }

  protected resize(capacity: number): void {
    this.bucketMs = grownNumbers(this.bucketMs, capacity)
    this.count = grownNumbers(this.count, capacity)
    if (this.kind !== 'set') this.sum = grownNumbers(this.sum, capacity)
    if (this.hasMoments) {
      this.min = grownNumbers(this.min, capacity)
      this.max = grownNumbers(this.max, capacity)
    }
    if (this.hasEnds) {
      this.firstMs = grownNumbers(this.firstMs, capacity)
      this.first = grownNumbers(this.first, capacity)
      this.lastMs = grownNumbers(this.lastMs, capacity)
      this.last = grownNumbers(this.last, capacity)
    }
  }

  /** Merges the scalars of the row `from` of `source`, which arrived later and has points, into `row`. */
  protected mergeScalars(row: number, source: RowSource, from: number): void {
    const before = this.count[row]!
    this.count[row] = addCounts(before, source.count[from]!)
    if (this.kind === 'set') return
    if (before === 0) {
      this.#copyScalars(row, source, from)
      return
    }
    this.sum[row]! += source.sum[from]!
    if (!this.hasMoments) return
    const min = source.min[from]!
    const max = source.max[from]!
    if (min < this.min[row]!) this.min[row] = min
    if (max > this.max[row]!) this.max[row] = max
    if (!this.hasEnds) return
    if (source.firstMs[from]! < this.firstMs[row]!) {
      this.firstMs[row] = source.firstMs[from]!
      this.first[row] = source.first[from]!
    }
    if (source.lastMs[from]! >= this.lastMs[row]!) {
      this.lastMs[row] = source.lastMs[from]!
      this.last[row] = source.last[from]!
    }
  }

  #copyScalars(row: number, source: RowSource, from: number): void {
    this.sum[row] = source.sum[from]!
    if (!this.hasMoments) return
    this.min[row] = source.min[from]!
    this.max[row] = source.max[from]!
    if (!this.hasEnds) return
    this.firstMs[row] = source.firstMs[from]!
    this.first[row] = source.first[from]!
    this.lastMs[row] = source.lastMs[from]!
    this.last[row] = source.last[from]!
  }
}

/** The columns that `mergeScalars` reads. */
export type RowSource = Pick<RollupRows, 'count' | 'sum' | 'min' | 'max' | 'firstMs' | 'first' | 'lastMs' | 'last'>

export function grownNumbers(old: Float64Array, capacity: number): Float64Array<ArrayBuffer> {
  const grown = new Float64Array(capacity)
  grown.set(old)
  return grown
}

export function grownIds(old: Uint32Array, capacity: number): Uint32Array<ArrayBuffer> {
  const grown = new Uint32Array(capacity)
  grown.set(old)
  return grown
}
