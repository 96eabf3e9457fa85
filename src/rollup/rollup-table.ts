import { addCounts } from '../model/count.ts'
import type { RollupKind } from '../model/metric.ts'
import { QuantileSketch } from '../sketch/quantile-sketch.ts'
import { orderByKey } from './order.ts'
import type { RollupRows } from './rollup-rows.ts'
import { Totals } from './totals.ts'

const NO_NUMBERS = new Float64Array(0)
const NO_IDS = new Uint32Array(0)
/**
 * Columns of eight numbers lie in the heap of the engine: many metrics have few rows, and a buffer outside it costs far
 * more.
 */
const CAPACITY_MIN = 8
/** Approximate heap of a list of totals: rather too much than too little. */
const TOTALS_BYTES = 400

let movedNumbers = new Float64Array(1024)
let movedIds = new Uint32Array(1024)

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
 * Rollups being made. Rows are added in any order, series and buckets may repeat; `sort` brings them into the order of
 * `RollupRows` and merges repeated ones in the order they were added. A row without a point (count 0) is the identity
 * of
 * every merge, and `sort` leaves it out.
 */
export class RollupTable implements RollupRows {
  readonly kind: RollupKind
  readonly #hasMoments: boolean
  readonly #hasEnds: boolean
  bucketMs = NO_NUMBERS
  count = NO_NUMBERS
  sum = NO_NUMBERS
  min = NO_NUMBERS
  max = NO_NUMBERS
  firstMs = NO_NUMBERS
  first = NO_NUMBERS
  lastMs = NO_NUMBERS
  last = NO_NUMBERS
  seriesCount = 0
  seriesHi = NO_IDS
  seriesLo = NO_IDS
  rowStart = NO_IDS
  #length = 0
  /** Rows were added in order, series and buckets all different. */
  #ascends = true
  #rowHi = NO_IDS
  #rowLo = NO_IDS
  /** 0, or 1 + the row's place in #sketches or #totals. */
  #part = NO_IDS
  /**
   * The first #sketchCount are in use; the others are kept from before `clear`, because their memory is most of their
   * cost.
   */
  readonly #sketches: QuantileSketch[] = []
  #sketchCount = 0
  #totals: Totals[] = []

  constructor(kind: RollupKind, capacity = CAPACITY_MIN) {
    this.kind = kind
    this.#hasMoments = kind === 'gauge' || kind === 'distribution'
    this.#hasEnds = kind === 'gauge'
    this.#resize(Math.max(CAPACITY_MIN, capacity))
  }

  get length(): number {
    return this.#length
  }

  get hasTotals(): boolean {
    return this.#totals.length > 0
  }

