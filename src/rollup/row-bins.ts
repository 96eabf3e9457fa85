import type { BinAccumulator } from '../sketch/bin-accumulator.ts'
import { BinColumns, decodeBins } from '../sketch/bins.ts'
import { binOf, KEY_MAX } from '../sketch/quantile-precision.ts'
import type { QuantileSketch } from '../sketch/quantile-sketch.ts'
import type { ByteWriter } from '../sketch/varint.ts'
import type { RollupRows } from './rollup-rows.ts'

/** Reads the bins of one row of a distribution. A row of equal values has no stored bins; its only bin is computed. */

/** Scratch columns; each row overwrites them. */
const scratch = new BinColumns()

export function hasBins({ binStart }: RollupRows, row: number): boolean {
  return row + 1 < binStart.length && binStart[row]! < binStart[row + 1]!
}

/**
 * Marks a row whose bins could not be encoded: writes a sketch without bins. This row, and any row that it is merged
 * into, cannot be encoded.
 */
export function encodeBroken(writer: ByteWriter): void {
  writer.varint(0)
}

export function isBroken(rows: RollupRows, row: number): boolean {
  return rows.binBytes[rows.binStart[row]!] === 0
}

/**
 * The weight of a broken row. Neither this number nor a sum of many of them is an integer, so the encoder refuses it.
 */
const BROKEN_WEIGHT = 2 ** -30

export function addBinsToSketch(rows: RollupRows, row: number, sketch: QuantileSketch): void {
  if (hasBins(rows, row)) {
    sketch.mergeEncoded(rows.binBytes, rows.binStart[row]!)
  } else if (rows.count[row]! > 0) {
    sketch.add(rows.min[row]!, rows.count[row]!)
  }
}

export function addBinsToAccumulator(rows: RollupRows, row: number, accumulator: BinAccumulator): void {
  if (hasBins(rows, row)) {
    decodeBins(rows.binBytes, rows.binStart[row]!, scratch)
    if (scratch.length === 0) accumulator.add(-KEY_MAX, BROKEN_WEIGHT)
    accumulator.addColumns(scratch)
  } else {
    accumulator.add(binOf(rows.min[row]!), rows.count[row]!)
  }
}
