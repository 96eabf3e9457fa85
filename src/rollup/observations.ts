import { binAccumulator } from '../sketch/bin-accumulator.ts'
import { binKeyOf } from '../sketch/quantile-precision.ts'
import { ByteWriter } from '../sketch/varint.ts'
import { grownIds, grownNumbers } from './row-columns.ts'

const NO_IDS = new Uint32Array(0)
const CAPACITY_MIN = 64
/** `clear` frees the columns if they are longer than this. */
const KEPT_LENGTH_MAX = 1 << 16

/**
 * The values of the rows of a `RollupTable` of distributions, in the order in which they were added. They are encoded
 * as bins only after the rows were sorted. So adding a value only appends to columns, and no object per row is needed.
 * The table does not add the values of a row while they are all equal, because such a row needs no bins.
 */
export class Observations {
  /** For each observation the index of its row, as passed to `add`; after `encode` its new index. */
  #row = NO_IDS
  #key = new Int32Array(0)
  #weight = new Float64Array(0)
  #length = 0
  /** After `encode`: for each row, the offset of its bins in `binBytes`; then the offset after the last bins. */
  binStart = NO_IDS
  readonly #bins = new ByteWriter(0)

  get length(): number {
    return this.#length
  }

  /** Approximate memory of the observations and bins, without capacity that is not in use. */
  get estimatedBytes(): number {
    return this.#length * 16 + this.#bins.length
  }

  /** Memory of the columns and bins in bytes, with capacity that is not in use. */
  get allocatedBytes(): number {
    return this.#row.length * 16 + this.binStart.length * 4 + this.#bins.capacityBytes
  }

  get binBytes(): Uint8Array {
    return this.#bins.written
  }

  add(row: number, value: number, weight: number): void {
    const index = this.#length
    if (index === this.#row.length) this.#resize(Math.max(CAPACITY_MIN, index * 2))
    this.#row[index] = row
    this.#key[index] = binKeyOf(value)
    this.#weight[index] = weight
    this.#length = index + 1
  }

  /**
   * Encodes the bins of all rows. `newRow[i]` is the present index of the row that had index i when its values were
   * added.
   */
  encode(rowCount: number, newRow: Uint32Array): void {
    const length = this.#length
    // A merge that has thrown may have left bins in `binAccumulator`.
    if (binAccumulator.binCount > 0) binAccumulator.clear()
    this.#bins.reset()
    if (this.binStart.length < rowCount + 1) this.binStart = new Uint32Array(Math.max(CAPACITY_MIN, rowCount * 2))
    const binStart = this.binStart
    // Counting sort by row. `binStart` first has the number of observations of each row (at index row + 1), then the
    // index in `order` of the first observation of each row.
    binStart.fill(0, 0, rowCount + 1)
    const row = this.#row
    for (let i = 0; i < length; i++) row[i] = newRow[row[i]!]!
    for (let i = 0; i < length; i++) binStart[row[i]! + 1]!++
    for (let i = 0; i < rowCount; i++) binStart[i + 1]! += binStart[i]!
    if (observationOrder.length < length) observationOrder = new Uint32Array(length * 2)
    const order = observationOrder
    for (let i = 0; i < length; i++) order[binStart[row[i]!]!++] = i
    // Now `binStart` has for each row the end of its observations in `order`.
    let orderIndex = 0
    for (let i = 0; i < rowCount; i++) {
      const orderEnd = binStart[i]!
      binStart[i] = this.#bins.length
      if (orderIndex === orderEnd) continue
      for (; orderIndex < orderEnd; orderIndex++)
        binAccumulator.add(this.#key[order[orderIndex]!]!, this.#weight[order[orderIndex]!]!)
      binAccumulator.encode(this.#bins)
    }
    binStart[rowCount] = this.#bins.length
  }

  /** Removes all observations. The memory of short columns is kept for reuse. */
  clear(): void {
    this.#length = 0
    this.#bins.reset()
    if (this.#row.length <= KEPT_LENGTH_MAX) return
    this.#row = NO_IDS
    this.#key = new Int32Array(0)
    this.#weight = new Float64Array(0)
    if (observationOrder.length > KEPT_LENGTH_MAX) observationOrder = NO_IDS
  }

  #resize(capacity: number): void {
    this.#row = grownIds(this.#row, capacity)
    this.#weight = grownNumbers(this.#weight, capacity)
    const key = new Int32Array(capacity)
    key.set(this.#key)
    this.#key = key
  }
}

/** Scratch array of `encode`: the indexes of all observations, sorted by row. */
let observationOrder = NO_IDS