  get estimatedBytes(): number {
    const columns = this.#hasEnds ? 9 : this.#hasMoments ? 5 : this.kind === 'counter' ? 3 : 2
    let sketches = 0
    for (let i = 0; i < this.#sketchCount; i++) sketches += this.#sketches[i]!.allocatedBytes
    return this.#length * (columns * 8 + 24) + sketches + this.#totals.length * TOTALS_BYTES
  }

  /** A row without a point; rows stay where they are until `sort`. */
  addRow(seriesHi: number, seriesLo: number, bucketMs: number): number {
    const row = this.#length
    if (row === this.bucketMs.length) this.#resize(row * 2)
    this.#length = row + 1
    if (this.#ascends && row > 0) this.#ascends = this.#precedes(row - 1, seriesHi, seriesLo, bucketMs)
    this.#rowHi[row] = seriesHi
    this.#rowLo[row] = seriesLo
    this.#part[row] = 0
    this.bucketMs[row] = bucketMs
    this.count[row] = 0
    return row
  }

  /** A gauge's value, a counter's delta, an observation of a distribution. */
  addValue(row: number, timeMs: number, value: number): void {
    this.addWeighted(row, timeMs, value, 1)
  }

  /** As many points of the same value; the weight is an integer from 1 to `COUNT_MAX`. */
  addWeighted(row: number, timeMs: number, value: number, weight: number): void {
    const before = this.count[row]!
    this.count[row] = addCounts(before, weight)
    if (before === 0) {
      this.sum[row] = value * weight
      if (!this.#hasMoments) return
      this.min[row] = value
      this.max[row] = value
      if (!this.#hasEnds) return
      this.firstMs[row] = timeMs
      this.first[row] = value
      this.lastMs[row] = timeMs
      this.last[row] = value
      return
    }
    this.sum[row]! += value * weight
    if (!this.#hasMoments) return
    if (!this.#hasEnds) this.#addToBins(row, value, weight, before)
    if (value < this.min[row]!) this.min[row] = value
    if (value > this.max[row]!) this.max[row] = value
    if (!this.#hasEnds) return
    if (timeMs < this.firstMs[row]!) {
      this.firstMs[row] = timeMs
      this.first[row] = value
    }
    if (timeMs >= this.lastMs[row]!) {
      this.lastMs[row] = timeMs
      this.last[row] = value
    }
  }

  /** A running total of a counter. */
  addTotal(row: number, timeMs: number, total: number): void {
    const before = this.count[row]!
    this.count[row] = addCounts(before, 1)
    if (before === 0) this.sum[row] = 0
    this.#totalsOf(row).add(timeMs, total)
  }

  /** A point of a set; the member itself is counted elsewhere. */
  addMember(row: number): void {
    this.count[row] = addCounts(this.count[row]!, 1)
  }

  mergeBinsInto(row: number, sketch: QuantileSketch): void {
    const part = this.#part[row]!
    if (part !== 0) sketch.merge(this.#sketches[part - 1]!)
    else if (this.count[row]! > 0) sketch.add(this.min[row]!, this.count[row]!)
  }

  totalsAt(row: number): Totals | undefined {
    const part = this.#part[row]!
    return part === 0 || this.kind !== 'counter' ? undefined : this.#totals[part - 1]
  }

  /** For a coarser resolution: keeps of running totals only what their increase needs. */
  thinTotals(): void {
    for (const totals of this.#totals) totals.thin()
  }

  /** Merges a row of another table or block of the same kind, which arrived later than what this row holds. */
  mergeRow(row: number, source: RollupRows, from: number): void {
    const added = source.count[from]!
    if (added === 0) return
    const before = this.count[row]!
    this.count[row] = addCounts(before, added)
    if (this.kind === 'set') return
    this.sum[row] = before === 0 ? source.sum[from]! : this.sum[row]! + source.sum[from]!
    if (this.kind === 'counter') {
      const totals = source.hasTotals ? source.totalsAt(from) : undefined
      if (totals !== undefined) this.#totalsOf(row).merge(totals)
      return
    }
    const min = source.min[from]!
    const max = source.max[from]!
    if (!this.#hasEnds) this.#mergeBins(row, source, from, before)
    if (before === 0) {
      this.min[row] = min
      this.max[row] = max
      if (!this.#hasEnds) return
      this.firstMs[row] = source.firstMs[from]!
      this.first[row] = source.first[from]!
      this.lastMs[row] = source.lastMs[from]!
      this.last[row] = source.last[from]!
      return
    }
    if (min < this.min[row]!) this.min[row] = min
    if (max > this.max[row]!) this.max[row] = max
    if (!this.#hasEnds) return
    if (source.firstMs[from]! < this.firstMs[row]!) {
      this.firstMs[row] = source.firstMs[from]!
      this.first[row] = source.first[from]!
    }
    if (source.lastMs[from]! >= this.lastMs[row]!) {
      this.lastMs[row] = source.lastMs[from]!
      this.last[row] = source.last[from]!
    }
  }

  /** Makes the table readable as `RollupRows`. Row numbers handed out before are void. */
  sort(): RollupRows {
    if (!this.#ascends) this.#permute(this.#order())
    this.#mergeRepeated()
    this.#ascends = true
    this.#indexSeries()
    return this
  }

  /** Empties the table and keeps its memory; whoever still reads it reads garbage. */
  clear(): void {
    this.#length = 0
    this.#ascends = true
    this.seriesCount = 0
    this.#sketchCount = 0
    this.#totals = []
  }

  #precedes(row: number, seriesHi: number, seriesLo: number, bucketMs: number): boolean {
    const hi = this.#rowHi[row]!
    if (hi !== seriesHi) return hi < seriesHi
    const lo = this.#rowLo[row]!
    return lo === seriesLo ? this.bucketMs[row]! < bucketMs : lo < seriesLo
  }

  #addToBins(row: number, value: number, weight: number, before: number): void {
    const part = this.#part[row]!
    if (part !== 0) {
      this.#sketches[part - 1]!.add(value, weight)
    } else if (value !== this.min[row]!) {
      // Equal values need no sketch: their one bin follows from value and count.
      const sketch = this.#sketchOf(row)
      sketch.add(this.min[row]!, before)
      sketch.add(value, weight)
    }
  }

  #mergeBins(row: number, source: RollupRows, from: number, before: number): void {
    const min = source.min[from]!
    const single = min === source.max[from]!
    if (this.#part[row] === 0) {
      if (single && (before === 0 || min === this.min[row]!)) return
      const sketch = this.#sketchOf(row)
      if (before > 0) sketch.add(this.min[row]!, before)
    }
    source.mergeBinsInto(from, this.#sketches[this.#part[row]! - 1]!)
  }

  #sketchOf(row: number): QuantileSketch {
    const part = this.#part[row]!
    if (part !== 0) return this.#sketches[part - 1]!
    const place = this.#sketchCount++
    let sketch = this.#sketches[place]
    if (sketch === undefined) {
      sketch = new QuantileSketch()
      this.#sketches.push(sketch)
    } else {
      sketch.clear()
    }
    this.#part[row] = place + 1
    return sketch
  }

  #totalsOf(row: number): Totals {
    const part = this.#part[row]!
    if (part !== 0) return this.#totals[part - 1]!
    const totals = new Totals()
    this.#part[row] = this.#totals.push(totals)
    return totals
  }

  #resize(capacity: number): void {
    const numbers = (old: Float64Array) => {
      const grown = new Float64Array(capacity)
      grown.set(old)
      return grown
    }
    const ids = (old: Uint32Array) => {
      const grown = new Uint32Array(capacity)
      grown.set(old)
      return grown
    }
    this.#rowHi = ids(this.#rowHi)
    this.#rowLo = ids(this.#rowLo)
    this.#part = ids(this.#part)
    this.bucketMs = numbers(this.bucketMs)
    this.count = numbers(this.count)
    if (this.kind !== 'set') this.sum = numbers(this.sum)
    if (this.#hasMoments) {
      this.min = numbers(this.min)
      this.max = numbers(this.max)
    }
    if (this.#hasEnds) {
      this.firstMs = numbers(this.firstMs)
      this.first = numbers(this.first)
      this.lastMs = numbers(this.lastMs)
      this.last = numbers(this.last)
    }
  }

  /** Row numbers in order of series, bucket and arrival. */
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
    if (this.#sketchCount > 0 || this.#totals.length > 0) permuteIds(this.#part, order)
    permuteNumbers(this.bucketMs, order)
    permuteNumbers(this.count, order)
    if (this.kind === 'set') return
    permuteNumbers(this.sum, order)
    if (!this.#hasMoments) return
    permuteNumbers(this.min, order)
    permuteNumbers(this.max, order)
    if (!this.#hasEnds) return
    permuteNumbers(this.firstMs, order)
    permuteNumbers(this.first, order)
    permuteNumbers(this.lastMs, order)
    permuteNumbers(this.last, order)
  }

  /** Also leaves out rows without a point. */
  #mergeRepeated(): void {
    const length = this.#length
    let kept = -1
    for (let row = 0; row < length; row++) {
      if (this.count[row] === 0) continue
      const same =
        kept >= 0 &&
        this.bucketMs[row] === this.bucketMs[kept] &&
        this.#rowLo[row] === this.#rowLo[kept] &&
        this.#rowHi[row] === this.#rowHi[kept]
      if (same) this.mergeRow(kept, this, row)
      else if (++kept !== row) this.#moveRow(row, kept)
    }
    this.#length = kept + 1
  }

  #moveRow(from: number, to: number): void {
    this.#rowHi[to] = this.#rowHi[from]!
    this.#rowLo[to] = this.#rowLo[from]!
    this.#part[to] = this.#part[from]!
    this.bucketMs[to] = this.bucketMs[from]!
    this.count[to] = this.count[from]!
    if (this.kind === 'set') return
    this.sum[to] = this.sum[from]!
    if (!this.#hasMoments) return
    this.min[to] = this.min[from]!
    this.max[to] = this.max[from]!
    if (!this.#hasEnds) return
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
