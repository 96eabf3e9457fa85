import { addCounts } from '../model/count.ts'
import type { RollupKind } from '../model/metric.ts'
import { Observations } from './observations.ts'
import { orderByKey } from './order.ts'
import type { RollupRows } from './rollup-rows.ts'
import { CAPACITY_MIN, grownIds, RowColumns } from './row-columns.ts'
import { Totals } from './totals.ts'

const NO_IDS = new Uint32Array(0)
/**
 * Shared by all tables that are not of distributions: they have no observations, and there may be a table for each of
 * many metrics.
 */
const NO_OBSERVATIONS = new Observations()
/** Approximate memory of a list of totals, rounded up. */
const TOTALS_BYTES = 400

let movedNumbers = new Float64Array(1024)
let movedIds = new Uint32Array(1024)
/** Scratch: maps the index of a row before `sort` to its index afterwards. */
let newRow = new Uint32Array(1024)

function permuteNumbers(column: Float64Array, order: Uint32Array): void {
  const length = order.length
  if (movedNumbers.length < length) movedNumbers = new Float64Array(length * 2)
  const moved = movedNumbers
  for (let i = 0; i < length; i++) moved[i] = column[order[i]!]!
  for (let i = 0; i < length; i++) column[i] = moved[i]!
}

function permuteIds(column: Uint32Array, order: Uint32Array): void {
  const length = order.length
  if (movedIds.length < length) movedIds = new Uint32Array(length * 2)
  const moved = movedIds
  for (let i = 0; i < length; i++) moved[i] = column[order[i]!]!
  for (let i = 0; i < length; i++) column[i] = moved[i]!
}

/**
 * Rollups that are made from points. Rows are added in any order, and several rows may have the same series and bucket.
 * `sort` brings the rows into the order of `RollupRows`, merges such duplicates in the order they were added, and
 * removes rows without points (count 0).
 */
export class RollupTable extends RowColumns implements RollupRows {
  seriesCount = 0
  seriesHi = NO_IDS
  seriesLo = NO_IDS
  rowStart = NO_IDS
  #length = 0
  /** Whether rows were added in order and without duplicates. */
  #ascends = true
  #rowHi = NO_IDS
  #rowLo = NO_IDS
  /** For each row, the index that `addRow` returned. */
  #addedAs = NO_IDS
  readonly #observations: Observations
  /** For each row: 1 + its index in `#totals`, or 0 if it has no totals. */
  #totalsAt = NO_IDS
  #totals: Totals[] = []

  constructor(kind: RollupKind, capacity = CAPACITY_MIN) {
    super(kind, capacity)
    this.#observations = kind === 'distribution' ? new Observations() : NO_OBSERVATIONS
    this.#resizeIds()
  }

  get length(): number {
    return this.#length
  }

  get hasTotals(): boolean {
    return this.#totals.length > 0
  }

  get estimatedBytes(): number {
    const columns = this.hasEnds ? 9 : this.hasMoments ? 5 : this.kind === 'counter' ? 3 : 2
    const observations = this.#observations.allocatedBytes
    return this.#length * (columns * 8 + 24) + observations + this.#totals.length * TOTALS_BYTES
  }

  get binBytes(): Uint8Array {
    return this.#observations.binBytes
  }

  get binStart(): Uint32Array {
    return this.#observations.length === 0 ? NO_IDS : this.#observations.binStart
  }

