import { randomBytes } from 'node:crypto'
import { assert, GatewayError } from '../../model/errors.ts'
import { Listeners } from '../../model/listeners.ts'
import { withTimeout } from '../../model/with-timeout.ts'
import type { MetricDeletion } from '../catalog.ts'
import type { CommitListener } from '../commit-listeners.ts'
import { RECEIPT_BOUNDS, type Receipt, type ReceiptBounds } from '../idempotency-keys.ts'
import { removedByExpiry, removedByFold } from '../index-removals.ts'
import type { Commit, FoldCommit, IdempotencyMarker, IndexRemovals, Store, WindowExpiry } from '../store.ts'
import type { StoreLog } from '../store-log.ts'
import { type StoreSettings, storeShapeOf } from '../store-shape.ts'
import { listKeys, readKey, saveKey } from './api-keys.ts'
import { append, changedMetricIds } from './append.ts'
import { defineMetrics, deleteMetric, hasSeries, listMetrics, readMetric, readMetrics, readSeries } from './catalog.ts'
import {
  type Address,
  asGatewayError,
  type Connections,
  connect,
  type Timeouts,
  unusableServerError,
} from './connection.ts'
import { clearDeleted } from './deletion.ts'
import { expireEvents, readEvents } from './events.ts'
import { ensureFormat, FormatError } from './format.ts'
import { digestOf, isValidPrefix } from './keys.ts'
import { MetricCounts } from './metric-counts.ts'
import { Notifications } from './notifications.ts'
import { takePermits } from './permits.ts'
import { readReceipt, writeReceipt } from './receipts.ts'
import { RedisAccess } from './redis-access.ts'
import { checkServers, explainMissingBlocks } from './server-checks.ts'
import { countDistinct } from './sets.ts'
import { sweep } from './sweep.ts'
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
 * The store for several gateways, on a Redis (or Valkey) server or on a Redis Cluster. An atomic step of several
 * commands is a Lua script (`lua/`), which the server runs without interruption. All keys of a partition are in one
 * slot of the cluster, so a script with keys of one partition runs on one node.
 */

export interface RedisStoreOptions extends StoreSettings, Address, Timeouts {
  /** Every key starts with this prefix, so that several stores can share a server. */
  readonly prefix: string
  readonly receiptBounds?: ReceiptBounds
  /** Receives warnings: server settings that can lose data, a store that was emptied or created again. */
  readonly log?: StoreLog
  /** The clock. It gives commits without parts (fences) their time; other commits take the time of their parts. */
  readonly now?: () => number
}

/** How long `close` waits for running calls. */
const CLOSE_TIMEOUT_MS = 10_000

/**
 * Opens the store on a server or a cluster; creates it if it does not exist. Throws an Error with the reason if the
 * server cannot be used or is too old, or if the store has another format (version, partitions or resolutions).
 */
export async function openRedisStore(options: RedisStoreOptions): Promise<Store> {
  assert(isValidPrefix(options.prefix), 'a prefix has 1 to 64 letters, digits and any of . _ : -')
  const connections = await connect(options, options)
  try {
    await checkServers(connections, options.log)
    await ensureFormat(connections, options.prefix, storeShapeOf(options))
    return new RedisStore(connections, options)
  } catch (error) {
    connections.close()
    throw unusableServerError(connections.name, error)
  }
}

/** How often to check whether the store was emptied (FLUSHALL), or created again, while the gateway runs. */
const FORMAT_CHECK_INTERVAL_MS = 1_000

/** What clients and operators read while the store has another format, by what differs. */
const FORMAT_ERROR_MESSAGES: Readonly<Record<FormatError['difference'], string>> = {
  version:
    'the store was emptied and created again by another version of the gateway; start the gateway in that version',
  shape:
    'the store was emptied and created again with other partitions or resolutions; start the gateway with the same settings',
}

