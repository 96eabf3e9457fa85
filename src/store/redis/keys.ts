import { createHash } from 'node:crypto'
import { formatId, type Id64 } from '../../model/id.ts'
import { partitionOf } from '../../model/metric.ts'
import type { SetKey, TimelineKey, WindowKey } from '../store.ts'
import { windowStart } from '../windows.ts'

/**
 * The names of the keys of a partition in Redis: `<prefix>:{p<partition>}:<name>`. Redis Cluster hashes only the text
 * in braces, so these keys are in one slot, and a script with them runs on one node. "Sorted set: X by Y" means that X
 * is the member and Y the score.
 */
export interface PartitionKeys {
  /** Hash: writer → its watermark, the number of its last commit. */
  readonly watermarks: string
  /** Sorted set: writer by the latest time of its commits. */
  readonly writers: string
  /** Sorted set: marker (digest of project and marker key, see `IdempotencyMarker`) by the time of its commit. */
  readonly markers: string
  /** Sorted set: inbox entry by order. */
  readonly inbox: string
  /** Hash: `order` → order of the newest inbox entry ever, `bytes` → bytes of the blocks in the inbox. */
  readonly counters: string
  /** Sorted set: window by its expiry. */
  readonly dueWindows: string
  /** Sorted set: name of a block that no index or inbox entry lists, by the time from which it may be removed. */
  readonly expiringBlocks: string
  /** Hash: block name → number of entries that list the block, minus 1. It has only blocks with several entries. */
  readonly extraListings: string
  /** String: holder of the lease for folding the partition. */
  readonly lease: string
  /** Set: names of expired windows whose set sketches are not all deleted yet. */
  readonly windowsWithSetsToDelete: string
  /**
   * Shard channel: a message for each commit that changes metrics and each deletion of a metric, with the name of the
   * gateway that sends it and the ids of these metrics.
   */
  readonly channel: string
  /** Hash: metric name → metric id. */
  catalog(project: string): string
  /** Sorted set: `sortKeyOfName` of each metric that has points. All scores are 0, so it is sorted by member. */
  listedNames(project: string): string
  /** Hash: metric name → the last deleted generation of the name. */
  deletedGenerations(project: string): string
  /** Hash: id of a deleted metric whose data is not removed yet → order of the newest inbox entry at its deletion. */
  readonly metricsToRemove: string
  /** Hash: the row of a metric. */
  metric(metricId: Id64): string
  /** Hash: series id → tags. */
  series(metricId: Id64): string
  /** List: series ids in the order they were registered. */
  seriesOrder(metricId: Id64): string
  /** Set: all tag keys of the series of a metric. */
  tagKeys(metricId: Id64): string
  /** String: the scalars of a block. */
  scalars(block: string): string
  /** String: the sketches of a block. */
  sketches(block: string): string
  /** Sorted set: index entry by the start of its window. */
  timeline(timeline: TimelineKey): string
  /** Sorted set: expired stretch of a timeline by its start. */
  expiredStretches(timeline: TimelineKey): string
  /** HyperLogLog: the members of a series in a bucket. The key is this prefix and the series id. */
  sketchKeyPrefix(bucket: Pick<SetKey, 'metricId' | 'resolutionMs' | 'bucketMs'>): string
  /** Set: names (`sketchName`) of the set sketches of a window. */
  sketchNamesOf(window: WindowKey): string
  /** Set: names of the set sketches of an expired window that are not deleted yet. */
  setsToDeleteOf(window: WindowKey): string
  /**
   * Sorted set: events of a project. All scores are 0, and a member begins with time and id: they sort the events.
   */
  events(project: string): string
  /** Sorted set: project, time and id of an event, by the time of its commit. */
  readonly eventAges: string
  /** Hash: digest of an idempotency key → receipt; also `bytes` → bytes of all receipts in the hash. */
  receipts(project: string): string
  /** Sorted set: digest of an idempotency key by the time of its receipt. */
  receiptAges(project: string): string
  /** String: number of permits of a rate limit that were taken in a time window. */
  permits(limitKeyDigest: string, windowWidthMs: number, startMs: number): string
}

