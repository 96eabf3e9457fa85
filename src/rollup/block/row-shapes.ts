import type { RollupRows } from '../rollup-rows.ts'
import { SHAPE_FLAT, SHAPE_FULL, SHAPE_SINGLE } from './block-format.ts'

/**
 * The shape of a row says which of its columns are stored: only the value of a single point, one value for all points,
 * or all columns.
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
