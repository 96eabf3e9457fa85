import type { RollupKind } from '../model/metric.ts'
import { ObjectPool } from '../model/object-pool.ts'
import { binAccumulator } from '../sketch/bin-accumulator.ts'
import { binKeyOf } from '../sketch/quantile-precision.ts'
import { ByteWriter } from '../sketch/varint.ts'
import type { RollupRows } from './rollup-rows.ts'
import { addBinsToAccumulator, encodeBrokenBins, hasBins } from './row-bins.ts'
import { grownIds, RowColumns } from './row-columns.ts'
import { RunningTotals } from './running-totals.ts'

const NO_IDS = new Uint32Array(0)

/**
 * Makes rollups from other rollups. Rows are added in the order of series and bucket, and rollups are merged only into
 * the last row. So `binAccumulator` can add up the bins of one row after the other, and the bins of a row need no
 * object. If the bins of a row come from a single source row, their bytes are copied.
 */
export class MergedRows extends RowColumns implements RollupRows {
  seriesCount = 0
  seriesHi = NO_IDS
  seriesLo = NO_IDS
  rowStart = NO_IDS
  binStart = NO_IDS
  binBytes: Uint8Array = NO_BYTES
  #length = 0
  readonly #bins = new ByteWriter(0)
  /**
   * The first source row that was merged into the last row is row `#binRow` of `#binSource`. Its bins are decoded when
   * a further row is merged, unless all values of both rows are equal. From then on, all bins of the last row are in
   * `binAccumulator`, and `#areBinsInAccumulator` is true. Only distributions use these fields.
   */
  #binSource: RollupRows | undefined
  #binRow = 0
  #areBinsInAccumulator = false
  /** For each row of a counter: 1 + the index of its totals in `#totals`; 0 if it has no totals. */
  #totalsIndex = NO_IDS
  #totals: RunningTotals[] = []

  constructor(kind: RollupKind, capacity: number) {
    super(kind, capacity)
    this.#resizeIds()
  }

  /** Approximate memory of the columns and bins in bytes, without running totals. */
  get allocatedBytes(): number {
    return this.bucketMs.length * bytesPerRow(this.kind) + this.#bins.capacityBytes
  }

  /** Removes all rows and keeps the memory of the columns and bins for reuse. */
  clear(): void {
    this.seriesCount = 0
    this.#length = 0
    this.#bins.reset()
    this.#binSource = undefined
    this.#areBinsInAccumulator = false
    this.#totals = []
  }

  get length(): number {
    return this.#length
  }

  get hasTotals(): boolean {
    return this.#totals.length > 0
  }

  /**
   * Adds a row without points. Its series id must be greater than that of the last row, or equal with a later bucket.
   */
  addRow(seriesHi: number, seriesLo: number, bucketMs: number): void {
    this.completeRow()
    const row = this.#length
    if (row === this.bucketMs.length) {
      this.resize(row * 2)
      this.#resizeIds()
    }
    this.#length = row + 1
    const series = this.seriesCount - 1
    if (series < 0 || this.seriesLo[series] !== seriesLo || this.seriesHi[series] !== seriesHi) {
      this.seriesHi[series + 1] = seriesHi
      this.seriesLo[series + 1] = seriesLo
      this.rowStart[series + 1] = row
      this.seriesCount = series + 2
    }
    this.bucketMs[row] = bucketMs
    this.count[row] = 0
    if (this.kind === 'counter') this.#totalsIndex[row] = 0
  }

  /**
   * Merges row `sourceRow` of `source` into the last row. The source must have the same kind, and its points must have
   * arrived later than those that the last row already has.
   */
  mergeRow(source: RollupRows, sourceRow: number): void {
    if (source.count[sourceRow] === 0) return
    const row = this.#length - 1
    if (this.kind === 'distribution') this.#mergeBins(row, source, sourceRow)
    this.mergeScalars(row, source, sourceRow)
    if (this.kind === 'counter' && source.hasTotals) {
      const totals = source.totalsAt(sourceRow)
      if (totals !== undefined) this.#totalsOf(row).merge(totals)
    }
  }

  /** Completes the last row and returns the rows. No more rows can be added before `clear`. */
  finish(): RollupRows {
    this.completeRow()
    this.rowStart[this.seriesCount] = this.#length
    if (this.kind === 'distribution') this.binBytes = this.#bins.written
    return this
  }

  totalsAt(row: number): RunningTotals | undefined {
    const totalsIndex = this.kind === 'counter' ? this.#totalsIndex[row]! : 0
    return totalsIndex === 0 ? undefined : this.#totals[totalsIndex - 1]
  }

