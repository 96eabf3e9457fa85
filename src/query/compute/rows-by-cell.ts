import type { RollupRows } from '../../rollup/rollup-rows.ts'
import { addBinsToAccumulator, addBinsToSketch } from '../../rollup/row-bins.ts'
import { binAccumulator } from '../../sketch/bin-accumulator.ts'
import { BinColumns } from '../../sketch/bins.ts'
import type { Cells } from './cells.ts'

/**
 * The rows of one block, by the cell that they belong to. Rows are in the order of series, so consecutive rows mostly
 * belong to different cells. Adding up the bins of all rows of a cell first, and then adding the sum to the sketch of
 * the cell, takes a third of the time of adding each row to the sketch.
 */
export class RowsByCell {
  /** By cell: 1 plus the row that was added last; 0 if there is none. */
  #lastRow = new Uint32Array(0)
  /** By row: 1 plus the row of the same cell that was added before; 0 if there is none. */
  #previousRow = new Uint32Array(0)
  /** The cells that have rows. */
  #cells: number[] = []

  add(cell: number, row: number): void {
    if (cell >= this.#lastRow.length) this.#lastRow = grown(this.#lastRow, cell + 1)
    if (row >= this.#previousRow.length) this.#previousRow = grown(this.#previousRow, row + 1)
    const previous = this.#lastRow[cell]!
    if (previous === 0) this.#cells.push(cell)
    this.#previousRow[row] = previous
    this.#lastRow[cell] = row + 1
  }

  /** Adds the bins of all rows to the sketches of their cells, and forgets the rows. */
  mergeInto(cells: Cells, rows: RollupRows): void {
    // A merge that has thrown may have left bins in `binAccumulator`.
    if (binAccumulator.binCount > 0) binAccumulator.clear()
    for (const cell of this.#cells) {
      const sketch = cells.sketchOf(cell)
      const last = this.#lastRow[cell]!
      this.#lastRow[cell] = 0
      if (this.#previousRow[last - 1] === 0) {
        addBinsToSketch(rows, last - 1, sketch)
        continue
      }
      for (let next = last; next > 0; next = this.#previousRow[next - 1]!)
        if (rows.count[next - 1]! > 0) addBinsToAccumulator(rows, next - 1, binAccumulator)
      binAccumulator.moveTo(cellBins)
      sketch.addBins(cellBins)
    }
    this.#cells = []
  }
}

/** Scratch columns of `mergeInto`. */
const cellBins = new BinColumns()

function grown(column: Uint32Array<ArrayBuffer>, lengthMin: number): Uint32Array<ArrayBuffer> {
  const longer = new Uint32Array(Math.max(lengthMin, column.length * 2))
  longer.set(column)
  return longer
}
