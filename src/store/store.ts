import type { Id64 } from '../model/id.ts'
import type { MetricType } from '../model/metric.ts'
import type { RateLimits } from '../model/rate.ts'
import type { CanonicalTags } from '../model/series.ts'

/**
 * Everything the gateway asks of a store, and what a store promises. Nothing outside a store's own folder knows its
 * engine; `test/store/contract/` holds each store to this page.
 *
 * - A resolved `append`, `commitFold`, `expireWindow`, `writeReceipt` or `saveKey` is durable and seen by every later read.
 * - Each verb is one atomic step: it happens whole or not at all, and two never interleave.
 * - A store that cannot answer rejects with `GatewayError('store_unavailable')`; nothing else means "try again".
 */
export interface Store {
  /** Number of partitions, fixed when the store was created. */
  readonly partitions: number
  /**
   * Whether it can go back in time and lose what it acknowledged last: a server that synchronises once a second, a replica
   * promoted in its place. Then writers keep what was acknowledged for a while and offer it again.
   */
  readonly mayForget: boolean
  /**
   * The partitions, in groups that are served together: what belongs to one group never waits for a server that another
   * group needs, and several commits of one group cost little more than one.
   */
  readonly groups: readonly (readonly number[])[]

  // Catalog

  /**
   * Makes metrics that do not exist and answers the rows that now stand, in the order asked. The first definition of a name
   * wins: when the answered type is another than the one asked for, the caller's points are a `type_conflict`.
   */
  defineMetrics(definitions: readonly MetricDefinition[]): Promise<readonly MetricRow[]>
  readMetric(project: string, name: string): Promise<MetricRow | undefined>
  /** The rows of these names, in the order asked. */
  readMetrics(project: string, names: readonly string[]): Promise<readonly (MetricRow | undefined)[]>
  /**
   * How many metrics of a project are defined, those without a point among them. A server of several that does not respond counts
   * with what it last said.
   */
  countMetrics(project: string): Promise<number>
  /**
   * Ends every generation of a name up to this one, for good: the metric that stands for it is gone at once, the next definition
   * makes a later generation, and whatever names one of those that ended is a `conflict`: a commit of a gateway that has not heard of
   * it, or one offered again. Told again it changes nothing, so that it may be told to a store that has forgotten it. Answers
   * whether a metric went. What is stored of it goes with `clearDeleted`.
   *
   * A gateway that has the metric in its caches learns it from the conflict: it defines the name anew and brings its points
   * there, or, where another type has the name by then, refuses them with `store_unavailable`, to be sent again. That the name
   * is free for a type that it was not, a gateway that has just refused such a point learns within a second.
   */
  deleteMetric(deletion: MetricDeletion): Promise<boolean>
  /** A page of the metrics of a project that have at least one point, sorted by name (code units). */
  listMetrics(project: string, listing: MetricListing): Promise<MetricPage>
  /**
   * The series of a metric in the order they were registered, from position `cursor` on. `cursor` beyond the end answers
   * `undefined`: the store has gone back in time and the caller forgets what it knew.
   */
  readSeries(
    partition: number,
    metricId: Id64,
    cursor: number,
    limit: number,
  ): Promise<readonly SeriesRow[] | undefined>
  /** Which of these series are registered, in the order asked. */
  hasSeries(partition: number, metricId: Id64, seriesIds: readonly Id64[]): Promise<readonly boolean[]>

  // Write path

  /**
   * Applies the commits of one round, at most one of a partition, and answers each in the order given. A commit
   * is applied when its number is the writer's watermark in that partition + 1; a smaller number is `known` (applied before)
   * and a greater one a `gap`: both change nothing. `conflict`: a metric exists with another type, an id names something
   * else, or a metric's generation has ended; nothing is changed, the number stays free.
   */
  append(commits: readonly Commit[]): Promise<readonly AppendOutcome[]>
  /** When the marker of a request in a partition was made: `nowMs` of the part that was applied. Undefined: there is none. */
  readMarker(partition: number, marker: Marker): Promise<number | undefined>
  /** Greatest applied number of the writer in each of the partitions, 0 when it has none. Kept 7 days after the last commit. */
  readWatermarks(writer: string, partitions: readonly number[]): Promise<readonly number[]>

  // Index and blocks

