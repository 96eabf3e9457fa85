import { createHash } from 'node:crypto'
import type { Id64 } from '../../model/id.ts'
import { METRIC_NAME_CODE_UNITS_MAX } from '../../model/metric.ts'
import type { WindowKey } from '../store.ts'

/**
 * The tables of the embedded store and the layout of their keys. Keys are big-endian fields of fixed width without
 * separators, so that keys sort like their fields; only the last field may vary in length. `docs/storage-format.md` has
 * the same list. The journal identifies a table by its position in this list, so new tables are appended.
 *
 *   partition u16 · id u64 · resolution u48 (ms) · time u64 (ms + 2^52, so that times before 1970 sort right)
 *   project: the first 16 bytes of SHA-256 of its name · text: UTF-16BE, which sorts like JavaScript's `<`
 */
export const TABLES = [
  /** `format` → JSON: version, partitions, resolutions. `journal` → JSON: `JournalState` (`checkpoint.ts`). */
  'meta',
  /** partition → counters of the partition (`rows.ts`). */
  'partitions',
  /** project, metric name as text → metric row. */
  'metrics',
  /** metric id → its key in `metrics`. */
  'metric-ids',
  /** project → u32: number of defined metrics. */
  'metric-counts',
  /** partition, metric id, SHA-256 of a tag key (16 bytes) → the tag key, for metrics with many tag keys. */
  'tag-keys',
  /** project, metric name as text → u32: the last deleted generation. */
  'deleted',
  /**
   * Deleted metrics with data that is not removed yet: partition, metric id → `order` of the newest inbox entry
   * at the deletion.
   */
  'dying',
  /**
   * partition, metric id, position u32 of the last series in the row, number of series u16 → ids and tags of the
   * series, which a commit has added together. Rows from format 2 have one series, and no number in their key.
   */
  'series',
  /** partition, metric id, series id → the end of the key in `series`: position and number. */
  'series-ids',
  /** partition, writer (16 bytes) → number and time of the last commit. */
  'watermarks',
  /** partition, SHA-256 of project and idempotency key (16 bytes) → time of the commit. */
  'markers',
  /** partition, `order` (arrival number) u64 → inbox entry. */
  'inbox',
  /** partition, metric id, resolution, window start, order u64, series from, block name → rest of the index entry. */
  'index',
  /** partition, metric id, resolution, window start → expiry time and number of index entries. */
  'windows',
  /** partition, expiry time, resolution, metric id, window start → nothing: windows in the order they expire. */
  'due',
  /** partition, metric id, resolution, from → to: expired stretches, disjoint and not touching. */
  'expired',
  /** partition, block name → the scalars string. */
  'scalars',
  /** partition, block name → the sketch string; absent when the block has none. */
  'sketches',
  /** partition, block name → u32: number of index entries that list the block, without the inbox. */
  'listed',
  /** partition, metric id, resolution, bucket start, series id → encoded HyperLogLog. */
  'sets',
  /** project, time, event id (UTF-8) → JSON. */
  'events',
  /** partition, time of the commit, key in `events` → nothing: events in the order they are removed. */
  'event-ages',
  /** project, SHA-256 of the idempotency key (16 bytes) → receipt. */
  'receipts',
  /** project, time of writing, SHA-256 of the idempotency key (16 bytes) → nothing: receipts by age. */
  'receipt-ages',
  /** project → number of receipts and their bytes. */
  'receipt-totals',
  /** SHA-256 of an API key (32 bytes) → key row as JSON. */
  'keys',
  /** time, kind u8, key in the kind's table → nothing: the rows that `sweep` checks from that time on. */
  'expiry',
  /**
   * Expired windows whose index entries or set sketches are not all removed yet: key in `windows` → JSON of
   * `WindowExpiry.dropExpiredAtResolutions`, or null.
   */
  'condemned',
] as const
export type TableName = (typeof TABLES)[number]

/** Added to times, so that times before 1970 are not negative and sort right. */
const TIME_BIAS_MS = 2 ** 52
const TWO_POW_32 = 2 ** 32

/** Builds a key field by field. */
class KeyBuilder {
  readonly bytes: Buffer
  #offset = 0

  constructor(keyBytes: number) {
    this.bytes = Buffer.allocUnsafe(keyBytes)
  }

  u8(value: number): this {
    this.#offset = this.bytes.writeUInt8(value, this.#offset)
    return this
  }

