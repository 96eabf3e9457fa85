import { randomBytes } from 'node:crypto'
import { GatewayError, type ItemError } from '../../model/errors.ts'
import { ITEM_CACHE_BYTES_MAX, type ItemCache } from '../../model/item-cache.ts'
import { partitionOf } from '../../model/metric.ts'
import { ObjectPool } from '../../model/object-pool.ts'
import { Pacer } from '../../model/pacer.ts'
import type { Decode } from '../../model/point.ts'
import { CACHED_SERIES_MAX } from '../../model/series.ts'
import { type Pace, runAtOnce, runPaced } from '../../model/steps.ts'
import type { MetricDeletion } from '../../store/catalog.ts'
import type { IdempotencyMarker, Store } from '../../store/store.ts'
import { CommitNumbers } from '../recover/commit-numbers.ts'
import { LOSS_CHECK_INTERVAL_MS, RETAINED_MS_MAX } from '../recover/replay.ts'
import { RetainedCommits } from '../recover/retained-commits.ts'
import type { Series } from '../round/cached-metric.ts'
import { DecodeQueue } from '../round/decode-queue.ts'
import { PointBatch } from '../round/point-batch.ts'
import { Registry, type RegistryLimits } from '../round/registry.ts'
import type { PartitionEvent, RoundSettings } from '../round/round.ts'
import { Admission } from '../round/series-admission.ts'
import { sortByIndex } from '../round/sort-rejections.ts'
import { TablePool } from '../round/table-pool.ts'
import { unknownOutcomeError } from './commit-errors.ts'
import type { CommitSettings } from './commit-sender.ts'
import { GroupCommit, type GroupEvents, type LargeRound, type RequestShare } from './group-commit.ts'
import { ProjectPendingBytes } from './project-pending-bytes.ts'

export interface WriterSettings extends CommitSettings, RoundSettings, RegistryLimits {
  /**
   * Maximum estimated memory of the data that waits for the store. Beyond it, requests of projects that use their equal
   * share (`ProjectPendingBytes`) are refused. If there are several groups of partitions, each may use half of it.
   */
  readonly pendingBytesMax: number
}

/** Settings of the writer that users cannot configure. */
export const FIXED_WRITER_SETTINGS = {
  registryEntriesMax: CACHED_SERIES_MAX,
  itemCacheBytesMax: ITEM_CACHE_BYTES_MAX,
  retainedMsMax: RETAINED_MS_MAX,
  lossCheckIntervalMs: LOSS_CHECK_INTERVAL_MS,
}

export type WriterEvents = GroupEvents

export interface WriterTotals {
  points: number
  events: number
}

/** Maximum memory of the point batches that are kept for reuse, and of one of them: about 16,384 points. */
const BATCH_POOL_BYTES_MAX = 1 << 23
const POOLED_BATCH_BYTES_MAX = 1 << 19
/** Maximum number of rejected items that are sorted without a pause. */
const REJECTIONS_SORTED_AT_ONCE_MAX = 10_000

/**
 * Stores the points and events of requests, and resolves when they are durable. Each group of partitions
 * (`Store.groups`) has its own `GroupCommit`. A request with points or events for several groups waits for all of them.
 * If the server of a group does not respond, the commits of the other groups are not delayed.
 */
