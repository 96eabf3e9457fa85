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
 * - Each verb (method) is one atomic step: it happens completely or not at all, and no two verbs interleave.
 * - When `append`, `commitFold`, `expireWindow`, `writeReceipt` or `saveKey` resolves, its effect is durable.
 * - An unavailable store rejects with `GatewayError('store_unavailable')`. Callers retry only after this error.
 *
 * `lifetimes.ts` says how long a store keeps data that expires by itself.
 */
export interface Store {
  /** Number of partitions, fixed when the store was created. */
  readonly partitions: number
  /**
   * Whether the store can lose its latest acknowledged writes: a server that syncs its disk once a second can, and so
   * can a replica after a failover. If true, writers retain acknowledged commits for a while and replay lost ones.
   */
  readonly mayLoseWrites: boolean
  /**
   * False while the store is behind with writing, so that large writes should wait. Small ones still get through; if
   * large ones did not wait, the small ones would have to.
   */
  readonly hasRoom: boolean
  /**
   * The partitions, in groups that one server serves. A request for one group never waits for the server of another
   * group. Several commits to one group, sent together, cost little more than one commit.
   */
  readonly groups: readonly (readonly number[])[]

  // Catalog

  /**
   * Creates the metrics that do not exist and returns the stored rows, in the order of `definitions`. If a metric
   * exists with another type, its row stays as it is; the caller rejects the points with `type_conflict`.
   */
  defineMetrics(definitions: readonly MetricDefinition[]): Promise<readonly MetricRow[]>
  readMetric(project: string, name: string): Promise<MetricRow | undefined>
  /** Returns the rows of several metrics, in the order of `names`; undefined where no metric has the name. */
  readMetrics(project: string, names: readonly string[]): Promise<readonly (MetricRow | undefined)[]>
  /** Number of defined metrics, also without points. Of an unavailable server, the last known number is used. */
  countMetrics(project: string): Promise<number>
  /**
   * Deletes every generation of a name up to `deletion.generation`. Returns whether a metric was deleted. Later commits
   * to a deleted generation have the outcome `conflict`; the next definition of the name creates a new generation.
   * Idempotent: safe to replay after the store lost recent writes. `clearDeleted` removes the data.
   *
   * Other gateways learn of the deletion from a `conflict`, or at most a second after they reject a point for its type.
   */
  deleteMetric(deletion: MetricDeletion): Promise<boolean>
  /** Returns a page of a project's metrics, sorted by name (code units). Metrics without points are left out. */
  listMetrics(project: string, listing: MetricListing): Promise<MetricPage>
  /**
   * Returns at most `limit` series of a metric in the order they were registered, starting at position `cursor`.
   * Undefined if `cursor` lies beyond the end: the store lost recent writes, and the caller must clear its cache.
   */
  readSeries(
    partition: number,
    metricId: Id64,
    cursor: number,
    limit: number,
  ): Promise<readonly SeriesRow[] | undefined>
  /** Returns for each of these series whether it is registered, in the order of `seriesIds`. */
  hasSeries(partition: number, metricId: Id64, seriesIds: readonly Id64[]): Promise<readonly boolean[]>

  // Write path

  /**
   * Applies the commits of one round, at most one per partition. Returns their outcomes in the same order:
   * - `applied`: the number of the commit is the writer's watermark in the partition + 1.
   * - `known`: the number is smaller. The store has applied this commit before.
   * - `gap`: the number is greater. An earlier commit is missing.
   * - `conflict`: a metric has another type or a deleted generation, or an id belongs to another metric or series. The
   *   number stays unused.
   *
   * Only an `applied` commit changes the store.
   */
  append(commits: readonly Commit[]): Promise<readonly AppendOutcome[]>
  /** Returns `nowMs` of the part that created the marker; undefined if this partition has no such marker. */
  readMarker(partition: number, marker: Marker): Promise<number | undefined>
  /** Returns the writer's greatest applied number in each partition: 0 if none, or none within `WATERMARK_MS`. */
  readWatermarks(writer: string, partitions: readonly number[]): Promise<readonly number[]>

