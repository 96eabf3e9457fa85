import { crc32, deflateRawSync, inflateRawSync } from 'node:zlib'
import { compareIds, formatId, type Id64 } from '../model/id.ts'
import { encodeBins } from '../sketch/bins.ts'
import { QuantileSketch } from '../sketch/quantile-sketch.ts'
import { ByteReader, ByteWriter } from '../sketch/varint.ts'
import {
  BlockError,
  BlockVersionError,
  FLAT,
  FULL,
  guard,
  HAS_BINS,
  HAS_TOTALS,
  KINDS,
  MIXED,
  SINGLE,
} from './block-format.ts'
import { BlockMemory, BUFFER_BYTES, VIEW_BYTES } from './block-memory.ts'
import { encodeColumn } from './columns.ts'
import { MetricSection, type SectionHead } from './metric-section.ts'
import type { RollupRows } from './rollup-rows.ts'

/**
 * A block: many rollups of one resolution in immutable bytes, sorted by metric, series and bucket. Bins of distributions are
 * a string of their own beside the scalar columns, so that a sum never moves a sketch. A reader opens a block by checking
 * it whole (checksum) and parsing the directory; columns are decoded when first asked for. `docs/storage-format.md`
 * describes every byte.
 */

export { BlockError, BlockVersionError } from './block-format.ts'
export type { MetricSection } from './metric-section.ts'

/** Aim of `encodeBlocks`: small enough to move in one piece, large enough that a day of a metric is few of them. */
export const BLOCK_BYTES_MAX = 1 << 20
/** Bounds what a reader allocates, whatever the bytes claim. */
export const BLOCK_ROWS_MAX = 1 << 20
const INFLATED_BYTES_MAX = 1 << 26

/** 1 is refused: its running totals were written in two ways that the bytes do not tell apart. */
const VERSION = 2
const SCALARS_MAGIC = [0x47, 0x51, 0x42] as const // GQB
const SKETCHES_MAGIC = [0x47, 0x51, 0x53] as const // GQS
const DEFLATED = 1
const CHECKSUM_BYTES = 4

export interface EncodedBlock {
  readonly scalars: Uint8Array
  /** Undefined when no distribution has a row of different values. */
  readonly sketches: Uint8Array | undefined
  readonly rollups: number
  /** Least and greatest series id, both inclusive; zero for a block without rollups. */
  readonly seriesFrom: Id64
  readonly seriesTo: Id64
}

// Encoding

interface Stretch {
  readonly metricId: Id64
  readonly rows: RollupRows
  /** Rows [from, to). */
  readonly from: number
  readonly to: number
}

const column = new ByteWriter(1 << 12)
const directory = new ByteWriter(1 << 12)
const scalarBody = new ByteWriter(1 << 16)
const sketchBody = new ByteWriter(1 << 16)
const sectionBins = new ByteWriter(1 << 14)
const sectionScalars = new ByteWriter(1 << 16)
const rowSketch = new QuantileSketch()

let numbers = new Float64Array(1024)
let shapes = new Uint8Array(1024)

/**
 * One block of these sections, in any order, each metric once. Weights of distributions must be integers. Buckets must be
 * multiples of the resolution; anything else is a RangeError.
 */
export function encodeBlock(
  resolutionMs: number,
  sections: readonly { readonly metricId: Id64; readonly rows: RollupRows }[],
  options: { readonly deflate?: boolean } = {},
): EncodedBlock {
  const stretches = sections
    .filter(({ rows }) => rows.length > 0)
    .map(({ metricId, rows }) => ({ metricId, rows, from: 0, to: rows.length }))
    .sort((a, b) => compareIds(a.metricId, b.metricId))
  for (let i = 1; i < stretches.length; i++) {
    if (compareIds(stretches[i - 1]!.metricId, stretches[i]!.metricId) === 0) {
      throw new RangeError(`two sections of metric ${formatId(stretches[i]!.metricId)}`)
    }
  }
  return encodeStretches(resolutionMs, stretches, options.deflate ?? false)
}

export interface BlocksOptions {
  readonly deflate?: boolean
  readonly bytesMax?: number
  readonly rowsMax?: number
  /** Told of a row that cannot be encoded, which is then left out; without it that is an error. */
  readonly setAside?: (row: number, cause: unknown) => void
}

