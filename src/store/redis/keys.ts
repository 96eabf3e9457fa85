import { createHash } from 'node:crypto'
import { formatId, type Id64 } from '../../model/id.ts'
import { partitionOf } from '../../model/metric.ts'
import { type SetKey, type TimelineKey, type WindowKey, windowStart } from '../store.ts'

/**
 * The keys of the Redis store. A key is `<prefix>:{p<partition>}:<name>`: the braces are the hash tag of Redis Cluster,
 * so all keys of a partition are in one slot and each script runs on one node.
 */
export interface PartitionKeys {
  /** Hash: writer → number of its last commit. */
  readonly watermarks: string
  /** Sorted set: writer by time of its last commit. */
  readonly writers: string
  /** Sorted set: digest of project and idempotency key by the time of its commit. */
  readonly markers: string
  /** Sorted set: inbox entry by order. */
  readonly inbox: string
  /** Hash: `order` of the newest inbox entry so far, `bytes` of the inbox. */
  readonly counters: string
  /** Sorted set: window by the time it expires. */
  readonly due: string
  /** Sorted set: name of a block that nothing lists, by the time it expires. */
  readonly expiring: string
  /** Hash: block name → how many entries list it beyond the first. */
  readonly extra: string
  /** String: holder of the lease for folding the partition. */
  readonly lease: string
  /** Set: windows whose set sketches are being deleted. */
  readonly condemnedWindows: string
  /** Shard channel: sender and touched metrics of each commit. */
  readonly channel: string
  /** Hash: metric name → metric id. */
  catalog(project: string): string
  /** Sorted set: place of the name of each metric that has points, all of score 0. */
  names(project: string): string
  /** Hash: metric name → its last deleted generation. */
  deleted(project: string): string
  /** Hash: id of a deleted metric whose data is not removed yet → order of the newest inbox entry at the deletion. */
  readonly dying: string
  /** Hash: row of a metric. */
  metric(metricId: Id64): string
  /** Hash: series id → tags. */
  series(metricId: Id64): string
  /** List: series ids in the order they were registered. */
  seriesOrder(metricId: Id64): string
  /** Set: keys of the tags of a metric's series. */
  tagKeys(metricId: Id64): string
  /** String: the scalars of a block. */
  scalars(block: string): string
  /** String: the sketches of a block. */
  sketches(block: string): string
  /** Sorted set: index entry by start of its window. */
  timeline(timeline: TimelineKey): string
  /** Sorted set: expired stretches of a timeline by their start. */
  expired(timeline: TimelineKey): string
  /** HyperLogLog: members of a series in a bucket. The series id follows the prefix. */
  setPrefix(bucket: Pick<SetKey, 'metricId' | 'resolutionMs' | 'bucketMs'>): string
  /** Set: names of the set sketches of a window. */
  setsOf(window: WindowKey): string
  /** Set: names of those that are being deleted. */
  condemnedSetsOf(window: WindowKey): string
  /** Sorted set: events in the order of time and id, all of score 0. */
  events(project: string): string
  /** Sorted set: project, time and id of an event by the time it was committed. */
  readonly eventAges: string
  /** Hash: digest of an idempotency key → receipt. */
  receipts(project: string): string
  /** Sorted set: digest of an idempotency key by the time of its receipt. */
  receiptAges(project: string): string
  /** String: permits taken in a window of time. */
  permits(bucket: string, windowMs: number, startMs: number): string
}

export function partitionKeys(prefix: string, partition: number): PartitionKeys {
  const base = `${prefix}:{p${partition}}:`
  return {
    watermarks: `${base}watermarks`,
    writers: `${base}writers`,
    markers: `${base}markers`,
    inbox: `${base}inbox`,
    counters: `${base}counters`,
    due: `${base}due`,
    expiring: `${base}expiring`,
    extra: `${base}extra`,
    lease: `${base}lease`,
    condemnedWindows: `${base}condemned`,
    channel: `${base}commits`,
    catalog: (project) => `${base}catalog:${project}`,
    names: (project) => `${base}names:${project}`,
    deleted: (project) => `${base}deleted:${project}`,
    dying: `${base}dying`,
    metric: (metricId) => `${base}metric:${formatId(metricId)}`,
    series: (metricId) => `${base}series:${formatId(metricId)}`,
    seriesOrder: (metricId) => `${base}series-order:${formatId(metricId)}`,
    tagKeys: (metricId) => `${base}tag-keys:${formatId(metricId)}`,
    scalars: (block) => `${base}block:${block}`,
    sketches: (block) => `${base}sketch:${block}`,
    timeline: (timeline) => `${base}timeline:${timelineName(timeline)}`,
    expired: (timeline) => `${base}expired:${timelineName(timeline)}`,
    setPrefix: ({ metricId, resolutionMs, bucketMs }) =>
      `${base}set:${formatId(metricId)}.${resolutionMs}.${bucketMs}.`,
    setsOf: (window) => `${base}sets:${windowName(window)}`,
    condemnedSetsOf: (window) => `${base}condemned:${windowName(window)}`,
    events: (project) => `${base}events:${project}`,
    eventAges: `${base}event-ages`,
    receipts: (project) => `${base}receipts:${project}`,
    receiptAges: (project) => `${base}receipt-ages:${project}`,
    permits: (bucket, windowMs, startMs) => `${base}permits:${windowMs}.${startMs}:${bucket}`,
  }
}

/** String: format version and shape of the store. */
export function metaKey(prefix: string): string {
  return `${prefix}:{p0}:meta`
}

/** Hash: SHA-256 of an API key → key row. */
export function apiKeysKey(prefix: string): string {
  return `${prefix}:{p0}:api-keys`
}

/** A prefix must not contain a hash tag of its own. */
export function isPrefix(text: string): boolean {
  return /^[A-Za-z0-9._:-]{1,64}$/.test(text)
}

/** All receipts of a project are in one partition, so that one script can bound them. */
export function receiptPartition(project: string, partitions: number): number {
  return partitionOf('receipts', project, partitions)
}

export function permitPartition(bucket: string, partitions: number): number {
  return partitionOf('permits', bucket, partitions)
}

/** The first 128 bits of SHA-256 in hexadecimal: a fixed length for what clients choose. */
export function digestOf(...fields: readonly string[]): string {
  const hash = createHash('sha256')
  for (const field of fields) hash.update(`${field.length}:${field}`)
  return hash.digest('hex').slice(0, 32)
}

function timelineName({ metricId, resolutionMs }: TimelineKey): string {
  return `${formatId(metricId)}.${resolutionMs}`
}

/** The name of a window in keys and in the set of condemned windows. */
export function windowName({ metricId, resolutionMs, windowMs }: WindowKey): string {
  return `${formatId(metricId)}.${resolutionMs}.${windowMs}`
}

/** The name of a sketch within its window: position of the bucket, and the series. */
export function setName(resolutionMs: number, bucketMs: number, series: string): string {
  return `${(bucketMs - windowStart(resolutionMs, bucketMs)) / resolutionMs}.${series}`
}
