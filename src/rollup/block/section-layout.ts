import type { RollupKind } from '../../model/metric.ts'
import type { ByteReader } from '../../sketch/varint.ts'
import { SHAPE_FLAT, SHAPE_FULL, SHAPE_MIXED } from './block-format.ts'
import type { BlockMemory } from './block-memory.ts'
import type { ColumnMemory } from './column-codec.ts'

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
 * Reads the shapes of the rows of the section at [sectionStart, sectionEnd) of the bytes of `reader`. Rows of a kind
 * without shapes get SHAPE_FULL. Throws a RangeError if a shape is unknown, or if the columns do not end exactly at
 * `sectionEnd`.
 */
export function readShapes(
  { kind, length, seriesCount, hasTotals }: LayoutProperties,
  reader: ByteReader,
  sectionStart: number,
  sectionEnd: number,
  memory: BlockMemory,
): RowShapes {
  reader.offset = sectionStart + seriesCount * 8
  skipColumns(reader, SERIES_AND_BUCKET_COLUMNS.length)
  let shapes: RowShapes = { shape: SHAPE_FULL, shapeOfRow: NO_SHAPES, flatOrFullCount: length, fullCount: length }
  if (hasShapes(kind)) {
    const shape = reader.u8()
    if (shape > SHAPE_MIXED) throw new RangeError(`unknown shape ${shape}`)
    if (shape === SHAPE_MIXED) {
      const packedOffset = reader.offset
      reader.skip(Math.ceil(length / 4))
      shapes = unpackShapes(reader.bytes, packedOffset, memory.allocateBytes(length))
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

/** Moves `reader` to a column of the section that begins at `sectionStart`. Returns the offset of the column's end. */
export function findColumn(
  { kind, length, seriesCount }: LayoutProperties,
  reader: ByteReader,
  sectionStart: number,
  { shape }: RowShapes,
  name: ColumnName,
): number {
  reader.offset = sectionStart + seriesCount * 8
  const index = SERIES_AND_BUCKET_COLUMNS.indexOf(name)
  if (index >= 0) skipColumns(reader, index)
  else {
    skipColumns(reader, SERIES_AND_BUCKET_COLUMNS.length)
    if (hasShapes(kind)) reader.skip(shape === SHAPE_MIXED ? 1 + Math.ceil(length / 4) : 1)
    const valueIndex = VALUE_COLUMNS[kind].indexOf(name)
    skipColumns(reader, valueIndex >= 0 ? valueIndex : VALUE_COLUMNS[kind].length + TOTALS_COLUMNS.indexOf(name))
  }
  const columnBytes = reader.varint()
  return reader.offset + columnBytes
}

function skipColumns(reader: ByteReader, columnCount: number): void {
  for (let i = 0; i < columnCount; i++) reader.skip(reader.varint())
}

/** Maximum length of a scratch column that is kept. */
const SCRATCH_VALUES_MAX = 1 << 16

/** Memory for columns that are needed only until the next column is decoded into it. It is used again for each. */
class ScratchMemory implements ColumnMemory {
  #column = new Float64Array(1_024)

  /** Returns a column of at least this length. The next call may return it too. A long column is new; it is rare. */
  allocateNumbers(length: number): Float64Array {
    if (length > SCRATCH_VALUES_MAX) return new Float64Array(length)
    if (this.#column.length < length) this.#column = new Float64Array(Math.min(SCRATCH_VALUES_MAX, length * 2))
    return this.#column
  }
}

/** There are two, because two columns may be needed at once. */
export const scratchMemory: ColumnMemory = new ScratchMemory()
export const secondScratchMemory: ColumnMemory = new ScratchMemory()