/**
 * As many blocks as it takes for no string to exceed `bytesMax` before deflation and no block to hold more than `rowsMax`
 * rollups; a single row that exceeds the bytes stays alone.
 */
export function encodeBlocks(
  resolutionMs: number,
  metricId: Id64,
  rows: RollupRows,
  options: BlocksOptions = {},
): EncodedBlock[] {
  const bytesMax = options.bytesMax ?? BLOCK_BYTES_MAX
  const rowsMax = Math.min(options.rowsMax ?? BLOCK_ROWS_MAX, BLOCK_ROWS_MAX)
  const blocks: EncodedBlock[] = []
  /** Undefined: some row of these cannot be encoded. */
  const tryToEncode = (from: number, to: number): Bodies | undefined => {
    try {
      return encodeBodies(resolutionMs, [{ metricId, rows, from, to }])
    } catch (cause) {
      if (options.setAside === undefined) throw cause
      if (to - from === 1) options.setAside(from, cause)
      return undefined
    }
  }
  const encodeRange = (from: number, to: number): void => {
    let parts = Math.ceil((to - from) / rowsMax)
    if (parts === 1) {
      const body = tryToEncode(from, to)
      const bytes = body && Math.max(body.scalars.length, body.sketches?.length ?? 0) + HEAD_BYTES_MAX
      if (body !== undefined && bytes !== undefined && (bytes <= bytesMax || to - from === 1)) {
        blocks.push(finishBlock(body, options.deflate ?? false))
        return
      }
      if (to - from === 1) return
      // A little more than needed, because parts are uneven.
      parts = bytes === undefined ? 2 : Math.min(to - from, Math.max(2, Math.ceil((bytes / bytesMax) * 1.1)))
    }
    let start = from
    for (let part = 1; part <= parts; part++) {
      const end = part === parts ? to : boundaryNear(rows, start, from + Math.round(((to - from) * part) / parts))
      if (end > start) encodeRange(start, end)
      start = end
    }
  }
  if (rows.length > 0) encodeRange(0, rows.length)
  return blocks
}

/** The row where the series of this row begins, unless that is far off: then blocks share a series. */
function boundaryNear(rows: RollupRows, start: number, row: number): number {
  const begin = rows.rowStart[seriesOfRow(rows, row)]!
  return begin > start && row - begin < (row - start) / 4 ? begin : row
}

function seriesOfRow(rows: RollupRows, row: number): number {
  let low = 0
  let high = rows.seriesCount
  while (high - low > 1) {
    const middle = (low + high) >>> 1
    if (rows.rowStart[middle]! <= row) low = middle
    else high = middle
  }
  return low
}

interface Bodies {
  readonly scalars: Uint8Array
  readonly sketches: Uint8Array | undefined
  readonly rollups: number
  readonly seriesFrom: Id64
  readonly seriesTo: Id64
}

const HEAD_BYTES_MAX = 32

function encodeStretches(resolutionMs: number, stretches: readonly Stretch[], deflate: boolean): EncodedBlock {
  return finishBlock(encodeBodies(resolutionMs, stretches), deflate)
}

