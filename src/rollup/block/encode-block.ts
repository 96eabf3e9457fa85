import { constants, crc32, deflateRawSync } from 'node:zlib'
import { compareIds, formatId, type Id64 } from '../../model/id.ts'
import { ByteWriter } from '../../sketch/varint.ts'
import { bucketRangeOf, type RollupRows, seriesIndexOfRow } from '../rollup-rows.ts'
import { hasBins, hasBrokenBins } from '../row-bins.ts'
import {
  BLOCK_BYTES_MAX,
  BLOCK_ROWS_MAX,
  BLOCK_VERSION,
  CHECKSUM_BYTES,
  FLAG_DEFLATED,
  FLAG_HAS_BINS,
  FLAG_HAS_TOTALS,
  INFLATED_BYTES_MAX,
  ROLLUP_KINDS,
  SCALARS_MAGIC,
  SHAPE_FLAT,
  SHAPE_FULL,
  SHAPE_MIXED,
  SKETCHES_MAGIC,
} from './block-format.ts'
import { encodeColumn } from './column-codec.ts'
import { distributionShape, gaugeShape } from './row-shapes.ts'

/**
 * Encodes rollups as blocks. `block.ts` explains what a block is and decodes it; `docs/storage-format.md` describes
 * every byte. All calls share the buffers and scratch columns of this module, so the callback `onOmittedRow` must not
 * encode another block.
 */

export interface EncodedBlock {
  readonly scalars: Uint8Array
  /** Undefined if no row has bins. A row of a distribution has none if all its values are the same double. */
  readonly sketches: Uint8Array | undefined
  readonly rollupCount: number
  /** The smallest series id; zero for a block without rollups. */
  readonly seriesFrom: Id64
  /** The largest series id; zero for a block without rollups. */
  readonly seriesTo: Id64
  /** The start of the first and of the last bucket; infinite for a block without rollups. */
  readonly firstBucketMs: number
  readonly lastBucketMs: number
}

interface RowRange {
  readonly metricId: Id64
  readonly rows: RollupRows
  /** The rows [from, to) of `rows`. */
  readonly from: number
  readonly to: number
}

/** A string of the block with head and checksum. */
const finishedString = new ByteWriter(1 << 12)
/** The body of the scalars string: the directory of the sections, then the sections. */
const scalarsBody = new ByteWriter(1 << 12)
/** The sections so far. They are appended to the directory when it is complete. */
const encodedSections = new ByteWriter(1 << 16)
const sketchesBody = new ByteWriter(1 << 16)
/** The bins of the section that is being encoded. */
const sectionBins = new ByteWriter(1 << 14)
/** The columns of the section that is being encoded. */
const sectionScalars = new ByteWriter(1 << 16)

let scratchColumn = new Float64Array(1024)
/** The shapes of the rows of the section that is being encoded. */
let rowShapes = new Uint8Array(1024)

/** How the strings of a block are compressed. `fast` takes half the CPU of `small`, and 8 to 25 % more space. */
export type Deflation = false | 'fast' | 'small'

const DEFLATE_LEVELS = { fast: constants.Z_BEST_SPEED, small: constants.Z_DEFAULT_COMPRESSION }

/**
 * Encodes sections of different metrics, in any order, as one block. Omits sections without rows. Throws a RangeError
 * if two sections with rows have the same metric, if the block would be too large, or if a row cannot be encoded: for
 * example, a weight is not an integer, or a bucket is not a multiple of the resolution.
 */
export function encodeBlock(
  resolutionMs: number,
  sections: readonly { readonly metricId: Id64; readonly rows: RollupRows }[],
  options: { readonly deflate?: Deflation } = {},
): EncodedBlock {
  const ranges = sections
    .filter(({ rows }) => rows.length > 0)
    .map(({ metricId, rows }) => ({ metricId, rows, from: 0, to: rows.length }))
    .sort((a, b) => compareIds(a.metricId, b.metricId))
  for (let i = 1; i < ranges.length; i++) {
    if (compareIds(ranges[i - 1]!.metricId, ranges[i]!.metricId) === 0) {
      throw new RangeError(`two sections of metric ${formatId(ranges[i]!.metricId)}`)
    }
  }
  return encodeRanges(resolutionMs, ranges, options.deflate ?? false)
}

