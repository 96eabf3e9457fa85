import { assert, GatewayError } from '../../model/errors.ts'
import type { Id64 } from '../../model/id.ts'
import { Listeners } from '../../model/listeners.ts'
import { Pacer } from '../../model/pacer.ts'
import type { ApiKeyRow } from '../api-keys.ts'
import { UNCOMMITTED_BLOCK_KEPT_MS } from '../bookkeeping-lifetimes.ts'
import type { MetricDefinition, MetricDeletion, MetricListing, MetricPage, MetricRow, SeriesRow } from '../catalog.ts'
import { type CommitListener, CommitListeners } from '../commit-listeners.ts'
import type { EventRequest, StoredEvent } from '../events.ts'
import { RECEIPT_BOUNDS, type Receipt, type ReceiptBounds } from '../idempotency-keys.ts'
import { removedByExpiry, removedByFold } from '../index-removals.ts'
import type {
  AppendOutcome,
  BlockStringName,
  Commit,
  FoldCommit,
  IdempotencyMarker,
  InboxEntry,
  IndexRemovals,
  IndexRequest,
  IndexSnapshot,
  LeaseRequest,
  NamedBlock,
  PermitRequest,
  SetKey,
  Store,
  WindowExpiry,
  WindowKey,
} from '../store.ts'
import type { StoreLog } from '../store-log.ts'
import { type StoreSettings, storeShapeOf } from '../store-shape.ts'
import { listKeys, readKey, saveKey } from './api-keys.ts'
import { appendCommit } from './append.ts'
import { readBlock } from './blocks.ts'
import { countMetrics, defineMetric, deleteMetric, hasSeries, listMetrics, readMetric, readSeries } from './catalog.ts'
import { checkDataFile, padDataFile } from './check-files.ts'
import { clearDeletedOneStep } from './deletion.ts'
import { Environment, type EnvironmentOptions } from './environment.ts'
import { expireEvents, readEvents } from './events.ts'
import { ensureFormat } from './format.ts'
import { HeldBlocks } from './held-blocks.ts'
import { Inboxes } from './inboxes.ts'
import { FORMAT_KEY, markerKey, partitionKey, watermarkKey } from './keys.ts'
import { Leases } from './leases.ts'
import { Lmdb } from './lmdb.ts'
import { type FolderLock, lockFolder } from './lock.ts'
import { Permits } from './permits.ts'
import { readReceipt, writeReceipt } from './receipts.ts'
import { decodePartition, decodeTime, decodeWatermark } from './rows.ts'
import { countDistinct } from './sets.ts'
import { sweepOneStep } from './sweep.ts'
import { commitFold, dueWindows, expireWindow, readTimeline, removeExpiredData } from './timelines.ts'
import { REMOVALS_PER_WRITE_MAX } from './write-set.ts'

/**
 * The store of a single gateway: an LMDB environment and a journal in one folder. Each read, or each step of a long
 * read, sees one snapshot and does not wait for writes. Writes run one after another (`environment.ts`).
 */

export interface EmbeddedStoreOptions extends StoreSettings {
  /** The folder of the store. It is created if it does not exist. */
  readonly folder: string
  readonly receiptBounds?: ReceiptBounds
  /** The clock. It gives commits without parts (fences) their time; other commits have the times of their parts. */
  readonly now?: () => number
  readonly environment?: EnvironmentOptions
  readonly log?: StoreLog
}

/**
 * Opens the store in a folder, or creates it. Throws an Error that names the folder or file if another gateway uses the
 * folder, if a file is missing or damaged, or if the store has an unknown format, or other partitions or resolutions.
 */
export async function openEmbeddedStore(options: EmbeddedStoreOptions): Promise<Store> {
  assert(options.partitions >= 1 && options.partitions <= 0xffff, 'partitions fit into two bytes')
  const lock = await lockFolder(options.folder)
  let lmdb: Lmdb | undefined
  try {
    padDataFile(options.folder, checkDataFile(options.folder))
    lmdb = new Lmdb(options.folder)
    await ensureFormat(lmdb, options.folder, storeShapeOf(options))
    const environment = await Environment.open(options.folder, lmdb, {
      ...options.environment,
      ...(options.log && { log: options.log }),
    })
    return new EmbeddedStore(environment, lock, options)
  } catch (error) {
    await lmdb?.close()
    await lock.release()
    if (!(error instanceof GatewayError)) throw error
    const { cause } = error
    const reason = cause instanceof Error ? cause.message : error.message
    throw new Error(`the store in ${options.folder} cannot be opened: ${reason}`, { cause })
  }
}

