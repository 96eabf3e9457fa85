import type { Id64 } from '../model/id.ts'
import type { CanonicalTags } from '../model/series.ts'
import type { ApiKeyRow } from './api-keys.ts'
import type { MetricDefinition, MetricDeletion, MetricListing, MetricPage, MetricRow, SeriesRow } from './catalog.ts'
import type { EventRequest, StoredEvent } from './events.ts'
import type { Receipt } from './idempotency-keys.ts'
import type { Stretch } from './windows.ts'

/**
 * The contract between the gateway and its store. `redis/` and `embedded/` implement it; the tests in
 * `test/store/contract/` check it for both.
 *
 * - Atomic: each commit of `append`, each definition or deletion of a metric, `commitFold`, `expireWindow` (but not the
 *   removal of set sketches), `writeReceipt`. They happen completely or not at all, and no verb (method) sees a part of
 *   them, except that `countDistinct` may see the new members of a commit in some of its unions only. Other verbs that
 *   remove expired or deleted data may take several steps.
 * - When one of these or `saveKey` resolves, its effect is durable, unless `mayLoseWrites` is true.
 * - An unavailable store rejects with `GatewayError('store_unavailable')`. A rejected write may have been applied.
 *
 * `bookkeeping-lifetimes.ts` says how long a store keeps data that expires by itself.
 */
export interface Store {
  /** Number of partitions, fixed when the store was created. */
  readonly partitions: number
  /**
   * Whether the store can lose its latest acknowledged writes: Redis can after a crash, if it syncs its disk once a
   * second, or after a failover. If true, writers retain acknowledged commits for a while and replay lost ones.
   */
  readonly mayLoseWrites: boolean
  /**
   * False on the embedded store while a checkpoint has begun but not succeeded, and many changes have come since then.
   * Large writes should then wait until it is true, so that small writes need not wait. Always true on Redis.
   */
  readonly hasRoomForLargeWrites: boolean
  /**
   * All partitions, in groups. The partitions of a group are on one server, so the writer sends their commits together,
   * which costs little more than one commit. Groups may be on different servers, so a commit of one group does not wait
   * for the commits of other groups.
   */
  readonly groups: readonly (readonly number[])[]

  // Catalog

  /**
   * Creates the metrics that do not exist. Returns the stored rows of all, in the order of `definitions`. Does not
   * change existing rows; if a type differs, the caller rejects the points with `type_conflict`.
   */
  defineMetrics(definitions: readonly MetricDefinition[]): Promise<readonly MetricRow[]>
  readMetric(project: string, name: string): Promise<MetricRow | undefined>
  /** Returns the rows of several metrics, in the order of `names`; undefined where no metric has the name. */
  readMetrics(project: string, names: readonly string[]): Promise<readonly (MetricRow | undefined)[]>
  /**
   * Returns the number of defined metrics of a project, including those without points. If a node of a cluster does not
   * respond, the last number that this process has read from it is used, or 0.
   */
  countMetrics(project: string): Promise<number>
  /**
   * Deletes every generation of a name up to `deletion.generation`. Returns whether a metric was deleted. Later commits
   * to a deleted generation have the outcome `conflict`; the next definition of the name creates a new generation.
   * Idempotent: safe to replay after the store lost recent writes. `clearDeleted` removes the data.
   *
   * Other gateways may still have the metric in their caches. They drop it when a commit returns `conflict`, or when
   * they get a point of another type more than a second after they have read the row.
   */
  deleteMetric(deletion: MetricDeletion): Promise<boolean>
  /** Returns a page of the metrics of a project that have points, sorted by the UTF-16 code units of their names. */
  listMetrics(project: string, listing: MetricListing): Promise<MetricPage>
  /**
   * Returns at most `limit` series of a metric in the order in which they were registered, from position `cursor` on.
   * Undefined if `cursor` is greater than the number of series. Then the store has lost writes or removed the series of
   * a deleted metric, and the caller must clear its cache of series.
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
   * Applies commits, at most one per partition. Each writer numbers its commits in each partition, and the store
   * remembers the last number (the watermark). Returns the outcomes of the commits in the same order:
   * - `applied`: the number of the commit is the watermark + 1, without conflict. Only such a commit changes the store.
   * - `known`: the number is at most the watermark. The store has applied a commit with this number before.
   * - `gap`: the number is above the watermark + 1. The store lacks an earlier commit, or has removed the watermark.
   * - `conflict`: a metric has another type or generation or was deleted, an id belongs to another metric or series, or
   *   a series comes without its metric. The writer can use the number again.
   */
  append(commits: readonly Commit[]): Promise<readonly AppendOutcome[]>
  /**
   * Returns the time at which a marker was stored: `nowMs` of the commit part that has the marker. Undefined if this
   * partition does not have the marker. An expired marker is returned until `sweep` removes it.
   */
  readMarker(partition: number, marker: IdempotencyMarker): Promise<number | undefined>
  /**
   * Returns the number of the writer's last applied commit in each of the partitions; 0 if there is none, or if `sweep`
   * has removed the number (after `WATERMARK_KEPT_MS`).
   */
  readWatermarks(writer: string, partitions: readonly number[]): Promise<readonly number[]>