export interface EncodeBlocksOptions {
  readonly deflate?: Deflation
  readonly bytesMax?: number
  readonly rowsMax?: number
  /** Encodes only the rows [from, to). Default: all rows. */
  readonly from?: number
  readonly to?: number
  /**
   * Called for each row that cannot be encoded; the row is then omitted. Without this callback, `encodeBlocks` throws
   * the cause.
   */
  readonly onOmittedRow?: (row: number, cause: unknown) => void
}

/**
 * Encodes the rows of a metric as blocks; returns none if there are no rows, or if all are omitted. Before compression,
 * the two strings of a block have at most `bytesMax` bytes each. A block has at most `rowsMax` rows. A single row of
 * more than `bytesMax` gets its own block.
 */
export function encodeBlocks(
  resolutionMs: number,
  metricId: Id64,
  rows: RollupRows,
  options: EncodeBlocksOptions = {},
): EncodedBlock[] {
  const bytesMax = options.bytesMax ?? BLOCK_BYTES_MAX
  const rowsMax = Math.min(options.rowsMax ?? BLOCK_ROWS_MAX, BLOCK_ROWS_MAX)
  const blocks: EncodedBlock[] = []
  /**
   * Encodes the rows [from, to) as one block. If one of them cannot be encoded, returns undefined, or throws if there
   * is no `onOmittedRow`.
   */
  const tryToEncode = (from: number, to: number): BlockBodies | undefined => {
    try {
      return encodeBodies(resolutionMs, [{ metricId, rows, from, to }])
    } catch (cause) {
      if (options.onOmittedRow === undefined) throw cause
      if (to - from === 1) options.onOmittedRow(from, cause)
      return undefined
    }
  }
  /** The number of blocks for rows that have `bytes` together. Some blocks are larger, so there are a tenth more. */
  const blockCountOf = (bytes: number, rowCount: number): number =>
    bytes <= bytesMax ? 1 : Math.min(rowCount, Math.max(2, Math.ceil((bytes / bytesMax) * 1.1)))
  const encodeRange = (from: number, to: number): void => {
    // Rows with too many bins are divided first: the buffers of this module keep the size of the largest attempt.
    const binBytes = (rows.binStart[to] ?? 0) - (rows.binStart[from] ?? 0)
    let partCount = Math.max(Math.ceil((to - from) / rowsMax), blockCountOf(binBytes, to - from))
    if (partCount === 1) {
      const bodies = tryToEncode(from, to)
      if (bodies !== undefined) {
        const bytes = Math.max(bodies.scalars.length, bodies.sketches?.length ?? 0) + HEAD_AND_CHECKSUM_BYTES_MAX
        partCount = blockCountOf(bytes, to - from)
        if (partCount === 1) blocks.push(finishBlock(bodies, options.deflate ?? false))
      } else if (to - from > 1) partCount = 2
      if (partCount === 1) return
    }
    let start = from
    for (let part = 1; part <= partCount; part++) {
      const end =
        part === partCount ? to : blockStartNear(rows, start, from + Math.round(((to - from) * part) / partCount))
      if (end > start) encodeRange(start, end)
      start = end
    }
  }
  const { from = 0, to = rows.length } = options
  if (to > from) encodeRange(from, to)
  return blocks
}

/**
 * Returns the row at which the next block should begin: the first row of the series to which `row` belongs, so that the
 * series is not divided there. If this first row is too far before `row`, or not after `blockStart` (the first row of
 * the current block), returns `row`, which may divide the series between two blocks.
 */
function blockStartNear(rows: RollupRows, blockStart: number, row: number): number {
  const seriesStart = rows.rowStart[seriesIndexOfRow(rows, row)]!
  return seriesStart > blockStart && row - seriesStart < (row - blockStart) / 4 ? seriesStart : row
}

/**
 * The two strings of a block without head, checksum and compression. They are views of shared buffers and invalid when
 * the next block is encoded.
 */
type BlockBodies = EncodedBlock

/** Maximum number of bytes that `addHeadAndChecksum` adds to a body. */
const HEAD_AND_CHECKSUM_BYTES_MAX = 32

function encodeRanges(resolutionMs: number, ranges: readonly RowRange[], deflate: Deflation): EncodedBlock {
  return finishBlock(encodeBodies(resolutionMs, ranges), deflate)
}