  /**
   * Changes the rows to a coarser resolution, if that merges no rows because each series has only one. The result is
   * that of a merge of the finished rows. Returns false, and changes nothing, if a series has several rows.
   */
  coarsen(resolutionMs: number): boolean {
    if (this.seriesCount !== this.#length) return false
    const { bucketMs } = this
    for (let row = 0; row < this.#length; row++)
      bucketMs[row] = Math.floor(bucketMs[row]! / resolutionMs) * resolutionMs
    this.thinTotals()
    return true
  }

  /** Thins all lists of running totals. For a resolution that is coarser than the base resolution. */
  thinTotals(): void {
    for (const totals of this.#totals) totals.thin()
  }

  /**
   * Merges the bins of a source row into the last row. Must be called before the other columns are merged, because it
   * needs `min`, `max` and `count` of the last row without the source row.
   */
  #mergeBins(row: number, source: RollupRows, sourceRow: number): void {
    const countBefore = this.count[row]!
    if (countBefore === 0) {
      this.#binSource = source
      this.#binRow = sourceRow
      return
    }
    if (!this.#areBinsInAccumulator) {
      const min = this.min[row]!
      if (min === this.max[row]) {
        // All values of both rows are equal, so the merged row needs no stored bins.
        if (source.min[sourceRow] === min && source.max[sourceRow] === min) return
        binAccumulator.add(binKeyOf(min), countBefore)
      } else addBinsToAccumulator(this.#binSource!, this.#binRow, binAccumulator)
      this.#areBinsInAccumulator = true
    }
    addBinsToAccumulator(source, sourceRow, binAccumulator)
  }

  /** Writes the bins of the last row, if it needs any. No more rows can be merged into it. */
  completeRow(): void {
    const row = this.#length - 1
    if (this.kind !== 'distribution' || row < 0) return
    if (this.#areBinsInAccumulator) {
      this.#areBinsInAccumulator = false
      this.#encodeAccumulator()
    } else if (
      this.#binSource !== undefined &&
      this.min[row] !== this.max[row] &&
      hasBins(this.#binSource, this.#binRow)
    ) {
      const { binBytes, binStart } = this.#binSource
      this.#bins.bytes(binBytes.subarray(binStart[this.#binRow]!, binStart[this.#binRow + 1]!))
    }
    this.#binSource = undefined
    this.binStart[row + 1] = this.#bins.length
  }

  /**
   * Encodes the bins in `binAccumulator`. If a weight is invalid, marks the row as broken. Then the block encoder
   * refuses only this row, and the merge of the other rows succeeds.
   */
  #encodeAccumulator(): void {
    const start = this.#bins.length
    try {
      binAccumulator.encode(this.#bins)
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause
      this.#bins.truncate(start)
      encodeBrokenBins(this.#bins)
    }
  }

  #totalsOf(row: number): RunningTotals {
    const totalsIndex = this.#totalsIndex[row]!
    if (totalsIndex !== 0) return this.#totals[totalsIndex - 1]!
    const totals = new RunningTotals()
    this.#totalsIndex[row] = this.#totals.push(totals)
    return totals
  }

  #resizeIds(): void {
    const capacity = this.bucketMs.length
    this.seriesHi = grownIds(this.seriesHi, capacity)
    this.seriesLo = grownIds(this.seriesLo, capacity)
    this.rowStart = grownIds(this.rowStart, capacity + 1)
    if (this.kind === 'distribution') this.binStart = grownIds(this.binStart, capacity + 1)
    if (this.kind === 'counter') this.#totalsIndex = grownIds(this.#totalsIndex, capacity)
  }
}

/** Maximum memory in bytes of all released `MergedRows` that are kept for reuse. */
const FREE_BYTES_MAX = 1 << 22
const freeRows = new ObjectPool<MergedRows>({ bytesMax: FREE_BYTES_MAX, objectBytesMax: FREE_BYTES_MAX })

/** Approximate memory of a row in bytes, without bins and running totals. */
function bytesPerRow(kind: RollupKind): number {
  const columnCount = kind === 'gauge' ? 9 : kind === 'distribution' ? 5 : 3
  return columnCount * 8 + 20
}

/** Returns an empty `MergedRows`: a released one, if possible with memory for `capacity` rows, or else a new one. */
export function acquireMergedRows(kind: RollupKind, capacity = 0): MergedRows {
  // A merge that has thrown may have left bins in `binAccumulator`.
  if (binAccumulator.binCount > 0) binAccumulator.clear()
  return freeRows.take(kind, capacity * bytesPerRow(kind)) ?? new MergedRows(kind, capacity)
}

/**
 * Keeps the memory of merged rows for a later merge, if `FREE_BYTES_MAX` allows it. The caller must not read the rows
 * afterwards. Does nothing if `rows` are not `MergedRows`.
 */
export function releaseMergedRows(rows: RollupRows): void {
  if (rows instanceof MergedRows) freeRows.giveBack(rows)
}

const NO_BYTES = new Uint8Array(0)
