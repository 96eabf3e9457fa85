import type { RollupKind } from '../model/metric.ts'
import type { RunningTotals } from './running-totals.ts'

/**
 * Rollups as columns. A row is the rollup of one series in one bucket. Rows are sorted by series id, then by bucket,
 * without duplicates. New points (`RollupTable`), merged rollups and decoded blocks all have this interface.
 *
 * Columns by kind: a gauge has count, sum, min, max, and first and last with their times; a counter has count, sum (of
 * deltas) and totals; a distribution has count (the total weight), sum, min, max and bins; a set has only the count of
 * points. A column that a kind does not have is an empty array. A column may be longer than `length`, the arrays of
 * series longer than `seriesCount` (`rowStart`: `seriesCount + 1`); the elements beyond are unused.
 *
 * A row of a gauge may have an end marker: its series ended at `lastMs`, and `last` is NaN. A row with a marker and no
 * value has a count of 1, and NaN in all columns of values. `hasOnlyEndMarker` finds such rows.
 */
export interface RollupRows {
  readonly kind: RollupKind
  readonly length: number
  readonly bucketMs: Float64Array
  readonly count: Float64Array
  readonly sum: Float64Array
  readonly min: Float64Array
  readonly max: Float64Array
  readonly firstMs: Float64Array
  readonly first: Float64Array
  readonly lastMs: Float64Array
  readonly last: Float64Array
  readonly seriesCount: number
  readonly seriesHi: Uint32Array
  readonly seriesLo: Uint32Array
  /** The rows of series i have the indexes rowStart[i] to rowStart[i + 1] - 1. */
  readonly rowStart: Uint32Array
  /** If false, no row has running totals. True only for counters. */
  readonly hasTotals: boolean
  /**
   * Bins of the rows of a distribution, in the encoding of `bins.ts`. The bins of row i are the bytes binStart[i] to
   * binStart[i + 1] - 1. A row whose values are all the same double has no bytes. If no row has bytes, `binStart` may
   * be empty.
   */
  readonly binBytes: Uint8Array
  readonly binStart: Uint32Array
  /** Returns the running totals of a row of a counter; undefined if it has none. The caller must not change them. */
  totalsAt(row: number): RunningTotals | undefined
}

/** Whether a row of a gauge has an end marker and no value. The values of points are never NaN, but a sum may be. */
export function hasOnlyEndMarker({ min }: Pick<RollupRows, 'min'>, row: number): boolean {
  return Number.isNaN(min[row])
}

/** Returns the index in `seriesHi` and `seriesLo` of the series to which a row belongs. */
export function seriesIndexOfRow(rows: RollupRows, row: number): number {
  let low = 0
  let high = rows.seriesCount
  while (high - low > 1) {
    const middle = (low + high) >>> 1
    if (rows.rowStart[middle]! <= row) low = middle
    else high = middle
  }
  return low
}

/** Returns the start of the first and of the last bucket of the rows [from, to); infinities if there are none. */
export function bucketRangeOf(
  { bucketMs }: Pick<RollupRows, 'bucketMs'>,
  from: number,
  to: number,
): { readonly firstMs: number; readonly lastMs: number } {
  let firstMs = Number.POSITIVE_INFINITY
  let lastMs = Number.NEGATIVE_INFINITY
  for (let row = from; row < to; row++) {
    const startMs = bucketMs[row]!
    if (startMs < firstMs) firstMs = startMs
    if (startMs > lastMs) lastMs = startMs
  }
  return { firstMs, lastMs }
}
