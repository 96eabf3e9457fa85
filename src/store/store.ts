import type { Id64 } from '../model/id.ts'
import type { MetricType } from '../model/metric.ts'
import type { CanonicalTags } from '../model/series.ts'
import type { KeyRow } from './api-keys.ts'
import type { EventRequest, StoredEvent } from './events.ts'
import type { Receipt } from './idempotency-keys.ts'

/**
 * The contract between the gateway and its store. Only a store's own folder knows the engine behind it; the tests in
 * `test/store/contract/` hold every store to this page.
 *
 * - Each verb is one atomic step: it happens completely or not at all, and no two interleave.
 * - When `append`, `commitFold`, `expireWindow`, `writeReceipt` or `saveKey` resolves, its effect is durable.
 * - A store that cannot serve rejects with `GatewayError('store_unavailable')`: the only error after which to retry.
 *
 * How long a store keeps what it removes by itself is in `lifetimes.ts`.
 */
export interface Store {
  /** Number of partitions, fixed when the store was created. */
  readonly partitions: number
  /**
   * Whether the store can lose writes that it acknowledged last, as a server does that syncs its disk once a second, or
   * a replica after a failover. Writers then retain acknowledged commits for a while and replay those that are missing.
   */
  readonly mayLoseWrites: boolean
  /**
   * The partitions in groups that are served together. A request for one group never waits for the server of another,
   * and several commits of one group cost little more than one.
   */
  readonly groups: readonly (readonly number[])[]

  // Catalog

  /**
   * Creates the metrics that do not exist and returns the stored rows, in the order of `definitions`. The first
   * definition of a name wins: the caller rejects points of another type with `type_conflict`.
   */
  defineMetrics(definitions: readonly MetricDefinition[]): Promise<readonly MetricRow[]>
  readMetric(project: string, name: string): Promise<MetricRow | undefined>
  /** The rows of these names, in the order of `names`. */
  readMetrics(project: string, names: readonly string[]): Promise<readonly (MetricRow | undefined)[]>
  /** Number of defined metrics, also without points. An unavailable server of a cluster counts as last known. */
  countMetrics(project: string): Promise<number>
  /**
   * Deletes every generation of a name up to `deletion.generation` and returns whether a metric was deleted. A commit
   * that names a deleted generation is a `conflict`; the next definition makes a later generation. Idempotent: safe to
   * replay after the store lost recent writes. `clearDeleted` removes the data.
   *
   * Other gateways find out from the `conflict` of a commit, or within a second after they refuse a point for its type.
   */
  deleteMetric(deletion: MetricDeletion): Promise<boolean>
  /** A page of the metrics of a project that have at least one point, sorted by name (code units). */
  listMetrics(project: string, listing: MetricListing): Promise<MetricPage>
  /**
   * The series of a metric in the order they were registered, from position `cursor` on. Undefined when `cursor` lies
   * beyond the end: the store lost recent writes, and the caller clears its cache.
   */
  readSeries(
    partition: number,
    metricId: Id64,
    cursor: number,
    limit: number,
  ): Promise<readonly SeriesRow[] | undefined>
  /** Which of these series are registered, in the order of `seriesIds`. */
  hasSeries(partition: number, metricId: Id64, seriesIds: readonly Id64[]): Promise<readonly boolean[]>

  // Write path

  /**
   * Applies the commits of one round, at most one per partition, and returns their outcomes in the same order. A commit
   * is `applied` when its number is the writer's watermark in the partition + 1; a smaller one is `known` (applied
   * before), a greater one a `gap`. `conflict`: a metric has another type, an id belongs to something else, or a
   * generation was deleted; the number stays unused. Only an applied commit changes anything.
   */
  append(commits: readonly Commit[]): Promise<readonly AppendOutcome[]>
  /** `nowMs` of the part that made the marker. Undefined: the request was not applied in this partition. */
  readMarker(partition: number, marker: Marker): Promise<number | undefined>
  /** The writer's greatest applied number in each partition, or 0. Kept for `WATERMARK_MS` after its last commit. */
  readWatermarks(writer: string, partitions: readonly number[]): Promise<readonly number[]>

  // Index and blocks

