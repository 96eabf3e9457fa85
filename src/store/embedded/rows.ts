import { compareIds, type Id64 } from '../../model/id.ts'
import { METRIC_TYPES } from '../../model/metric.ts'
import type { CanonicalTags } from '../../model/series.ts'
import { ByteReader } from '../../sketch/varint.ts'
import type { MetricRow, SeriesRow } from '../catalog.ts'
import type { Receipt } from '../idempotency-keys.ts'
import type { InboxEntry, IndexEntry } from '../store.ts'
import {
  INDEX_BLOCK_OFFSET,
  INDEX_ORDER_OFFSET,
  INDEX_SERIES_OFFSET,
  INDEX_WINDOW_OFFSET,
  readId,
  readInboxOrder,
  readLatin1,
  readTime,
  readU32,
  readU64,
} from './keys.ts'

/**
 * Encodes and decodes the values of the tables. Numbers that commits rewrite or that are often read have fixed binary
 * fields; the rest is JSON or text. Such numbers are doubles unless a comment gives another type, and little-endian
 * unless a comment says big-endian.
 */

function encodeDoubles(values: readonly number[]): Uint8Array {
  const bytes = Buffer.allocUnsafe(values.length * 8)
  for (let i = 0; i < values.length; i++) bytes.writeDoubleLE(values[i]!, i * 8)
  return bytes
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}

function parseJson(bytes: Uint8Array, offset: number): unknown {
  return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8', offset))
}

/** Encodes an unsigned integer of 4 bytes, big-endian. */
export function encodeU32(value: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** Returns the number that `encodeU32` has encoded; 0 if there is no row. */
export function decodeU32(bytes: Uint8Array | undefined): number {
  return bytes === undefined ? 0 : readU32(bytes, 0)
}

export function encodeText(text: string): Uint8Array {
  return Buffer.from(text)
}

export function decodeText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()
}

export function encodeJson(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value))
}

export function decodeJson(bytes: Uint8Array): unknown {
  return parseJson(bytes, 0)
}

// Counters of a partition

export interface PartitionRow {
  /** `InboxEntry.order` of the newest inbox entry so far, even if this entry is already folded. */
  readonly newestOrder: number
  /** Number of inbox entries, and bytes of their blocks. */
  readonly inboxEntryCount: number
  readonly inboxBytes: number
}

export function encodePartition(row: PartitionRow): Uint8Array {
  return encodeDoubles([row.newestOrder, row.inboxEntryCount, row.inboxBytes])
}

export function decodePartition(bytes: Uint8Array | undefined): PartitionRow {
  if (bytes === undefined) return { newestOrder: 0, inboxEntryCount: 0, inboxBytes: 0 }
  const fields = viewOf(bytes)
  return {
    newestOrder: fields.getFloat64(0, true),
    inboxEntryCount: fields.getFloat64(8, true),
    inboxBytes: fields.getFloat64(16, true),
  }
}

// Receipts of a project

export interface ReceiptTotals {
  receiptCount: number
  bytes: number
}

export function encodeReceiptTotals({ receiptCount, bytes }: ReceiptTotals): Uint8Array {
  return encodeDoubles([receiptCount, bytes])
}

export function decodeReceiptTotals(row: Uint8Array | undefined): Readonly<ReceiptTotals> {
  if (row === undefined) return { receiptCount: 0, bytes: 0 }
  const fields = viewOf(row)
  return { receiptCount: fields.getFloat64(0, true), bytes: fields.getFloat64(8, true) }
}

// Watermarks

export interface WatermarkRow {
  readonly commitNumber: number
  /** Time of the writer's last applied commit: the latest time of its parts, or the store's clock for a fence. */
  readonly writtenMs: number
}

export function encodeWatermark(row: WatermarkRow): Uint8Array {
  return encodeDoubles([row.commitNumber, row.writtenMs])
}

export function decodeWatermark(bytes: Uint8Array): WatermarkRow {
  const fields = viewOf(bytes)
  return { commitNumber: fields.getFloat64(0, true), writtenMs: fields.getFloat64(8, true) }
}

// Values that are one number: the order of an inbox entry, the time of a marker, the end of a stretch

export function encodeOrder(order: number): Uint8Array {
  return encodeDoubles([order])
}

export function decodeOrder(bytes: Uint8Array): number {
  return viewOf(bytes).getFloat64(0, true)
}

export function encodeTime(ms: number): Uint8Array {
  return encodeDoubles([ms])
}