export class Writer {
  /** Number of points (with end markers and stored starts of counters) and of events acknowledged since the start. */
  readonly totals: WriterTotals = { points: 0, events: 0 }
  readonly #settings: WriterSettings
  readonly #registry: Registry
  readonly #batchPool = new ObjectPool<PointBatch>({
    bytesMax: BATCH_POOL_BYTES_MAX,
    objectBytesMax: POOLED_BATCH_BYTES_MAX,
  })
  readonly #pendingBytesByProject = new ProjectPendingBytes()
  readonly #decodeQueue: DecodeQueue
  readonly #newPace: () => Pace
  readonly #retainedCommits: RetainedCommits
  readonly #groups: readonly GroupCommit[]
  /** The group of each partition. The index is the partition. */
  readonly #groupByPartition: readonly GroupCommit[]
  /** Random prefix of the block names of this process. */
  readonly #blockNamePrefix = randomBytes(16).toString('hex')
  #blockNamesUsed = 0
  /**
   * Number of requests from the start of their decoding until they are stored or rejected, and of deletions. `close`
   * waits for them.
   */
  #requestsInProgress = 0
  /** Estimated memory of the new metrics and series of all admissions. */
  #admissionBytes = 0
  #isClosing = false

  constructor(
    store: Store,
    settings: WriterSettings,
    events: WriterEvents,
    now: () => number,
    newPace: () => Pace = () => new Pacer(),
  ) {
    this.#newPace = newPace
    this.#decodeQueue = new DecodeQueue(newPace)
    const registry = new Registry(store, settings, now)
    this.#settings = settings
    this.#registry = registry
    this.#retainedCommits = new RetainedCommits(store.partitions, settings.retainedBytesMax)
    const shared = {
      store,
      settings,
      events,
      registry,
      now,
      commitNumbers: new CommitNumbers(store.partitions),
      retainedCommits: this.#retainedCommits,
      roundContext: { settings, registry, tablePool: new TablePool(), keepsSeries: store.mayLoseWrites },
      newBlockName: (partition: number) =>
        `${this.#blockNamePrefix}.${partition}.${(this.#blockNamesUsed++).toString(36)}`,
    }
    const groupByPartition: GroupCommit[] = []
    this.#groups = store.groups.map((partitions) => {
      const onWritesLost = (): void => {
        for (const other of this.#groups) if (other !== group) other.suspectLostWrites()
      }
      const group: GroupCommit = new GroupCommit({ ...shared, onWritesLost }, partitions)
      for (const partition of partitions) groupByPartition[partition] = group
      return group
    })
    this.#groupByPartition = groupByPartition
  }

  /**
   * Estimated memory of the rounds that wait for a commit, and of the new metrics and series that wait for the store.
   */
  get pendingBytes(): number {
    let bytes = this.#admissionBytes
    for (const group of this.#groups) bytes += group.pendingBytes
    return bytes
  }

  /** Estimated memory of the acknowledged commits that are kept for a replay. */
  get retainedBytes(): number {
    return this.#retainedCommits.memoryBytes
  }

  /** See `Gateway.itemCache`. */
  itemCache(project: string): ItemCache<Series> {
    return this.#registry.itemCache(project)
  }

  /**
   * Stores the points that `decode` delivers, and the events. Returns the rejected items, sorted by index. With an
   * idempotency key, all points and events count only once in 24 h. See `Gateway.trackBatch`.
   */
  async track(
    project: string,
    decode: Decode,
    idempotencyKey?: string,
    events: readonly PartitionEvent[] = NO_EVENTS,
  ): Promise<readonly ItemError[]> {
    this.#requireAccepting(project)
    if (this.#registry.isFull) this.#registry.clear()
    const batch = this.#batchPool.take() ?? new PointBatch(this.#registry)
    let admission: Admission | undefined
    const admit = (): Admission => {
      admission ??= new Admission(this.#registry, batch, (change) => {
        this.#admissionBytes += change
        this.#pendingBytesByProject.add(project, change)
      })
      return admission
    }
    let isAdmitted = false
    batch.begin(project)
    this.#requestsInProgress++
    try {
      const steps = decode(batch)
      const decoding = steps && this.#decodeQueue.run(steps, () => startReviewIfDue(batch, admit))
      if (decoding !== undefined) await decoding
      if (admission !== undefined || batch.unregisteredSeries.length > 0) await admit().admitAllAndDefine()
      isAdmitted = true
      let rejected = batch.takeRejected()
      const counterStarts = batch.takeCounterStarts()
      if (rejected.length > 1) rejected = await this.#sortByIndex(rejected)
      const marker = idempotencyKey === undefined ? undefined : { project, key: idempotencyKey }
      const commit =
        this.#groups.length === 1 && !batch.isLarge
          ? this.#commit(project, this.#groups[0]!, { batch, positions: undefined, events }, marker)
          : this.#commitShares(project, batch, marker, events)
      if (commit !== undefined) {
        this.totals.points += await commit
        this.totals.events += events.length
      }
      for (const [series, startMs] of counterStarts) series.storedCounterStartMs = startMs
      return rejected
    } finally {
      const ended = admission?.end()
      if (ended !== undefined) await ended
      // The batch of an admitted request may already be back in the pool and in use by another request, so it is not
      // touched.
      if (!isAdmitted) this.#registry.evictUndefined(batch.takeUnknown().metrics)
      this.#requestsInProgress--
    }
  }

  /**
   * Adds a small request to the only group. Resolves, with the number of points, when the request is stored. Undefined
   * if the request has no points and no events.
   */
  #commit(
    project: string,
    group: GroupCommit,
    share: RequestShare,
    marker: IdempotencyMarker | undefined,
  ): Promise<number> | undefined {
    const bytesBefore = group.pendingBytes
    const commit = group.add(share, marker)
    const bytes = group.pendingBytes - bytesBefore
    this.#batchPool.giveBack(share.batch)
    if (commit === undefined) return undefined
    this.#pendingBytesByProject.add(project, bytes)
    const release = (): void => this.#pendingBytesByProject.add(project, -bytes)
    commit.then(release, release)
    return commit
  }

  /**
   * Adds a request to all groups that it has points or events for. Used for large requests, and for all requests if
   * there are several groups. Resolves, with the number of points, when all points and events are stored.
   */
  async #commitShares(
    project: string,
    batch: PointBatch,
    marker: IdempotencyMarker | undefined,
    events: readonly PartitionEvent[],
  ): Promise<number> {
    const { isLarge } = batch
    const commits: Promise<number>[] = []
    const shares = [...this.#sharesOf(project, batch, events)]
    const largeRounds = new Map<GroupCommit, LargeRound>()
    let addedBytes = 0
    try {
      if (isLarge) {
        for (const [group, share] of shares)
          largeRounds.set(group, await group.prepareLargeRound(share, marker, this.#newPace()))
      }
      for (const [group, share] of shares) {
        const bytesBefore = group.pendingBytes
        const commit = group.add(share, marker, largeRounds.get(group))
        this.#pendingBytesByProject.add(project, group.pendingBytes - bytesBefore)
        addedBytes += group.pendingBytes - bytesBefore
        if (commit !== undefined) commits.push(commit)
      }
      this.#batchPool.giveBack(batch)
      return commits.length === 1 ? await commits[0]! : await storedPointsOf(commits)
    } finally {
      this.#pendingBytesByProject.add(project, -addedBytes)
    }
  }

  /**
   * Deletes this generation of a metric and all earlier ones. Returns whether the metric existed. Points that wait for
   * a commit are deleted too. Points of later requests belong to the next generation. A request that is being decoded
   * may be refused. `Store.deleteMetric` says when other gateways notice the deletion.
   */
  async deleteMetric(deletion: MetricDeletion): Promise<boolean> {
    const { project, name } = deletion
    this.#requireAccepting(project)
    const group = this.#groupByPartition[partitionOf(project, name, this.#groupByPartition.length)]!
    this.#requestsInProgress++
    try {
      return await this.#registry.runDeletion(project, name, () => group.deleteMetric(deletion))
    } finally {
      this.#requestsInProgress--
    }
  }

  /** Throws `store_unavailable` while any group of partitions counts as unavailable, even if the store serves reads. */
  requireAvailableStore(): void {
    if (this.#groups.some(({ isUnavailable }) => isUnavailable)) throw unavailableError()
  }

  /** Refuses new requests, and resolves when all accepted requests are finished. */
  async close(): Promise<void> {
    this.#isClosing = true
    for (const group of this.#groups) group.close()
    for (;;) {
      const commitsInProgress = this.#groups.flatMap((group) => group.untilIdle ?? [])
      if (commitsInProgress.length > 0) await Promise.all(commitsInProgress)
      else if (this.#requestsInProgress > 0) await new Promise(setImmediate)
      else break
    }
  }

  async #sortByIndex(rejected: readonly ItemError[]): Promise<readonly ItemError[]> {
    const steps = sortByIndex(rejected)
    return rejected.length <= REJECTIONS_SORTED_AT_ONCE_MAX ? runAtOnce(steps) : runPaced(steps, this.#newPace())
  }

  #requireAccepting(project: string): void {
    if (this.#isClosing) throw new GatewayError('overloaded', 'the gateway is shutting down')
    if (this.#groups.every(({ isUnavailable }) => isUnavailable)) throw unavailableError()
    if (this.#isOverLimit(project, this.pendingBytes, this.#settings.pendingBytesMax)) throw overloadedError()
  }

  /** Whether the pending bytes exceed a limit of which the project already uses its equal share. */
  #isOverLimit(project: string, bytes: number, bytesMax: number): boolean {
    return bytes > bytesMax && this.#pendingBytesByProject.hasUsedEqualShare(project, bytesMax)
  }

  /**
   * Divides a request by group. If there are several groups, throws when one with points or events of the request is
   * unavailable, or is over its limit and the project uses its equal share. No point is added to a round then.
   */
  #sharesOf(
    project: string,
    batch: PointBatch,
    events: readonly PartitionEvent[],
  ): Iterable<readonly [GroupCommit, RequestShare]> {
    const [first] = this.#groups
    if (this.#groups.length === 1) return [[first!, { batch, positions: undefined, events }]]
    const shares = new Map<GroupCommit, { positions: number[]; events: PartitionEvent[] }>()
    const shareOf = (partition: number) => {
      const group = this.#groupByPartition[partition]!
      let share = shares.get(group)
      if (share === undefined) shares.set(group, (share = { positions: [], events: [] }))
      return share
    }
    for (let i = 0; i < batch.length; i++) {
      shareOf(batch.series[i]!.metric.row!.partition).positions.push(i)
    }
    for (const partitionEvent of events) shareOf(partitionEvent.partition).events.push(partitionEvent)
    for (const group of shares.keys()) {
      // Half of the limit: a group whose server is slow must leave room for the other groups.
      const isOverLimit = this.#isOverLimit(project, group.pendingBytes, this.#settings.pendingBytesMax / 2)
      if (!group.isUnavailable && !isOverLimit) continue
      throw group.isUnavailable ? unavailableError() : overloadedError()
    }
    return [...shares].map(([group, share]) => [group, { batch, ...share }] as const)
  }
}

/**
 * Starts a review (`Admission.review`) if many unknown metric names were decoded since the last one (`isReviewDue`).
 */
function startReviewIfDue(batch: PointBatch, admit: () => Admission): Promise<void> | undefined {
  return Admission.isReviewDue(batch) ? admit().review() : undefined
}

const NO_EVENTS: readonly PartitionEvent[] = []

/**
 * Resolves with the number of points when all commits are stored. Waits for all commits even if one fails, because the
 * error describes the request as a whole.
 */
async function storedPointsOf(commits: readonly Promise<number>[]): Promise<number> {
  const outcomes = await Promise.allSettled(commits)
  let points = 0
  const causes: unknown[] = []
  for (const outcome of outcomes) {
    if (outcome.status === 'fulfilled') points += outcome.value
    else causes.push(outcome.reason)
  }
  if (causes.length === 0) return points
  const defect = causes.find((cause) => !(cause instanceof GatewayError && cause.code === 'store_unavailable'))
  if (defect !== undefined) throw defect
  const isNothingStored = causes.length === outcomes.length && causes.every((cause) => !hasUnknownOutcome(cause))
  throw isNothingStored ? causes[0] : unknownOutcomeError('the store did not confirm all of the points', causes[0])
}

function hasUnknownOutcome(cause: unknown): boolean {
  return cause instanceof GatewayError && cause.details?.['outcome'] === 'unknown'
}

function unavailableError(): GatewayError {
  return new GatewayError('store_unavailable', 'the store does not respond')
}

function overloadedError(): GatewayError {
  return new GatewayError('overloaded', 'too many points wait for the store; try again shortly')
}