function encodeBodies(resolutionMs: number, stretches: readonly Stretch[]): Bodies {
  directory.reset()
  scalarBody.reset()
  sketchBody.reset()
  let rollups = 0
  let seriesFrom: Id64 | undefined
  let seriesTo: Id64 | undefined
  let sketchSections = 0
  directory.varint(resolutionMs)
  directory.varint(stretches.length)
  for (let i = 0; i < stretches.length; i++) {
    const stretch = stretches[i]!
    const { metricId, rows, from, to } = stretch
    rollups += to - from
    if (rollups > BLOCK_ROWS_MAX) throw new RangeError(`more than ${BLOCK_ROWS_MAX} rollups for one block`)
    const firstSeries = seriesOfRow(rows, from)
    const lastSeries = seriesOfRow(rows, to - 1)
    const first = { hi: rows.seriesHi[firstSeries]!, lo: rows.seriesLo[firstSeries]! }
    const last = { hi: rows.seriesHi[lastSeries]!, lo: rows.seriesLo[lastSeries]! }
    if (seriesFrom === undefined || compareIds(first, seriesFrom) < 0) seriesFrom = first
    if (seriesTo === undefined || compareIds(last, seriesTo) > 0) seriesTo = last

    sectionScalars.reset()
    sectionBins.reset()
    encodeSection(resolutionMs, stretch, firstSeries, lastSeries + 1)
    const hasBins = sectionBins.length > 0
    directory.u32le(metricId.hi)
    directory.u32le(metricId.lo)
    directory.u8(KINDS.indexOf(rows.kind) | (rows.hasTotals ? HAS_TOTALS : 0) | (hasBins ? HAS_BINS : 0))
    directory.varint(to - from)
    directory.varint(lastSeries + 1 - firstSeries)
    directory.varint(sectionScalars.length)
    scalarBody.bytes(sectionScalars.finish())
    if (hasBins) {
      sketchSections++
      sketchBody.varint(i)
      sketchBody.varint(sectionBins.length)
      sketchBody.bytes(sectionBins.finish())
    }
  }
  directory.bytes(scalarBody.finish())
  return {
    scalars: directory.finish(),
    sketches: sketchSections === 0 ? undefined : sketchBody.finish(),
    rollups,
    seriesFrom: seriesFrom ?? { hi: 0, lo: 0 },
    seriesTo: seriesTo ?? { hi: 0, lo: 0 },
  }
}

function finishBlock(bodies: Bodies, deflate: boolean): EncodedBlock {
  const scalars = seal(SCALARS_MAGIC, undefined, bodies.scalars, deflate)
  const checksum = crc32(scalars.subarray(0, scalars.length - CHECKSUM_BYTES))
  return {
    ...bodies,
    scalars,
    sketches: bodies.sketches === undefined ? undefined : seal(SKETCHES_MAGIC, checksum, bodies.sketches, deflate),
  }
}

/** Head, body and checksum of either string. Sketches name the scalars they belong to by their checksum. */
function seal(magic: readonly number[], owner: number | undefined, body: Uint8Array, deflate: boolean): Uint8Array {
  if (body.length > INFLATED_BYTES_MAX) throw new RangeError(`${body.length} bytes are too many for one block`)
  const deflated = deflate ? deflateRawSync(body) : body
  const smaller = deflated.length < body.length
  column.reset()
  for (const byte of magic) column.u8(byte)
  column.u8(VERSION)
  column.u8(smaller ? DEFLATED : 0)
  if (owner !== undefined) column.u32le(owner)
  if (smaller) column.varint(body.length)
  column.bytes(smaller ? deflated : body)
  const checksummed = column.finish()
  column.u32le(crc32(checksummed))
  return column.finish()
}

/** Fills the scratch from 0 on and returns it. */
function scratchNumbers(length: number): Float64Array {
  if (numbers.length < length) numbers = new Float64Array(length * 2)
  return numbers
}

function encodeSection(resolutionMs: number, stretch: Stretch, seriesFrom: number, seriesTo: number): void {
  const { rows, from, to } = stretch
  const writer = sectionScalars
  encodePlaces(resolutionMs, stretch, seriesFrom, seriesTo, writer)
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
      encodeMoments(rows, from, to, writer)
  }
}

/** Series and buckets. */
function encodePlaces(
  resolutionMs: number,
  { rows, from, to }: Stretch,
  seriesFrom: number,
  seriesTo: number,
  writer: ByteWriter,
): void {
  const { bucketMs, rowStart } = rows
  for (let series = seriesFrom; series < seriesTo; series++) {
    writer.u32le(rows.seriesHi[series]!)
    writer.u32le(rows.seriesLo[series]!)
  }
  const out = scratchNumbers(to - from)
  for (let series = seriesFrom; series < seriesTo; series++) {
    out[series - seriesFrom] = Math.min(to, rowStart[series + 1]!) - Math.max(from, rowStart[series]!)
  }
  encodeColumn(out, 0, seriesTo - seriesFrom, writer)
  const buckets = (row: number) => {
    const bucket = bucketMs[row]! / resolutionMs
    if (!Number.isSafeInteger(bucket)) throw new RangeError(`no bucket of ${resolutionMs} ms: ${bucketMs[row]}`)
    return bucket
  }
  for (let series = seriesFrom; series < seriesTo; series++) {
    out[series - seriesFrom] = buckets(Math.max(from, rowStart[series]!))
  }
  encodeColumn(out, 0, seriesTo - seriesFrom, writer)
  let n = 0
  for (let series = seriesFrom; series < seriesTo; series++) {
    const end = Math.min(to, rowStart[series + 1]!)
    for (let row = Math.max(from, rowStart[series]!) + 1; row < end; row++) out[n++] = buckets(row) - buckets(row - 1)
  }
  encodeColumn(out, 0, n, writer)
}

