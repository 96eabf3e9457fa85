import { assert } from '../model/errors.ts'
import { formatId, type Id64 } from '../model/id.ts'
import type { RollupKind } from '../model/metric.ts'
import { BinColumns, decodeBins } from '../sketch/bins.ts'
import type { QuantileSketch } from '../sketch/quantile-sketch.ts'
import { ByteReader } from '../sketch/varint.ts'
import { BlockError, FLAT, FULL, guard, HAS_BINS, HAS_TOTALS, KIND_MASK, KINDS, MIXED } from './block-format.ts'
import { decodeColumn } from './columns.ts'
import type { RollupRows } from './rollup-rows.ts'
import { TOTALS_MAX, Totals } from './totals.ts'

const NO_NUMBERS = new Float64Array(0)
const NO_BYTES = new Uint8Array(0)

/** Shared by a block and its sections. */
export interface Memory {
  bytes: number
}

/** A section's entry in the directory of its block. */
export interface SectionHead {
  readonly metricId: Id64
  readonly flags: number
  readonly length: number
  readonly seriesCount: number
  readonly bytes: number
}

type ColumnName =
  | 'rowCounts'
  | 'firstBuckets'
  | 'bucketSteps'
  | 'count'
  | 'sum'
  | 'min'
  | 'max'
  | 'first'
  | 'last'
  | 'firstOffset'
  | 'span'
  | 'totalsLengths'
  | 'totalsTimes'
  | 'totalsValues'
  | 'totalsCollapsed'

const PLACES: readonly ColumnName[] = ['rowCounts', 'firstBuckets', 'bucketSteps']
const COLUMNS: Readonly<Record<RollupKind, readonly ColumnName[]>> = {
  gauge: ['count', 'sum', 'min', 'max', 'first', 'last', 'firstOffset', 'span'],
  counter: ['count', 'sum'],
  distribution: ['count', 'sum', 'min', 'max'],
  set: ['count'],
}
const TOTALS_COLUMNS: readonly ColumnName[] = ['totalsLengths', 'totalsTimes', 'totalsValues', 'totalsCollapsed']

interface Span {
  readonly start: number
  readonly end: number
}

interface Layout {
  readonly columns: ReadonlyMap<ColumnName, Span>
  /** A Shape of all rows, or one of each. */
  readonly shape: number
  readonly shapes: Uint8Array
  /** Rows that are FLAT or FULL, and those that are FULL. */
  readonly several: number
  readonly full: number
}

interface Series {
  readonly hi: Uint32Array
  readonly lo: Uint32Array
  readonly rowStart: Uint32Array
}

interface TotalsColumns {
  /** Per row where its points begin, and for the last where they end. */
  readonly pointStart: Uint32Array
  /** Per row 1 + its place in `collapsed` when it is inexact, else 0. */
  readonly collapsedAt: Uint32Array
  /** Per row 1 when points inside its stretches have been dropped. */
  readonly thinned: Uint8Array
  readonly timeMs: Float64Array
  readonly value: Float64Array
  readonly collapsed: Float64Array
}

interface Bins {
  /** Bins of row i are binStart[i] up to, not including, binStart[i + 1]; a row of equal values has none. */
  readonly binStart: Uint32Array
  readonly keys: Int32Array
  readonly weights: Float64Array
}

/** The rollups of one metric in a block. Getters decode on first use and throw a BlockError when the bytes make no sense. */
export class MetricSection implements RollupRows {
  readonly metricId: Id64
  readonly kind: RollupKind
  readonly length: number
  readonly seriesCount: number
  readonly hasTotals: boolean
  /** Some row's bins lie in the sketch string. */
  readonly needsSketches: boolean
  readonly #block: string
  readonly #resolutionMs: number
  readonly #memory: Memory
  readonly #bytes: Uint8Array
  readonly #start: number
  readonly #end: number
  #layout: Layout | undefined
  #series: Series | undefined
  #bucketMs: Float64Array | undefined
  #count: Float64Array | undefined
  #sum: Float64Array | undefined
  #min: Float64Array | undefined
  #max: Float64Array | undefined
  #first: Float64Array | undefined
  #last: Float64Array | undefined
  #firstMs: Float64Array | undefined
  #lastMs: Float64Array | undefined
  #totals: TotalsColumns | undefined
  #binBytes: Uint8Array | undefined
  #bins: Bins | undefined

