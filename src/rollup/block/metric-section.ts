import { assert } from '../../model/errors.ts'
import { formatId, type Id64 } from '../../model/id.ts'
import type { RollupKind } from '../../model/metric.ts'
import { skipBins } from '../../sketch/bins.ts'
import type { ByteReader } from '../../sketch/varint.ts'
import type { RollupRows } from '../rollup-rows.ts'
import { RunningTotals, TOTALS_LENGTH_MAX } from '../running-totals.ts'
import {
  asBlockError,
  BlockError,
  FLAG_HAS_BINS,
  FLAG_HAS_TOTALS,
  KIND_MASK,
  ROLLUP_KINDS,
  SHAPE_FLAT,
  SHAPE_FULL,
  SHAPE_MIXED,
} from './block-format.ts'
import type { BlockMemory } from './block-memory.ts'
import { type ColumnMemory, decodeColumn } from './column-codec.ts'
import {
  type ColumnName,
  findColumn,
  hasShapes,
  type RowShapes,
  readShapes,
  scratchMemory,
  secondScratchMemory,
  shapeAt,
} from './section-layout.ts'

const NO_NUMBERS = new Float64Array(0)

/** Describes a section in the directory at the start of its block. A section has the rollups of one metric. */
export interface SectionHead {
  readonly metricId: Id64
  readonly flags: number
  /** Number of rows. */
  readonly length: number
  readonly seriesCount: number
  /** Size of the section in the body of the scalars string. */
  readonly encodedBytes: number
}

interface TotalsColumns {
  /** The points of row i have the indexes pointStart[i] to pointStart[i + 1] - 1 in `timeMs` and `value`. */
  readonly pointStart: Uint32Array
  /** For each row: 1 + its index in `droppedIncreases` if its totals are inexact, otherwise 0. */
  readonly droppedIncreaseNumber: Uint32Array
  /** For each row: 1 if its totals are thinned, otherwise 0. */
  readonly thinned: Uint8Array
  readonly timeMs: Float64Array
  readonly value: Float64Array
  readonly droppedIncreases: Float64Array
}

/** Approximate heap memory of a `MetricSection` object without decoded columns. */
export const SECTION_OBJECT_BYTES = 430

/** A list of series. The position (ordinal) of a series in the list never changes. */
export interface SeriesOrdinals {
  /** Positive number of the list, unique in this process. */
  readonly listId: number
  /** Returns the ordinal of a series; -1 if the series is not in the list. */
  ordinal(hi: number, lo: number): number
}

/**
 * The rollups of one metric in a block. A column is decoded when its getter is called first. The getter throws a
 * BlockError if the bytes are invalid.
 */
export class MetricSection implements RollupRows {
  readonly metricId: Id64
  readonly kind: RollupKind
  readonly length: number
  readonly seriesCount: number
  readonly hasTotals: boolean
  /** Whether some rows have bins, which are stored outside of the section, in the sketch string of the block. */
  readonly needsSketches: boolean
  readonly #blockName: string
  readonly #resolutionMs: number
  readonly #memory: BlockMemory
  /** Reads the body of the block's scalars string; all sections share it. The section is the bytes [#start, #end). */
  readonly #reader: ByteReader
  readonly #start: number
  readonly #end: number
  #shapes: RowShapes | undefined
  #seriesHi: Uint32Array | undefined
  #seriesLo: Uint32Array | undefined
  #rowStart: Uint32Array | undefined
  #ordinals: Int32Array | undefined
  /** Number of the list to which `#ordinals` belong; -1 if there are none, or if they are incomplete. */
  #ordinalsListId = -1
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
  #binStart: Uint32Array | undefined

  constructor(
    blockName: string,
    resolutionMs: number,
    memory: BlockMemory,
    reader: ByteReader,
    start: number,
    { metricId, flags, length, seriesCount, encodedBytes: sectionBytes }: SectionHead,
  ) {
    const kind = ROLLUP_KINDS[flags & KIND_MASK]
    assert(kind !== undefined, 'two bits name a kind')
    this.metricId = metricId
    this.kind = kind
    this.length = length
    this.seriesCount = seriesCount
    this.hasTotals = (flags & FLAG_HAS_TOTALS) !== 0
    this.needsSketches = (flags & FLAG_HAS_BINS) !== 0
    const knownFlags =
      KIND_MASK | (kind === 'counter' ? FLAG_HAS_TOTALS : 0) | (kind === 'distribution' ? FLAG_HAS_BINS : 0)
    if ((flags & ~knownFlags) !== 0) throw new RangeError(`unknown flags ${flags} of a ${kind}`)
    this.#blockName = blockName
    this.#resolutionMs = resolutionMs
    this.#memory = memory
    this.#reader = reader
    this.#start = start
    this.#end = start + sectionBytes
    memory.addBytes(SECTION_OBJECT_BYTES)
  }