  // Index and blocks

  /** Returns one consistent snapshot of the list of blocks that may hold data of a metric. */
  readIndex(request: IndexRequest): Promise<IndexSnapshot>
  /** Returns the oldest inbox entries, in order: at most `entriesMax` and `bytesMax` bytes, but at least one entry. */
  readInbox(partition: number, bytesMax: number, entriesMax?: number): Promise<readonly InboxEntry[]>
  inboxSize(partition: number): Promise<{ readonly entries: number; readonly bytes: number }>
  /** Returns one part of each named block; undefined where the block does not exist or has no such part. */
  readBlocks(partition: number, names: readonly string[], part: BlockPart): Promise<readonly (Uint8Array | undefined)[]>

  // Fold and retention

  /** Stores blocks that no index lists yet. They expire after `UNCOMMITTED_BLOCK_MS`, and need not be durable. */
  writeBlocks(partition: number, blocks: readonly NamedBlock[], nowMs: number): Promise<void>
  /**
   * Replaces inbox and index entries by new ones. Returns false and changes nothing if an old entry is not listed, a
   * new block does not exist, or the window of a new entry has expired. Replaced blocks stay readable for
   * `UNLISTED_BLOCK_MS`. `touched` can move the expiry of a window only to a later time.
   */
  commitFold(fold: FoldCommit): Promise<boolean>
  /** Returns at most `max` windows with `expiresMs` ≤ `nowMs`: earliest first, then finer resolutions first. */
  dueWindows(partition: number, nowMs: number, max: number): Promise<readonly WindowKey[]>
  /**
   * Removes the index entries and set sketches of a window and records the window as an expired stretch. With
   * `dropExpired`, removes the expired stretches of finer resolutions instead of recording one. Returns false and
   * changes nothing if the window expires after `nowMs`.
   */
  expireWindow(expiry: WindowExpiry): Promise<boolean>
  /**
   * Removes data of deleted metrics, about `max` windows or series per call. Returns whether more can be removed now.
   * Data of a metric is removed only after the inbox entries from before its deletion are folded: otherwise a fold in
   * progress could write removed data again.
   */
  clearDeleted(partition: number, max: number, nowMs: number): Promise<boolean>
  /**
   * Takes or extends the lease for folding a partition, for `leaseMs` from now; 0 releases it. Returns whether the
   * caller holds the lease. The lease only avoids duplicate work: correctness does not depend on it.
   */
  takeLease(request: LeaseRequest): Promise<boolean>
  /** Removes expired data (`lifetimes.ts`): unlisted blocks, markers, receipts, watermarks. The work is bounded. */
  sweep(nowMs: number): Promise<void>

  // Sets

  /** Returns the number of distinct members of each union of set sketches. A missing sketch counts as empty. */
  countDistinct(partition: number, unions: readonly (readonly SetKey[])[]): Promise<readonly number[]>

  // Events

  /**
   * Returns a page of the events of a project, newest first (equal times: greater id first). The page has fewer than
   * `limit` events only at the end of the list, or if their JSON would exceed `bytesMax`. It is empty only at the end.
   */
  readEvents(request: EventRequest): Promise<readonly StoredEvent[]>
  /** Removes at most `max` events committed at or before `committedByMs`, earliest first. Returns their number. */
  expireEvents(partition: number, committedByMs: number, max: number): Promise<number>

  // Requests

  readReceipt(project: string, key: string, nowMs: number): Promise<Receipt | undefined>
  /**
   * Stores the receipt of an idempotency key unless the key has one. Returns the stored receipt. Receipts are kept for
   * `RECEIPT_MS`, within the store's `ReceiptBounds`; a call never removes the receipt that it writes.
   */
  writeReceipt(project: string, key: string, receipt: Receipt, nowMs: number): Promise<Receipt>
  /** Takes up to `permits` permits of a rate limit. Returns how many were granted and how many are left. */
  takePermits(request: PermitRequest): Promise<{ readonly granted: number; readonly left: number }>