/** Gauges and distributions: the fewer values a row has, the fewer columns it is in. */
function encodeMoments(rows: RollupRows, from: number, to: number, writer: ByteWriter): void {
  const length = to - from
  const isGauge = rows.kind === 'gauge'
  if (shapes.length < length) shapes = new Uint8Array(length * 2)
  let seen = 0
  for (let row = from; row < to; row++) {
    const shape = isGauge ? gaugeShape(rows, row) : distributionShape(rows, row)
    shapes[row - from] = shape
    seen |= 1 << shape
  }
  if (seen === 1 || seen === 2 || seen === 4) {
    writer.u8(seen >> 1)
  } else {
    writer.u8(MIXED)
    for (let i = 0; i < length; i += 4) {
      let packed = 0
      for (let j = 0; j < 4 && i + j < length; j++) packed |= shapes[i + j]! << (j * 2)
      writer.u8(packed)
    }
  }
  encodeShaped(rows.count, from, length, FLAT, writer)
  encodeColumn(rows.sum, from, to, writer)
  encodeShaped(rows.min, from, length, FLAT, writer)
  encodeShaped(rows.max, from, length, FULL, writer)
  if (isGauge) {
    encodeShaped(rows.first, from, length, FULL, writer)
    encodeShaped(rows.last, from, length, FULL, writer)
    encodeTimes(rows, from, length, writer)
  } else {
    for (let i = 0; i < length; i++) {
      if (shapes[i] !== FULL) continue
      rowSketch.clear()
      rows.mergeBinsInto(from + i, rowSketch)
      encodeBins(rowSketch, sectionBins)
    }
  }
}

function distributionShape(rows: RollupRows, row: number): number {
  const min = rows.min[row]!
  if (!Object.is(min, rows.max[row])) return FULL
  return rows.count[row] === 1 && Object.is(rows.sum[row], min) ? SINGLE : FLAT
}

function gaugeShape(rows: RollupRows, row: number): number {
  const min = rows.min[row]!
  if (!Object.is(min, rows.max[row]) || !Object.is(min, rows.first[row]) || !Object.is(min, rows.last[row])) return FULL
  const one = rows.count[row] === 1 && Object.is(rows.sum[row], min) && rows.firstMs[row] === rows.lastMs[row]
  return one ? SINGLE : FLAT
}

/** The column's values of rows of at least that shape. */
function encodeShaped(values: Float64Array, from: number, length: number, shapeMin: number, writer: ByteWriter): void {
  const out = scratchNumbers(length)
  let n = 0
  for (let i = 0; i < length; i++) if (shapes[i]! >= shapeMin) out[n++] = values[from + i]!
  encodeColumn(out, 0, n, writer)
}

function encodeTimes(rows: RollupRows, from: number, length: number, writer: ByteWriter): void {
  const { bucketMs, firstMs, lastMs } = rows
  const out = scratchNumbers(length)
  for (let i = 0; i < length; i++) out[i] = offsetOf(firstMs[from + i]!, bucketMs[from + i]!)
  encodeColumn(out, 0, length, writer)
  let n = 0
  for (let i = 0; i < length; i++) if (shapes[i]! >= FLAT) out[n++] = offsetOf(lastMs[from + i]!, firstMs[from + i]!)
  encodeColumn(out, 0, n, writer)
}

function offsetOf(timeMs: number, baseMs: number): number {
  const offset = timeMs - baseMs
  if (baseMs + offset !== timeMs) throw new RangeError(`not a time in whole milliseconds: ${timeMs}`)
  return offset
}