  get seriesHi(): Uint32Array {
    if (this.#seriesHi === undefined) this.#decode('series', this.#decodeSeries)
    return this.#seriesHi!
  }

  get seriesLo(): Uint32Array {
    if (this.#seriesLo === undefined) this.#decode('series', this.#decodeSeries)
    return this.#seriesLo!
  }

  get rowStart(): Uint32Array {
    if (this.#rowStart === undefined) this.#decode('series', this.#decodeSeries)
    return this.#rowStart!
  }

  /**
   * Returns for each series of the section its ordinal in `list`; undefined if some series is not in the list. The
   * ordinals of the latest list are cached if all series are in it.
   */
  ordinalsIn(list: SeriesOrdinals): Int32Array | undefined {
    if (this.#ordinalsListId === list.listId) return this.#ordinals
    const { seriesHi, seriesLo, seriesCount } = this
    // If there is an array already, the ordinals get a new one, because callers may still read the old one.
    const ordinals =
      this.#ordinals === undefined ? this.#memory.allocateOrdinals(seriesCount) : new Int32Array(seriesCount)
    for (let s = 0; s < seriesCount; s++) {
      const ordinal = list.ordinal(seriesHi[s]!, seriesLo[s]!)
      if (ordinal < 0) {
        this.#ordinals = ordinals
        this.#ordinalsListId = -1
        return undefined
      }
      ordinals[s] = ordinal
    }
    this.#ordinals = ordinals
    this.#ordinalsListId = list.listId
    return ordinals
  }

  get bucketMs(): Float64Array {
    this.#bucketMs ??= this.#decode('buckets', this.#decodeBuckets)
    return this.#bucketMs
  }

  get count(): Float64Array {
    this.#count ??= this.#decode('count', this.#decodeCount)
    return this.#count
  }

  get sum(): Float64Array {
    if (this.kind === 'set') return NO_NUMBERS
    this.#sum ??= this.#decode('sum', this.#decodeSum)
    return this.#sum
  }

  get min(): Float64Array {
    if (!this.#hasShapes) return NO_NUMBERS
    this.#min ??= this.#decode('min', this.#decodeMin)
    return this.#min
  }

  get max(): Float64Array {
    if (!this.#hasShapes) return NO_NUMBERS
    this.#max ??= this.#decode('max', this.#decodeFullColumn)
    return this.#max
  }

  get first(): Float64Array {
    if (this.kind !== 'gauge') return NO_NUMBERS
    this.#first ??= this.#decode('first', this.#decodeFullColumn)
    return this.#first
  }

  get last(): Float64Array {
    if (this.kind !== 'gauge') return NO_NUMBERS
    this.#last ??= this.#decode('last', this.#decodeFullColumn)
    return this.#last
  }

  get firstMs(): Float64Array {
    if (this.kind !== 'gauge') return NO_NUMBERS
    this.#firstMs ??= this.#decode('times', this.#decodeFirstMs)
    return this.#firstMs
  }

  get lastMs(): Float64Array {
    if (this.kind !== 'gauge') return NO_NUMBERS
    this.#lastMs ??= this.#decode('times', this.#decodeLastMs)
    return this.#lastMs
  }

  get binBytes(): Uint8Array {
    if (!this.needsSketches) return NO_BYTES
    if (this.#binBytes === undefined) throw new BlockError(this.#blockName, 'the sketches were not attached')
    return this.#binBytes
  }

  get binStart(): Uint32Array {
    if (!this.needsSketches) return NO_IDS
    this.#binStart ??= this.#decode('bins', this.#locateBins)
    return this.#binStart
  }

  totalsAt(row: number): RunningTotals | undefined {
    if (!this.hasTotals) return undefined
    this.#totals ??= this.#decode('totals', this.#decodeTotals)
    const { pointStart, droppedIncreaseNumber, thinned, timeMs, value, droppedIncreases } = this.#totals
    const start = pointStart[row]!
    const end = pointStart[row + 1]!
    if (start === end) return undefined
    const droppedIncreaseIndex = droppedIncreaseNumber[row]!
    return RunningTotals.fromColumns(
      timeMs,
      value,
      start,
      end,
      droppedIncreaseIndex === 0 ? 0 : droppedIncreases[droppedIncreaseIndex - 1]!,
      droppedIncreaseIndex !== 0,
      thinned[row] === 1,
    )
  }

  /** Sets the bins of the section, which the block has found in its sketch string. Only the block calls this. */
  attachBins(bytes: Uint8Array): void {
    this.#binBytes = bytes
  }

  get #hasShapes(): boolean {
    return hasShapes(this.kind)
  }

  /** Calls a method that decodes `what`. Not an arrow function, because a new one for each column would be garbage. */
  #decode<T, What extends string>(what: What, read: (this: MetricSection, what: What) => T): T {
    try {
      return read.call(this, what)
    } catch (error) {
      throw asBlockError(this.#blockName, `${what} of metric ${formatId(this.metricId)}`, error)
    }
  }

  /** The shapes of the rows. The first read checks that the columns end where the section ends. */
  get #rowShapes(): RowShapes {
    this.#shapes ??= this.#decode('columns', this.#readShapes)
    return this.#shapes
  }

  #readShapes(): RowShapes {
    const shapes = readShapes(this, this.#reader, this.#start, this.#end, this.#memory)
    if (this.kind === 'distribution' && this.needsSketches !== shapes.fullCount > 0)
      throw new RangeError('the flag for bins contradicts the shapes of the rows')
    return shapes
  }

  /** Decodes a column; by default into memory of the block. */
  #decodeColumn(name: ColumnName, length: number, memory: ColumnMemory = this.#memory): Float64Array {
    const end = findColumn(this, this.#reader, this.#start, this.#rowShapes, name)
    return decodeColumn(this.#reader.bytes, this.#reader.offset, end, length, memory)
  }

  #decodeCount(): Float64Array {
    return this.#hasShapes
      ? this.#decodeExpandedColumn('count', SHAPE_FLAT, undefined)
      : this.#decodeColumn('count', this.length)
  }

  #decodeSum(): Float64Array {
    return this.#decodeColumn('sum', this.length)
  }

  #decodeMin(): Float64Array {
    return this.#decodeExpandedColumn('min', SHAPE_FLAT, this.sum)
  }

  #decodeFullColumn(name: 'max' | 'first' | 'last'): Float64Array {
    return this.#decodeExpandedColumn(name, SHAPE_FULL, this.min)
  }

  #decodeFirstMs(): Float64Array {
    const times = this.#decodeColumn('firstOffset', this.length)
    const { bucketMs } = this
    for (let row = 0; row < times.length; row++) times[row] = times[row]! + bucketMs[row]!
    return times
  }

  #decodeLastMs(): Float64Array {
    const { firstMs } = this
    const shapes = this.#rowShapes
    if (shapes.flatOrFullCount === 0) return firstMs
    const spans = this.#decodeColumn('span', shapes.flatOrFullCount, scratchMemory)
    const times = this.#memory.allocateNumbers(this.length)
    let n = 0
    for (let row = 0; row < times.length; row++)
      times[row] = shapeAt(shapes, row) >= SHAPE_FLAT ? firstMs[row]! + spans[n++]! : firstMs[row]!
    return times
  }