export function decodeTime(bytes: Uint8Array): number {
  return viewOf(bytes).getFloat64(0, true)
}

// Layout of a metric row: points, first seen, last seen (NaN: none), then u32 series, u32 generation, u16 partition, u8
// type, u8 cumulative, two u32 with the id, then JSON [project, name, unit, description, tag keys or null]

const METRIC_HEAD_BYTES = 44

/** A stored metric row. `tagKeys` is undefined if each tag key has its own row. */
export interface EmbeddedMetricRow extends Omit<MetricRow, 'tagKeys'> {
  readonly tagKeys: readonly string[] | undefined
}

/**
 * Metric rows as they were decoded or encoded last, with their bytes; the low bits of a metric's id are its index. A
 * commit often reads the same bytes object that the previous commit wrote. Not a `WeakMap`: under load its keys would
 * live for milliseconds, and each costs the garbage collector time.
 */
const CACHED_METRICS_MAX = 1 << 14
const cachedBytes = new Array<Uint8Array | undefined>(CACHED_METRICS_MAX)
const cachedRows = new Array<EmbeddedMetricRow | undefined>(CACHED_METRICS_MAX)

/**
 * Encodes a metric row. `replacedBytes`: the bytes of the row that is replaced. Most commits change only numbers, and
 * the text is then copied from these bytes.
 */
export function encodeMetric(row: EmbeddedMetricRow, replacedBytes?: Uint8Array): Uint8Array {
  const tail =
    replacedBytes !== undefined && hasSameText(row, decodeMetric(replacedBytes))
      ? replacedBytes.subarray(METRIC_HEAD_BYTES)
      : encodeMetricText(row)
  const bytes = Buffer.allocUnsafe(METRIC_HEAD_BYTES + tail.length)
  bytes.writeDoubleLE(row.points, 0)
  bytes.writeDoubleLE(row.firstSeenMs ?? Number.NaN, 8)
  bytes.writeDoubleLE(row.lastSeenMs ?? Number.NaN, 16)
  bytes.writeUInt32LE(row.seriesCount, 24)
  bytes.writeUInt32LE(row.generation, 28)
  bytes.writeUInt16LE(row.partition, 32)
  bytes.writeUInt8(METRIC_TYPES.indexOf(row.type), 34)
  bytes.writeUInt8(row.cumulative ? 1 : 0, 35)
  bytes.writeUInt32LE(row.metricId.hi, 36)
  bytes.writeUInt32LE(row.metricId.lo, 40)
  bytes.set(tail, METRIC_HEAD_BYTES)
  cacheMetric(bytes, row)
  return bytes
}

function encodeMetricText(row: EmbeddedMetricRow): Uint8Array {
  return encodeJson([row.project, row.name, row.unit ?? null, row.description ?? null, row.tagKeys ?? null])
}

function hasSameText(a: EmbeddedMetricRow, b: EmbeddedMetricRow): boolean {
  return (
    a.tagKeys === b.tagKeys &&
    a.name === b.name &&
    a.project === b.project &&
    a.unit === b.unit &&
    a.description === b.description
  )
}

function cacheMetric(bytes: Uint8Array, row: EmbeddedMetricRow): void {
  const index = row.metricId.lo & (CACHED_METRICS_MAX - 1)
  cachedBytes[index] = bytes
  cachedRows[index] = row
}

export function decodeMetric(bytes: Uint8Array): EmbeddedMetricRow {
  // The index is in the first two bytes of the id's lower half.
  const index = (bytes[40]! | (bytes[41]! << 8)) & (CACHED_METRICS_MAX - 1)
  if (cachedBytes[index] === bytes) return cachedRows[index]!
  const row = parseMetric(bytes)
  cacheMetric(bytes, row)
  return row
}

function parseMetric(bytes: Uint8Array): EmbeddedMetricRow {
  const fields = viewOf(bytes)
  const tail = parseJson(bytes, METRIC_HEAD_BYTES) as [string, string, string | null, string | null, string[] | null]
  const firstSeenMs = fields.getFloat64(8, true)
  const lastSeenMs = fields.getFloat64(16, true)
  return {
    project: tail[0],
    name: tail[1],
    type: METRIC_TYPES[fields.getUint8(34)]!,
    unit: tail[2] ?? undefined,
    description: tail[3] ?? undefined,
    generation: fields.getUint32(28, true),
    metricId: { hi: fields.getUint32(36, true), lo: fields.getUint32(40, true) },
    partition: fields.getUint16(32, true),
    points: fields.getFloat64(0, true),
    firstSeenMs: Number.isNaN(firstSeenMs) ? undefined : firstSeenMs,
    lastSeenMs: Number.isNaN(lastSeenMs) ? undefined : lastSeenMs,
    tagKeys: tail[4] ?? undefined,
    seriesCount: fields.getUint32(24, true),
    cumulative: fields.getUint8(35) === 1,
  }
}