  // Index and blocks

  /** Returns the index entries, expired stretches and inbox that the request asks for, as one consistent snapshot. */
  readIndex(request: IndexRequest): Promise<IndexSnapshot>
  /**
   * Returns the oldest inbox entries, oldest first: at most `entriesMax`, whose blocks have at most `bytesMax` bytes
   * together. The first entry is returned even if its block is larger.
   */
  readInbox(partition: number, bytesMax: number, entriesMax?: number): Promise<readonly InboxEntry[]>
  /** Returns the number of inbox entries, and the bytes of their blocks. */
  inboxSize(partition: number): Promise<{ readonly entries: number; readonly bytes: number }>
  /** Returns the scalars or the sketches of each block, in the order of `names`; undefined where missing. */
  readBlocks(
    partition: number,
    names: readonly string[],
    stringName: BlockStringName,
  ): Promise<readonly (Uint8Array | undefined)[]>

  // Fold and retention

  /**
   * Stores blocks before `commitFold` adds them to an index or inbox. Blocks that are not added expire after
   * `UNCOMMITTED_BLOCK_KEPT_MS`; a store may drop them when `commitFold` rejects or returns false. Blocks need not be
   * durable when the call resolves.
   */
  writeBlocks(partition: number, blocks: readonly NamedBlock[], nowMs: number): Promise<void>
  /**
   * Replaces inbox and index entries by new entries, for a fold or a merge. Returns true if it has replaced them.
   * Returns false and changes nothing if an entry to replace does not exist, a new block does not exist, or the window
   * of a new entry has expired. Replaced blocks stay readable for a while: see `UNLISTED_BLOCK_KEPT_MS`.
   * `touched` can only make the expiry of a window later.
   */
  commitFold(fold: FoldCommit): Promise<boolean>
  /**
   * Returns at most `max` windows that have to be expired: those with `expiresMs` ≤ `nowMs`, the earliest first; at
   * equal times, finer resolutions first.
   */
  dueWindows(partition: number, nowMs: number, max: number): Promise<readonly WindowKey[]>
  /**
   * Removes the index entries and set sketches of a window, and records the window as an expired stretch of time. With
   * `dropExpiredAtResolutions`, no stretch stays recorded, and the stretches of these finer resolutions in the window
   * are removed. Returns false and changes nothing if the window expires after `nowMs`.
   */
  expireWindow(expiry: WindowExpiry): Promise<boolean>
  /**
   * Removes data of deleted metrics, about `max` windows or rows. Returns false if no more can be removed now. The data
   * of a metric is removed only after all inbox entries from before its deletion are folded. Otherwise a fold of these
   * entries could write data of the metric again.
   */
  clearDeleted(partition: number, max: number, nowMs: number): Promise<boolean>
  /**
   * Takes or extends the lease for folding a partition; it ends after `leaseMs`. A `leaseMs` of 0 releases the lease.
   * Returns false if another gateway has it. The lease only avoids duplicate work: correctness does not depend on it.
   */
  takeLease(request: LeaseRequest): Promise<boolean>
  /**
   * Removes expired data (`bookkeeping-lifetimes.ts`), and set sketches that are left from expired windows. A call
   * removes a bounded number; the next call continues.
   */
  sweep(nowMs: number): Promise<void>

  // Sets

  /** Returns for each union of set sketches the estimated number of members. A missing sketch has no members. */
  countDistinct(partition: number, unions: readonly (readonly SetKey[])[]): Promise<readonly number[]>

  // Events

  /**
   * Returns a page of the events of a project, newest first; at equal times, greater ids first. A page with fewer than
   * `limit` events need not be the last one, because `bytesMax` limits its JSON. It is empty only if none follow.
   */
  readEvents(request: EventRequest): Promise<readonly StoredEvent[]>
  /** Removes at most `max` events committed at or before `committedByMs`, oldest commit first. Returns their number. */
  expireEvents(partition: number, committedByMs: number, max: number): Promise<number>

  // Requests