function encodeTotals(rows: RollupRows, from: number, to: number, writer: ByteWriter): void {
  const lengths = new Float64Array(to - from)
  let points = 0
  let inexact = 0
  for (let row = from; row < to; row++) {
    const totals = rows.totalsAt(row)
    if (totals === undefined) continue
    lengths[row - from] = totals.length * 4 + (totals.thinned ? 2 : 0) + (totals.inexact ? 1 : 0)
    points += totals.length
    if (totals.inexact) inexact++
  }
  const times = new Float64Array(points)
  const values = new Float64Array(points)
  const collapsed = new Float64Array(inexact)
  points = 0
  inexact = 0
  for (let row = from; row < to; row++) {
    const totals = rows.totalsAt(row)
    if (totals === undefined) continue
    for (let i = 0; i < totals.length; i++) {
      times[points] = offsetOf(totals.timeMs[i]!, rows.bucketMs[row]!)
      values[points++] = totals.value[i]!
    }
    if (totals.inexact) collapsed[inexact++] = totals.collapsed
  }
  encodeColumn(lengths, 0, to - from, writer)
  encodeColumn(times, 0, times.length, writer)
  encodeColumn(values, 0, values.length, writer)
  encodeColumn(collapsed, 0, collapsed.length, writer)
}

// Decoding

export interface Block {
  readonly name: string
  readonly resolutionMs: number
  /** Ascending by metric id. */
  readonly sections: readonly MetricSection[]
  section(metricId: Id64): MetricSection | undefined
  /** Memory held, growing as columns are decoded: buffers, and the objects around them. */
  readonly memory: Pick<BlockMemory, 'bytes' | 'onGrowth'>
  /** Some row's bins lie in the sketch string. */
  readonly needsSketches: boolean
  /** The sketch string is needed and has been attached. */
  readonly hasSketches: boolean
  attachSketches(bytes: Uint8Array): void
}

/**
 * Checks the whole string; a BlockError when it is damaged or of another version. Columns are decoded on first use, so the
 * bytes are kept and must not change.
 */
export function openBlock(name: string, scalars: Uint8Array): Block {
  return new OpenBlock(name, scalars)
}

interface Opened {
  readonly body: Uint8Array
  readonly checksum: number
  /** Checksum of the scalars that sketches belong to; 0 of scalars themselves. */
  readonly owner: number
}

function unseal(name: string, magic: readonly number[], hasOwner: boolean, bytes: Uint8Array): Opened {
  const what = hasOwner ? 'sketches' : 'scalars'
  const headBytes = magic.length + 2 + (hasOwner ? 4 : 0)
  if (bytes.length < headBytes + CHECKSUM_BYTES) throw new BlockError(name, `${what} cut short: ${bytes.length} bytes`)
  if (magic.some((byte, i) => bytes[i] !== byte)) throw new BlockError(name, `not the ${what} of a block`)
  const version = bytes[magic.length]!
  if (version !== VERSION) {
    throw new BlockVersionError(name, `${what} of version ${version}; this gateway reads version ${VERSION}`)
  }
  const end = bytes.length - CHECKSUM_BYTES
  const checksum = crc32(bytes.subarray(0, end))
  if (new ByteReader(bytes, end).u32le() !== checksum)
    throw new BlockError(name, `${what} damaged: the checksum differs`)
  const flags = bytes[magic.length + 1]!
  if ((flags & ~DEFLATED) !== 0) throw new BlockError(name, `${what} with unknown flags ${flags}`)
  const reader = new ByteReader(bytes.subarray(0, end), magic.length + 2)
  const owner = hasOwner ? reader.u32le() : 0
  if (flags === 0) return { body: reader.slice(reader.remaining), checksum, owner }
  return guard(name, `inflating ${what}`, () => {
    const length = reader.varint()
    if (length > INFLATED_BYTES_MAX) throw new RangeError(`${length} bytes announced`)
    const body = inflateRawSync(reader.slice(reader.remaining), { maxOutputLength: Math.max(1, length) })
    if (body.length !== length) throw new RangeError(`${body.length} bytes instead of ${length}`)
    return { body, checksum, owner }
  })
}

