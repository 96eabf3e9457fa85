import { randomBytes } from 'node:crypto'
import { assert, GatewayError } from '../../model/errors.ts'
import type { Id64 } from '../../model/id.ts'
import { Listeners } from '../../model/listeners.ts'
import { partitionOf } from '../../model/metric.ts'
import {
  type AppendOutcome,
  type BlockPart,
  type Commit,
  type EventRequest,
  type FoldCommit,
  type InboxEntry,
  type IndexRequest,
  type IndexSnapshot,
  type KeyRow,
  type LeaseRequest,
  type Marker,
  type MetricDefinition,
  type MetricDeletion,
  type MetricListing,
  type MetricPage,
  type MetricRow,
  type NamedBlock,
  type PermitRequest,
  RECEIPT_BOUNDS,
  type Receipt,
  type ReceiptBounds,
  type SeriesRow,
  type SetKey,
  type Store,
  type StoredEvent,
  type Unlisted,
  unlistedBy,
  type WindowExpiry,
  type WindowKey,
} from '../store.ts'
import { append, touchedMetrics } from './append.ts'
import {
  defineMetrics,
  deleteMetric,
  hasSeries,
  listMetrics,
  MetricCounts,
  readMetric,
  readMetrics,
  readSeries,
} from './catalog.ts'
import { type Address, asGatewayError, type Connections, connect, type Patience } from './connection.ts'
import { clearDeleted } from './deletion.ts'
import { Engine } from './engine.ts'
import { expireEvents, readEvents } from './events.ts'
import { agreeOnFormat, FormatError, type Shape } from './format.ts'
import { digestOf, isPrefix } from './keys.ts'
import { type CommitListener, Notifications } from './notifications.ts'
import { listKeys, readKey, readReceipt, saveKey, takePermits, writeReceipt } from './requests.ts'
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
 * The store of many gateways: one Redis (or Valkey) server, or a Redis Cluster. What must happen at once is a Lua script
 * (`lua/`), which the server runs alone; a partition lies in one slot, so that a script never needs two nodes.
 */

export interface Resolution {
  readonly stepMs: number
  readonly keptMs: number
}

export interface RedisStoreOptions extends Address, Patience {
  /** Begins every key, so that several stores may share a server. */
  readonly prefix: string
  readonly partitions: number
  readonly resolutions: readonly Resolution[]
  readonly setResolutions: readonly Resolution[]
  readonly receiptBounds?: ReceiptBounds
  /** Hears of settings of the server that can cost data. */
  readonly log?: StoreLog
  /** The clock, asked only where a verb is not told the time: for a commit without parts. */
  readonly now?: () => number
}

/** Commits under way when the store closes are given so long. */
const CLOSE_MS_MAX = 10_000

/**
 * Opens the store on a server or a cluster or makes it there. An Error that says why when the server cannot be reached, is too old, or
 * holds a store that was made with another number of partitions, other steps of resolutions, or by a newer version.
 */
export async function openRedisStore(options: RedisStoreOptions): Promise<Store> {
  assert(isPrefix(options.prefix), 'a prefix has 1 to 64 letters, digits and any of . _ : -')
  const connections = await connect(options, options)
  try {
    await checkServers(connections, options.log)
    await agreeOnFormat(connections, options.prefix, shapeOf(options))
    return new RedisStore(connections, options)
  } catch (error) {
    connections.close()
    throw error
  }
}

function shapeOf({ partitions, resolutions, setResolutions }: RedisStoreOptions): Shape {
  return {
    partitions,
    resolutions: resolutions.map(({ stepMs }) => stepMs),
    setResolutions: setResolutions.map(({ stepMs }) => stepMs),
  }
}

/** How often the store is looked at for having been emptied (FLUSHALL) under the gateway. */
const FORMAT_LOOK_MS = 1_000

class RedisStore implements Store {
  readonly partitions: number
  readonly mayForget = true
  readonly groups: Store['groups']
  readonly #connections: Connections
  readonly #engine: Engine
  readonly #setResolutions: readonly number[]
  /** Those of sets and of everything else, each once. */
  readonly #allResolutions: readonly number[]
  readonly #receiptBounds: ReceiptBounds
  readonly #now: () => number
  readonly #sender = randomBytes(8).toString('hex')
  readonly #notifications: Notifications
  readonly #unlisted = new Listeners<Unlisted>()
  readonly #metricCounts = new MetricCounts()
  readonly #underWay = new Set<Promise<unknown>>()
  readonly #options: RedisStoreOptions
  readonly #looks: NodeJS.Timeout
  /** Why nothing is served: the store was emptied and made anew with another shape. */
  #refusal: GatewayError | undefined
  #closing: Promise<void> | undefined

