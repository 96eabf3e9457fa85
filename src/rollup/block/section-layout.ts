import type { RollupKind } from '../../model/metric.ts'
import { ByteReader } from '../../sketch/varint.ts'
import { SHAPE_FLAT, SHAPE_FULL, SHAPE_MIXED } from './block-format.ts'
import type { BlockMemory } from './block-memory.ts'

/**
 * Finds the columns in the bytes of a section, which has the rollups of one metric in a block. A section begins with
 * its series ids, 8 bytes each; columns follow, each preceded by its length in bytes. A gauge or distribution has the
 * shapes of its rows after the third column. To find a column, all bytes before it are skipped: there are few columns,
 * so no offsets are stored.
 */

export type ColumnName =
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
  | 'totalsDroppedIncreases'

const SERIES_AND_BUCKET_COLUMNS: readonly ColumnName[] = ['rowCounts', 'firstBuckets', 'bucketSteps']
/** The columns that follow the columns of series and buckets and the shapes of the rows. */
const VALUE_COLUMNS: Readonly<Record<RollupKind, readonly ColumnName[]>> = {
  gauge: ['count', 'sum', 'min', 'max', 'first', 'last', 'firstOffset', 'span'],
  counter: ['count', 'sum'],
  distribution: ['count', 'sum', 'min', 'max'],
  set: ['count'],
}
/** The columns of running totals, which follow the value columns if the section has running totals. */
const TOTALS_COLUMNS: readonly ColumnName[] = ['totalsLengths', 'totalsTimes', 'totalsValues', 'totalsDroppedIncreases']

const NO_SHAPES = new Uint8Array(0)

/** The properties of a section that determine its layout. */
export interface LayoutProperties {
  readonly kind: RollupKind
  /** Number of rows. */
  readonly length: number
  readonly seriesCount: number
  readonly hasTotals: boolean
}

export interface RowShapes {
  /** The shape of all rows (`block-format.ts`). If it is SHAPE_MIXED, `shapeOfRow` has the shape of each row. */
  readonly shape: number
  /** Empty unless `shape` is SHAPE_MIXED. */
  readonly shapeOfRow: Uint8Array
  /** Number of rows with SHAPE_FLAT or SHAPE_FULL. */
  readonly flatOrFullCount: number
  /** Number of rows with SHAPE_FULL. */
  readonly fullCount: number
}

/** Whether a section of this kind stores the shapes of its rows (see `SHAPE_SINGLE`). */
export function hasShapes(kind: RollupKind): boolean {
  return kind === 'gauge' || kind === 'distribution'
}

export function shapeAt({ shape, shapeOfRow }: RowShapes, row: number): number {
  return shape === SHAPE_MIXED ? shapeOfRow[row]! : shape
}

/**
 * Reads the shapes of the rows of the section at [sectionStart, sectionEnd) of `bytes`. Rows of a kind without shapes
 * get SHAPE_FULL. Throws a RangeError if a shape is unknown, or if the columns do not end exactly at `sectionEnd`.
 */
export function readShapes(
  { kind, length, seriesCount, hasTotals }: LayoutProperties,
  bytes: Uint8Array,
  sectionStart: number,
  sectionEnd: number,
  memory: BlockMemory,
): RowShapes {
  const reader = new ByteReader(bytes, sectionStart + seriesCount * 8)
  skipColumns(reader, SERIES_AND_BUCKET_COLUMNS.length)
  let shapes: RowShapes = { shape: SHAPE_FULL, shapeOfRow: NO_SHAPES, flatOrFullCount: length, fullCount: length }
  if (hasShapes(kind)) {
    const shape = reader.u8()
    if (shape > SHAPE_MIXED) throw new RangeError(`unknown shape ${shape}`)
    if (shape === SHAPE_MIXED) {
      const packedOffset = reader.offset
      reader.skip(Math.ceil(length / 4))
      shapes = unpackShapes(bytes, packedOffset, memory.allocateBytes(length))
    } else {
      shapes = {
        shape,
        shapeOfRow: NO_SHAPES,
        flatOrFullCount: shape < SHAPE_FLAT ? 0 : length,
        fullCount: shape < SHAPE_FULL ? 0 : length,
      }
    }
  }
  skipColumns(reader, VALUE_COLUMNS[kind].length + (hasTotals ? TOTALS_COLUMNS.length : 0))
  if (reader.offset !== sectionEnd)
    throw new RangeError(`the columns end at ${reader.offset}, the section at ${sectionEnd}`)
  return shapes
}

function unpackShapes(bytes: Uint8Array, packedOffset: number, shapeOfRow: Uint8Array): RowShapes {
  let flatOrFullCount = 0
  let fullCount = 0
  for (let row = 0; row < shapeOfRow.length; row++) {
    const shape = (bytes[packedOffset + (row >>> 2)]! >>> ((row & 3) * 2)) & 3
    if (shape > SHAPE_FULL) throw new RangeError(`unknown shape ${shape}`)
    shapeOfRow[row] = shape
    if (shape >= SHAPE_FLAT) flatOrFullCount++
    if (shape >= SHAPE_FULL) fullCount++
  }
  return { shape: SHAPE_MIXED, shapeOfRow, flatOrFullCount, fullCount }
}

/** Returns where a column starts and ends in `bytes`, in which the section begins at `sectionStart`. */
export function locateColumn(
  { kind, length, seriesCount }: LayoutProperties,
  bytes: Uint8Array,
  sectionStart: number,
  { shape }: RowShapes,
  name: ColumnName,
): { readonly start: number; readonly end: number } {
  const reader = new ByteReader(bytes, sectionStart + seriesCount * 8)
  const index = SERIES_AND_BUCKET_COLUMNS.indexOf(name)
  if (index >= 0) skipColumns(reader, index)
  else {
    skipColumns(reader, SERIES_AND_BUCKET_COLUMNS.length)
    if (hasShapes(kind)) reader.skip(shape === SHAPE_MIXED ? 1 + Math.ceil(length / 4) : 1)
    const valueIndex = VALUE_COLUMNS[kind].indexOf(name)
    skipColumns(reader, valueIndex >= 0 ? valueIndex : VALUE_COLUMNS[kind].length + TOTALS_COLUMNS.indexOf(name))
  }
  const columnBytes = reader.varint()
  return { start: reader.offset, end: reader.offset + columnBytes }
}

function skipColumns(reader: ByteReader, columnCount: number): void {
  for (let i = 0; i < columnCount; i++) reader.skip(reader.varint())
}

/**
 * Scratch columns for decoding; there are two, because two columns may be needed at once. Each grows to at most
 * `SCRATCH_VALUES_MAX` values. A longer column, which is rare, gets a new array.
 */
const scratchColumns: [Float64Array, Float64Array] = [new Float64Array(1_024), new Float64Array(1_024)]
const SCRATCH_VALUES_MAX = 1 << 16

/** Returns a scratch column of at least this length. The next call with the same `slot` may return it too. */
export function scratchColumn(slot: 0 | 1, length: number): Float64Array {
  if (length > SCRATCH_VALUES_MAX) return new Float64Array(length)
  if (scratchColumns[slot].length < length)
    scratchColumns[slot] = new Float64Array(Math.min(SCRATCH_VALUES_MAX, length * 2))
  return scratchColumns[slot]
}
