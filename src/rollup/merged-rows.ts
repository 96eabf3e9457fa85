import { assert } from '../model/errors.ts'
import type { RollupKind } from '../model/metric.ts'
import { binAccumulator } from '../sketch/bin-accumulator.ts'
import { binOf } from '../sketch/quantile-precision.ts'
import { ByteWriter } from '../sketch/varint.ts'
import type { RollupRows } from './rollup-rows.ts'
import { addBinsToAccumulator, encodeBroken, hasBins } from './row-bins.ts'
import { grownIds, RowColumns } from './row-columns.ts'
import { Totals } from './totals.ts'

const NO_IDS = new Uint32Array(0)

/**
 * Rollups that are merged from other rollups. Rows are added in the order of `RollupRows`, and rollups can be merged
 * only into the last row. So one `binWindow` adds up the bins of all rows in turn, and no row needs its own object.
 * Bins that come from a single source row are copied as bytes.
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
   * The first source row of the last row. Its bins are copied, unless bins of other source rows are added: then all
   * bins are in `binWindow`, and `#isInBinWindow` is true.
   */
  #binSource: RollupRows | undefined
  #binRow = 0
  #isInAccumulator = false
  /** For each row: 1 + its index in `#totals`, or 0 if it has no totals. */
  #totalsAt = NO_IDS
  #totals: Totals[] = []

  constructor(kind: RollupKind, capacity: number) {
    super(kind, capacity)
    this.#resizeIds()
  }

  /** Memory of the columns and bins in bytes. */
  get allocatedBytes(): number {
    const columns = this.hasEnds ? 9 : this.hasMoments ? 5 : 3
    return this.bucketMs.length * (columns * 8 + 20) + this.#bins.capacity
  }

  /** Removes all rows and keeps the memory for reuse. */
  clear(): void {
    this.seriesCount = 0
    this.#length = 0
    this.#bins.reset()
    this.#binSource = undefined
    this.#isInAccumulator = false
    this.#totals = []
  }

  get length(): number {
    return this.#length
  }

  get hasTotals(): boolean {
    return this.#totals.length > 0
  }

  /** Adds a row without points. Its series must be greater than that of the last row, or its bucket later. */
  addRow(seriesHi: number, seriesLo: number, bucketMs: number): void {
    this.#closeRow()
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
    if (this.kind === 'counter') this.#totalsAt[row] = 0
  }

  /** Merges row `from` of `source`, which is of the same kind and arrived later, into the last row. */
  mergeRow(source: RollupRows, from: number): void {
    if (source.count[from] === 0) return
    const row = this.#length - 1
    if (this.kind === 'distribution') this.#mergeBins(row, source, from)
    this.mergeScalars(row, source, from)
    if (this.kind === 'counter' && source.hasTotals) {
      const totals = source.totalsAt(from)
      if (totals !== undefined) this.#totalsOf(row).merge(totals)
    }
  }

  /** Completes the last row and returns the rows. No more rows can be added. */
  finish(): RollupRows {
    this.#closeRow()
    this.rowStart[this.seriesCount] = this.#length
    if (this.kind === 'distribution') this.binBytes = this.#bins.written
    return this
  }

  totalsAt(row: number): Totals | undefined {
    const place = this.kind === 'counter' ? this.#totalsAt[row]! : 0
    return place === 0 ? undefined : this.#totals[place - 1]
  }

  /** Thins the running totals, for a resolution that is coarser than the base. */
  thinTotals(): void {
    for (const totals of this.#totals) totals.thin()
  }

  /**
   * Merges the bins of a source row. It must be called before the scalars are merged, because it reads the row's old
   * min, max and count.
   */
  #mergeBins(row: number, source: RollupRows, from: number): void {
    const before = this.count[row]!
    if (before === 0) {
      this.#binSource = source
      this.#binRow = from
      return
    }
    if (!this.#isInAccumulator) {
      const min = this.min[row]!
      if (min === this.max[row]) {
        // A row of equal values needs no bins: its only bin is computed from value and count.
        if (source.min[from] === min && source.max[from] === min) return
        binAccumulator.add(binOf(min), before)
      } else addBinsToAccumulator(this.#binSource!, this.#binRow, binAccumulator)
      this.#isInAccumulator = true
    }
    addBinsToAccumulator(source, from, binAccumulator)
  }

  /** Writes the bins of the last row. */
  #closeRow(): void {
    const row = this.#length - 1
    if (this.kind !== 'distribution' || row < 0) return
    if (this.#isInAccumulator) {
      this.#isInAccumulator = false
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
   * Encodes the bins in `binWindow`. If a weight is not an integer, the row is marked as broken, so that the encoder
   * refuses this row only, and the merge of the other rows succeeds.
   */
  #encodeAccumulator(): void {
    const start = this.#bins.length
    try {
      binAccumulator.encode(this.#bins)
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause
      this.#bins.truncate(start)
      encodeBroken(this.#bins)
    }
  }

  #totalsOf(row: number): Totals {
    const place = this.#totalsAt[row]!
    if (place !== 0) return this.#totals[place - 1]!
    const totals = new Totals()
    this.#totalsAt[row] = this.#totals.push(totals)
    return totals
  }

  #resizeIds(): void {
    const capacity = this.bucketMs.length
    this.seriesHi = grownIds(this.seriesHi, capacity)
    this.seriesLo = grownIds(this.seriesLo, capacity)
    this.rowStart = grownIds(this.rowStart, capacity + 1)
    if (this.kind === 'distribution') this.binStart = grownIds(this.binStart, capacity + 1)
    if (this.kind === 'counter') this.#totalsAt = grownIds(this.#totalsAt, capacity)
  }
}

/** Maximum memory of all `MergedRows` that are kept for reuse. */
const KEPT_BYTES_MAX = 1 << 22
const kept = new Map<RollupKind, MergedRows[]>()
let keptBytes = 0

export function takeMergedRows(kind: RollupKind, capacity = 0): MergedRows {
  // A merge that failed may have left bins in `binWindow`.
  if (binAccumulator.binCount > 0) binAccumulator.clear()
  const rows = kept.get(kind)?.pop()
  if (rows === undefined) return new MergedRows(kind, capacity)
  keptBytes -= rows.allocatedBytes
  return rows
}

/**
 * Keeps the memory of merged rows for the next merge; the caller must not read the rows afterwards. Does nothing for
 * other kinds of rows.
 */
export function giveMergedRows(rows: RollupRows): void {
  if (!(rows instanceof MergedRows)) return
  const { kind, allocatedBytes } = rows
  if (keptBytes + allocatedBytes > KEPT_BYTES_MAX) return
  const ofKind = kept.get(kind) ?? []
  assert(!ofKind.includes(rows), 'rows are given back once')
  rows.clear()
  keptBytes += allocatedBytes
  ofKind.push(rows)
  kept.set(kind, ofKind)
}

const NO_BYTES = new Uint8Array(0)