  /** One consistent snapshot of the blocks that may hold data of a metric. */
  readIndex(request: IndexRequest): Promise<IndexSnapshot>
  /** The oldest inbox entries, in order: at most `entriesMax`, at most `bytesMax` together, but at least one. */
  readInbox(partition: number, bytesMax: number, entriesMax?: number): Promise<readonly InboxEntry[]>
  inboxSize(partition: number): Promise<{ readonly entries: number; readonly bytes: number }>
  /** One part of each named block; undefined where the block is gone or has no such part. */
  readBlocks(partition: number, names: readonly string[], part: BlockPart): Promise<readonly (Uint8Array | undefined)[]>

  // Fold and retention

  /** Stores blocks that no index lists, for `UNCOMMITTED_BLOCK_MS` unless a fold commits them. Need not be durable. */
  writeBlocks(partition: number, blocks: readonly NamedBlock[], nowMs: number): Promise<void>
  /**
   * Replaces inbox and index entries by new ones. Returns false and changes nothing when an old entry is not listed, a
   * new block does not exist, or a window of a new entry has expired. Replaced blocks stay readable for
   * `UNLISTED_BLOCK_MS`. `touched` can only move the expiry of a window to a later time.
   */
  commitFold(fold: FoldCommit): Promise<boolean>
  /** At most `max` windows whose `expiresMs` is not after `nowMs`: earliest first, then finer resolutions first. */
  dueWindows(partition: number, nowMs: number, max: number): Promise<readonly WindowKey[]>
  /**
   * Removes the index entries and set sketches of a window and records it as an expired stretch; with `dropExpired`, it
   * removes such records of finer resolutions instead. Returns false and changes nothing when the window expires later.
   */
  expireWindow(expiry: WindowExpiry): Promise<boolean>
  /**
   * Removes data of deleted metrics, about `max` windows or series at a time; returns whether more can be removed now.
   * It waits until the inbox entries from before the deletion are folded, so that no fold in progress brings data back.
   */
  clearDeleted(partition: number, max: number, nowMs: number): Promise<boolean>
  /**
   * Takes or extends the lease for folding a partition and returns whether the caller holds it, for `leaseMs` from now;
   * 0 releases it. It only saves work: correctness does not depend on it.
   */
  takeLease(request: LeaseRequest): Promise<boolean>
  /** Removes what is older than `lifetimes.ts` allows: unlisted blocks, markers, receipts, watermarks. Bounded work. */
  sweep(nowMs: number): Promise<void>

  // Sets

  /** Number of distinct members of each union of set sketches. A sketch that does not exist counts as empty. */
  countDistinct(partition: number, unions: readonly (readonly SetKey[])[]): Promise<readonly number[]>

  // Events

  /**
   * A page of the events of a project, newest first (equal times: greater id first). It has fewer than `limit` events
   * only at the end, or when their JSON would exceed `bytesMax`; it is empty only when there are none.
   */
  readEvents(request: EventRequest): Promise<readonly StoredEvent[]>
  /** Removes at most `max` events committed at or before `committedByMs`, earliest first; returns how many. */
  expireEvents(partition: number, committedByMs: number, max: number): Promise<number>

  // Requests

  readReceipt(project: string, key: string, nowMs: number): Promise<Receipt | undefined>
  /**
   * Stores the response of an idempotency key unless there is one, and returns the stored one. Kept for `RECEIPT_MS`,
   * within the store's `ReceiptBounds`; the receipt being written is never the one removed.
   */
  writeReceipt(project: string, key: string, receipt: Receipt, nowMs: number): Promise<Receipt>
  /**
   * Takes up to `permits` of the `limit` permits of a time window; returns how many were granted and how many are left.
   */
  takePermits(request: PermitRequest): Promise<{ readonly granted: number; readonly left: number }>

  // API keys

  saveKey(key: KeyRow): Promise<void>
  readKey(hash: string): Promise<KeyRow | undefined>
  listKeys(): Promise<readonly KeyRow[]>

  // Life

  /** Notifies of the metrics of commits and deletions of any gateway; not guaranteed. Returns how to unsubscribe. */
  onCommit(listener: (metricIds: readonly Id64[]) => void): () => void
  /** For the operator: why blocks that an index lists may be missing, and what to do. */
  explainLoss(): Promise<string>
  /** Notifies when a fold, merge or expiry of this process removed index entries. The listener must not throw. */
  onUnlisted(listener: (unlisted: Unlisted) => void): () => void
  /** Rejects with `store_unavailable` and the reason unless the store is available and has its shape. */
  ping(): Promise<void>
  close(): Promise<void>
}