  /** One consistent view of what may hold data of the metric, taken atomically. */
  readIndex(request: IndexRequest): Promise<IndexSnapshot>
  /**
   * The oldest inbox entries of a partition in arrival order that have at most `bytesMax` together (at least one if any), at most
   * `entriesMax`.
   */
  readInbox(partition: number, bytesMax: number, entriesMax?: number): Promise<readonly InboxEntry[]>
  inboxSize(partition: number): Promise<{ readonly entries: number; readonly bytes: number }>
  /** One string of each named block, `undefined` where it is gone (a snapshot outlived it, or the part does not exist). */
  readBlocks(partition: number, names: readonly string[], part: BlockPart): Promise<readonly (Uint8Array | undefined)[]>

  // Fold and retention

  /** Stores blocks that no index lists yet; they vanish after 15 minutes unless a fold commits them. Need not be durable. */
  writeBlocks(partition: number, blocks: readonly NamedBlock[], nowMs: number): Promise<void>
  /**
   * False, changing nothing, unless every inbox entry and replaced block is still listed, every new block exists, and no
   * added window has expired. Else: the old entries go but for what is `left` of them, the new ones are listed and kept, windows in `touched` expire at
   * their `expiresMs` (or when they did before, if that is later), and replaced blocks stay readable for 60 s.
   */
  commitFold(fold: FoldCommit): Promise<boolean>
  /** Listed windows whose `expiresMs` is at or before `nowMs`, earliest first (finer resolutions first where equal), at most `max`. */
  dueWindows(partition: number, nowMs: number, max: number): Promise<readonly WindowKey[]>
  /**
   * Removes every index entry of a window and its set sketches unless its `expiresMs` is after `nowMs` by now (then
   * false, nothing changed). The stretch is remembered as expired, or, with `forget`, the metric's expired stretches of the resolutions
   * named there are forgotten within it: nothing coarser knows of it any more.
   */
  expireWindow(expiry: WindowExpiry): Promise<boolean>
  /**
   * Lets go of what is left of deleted metrics, at most some `max` windows or series of it: their windows, set sketches and series. A metric
   * is left alone until the inbox entries that were there when it was deleted are folded, as if it still lived: then no
   * fold or merge under way can bring anything of it back. Answers whether there is more to do now.
   */
  clearDeleted(partition: number, max: number, nowMs: number): Promise<boolean>
  /**
   * Takes the lease of a partition's fold, or prolongs it, and answers whether the holder has it now: it lasts `leaseMs` from now on,
   * and 0 gives it up. Only to save work; nothing else asks who holds it.
   */
  takeLease(request: LeaseRequest): Promise<boolean>
  /** Lets go of blocks whose time is over: uncommitted, replaced, expired; markers, receipts and watermarks likewise. Bounded work. */
  sweep(nowMs: number): Promise<void>

  // Sets

  /** Distinct members of each union of set sketches. Keys that do not exist count as empty. */
  countDistinct(partition: number, unions: readonly (readonly SetKey[])[]): Promise<readonly number[]>

  // Events

  /**
   * Events of a project in [fromMs, toMs], newest first (equal times: greater id first), strictly after the cursor. None are left
   * out; fewer than `limit` only where there are no more, or where more than `bytesMax` of JSON would have to be read (at least one
   * if any: an empty answer says that there is none).
   */
  readEvents(request: EventRequest): Promise<readonly StoredEvent[]>
  /** Lets go of events of a partition's commits at or before `committedByMs`, the earliest first, at most `max`; answers how many went. */
  expireEvents(partition: number, committedByMs: number, max: number): Promise<number>

  // Requests

  readReceipt(project: string, key: string, nowMs: number): Promise<Receipt | undefined>
  /**
   * The first receipt of a key wins; answers the one that stands. Kept 24 h, at most `receiptsMax` and `receiptsBytesMax` of a
   * project (oldest go first; the one being written stays).
   */
  writeReceipt(project: string, key: string, receipt: Receipt, nowMs: number): Promise<Receipt>
  /** Up to `permits` of `limit` permits of a window of time; answers how many were granted and how many are left. */
  takePermits(request: PermitRequest): Promise<{ readonly granted: number; readonly left: number }>

  // API keys

  saveKey(key: KeyRow): Promise<void>
  readKey(hash: string): Promise<KeyRow | undefined>
  listKeys(): Promise<readonly KeyRow[]>

  // Life