  /** Returns the receipt of an idempotency key; undefined if there is none, or it has expired. */
  readReceipt(project: string, key: string, nowMs: number): Promise<Receipt | undefined>
  /**
   * Stores the receipt of an idempotency key, unless the key has one that has not expired. Returns the stored receipt.
   * It is kept for `RECEIPT_KEPT_MS`, or shorter if later receipts of the project exceed the store's `ReceiptBounds`.
   */
  writeReceipt(project: string, key: string, receipt: Receipt, nowMs: number): Promise<Receipt>
  /** Takes at most `permits` permits of a rate limit. Returns how many were granted, and how many are left. */
  takePermits(request: PermitRequest): Promise<{ readonly granted: number; readonly left: number }>

  // API keys

  saveKey(key: ApiKeyRow): Promise<void>
  readKey(hash: string): Promise<ApiKeyRow | undefined>
  listKeys(): Promise<readonly ApiKeyRow[]>

  // Life

  /**
   * Calls the listener with the ids of the metrics that a commit or deletion of any gateway has changed. Delivery is
   * not guaranteed. Returns a function that removes the listener.
   */
  onCommit(listener: (metricIds: readonly Id64[]) => void): () => void
  /** Returns a text that tells the operator why stored blocks may be missing, and what to do. */
  explainMissingBlocks(): Promise<string>
  /**
   * Calls the listener after `commitFold` or `expireWindow` of this process has succeeded. The listener must not throw.
   * Returns a function that removes the listener.
   */
  onIndexRemoval(listener: (removals: IndexRemovals) => void): () => void
  /**
   * Rejects with `store_unavailable` if the store is unavailable, or was created again in another format: by another
   * version, or with other partitions or resolutions.
   */
  ping(): Promise<void>
  close(): Promise<void>
}

export type BlockStringName = 'scalars' | 'sketches'

export interface NamedBlock {
  /** Never used again for another block; at most 64 characters of [A-Za-z0-9._-]. */
  readonly name: string
  readonly scalars: Uint8Array
  readonly sketches: Uint8Array | undefined
}

export interface Commit {
  readonly partition: number
  /** Random name of the writing process: 32 hexadecimal digits. The process may change its name in a partition. */
  readonly writer: string
  /** Number of the commit: each writer counts from 1 in each partition. */
  readonly commitNumber: number
  /** Empty in a fence: a commit that only uses up its number, so that no delayed commit with this number is applied. */
  readonly parts: readonly CommitPart[]
}

/**
 * A part of a commit. It is applied or skipped as a whole. A part with a marker belongs to one request with an
 * idempotency key, which may have several parts.
 */
export interface CommitPart {
  /** Stored with the part. A part is skipped if its marker is in an earlier part, or is stored and has not expired. */
  readonly marker?: IdempotencyMarker
  readonly block?: NamedBlock
  readonly metrics: readonly MetricUpdate[]
  readonly series: readonly SeriesRegistration[]
  readonly members: readonly SetMembers[]
  readonly events: readonly StoredEvent[]
  /** Counts as the time of the commit: when the writer began to encode the round, by its clock. */
  readonly nowMs: number
}

/**
 * A stored marker shows that a part of a request with an idempotency key was applied, so that a retry does not apply it
 * again. `key` is the idempotency key, for some parts with a suffix.
 */
export interface IdempotencyMarker {
  readonly project: string
  readonly key: string
}

/** What a commit adds to the row of a metric. If the store has lost the row, it is created again from `definition`. */
export interface MetricUpdate {
  readonly metricId: Id64
  readonly generation: number
  readonly definition: MetricDefinition
  /** Number of points. */
  readonly points: number
  /** Earliest and latest time of the points; without meaning if there are no points. */
  readonly firstMs: number
  readonly lastMs: number
  /** Whether any of the points of a counter is a running total. */
  readonly cumulative: boolean
}

export interface SeriesRegistration {
  readonly metricId: Id64
  readonly seriesId: Id64
  readonly tags: CanonicalTags
}

/**
 * Members of a set, for one series and bucket. The bucket has the finest set resolution. The store adds the members at
 * every set resolution at which the window of the bucket has not expired.
 */
export interface SetMembers {
  readonly metricId: Id64
  readonly seriesId: Id64
  readonly bucketMs: number
  readonly members: readonly string[]
}

export type AppendOutcome =
  /** `skipped` has the indexes of the parts that were skipped because of their markers. */
  | { readonly status: 'applied'; readonly skipped: readonly number[] }
  | { readonly status: 'known' }
  | { readonly status: 'gap'; readonly watermark: number }
  /** `metricIds` has all metrics in conflict, `deleted` those of them whose generation was deleted. */
  | { readonly status: 'conflict'; readonly metricIds: readonly Id64[]; readonly deleted: readonly Id64[] }

export interface TimelineKey {
  readonly metricId: Id64
  readonly resolutionMs: number
}

