import type { RollupKind } from '../model/metric.ts'
import type { Totals } from './totals.ts'

/**
 * Rollups as columns: the interface of tables, merged rows and sections of decoded blocks. One row is one series in one
 * bucket; series ascend by id, the rows of a series by bucket, and no two rows share both.
 *
 * A gauge has count, sum, min, max and first and last with their times; a counter count and sum (of deltas), and
 * totals; a distribution count (the total weight), sum, min, max and bins; a set the count of points alone. A column
 * that a kind does not have is an empty array. Arrays may be longer than `length` (`seriesCount`, `seriesCount + 1`);
 * the elements beyond are not used.
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
  /** The rows of series i are rowStart[i] up to, not including, rowStart[i + 1]. */
  readonly rowStart: Uint32Array
  /** Whether any row of a counter holds running totals. */
  readonly hasTotals: boolean
  /**
   * Bins of the rows of a distribution, encoded as `bins.ts` describes: those of row i are bytes binStart[i] up to, not
   * including, binStart[i + 1]. A row whose values are all equal has none. `binStart` may be empty when no row has any.
   */
  readonly binBytes: Uint8Array
  readonly binStart: Uint32Array
  /** The running totals of a row of a counter. The caller must not change them. */
  totalsAt(row: number): Totals | undefined
}
