import type { BinAccumulator } from '../sketch/bin-accumulator.ts'
import { BinColumns, decodeBins } from '../sketch/bins.ts'
import { BIN_KEY_MAX, binKeyOf } from '../sketch/quantile-precision.ts'
import type { QuantileSketch } from '../sketch/quantile-sketch.ts'
import type { ByteWriter } from '../sketch/varint.ts'
import type { RollupRows } from './rollup-rows.ts'

/**
 * Reads the bins of one row of a distribution. The values of a row without stored bins are all equal; its only bin is
 * computed from `min` and `count`.
 */

/** Scratch columns of `addBinsToSketch`. */
const scratchBins = new BinColumns()

/** Whether a row of a distribution has stored bins. */
export function hasBins({ binStart }: RollupRows, row: number): boolean {
  return row + 1 < binStart.length && binStart[row]! < binStart[row + 1]!
}

/**
 * Marks a row whose bins have an invalid weight as broken: writes a sketch without bins instead of the bins. The block
 * encoder refuses such a row, and each row that it is merged into.
 */
export function encodeBrokenBins(writer: ByteWriter): void {
  writer.varint(0)
}

/** Whether a row that has stored bins is marked as broken. */
export function hasBrokenBins(rows: RollupRows, row: number): boolean {
  return rows.binBytes[rows.binStart[row]!] === 0
}

/**
 * The weight of a bin that stands for a broken row when bins are added up. The sum of up to millions of them is no
 * integer, so `BinAccumulator.encode` throws, and the merged row becomes broken too. The bin has the smallest key,
 * which real values hardly have: a real weight of millions in this bin would round the sum to an integer.
 */
const BROKEN_WEIGHT = 2 ** -30

export function addBinsToSketch(rows: RollupRows, row: number, sketch: QuantileSketch): void {
  if (hasBins(rows, row)) {
    decodeBins(rows.binBytes, rows.binStart[row]!, scratchBins)
    sketch.addBins(scratchBins)
  } else if (rows.count[row]! > 0) {
    sketch.add(rows.min[row]!, rows.count[row]!)
  }
}

export function addBinsToAccumulator(rows: RollupRows, row: number, accumulator: BinAccumulator): void {
  if (hasBins(rows, row)) {
    const binCount = accumulator.addEncoded(rows.binBytes, rows.binStart[row]!)
    if (binCount === 0) accumulator.add(-BIN_KEY_MAX, BROKEN_WEIGHT)
  } else {
    accumulator.add(binKeyOf(rows.min[row]!), rows.count[row]!)
  }
}