  constructor(
    block: string,
    resolutionMs: number,
    memory: Memory,
    bytes: Uint8Array,
    start: number,
    { metricId, flags, length, seriesCount, bytes: sectionBytes }: SectionHead,
  ) {
    const kind = KINDS[flags & KIND_MASK]
    assert(kind !== undefined, 'two bits name a kind')
    this.metricId = metricId
    this.kind = kind
    this.length = length
    this.seriesCount = seriesCount
    this.hasTotals = (flags & HAS_TOTALS) !== 0
    this.needsSketches = (flags & HAS_BINS) !== 0
    const possible = KIND_MASK | (kind === 'counter' ? HAS_TOTALS : 0) | (kind === 'distribution' ? HAS_BINS : 0)
    if ((flags & ~possible) !== 0) throw new RangeError(`unknown flags ${flags} of a ${kind}`)
    this.#block = block
    this.#resolutionMs = resolutionMs
    this.#memory = memory
    this.#bytes = bytes
    this.#start = start
    this.#end = start + sectionBytes
  }

  get seriesHi(): Uint32Array {
    return this.#seriesColumns().hi
  }

  get seriesLo(): Uint32Array {
    return this.#seriesColumns().lo
  }

  get rowStart(): Uint32Array {
    return this.#seriesColumns().rowStart
  }

  get bucketMs(): Float64Array {
    this.#bucketMs ??= this.#decode('buckets', () => this.#decodeBuckets())
    return this.#bucketMs
  }

