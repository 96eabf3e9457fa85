import type { RollupKind } from '../model/metric.ts'
import { ByteReader } from '../sketch/varint.ts'
import { FLAT, FULL, MIXED } from './block-format.ts'
import type { BlockMemory } from './block-memory.ts'

/**
 * Locates the columns of a section. Each column is preceded by its length in bytes. There are few columns, so a column
 * is found by skipping those before it, and no offsets are stored.
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
  | 'totalsCollapsed'

const PLACES: readonly ColumnName[] = ['rowCounts', 'firstBuckets', 'bucketSteps']
const COLUMNS: Readonly<Record<RollupKind, readonly ColumnName[]>> = {
  gauge: ['count', 'sum', 'min', 'max', 'first', 'last', 'firstOffset', 'span'],
  counter: ['count', 'sum'],
  distribution: ['count', 'sum', 'min', 'max'],
  set: ['count'],
}
const TOTALS_COLUMNS: readonly ColumnName[] = ['totalsLengths', 'totalsTimes', 'totalsValues', 'totalsCollapsed']

const NO_SHAPES = new Uint8Array(0)

/** The properties of a section that determine its layout. */
export interface SectionShape {
  readonly kind: RollupKind
  readonly length: number
  readonly seriesCount: number
  readonly hasTotals: boolean
}

export interface RowShapes {
  /** The shape of all rows. If it is MIXED, `ofRows` has the shape of each row. */
  readonly shape: number
  readonly ofRows: Uint8Array
  /** Number of rows that are FLAT or FULL, and of rows that are FULL. */
  readonly several: number
  readonly full: number
}

export function hasShapes(kind: RollupKind): boolean {
  return kind === 'gauge' || kind === 'distribution'
}

export function shapeAt({ shape, ofRows }: RowShapes, row: number): number {
  return shape === MIXED ? ofRows[row]! : shape
}

/** Reads the shapes of the rows. Throws a RangeError unless the columns end exactly at `end`. */
export function readShapes(
  { kind, length, seriesCount, hasTotals }: SectionShape,
  bytes: Uint8Array,
  start: number,
  end: number,
  memory: BlockMemory,
): RowShapes {
  const reader = new ByteReader(bytes, start + seriesCount * 8)
  skipColumns(reader, PLACES.length)
  let shapes: RowShapes = { shape: FULL, ofRows: NO_SHAPES, several: length, full: length }
  if (hasShapes(kind)) {
    const shape = reader.u8()
    if (shape > MIXED) throw new RangeError(`unknown shape ${shape}`)
    if (shape === MIXED) {
      const packedAt = reader.offset
      reader.skip(Math.ceil(length / 4))
      shapes = unpackShapes(bytes, packedAt, memory.octets(length))
    } else {
      shapes = { shape, ofRows: NO_SHAPES, several: shape < FLAT ? 0 : length, full: shape < FULL ? 0 : length }
    }
  }
  skipColumns(reader, COLUMNS[kind].length + (hasTotals ? TOTALS_COLUMNS.length : 0))
  if (reader.offset !== end) throw new RangeError(`the columns end at ${reader.offset}, the section at ${end}`)
  return shapes
}

function unpackShapes(bytes: Uint8Array, packedAt: number, ofRows: Uint8Array): RowShapes {
  let several = 0
  let full = 0
  for (let row = 0; row < ofRows.length; row++) {
    const shape = (bytes[packedAt + (row >>> 2)]! >>> ((row & 3) * 2)) & 3
    if (shape > FULL) throw new RangeError(`unknown shape ${shape}`)
    ofRows[row] = shape
    if (shape >= FLAT) several++
    if (shape >= FULL) full++
  }
  return { shape: MIXED, ofRows, several, full }
}

/** Returns the offsets of a column in `bytes`. */
export function locateColumn(
  { kind, length, seriesCount }: SectionShape,
  bytes: Uint8Array,
  start: number,
  { shape }: RowShapes,
  name: ColumnName,
): { readonly start: number; readonly end: number } {
  const reader = new ByteReader(bytes, start + seriesCount * 8)
  const place = PLACES.indexOf(name)
  if (place >= 0) skipColumns(reader, place)
  else {
    skipColumns(reader, PLACES.length)
    if (hasShapes(kind)) reader.skip(shape === MIXED ? 1 + Math.ceil(length / 4) : 1)
    const own = COLUMNS[kind].indexOf(name)
    skipColumns(reader, own >= 0 ? own : COLUMNS[kind].length + TOTALS_COLUMNS.indexOf(name))
  }
  const columnBytes = reader.varint()
  return { start: reader.offset, end: reader.offset + columnBytes }
}

function skipColumns(reader: ByteReader, columns: number): void {
  for (let i = 0; i < columns; i++) reader.skip(reader.varint())
}

/** Scratch columns. Columns of more than `SCRATCH_VALUES_MAX` values are rare and allocated when needed. */
const scratches: [Float64Array, Float64Array] = [new Float64Array(1_024), new Float64Array(1_024)]
const SCRATCH_VALUES_MAX = 1 << 16

/** Returns a scratch column of at least this length. The next call with the same `place` overwrites it. */
export function scratchOf(place: 0 | 1, length: number): Float64Array {
  if (length > SCRATCH_VALUES_MAX) return new Float64Array(length)
  if (scratches[place].length < length) scratches[place] = new Float64Array(Math.min(SCRATCH_VALUES_MAX, length * 2))
  return scratches[place]
}