// Layout of a series row: for each series u64 id and u32 end of its tags in the JSON, big-endian; then JSON of a list
// with the tags of each series. The key has the number of series. A row from format 2: u64 id, then JSON of the tags.

const SERIES_HEAD_BYTES = 12

/**
 * Maximum size of a row with several series. LMDB stores a value of at most half a page in a leaf page. A larger one
 * has pages of its own, so it takes more space, and so does each change.
 */
const SERIES_ROW_BYTES_MAX = 1_900

/** Encodes series as one or more rows, in the same order. `count`: number of series in the row. */
export function encodeSeriesRows(
  series: readonly SeriesRow[],
): { readonly count: number; readonly bytes: Uint8Array }[] {
  const rows: { readonly count: number; readonly bytes: Uint8Array }[] = []
  let from = 0
  let ends: number[] = []
  let text = '['
  let textBytes = 1
  const finishRow = (): void => {
    const count = ends.length
    const bytes = Buffer.allocUnsafe(count * SERIES_HEAD_BYTES + textBytes)
    for (let i = 0; i < count; i++) {
      const { seriesId } = series[from + i]!
      bytes.writeUInt32BE(seriesId.hi, i * SERIES_HEAD_BYTES)
      bytes.writeUInt32BE(seriesId.lo, i * SERIES_HEAD_BYTES + 4)
      bytes.writeUInt32BE(ends[i]!, i * SERIES_HEAD_BYTES + 8)
    }
    bytes.write(`${text}]`, count * SERIES_HEAD_BYTES)
    rows.push({ count, bytes })
    from += count
    ends = []
    text = '['
    textBytes = 1
  }
  for (const { tags } of series) {
    const tagsText = JSON.stringify(tags)
    const tagsBytes = Buffer.byteLength(tagsText)
    const rowBytes = (ends.length + 1) * SERIES_HEAD_BYTES + textBytes + tagsBytes + 1
    if (ends.length > 0 && rowBytes > SERIES_ROW_BYTES_MAX) finishRow()
    text += ends.length === 0 ? tagsText : `,${tagsText}`
    // A comma or, after the last list, a bracket follows.
    ends.push(textBytes + tagsBytes)
    textBytes += tagsBytes + 1
  }
  if (ends.length > 0) finishRow()
  return rows
}

/** Decodes all series of a row. `count`: the number in its key; undefined for a row from format 2. */
export function decodeSeriesRow(bytes: Uint8Array, count: number | undefined): SeriesRow[] {
  if (count === undefined) return [{ seriesId: readId(bytes, 0), tags: parseJson(bytes, 8) as CanonicalTags }]
  const tagLists = parseJson(bytes, count * SERIES_HEAD_BYTES) as CanonicalTags[]
  return tagLists.map((tags, i) => ({ seriesId: readId(bytes, i * SERIES_HEAD_BYTES), tags }))
}

/** Decodes the tags of one series of a row; undefined if the row does not have it. `count`: see `decodeSeriesRow`. */
export function decodeSeriesTags(
  bytes: Uint8Array,
  count: number | undefined,
  { hi, lo }: Id64,
): CanonicalTags | undefined {
  if (count === undefined) return decodeSeriesRow(bytes, count)[0]!.tags
  const textStart = count * SERIES_HEAD_BYTES
  let start = 1
  for (let head = 0; head < textStart; head += SERIES_HEAD_BYTES) {
    const end = readU32(bytes, head + 8)
    if (readU32(bytes, head) === hi && readU32(bytes, head + 4) === lo)
      return parseJson(bytes.subarray(0, textStart + end), textStart + start) as CanonicalTags
    start = end + 1
  }
  return undefined
}

// Layout of an inbox row: scalar bytes, sketch bytes, arrival time, then the block's name. The order is in the key.