function encodeBodies(resolutionMs: number, ranges: readonly RowRange[]): BlockBodies {
  scalarsBody.reset()
  encodedSections.reset()
  sketchesBody.reset()
  let rollupCount = 0
  let seriesFrom: Id64 | undefined
  let seriesTo: Id64 | undefined
  let firstBucketMs = Number.POSITIVE_INFINITY
  let lastBucketMs = Number.NEGATIVE_INFINITY
  let sketchSectionCount = 0
  scalarsBody.varint(resolutionMs)
  scalarsBody.varint(ranges.length)
  for (let i = 0; i < ranges.length; i++) {
    const range = ranges[i]!
    const { metricId, rows, from, to } = range
    rollupCount += to - from
    if (rollupCount > BLOCK_ROWS_MAX) throw new RangeError(`more than ${BLOCK_ROWS_MAX} rollups for one block`)
    const firstSeries = seriesIndexOfRow(rows, from)
    const lastSeries = seriesIndexOfRow(rows, to - 1)
    const first = { hi: rows.seriesHi[firstSeries]!, lo: rows.seriesLo[firstSeries]! }
    const last = { hi: rows.seriesHi[lastSeries]!, lo: rows.seriesLo[lastSeries]! }
    if (seriesFrom === undefined || compareIds(first, seriesFrom) < 0) seriesFrom = first
    if (seriesTo === undefined || compareIds(last, seriesTo) > 0) seriesTo = last
    const { firstMs, lastMs } = bucketRangeOf(rows, from, to)
    firstBucketMs = Math.min(firstBucketMs, firstMs)
    lastBucketMs = Math.max(lastBucketMs, lastMs)

    sectionScalars.reset()
    sectionBins.reset()
    encodeSection(resolutionMs, range, firstSeries, lastSeries + 1)
    const hasBins = sectionBins.length > 0
    scalarsBody.u32le(metricId.hi)
    scalarsBody.u32le(metricId.lo)
    scalarsBody.u8(
      ROLLUP_KINDS.indexOf(rows.kind) | (rows.hasTotals ? FLAG_HAS_TOTALS : 0) | (hasBins ? FLAG_HAS_BINS : 0),
    )
    scalarsBody.varint(to - from)
    scalarsBody.varint(lastSeries + 1 - firstSeries)
    scalarsBody.varint(sectionScalars.length)
    encodedSections.bytes(sectionScalars.written)
    if (hasBins) {
      sketchSectionCount++
      sketchesBody.varint(i)
      sketchesBody.varint(sectionBins.length)
      sketchesBody.bytes(sectionBins.written)
    }
  }
  scalarsBody.bytes(encodedSections.written)
  return {
    scalars: scalarsBody.written,
    sketches: sketchSectionCount === 0 ? undefined : sketchesBody.written,
    rollupCount,
    seriesFrom: seriesFrom ?? { hi: 0, lo: 0 },
    seriesTo: seriesTo ?? { hi: 0, lo: 0 },
    firstBucketMs,
    lastBucketMs,
  }
}

function finishBlock(bodies: BlockBodies, deflate: Deflation): EncodedBlock {
  const scalars = addHeadAndChecksum(SCALARS_MAGIC, undefined, bodies.scalars, deflate)
  const checksum = crc32(scalars.subarray(0, scalars.length - CHECKSUM_BYTES))
  return {
    ...bodies,
    scalars,
    sketches:
      bodies.sketches === undefined
        ? undefined
        : addHeadAndChecksum(SKETCHES_MAGIC, checksum, bodies.sketches, deflate),
  }
}

/**
 * Compresses a string of a block if `deflate` is not false and the result is smaller. Adds the head and the checksum. A
 * sketch string also gets the checksum of the block's scalars, which shows that the two strings belong together.
 */