export interface WindowKey extends TimelineKey {
  /** Start of the window; its width is `windowWidthMs(resolutionMs)`. */
  readonly windowMs: number
}

export interface WindowRetention extends WindowKey {
  readonly expiresMs: number
}

/**
 * Says that a window of a timeline has data in a block. The entries of a window with the same order and tier are called
 * a run. They were written by one fold or merge, or by several folds of parts of one inbox entry. Only after such folds
 * may a rollup be in two blocks of a run.
 */
export interface IndexEntry {
  readonly block: string
  readonly windowMs: number
  /** How often the rollups were merged; 255 if to seal the window. A tier t below it has data of about 8^t folds. */
  readonly tier: number
  /**
   * Sorts runs by the arrival of their points: all points in a run with a smaller order arrived before all points in a
   * run with a greater order. If two runs have the same order, the points in the greater tier arrived first.
   */
  readonly order: number
  /** The first and the last series that have data in the block for this window. */
  readonly seriesFrom: Id64
  readonly seriesTo: Id64
  /** From the first to the last bucket that has data in the block. Entries of earlier versions do not have it. */
  readonly buckets?: Stretch | undefined
  readonly rollupCount: number
  readonly scalarBytes: number
  readonly sketchBytes: number
}

export interface InboxEntry {
  readonly block: string
  readonly scalarBytes: number
  readonly sketchBytes: number
  readonly arrivedMs: number
  /** Arrival number, ascending in the partition. A run of a fold has the order of the fold's newest inbox entry. */
  readonly order: number
}

export interface IndexRequest {
  readonly partition: number
  readonly metricId: Id64
  /** The snapshot has the entries of all windows that overlap these stretches. A resolution may occur several times. */
  readonly timelines: readonly { readonly resolutionMs: number; readonly stretch: Stretch }[]
  /** Whether to return the inbox of the partition as well. */
  readonly withInbox: boolean
  /** If true, the caller needs only the expired stretches, and the store may return timelines without entries. */
  readonly expiredOnly?: boolean
  /** If set, the store may leave out entries of blocks without series in this range of ids, both inclusive. */
  readonly seriesRange?: { readonly from: Id64; readonly to: Id64 }
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
  /**
   * The stretches of time, sorted and disjoint, whose windows have expired at this resolution. Only coarser resolutions
   * can have data of them. Stretches outside of the requested time are left out; the others are not cut to this time.
   */
  readonly expired: readonly Stretch[]
}

/** What a fold or a merge changes in one partition. */
export interface FoldCommit {
  readonly partition: number
  /** The inbox entries that are removed. Rollups that remain to be folded are in `partlyFolded`. Empty for a merge. */
  readonly inbox: readonly InboxEntry[]
  /** Blocks with the rollups that remain to be folded. Each block gets an inbox entry with the order of `entry`. */
  readonly partlyFolded?: readonly { readonly entry: InboxEntry; readonly block: NamedBlock }[]
  /** The index entries of the runs that were merged, which are removed. Empty for a fold. */
  readonly removed: readonly { readonly timeline: TimelineKey; readonly entry: IndexEntry }[]
  /** The index entries of the new blocks. */
  readonly added: readonly { readonly timeline: TimelineKey; readonly entry: IndexEntry }[]
  /**
   * The windows that got new points, with the time at which they expire. Empty for a merge, which adds no points. The
   * window of each entry in `added` must be in this list, unless the store has index entries of the window already.
   */
  readonly touched: readonly WindowRetention[]
  readonly nowMs: number
}

/** What a fold, a merge or an expiry has removed from the inbox and the index of a partition. */
export interface IndexRemovals {
  readonly partition: number
  /** The removed inbox entries, sorted by arrival (`FoldCommit.inbox`). */
  readonly inboxEntries: readonly InboxEntry[]
  /** Names of blocks that a merge replaced. */
  readonly replacedBlocks: readonly string[]
  readonly expiredWindows: readonly WindowKey[]
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
  /**
   * Undefined: the window is recorded as expired. Otherwise the expired stretches of these finer resolutions are
   * removed as far as they are in the window.
   */
  readonly dropExpiredAtResolutions?: readonly number[]
  readonly nowMs: number
}

export interface SetKey {
  readonly metricId: Id64
  readonly seriesId: Id64
  readonly resolutionMs: number
  readonly bucketMs: number
}

/** Asks for permits of a rate limit. Each `limitKey` has `limit` permits in each time window of `windowWidthMs`. */
export interface PermitRequest {
  readonly limitKey: string
  readonly permits: number
  readonly limit: number
  readonly windowWidthMs: number
  readonly nowMs: number
}

/** The part of a store that holds API keys. */
export type ApiKeyStore = Pick<Store, 'saveKey' | 'readKey' | 'listKeys' | 'close'>