export interface MetricDefinition {
  readonly project: string
  readonly name: string
  readonly type: MetricType
  readonly unit?: string
  readonly description?: string
}

export interface MetricDeletion {
  readonly project: string
  readonly name: string
  readonly generation: number
}

export interface MetricRow {
  readonly project: string
  readonly name: string
  readonly type: MetricType
  readonly unit: string | undefined
  readonly description: string | undefined
  readonly generation: number
  readonly metricId: Id64
  readonly partition: number
  /** Points ever accepted. */
  readonly points: number
  /** Least and greatest time of a point; undefined without points. */
  readonly firstSeenMs: number | undefined
  readonly lastSeenMs: number | undefined
  /** Sorted. */
  readonly tagKeys: readonly string[]
  readonly seriesCount: number
  /** Whether a counter was ever sent a running total. */
  readonly cumulative: boolean
}

export interface MetricListing {
  /** The cursor: only names after this one. */
  readonly after?: string
  /** At most this many names are examined. */
  readonly namesMax: number
  /** Rows of other names are not read. */
  readonly matches?: (name: string) => boolean
}

export interface MetricPage {
  /** May be empty although `next` is set. */
  readonly metrics: readonly MetricRow[]
  /** The last name that was examined, for `after` of the next page; undefined on the last page. */
  readonly next: string | undefined
}

export interface SeriesRow {
  readonly seriesId: Id64
  readonly tags: CanonicalTags
}

export type BlockPart = 'scalars' | 'sketches'

export interface NamedBlock {
  /** Never used again; at most 64 characters of [A-Za-z0-9._-]. */
  readonly name: string
  readonly scalars: Uint8Array
  readonly sketches: Uint8Array | undefined
}

export interface Commit {
  readonly partition: number
  /** A process's random name: 32 hexadecimal digits. */
  readonly writer: string
  /** Counts from 1 in each partition. */
  readonly number: number
  /** Without parts it is a fence, which only uses up the number. */
  readonly parts: readonly CommitPart[]
}

/** A part of a commit, applied or skipped as a whole. With a marker it is one request with an idempotency key. */
export interface CommitPart {
  /**
   * The part is skipped when this marker exists in the partition; otherwise it is made, for `IDEMPOTENCY_MARKER_MS`.
   */
  readonly marker?: Marker
  readonly block?: NamedBlock
  readonly metrics: readonly MetricTouch[]
  readonly series: readonly SeriesTouch[]
  readonly members: readonly SetMembers[]
  readonly events: readonly StoredEvent[]
  readonly nowMs: number
}

/** An idempotency key of a project. */
export interface Marker {
  readonly project: string
  readonly key: string
}

/** What a commit adds to the row of a metric, with its full definition in case the store lost the row. */
export interface MetricTouch {
  readonly metricId: Id64
  readonly generation: number
  readonly definition: MetricDefinition
  readonly points: number
  readonly firstMs: number
  readonly lastMs: number
  readonly cumulative: boolean
}

export interface SeriesTouch {
  readonly metricId: Id64
  readonly seriesId: Id64
  readonly tags: CanonicalTags
}

/** Members of a set series in one bucket of the finest set resolution; the store adds them at each set resolution. */
export interface SetMembers {
  readonly metricId: Id64
  readonly seriesId: Id64
  readonly bucketMs: number
  readonly members: readonly string[]
}

export type AppendOutcome =
  /** `skipped`: positions of the parts whose marker existed. */
  | { readonly status: 'applied'; readonly skipped: readonly number[] }
  | { readonly status: 'known' }
  | { readonly status: 'gap'; readonly watermark: number }
  /** `deleted`: those of the metrics whose generation was deleted. */
  | { readonly status: 'conflict'; readonly metricIds: readonly Id64[]; readonly deleted: readonly Id64[] }

/** A stretch of time, `fromMs` inclusive, `toMs` exclusive. */
export interface Stretch {
  readonly fromMs: number
  readonly toMs: number
}

export interface TimelineKey {
  readonly metricId: Id64
  readonly resolutionMs: number
}

export interface WindowKey extends TimelineKey {
  /** Start of the window; its width is `windowWidthMs(resolutionMs)`. */
  readonly windowMs: number
}

export interface WindowTouch extends WindowKey {
  readonly expiresMs: number
}

