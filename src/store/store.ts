import type { Id64 } from '../model/id.ts'
import type { CanonicalTags } from '../model/series.ts'
import type { ApiKeyRow } from './api-keys.ts'
import type { MetricDefinition, MetricDeletion, MetricListing, MetricPage, MetricRow, SeriesRow } from './catalog.ts'
import type { EventRequest, StoredEvent } from './events.ts'
import type { Receipt } from './idempotency-keys.ts'

/**
 * The contract between the gateway and its store. `redis/` and `embedded/` implement it; the tests in
 * `test/store/contract/` check it for both.
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
   * Whether the store can lose its latest acknowledged writes: Redis can after a crash, if it syncs its disk once a
   * second, or after a failover. If true, writers retain acknowledged commits for a while and replay lost ones.
   */
  readonly mayLoseWrites: boolean
  /**
   * False while the embedded store has many changes that no checkpoint has written yet. Then large writes should wait
   * until it is true, so that small writes need not wait.
   */
  readonly hasRoomForLargeWrites: boolean
  /**
   * The partitions, in groups. All partitions of a group are on one server, so the writer sends their commits together,
   * which costs little more than one commit. Groups may be on different servers, so a commit of one group does not wait
   * for the commits of other groups.
   */
  readonly groups: readonly (readonly number[])[]

  // Catalog

  /**
   * Creates the metrics that do not exist. Returns the stored rows of all, in the order of `definitions`. If a metric
   * exists with another type, its row is returned unchanged; the caller rejects the points with `type_conflict`.
   */
  defineMetrics(definitions: readonly MetricDefinition[]): Promise<readonly MetricRow[]>
  readMetric(project: string, name: string): Promise<MetricRow | undefined>
  /** Returns the rows of several metrics, in the order of `names`; undefined where no metric has the name. */
  readMetrics(project: string, names: readonly string[]): Promise<readonly (MetricRow | undefined)[]>
  /**
   * Returns the number of defined metrics, including those without points. If a server is unavailable, the last known
   * number of its metrics is used.
   */
  countMetrics(project: string): Promise<number>
  /**
   * Deletes every generation of a name up to `deletion.generation`. Returns whether a metric was deleted. Later commits
   * to a deleted generation have the outcome `conflict`; the next definition of the name creates a new generation.
   * Idempotent: safe to replay after the store lost recent writes. `clearDeleted` removes the data.
   *
   * Other gateways still have the metric in their caches. They remove it when a commit returns `conflict`, or at most a
   * second after they have rejected a point because of its type.
   */
  deleteMetric(deletion: MetricDeletion): Promise<boolean>
  /** Returns a page of the metrics of a project that have points, sorted by the UTF-16 code units of their names. */
  listMetrics(project: string, listing: MetricListing): Promise<MetricPage>
  /**
   * Returns at most `limit` series of a metric in the order in which they were registered, from position `cursor` on.
   * Undefined if `cursor` is greater than the number of series. Then the store has lost writes, and the caller must
   * clear its cache of series.
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
   * Applies the commits of one round, at most one per partition. Each writer numbers its commits in each partition, and
   * the store remembers the last number (the watermark). Returns the outcomes of the commits in the same order:
   * - `applied`: the number of the commit is the watermark + 1. Only such a commit changes the store.
   * - `known`: the number is smaller. The store has applied this commit before.
   * - `gap`: the number is greater. The store does not have an earlier commit.
   * - `conflict`: a metric has another type or a deleted generation, or an id belongs to another metric or series. The
   *   writer can use the number again.
   */
  append(commits: readonly Commit[]): Promise<readonly AppendOutcome[]>
  /**
   * Returns the time at which a marker was stored: `nowMs` of the commit part that has the marker. Undefined if this
   * partition does not have the marker.
   */
  readMarker(partition: number, marker: IdempotencyMarker): Promise<number | undefined>
  /**
   * Returns the number of the writer's last applied commit in each of the partitions; 0 if there is none, or if `sweep`
   * has removed the number (after `WATERMARK_KEPT_MS`).
   */
  readWatermarks(writer: string, partitions: readonly number[]): Promise<readonly number[]>

  // Index and blocks

  /** Returns the entries of all blocks that may have data of a metric, as one consistent snapshot. */
  readIndex(request: IndexRequest): Promise<IndexSnapshot>
  /**
   * Returns the oldest inbox entries, oldest first: at most `entriesMax` entries of `bytesMax` bytes together. The
   * first entry is returned even if it is larger.
   */
  readInbox(partition: number, bytesMax: number, entriesMax?: number): Promise<readonly InboxEntry[]>
  inboxSize(partition: number): Promise<{ readonly entries: number; readonly bytes: number }>
  /** Returns the scalars or the sketches of each block, in the order of `names`; undefined where they do not exist. */
  readBlocks(
    partition: number,
    names: readonly string[],
    part: BlockStringName,
  ): Promise<readonly (Uint8Array | undefined)[]>

  // Fold and retention

  /**
   * Stores blocks before `commitFold` adds them to an index. If that does not happen, they expire after
   * `UNCOMMITTED_BLOCK_KEPT_MS`. They need not be durable when the call resolves.
   */
  writeBlocks(partition: number, blocks: readonly NamedBlock[], nowMs: number): Promise<void>
  /**
   * Replaces inbox and index entries by new entries, for a fold or a merge. Returns true if it has replaced them.
   * Returns false and changes nothing if an entry to replace does not exist, a new block does not exist, or the window
   * of a new entry has expired. The replaced blocks can be read for another `UNLISTED_BLOCK_KEPT_MS`. `touched` can
   * only make the expiry of a window later.
   */
  commitFold(fold: FoldCommit): Promise<boolean>
  /**
   * Returns at most `max` windows that have to be expired: those with `expiresMs` ≤ `nowMs`. They are sorted by
   * `expiresMs`, then finer resolutions first.
   */
  dueWindows(partition: number, nowMs: number, max: number): Promise<readonly WindowKey[]>
  /**
   * Removes the index entries and set sketches of a window, and records the window as an expired stretch of time. If
   * `dropExpiredAtResolutions` is given, no stretch is recorded, and the stretches of finer resolutions in the window
   * are removed. Returns false and changes nothing if the window expires after `nowMs`.
   */
  expireWindow(expiry: WindowExpiry): Promise<boolean>
  /**
   * Removes data of deleted metrics, about `max` windows or series per call. Returns whether more can be removed now.
   * The data of a metric is removed only when all inbox entries from before its deletion are folded. Otherwise a
   * running fold could write the data again.
   */
  clearDeleted(partition: number, max: number, nowMs: number): Promise<boolean>
  /**
   * Takes or extends the lease for folding a partition; it ends after `leaseMs`. A `leaseMs` of 0 releases the lease.
   * Returns false if another gateway has it. The lease only avoids duplicate work: correctness does not depend on it.
   */
  takeLease(request: LeaseRequest): Promise<boolean>
  /**
   * Removes expired blocks, markers, receipts and watermarks (`lifetimes.ts`). A call removes a bounded number; the
   * next call continues.
   */
  sweep(nowMs: number): Promise<void>

  // Sets

  /** Returns for each union of set sketches the number of distinct members. A sketch that does not exist is empty. */
  countDistinct(partition: number, unions: readonly (readonly SetKey[])[]): Promise<readonly number[]>

  // Events

  /**
   * Returns a page of the events of a project, newest first; at equal times, greater ids first. The page has fewer than
   * `limit` events only if no more follow, or if their JSON would exceed `bytesMax`. It is empty only if none follow.
   */
  readEvents(request: EventRequest): Promise<readonly StoredEvent[]>
  /** Removes at most `max` events committed at or before `committedByMs`, earliest first. Returns their number. */
  expireEvents(partition: number, committedByMs: number, max: number): Promise<number>

  // Requests

  readReceipt(project: string, key: string, nowMs: number): Promise<Receipt | undefined>
  /**
   * Stores the receipt of an idempotency key, unless the key has one already. Returns the stored receipt. A receipt is
   * kept for `RECEIPT_KEPT_MS`, or shorter if later receipts of the project exceed the store's `ReceiptBounds`.
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
   * Calls the listener with the metrics of each commit and deletion of any gateway. Delivery is not guaranteed. Returns
   * a function that removes the listener.
   */
  onCommit(listener: (metricIds: readonly Id64[]) => void): () => void
  /** Returns a text that tells the operator why stored blocks may be missing, and what to do. */
  explainMissingBlocks(): Promise<string>
  /**
   * Calls the listener after this process has removed index entries. The listener must not throw. Returns a function
   * that removes the listener.
   */
  onIndexRemoval(listener: (removals: IndexRemovals) => void): () => void
  /**
   * Rejects with `store_unavailable` if the store is unavailable, or was created again with other partitions or
   * resolutions.
   */
  ping(): Promise<void>
  close(): Promise<void>
}

