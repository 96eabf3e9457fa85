import { randomBytes } from 'node:crypto'
import { assert, GatewayError } from '../../model/errors.ts'
import type { Id64 } from '../../model/id.ts'
import { Listeners } from '../../model/listeners.ts'
import { partitionOf } from '../../model/metric.ts'
import { within } from '../../model/within.ts'
import type { KeyRow } from '../api-keys.ts'
import type { CommitListener } from '../commit-listeners.ts'
import type { EventRequest, StoredEvent } from '../events.ts'
import { RECEIPT_BOUNDS, type Receipt, type ReceiptBounds } from '../receipts.ts'
import { type StoreSettings, shapeOf } from '../shape.ts'
import type {
  AppendOutcome,
  BlockPart,
  Commit,
  FoldCommit,
  InboxEntry,
  IndexRequest,
  IndexSnapshot,
  LeaseRequest,
  Marker,
  MetricDefinition,
  MetricDeletion,
  MetricListing,
  MetricPage,
  MetricRow,
  NamedBlock,
  PermitRequest,
  SeriesRow,
  SetKey,
  Store,
  Unlisted,
  WindowExpiry,
  WindowKey,
} from '../store.ts'
import { unlistedByExpiry, unlistedByFold } from '../unlisted.ts'
import { listKeys, readKey, saveKey } from './api-keys.ts'
import { append, touchedMetrics } from './append.ts'
import { defineMetrics, deleteMetric, hasSeries, listMetrics, readMetric, readMetrics, readSeries } from './catalog.ts'
import { type Address, asGatewayError, type Connections, connect, type Timeouts } from './connection.ts'
import { clearDeleted } from './deletion.ts'
import { Engine } from './engine.ts'
import { expireEvents, readEvents } from './events.ts'
import { ensureFormat, FormatError } from './format.ts'
import { digestOf, isPrefix } from './keys.ts'
import { MetricCounts } from './metric-counts.ts'
import { Notifications } from './notifications.ts'
import { takePermits } from './permits.ts'
import { readReceipt, writeReceipt } from './receipts.ts'
import { checkServers, explainLoss, type StoreLog } from './server-checks.ts'
import { countDistinct } from './sets.ts'
import { sweepPartition } from './sweep.ts'
import {
  commitFold,
  dueWindows,
  expireWindow,
  inboxSize,
  readBlocks,
  readInbox,
  readIndex,
  takeLease,
  writeBlocks,
} from './timelines.ts'

/**
 * The store of many gateways: one Redis (or Valkey) server, or a Redis Cluster. Every atomic step is a Lua script
 * (`lua/`), which the server runs alone. All keys of a partition are in one slot, so that a script never needs two
 * nodes.
 */

export interface RedisStoreOptions extends StoreSettings, Address, Timeouts {
  /** Begins every key, so that several stores may share a server. */
  readonly prefix: string
  readonly receiptBounds?: ReceiptBounds
  /** Warns of server settings that can cost data. */
  readonly log?: StoreLog
  /** The clock for what has no time of its own: a commit without parts. */
  readonly now?: () => number
}

/** How long closing waits for running verbs. */
const CLOSE_MS_MAX = 10_000

/**
 * Opens the store on a server or a cluster, or creates it. Throws an Error with the reason when the server cannot be
 * used or is too old, or when the store has another shape or format.
 */
export async function openRedisStore(options: RedisStoreOptions): Promise<Store> {
  assert(isPrefix(options.prefix), 'a prefix has 1 to 64 letters, digits and any of . _ : -')
  const connections = await connect(options, options)
  try {
    await checkServers(connections, options.log)
    await ensureFormat(connections, options.prefix, shapeOf(options))
    return new RedisStore(connections, options)
  } catch (error) {
    connections.close()
    throw error
  }
}

/** How often to check whether the store was emptied (FLUSHALL) while the gateway runs. */
const FORMAT_CHECK_MS = 1_000

class RedisStore implements Store {
  readonly partitions: number
  readonly mayLoseWrites = true
  readonly groups: Store['groups']
  readonly #connections: Connections
  readonly #engine: Engine
  readonly #setResolutions: readonly number[]
  /** All resolutions, those of sets included, without duplicates. */
  readonly #allResolutions: readonly number[]
  readonly #receiptBounds: ReceiptBounds
  readonly #now: () => number
  readonly #sender = randomBytes(8).toString('hex')
  readonly #notifications: Notifications
  readonly #unlistedListeners = new Listeners<Unlisted>()
  readonly #metricCounts = new MetricCounts()
  readonly #running = new Set<Promise<unknown>>()
  readonly #options: RedisStoreOptions
  readonly #formatChecks: NodeJS.Timeout
  /** Set while the store has another shape because it was emptied and created again: nothing is served. */
  #refusal: GatewayError | undefined
  #closing: Promise<void> | undefined