  /** Calls back after commits and deletions of any gateway with the metrics they touched; returns the function that ends it. */
  onCommit(listener: (partition: number, metricIds: readonly Id64[]) => void): () => void
  /** Why blocks that an index lists may be missing, and what to do, for whoever runs the store. */
  explainLoss(): Promise<string>
  /**
   * Calls back when a fold, a merge or an expiry of this process has taken something out of the index; returns the function
   * that ends it. The listener must not throw.
   */
  onUnlisted(listener: (unlisted: Unlisted) => void): () => void
  /** Resolves when the store answers and is what it was opened as; rejects with `store_unavailable`, which says what is wrong. */
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
  /** Least and greatest time of a point; undefined while there is none. */
  readonly firstSeenMs: number | undefined
  readonly lastSeenMs: number | undefined
  /** Sorted. */
  readonly tagKeys: readonly string[]
  readonly seriesCount: number
  /** A counter that has ever been sent a running total. */
  readonly cumulative: boolean
}

export interface MetricListing {
  /** Only names after this one. */
  readonly after?: string
  /** How many names are looked at, at most. */
  readonly namesMax: number
  /** Only these names; the rows of others are not read. */
  readonly matches?: (name: string) => boolean
}

export interface MetricPage {
  /** May be empty although there is more. */
  readonly metrics: readonly MetricRow[]
  /** The last name that was looked at: the next page comes after it. Undefined: there is none. */
  readonly next: string | undefined
}

/** A page ends early when its metrics have so many tag keys, in characters. */
export const LISTED_CHARS_MAX = 1 << 20

/** What a metric counts for in a page. */
export function listedChars({ tagKeys }: MetricRow): number {
  return tagKeys.reduce((sum, key) => sum + key.length, 0)
}

export interface SeriesRow {
  readonly seriesId: Id64
  readonly tags: CanonicalTags
}

export type BlockPart = 'scalars' | 'sketches'

export interface NamedBlock {
  /** Unique for ever; at most 64 characters of [A-Za-z0-9._-]. */
  readonly name: string
  readonly scalars: Uint8Array
  readonly sketches: Uint8Array | undefined
}

export interface Commit {
  readonly partition: number
  /** 32 hexadecimal digits, drawn at random by the writer. */
  readonly writer: string
  /** Counts from 1 in each partition. */
  readonly number: number
  /** No parts: a fence, which only takes the number. */
  readonly parts: readonly CommitPart[]
}

/** What travels together. A part with a marker is one request with an idempotency key. */
export interface CommitPart {
  /** The part is skipped whole if its (project, key) marker exists in the partition; else the marker is made, for 24 h. */
  readonly marker?: Marker
  readonly block?: NamedBlock
  readonly metrics: readonly MetricTouch[]
  readonly series: readonly SeriesTouch[]
  readonly members: readonly SetMembers[]
  readonly events: readonly StoredEvent[]
  readonly nowMs: number
}

/** Names a request within its project. */
export interface Marker {
  readonly project: string
  readonly key: string
}

/** What a commit says of a metric: its identity (made if the store forgot it) and what to add to its row. */
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
  /** `skipped`: indexes of the parts whose marker existed. */
  | { readonly status: 'applied'; readonly skipped: readonly number[] }
  | { readonly status: 'known' }
  | { readonly status: 'gap'; readonly watermark: number }
  /** `deleted`: those of the metrics whose generation has ended. */
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
 * A block listed in a window. Blocks of one order and tier are a run; runs are ordered by arrival. Those of a run hold different rollups:
 * what lies in the inbox may be folded in several steps, which add blocks of one order.
 */
export interface IndexEntry {
  readonly block: string
  readonly windowMs: number
  /** How often its rollups were merged: a run of tier t holds about 8^t folds. */
  readonly tier: number
  /**
   * Arrival order of runs: every point in a run of a smaller order arrived before every point of a greater one; of equal orders in the
   * run of the greater tier first.
   */
  readonly order: number
  readonly seriesFrom: Id64
  readonly seriesTo: Id64
  readonly rollups: number
  readonly scalarBytes: number
  readonly sketchBytes: number
}

/** By window, then in the order of arrival, then by series range. */
export function compareIndexEntries(a: IndexEntry, b: IndexEntry): number {
  return (
    a.windowMs - b.windowMs ||
    a.order - b.order ||
    b.tier - a.tier ||
    a.seriesFrom.hi - b.seriesFrom.hi ||
    a.seriesFrom.lo - b.seriesFrom.lo ||
    (a.block < b.block ? -1 : 1)
  )
}

export interface InboxEntry {
  readonly block: string
  readonly scalarBytes: number
  readonly sketchBytes: number
  readonly arrivedMs: number
  /** Grows by arrival, unique in the partition. A run takes the order of the newest inbox entry in it. */
  readonly order: number
}