class RedisStore implements Store {
  readonly partitions: number
  readonly mayLoseWrites = true
  readonly hasRoomForLargeWrites = true
  readonly groups: Store['groups']
  readonly #connections: Connections
  readonly #redis: RedisAccess
  readonly #setResolutions: readonly number[]
  /** All resolutions, including set resolutions, without duplicates. */
  readonly #allResolutions: readonly number[]
  readonly #receiptBounds: ReceiptBounds
  readonly #now: () => number
  /** The random name of this gateway in its notifications. */
  readonly #sender = randomBytes(8).toString('hex')
  readonly #notifications: Notifications
  readonly #indexRemovalListeners = new Listeners<IndexRemovals>()
  readonly #metricCounts = new MetricCounts()
  /** Calls that have not ended yet. `close` waits for them, at most `CLOSE_TIMEOUT_MS`. */
  readonly #runningCalls = new Set<Promise<unknown>>()
  readonly #options: RedisStoreOptions
  readonly #formatCheckTimer: NodeJS.Timeout
  /**
   * Set while the store has another format, because it was emptied and created again: from the check that finds this
   * until a check finds the right format. Each verb rejects with this error; `ping` first checks the format again.
   */
  #formatError: GatewayError | undefined
  #closing: Promise<void> | undefined

  constructor(connections: Connections, options: RedisStoreOptions) {
    this.#options = options
    // The error is ignored here: `#ensureFormat` has set `#formatError` if the format is wrong, and the next check
    // follows.
    this.#formatCheckTimer = setInterval(
      () => void this.#ensureFormat().catch(() => undefined),
      FORMAT_CHECK_INTERVAL_MS,
    ).unref()
    this.partitions = options.partitions
    this.#connections = connections
    this.#redis = new RedisAccess(connections, options.prefix, options.partitions)
    // On a cluster, each partition is a separate group, because a slot may move to another node at any time.
    const all = this.#redis.allPartitions()
    this.groups = connections.isCluster ? all.map((partition) => [partition]) : [all]
    this.#setResolutions = options.setResolutions.map(({ bucketWidthMs }) => bucketWidthMs)
    this.#allResolutions = [
      ...new Set([...options.resolutions.map(({ bucketWidthMs }) => bucketWidthMs), ...this.#setResolutions]),
    ]
    this.#receiptBounds = options.receiptBounds ?? RECEIPT_BOUNDS
    this.#now = options.now ?? Date.now
    this.#notifications = new Notifications(this.#redis, this.#sender)
  }

  // Catalog