  u16(value: number): this {
    this.#offset = this.bytes.writeUInt16BE(value, this.#offset)
    return this
  }

  u32(value: number): this {
    this.#offset = this.bytes.writeUInt32BE(value, this.#offset)
    return this
  }

  u48(value: number): this {
    this.#offset = this.bytes.writeUIntBE(value, this.#offset, 6)
    return this
  }

  u64(value: number): this {
    return this.u32(Math.floor(value / TWO_POW_32)).u32(value % TWO_POW_32)
  }

  id(id: Id64): this {
    return this.u32(id.hi).u32(id.lo)
  }

  time(ms: number): this {
    return this.u64(ms + TIME_BIAS_MS)
  }

  raw(bytes: Uint8Array): this {
    this.bytes.set(bytes, this.#offset)
    this.#offset += bytes.length
    return this
  }

  latin1(text: string): this {
    this.#offset += this.bytes.write(text, this.#offset, 'latin1')
    return this
  }
}

export function readU64(bytes: Uint8Array, offset: number): number {
  return readU32(bytes, offset) * TWO_POW_32 + readU32(bytes, offset + 4)
}

export function readU32(bytes: Uint8Array, offset: number): number {
  return bytes[offset]! * 0x1000000 + ((bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!)
}

export function readTime(bytes: Uint8Array, offset: number): number {
  return readU64(bytes, offset) - TIME_BIAS_MS
}

export function readId(bytes: Uint8Array, offset: number): Id64 {
  return { hi: readU32(bytes, offset), lo: readU32(bytes, offset + 4) }
}

export function readLatin1(bytes: Uint8Array, offset: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1', offset)
}

/** Returns the smallest key after all keys that begin with `prefix`: the exclusive end of the range of these keys. */
export function afterPrefix(prefix: Uint8Array): Buffer {
  const end = Buffer.from(prefix)
  for (let i = end.length - 1; i >= 0; i--) {
    if (end[i] !== 0xff) {
      end[i]!++
      return end.subarray(0, i + 1)
    }
  }
  throw new RangeError('no key follows a prefix of 0xff bytes only')
}

/** Returns the first 16 bytes of the SHA-256 of a text. */
function sha256Prefix(text: string): Buffer {
  return createHash('sha256').update(text).digest().subarray(0, 16)
}

const CACHED_PROJECTS_MAX = 1_000
const projectKeys = new Map<string, Buffer>()

export const FORMAT_KEY: Uint8Array = Buffer.from('format')
export const JOURNAL_KEY: Uint8Array = Buffer.from('journal')

export function partitionKey(partition: number): Buffer {
  return new KeyBuilder(2).u16(partition).bytes
}

// Catalog

/** Returns the key field of a project. Results are cached, because the same few projects occur in many keys. */
export function projectKey(project: string): Buffer {
  const cached = projectKeys.get(project)
  if (cached !== undefined) return cached
  if (projectKeys.size === CACHED_PROJECTS_MAX) projectKeys.clear()
  const key = sha256Prefix(project)
  projectKeys.set(project, key)
  return key
}

export function metricKey(project: string, name: string): Buffer {
  if (name.length > METRIC_NAME_CODE_UNITS_MAX) throw new RangeError(`a name of ${name.length} characters`)
  const text = Buffer.from(name, 'utf16le')
  return Buffer.concat([projectKey(project), text.swap16()])
}

export function readMetricName(key: Uint8Array): string {
  return Buffer.from(key.subarray(16)).swap16().toString('utf16le')
}

export function metricIdKey(metricId: Id64): Buffer {
  return new KeyBuilder(8).id(metricId).bytes
}

/**
 * Returns the key of a metric in `dying`. It is a prefix of the metric's keys in all tables whose keys begin with
 * partition and metric id.
 */
export function metricPrefix(partition: number, metricId: Id64): Buffer {
  return new KeyBuilder(10).u16(partition).id(metricId).bytes
}

/**
 * Returns the least key in `series` that a row with the series at this position can have. It is the whole key of a row
 * from format 2.
 */
export function seriesKey(partition: number, metricId: Id64, position: number): Buffer {
  return new KeyBuilder(SERIES_COUNT_OFFSET).u16(partition).id(metricId).u32(position).bytes
}
const SERIES_POSITION_OFFSET = 10
const SERIES_COUNT_OFFSET = 14

/** Returns the key in `series` of a row with `count` series, the last of which has this position. */
export function seriesRowKey(partition: number, metricId: Id64, lastPosition: number, count: number): Buffer {
  return new KeyBuilder(16).u16(partition).id(metricId).u32(lastPosition).u16(count).bytes
}

export function readSeriesRowKey(key: Uint8Array): {
  readonly lastPosition: number
  /** Undefined for a row from format 2, which has one series. */
  readonly count: number | undefined
} {
  const count =
    key.length === SERIES_COUNT_OFFSET ? undefined : key[SERIES_COUNT_OFFSET]! * 0x100 + key[SERIES_COUNT_OFFSET + 1]!
  return { lastPosition: readU32(key, SERIES_POSITION_OFFSET), count }
}

/** Returns the value in `series-ids` of the series in the row of `series` with this key. */
export function seriesPlace(rowKey: Uint8Array): Uint8Array {
  return rowKey.subarray(SERIES_POSITION_OFFSET)
}

/** Returns the key in `series` of the row with a series. `keyInSeriesIds`, `place`: its row in `series-ids`. */
export function seriesRowKeyOf(keyInSeriesIds: Uint8Array, place: Uint8Array): Buffer {
  return Buffer.concat([keyInSeriesIds.subarray(0, SERIES_POSITION_OFFSET), place])
}

export function tagKeyKey(partition: number, metricId: Id64, tagKey: string): Buffer {
  return new KeyBuilder(26).u16(partition).id(metricId).raw(sha256Prefix(tagKey)).bytes
}

export function seriesIdKey(partition: number, metricId: Id64, seriesId: Id64): Buffer {
  return new KeyBuilder(18).u16(partition).id(metricId).id(seriesId).bytes
}

// Write path

export function watermarkKey(partition: number, writer: string): Buffer {
  return new KeyBuilder(18).u16(partition).raw(Buffer.from(writer, 'hex')).bytes
}

export function markerKey(partition: number, project: string, key: string): Buffer {
  return new KeyBuilder(18).u16(partition).raw(sha256Prefix(`${project.length}:${project}${key}`)).bytes
}

// Index and blocks

export function inboxKey(partition: number, order: number): Buffer {
  return new KeyBuilder(10).u16(partition).u64(order).bytes
}

/** Returns the arrival number of the entry with this key of `inbox`. */
export function readInboxOrder(key: Uint8Array): number {
  return readU64(key, 2)
}

export function blockKey(partition: number, name: string): Buffer {
  return new KeyBuilder(2 + name.length).u16(partition).latin1(name).bytes
}

export function timelineKey(partition: number, metricId: Id64, resolutionMs: number): Buffer {
  return new KeyBuilder(16).u16(partition).id(metricId).u48(resolutionMs).bytes
}

/**
 * Returns the key of a window in `windows` and `condemned`, or of a stretch in `expired`. It is a prefix of keys in
 * `index` and `sets`.
 */
export function windowKey(partition: number, metricId: Id64, resolutionMs: number, timeMs: number): Buffer {
  return new KeyBuilder(24).u16(partition).id(metricId).u48(resolutionMs).time(timeMs).bytes
}
/** Byte positions of the metric id and of the time in a key that `windowKey` returns. */
export const METRIC_ID_OFFSET = 2
export const WINDOW_TIME_OFFSET = 16

export function readPartition(bytes: Uint8Array): number {
  return bytes[0]! * 256 + bytes[1]!
}

export function readWindowKey(bytes: Uint8Array): WindowKey {
  return {
    metricId: readId(bytes, METRIC_ID_OFFSET),
    resolutionMs: readU32(bytes, 10) * 0x10000 + bytes[14]! * 0x100 + bytes[15]!,
    windowMs: readTime(bytes, WINDOW_TIME_OFFSET),
  }
}

export function indexKey(
  partition: number,
  metricId: Id64,
  resolutionMs: number,
  entry: { readonly windowMs: number; readonly order: number; readonly seriesFrom: Id64; readonly block: string },
): Buffer {
  return new KeyBuilder(40 + entry.block.length)
    .u16(partition)
    .id(metricId)
    .u48(resolutionMs)
    .time(entry.windowMs)
    .u64(entry.order)
    .id(entry.seriesFrom)
    .latin1(entry.block).bytes
}
/** Byte positions of the fields of an index key. */
export const INDEX_WINDOW_OFFSET = 16
export const INDEX_ORDER_OFFSET = 24
export const INDEX_SERIES_OFFSET = 32
export const INDEX_BLOCK_OFFSET = 40

export function dueKey(partition: number, expiresMs: number, window: WindowKey): Buffer {
  const { resolutionMs, metricId, windowMs } = window
  return new KeyBuilder(32).u16(partition).time(expiresMs).u48(resolutionMs).id(metricId).time(windowMs).bytes
}

export function readDueKey(bytes: Uint8Array): WindowKey {
  const resolutionMs = readU32(bytes, 10) * 0x10000 + bytes[14]! * 0x100 + bytes[15]!
  return { resolutionMs, metricId: readId(bytes, 16), windowMs: readTime(bytes, 24) }
}

/** Returns the exclusive end of the keys in `due` of windows that expire at or before `nowMs`. */
export function dueKeysEnd(partition: number, nowMs: number): Buffer {
  return new KeyBuilder(10).u16(partition).time(nowMs + 1).bytes
}

// Sets and events

export function setKey(
  partition: number,
  metricId: Id64,
  resolutionMs: number,
  bucketMs: number,
  seriesId: Id64,
): Buffer {
  return new KeyBuilder(32).u16(partition).id(metricId).u48(resolutionMs).time(bucketMs).id(seriesId).bytes
}

export function eventKey(project: string, timeMs: number, id: string): Buffer {
  return Buffer.concat([eventPrefix(project, timeMs), Buffer.from(id)])
}

/** Returns the prefix of the keys of all events of a project with this time. */
export function eventPrefix(project: string, timeMs: number): Buffer {
  return new KeyBuilder(24).raw(projectKey(project)).time(timeMs).bytes
}
export const EVENT_TIME_OFFSET = 16
export const EVENT_ID_OFFSET = 24

/** Returns the key of an event in `event-ages`. `keyInEvents`: the key of the event in `events`. */
export function eventAgeKey(partition: number, committedMs: number, keyInEvents: Uint8Array): Buffer {
  return new KeyBuilder(10 + keyInEvents.length).u16(partition).time(committedMs).raw(keyInEvents).bytes
}

/** Returns the exclusive end of the keys in `event-ages` of events that were committed at or before `committedByMs`. */
export function eventAgeKeysEnd(partition: number, committedByMs: number): Buffer {
  return new KeyBuilder(10).u16(partition).time(committedByMs + 1).bytes
}

/** Returns the key in `events` of the event that has this key in `event-ages`. */
export function eventKeyOfAge(ageKey: Uint8Array): Uint8Array {
  return ageKey.subarray(10)
}

// Requests and API keys

export function receiptKey(project: string, key: string): Buffer {
  return new KeyBuilder(32).raw(projectKey(project)).raw(sha256Prefix(key)).bytes
}

/** Returns the key of a receipt in `receipt-ages`. `keyInReceipts`: the key of the receipt in `receipts`. */
export function receiptAgeKey(keyInReceipts: Uint8Array, writtenMs: number): Buffer {
  return new KeyBuilder(40).raw(keyInReceipts.subarray(0, 16)).time(writtenMs).raw(keyInReceipts.subarray(16)).bytes
}

/** Returns the key in `receipts` of the receipt that has this key in `receipt-ages`. */
export function receiptKeyOfAge(ageKey: Uint8Array): Buffer {
  return new KeyBuilder(32).raw(ageKey.subarray(0, 16)).raw(ageKey.subarray(24)).bytes
}

export function apiKeyKey(hash: string): Buffer {
  return Buffer.from(hash, 'hex')
}

// Expiry

/** Kinds of rows that expire. A kind's index is its kind byte in keys, so new kinds are appended. */
export const EXPIRING_KINDS = ['watermark', 'marker', 'receipt', 'block'] as const
export type ExpiringKind = (typeof EXPIRING_KINDS)[number]

export function expiryKey(timeMs: number, kind: ExpiringKind, key: Uint8Array): Buffer {
  return new KeyBuilder(9 + key.length).time(timeMs).u8(EXPIRING_KINDS.indexOf(kind)).raw(key).bytes
}

export function readExpiryKey(bytes: Uint8Array): { readonly kind: ExpiringKind; readonly key: Uint8Array } {
  return { kind: EXPIRING_KINDS[bytes[8]!]!, key: bytes.subarray(9) }
}

/** Returns the exclusive end of the keys in `expiry` with a time at or before `timeMs`. */
export function expiryKeysEnd(timeMs: number): Buffer {
  return new KeyBuilder(8).time(timeMs + 1).bytes
}