/** Objects of a block besides its bytes and sections, about, the name among them. */
const BLOCK_BYTES = 500

class OpenBlock implements Block {
  readonly name: string
  readonly resolutionMs: number
  readonly sections: readonly MetricSection[]
  readonly needsSketches: boolean
  readonly memory = new BlockMemory()
  readonly #checksum: number
  #hasSketches = false

  constructor(name: string, scalars: Uint8Array) {
    this.name = name
    const { body, checksum } = unseal(name, SCALARS_MAGIC, false, scalars)
    this.#checksum = checksum
    this.memory.count(Math.max(body.length, scalars.length) + BLOCK_BYTES + BUFFER_BYTES + VIEW_BYTES)
    const reader = new ByteReader(body)
    const [resolutionMs, sections] = guard(name, 'directory', () => this.#readDirectory(reader))
    this.resolutionMs = resolutionMs
    this.sections = sections
    this.needsSketches = sections.some((section) => section.needsSketches)
  }

  get hasSketches(): boolean {
    return this.#hasSketches
  }

  section(metricId: Id64): MetricSection | undefined {
    let low = 0
    let high = this.sections.length - 1
    while (low <= high) {
      const middle = (low + high) >>> 1
      const section = this.sections[middle]!
      const order = compareIds(section.metricId, metricId)
      if (order === 0) return section
      if (order < 0) low = middle + 1
      else high = middle - 1
    }
    return undefined
  }

  attachSketches(bytes: Uint8Array): void {
    if (this.#hasSketches) return
    const { body, owner } = unseal(this.name, SKETCHES_MAGIC, true, bytes)
    if (owner !== this.#checksum) throw new BlockError(this.name, 'sketches of another block')
    guard(this.name, 'sketch directory', () => {
      const found = new Map<MetricSection, Uint8Array>()
      const reader = new ByteReader(body)
      while (reader.remaining > 0) {
        const section = this.sections[reader.varint()]
        if (section?.needsSketches !== true || found.has(section))
          throw new RangeError('bins of a section that has none')
        found.set(section, reader.slice(reader.varint()))
      }
      for (const section of this.sections) {
        if (section.needsSketches && !found.has(section)) throw new RangeError('a section lacks its bins')
      }
      for (const [section, bins] of found) section.attachBins(bins)
      if (found.size > 0) this.memory.holdSketches(Math.max(body.length, bytes.length), found.size)
    })
    this.#hasSketches = this.needsSketches
  }

  #readDirectory(reader: ByteReader): [number, MetricSection[]] {
    const resolutionMs = reader.varint()
    if (resolutionMs === 0) throw new RangeError('a resolution of 0 ms')
    const sectionCount = reader.varint()
    const heads: SectionHead[] = []
    let bodyBytes = 0
    let rollups = 0
    for (let i = 0; i < sectionCount; i++) {
      const metricId = { hi: reader.u32le(), lo: reader.u32le() }
      const flags = reader.u8()
      const head = {
        metricId,
        flags,
        length: reader.varint(),
        seriesCount: reader.varint(),
        bytes: reader.varint(),
      }
      const previous = heads.at(-1)
      if (previous !== undefined && compareIds(previous.metricId, metricId) >= 0)
        throw new RangeError('metrics out of order')
      rollups += head.length
      bodyBytes += head.bytes
      if (head.seriesCount < 1 || head.seriesCount > head.length || head.seriesCount * 8 > head.bytes) {
        throw new RangeError(`${head.seriesCount} series of ${head.length} rollups in ${head.bytes} bytes`)
      }
      heads.push(head)
    }
    if (rollups > BLOCK_ROWS_MAX) throw new RangeError(`${rollups} rollups announced`)
    if (bodyBytes !== reader.remaining) throw new RangeError(`${bodyBytes} bytes announced, ${reader.remaining} there`)
    this.memory.expect(rollups)
    const sections = heads.map((head) => {
      const start = reader.offset
      reader.offset += head.bytes
      return new MetricSection(this.name, resolutionMs, this.memory, reader.bytes, start, head)
    })
    return [resolutionMs, sections]
  }
}
