import type { GatewayError } from '../model/errors.ts'
import type { MetricType } from '../model/metric.ts'
import { QuantileSketch } from '../sketch/quantile-sketch.ts'
import type { Aggregation } from './aggregation.ts'
import { LimitCounts } from './limit-counts.ts'

/** Which accumulators the aggregations of a query need besides count and sum. */
export interface Needs {
  readonly extremes: boolean
  /** First and last. */
  readonly ends: boolean
  readonly sketches: boolean
  /** Counts by the upper limits of a histogram. */
  readonly limits: boolean
}

export function needsOf(computed: readonly Aggregation[], type: MetricType): Needs {
  const asks = (...kinds: readonly Aggregation['kind'][]): boolean => computed.some(({ kind }) => kinds.includes(kind))
  const limits = type === 'histogram' && asks('quantile')
  const sketches = !limits && asks('quantile')
  return { extremes: sketches || asks('min', 'max'), ends: asks('first', 'last'), sketches, limits }
}

export interface CellLimits {
  readonly groups: number
  readonly buckets: number
  readonly cellsMax: number
  /** Called when more cells would be needed than may be. */
  tooMany(): GatewayError
}

/**
 * Accumulators of groups × answered buckets, as columns. A group takes its row of cells (a slot) when the first of its
 * rollups comes, so that groups without data in the range cost nothing.
 */
export class Cells {
  readonly buckets: number
  readonly #limits: CellLimits
  readonly #needs: Needs
  readonly #slotOf: Int32Array
  readonly #groups: number[] = []
  count = new Float64Array(0)
  sum = new Float64Array(0)
  min = new Float64Array(0)
  max = new Float64Array(0)
  firstMs = new Float64Array(0)
  first = new Float64Array(0)
  lastMs = new Float64Array(0)
  last = new Float64Array(0)
  readonly sketches: (QuantileSketch | undefined)[] = []
  readonly limitCounts: (LimitCounts | undefined)[] = []
  /** Running totals were merged that may have risen by more than is known of them. */
  inexact = false

  constructor(limits: CellLimits, needs: Needs) {
    this.buckets = limits.buckets
    this.#limits = limits
    this.#needs = needs
    this.#slotOf = new Int32Array(limits.groups).fill(-1)
  }

  /** The groups that have cells, in the order of their slots. */
  get groups(): readonly number[] {
    return this.#groups
  }

  /** The first cell of a group. */
  cellOf(group: number): number {
    let slot = this.#slotOf[group]!
    if (slot < 0) {
      slot = this.#groups.push(group) - 1
      this.#slotOf[group] = slot
      this.#reserve(this.#groups.length * this.buckets)
    }
    return slot * this.buckets
  }

  sketchOf(cell: number): QuantileSketch {
    let sketch = this.sketches[cell]
    if (sketch === undefined) this.sketches[cell] = sketch = new QuantileSketch()
    return sketch
  }

  limitCountsOf(cell: number): LimitCounts {
    let counts = this.limitCounts[cell]
    if (counts === undefined) this.limitCounts[cell] = counts = new LimitCounts()
    return counts
  }

  #reserve(cells: number): void {
    if (cells > this.#limits.cellsMax) throw this.#limits.tooMany()
    if (cells <= this.count.length) return
    const capacity = Math.max(cells, this.count.length * 2)
    this.count = grown(this.count, capacity, 0)
    this.sum = grown(this.sum, capacity, 0)
    if (this.#needs.extremes) {
      this.min = grown(this.min, capacity, Number.POSITIVE_INFINITY)
      this.max = grown(this.max, capacity, Number.NEGATIVE_INFINITY)
    }
    if (this.#needs.ends) {
      this.firstMs = grown(this.firstMs, capacity, Number.POSITIVE_INFINITY)
      this.first = grown(this.first, capacity, Number.NaN)
      this.lastMs = grown(this.lastMs, capacity, Number.NEGATIVE_INFINITY)
      this.last = grown(this.last, capacity, Number.NaN)
    }
  }
}

function grown(column: Float64Array<ArrayBuffer>, capacity: number, fill: number): Float64Array<ArrayBuffer> {
  const wider = new Float64Array(capacity)
  if (fill !== 0) wider.fill(fill, column.length)
  wider.set(column)
  return wider
}