/**
 * Maximum number of steps in which one sweep removes expired rows, and also of those in which one call of
 * `#removeExpiredData` removes index entries and set sketches. They process at most 250,000 of each. The number is
 * limited because a gateway that stops waits for the sweep (`FoldLoop.stop`).
 */
const REMOVAL_STEPS_MAX = 2_500

class EmbeddedStore implements Store {
  readonly partitions: number
  readonly mayLoseWrites = false
  readonly groups: Store['groups']
  readonly #environment: Environment
  readonly #lock: FolderLock
  readonly #setResolutions: readonly number[]
  readonly #receiptBounds: ReceiptBounds
  readonly #now: () => number
  readonly #heldBlocks = new HeldBlocks()
  readonly #inboxes = new Inboxes()
  readonly #permits = new Permits()
  readonly #leases = new Leases()
  readonly #commitListeners = new CommitListeners()
  readonly #indexRemovalListeners = new Listeners<IndexRemovals>()
  #closing: Promise<void> | undefined

  constructor(environment: Environment, lock: FolderLock, options: EmbeddedStoreOptions) {
    this.partitions = options.partitions
    this.groups = [Array.from({ length: options.partitions }, (_, partition) => partition)]
    this.#environment = environment
    this.#lock = lock
    this.#setResolutions = options.setResolutions.map(({ bucketWidthMs }) => bucketWidthMs)
    this.#receiptBounds = options.receiptBounds ?? RECEIPT_BOUNDS
    this.#now = options.now ?? Date.now
  }

  get hasRoomForLargeWrites(): boolean {
    return this.#environment.hasRoomForLargeWrites
  }

  // Catalog