export function partitionKeys(prefix: string, partition: number): PartitionKeys {
  const base = `${prefix}:{p${partition}}:`
  return {
    watermarks: `${base}watermarks`,
    writers: `${base}writers`,
    markers: `${base}markers`,
    inbox: `${base}inbox`,
    counters: `${base}counters`,
    dueWindows: `${base}due`,
    expiringBlocks: `${base}expiring`,
    extraListings: `${base}extra`,
    lease: `${base}lease`,
    windowsWithSetsToDelete: `${base}condemned`,
    channel: `${base}commits`,
    catalog: (project) => `${base}catalog:${project}`,
    listedNames: (project) => `${base}names:${project}`,
    deletedGenerations: (project) => `${base}deleted:${project}`,
    metricsToRemove: `${base}dying`,
    metric: (metricId) => `${base}metric:${formatId(metricId)}`,
    series: (metricId) => `${base}series:${formatId(metricId)}`,
    seriesOrder: (metricId) => `${base}series-order:${formatId(metricId)}`,
    tagKeys: (metricId) => `${base}tag-keys:${formatId(metricId)}`,
    scalars: (block) => `${base}block:${block}`,
    sketches: (block) => `${base}sketch:${block}`,
    timeline: (timeline) => `${base}timeline:${timelineName(timeline)}`,
    expiredStretches: (timeline) => `${base}expired:${timelineName(timeline)}`,
    sketchKeyPrefix: ({ metricId, resolutionMs, bucketMs }) =>
      `${base}set:${formatId(metricId)}.${resolutionMs}.${bucketMs}.`,
    sketchNamesOf: (window) => `${base}sets:${windowName(window)}`,
    setsToDeleteOf: (window) => `${base}condemned:${windowName(window)}`,
    events: (project) => `${base}events:${project}`,
    eventAges: `${base}event-ages`,
    receipts: (project) => `${base}receipts:${project}`,
    receiptAges: (project) => `${base}receipt-ages:${project}`,
    permits: (limitKeyDigest, windowWidthMs, startMs) => `${base}permits:${windowWidthMs}.${startMs}:${limitKeyDigest}`,
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

/**
 * Whether a text can be a prefix of keys. A prefix must not contain braces: a cluster would hash only the text in them.
 */
export function isValidPrefix(text: string): boolean {
  return /^[A-Za-z0-9._:-]{1,64}$/.test(text)
}

/**
 * Returns the partition with all receipts of a project. They are in one partition, so that one script can limit their
 * number and bytes.
 */
export function receiptPartition(project: string, partitions: number): number {
  return partitionOf('receipts', project, partitions)
}

export function permitPartition(limitKey: string, partitions: number): number {
  return partitionOf('permits', limitKey, partitions)
}

/**
 * Returns 32 hexadecimal digits of the SHA-256 of the fields: a text of fixed length that stands for texts of any
 * length.
 */
export function digestOf(...fields: readonly string[]): string {
  const hash = createHash('sha256')
  for (const field of fields) hash.update(`${field.length}:${field}`)
  return hash.digest('hex').slice(0, 32)
}

function timelineName({ metricId, resolutionMs }: TimelineKey): string {
  return `${formatId(metricId)}.${resolutionMs}`
}

/** Returns the name of a window in the keys `sketchNamesOf` and `setsToDeleteOf`, and in `windowsWithSetsToDelete`. */
export function windowName({ metricId, resolutionMs, windowMs }: WindowKey): string {
  return `${formatId(metricId)}.${resolutionMs}.${windowMs}`
}

/** Returns the name of a set sketch in its window: the index of the bucket in the window, and the series id. */
export function sketchName(resolutionMs: number, bucketMs: number, seriesIdText: string): string {
  return `${(bucketMs - windowStart(resolutionMs, bucketMs)) / resolutionMs}.${seriesIdText}`
}