  /**
   * Decodes a column in which only rows with the shape `shapeMin` or a greater one have a stored value. The other rows
   * get their value from `defaults`, or the value 1 if `defaults` is undefined.
   */
  #decodeExpandedColumn(name: ColumnName, shapeMin: number, defaults: Float64Array | undefined): Float64Array {
    const { shape, shapeOfRow, flatOrFullCount, fullCount } = this.#rowShapes
    const storedCount = shapeMin === SHAPE_FLAT ? flatOrFullCount : fullCount
    if (storedCount === this.length) return this.#decodeColumn(name, storedCount)
    const storedValues = this.#decodeColumn(name, storedCount, scratchMemory)
    // No row has a stored value, so the column is equal to `defaults`.
    if (storedCount === 0 && defaults !== undefined) return defaults
    const values = this.#memory.allocateNumbers(this.length)
    if (shape !== SHAPE_MIXED) return values.fill(1)
    let n = 0
    for (let row = 0; row < values.length; row++) {
      if (shapeOfRow[row]! >= shapeMin) values[row] = storedValues[n++]!
      else values[row] = defaults === undefined ? 1 : defaults[row]!
    }
    return values
  }

  #decodeSeries(): void {
    const count = this.seriesCount
    const rowCounts = this.#decodeColumn('rowCounts', count, scratchMemory)
    const hi = this.#memory.allocateIds(count)
    const lo = this.#memory.allocateIds(count)
    const rowStart = this.#memory.allocateIds(count + 1)
    const reader = this.#reader
    reader.offset = this.#start
    let rowCountSum = 0
    for (let i = 0; i < count; i++) {
      hi[i] = reader.u32le()
      lo[i] = reader.u32le()
      const isAscending = i === 0 || hi[i - 1]! < hi[i]! || (hi[i - 1] === hi[i] && lo[i - 1]! < lo[i]!)
      if (!isAscending) throw new RangeError('series out of order')
      const rowCount = rowCounts[i]!
      if (!(rowCount >= 1 && rowCount <= this.length) || !Number.isInteger(rowCount)) {
        throw new RangeError(`a series of ${rowCount} rollups`)
      }
      rowCountSum += rowCount
      rowStart[i + 1] = rowCountSum
    }
    if (rowCountSum !== this.length) throw new RangeError(`${rowCountSum} rollups in series, ${this.length} announced`)
    this.#seriesHi = hi
    this.#seriesLo = lo
    this.#rowStart = rowStart
  }

  #decodeBuckets(): Float64Array {
    const { rowStart } = this
    const count = this.seriesCount
    const firstBuckets = this.#decodeColumn('firstBuckets', count, scratchMemory)
    const steps = this.#decodeColumn('bucketSteps', this.length - count, secondScratchMemory)
    const bucketMs = this.#memory.allocateNumbers(this.length)
    const resolutionMs = this.#resolutionMs
    let n = 0
    let isAscending = true
    for (let series = 0; series < count; series++) {
      let bucket = firstBuckets[series]!
      let row = rowStart[series]!
      const end = rowStart[series + 1]!
      bucketMs[row++] = bucket * resolutionMs
      for (; row < end; row++) {
        const step = steps[n++]!
        isAscending = isAscending && step > 0
        bucket += step
        bucketMs[row] = bucket * resolutionMs
      }
    }
    if (!isAscending) throw new RangeError('buckets out of order')
    return bucketMs
  }

  #decodeTotals(): TotalsColumns {
    const memory = this.#memory
    // An encoded length is 4 × the number of points, plus 2 if the list is thinned, plus 1 if it is inexact.
    const encodedLengths = this.#decodeColumn('totalsLengths', this.length, scratchMemory)
    const pointStart = memory.allocateIds(this.length + 1)
    const droppedIncreaseNumber = memory.allocateIds(this.length)
    const thinned = memory.allocateBytes(this.length)
    let pointCount = 0
    let inexactCount = 0
    for (let row = 0; row < this.length; row++) {
      const encodedLength = encodedLengths[row]!
      if (!(encodedLength >= 0 && encodedLength <= TOTALS_LENGTH_MAX * 4 + 3) || !Number.isInteger(encodedLength)) {
        throw new RangeError(`${encodedLength} running totals`)
      }
      pointCount += encodedLength >>> 2
      thinned[row] = (encodedLength >>> 1) & 1
      pointStart[row + 1] = pointCount
      if ((encodedLength & 1) === 1) droppedIncreaseNumber[row] = ++inexactCount
    }
    const timeMs = this.#decodeColumn('totalsTimes', pointCount)
    const value = this.#decodeColumn('totalsValues', pointCount)
    const droppedIncreases = this.#decodeColumn('totalsDroppedIncreases', inexactCount)
    const bucketMs = this.bucketMs
    for (let row = 0; row < this.length; row++) {
      for (let i = pointStart[row]!; i < pointStart[row + 1]!; i++) timeMs[i] = timeMs[i]! + bucketMs[row]!
    }
    return { pointStart, droppedIncreaseNumber, thinned, timeMs, value, droppedIncreases }
  }

  /** Returns where the bins of each row begin and end. Checks all bins, so that later readers need not check them. */
  #locateBins(): Uint32Array {
    const bytes = this.binBytes
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    const shapes = this.#rowShapes
    const binStart = this.#memory.allocateIds(this.length + 1)
    let offset = 0
    for (let row = 0; row < this.length; row++) {
      if (shapeAt(shapes, row) === SHAPE_FULL) offset = skipBins(bytes, view, offset)
      binStart[row + 1] = offset
    }
    if (offset !== bytes.length) throw new RangeError(`${bytes.length - offset} bytes of bins left over`)
    return binStart
  }
}

const NO_BYTES = new Uint8Array(0)
const NO_IDS = new Uint32Array(0)