function addHeadAndChecksum(
  magic: readonly number[],
  scalarsChecksum: number | undefined,
  body: Uint8Array,
  deflate: Deflation,
): Uint8Array {
  if (body.length > INFLATED_BYTES_MAX) throw new RangeError(`${body.length} bytes are too many for one block`)
  const deflated = deflate === false ? body : deflateRawSync(body, { level: DEFLATE_LEVELS[deflate] })
  const isDeflated = deflated.length < body.length
  finishedString.reset()
  for (const byte of magic) finishedString.u8(byte)
  finishedString.u8(BLOCK_VERSION)
  finishedString.u8(isDeflated ? FLAG_DEFLATED : 0)
  if (scalarsChecksum !== undefined) finishedString.u32le(scalarsChecksum)
  if (isDeflated) finishedString.varint(body.length)
  finishedString.bytes(isDeflated ? deflated : body)
  finishedString.u32le(crc32(finishedString.written))
  return finishedString.copyWritten()
}

/** Returns a scratch column of at least this length. The next call returns the same one, or a longer one. */
function scratchColumnFor(length: number): Float64Array {
  if (scratchColumn.length < length) scratchColumn = new Float64Array(length * 2)
  return scratchColumn
}

function encodeSection(resolutionMs: number, range: RowRange, firstSeries: number, endSeries: number): void {
  const { rows, from, to } = range
  const writer = sectionScalars
  encodeSeriesAndBuckets(resolutionMs, range, firstSeries, endSeries, writer)
  switch (rows.kind) {
    case 'set':
      encodeColumn(rows.count, from, to, writer)
      return
    case 'counter':
      encodeColumn(rows.count, from, to, writer)
      encodeColumn(rows.sum, from, to, writer)
      if (rows.hasTotals) encodeTotals(rows, from, to, writer)
      return
    case 'gauge':
    case 'distribution':
      encodeValues(rows, from, to, writer)
  }
}

/** Encodes the series [firstSeries, endSeries) of `rows`, and the buckets of the rows [from, to). */
function encodeSeriesAndBuckets(
  resolutionMs: number,
  { rows, from, to }: RowRange,
  firstSeries: number,
  endSeries: number,
  writer: ByteWriter,
): void {
  const { bucketMs, rowStart } = rows
  for (let series = firstSeries; series < endSeries; series++) {
    writer.u32le(rows.seriesHi[series]!)
    writer.u32le(rows.seriesLo[series]!)
  }
  const out = scratchColumnFor(to - from)
  for (let series = firstSeries; series < endSeries; series++) {
    out[series - firstSeries] = Math.min(to, rowStart[series + 1]!) - Math.max(from, rowStart[series]!)
  }
  encodeColumn(out, 0, endSeries - firstSeries, writer)
  const bucketIndexAt = (row: number) => {
    const bucket = bucketMs[row]! / resolutionMs
    if (!Number.isSafeInteger(bucket)) throw new RangeError(`no bucket of ${resolutionMs} ms: ${bucketMs[row]}`)
    return bucket
  }
  for (let series = firstSeries; series < endSeries; series++) {
    out[series - firstSeries] = bucketIndexAt(Math.max(from, rowStart[series]!))
  }
  encodeColumn(out, 0, endSeries - firstSeries, writer)
  let n = 0
  for (let series = firstSeries; series < endSeries; series++) {
    const end = Math.min(to, rowStart[series + 1]!)
    for (let row = Math.max(from, rowStart[series]!) + 1; row < end; row++)
      out[n++] = bucketIndexAt(row) - bucketIndexAt(row - 1)
  }
  encodeColumn(out, 0, n, writer)
}

/**
 * Encodes the values of gauges and distributions: first the shapes of the rows, then the columns. A column has no value
 * for a row whose shape implies that value.
 */
function encodeValues(rows: RollupRows, from: number, to: number, writer: ByteWriter): void {
  const length = to - from
  const isGauge = rows.kind === 'gauge'
  if (rowShapes.length < length) rowShapes = new Uint8Array(length * 2)
  let shapeBits = 0
  for (let row = from; row < to; row++) {
    const shape = isGauge ? gaugeShape(rows, row) : distributionShape(rows, row)
    rowShapes[row - from] = shape
    shapeBits |= 1 << shape
  }
  if (shapeBits === 1 || shapeBits === 2 || shapeBits === 4) {
    // All rows have one shape. `shapeBits` is 1 << shape, so for the shapes 0 to 2 the shift gives the shape itself.
    writer.u8(shapeBits >> 1)
  } else {
    writer.u8(SHAPE_MIXED)
    for (let i = 0; i < length; i += 4) {
      let packed = 0
      for (let j = 0; j < 4 && i + j < length; j++) packed |= rowShapes[i + j]! << (j * 2)
      writer.u8(packed)
    }
  }
  encodeShaped(rows.count, from, length, SHAPE_FLAT, writer)
  encodeColumn(rows.sum, from, to, writer)
  encodeShaped(rows.min, from, length, SHAPE_FLAT, writer)
  encodeShaped(rows.max, from, length, SHAPE_FULL, writer)
  if (isGauge) {
    encodeShaped(rows.first, from, length, SHAPE_FULL, writer)
    encodeShaped(rows.last, from, length, SHAPE_FULL, writer)
    encodeTimes(rows, from, length, writer)
  } else {
    encodeRowBins(rows, from, length)
  }
}