  constructor(connections: Connections, options: RedisStoreOptions) {
    this.#options = options
    // A check that fails is repeated by the next one.
    this.#formatChecks = setInterval(() => void this.#checkFormat().catch(() => undefined), FORMAT_CHECK_MS).unref()
    this.partitions = options.partitions
    this.#connections = connections
    this.#engine = new Engine(connections, options.prefix, options.partitions)
    // On a cluster a slot may move to another node at any time, so each partition is a group of its own.
    const all = this.#engine.all()
    this.groups = connections.isCluster ? all.map((partition) => [partition]) : [all]
    this.#setResolutions = options.setResolutions.map(({ stepMs }) => stepMs)
    this.#allResolutions = [...new Set([...options.resolutions.map(({ stepMs }) => stepMs), ...this.#setResolutions])]
    this.#receiptBounds = options.receiptBounds ?? RECEIPT_BOUNDS
    this.#now = options.now ?? Date.now
    this.#notifications = new Notifications(this.#engine, this.#sender)
  }

  // Catalog

  defineMetrics(definitions: readonly MetricDefinition[]): Promise<readonly MetricRow[]> {
    return this.#run((engine) => defineMetrics(engine, definitions))
  }

  readMetric(project: string, name: string): Promise<MetricRow | undefined> {
    return this.#run((engine) => readMetric(engine, project, name))
  }

  readMetrics(project: string, names: readonly string[]): Promise<readonly (MetricRow | undefined)[]> {
    return this.#run((engine) => readMetrics(engine, project, names))
  }

  countMetrics(project: string): Promise<number> {
    return this.#run((engine) => this.#metricCounts.count(engine, project))
  }