export function encodeInboxEntry(entry: InboxEntry): Uint8Array {
  const bytes = Buffer.allocUnsafe(24 + entry.block.length)
  bytes.writeDoubleLE(entry.scalarBytes, 0)
  bytes.writeDoubleLE(entry.sketchBytes, 8)
  bytes.writeDoubleLE(entry.arrivedMs, 16)
  bytes.write(entry.block, 24, 'latin1')
  return bytes
}

export function decodeInboxEntry(key: Uint8Array, bytes: Uint8Array): InboxEntry {
  const fields = viewOf(bytes)
  return {
    block: readLatin1(bytes, 24),
    scalarBytes: fields.getFloat64(0, true),
    sketchBytes: fields.getFloat64(8, true),
    arrivedMs: fields.getFloat64(16, true),
    order: readInboxOrder(key),
  }
}

// Layout of an index row: two u32 with the id of the last series, u32 tier, u32 rollups, scalar bytes, sketch bytes,
// and, unless an earlier version wrote it, start and end of the buckets; the key has the rest of the entry

const INDEX_ROW_BYTES_WITHOUT_BUCKETS = 32
const INDEX_ROW_BYTES = 48

export function encodeIndexEntry(entry: IndexEntry): Uint8Array {
  const { buckets } = entry
  const bytes = Buffer.allocUnsafe(buckets === undefined ? INDEX_ROW_BYTES_WITHOUT_BUCKETS : INDEX_ROW_BYTES)
  bytes.writeUInt32LE(entry.seriesTo.hi, 0)
  bytes.writeUInt32LE(entry.seriesTo.lo, 4)
  bytes.writeUInt32LE(entry.tier, 8)
  bytes.writeUInt32LE(entry.rollupCount, 12)
  bytes.writeDoubleLE(entry.scalarBytes, 16)
  bytes.writeDoubleLE(entry.sketchBytes, 24)
  if (buckets !== undefined) {
    bytes.writeDoubleLE(buckets.fromMs, 32)
    bytes.writeDoubleLE(buckets.toMs, 40)
  }
  return bytes
}

export function decodeIndexEntry(key: Uint8Array, bytes: Uint8Array): IndexEntry {
  const fields = viewOf(bytes)
  return {
    block: readLatin1(key, INDEX_BLOCK_OFFSET),
    windowMs: readTime(key, INDEX_WINDOW_OFFSET),
    tier: fields.getUint32(8, true),
    order: readU64(key, INDEX_ORDER_OFFSET),
    seriesFrom: readId(key, INDEX_SERIES_OFFSET),
    seriesTo: { hi: fields.getUint32(0, true), lo: fields.getUint32(4, true) },
    rollupCount: fields.getUint32(12, true),
    scalarBytes: fields.getFloat64(16, true),
    sketchBytes: fields.getFloat64(24, true),
    buckets:
      bytes.length === INDEX_ROW_BYTES
        ? { fromMs: fields.getFloat64(32, true), toMs: fields.getFloat64(40, true) }
        : undefined,
  }
}

/** Whether the block of an index row may have series with ids from `from` to `to`, without decoding the row. */
export function overlapsSeries(key: Uint8Array, bytes: Uint8Array, from: Id64, to: Id64): boolean {
  if (compareIds(readId(key, INDEX_SERIES_OFFSET), to) > 0) return false
  const lastSeries = new ByteReader(bytes)
  return compareIds({ hi: lastSeries.u32le(), lo: lastSeries.u32le() }, from) >= 0
}

// Windows

export interface WindowRow {
  readonly expiresMs: number
  /** Number of index entries in the window. */
  readonly entryCount: number
}

export function encodeWindowRow(row: WindowRow): Uint8Array {
  return encodeDoubles([row.expiresMs, row.entryCount])
}

export function decodeWindowRow(bytes: Uint8Array): WindowRow {
  const fields = viewOf(bytes)
  return { expiresMs: fields.getFloat64(0, true), entryCount: fields.getFloat64(8, true) }
}

// Receipts

export interface ReceiptRow {
  readonly writtenMs: number
  readonly receipt: Receipt
}

export function encodeReceipt(row: ReceiptRow): Uint8Array {
  return encodeJson([row.writtenMs, row.receipt.requestHash, row.receipt.status, row.receipt.body])
}

export function decodeReceipt(bytes: Uint8Array): ReceiptRow {
  const [writtenMs, requestHash, status, body] = parseJson(bytes, 0) as [number, string, number, string]
  return { writtenMs, receipt: { requestHash, status, body } }
}
