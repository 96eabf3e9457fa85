import { binOf, KEY_MAX } from '../sketch/bin-keys.ts'
import type { BinWindow } from '../sketch/bin-window.ts'
import { BinColumns, decodeBins } from '../sketch/bins.ts'
import type { QuantileSketch } from '../sketch/quantile-sketch.ts'
import type { ByteWriter } from '../sketch/varint.ts'
import type { RollupRows } from './rollup-rows.ts'

/** Reads the bins of one row of a distribution. Rows of equal values have none; their only bin is computed. */

/** Overwritten by each row. */
const scratch = new BinColumns()

export function hasBins({ binStart }: RollupRows, row: number): boolean {
  return row + 1 < binStart.length && binStart[row]! < binStart[row + 1]!
}

/**
 * Marks a row whose bins could not be encoded, by a sketch without bins. The row, and any row it is merged into, cannot
 * be encoded.
 */
export function encodeBroken(writer: ByteWriter): void {
  writer.varint(0)
}

export function isBroken(rows: RollupRows, row: number): boolean {
  return rows.binBytes[rows.binStart[row]!] === 0
}

/** No integer, and neither is a sum of many of them: they cannot be encoded. */
const BROKEN_WEIGHT = 2 ** -30

export function addBinsToSketch(rows: RollupRows, row: number, sketch: QuantileSketch): void {
  if (hasBins(rows, row)) {
    sketch.mergeEncoded(rows.binBytes, rows.binStart[row]!)
  } else if (rows.count[row]! > 0) {
    sketch.add(rows.min[row]!, rows.count[row]!)
  }
}

export function addBinsToWindow(rows: RollupRows, row: number, window: BinWindow): void {
  if (hasBins(rows, row)) {
    decodeBins(rows.binBytes, rows.binStart[row]!, scratch)
    if (scratch.length === 0) window.add(-KEY_MAX, BROKEN_WEIGHT)
    window.addColumns(scratch)
  } else {
    window.add(binOf(rows.min[row]!), rows.count[row]!)
  }
}