/** A window holds 360 buckets of its resolution: an hour of 10 s, six hours of 1 m, fifteen days of 1 h. */
export const BUCKETS_PER_WINDOW = 360

export function windowWidthMs(resolutionMs: number): number {
  return resolutionMs * BUCKETS_PER_WINDOW
}

export function windowStart(resolutionMs: number, timeMs: number): number {
  const width = windowWidthMs(resolutionMs)
  return Math.floor(timeMs / width) * width
}

/**
 * A block that is listed in a window. Blocks of one order and tier are a run. The blocks of a run hold different
 * rollups, because the inbox may be folded in several steps that add blocks of one order.
 */
export interface IndexEntry {
  readonly block: string
  readonly windowMs: number
  /** How often its rollups were merged: a run of tier t holds about 8^t folds. */
  readonly tier: number
  /**
   * Order of arrival: every point in a run of a smaller order arrived before every point in a run of a greater one. Of
   * two runs of one order, the points of the greater tier arrived first.
   */
  readonly order: number
  readonly seriesFrom: Id64
  readonly seriesTo: Id64
  readonly rollups: number
  readonly scalarBytes: number
  readonly sketchBytes: number
}

export interface InboxEntry {
  readonly block: string
  readonly scalarBytes: number
  readonly sketchBytes: number
  readonly arrivedMs: number
  /** Ascends by arrival and is unique in the partition. A run gets the order of its newest inbox entry. */
  readonly order: number
}

export interface IndexRequest {
  readonly partition: number
  readonly metricId: Id64
  /** The windows that overlap these stretches are returned. A resolution may occur several times. */
  readonly timelines: readonly { readonly resolutionMs: number; readonly stretch: Stretch }[]
  /** Whether to return the inbox of the partition too. */
  readonly inbox: boolean
  /** Whether the caller needs only expired stretches: entries may be omitted. */
  readonly expiredOnly?: boolean
}

export interface IndexSnapshot {
  readonly inbox: readonly InboxEntry[]
  /** In the order of the request. */
  readonly timelines: readonly TimelineIndex[]
}

export interface TimelineIndex {
  readonly resolutionMs: number
  /** By window, then by arrival, then by series range (`index-order.ts`). */
  readonly entries: readonly IndexEntry[]
  /** Expired stretches that overlap the requested one, sorted, disjoint. A coarser resolution holds their data. */
  readonly expired: readonly Stretch[]
}

export interface FoldCommit {
  readonly partition: number
  readonly inbox: readonly InboxEntry[]
  /** The unfolded rest: a new block replaces one of these entries and keeps its order and time of arrival. */
  readonly left?: readonly { readonly entry: InboxEntry; readonly block: NamedBlock }[]
  readonly removed: readonly { readonly timeline: TimelineKey; readonly entry: IndexEntry }[]
  readonly added: readonly { readonly timeline: TimelineKey; readonly entry: IndexEntry }[]
  /**
   * Windows that received new points, as opposed to being rewritten, with the time until which the points are kept.
   * Includes every window that was not listed before.
   */
  readonly touched: readonly WindowTouch[]
  readonly nowMs: number
}

/** What was removed from the index of a partition. */
export interface Unlisted {
  readonly partition: number
  /** By arrival. */
  readonly inbox: readonly InboxEntry[]
  /** Names of blocks that a merge replaced. */
  readonly replaced: readonly string[]
  readonly expired: readonly WindowKey[]
}

export interface LeaseRequest {
  readonly partition: number
  /** Name of the caller. */
  readonly holder: string
  readonly leaseMs: number
  readonly nowMs: number
}

export interface WindowExpiry {
  readonly partition: number
  readonly window: WindowKey
  /** Resolutions whose expired stretches in the window are removed; undefined: record the window as expired. */
  readonly dropExpired?: readonly number[]
  readonly nowMs: number
}

export interface SetKey {
  readonly metricId: Id64
  readonly seriesId: Id64
  readonly resolutionMs: number
  readonly bucketMs: number
}

/** Permits of a rate limit: `limit` of them per window of `windowMs` and bucket. */
export interface PermitRequest {
  readonly bucket: string
  readonly permits: number
  readonly limit: number
  readonly windowMs: number
  readonly nowMs: number
}

/** The part of a store that holds API keys. */
export type KeyStore = Pick<Store, 'saveKey' | 'readKey' | 'listKeys' | 'close'>