export type BlockStringName = 'scalars' | 'sketches'

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
  readonly commitNumber: number
  /** Empty in a fence: such a commit only uses up its number, so that no delayed commit with this number is applied. */
  readonly parts: readonly CommitPart[]
}

/**
 * A part of a commit. It is applied or skipped as a whole. A part with a marker belongs to one request with an
 * idempotency key, which may have several parts.
 */
export interface CommitPart {
  /** If the partition already has this marker, the part is skipped. Otherwise applying the part stores the marker. */
  readonly marker?: IdempotencyMarker
  readonly block?: NamedBlock
  readonly metrics: readonly MetricUpdate[]
  readonly series: readonly SeriesRegistration[]
  readonly members: readonly SetMembers[]
  readonly events: readonly StoredEvent[]
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

/**
 * What a commit adds to the row of a metric. If the store has lost the row, the row is created again from `definition`.
 */
export interface MetricUpdate {
  readonly metricId: Id64
  readonly generation: number
  readonly definition: MetricDefinition
  readonly points: number
  /** Earliest time of the points. Like `lastMs`, the latest, it has no meaning if there are no points. */
  readonly firstMs: number
  readonly lastMs: number
  readonly cumulative: boolean
}

export interface SeriesRegistration {
  readonly metricId: Id64
  readonly seriesId: Id64
  readonly tags: CanonicalTags
}

/**
 * Members of a set, for one series and bucket. The bucket has the finest set resolution; the store adds the members at
 * all other set resolutions too.
 */
export interface SetMembers {
  readonly metricId: Id64
  readonly seriesId: Id64
  readonly bucketMs: number
  readonly members: readonly string[]
}

export type AppendOutcome =
  /** `skipped` has the indexes of the parts that were skipped because their markers existed. */
  | { readonly status: 'applied'; readonly skipped: readonly number[] }
  | { readonly status: 'known' }
  | { readonly status: 'gap'; readonly watermark: number }
  /** `metricIds` has all metrics in conflict, `deleted` those of them whose generation was deleted. */
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

export interface WindowRetention extends WindowKey {
  readonly expiresMs: number
}

/**
 * Says that a window of a timeline has data in a block. The entries of a window with the same order and tier are called
 * a run: they were written by one fold or merge. No rollup is in two blocks of a run.
 */
export interface IndexEntry {
  readonly block: string
  readonly windowMs: number
  /**
   * How often the rollups of the block were merged. A merge takes eight runs, so tier t has data of about 8^t folds.
   */
  readonly tier: number
  /**
   * Sorts runs by the arrival of their points: all points in a run with a smaller order arrived before all points in a
   * run with a greater order. If two runs have the same order, the points in the greater tier arrived first.
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
  /**
   * Unique in the partition, and greater than that of all earlier entries. The run that a fold writes gets the order of
   * the newest inbox entry in it.
   */
  readonly order: number
}

export interface IndexRequest {
  readonly partition: number
  readonly metricId: Id64
  /** The snapshot has all windows that overlap these stretches of time. A resolution may occur several times. */
  readonly timelines: readonly { readonly resolutionMs: number; readonly stretch: Stretch }[]
  /** Whether to return the inbox of the partition as well. */
  readonly withInbox: boolean
  /** If true, the caller needs only the expired stretches, and the store may return timelines without entries. */
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
  /**
   * The stretches of time, sorted and disjoint, whose windows have expired at this resolution. Only coarser resolutions
   * have data of them. Stretches outside of the requested time are left out.
   */
  readonly expired: readonly Stretch[]
}

/** What a fold or a merge changes in one partition. */
export interface FoldCommit {
  readonly partition: number
  /** The folded inbox entries, which are removed. Empty for a merge. */
  readonly inbox: readonly InboxEntry[]
  /** Inbox entries of which a part was folded. `block` has the rest and replaces the entry's block; the order stays. */
  readonly partlyFolded?: readonly { readonly entry: InboxEntry; readonly block: NamedBlock }[]
  /** The index entries of merged runs. Empty for a fold. */
  readonly removed: readonly { readonly timeline: TimelineKey; readonly entry: IndexEntry }[]
  /** The index entries of the new blocks. */
  readonly added: readonly { readonly timeline: TimelineKey; readonly entry: IndexEntry }[]
  /**
   * The windows that got new points, with the time until which the points are kept. Empty for a merge, which adds no
   * points. The window of each entry in `added` must be in this list, unless the store has index entries of the window
   * already.
   */
  readonly touched: readonly WindowRetention[]
  readonly nowMs: number
}

/** The entries that a fold, a merge or an expiry has removed from the index of a partition. */
export interface IndexRemovals {
  readonly partition: number
  /** The folded inbox entries, sorted by arrival. */
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

/**
 * A request for permits of a rate limit. Each `limitKey` has `limit` permits in each time window of `windowWidthMs`.
 */
export interface PermitRequest {
  readonly limitKey: string
  readonly permits: number
  readonly limit: number
  readonly windowWidthMs: number
  readonly nowMs: number
}

/** The part of a store that holds API keys. */
export type ApiKeyStore = Pick<Store, 'saveKey' | 'readKey' | 'listKeys' | 'close'>