  get count(): Float64Array {
    this.#count ??= this.#decode('count', () =>
      this.#hasShapes ? this.#fill('count', FLAT, undefined) : this.#column('count', this.length),
    )
    return this.#count
  }

  get sum(): Float64Array {
    if (this.kind === 'set') return NO_NUMBERS
    this.#sum ??= this.#decode('sum', () => this.#column('sum', this.length))
    return this.#sum
  }

  get min(): Float64Array {
    if (!this.#hasShapes) return NO_NUMBERS
    this.#min ??= this.#decode('min', () => this.#fill('min', FLAT, this.sum))
    return this.#min
  }

  get max(): Float64Array {
    if (!this.#hasShapes) return NO_NUMBERS
    this.#max ??= this.#decode('max', () => this.#fill('max', FULL, this.min))
    return this.#max
  }

  get first(): Float64Array {
    if (this.kind !== 'gauge') return NO_NUMBERS
    this.#first ??= this.#decode('first', () => this.#fill('first', FULL, this.min))
    return this.#first
  }

  get last(): Float64Array {
    if (this.kind !== 'gauge') return NO_NUMBERS
    this.#last ??= this.#decode('last', () => this.#fill('last', FULL, this.min))
    return this.#last
  }

  get firstMs(): Float64Array {
    if (this.kind !== 'gauge') return NO_NUMBERS
    this.#firstMs ??= this.#decode('times', () => {
      const times = this.#column('firstOffset', this.length)
      const bucketMs = this.bucketMs
      for (let row = 0; row < times.length; row++) times[row] = times[row]! + bucketMs[row]!
      return times
    })
    return this.#firstMs
  }

  get lastMs(): Float64Array {
    if (this.kind !== 'gauge') return NO_NUMBERS
    this.#lastMs ??= this.#decode('times', () => {
      const firstMs = this.firstMs
      const { several } = this.#layoutOf()
      if (several === 0) return firstMs
      const spans = this.#column('span', several)
      const times = new Float64Array(this.length)
      let n = 0
      for (let row = 0; row < times.length; row++) {
        times[row] = this.#shapeAt(row) >= FLAT ? firstMs[row]! + spans[n++]! : firstMs[row]!
      }
      return times
    })
    return this.#lastMs
  }

  mergeBinsInto(row: number, sketch: QuantileSketch): void {
    if (this.#bins === undefined && this.needsSketches) {
      this.#bins = this.#decode('bins', () => this.#decodeBins())
      this.#binBytes = undefined
    }
    const bins = this.#bins
    const start = bins === undefined ? 0 : bins.binStart[row]!
    const end = bins === undefined ? 0 : bins.binStart[row + 1]!
    if (bins !== undefined && start < end) sketch.mergeBins(bins.keys, bins.weights, start, end)
    else sketch.add(this.min[row]!, this.count[row]!)
  }

  totalsAt(row: number): Totals | undefined {
    if (!this.hasTotals) return undefined
    this.#totals ??= this.#decode('totals', () => this.#decodeTotals())
    const { pointStart, collapsedAt, thinned, timeMs, value, collapsed } = this.#totals
    const start = pointStart[row]!
    const end = pointStart[row + 1]!
    if (start === end) return undefined
    const place = collapsedAt[row]!
    return Totals.of(
      timeMs,
      value,
      start,
      end,
      place === 0 ? 0 : collapsed[place - 1]!,
      place !== 0,
      thinned[row] === 1,
    )
  }

  /** For the block that has found them. */
  attachBins(bytes: Uint8Array): void {
    this.#binBytes = bytes
  }

  get #hasShapes(): boolean {
    return this.kind === 'gauge' || this.kind === 'distribution'
  }

  #decode<T>(what: string, read: () => T): T {
    return guard(this.#block, `${what} of metric ${formatId(this.metricId)}`, read)
  }

  #layoutOf(): Layout {
    this.#layout ??= this.#decode('columns', () => this.#readLayout())
    return this.#layout
  }

  /** Where each column lies. */
  #readLayout(): Layout {
    const reader = new ByteReader(this.#bytes.subarray(0, this.#end), this.#start + this.seriesCount * 8)
    const columns = new Map<ColumnName, Span>()
    const locate = (names: readonly ColumnName[]) => {
      for (const name of names) {
        const bytes = reader.varint()
        const start = reader.offset
        reader.slice(bytes)
        columns.set(name, { start, end: start + bytes })
      }
    }
    locate(PLACES)
    let shape = FULL
    let shapes: Uint8Array = NO_BYTES
    let several = this.length
    let full = this.length
    if (this.#hasShapes) {
      shape = reader.u8()
      if (shape > MIXED) throw new RangeError(`unknown shape ${shape}`)
      if (shape === MIXED) {
        shapes = unpackShapes(reader.slice(Math.ceil(this.length / 4)), this.length)
        this.#memory.bytes += shapes.byteLength
        several = 0
        full = 0
        for (let row = 0; row < this.length; row++) {
          const rowShape = shapes[row]!
          if (rowShape >= FLAT) several++
          if (rowShape >= FULL) full++
        }
      } else {
        if (shape < FULL) full = 0
        if (shape < FLAT) several = 0
      }
    }
    locate(COLUMNS[this.kind])
    if (this.hasTotals) locate(TOTALS_COLUMNS)
    if (reader.remaining !== 0) throw new RangeError(`${reader.remaining} bytes left over`)
    if (this.kind === 'distribution' && this.needsSketches !== full > 0) throw new RangeError('bins where none belong')
    return { columns, shape, shapes, several, full }
  }

  #shapeAt(row: number): number {
    const { shape, shapes } = this.#layoutOf()
    return shape === MIXED ? shapes[row]! : shape
  }

  #column(name: ColumnName, length: number): Float64Array {
    const span = this.#layoutOf().columns.get(name)
    assert(span !== undefined, `a ${this.kind} has a column ${name}`)
    const values = decodeColumn(this.#bytes, span.start, span.end, length)
    this.#memory.bytes += values.byteLength
    return values
  }

  /** A column kept for rows of at least a shape; the others take `otherwise`, or 1. */
  #fill(name: ColumnName, shapeMin: number, otherwise: Float64Array | undefined): Float64Array {
    const { shape, shapes, several, full } = this.#layoutOf()
    const kept = this.#column(name, shapeMin === FLAT ? several : full)
    if (kept.length === this.length) return kept
    // Nothing of its own: it shares the column it equals.
    if (kept.length === 0 && otherwise !== undefined) return otherwise
    const values = new Float64Array(this.length)
    this.#memory.bytes += values.byteLength - kept.byteLength
    if (shape !== MIXED) return values.fill(1)
    let n = 0
    for (let row = 0; row < values.length; row++) {
      if (shapes[row]! >= shapeMin) values[row] = kept[n++]!
      else values[row] = otherwise === undefined ? 1 : otherwise[row]!
    }
    return values
  }

  #seriesColumns(): Series {
    this.#series ??= this.#decode('series', () => this.#decodeSeries())
    return this.#series
  }

  #decodeSeries(): Series {
    const count = this.seriesCount
    const rowCounts = this.#column('rowCounts', count)
    const hi = new Uint32Array(count)
    const lo = new Uint32Array(count)
    const rowStart = new Uint32Array(count + 1)
    this.#memory.bytes += count * 12 - rowCounts.byteLength
    const reader = new ByteReader(this.#bytes, this.#start)
    let rows = 0
    for (let i = 0; i < count; i++) {
      hi[i] = reader.u32le()
      lo[i] = reader.u32le()
      const ascends = i === 0 || hi[i - 1]! < hi[i]! || (hi[i - 1] === hi[i] && lo[i - 1]! < lo[i]!)
      if (!ascends) throw new RangeError('series out of order')
      const rowCount = rowCounts[i]!
      if (!(rowCount >= 1 && rowCount <= this.length) || !Number.isInteger(rowCount)) {
        throw new RangeError(`a series of ${rowCount} rollups`)
      }
      rows += rowCount
      rowStart[i + 1] = rows
    }
    if (rows !== this.length) throw new RangeError(`${rows} rollups in series, ${this.length} announced`)
    return { hi, lo, rowStart }
  }

  #decodeBuckets(): Float64Array {
    const { rowStart } = this.#seriesColumns()
    const count = this.seriesCount
    const firstBuckets = this.#column('firstBuckets', count)
    const steps = this.#column('bucketSteps', this.length - count)
    const bucketMs = new Float64Array(this.length)
    this.#memory.bytes += bucketMs.byteLength - firstBuckets.byteLength - steps.byteLength
    const resolutionMs = this.#resolutionMs
    let n = 0
    let ascends = true
    for (let series = 0; series < count; series++) {
      let bucket = firstBuckets[series]!
      let row = rowStart[series]!
      const end = rowStart[series + 1]!
      bucketMs[row++] = bucket * resolutionMs
      for (; row < end; row++) {
        const step = steps[n++]!
        ascends = ascends && step > 0
        bucket += step
        bucketMs[row] = bucket * resolutionMs
      }
    }
    if (!ascends) throw new RangeError('buckets out of order')
    return bucketMs
  }

  #decodeTotals(): TotalsColumns {
    const lengths = this.#column('totalsLengths', this.length)
    const pointStart = new Uint32Array(this.length + 1)
    const collapsedAt = new Uint32Array(this.length)
    const thinned = new Uint8Array(this.length)
    let points = 0
    let inexact = 0
    for (let row = 0; row < this.length; row++) {
      const length = lengths[row]!
      if (!(length >= 0 && length <= TOTALS_MAX * 4 + 3) || !Number.isInteger(length)) {
        throw new RangeError(`${length} running totals`)
      }
      points += length >>> 2
      thinned[row] = (length >>> 1) & 1
      pointStart[row + 1] = points
      if ((length & 1) === 1) collapsedAt[row] = ++inexact
    }
    const timeMs = this.#column('totalsTimes', points)
    const value = this.#column('totalsValues', points)
    const collapsed = this.#column('totalsCollapsed', inexact)
    const bucketMs = this.bucketMs
    for (let row = 0; row < this.length; row++) {
      for (let i = pointStart[row]!; i < pointStart[row + 1]!; i++) timeMs[i] = timeMs[i]! + bucketMs[row]!
    }
    this.#memory.bytes += pointStart.byteLength + collapsedAt.byteLength + thinned.byteLength - lengths.byteLength
    return { pointStart, collapsedAt, thinned, timeMs, value, collapsed }
  }

  #decodeBins(): Bins {
    const bytes = this.#binBytes
    if (bytes === undefined) throw new BlockError(this.#block, 'the sketches were not attached')
    const binStart = new Uint32Array(this.length + 1)
    const columns = new BinColumns(bytes.length >>> 1)
    const reader = new ByteReader(bytes)
    for (let row = 0; row < this.length; row++) {
      if (this.#shapeAt(row) === FULL) {
        decodeBins(reader, columns)
        if (columns.length === binStart[row]) throw new RangeError('a distribution without bins')
      }
      binStart[row + 1] = columns.length
    }
    if (reader.remaining !== 0) throw new RangeError(`${reader.remaining} bytes of bins left over`)
    // Room for a bin every two bytes was enough, and nearly all of it is used: no copy to fit.
    const keys = columns.keys.subarray(0, columns.length)
    const weights = columns.weights.subarray(0, columns.length)
    this.#memory.bytes += binStart.byteLength + columns.keys.byteLength + columns.weights.byteLength - bytes.length
    return { binStart, keys, weights }
  }
}

function unpackShapes(packed: Uint8Array, length: number): Uint8Array {
  const unpacked = new Uint8Array(length)
  for (let row = 0; row < length; row++) {
    const shape = (packed[row >>> 2]! >>> ((row & 3) * 2)) & 3
    if (shape > FULL) throw new RangeError(`unknown shape ${shape}`)
    unpacked[row] = shape
  }
  return unpacked
}
