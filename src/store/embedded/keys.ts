import { createHash } from 'node:crypto'
import type { Id64 } from '../../model/id.ts'
import { METRIC_NAME_UNITS_MAX } from '../../model/metric.ts'
import type { WindowKey } from '../store.ts'

/**
 * The tables of the embedded store and the layout of their keys. Keys are big-endian fields of fixed width without
 * separators, so that keys sort like their fields; only the last field may vary in length. `docs/storage-format.md` has
 * the same list. The journal identifies a table by its position in this list, so new tables are appended.
 *
 *   partition u16 · id u64 · resolution u48 (ms) · time u64 (ms + 2^52, so that years before 1970 sort right)
 *   project: the first 16 bytes of SHA-256 of its name · text: UTF-16BE, which sorts like JavaScript's `<`
 */
export const TABLES = [
  /** `format` → JSON: version, partitions, resolution steps. `journal` → JSON: `JournalState` (`checkpoint.ts`). */
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
   * partition, metric id → arrival number of the newest inbox entry at the deletion. These are deleted metrics, some of
   * whose data is not removed yet.
   */
  'dying',
  /** partition, metric id, position u32 → series id and tags. */
  'series',
  /** partition, metric id, series id → position u32. */
  'series-ids',
  /** partition, writer (16 bytes) → number and time of the last commit. */
  'watermarks',
  /** partition, SHA-256 of project and idempotency key (16 bytes) → time of the commit. */
  'markers',
  /** partition, order u64 → inbox entry. */
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
  /** partition, block name → the sketches string; absent when the block has none. */
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
  /** time, kind u8, key in the kind's table → nothing: what `sweep` checks from that time on. */
  'expiry',
  /** key in `windows` → JSON of `dropExpired`, or null: expired windows whose sketches are not removed yet. */
  'condemned',
] as const
export type TableName = (typeof TABLES)[number]

const TIME_BIAS = 2 ** 52
const U32 = 2 ** 32

/** Builds a key field by field. */
class Key {
  readonly bytes: Buffer
  #at = 0

  constructor(length: number) {
    this.bytes = Buffer.allocUnsafe(length)
  }

  u8(value: number): this {
    this.#at = this.bytes.writeUInt8(value, this.#at)
    return this
  }

  u16(value: number): this {
    this.#at = this.bytes.writeUInt16BE(value, this.#at)
    return this
  }

  u32(value: number): this {
    this.#at = this.bytes.writeUInt32BE(value, this.#at)
    return this
  }

  u48(value: number): this {
    this.#at = this.bytes.writeUIntBE(value, this.#at, 6)
    return this
  }

  u64(value: number): this {
    return this.u32(Math.floor(value / U32)).u32(value % U32)
  }

  id(id: Id64): this {
    return this.u32(id.hi).u32(id.lo)
  }

  time(ms: number): this {
    return this.u64(ms + TIME_BIAS)
  }