  readonly defineMetrics = this.#verb(defineMetrics)
  readonly readMetric = this.#verb(readMetric)
  readonly readMetrics = this.#verb(readMetrics)
  readonly countMetrics = this.#verb((redis, project: string) => this.#metricCounts.count(redis, project))
  readonly deleteMetric = this.#verb(async (redis, deletion: MetricDeletion) => {
    const deleted = await deleteMetric(redis, deletion, this.#sender)
    if (deleted !== undefined) this.#notifications.notify([deleted])
    return deleted !== undefined
  })
  readonly listMetrics = this.#verb(listMetrics)
  readonly readSeries = this.#verb(readSeries)
  readonly hasSeries = this.#verb(hasSeries)

  // Write path

  readonly append = this.#verb(async (redis, commits: readonly Commit[]) => {
    const partitions = commits.map(({ partition }) => partition)
    assert(new Set(partitions).size === partitions.length, 'a round has at most one commit per partition')
    const context = { setResolutions: this.#setResolutions, sender: this.#sender, fenceMs: this.#now() }
    const outcomes = await append(redis, commits, context)
    if (this.#notifications.hasListeners) {
      for (const [i, commit] of commits.entries()) this.#notifications.notify(changedMetricIds(commit, outcomes[i]!))
    }
    return outcomes
  })
  readonly readMarker = this.#verb(async (redis, partition: number, { project, key }: IdempotencyMarker) => {
    const storedMs = await redis.call('zscore', redis.keys(partition).markers, digestOf(project, key))
    return storedMs === null ? undefined : Number(storedMs)
  })
  readonly readWatermarks = this.#verb((redis, writer: string, partitions: readonly number[]) =>
    Promise.all(
      partitions.map(async (partition) => Number(await redis.call('hget', redis.keys(partition).watermarks, writer))),
    ),
  )

  // Index and blocks

  readonly readIndex = this.#verb(readIndex)
  readonly readInbox = this.#verb(readInbox)
  readonly inboxSize = this.#verb(inboxSize)
  readonly readBlocks = this.#verb(readBlocks)

  // Fold and retention

  readonly writeBlocks = this.#verb(writeBlocks)
  readonly commitFold = this.#verb(async (redis, fold: FoldCommit) => {
    const isCommitted = await commitFold(redis, fold)
    if (isCommitted) this.#indexRemovalListeners.notify(removedByFold(fold))
    return isCommitted
  })
  readonly dueWindows = this.#verb(dueWindows)
  readonly expireWindow = this.#verb(async (redis, expiry: WindowExpiry) => {
    const isExpired = await expireWindow(redis, expiry)
    if (isExpired) this.#indexRemovalListeners.notify(removedByExpiry(expiry))
    return isExpired
  })
  readonly clearDeleted = this.#verb((redis, partition: number, max: number, nowMs: number) =>
    clearDeleted(redis, partition, this.#allResolutions, max, nowMs),
  )
  readonly takeLease = this.#verb(takeLease)
  readonly sweep = this.#verb(sweep)

  // Sets

  readonly countDistinct = this.#verb(countDistinct)

  // Events

  readonly readEvents = this.#verb(readEvents)
  readonly expireEvents = this.#verb(expireEvents)

  // Requests

  readonly readReceipt = this.#verb(readReceipt)
  readonly writeReceipt = this.#verb((redis, project: string, key: string, receipt: Receipt, nowMs: number) =>
    writeReceipt(redis, project, key, receipt, nowMs, this.#receiptBounds),
  )
  readonly takePermits = this.#verb(takePermits)

  // API keys

  readonly saveKey = this.#verb(saveKey)
  readonly readKey = this.#verb(readKey)
  readonly listKeys = this.#verb(listKeys)

  // Life

  onCommit(listener: CommitListener): () => void {
    return this.#notifications.listen(listener)
  }

  readonly explainMissingBlocks = this.#verb(({ connections }) => explainMissingBlocks(connections))

  onIndexRemoval(listener: (removals: IndexRemovals) => void): () => void {
    return this.#indexRemovalListeners.add(listener)
  }

  ping(): Promise<void> {
    return this.#run(async (redis) => {
      await this.#ensureFormat()
      if (!this.#connections.isCluster) await redis.call('ping')
      // Tests every partition instead of every node: the client does not know nodes that have left the cluster.
      else
        await Promise.all(redis.allPartitions().map((partition) => redis.call('exists', redis.keys(partition).inbox)))
    }, true)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /**
   * Checks the format of the store. If no format is stored, the store was emptied. Then writes the format again, so
   * that a gateway with other partitions or resolutions that starts later refuses the store. If the store has another
   * format, each verb rejects until a check finds the right format again.
   */
  async #ensureFormat(): Promise<void> {
    const { prefix, log } = this.#options
    try {
      const isNew = await ensureFormat(this.#connections, prefix, storeShapeOf(this.#options))
      if (isNew) log?.warn({ store: this.#connections.name }, 'the store was emptied; its description is written again')
      this.#formatError = undefined
    } catch (cause) {
      if (!(cause instanceof FormatError)) throw cause
      if (this.#formatError === undefined)
        log?.warn({ err: cause }, `the store was emptied and created again with another ${cause.difference}`)
      this.#formatError = new GatewayError('store_unavailable', FORMAT_ERROR_MESSAGES[cause.difference], { cause })
      throw this.#formatError
    }
  }

  async #close(): Promise<void> {
    clearInterval(this.#formatCheckTimer)
    this.#notifications.close()
    await withTimeout(
      CLOSE_TIMEOUT_MS,
      () => Promise.allSettled(this.#runningCalls),
      () => [],
    )
    this.#connections.close()
  }

  /** Makes a method of the store from a function whose first argument is the access to Redis. */
  #verb<A extends unknown[], T>(verb: (redis: RedisAccess, ...args: A) => Promise<T>): (...args: A) => Promise<T> {
    return (...args) => this.#run((redis) => verb(redis, ...args))
  }

  /**
   * Runs a verb, unless the store is closing or has another format. Errors of an unavailable server become
   * `store_unavailable`.
   */
  async #run<T>(verb: (redis: RedisAccess) => Promise<T>, isPing = false): Promise<T> {
    if (this.#closing !== undefined) throw new GatewayError('store_unavailable', 'the store is closed')
    // A ping must run, because it checks whether the store has the right format again.
    if (this.#formatError !== undefined && !isPing) throw this.#formatError
    const running = verb(this.#redis)
    this.#runningCalls.add(running)
    try {
      return await running
    } catch (error) {
      throw asGatewayError(error)
    } finally {
      this.#runningCalls.delete(running)
    }
  }
}