/** Appends the bins of the rows. Only rows of different values have bins (shape full). Each of them must have some. */
function encodeRowBins(rows: RollupRows, from: number, length: number): void {
  for (let row = from; row < from + length; row++) {
    if (rowShapes[row - from] !== SHAPE_FULL) continue
    if (!hasBins(rows, row)) throw new RangeError('a row of different values without bins')
    if (hasBrokenBins(rows, row)) throw new RangeError('a weight that is no integer from 1 to 2^53')
  }
  const { binBytes, binStart } = rows
  sectionBins.bytes(binBytes.subarray(binStart[from] ?? 0, binStart[from + length] ?? 0))
}

/** Encodes a column that has values only for rows with the shape `shapeMin` or a greater one. */
function encodeShaped(values: Float64Array, from: number, length: number, shapeMin: number, writer: ByteWriter): void {
  const out = scratchColumnFor(length)
  let n = 0
  for (let i = 0; i < length; i++) if (rowShapes[i]! >= shapeMin) out[n++] = values[from + i]!
  encodeColumn(out, 0, n, writer)
}

function encodeTimes(rows: RollupRows, from: number, length: number, writer: ByteWriter): void {
  const { bucketMs, firstMs, lastMs } = rows
  const out = scratchColumnFor(length)
  for (let i = 0; i < length; i++) out[i] = offsetOf(firstMs[from + i]!, bucketMs[from + i]!)
  encodeColumn(out, 0, length, writer)
  let n = 0
  for (let i = 0; i < length; i++)
    if (rowShapes[i]! >= SHAPE_FLAT) out[n++] = offsetOf(lastMs[from + i]!, firstMs[from + i]!)
  encodeColumn(out, 0, n, writer)
}

/** Returns the difference of two times. Throws a RangeError if a double cannot represent it exactly. */
function offsetOf(timeMs: number, baseMs: number): number {
  const offset = timeMs - baseMs
  if (baseMs + offset !== timeMs) throw new RangeError(`not a time in whole milliseconds: ${timeMs}`)
  return offset
}

function encodeTotals(rows: RollupRows, from: number, to: number, writer: ByteWriter): void {
  const lengths = new Float64Array(to - from)
  let pointCount = 0
  let inexactCount = 0
  for (let row = from; row < to; row++) {
    const totals = rows.totalsAt(row)
    if (totals === undefined) continue
    lengths[row - from] = totals.length * 4 + (totals.isThinned ? 2 : 0) + (totals.isInexact ? 1 : 0)
    pointCount += totals.length
    if (totals.isInexact) inexactCount++
  }
  const times = new Float64Array(pointCount)
  const values = new Float64Array(pointCount)
  const droppedIncreases = new Float64Array(inexactCount)
  pointCount = 0
  inexactCount = 0
  for (let row = from; row < to; row++) {
    const totals = rows.totalsAt(row)
    if (totals === undefined) continue
    for (let i = 0; i < totals.length; i++) {
      times[pointCount] = offsetOf(totals.timeMs[i]!, rows.bucketMs[row]!)
      values[pointCount++] = totals.value[i]!
    }
    if (totals.isInexact) droppedIncreases[inexactCount++] = totals.droppedIncrease
  }
  encodeColumn(lengths, 0, to - from, writer)
  encodeColumn(times, 0, times.length, writer)
  encodeColumn(values, 0, values.length, writer)
  encodeColumn(droppedIncreases, 0, droppedIncreases.length, writer)
}