  raw(bytes: Uint8Array): this {
    this.bytes.set(bytes, this.#at)
    this.#at += bytes.length
    return this
  }

  latin(text: string): this {
    this.#at += this.bytes.write(text, this.#at, 'latin1')
    return this
  }
}

export function readU64(bytes: Uint8Array, offset: number): number {
  return readU32(bytes, offset) * U32 + readU32(bytes, offset + 4)
}

export function readU32(bytes: Uint8Array, offset: number): number {
  return bytes[offset]! * 0x1000000 + ((bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!)
}

export function readTime(bytes: Uint8Array, offset: number): number {
  return readU64(bytes, offset) - TIME_BIAS
}

export function readId(bytes: Uint8Array, offset: number): Id64 {
  return { hi: readU32(bytes, offset), lo: readU32(bytes, offset + 4) }
}

export function readLatin(bytes: Uint8Array, offset: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1', offset)
}

/** Returns the smallest key after all keys that begin with `prefix`: the exclusive end of their range. */
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

function digest16(text: string): Buffer {
  return createHash('sha256').update(text).digest().subarray(0, 16)
}

const PROJECTS_MAX = 1_000
const projects = new Map<string, Buffer>()

export const FORMAT_KEY: Uint8Array = Buffer.from('format')
export const JOURNAL_KEY: Uint8Array = Buffer.from('journal')

export function partitionKey(partition: number): Buffer {
  return new Key(2).u16(partition).bytes
}

// Catalog

/** Returns the key of a project. It is cached, because few projects occur in many keys. */
export function projectKey(project: string): Buffer {
  const cached = projects.get(project)
  if (cached !== undefined) return cached
  if (projects.size === PROJECTS_MAX) projects.clear()
  const key = digest16(project)
  projects.set(project, key)
  return key
}

export function metricKey(project: string, name: string): Buffer {
  if (name.length > METRIC_NAME_UNITS_MAX) throw new RangeError(`a name of ${name.length} characters`)
  const text = Buffer.from(name, 'utf16le')
  return Buffer.concat([projectKey(project), text.swap16()])
}

export function nameOfMetricKey(key: Uint8Array): string {
  return Buffer.from(key.subarray(16)).swap16().toString('utf16le')
}

export function metricIdKey(metricId: Id64): Buffer {
  return new Key(8).id(metricId).bytes
}

/**
 * Returns the key of a metric in `dying`, which is a prefix of the keys in every table that begins with partition and
 * metric.
 */
export function metricPrefix(partition: number, metricId: Id64): Buffer {
  return new Key(10).u16(partition).id(metricId).bytes
}

export function seriesKey(partition: number, metricId: Id64, position: number): Buffer {
  return new Key(14).u16(partition).id(metricId).u32(position).bytes
}

export function tagKeyKey(partition: number, metricId: Id64, tagKey: string): Buffer {
  return new Key(26).u16(partition).id(metricId).raw(digest16(tagKey)).bytes
}

export function seriesIdKey(partition: number, metricId: Id64, seriesId: Id64): Buffer {
  return new Key(18).u16(partition).id(metricId).id(seriesId).bytes
}

// Write path

export function watermarkKey(partition: number, writer: string): Buffer {
  return new Key(18).u16(partition).raw(Buffer.from(writer, 'hex')).bytes
}

export function markerKey(partition: number, project: string, key: string): Buffer {
  return new Key(18).u16(partition).raw(digest16(`${project.length}:${project}${key}`)).bytes
}

// Index and blocks

export function inboxKey(partition: number, order: number): Buffer {
  return new Key(10).u16(partition).u64(order).bytes
}

export function blockKey(partition: number, name: string): Buffer {
  return new Key(2 + name.length).u16(partition).latin(name).bytes
}

export function timelineKey(partition: number, metricId: Id64, resolutionMs: number): Buffer {
  return new Key(16).u16(partition).id(metricId).u48(resolutionMs).bytes
}

/**
 * Returns the key of a window in `windows` and `condemned`, or of a stretch in `expired`. It is a prefix of keys in
 * `index` and `sets`.
 */
export function windowKey(partition: number, metricId: Id64, resolutionMs: number, timeMs: number): Buffer {
  return new Key(24).u16(partition).id(metricId).u48(resolutionMs).time(timeMs).bytes
}
export const METRIC_ID_AT = 2
export const WINDOW_TIME_AT = 16

export function readPartition(bytes: Uint8Array): number {
  return bytes[0]! * 256 + bytes[1]!
}

export function readWindowKey(bytes: Uint8Array): WindowKey {
  return {
    metricId: readId(bytes, METRIC_ID_AT),
    resolutionMs: readU32(bytes, 10) * 0x10000 + bytes[14]! * 0x100 + bytes[15]!,
    windowMs: readTime(bytes, WINDOW_TIME_AT),
  }
}

export function indexKey(
  partition: number,
  metricId: Id64,
  resolutionMs: number,
  entry: { readonly windowMs: number; readonly order: number; readonly seriesFrom: Id64; readonly block: string },
): Buffer {
  return new Key(40 + entry.block.length)
    .u16(partition)
    .id(metricId)
    .u48(resolutionMs)
    .time(entry.windowMs)
    .u64(entry.order)
    .id(entry.seriesFrom)
    .latin(entry.block).bytes
}
export const INDEX_WINDOW_AT = 16
export const INDEX_ORDER_AT = 24
export const INDEX_SERIES_AT = 32
export const INDEX_BLOCK_AT = 40

export function dueKey(partition: number, expiresMs: number, window: WindowKey): Buffer {
  const { resolutionMs, metricId, windowMs } = window
  return new Key(32).u16(partition).time(expiresMs).u48(resolutionMs).id(metricId).time(windowMs).bytes
}

export function readDueKey(bytes: Uint8Array): WindowKey {
  const resolutionMs = readU32(bytes, 10) * 0x10000 + bytes[14]! * 0x100 + bytes[15]!
  return { resolutionMs, metricId: readId(bytes, 16), windowMs: readTime(bytes, 24) }
}

/** Returns the exclusive end of the windows that expire at or before `nowMs`. */
export function dueEnd(partition: number, nowMs: number): Buffer {
  return new Key(10).u16(partition).time(nowMs + 1).bytes
}

// Sets and events

export function setKey(
  partition: number,
  metricId: Id64,
  resolutionMs: number,
  bucketMs: number,
  seriesId: Id64,
): Buffer {
  return new Key(32).u16(partition).id(metricId).u48(resolutionMs).time(bucketMs).id(seriesId).bytes
}

export function eventKey(project: string, timeMs: number, id: string): Buffer {
  return Buffer.concat([eventPrefix(project, timeMs), Buffer.from(id)])
}

/** Returns a prefix that sorts before every event of this time. */
export function eventPrefix(project: string, timeMs: number): Buffer {
  return new Key(24).raw(projectKey(project)).time(timeMs).bytes
}
export const EVENT_TIME_AT = 16
export const EVENT_ID_AT = 24

/** Returns the key of an event in `event-ages`. `event` is its key in `events`. */
export function eventAgeKey(partition: number, committedMs: number, event: Uint8Array): Buffer {
  return new Key(10 + event.length).u16(partition).time(committedMs).raw(event).bytes
}

/** Returns the exclusive end of the events that were committed at or before `committedByMs`. */
export function eventAgeEnd(partition: number, committedByMs: number): Buffer {
  return new Key(10).u16(partition).time(committedByMs + 1).bytes
}

/** Returns the key in `events` of the event that has this key in `event-ages`. */
export function eventOfAge(age: Uint8Array): Uint8Array {
  return age.subarray(10)
}

// Requests and API keys

export function receiptKey(project: string, key: string): Buffer {
  return new Key(32).raw(projectKey(project)).raw(digest16(key)).bytes
}

/** Returns the key of a receipt in `receipt-ages`. `receipt` is its key in `receipts`. */
export function receiptAgeKey(receipt: Uint8Array, writtenMs: number): Buffer {
  return new Key(40).raw(receipt.subarray(0, 16)).time(writtenMs).raw(receipt.subarray(16)).bytes
}

/** Returns the key in `receipts` of the receipt that has this key in `receipt-ages`. */
export function receiptOfAge(age: Uint8Array): Buffer {
  return new Key(32).raw(age.subarray(0, 16)).raw(age.subarray(24)).bytes
}

export function apiKeyKey(hash: string): Buffer {
  return Buffer.from(hash, 'hex')
}

// Expiry

/** Kinds of rows that expire. A kind's index is its kind byte in keys, so new kinds are appended. */
export const EXPIRING = ['watermark', 'marker', 'receipt', 'block'] as const
export type Expiring = (typeof EXPIRING)[number]

export function expiryKey(timeMs: number, kind: Expiring, key: Uint8Array): Buffer {
  return new Key(9 + key.length).time(timeMs).u8(EXPIRING.indexOf(kind)).raw(key).bytes
}

export function readExpiryKey(bytes: Uint8Array): { readonly kind: Expiring; readonly key: Uint8Array } {
  return { kind: EXPIRING[bytes[8]!]!, key: bytes.subarray(9) }
}

/** Returns the exclusive end of the entries that expire at or before `timeMs`. */
export function expiryEnd(timeMs: number): Buffer {
  return new Key(8).time(timeMs + 1).bytes
}