  // API keys

  saveKey(key: KeyRow): Promise<void>
  readKey(hash: string): Promise<KeyRow | undefined>
  listKeys(): Promise<readonly KeyRow[]>

  // Life

  /**
   * Calls the listener with the metrics of each commit and deletion of any gateway. Delivery is not guaranteed. Returns
   * a function that removes the listener.
   */
  onCommit(listener: (metricIds: readonly Id64[]) => void): () => void
  /** Returns a text for the operator: why blocks that an index lists may be missing, and what to do. */
  explainMissingBlocks(): Promise<string>
  /** Calls the listener, which must not throw, when this process removed index entries. Returns how to unsubscribe. */
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
  /** Number of points accepted since the metric was defined. */
  readonly points: number
  /** Earliest time of a point; undefined without points. `lastSeenMs`: the latest. */
  readonly firstSeenMs: number | undefined
  readonly lastSeenMs: number | undefined
  /** Tag keys of all its series, sorted. */
  readonly tagKeys: readonly string[]
  readonly seriesCount: number
  /** Whether any point of this counter was a running total. */
  readonly cumulative: boolean
}

export interface MetricListing {
  /** Cursor: the page starts after this name. Undefined: the first page. */
  readonly after?: string
  /** Maximum number of names to examine. */
  readonly namesMax: number
  /** Selects names. The rows of other names are not read. Undefined: all names match. */
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
  /** Unique for all time; at most 64 characters of [A-Za-z0-9._-]. */
  readonly name: string
  readonly scalars: Uint8Array
  readonly sketches: Uint8Array | undefined
}

export interface Commit {
  readonly partition: number
  /** Random name of the writing process: 32 hexadecimal digits. */
  readonly writer: string
  /** Number of the commit: each writer counts from 1 in each partition. */
  readonly number: number
  /** A commit without parts is a fence: it only uses its number. */
  readonly parts: readonly CommitPart[]
}

/** A part of a commit, applied or skipped as a whole. A part with a marker is one request with an idempotency key. */
export interface CommitPart {
  /** If the partition has this marker, the part is skipped. Otherwise the part is applied and creates the marker. */
  readonly marker?: Marker
  readonly block?: NamedBlock
  readonly metrics: readonly MetricTouch[]
  readonly series: readonly SeriesTouch[]
  readonly members: readonly SetMembers[]
  readonly events: readonly StoredEvent[]
  readonly nowMs: number
}

/** Identifies a marker by project and idempotency key. A stored marker says that a request was applied. */
export interface Marker {
  readonly project: string
  readonly key: string
}

/** What a commit adds to the row of a metric. The definition is included, in case the store lost the row. */
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

/** Members of a set series in one bucket of the finest set resolution. The store adds them at every set resolution. */
export interface SetMembers {
  readonly metricId: Id64
  readonly seriesId: Id64
  readonly bucketMs: number
  readonly members: readonly string[]
}

export type AppendOutcome =
  /** `skipped`: indexes of the parts that were skipped because their marker existed. */
  | { readonly status: 'applied'; readonly skipped: readonly number[] }
  | { readonly status: 'known' }
  | { readonly status: 'gap'; readonly watermark: number }
  /** `metricIds`: the metrics in conflict. `deleted`: the ones of them whose generation was deleted. */
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

/** Buckets in a window. A window of 10 s buckets is an hour long, one of 1 m six hours, one of 1 h fifteen days. */
export const BUCKETS_PER_WINDOW = 360

export function windowWidthMs(resolutionMs: number): number {
  return resolutionMs * BUCKETS_PER_WINDOW
}

export function windowStart(resolutionMs: number, timeMs: number): number {
  const width = windowWidthMs(resolutionMs)
  return Math.floor(timeMs / width) * width
}

/**
 * Lists a block in a window. The blocks of a window with equal order and tier are a run. The blocks of a run hold
 * different rollups: one entry of the inbox may be folded in several steps, which add blocks of one order.
 */