  constructor(connections: Connections, options: RedisStoreOptions) {
    this.#options = options
    // What it does not answer now the next look asks again.
    this.#looks = setInterval(() => void this.#checkFormat().catch(() => undefined), FORMAT_LOOK_MS).unref()
    this.partitions = options.partitions
    this.#connections = connections
    this.#engine = new Engine(connections, options.prefix, options.partitions)
    // A slot may move from one node of a cluster to another at any time: each partition is a group of its own there.
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
    return this.#answer((engine) => defineMetrics(engine, definitions))
  }

  readMetric(project: string, name: string): Promise<MetricRow | undefined> {
    return this.#answer((engine) => readMetric(engine, project, name))
  }

  readMetrics(project: string, names: readonly string[]): Promise<readonly (MetricRow | undefined)[]> {
    return this.#answer((engine) => readMetrics(engine, project, names))
  }

  countMetrics(project: string): Promise<number> {
    return this.#answer((engine) => this.#metricCounts.count(engine, project))
  }

  deleteMetric(deletion: MetricDeletion): Promise<boolean> {
    return this.#answer(async (engine) => {
      const deleted = await deleteMetric(engine, deletion, this.#sender)
      const { project, name } = deletion
      if (deleted !== undefined) this.#notifications.tell(partitionOf(project, name, this.partitions), [deleted])
      return deleted !== undefined
    })
  }

  listMetrics(project: string, listing: MetricListing): Promise<MetricPage> {
    return this.#answer((engine) => listMetrics(engine, project, listing))
  }

  readSeries(
    partition: number,
    metricId: Id64,
    cursor: number,
    limit: number,
  ): Promise<readonly SeriesRow[] | undefined> {
    return this.#answer((engine) => readSeries(engine, partition, metricId, cursor, limit))
  }

  hasSeries(partition: number, metricId: Id64, seriesIds: readonly Id64[]): Promise<readonly boolean[]> {
    return this.#answer((engine) => hasSeries(engine, partition, metricId, seriesIds))
  }

  // Write path

  append(commits: readonly Commit[]): Promise<readonly AppendOutcome[]> {
    const partitions = commits.map(({ partition }) => partition)
    assert(new Set(partitions).size === partitions.length, 'a round has one commit of a partition')
    return this.#answer(async (engine) => {
      const context = { setResolutions: this.#setResolutions, sender: this.#sender, nowMs: this.#now() }
      const outcomes = await append(engine, commits, context)
      if (this.#notifications.hasListeners) {
        for (const [i, commit] of commits.entries()) {
          this.#notifications.tell(commit.partition, touchedMetrics(commit, outcomes[i]!))
        }
      }
      return outcomes
    })
  }

  readMarker(partition: number, { project, key }: Marker): Promise<number | undefined> {
    return this.#answer(async (engine) => {
      const madeMs = await engine.call('zscore', engine.keys(partition).markers, digestOf(project, key))
      return madeMs === null ? undefined : Number(madeMs)
    })
  }

  readWatermarks(writer: string, partitions: readonly number[]): Promise<readonly number[]> {
    return this.#answer((engine) =>
      Promise.all(
        partitions.map(async (partition) =>
          Number(await engine.call('hget', engine.keys(partition).watermarks, writer)),
        ),
      ),
    )
  }

  // Index and blocks

  readIndex(request: IndexRequest): Promise<IndexSnapshot> {
    return this.#answer((engine) => readIndex(engine, request))
  }

  readInbox(partition: number, bytesMax: number, entriesMax?: number): Promise<readonly InboxEntry[]> {
    return this.#answer((engine) => readInbox(engine, partition, bytesMax, entriesMax))
  }

  inboxSize(partition: number): Promise<{ readonly entries: number; readonly bytes: number }> {
    return this.#answer((engine) => inboxSize(engine, partition))
  }

  readBlocks(
    partition: number,
    names: readonly string[],
    part: BlockPart,
  ): Promise<readonly (Uint8Array | undefined)[]> {
    return this.#answer((engine) => readBlocks(engine, partition, names, part))
  }

  // Fold and retention

  writeBlocks(partition: number, blocks: readonly NamedBlock[], nowMs: number): Promise<void> {
    return this.#answer((engine) => writeBlocks(engine, partition, blocks, nowMs))
  }

  async commitFold(fold: FoldCommit): Promise<boolean> {
    const isDone = await this.#answer((engine) => commitFold(engine, fold))
    if (isDone) this.#unlisted.tell(unlistedBy(fold))
    return isDone
  }

  dueWindows(partition: number, nowMs: number, max: number): Promise<readonly WindowKey[]> {
    return this.#answer((engine) => dueWindows(engine, partition, nowMs, max))
  }

  async expireWindow(expiry: WindowExpiry): Promise<boolean> {
    const isDone = await this.#answer((engine) => expireWindow(engine, expiry))
    const { partition, window } = expiry
    if (isDone) this.#unlisted.tell({ partition, inbox: [], replaced: [], expired: [window] })
    return isDone
  }

  takeLease(request: LeaseRequest): Promise<boolean> {
    return this.#answer((engine) => takeLease(engine, request))
  }

  clearDeleted(partition: number, max: number, nowMs: number): Promise<boolean> {
    return this.#answer((engine) => clearDeleted(engine, partition, this.#allResolutions, max, nowMs))
  }

  sweep(nowMs: number): Promise<void> {
    return this.#answer(async (engine) => {
      // One that cannot be reached does not keep the others from it.
      const sweeps = await Promise.allSettled(engine.all().map((of) => sweepPartition(engine, of, nowMs)))
      for (const sweep of sweeps) if (sweep.status === 'rejected') throw sweep.reason
    })
  }

  // Sets

  countDistinct(partition: number, unions: readonly (readonly SetKey[])[]): Promise<readonly number[]> {
    return this.#answer((engine) => countDistinct(engine, partition, unions))
  }

  // Events

  readEvents(request: EventRequest): Promise<readonly StoredEvent[]> {
    return this.#answer((engine) => readEvents(engine, request))
  }

  expireEvents(partition: number, committedByMs: number, max: number): Promise<number> {
    return this.#answer((engine) => expireEvents(engine, partition, committedByMs, max))
  }

  // Requests

  readReceipt(project: string, key: string, nowMs: number): Promise<Receipt | undefined> {
    return this.#answer((engine) => readReceipt(engine, project, key, nowMs))
  }

  writeReceipt(project: string, key: string, receipt: Receipt, nowMs: number): Promise<Receipt> {
    return this.#answer((engine) => writeReceipt(engine, project, key, receipt, nowMs, this.#receiptBounds))
  }

  takePermits(request: PermitRequest): Promise<{ readonly granted: number; readonly left: number }> {
    return this.#answer((engine) => takePermits(engine, request))
  }

  // API keys

  saveKey(key: KeyRow): Promise<void> {
    return this.#answer((engine) => saveKey(engine, key))
  }

  readKey(hash: string): Promise<KeyRow | undefined> {
    return this.#answer((engine) => readKey(engine, hash))
  }

  listKeys(): Promise<readonly KeyRow[]> {
    return this.#answer(listKeys)
  }

  // Life

  onCommit(listener: CommitListener): () => void {
    return this.#notifications.listen(listener)
  }

  explainLoss(): Promise<string> {
    return this.#answer(() => explainLoss(this.#connections))
  }

  onUnlisted(listener: (unlisted: Unlisted) => void): () => void {
    return this.#unlisted.add(listener)
  }

  ping(): Promise<void> {
    return this.#answer(async (engine) => {
      await this.#checkFormat()
      if (!this.#connections.isCluster) await engine.call('ping')
      // A node that is gone is one that the client no longer knows: each partition has to answer.
      else await Promise.all(engine.all().map((partition) => engine.call('exists', engine.keys(partition).inbox)))
    }, true)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /**
   * Writes the description of the store again when it is gone, so that no gateway of another shape starts beside this one; one
   * that was faster is deferred to, and this gateway serves nothing.
   */
  async #checkFormat(): Promise<void> {
    const { prefix, log } = this.#options
    try {
      const isNew = await agreeOnFormat(this.#connections, prefix, shapeOf(this.#options))
      if (isNew) log?.warn({ store: this.#connections.name }, 'the store was emptied; its description is written again')
      this.#refusal = undefined
    } catch (cause) {
      if (!(cause instanceof FormatError)) throw cause
      if (this.#refusal === undefined) log?.warn({ err: cause }, 'the store was made anew with another shape')
      this.#refusal = new GatewayError(
        'store_unavailable',
        'the store was emptied and made anew with other partitions or resolutions; start the gateway with the same settings',
        { cause },
      )
      throw this.#refusal
    }
  }

  async #close(): Promise<void> {
    clearInterval(this.#looks)
    this.#notifications.close()
    let timer: NodeJS.Timeout | undefined
    const tooLate = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_MS_MAX)
    })
    await Promise.race([Promise.allSettled(this.#underWay), tooLate])
    clearTimeout(timer)
    this.#connections.close()
  }

  /** Runs a verb, unless the store is closing; what fails for want of an answer is `store_unavailable`. */
  async #answer<T>(verb: (engine: Engine) => Promise<T>, isPing = false): Promise<T> {
    if (this.#closing !== undefined) throw new GatewayError('store_unavailable', 'the store is closed')
    // A ping looks whether that still holds.
    if (this.#refusal !== undefined && !isPing) throw this.#refusal
    const running = verb(this.#engine)
    this.#underWay.add(running)
    try {
      return await running
    } catch (error) {
      throw asGatewayError(error)
    } finally {
      this.#underWay.delete(running)
    }
  }
}