  /** Adds a row without points and returns its index, which is valid until `sort`. */
  addRow(seriesHi: number, seriesLo: number, bucketMs: number): number {
    const row = this.#length
    if (row === this.bucketMs.length) {
      this.resize(row * 2)
      this.#resizeIds()
    }
    this.#length = row + 1
    if (this.#ascends && row > 0) this.#ascends = this.#precedes(row - 1, seriesHi, seriesLo, bucketMs)
    this.#rowHi[row] = seriesHi
    this.#rowLo[row] = seriesLo
    if (this.kind === 'counter') this.#totalsAt[row] = 0
    this.bucketMs[row] = bucketMs
    this.count[row] = 0
    return row
  }

  /** Adds a value of a gauge, a delta of a counter or an observation of a distribution. */
  addValue(row: number, timeMs: number, value: number): void {
    this.addWeighted(row, timeMs, value, 1)
  }

  /** Adds `weight` points of the same value. The weight is an integer from 1 to `COUNT_MAX`. */
  addWeighted(row: number, timeMs: number, value: number, weight: number): void {
    const before = this.count[row]!
    this.count[row] = addCounts(before, weight)
    if (before === 0) {
      this.sum[row] = value * weight
      if (!this.hasMoments) return
      this.min[row] = value
      this.max[row] = value
      if (!this.hasEnds) return
      this.firstMs[row] = timeMs
      this.first[row] = value
      this.lastMs[row] = timeMs
      this.last[row] = value
      return
    }
    this.sum[row]! += value * weight
    if (!this.hasMoments) return
    if (!this.hasEnds) this.#observe(row, value, weight, before)
    if (value < this.min[row]!) this.min[row] = value
    if (value > this.max[row]!) this.max[row] = value
    if (!this.hasEnds) return
    if (timeMs < this.firstMs[row]!) {
      this.firstMs[row] = timeMs
      this.first[row] = value
    }
    if (timeMs >= this.lastMs[row]!) {
      this.lastMs[row] = timeMs
      this.last[row] = value
    }
  }

  /** Adds a running total of a counter. */
  addTotal(row: number, timeMs: number, total: number): void {
    const before = this.count[row]!
    this.count[row] = addCounts(before, 1)
    if (before === 0) this.sum[row] = 0
    this.#totalsOf(row).add(timeMs, total)
  }

  /** Counts a point of a set. The set's members are counted elsewhere. */
  addMember(row: number): void {
    this.count[row] = addCounts(this.count[row]!, 1)
  }

  totalsAt(row: number): Totals | undefined {
    const place = this.kind === 'counter' ? this.#totalsAt[row]! : 0
    return place === 0 ? undefined : this.#totals[place - 1]
  }

  /** Sorts the table and returns it as `RollupRows`. Indexes returned by `addRow` are invalid afterwards. */
  sort(): RollupRows {
    const movesBins = this.kind === 'distribution' && (this.#observations.length > 0 || !this.#ascends)
    if (movesBins) this.#numberRows()
    if (!this.#ascends) this.#permute(this.#order())
    this.#mergeRepeated(movesBins)
    this.#ascends = true
    this.#indexSeries()
    if (this.#observations.length > 0) this.#observations.encode(this.#length, newRow)
    return this
  }

  /** Removes all rows and keeps the memory for reuse. The rows must not be read afterwards. */
  clear(): void {
    this.#length = 0
    this.#ascends = true
    this.seriesCount = 0
    this.#observations.clear()
    this.#totals = []
  }

  #precedes(row: number, seriesHi: number, seriesLo: number, bucketMs: number): boolean {
    const hi = this.#rowHi[row]!
    if (hi !== seriesHi) return hi < seriesHi
    const lo = this.#rowLo[row]!
    return lo === seriesLo ? this.bucketMs[row]! < bucketMs : lo < seriesLo
  }

  /**
   * Adds an observation, if it is needed. It must be called before min and max include the value. A row of equal values
   * needs no bins: its only bin is computed from value and count.
   */
  #observe(row: number, value: number, weight: number, before: number): void {
    const min = this.min[row]!
    if (min === this.max[row]) {
      if (value === min) return
      this.#observations.add(row, min, before)
    }
    this.#observations.add(row, value, weight)
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
    this.#rowHi = grownIds(this.#rowHi, capacity)
    this.#rowLo = grownIds(this.#rowLo, capacity)
    if (this.kind === 'distribution') this.#addedAs = grownIds(this.#addedAs, capacity)
    if (this.kind === 'counter') this.#totalsAt = grownIds(this.#totalsAt, capacity)
  }

  /** Returns the row indexes in the order of series, bucket and arrival. */
  #order(): Uint32Array {
    const rowLo = this.#rowLo
    const bucketMs = this.bucketMs
    return orderByKey(
      this.#rowHi,
      this.#length,
      (a, b) => rowLo[a]! - rowLo[b]! || bucketMs[a]! - bucketMs[b]! || a - b,
    )
  }

  #permute(order: Uint32Array): void {
    permuteIds(this.#rowHi, order)
    permuteIds(this.#rowLo, order)
    if (this.kind === 'distribution') permuteIds(this.#addedAs, order)
    if (this.#totals.length > 0) permuteIds(this.#totalsAt, order)
    permuteNumbers(this.bucketMs, order)
    permuteNumbers(this.count, order)
    if (this.kind === 'set') return
    permuteNumbers(this.sum, order)
    if (!this.hasMoments) return
    permuteNumbers(this.min, order)
    permuteNumbers(this.max, order)
    if (!this.hasEnds) return
    permuteNumbers(this.firstMs, order)
    permuteNumbers(this.first, order)
    permuteNumbers(this.lastMs, order)
    permuteNumbers(this.last, order)
  }

  /** Merges rows with the same series and bucket, and removes rows without points. */
  #mergeRepeated(movesBins: boolean): void {
    const length = this.#length
    // `#moveRow` overwrites the entries of earlier rows only, so `addedAs[row]` is still valid for this row.
    const addedAs = this.#addedAs
    let kept = -1
    for (let row = 0; row < length; row++) {
      if (this.count[row] === 0) continue
      const same =
        kept >= 0 &&
        this.bucketMs[row] === this.bucketMs[kept] &&
        this.#rowLo[row] === this.#rowLo[kept] &&
        this.#rowHi[row] === this.#rowHi[kept]
      if (same) this.#mergeRow(kept, row)
      else if (++kept !== row) this.#moveRow(row, kept)
      if (movesBins) newRow[addedAs[row]!] = kept
    }
    this.#length = kept + 1
  }

  /** Merges the row `from`, which was added later, into `row`. */
  #mergeRow(row: number, from: number): void {
    if (this.kind === 'distribution') this.#observeBoth(row, from)
    this.mergeScalars(row, this, from)
    const totals = this.totalsAt(from)
    if (totals !== undefined) this.#totalsOf(row).merge(totals)
  }

  /**
   * Adds observations for two rows that are merged. A row of equal values has none so far, and needs one if the other
   * row has different values.
   */
  #observeBoth(row: number, from: number): void {
    const { min, max, count } = this
    const isFlat = min[row] === max[row]
    const isOtherFlat = min[from] === max[from]
    if (isFlat && isOtherFlat && min[row] === min[from]) return
    if (isFlat) this.#observations.add(this.#addedAs[row]!, min[row]!, count[row]!)
    if (isOtherFlat) this.#observations.add(this.#addedAs[from]!, min[from]!, count[from]!)
  }

  #numberRows(): void {
    const length = this.#length
    if (newRow.length < length) newRow = new Uint32Array(length * 2)
    for (let row = 0; row < length; row++) this.#addedAs[row] = row
  }