export interface IndexEntry {
  readonly block: string
  readonly windowMs: number
  /** How often the rollups of the block were merged: a run of tier t holds the rollups of about 8^t folds. */
  readonly tier: number
  /**
   * Order of arrival: every point in a run of a smaller order arrived before every point in a run of a greater one. Of
   * two runs of one order, the points of the greater tier arrived first.
   */
  readonly order: number
  readonly seriesFrom: Id64
  readonly seriesTo: Id64
  readonly rollupCount: number
  readonly scalarBytes: number
  readonly sketchBytes: number
}

export interface InboxEntry {
  readonly block: string
  readonly scalarBytes: number
  readonly sketchBytes: number
  readonly arrivedMs: number
  /** Increases with arrival, unique in the partition. A run gets the order of the newest entry folded into it. */
  readonly order: number
}

export interface IndexRequest {
  readonly partition: number
  readonly metricId: Id64
  /** Windows that overlap these stretches are returned. A resolution may occur several times. */
  readonly timelines: readonly { readonly resolutionMs: number; readonly stretch: Stretch }[]
  /** Whether to return the inbox of the partition as well. */
  readonly inbox: boolean
  /** Whether the caller needs only the expired stretches: if true, the store may omit entries. */
  readonly expiredOnly?: boolean
}

export interface IndexSnapshot {
  readonly inbox: readonly InboxEntry[]
  /** One per timeline of the request, in the same order. */
  readonly timelines: readonly TimelineIndex[]
}

export interface TimelineIndex {
  readonly resolutionMs: number
  /** Sorted by window, then by arrival, then by series range (`index-order.ts`). */
  readonly entries: readonly IndexEntry[]
  /** Expired stretches that overlap the requested stretch, sorted, disjoint. Coarser resolutions hold their data. */
  readonly expired: readonly Stretch[]
}

export interface FoldCommit {
  readonly partition: number
  readonly inbox: readonly InboxEntry[]
  /** Inbox entries folded in part. `block` holds the rest and replaces the entry, at its order and time of arrival. */
  readonly left?: readonly { readonly entry: InboxEntry; readonly block: NamedBlock }[]
  readonly removed: readonly { readonly timeline: TimelineKey; readonly entry: IndexEntry }[]
  readonly added: readonly { readonly timeline: TimelineKey; readonly entry: IndexEntry }[]
  /**
   * Windows that received new points, each with the time until which the points are kept. A window that was only merged
   * is not included. A window that was not listed before always is.
   */
  readonly touched: readonly WindowTouch[]
  readonly nowMs: number
}

/** What a fold, merge or expiry removed from the index of a partition. */
export interface Unlisted {
  readonly partition: number
  /** Folded inbox entries, sorted by arrival. */
  readonly inbox: readonly InboxEntry[]
  /** Names of blocks that a merge replaced. */
  readonly replaced: readonly string[]
  readonly expired: readonly WindowKey[]
}

export interface LeaseRequest {
  readonly partition: number
  /** Name of the gateway that takes the lease. */
  readonly holder: string
  readonly leaseMs: number
  readonly nowMs: number
}

export interface WindowExpiry {
  readonly partition: number
  readonly window: WindowKey
  /** Undefined: records the window as expired. Else removes the expired stretches of these resolutions in it. */
  readonly dropExpired?: readonly number[]
  readonly nowMs: number
}

export interface SetKey {
  readonly metricId: Id64
  readonly seriesId: Id64
  readonly resolutionMs: number
  readonly bucketMs: number
}

/** Asks for permits of a rate limit. Each limit key has `limit` permits per time window of `windowMs`. */
export interface PermitRequest {
  readonly limitKey: string
  readonly permits: number
  readonly limit: number
  readonly windowMs: number
  readonly nowMs: number
}

/** The part of a store that holds API keys. */
export type KeyStore = Pick<Store, 'saveKey' | 'readKey' | 'listKeys' | 'close'>