  async defineMetrics(definitions: readonly MetricDefinition[]): Promise<readonly MetricRow[]> {
    return this.#environment.write((writes) =>
      definitions.map((definition) => defineMetric(writes, definition, this.partitions)),
    )
  }

  readMetric(project: string, name: string): Promise<MetricRow | undefined> {
    return this.#environment.read((tables) => readMetric(tables, project, name))
  }

  readMetrics(project: string, names: readonly string[]): Promise<readonly (MetricRow | undefined)[]> {
    return this.#environment.read((tables) => names.map((name) => readMetric(tables, project, name)))
  }

  countMetrics(project: string): Promise<number> {
    return this.#environment.read((tables) => countMetrics(tables, project))
  }

  async deleteMetric(deletion: MetricDeletion): Promise<boolean> {
    const deleted = await this.#environment.write((writes) => deleteMetric(writes, deletion))
    if (deleted !== undefined) this.#commitListeners.notify([deleted.metricId])
    return deleted !== undefined
  }

  listMetrics(project: string, listing: MetricListing): Promise<MetricPage> {
    return this.#environment.read((tables) => listMetrics(tables, project, listing))
  }

  readSeries(
    partition: number,
    metricId: Id64,
    cursor: number,
    limit: number,
  ): Promise<readonly SeriesRow[] | undefined> {
    return this.#environment.read((tables) => readSeries(tables, partition, metricId, cursor, limit))
  }

  hasSeries(partition: number, metricId: Id64, seriesIds: readonly Id64[]): Promise<readonly boolean[]> {
    return this.#environment.read((tables) => hasSeries(tables, partition, metricId, seriesIds))
  }

  // Write path

  async append(commits: readonly Commit[]): Promise<readonly AppendOutcome[]> {
    const partitions = commits.map(({ partition }) => partition)
    assert(new Set(partitions).size === partitions.length, 'a round has at most one commit per partition')
    assert(
      partitions.every((partition) => partition < this.partitions),
      'a commit is for a partition that exists',
    )
    const context = { setResolutions: this.#setResolutions, fenceMs: this.#now() }
    const appended = await this.#environment.write((writes) =>
      commits.map((commit) => appendCommit(writes, this.#inboxes, commit, context)),
    )
    for (const { metricIds } of appended) this.#commitListeners.notify(metricIds)
    return appended.map(({ outcome }) => outcome)
  }

  readMarker(partition: number, { project, key }: IdempotencyMarker): Promise<number | undefined> {
    return this.#environment.read((tables) => {
      const bytes = tables.markers.get(markerKey(partition, project, key))
      return bytes && decodeTime(bytes)
    })
  }

  readWatermarks(writer: string, partitions: readonly number[]): Promise<readonly number[]> {
    return this.#environment.read((tables) =>
      partitions.map((partition) => {
        const bytes = tables.watermarks.get(watermarkKey(partition, writer))
        return bytes === undefined ? 0 : decodeWatermark(bytes).commitNumber
      }),
    )
  }

  // Index and blocks

  readIndex(request: IndexRequest): Promise<IndexSnapshot> {
    const { partition, metricId, expiredOnly = false, seriesRange } = request
    return this.#environment.read((tables) => ({
      inbox: request.withInbox ? [...this.#inboxes.read(tables, partition)] : [],
      timelines: request.timelines.map(({ resolutionMs, stretch }) =>
        readTimeline(tables, partition, metricId, resolutionMs, stretch, expiredOnly, seriesRange),
      ),
    }))
  }

  readInbox(
    partition: number,
    bytesMax: number,
    entriesMax = Number.POSITIVE_INFINITY,
  ): Promise<readonly InboxEntry[]> {
    return this.#environment.read((tables) => this.#inboxes.readFirst(tables, partition, bytesMax, entriesMax))
  }

  inboxSize(partition: number): Promise<{ readonly entries: number; readonly bytes: number }> {
    return this.#environment.read((tables) => {
      const row = decodePartition(tables.partitions.get(partitionKey(partition)))
      return { entries: row.inboxEntryCount, bytes: row.inboxBytes }
    })
  }

  readBlocks(
    partition: number,
    names: readonly string[],
    stringName: BlockStringName,
  ): Promise<readonly (Uint8Array | undefined)[]> {
    return this.#environment.read((tables) =>
      names.map((name) => readBlock(tables, this.#heldBlocks, partition, name, stringName)),
    )
  }

  // Fold and retention

  writeBlocks(partition: number, blocks: readonly NamedBlock[], nowMs: number): Promise<void> {
    return this.#environment.read(() => {
      for (const block of blocks) this.#heldBlocks.addUncommitted(partition, block, nowMs + UNCOMMITTED_BLOCK_KEPT_MS)
    })
  }

  async commitFold(fold: FoldCommit): Promise<boolean> {
    let isCommitted = false
    try {
      isCommitted = await this.#environment.write((writes) => commitFold(writes, this.#heldBlocks, this.#inboxes, fold))
    } finally {
      // The next attempt to fold writes new blocks. Without the removal, the blocks of each attempt that failed or was
      // refused would stay in memory until they expire.
      if (!isCommitted) {
        for (const block of addedBlockNames(fold)) this.#heldBlocks.removeUncommitted(fold.partition, block)
        // The next read reads the rows of the inbox. If the entries in memory differed from the rows, every further
        // fold would be refused.
        this.#inboxes.evict(fold.partition)
      }
    }
    if (isCommitted) this.#indexRemovalListeners.notify(removedByFold(fold))
    return isCommitted
  }

  dueWindows(partition: number, nowMs: number, max: number): Promise<readonly WindowKey[]> {
    return this.#environment.read((tables) => dueWindows(tables, partition, nowMs, max))
  }

  async expireWindow(expiry: WindowExpiry): Promise<boolean> {
    const { isExpired, hasDataLeft } = await this.#environment.write((writes) =>
      expireWindow(writes, this.#heldBlocks, this.#setResolutions, expiry),
    )
    if (isExpired) this.#indexRemovalListeners.notify(removedByExpiry(expiry))
    if (hasDataLeft) await this.#removeExpiredData(expiry.nowMs)
    return isExpired
  }

  takeLease(request: LeaseRequest): Promise<boolean> {
    return this.#environment.read(() => this.#leases.take(request))
  }

  async clearDeleted(partition: number, max: number, nowMs: number): Promise<boolean> {
    let remaining = max
    let previous: Uint8Array | undefined
    while (remaining > 0) {
      const stepMax = Math.min(REMOVALS_PER_WRITE_MAX, remaining)
      const { removedCount, lastMetric } = await this.#environment.write((writes) =>
        clearDeletedOneStep(writes, this.#heldBlocks, partition, stepMax, nowMs, previous),
      )
      remaining -= removedCount
      // The step has visited all metrics after `previous`, or as many as a step may visit.
      if (removedCount < stepMax && (previous = lastMetric) === undefined) return false
    }
    return true
  }

  async sweep(nowMs: number): Promise<void> {
    // Memory is freed first: this works even while the journal cannot be written.
    this.#heldBlocks.sweep(nowMs)
    this.#permits.sweep(nowMs)
    await this.#sweepTables(nowMs)
    await this.#removeExpiredData(nowMs)
  }

  /**
   * Removes expired rows in steps; other reads and writes run between the steps. The next sweep removes what is left
   * after `REMOVAL_STEPS_MAX` steps.
   */
  async #sweepTables(nowMs: number): Promise<void> {
    for (let steps = 0; steps < REMOVAL_STEPS_MAX; steps++) {
      if (!(await this.#environment.write((writes) => sweepOneStep(writes, nowMs)))) return
    }
  }

  /**
   * Removes the data of condemned windows in steps; other reads and writes run between the steps. The next call removes
   * what is left after `REMOVAL_STEPS_MAX` steps.
   */
  async #removeExpiredData(nowMs: number): Promise<void> {
    for (let steps = 0; steps < REMOVAL_STEPS_MAX; steps++) {
      const mayHaveMore = await this.#environment.write((writes) =>
        removeExpiredData(writes, this.#heldBlocks, this.#setResolutions, nowMs),
      )
      if (!mayHaveMore) return
    }
  }

  // Sets

  countDistinct(partition: number, unions: readonly (readonly SetKey[])[]): Promise<readonly number[]> {
    return this.#environment.readInSteps((tables) => countDistinct(tables, partition, unions), new Pacer())
  }

  // Events

  readEvents(request: EventRequest): Promise<readonly StoredEvent[]> {
    return this.#environment.read((tables) => readEvents(tables, request))
  }

  async expireEvents(partition: number, committedByMs: number, max: number): Promise<number> {
    let removedCount = 0
    let stepMax: number
    let removedByStep: number
    do {
      stepMax = Math.min(REMOVALS_PER_WRITE_MAX, max - removedCount)
      removedByStep = await this.#environment.write((writes) => expireEvents(writes, partition, committedByMs, stepMax))
      removedCount += removedByStep
    } while (removedByStep === stepMax && removedCount < max)
    return removedCount
  }

  // Requests

  readReceipt(project: string, key: string, nowMs: number): Promise<Receipt | undefined> {
    return this.#environment.read((tables) => readReceipt(tables, project, key, nowMs))
  }

  writeReceipt(project: string, key: string, receipt: Receipt, nowMs: number): Promise<Receipt> {
    return this.#environment.write((writes) => writeReceipt(writes, project, key, receipt, nowMs, this.#receiptBounds))
  }

  takePermits(request: PermitRequest): Promise<{ readonly granted: number; readonly left: number }> {
    return this.#environment.read(() => this.#permits.take(request))
  }

  // API keys

  saveKey(key: ApiKeyRow): Promise<void> {
    return this.#environment.writeShared((lmdb) => saveKey(lmdb, key))
  }

  readKey(hash: string): Promise<ApiKeyRow | undefined> {
    return this.#environment.read((tables) => readKey(tables, hash))
  }

  listKeys(): Promise<readonly ApiKeyRow[]> {
    return this.#environment.read(listKeys)
  }

  // Life

  onCommit(listener: CommitListener): () => void {
    return this.#commitListeners.add(listener)
  }

  async explainMissingBlocks(): Promise<string> {
    return 'the files of the store are damaged; restore them from a backup'
  }

  onIndexRemoval(listener: (removals: IndexRemovals) => void): () => void {
    return this.#indexRemovalListeners.add(listener)
  }

  ping(): Promise<void> {
    return this.#environment.read((tables) => {
      tables.meta.get(FORMAT_KEY)
    })
  }

  close(): Promise<void> {
    this.#closing ??= this.#environment.close().then(() => this.#lock.release())
    return this.#closing
  }
}

/** Returns the names of the blocks in the entries that a fold or a merge adds. */
function addedBlockNames({ added, partlyFolded = [] }: FoldCommit): string[] {
  return [...added.map(({ entry }) => entry.block), ...partlyFolded.map(({ block }) => block.name)]
}