export interface IndexRequest {
  readonly partition: number
  readonly metricId: Id64
  /** Windows that overlap these stretches are listed. A resolution may be asked about several stretches. */
  readonly timelines: readonly { readonly resolutionMs: number; readonly stretch: Stretch }[]
  /** Whether the inbox of the partition is wanted too. */
  readonly inbox: boolean
  /** The caller looks at expired stretches alone: entries may be left out. */
  readonly expiredOnly?: boolean
}

export interface IndexSnapshot {
  readonly inbox: readonly InboxEntry[]
  /** In the order of the request. */
  readonly timelines: readonly TimelineIndex[]
}

export interface TimelineIndex {
  readonly resolutionMs: number
  /** In the order of `compareIndexEntries`. */
  readonly entries: readonly IndexEntry[]
  /** Where this resolution had data that expired while a coarser one keeps it: sorted, disjoint, those that overlap the stretch. */
  readonly expired: readonly Stretch[]
}

export interface FoldCommit {
  readonly partition: number
  readonly inbox: readonly InboxEntry[]
  /** What the fold leaves of them: a new block in the place of one of these entries, of its order and time of arrival. */
  readonly left?: readonly { readonly entry: InboxEntry; readonly block: NamedBlock }[]
  readonly removed: readonly { readonly timeline: TimelineKey; readonly entry: IndexEntry }[]
  readonly added: readonly { readonly timeline: TimelineKey; readonly entry: IndexEntry }[]
  /**
   * Windows that received new points, as opposed to being merely rewritten, and until when that keeps them. A window that
   * was not listed before is among them.
   */
  readonly touched: readonly WindowTouch[]
  readonly nowMs: number
}

/** What the index of a partition lists no more. */
export interface Unlisted {
  readonly partition: number
  /** In order of arrival. */
  readonly inbox: readonly InboxEntry[]
  /** Names of blocks that a merge replaced. */
  readonly replaced: readonly string[]
  readonly expired: readonly WindowKey[]
}

export function unlistedBy({ partition, inbox, removed }: FoldCommit): Unlisted {
  return { partition, inbox, replaced: removed.map(({ entry }) => entry.block), expired: [] }
}

export interface LeaseRequest {
  readonly partition: number
  /** Names who asks. */
  readonly holder: string
  readonly leaseMs: number
  readonly nowMs: number
}

export interface WindowExpiry {
  readonly partition: number
  readonly window: WindowKey
  /** Resolutions whose expired stretches are forgotten within this window; undefined: remember this one instead. */
  readonly forget?: readonly number[]
  readonly nowMs: number
}

export interface SetKey {
  readonly metricId: Id64
  readonly seriesId: Id64
  readonly resolutionMs: number
  readonly bucketMs: number
}

export interface StoredEvent {
  readonly project: string
  readonly id: string
  readonly timeMs: number
  /** The event as JSON, opaque to the store. */
  readonly json: string
}

export interface EventRequest {
  readonly project: string
  readonly fromMs: number
  readonly toMs: number
  readonly after?: EventPlace
  readonly limit: number
  readonly bytesMax: number
}

/** Where an event stands in its list. */
export interface EventPlace {
  readonly timeMs: number
  readonly id: string
}

export interface Receipt {
  /** SHA-256 of route and body, in hexadecimal. */
  readonly requestHash: string
  readonly status: number
  readonly body: string
}

/** What a store keeps of a project's receipts. */
export interface ReceiptBounds {
  readonly receiptsMax: number
  /** As they are stored. */
  readonly receiptsBytesMax: number
}

/** A receipt has a few hundred bytes, one of a batch full of errors some 150,000. */
export const RECEIPT_BOUNDS: ReceiptBounds = { receiptsMax: 10_000, receiptsBytesMax: 33_554_432 }

export interface PermitRequest {
  readonly bucket: string
  readonly permits: number
  readonly limit: number
  readonly windowMs: number
  readonly nowMs: number
}

/** What managing API keys needs of a store. */
export type KeyStore = Pick<Store, 'saveKey' | 'readKey' | 'listKeys' | 'close'>

export const SCOPES = ['ingest', 'query', 'admin'] as const
export type Scope = (typeof SCOPES)[number]

export interface KeyRow {
  /** SHA-256 of the key, in hexadecimal; the key itself is kept nowhere. */
  readonly hash: string
  readonly project: string
  readonly scopes: readonly Scope[]
  readonly label: string
  readonly createdMs: number
  /** From then on it opens nothing. */
  readonly expiresMs?: number
  /** Rate limits of its own. */
  readonly limits?: Partial<RateLimits>
  readonly revokedMs?: number
}
