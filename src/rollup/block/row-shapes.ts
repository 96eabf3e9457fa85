import type { RollupRows } from '../rollup-rows.ts'
import { SHAPE_FLAT, SHAPE_FULL, SHAPE_SINGLE } from './block-format.ts'

/**
 * Returns the shape of a row, which says which of its columns are stored (see `SHAPE_SINGLE` in `block-format.ts`).
 * Values count as equal if they are the same double: 0 and -0 are different, NaN and NaN are the same.
 */

export function distributionShape(rows: RollupRows, row: number): number {
  const min = rows.min[row]!
  if (!Object.is(min, rows.max[row])) return SHAPE_FULL
  return rows.count[row] === 1 && Object.is(rows.sum[row], min) ? SHAPE_SINGLE : SHAPE_FLAT
}

export function gaugeShape(rows: RollupRows, row: number): number {
  const min = rows.min[row]!
  if (!Object.is(min, rows.max[row]) || !Object.is(min, rows.first[row]) || !Object.is(min, rows.last[row]))
    return SHAPE_FULL
  const isSingle = rows.count[row] === 1 && Object.is(rows.sum[row], min) && rows.firstMs[row] === rows.lastMs[row]
  return isSingle ? SHAPE_SINGLE : SHAPE_FLAT
}