  #moveRow(from: number, to: number): void {
    this.#rowHi[to] = this.#rowHi[from]!
    this.#rowLo[to] = this.#rowLo[from]!
    if (this.kind === 'distribution') this.#addedAs[to] = this.#addedAs[from]!
    if (this.kind === 'counter') this.#totalsAt[to] = this.#totalsAt[from]!
    this.bucketMs[to] = this.bucketMs[from]!
    this.count[to] = this.count[from]!
    if (this.kind === 'set') return
    this.sum[to] = this.sum[from]!
    if (!this.hasMoments) return
    this.min[to] = this.min[from]!
    this.max[to] = this.max[from]!
    if (!this.hasEnds) return
    this.firstMs[to] = this.firstMs[from]!
    this.first[to] = this.first[from]!
    this.lastMs[to] = this.lastMs[from]!
    this.last[to] = this.last[from]!
  }

  #indexSeries(): void {
    const length = this.#length
    const rowHi = this.#rowHi
    const rowLo = this.#rowLo
    if (this.rowStart.length < length + 1) {
      this.seriesHi = new Uint32Array(this.bucketMs.length)
      this.seriesLo = new Uint32Array(this.bucketMs.length)
      this.rowStart = new Uint32Array(this.bucketMs.length + 1)
    }
    const { seriesHi, seriesLo, rowStart } = this
    let series = 0
    for (let row = 0; row < length; row++) {
      const hi = rowHi[row]!
      const lo = rowLo[row]!
      if (row > 0 && hi === rowHi[row - 1] && lo === rowLo[row - 1]) continue
      seriesHi[series] = hi
      seriesLo[series] = lo
      rowStart[series++] = row
    }
    rowStart[series] = length
    this.seriesCount = series
  }
}