  deleteMetric(deletion: MetricDeletion): Promise<boolean> {
    return this.#run(async (engine) => {
      const deleted = await deleteMetric(engine, deletion, this.#sender)
      const { project, name } = deletion
      if (deleted !== undefined) this.#notifications.notify(partitionOf(project, name, this.partitions), [deleted])
      return deleted !== undefined
    })
  }

  listMetrics(project: string, listing: MetricListing): Promise<MetricPage> {
    return this.#run((engine) => listMetrics(engine, project, listing))
  }

  readSeries(
    partition: number,
    metricId: Id64,
    cursor: number,
    limit: number,
  ): Promise<readonly SeriesRow[] | undefined> {
    return this.#run((engine) => readSeries(engine, partition, metricId, cursor, limit))
  }

  hasSeries(partition: number, metricId: Id64, seriesIds: readonly Id64[]): Promise<readonly boolean[]> {
    return this.#run((engine) => hasSeries(engine, partition, metricId, seriesIds))
  }

  // Write path

  append(commits: readonly Commit[]): Promise<readonly AppendOutcome[]> {
    const partitions = commits.map(({ partition }) => partition)
    assert(new Set(partitions).size === partitions.length, 'a round has at most one commit per partition')
    return this.#run(async (engine) => {
      const context = { setResolutions: this.#setResolutions, sender: this.#sender, nowMs: this.#now() }
      const outcomes = await append(engine, commits, context)
      if (this.#notifications.hasListeners) {
        for (const [i, commit] of commits.entries()) {
          this.#notifications.notify(commit.partition, touchedMetrics(commit, outcomes[i]!))
        }
      }
      return outcomes
    })
  }

  readMarker(partition: number, { project, key }: Marker): Promise<number | undefined> {
    return this.#run(async (engine) => {
      const madeMs = await engine.call('zscore', engine.keys(partition).markers, digestOf(project, key))
      return madeMs === null ? undefined : Number(madeMs)
    })
  }

  readWatermarks(writer: string, partitions: readonly number[]): Promise<readonly number[]> {
    return this.#run((engine) =>
      Promise.all(
        partitions.map(async (partition) =>
          Number(await engine.call('hget', engine.keys(partition).watermarks, writer)),
        ),
      ),
    )
  }

  // Index and blocks

  readIndex(request: IndexRequest): Promise<IndexSnapshot> {
    return this.#run((engine) => readIndex(engine, request))
  }

  readInbox(partition: number, bytesMax: number, entriesMax?: number): Promise<readonly InboxEntry[]> {
    return this.#run((engine) => readInbox(engine, partition, bytesMax, entriesMax))
  }

  inboxSize(partition: number): Promise<{ readonly entries: number; readonly bytes: number }> {
    return this.#run((engine) => inboxSize(engine, partition))
  }

  readBlocks(
    partition: number,
    names: readonly string[],
    part: BlockPart,
  ): Promise<readonly (Uint8Array | undefined)[]> {
    return this.#run((engine) => readBlocks(engine, partition, names, part))
  }

  // Fold and retention

  writeBlocks(partition: number, blocks: readonly NamedBlock[], nowMs: number): Promise<void> {
    return this.#run((engine) => writeBlocks(engine, partition, blocks, nowMs))
  }

  async commitFold(fold: FoldCommit): Promise<boolean> {
    const isDone = await this.#run((engine) => commitFold(engine, fold))
    if (isDone) this.#unlistedListeners.notify(unlistedByFold(fold))
    return isDone
  }

  dueWindows(partition: number, nowMs: number, max: number): Promise<readonly WindowKey[]> {
    return this.#run((engine) => dueWindows(engine, partition, nowMs, max))
  }

  async expireWindow(expiry: WindowExpiry): Promise<boolean> {
    const isDone = await this.#run((engine) => expireWindow(engine, expiry))
    if (isDone) this.#unlistedListeners.notify(unlistedByExpiry(expiry))
    return isDone
  }

  takeLease(request: LeaseRequest): Promise<boolean> {
    return this.#run((engine) => takeLease(engine, request))
  }

  clearDeleted(partition: number, max: number, nowMs: number): Promise<boolean> {
    return this.#run((engine) => clearDeleted(engine, partition, this.#allResolutions, max, nowMs))
  }

  sweep(nowMs: number): Promise<void> {
    return this.#run(async (engine) => {
      // A partition that is unavailable does not stop the sweep of the others.
      const sweeps = await Promise.allSettled(engine.all().map((partition) => sweepPartition(engine, partition, nowMs)))
      for (const sweep of sweeps) if (sweep.status === 'rejected') throw sweep.reason
    })
  }

  // Sets

  countDistinct(partition: number, unions: readonly (readonly SetKey[])[]): Promise<readonly number[]> {
    return this.#run((engine) => countDistinct(engine, partition, unions))
  }

  // Events

  readEvents(request: EventRequest): Promise<readonly StoredEvent[]> {
    return this.#run((engine) => readEvents(engine, request))
  }

  expireEvents(partition: number, committedByMs: number, max: number): Promise<number> {
    return this.#run((engine) => expireEvents(engine, partition, committedByMs, max))
  }

  // Requests

  readReceipt(project: string, key: string, nowMs: number): Promise<Receipt | undefined> {
    return this.#run((engine) => readReceipt(engine, project, key, nowMs))
  }

  writeReceipt(project: string, key: string, receipt: Receipt, nowMs: number): Promise<Receipt> {
    return this.#run((engine) => writeReceipt(engine, project, key, receipt, nowMs, this.#receiptBounds))
  }

  takePermits(request: PermitRequest): Promise<{ readonly granted: number; readonly left: number }> {
    return this.#run((engine) => takePermits(engine, request))
  }

  // API keys

  saveKey(key: KeyRow): Promise<void> {
    return this.#run((engine) => saveKey(engine, key))
  }

  readKey(hash: string): Promise<KeyRow | undefined> {
    return this.#run((engine) => readKey(engine, hash))
  }

  listKeys(): Promise<readonly KeyRow[]> {
    return this.#run(listKeys)
  }

  // Life

  onCommit(listener: CommitListener): () => void {
    return this.#notifications.listen(listener)
  }

  explainLoss(): Promise<string> {
    return this.#run(() => explainLoss(this.#connections))
  }

  onUnlisted(listener: (unlisted: Unlisted) => void): () => void {
    return this.#unlistedListeners.add(listener)
  }

  ping(): Promise<void> {
    return this.#run(async (engine) => {
      await this.#checkFormat()
      if (!this.#connections.isCluster) await engine.call('ping')
      // The client does not know nodes that are gone, so every partition is tested instead of every node.
      else await Promise.all(engine.all().map((partition) => engine.call('exists', engine.keys(partition).inbox)))
    }, true)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /**
   * Writes the description of the store again when it is gone, so that no gateway of another shape can start beside
   * this one. If such a gateway was faster, this one serves nothing.
   */
  async #checkFormat(): Promise<void> {
    const { prefix, log } = this.#options
    try {
      const isNew = await ensureFormat(this.#connections, prefix, shapeOf(this.#options))
      if (isNew) log?.warn({ store: this.#connections.name }, 'the store was emptied; its description is written again')
      this.#refusal = undefined
    } catch (cause) {
      if (!(cause instanceof FormatError)) throw cause
      if (this.#refusal === undefined)
        log?.warn({ err: cause }, 'the store was emptied and created again with another shape')
      this.#refusal = new GatewayError(
        'store_unavailable',
        'the store was emptied and created again with other partitions or resolutions; start the gateway with the same settings',
        { cause },
      )
      throw this.#refusal
    }
  }

  async #close(): Promise<void> {
    clearInterval(this.#formatChecks)
    this.#notifications.close()
    await within(
      CLOSE_MS_MAX,
      () => Promise.allSettled(this.#running),
      () => [],
    )
    this.#connections.close()
  }

  /** Runs a verb, unless the store is closing. Errors of an unavailable server become `store_unavailable`. */
  async #run<T>(verb: (engine: Engine) => Promise<T>, isPing = false): Promise<T> {
    if (this.#closing !== undefined) throw new GatewayError('store_unavailable', 'the store is closed')
    // A ping checks whether this still holds.
    if (this.#refusal !== undefined && !isPing) throw this.#refusal
    const running = verb(this.#engine)
    this.#running.add(running)
    try {
      return await running
    } catch (error) {
      throw asGatewayError(error)
    } finally {
      this.#running.delete(running)
    }
  }
}
