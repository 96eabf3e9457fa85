import { setTimeout as pause } from 'node:timers/promises'
import { GatewayError } from '../../model/errors.ts'
import { Pacer, UrgentPacer } from '../../model/pacer.ts'
import { type Pace, runPaced } from '../../model/steps.ts'
import { withTimeout } from '../../model/with-timeout.ts'
import type { MetricDeletion } from '../../store/catalog.ts'
import type { IdempotencyMarker } from '../../store/store.ts'
import type { ReplayEvents } from '../recover/replay.ts'
import type { EncodedPart, EncodingFault } from '../round/encode-round.ts'
import type { PointBatch } from '../round/point-batch.ts'
import { type PartitionEvent, Round, type RoundContext } from '../round/round.ts'
import { conflictError, nothingStoredError, unknownOutcomeError } from './commit-errors.ts'
import { type CommitContext, CommitSender, type ConflictReason, type StepOutcome } from './commit-sender.ts'
import { commitSteps, type PartsByPartition } from './commit-steps.ts'

export interface GroupEvents extends ReplayEvents {
  /** Called when a step has ended, whether its commits were stored or not. `durationMs` is the time that they took. */
  stepEnded(durationMs: number): void
}

export interface GroupContext extends CommitContext {
  readonly events: GroupEvents
  readonly roundContext: RoundContext
  /** Returns a block name that was never used before. */
  newBlockName(partition: number): string
  /** Called when the store lost writes in a partition of the group. */
  onWritesLost(): void
}

/** The points and events of a request that belong to the partitions of one group. */
export interface RequestShare {
  readonly batch: PointBatch
  /** Positions in the batch of the points that belong to the group. Undefined: all points of the batch. */
  readonly positions: readonly number[] | undefined
  readonly events: readonly PartitionEvent[]
}

/** A round that contains the points of one large request. */
export interface LargeRound {
  readonly round: Round
  readonly points: number
}

interface WaitingRequest {
  /** The round that contains the points of the request. Undefined for a deletion, which has no points. */
  readonly round?: Round
  /** Index of the request in the round. Undefined for a deletion. */
  readonly requestIndex?: number
  resolve(): void
  reject(error: GatewayError): void
}

/** Rounds that accept no more points. They are encoded, and are committed together, step by step. */
interface ClosedRounds {
  /** The smallest `Round.roundNumber` of the rounds. */
  readonly oldestRoundNumber: number
  readonly waiting: readonly WaitingRequest[]
  /** The steps that are not committed yet. */
  readonly steps: PartsByPartition[]
  /** The version of the registry when encoding began. */
  readonly registryVersion: number
  /** Estimated memory of the rounds. */
  readonly memoryBytes: number
  /** Partitions in which a commit of the rounds was stored. */
  readonly storedPartitions: Set<number>
  /** Partitions in which a commit of the rounds had another outcome than `stored`, with that outcome. */
  readonly conflictsByPartition: Map<number, ConflictReason>
  /** Whether the requests were rejected while a step was committed. If so, the remaining steps are dropped. */
  isRejected: boolean
}

/**
 * Encoding of a large round begins only while fewer rounds than this are being encoded or have more than one step left.
 */
const LARGE_ROUNDS_MAX = 3

/**
 * Pause if nothing can be committed now, for example because large rounds are still being encoded or the store has no
 * room for their steps. Also the pause of a deletion between two checks whether earlier rounds are committed.
 */
const IDLE_PAUSE_MS = 5

/** Number of the newest round. Round numbers are unique in this process. */
let newestRoundNumber = 0

/**
 * Group commit for one group of partitions (`Store.groups`). Small requests that arrive during a commit usually share
 * the next one. They share one round, except that a request with an idempotency key has a round of its own. They are
 * acknowledged together, after the last step of these rounds. There is no timer: an idle gateway commits at once, and a
 * busy one commits as fast as the store responds. The higher the load, the more requests share a commit.
 *
 * A large request has a round of its own. It is encoded while other rounds are committed, and usually needs many steps
 * (`commit-steps.ts`). Closed rounds take turns, step by step, so a closed small round waits for at most one step of
 * each large round before its first step. While the store has no room for large writes
 * (`Store.hasRoomForLargeWrites`), only rounds with at most one step left are committed.
 *
 * `commit-sender.ts` retries commits without counting their points twice.
 */
export class GroupCommit {
  readonly #context: GroupContext
  readonly #sender: CommitSender
  #openRound: Round
  /** Small rounds that have one request each, with an idempotency key. They are closed together with the open round. */
  #markedRounds: Round[] = []
  /** Deletions, and the requests whose points are in the open round or in `#markedRounds`. */
  #waitingRequests: WaitingRequest[] = []
  /** Large rounds that wait to be encoded. */
  #queuedLargeRounds: { readonly round: Round; readonly waiting: WaitingRequest }[] = []
  /** Estimated memory of the open round, of the `#markedRounds` and of the `#queuedLargeRounds`. */
  #unencodedBytes = 0
  /** Rounds that are being encoded, small and large ones. */
  readonly #roundsBeingEncoded = new Set<Round>()
  #closedRounds: ClosedRounds[] = []
  /** The closed rounds whose step is being committed. They are not in `#closedRounds` meanwhile. */
  #roundsBeingCommitted: ClosedRounds | undefined
  #running: Promise<void> | undefined

  constructor(context: GroupContext, partitions: readonly number[]) {
    this.#context = context
    this.#sender = new CommitSender(context, partitions, {
      onUnavailable: () => this.#rejectWaiting(),
      onReplayNeeded: () => this.#start(),
      onWritesLost: () => context.onWritesLost(),
    })
    this.#openRound = new Round(++newestRoundNumber, context.roundContext)
  }

  /** Whether the current step or replay has waited for the store for longer than a request may wait. */
  get isUnavailable(): boolean {
    return this.#sender.isUnavailable
  }

  /** Estimated memory of all rounds that wait for a commit. Rounds whose step is being committed do not count. */
  get pendingBytes(): number {
    let pendingBytes = this.#unencodedBytes
    for (const { memoryBytes } of this.#roundsBeingEncoded) pendingBytes += memoryBytes
    for (const { memoryBytes } of this.#closedRounds) pendingBytes += memoryBytes
    return pendingBytes
  }

  /** Resolves when no round is left to commit and no lost commit to replay. Undefined if this is so now. */
  get untilIdle(): Promise<void> | undefined {
    return this.#running
  }

  /**
   * Adds a small request to the open round, or to a separate round if it has a marker. `large`: the round that already
   * has the points of a large request. Resolves, with the number of points, when the points and events are stored.
   * Returns undefined if the request has no points and no events.
   */
  add(
    { batch, positions, events }: RequestShare,
    marker: IdempotencyMarker | undefined,
    large?: LargeRound,
  ): Promise<number> | undefined {
    const round =
      large?.round ??
      (marker === undefined ? this.#openRound : new Round(++newestRoundNumber, this.#context.roundContext, marker))
    const bytesBefore = large === undefined ? round.memoryBytes : 0
    const requestIndex = large === undefined ? round.requestCount : 0
    const points = large?.points ?? round.addRequest(batch, positions)
    round.addEvents(events)
    this.#unencodedBytes += round.memoryBytes - bytesBefore
    if (points + events.length === 0) return undefined
    const stored = new Promise<number>((resolve, reject) => {
      const waiting = { round, requestIndex, resolve: () => resolve(points), reject }
      if (large !== undefined) this.#queuedLargeRounds.push({ round, waiting })
      else this.#waitingRequests.push(waiting)
    })
    if (large === undefined && round !== this.#openRound) this.#markedRounds.push(round)
    this.#start()
    return stored
  }

  /** Makes a round of the points of a large request, in steps. The caller then passes the round to `add`. */
  async prepareLargeRound(
    { batch, positions }: RequestShare,
    marker: IdempotencyMarker | undefined,
    pace: Pace,
  ): Promise<LargeRound> {
    const round = new Round(++newestRoundNumber, this.#context.roundContext, marker)
    return { round, points: await runPaced(round.addRequestInSteps(batch, positions), pace) }
  }

  /**
   * Deletes a metric after all requests that were passed to `add` before are stored or rejected, so that their points
   * are deleted with the metric. Returns whether the metric existed. The store refuses later commits that still name
   * it.
   */
  async deleteMetric(deletion: MetricDeletion): Promise<boolean> {
    const { store, settings } = this.#context
    if (this.isUnavailable) throw new GatewayError('store_unavailable', 'the store does not respond')
    const newestRoundBefore = newestRoundNumber
    await new Promise<void>((resolve, reject) => {
      this.#waitingRequests.push({ resolve, reject })
      this.#start()
    })
    while (this.#oldestRoundNumber() <= newestRoundBefore) await pause(IDLE_PAUSE_MS)
    const existed = await withTimeout(settings.storeWaitMsMax, () => store.deleteMetric(deletion))
    this.#sender.retainDeletion(deletion)
    return existed
  }

  /** Makes the group check the store for lost writes before the next commit, if it has retained commits. */
  suspectLostWrites(): void {
    this.#sender.suspectLostWrites()
  }

  /**
   * Stops the checks for lost writes. After this call, commits are no longer retried once their step has lasted for the
   * maximum time.
   */
  close(): void {
    this.#sender.close()
  }

  #start(): void {
    this.#running ??= this.#run()
  }

  /** Commits until no round is left. Before each step, replays the commits that the store may have lost. */
  async #run(): Promise<void> {
    // Requests that arrive in the same turn of the event loop share the first commit.
    await new Promise(setImmediate)
    while (this.#hasPendingWork || this.#sender.mayHaveLostWrites) {
      if (this.#sender.mayHaveLostWrites) await this.#sender.replayLostCommits()
      else if (!(await this.#commitNext())) await pause(IDLE_PAUSE_MS)
    }
    this.#running = undefined
  }

  get #hasPendingWork(): boolean {
    return (
      this.#waitingRequests.length +
        this.#queuedLargeRounds.length +
        this.#roundsBeingEncoded.size +
        this.#closedRounds.length >
      0
    )
  }

  /**
   * Returns the smallest number of the rounds that accept no more points and are not completely committed: large rounds
   * that wait to be encoded, rounds being encoded, and closed rounds. Infinity if there is none.
   */
  #oldestRoundNumber(): number {
    let oldest = Number.POSITIVE_INFINITY
    for (const { round } of this.#queuedLargeRounds) oldest = Math.min(oldest, round.roundNumber)
    for (const round of this.#roundsBeingEncoded) oldest = Math.min(oldest, round.roundNumber)
    for (const closed of this.#closedRounds) oldest = Math.min(oldest, closed.oldestRoundNumber)
    return Math.min(oldest, this.#roundsBeingCommitted?.oldestRoundNumber ?? oldest)
  }

  /**
   * Closes the open round if small requests or deletions wait, begins to encode large rounds, and then commits one step
   * of the closed rounds whose turn it is. Returns false if there are no closed rounds, or if the store has no room for
   * any of their steps.
   */
  async #commitNext(): Promise<boolean> {
    if (this.#waitingRequests.length > 0) await this.#closeOpenRound()
    this.#encodeLargeRounds()
    const nextIndex = this.#context.store.hasRoomForLargeWrites
      ? 0
      : this.#closedRounds.findIndex(({ steps }) => steps.length <= 1)
    const [closed] = nextIndex === -1 ? [] : this.#closedRounds.splice(nextIndex, 1)
    if (closed === undefined) return false
    const step = closed.steps.shift()
    this.#roundsBeingCommitted = closed
    if (step !== undefined) await this.#commitStep(closed, step)
    this.#roundsBeingCommitted = undefined
    if (closed.isRejected) return true
    if (closed.steps.length > 0) this.#closedRounds.push(closed)
    else respond(closed)
    return true
  }

  async #commitStep(closed: ClosedRounds, step: PartsByPartition): Promise<void> {
    const { events } = this.#context
    const reject = (error: GatewayError): void => {
      rejectAll(closed.waiting, error)
      closed.isRejected = true
    }
    const startedMs = performance.now()
    const outcome: StepOutcome = await this.#sender.commit(step, closed.registryVersion, {
      onWaitOver: (commitCount) => {
        reject(unknownOutcomeError('the store did not confirm the points in time'))
        events.warn('the store does not respond; the outcome of a commit is unknown', { commits: commitCount })
      },
      onDefect: (cause) => reject(new GatewayError('internal', 'the points could not be stored', { cause })),
    })
    events.stepEnded(performance.now() - startedMs)
    for (const [partition, result] of outcome) {
      if (result === 'stored') closed.storedPartitions.add(partition)
      else closed.conflictsByPartition.set(partition, result)
    }
  }

  /**
   * Closes the open round and the small rounds with an idempotency key. Requests that arrive while these rounds are
   * encoded are added to new rounds.
   */
  async #closeOpenRound(): Promise<void> {
    const rounds = [this.#openRound, ...this.#markedRounds]
    const waiting = this.#waitingRequests
    this.#openNewRound()
    await this.#encodeAndEnqueue(rounds, waiting, new UrgentPacer())
  }

  /** Begins to encode queued large rounds, until `LARGE_ROUNDS_MAX` rounds are in progress. */
  #encodeLargeRounds(): void {
    let inProgress = this.#roundsBeingEncoded.size
    for (const { steps } of this.#closedRounds) if (steps.length > 1) inProgress++
    for (const { round, waiting } of this.#queuedLargeRounds.splice(0, Math.max(0, LARGE_ROUNDS_MAX - inProgress)))
      void this.#encodeAndEnqueue([round], [waiting], new Pacer())
  }

  /**
   * Encodes rounds and queues them for commits. Rejects the requests whose points cannot be encoded; rejects all of
   * them after an unexpected error, or if the store is unavailable by then. The returned promise always resolves.
   */
  async #encodeAndEnqueue(rounds: readonly Round[], waiting: readonly WaitingRequest[], pace: Pace): Promise<void> {
    const { version } = this.#context.registry
    let memoryBytes = 0
    for (const round of rounds) {
      memoryBytes += round.memoryBytes
      this.#roundsBeingEncoded.add(round)
    }
    this.#unencodedBytes -= memoryBytes
    try {
      const { parts, faults } = await this.#encodeRounds(rounds, pace)
      const steps = await runPaced(commitSteps(parts), pace)
      const encodedRequests = waiting.filter((request) => !rejectIfFaulty(request, faults))
      if (this.isUnavailable) rejectAll(encodedRequests, nothingStoredError())
      else {
        this.#closedRounds.push({
          oldestRoundNumber: rounds[0]!.roundNumber,
          waiting: encodedRequests,
          steps,
          registryVersion: version,
          memoryBytes,
          storedPartitions: new Set(),
          conflictsByPartition: new Map(),
          isRejected: false,
        })
      }
    } catch (cause) {
      rejectAll(waiting, new GatewayError('internal', 'the points could not be encoded', { cause }))
    } finally {
      for (const round of rounds) this.#roundsBeingEncoded.delete(round)
    }
  }

  /**
   * Returns the encoded parts of the rounds by partition, in the order of the rounds, and the encoding faults of each
   * round that has any.
   */
  async #encodeRounds(rounds: readonly Round[], pace: Pace) {
    const { now, newBlockName } = this.#context
    const nowMs = now()
    const parts = new Map<number, EncodedPart[]>()
    const faults = new Map<Round, readonly EncodingFault[]>()
    for (const round of rounds) {
      const encoded = await round.encode(nowMs, newBlockName, pace)
      if (encoded.faults.length > 0) {
        faults.set(round, encoded.faults)
        // If the round has only one request, the request is rejected because of the fault: none of it is committed.
        if (round.requestCount === 1) continue
      }
      for (const [partition, partsOfRound] of encoded.parts) {
        const partsOfPartition = parts.get(partition)
        if (partsOfPartition === undefined) parts.set(partition, partsOfRound)
        else for (const part of partsOfRound) partsOfPartition.push(part)
      }
    }
    return { parts, faults }
  }

  /** Rejects all waiting requests, except those whose rounds are being encoded or whose step is being committed. */
  #rejectWaiting(): void {
    for (const { waiting, storedPartitions, conflictsByPartition } of this.#closedRounds) {
      const isPartlyCommitted = storedPartitions.size + conflictsByPartition.size > 0
      rejectAll(
        waiting,
        isPartlyCommitted ? unknownOutcomeError('the store may have taken part of the points') : nothingStoredError(),
      )
    }
    this.#closedRounds = []
    rejectAll(this.#waitingRequests, nothingStoredError())
    for (const { waiting } of this.#queuedLargeRounds) waiting.reject(nothingStoredError())
    this.#queuedLargeRounds = []
    this.#unencodedBytes = 0
    this.#openNewRound()
  }

  #openNewRound(): void {
    this.#openRound = new Round(++newestRoundNumber, this.#context.roundContext)
    this.#markedRounds = []
    this.#waitingRequests = []
  }
}

/**
 * Called when all commits of the rounds are final. Rejects the requests with points or events in a partition of
 * `conflictsByPartition`, and resolves the others.
 */
function respond({ waiting, storedPartitions, conflictsByPartition }: ClosedRounds): void {
  if (conflictsByPartition.size === 0) {
    for (const { resolve } of waiting) resolve()
    return
  }
  const requestsByRound = new Map<Round, ReadonlyMap<number, ReadonlySet<number>>>()
  for (const { round, requestIndex, resolve, reject } of waiting) {
    let requestsByPartition = round && requestsByRound.get(round)
    if (round !== undefined && requestsByPartition === undefined)
      requestsByRound.set(round, (requestsByPartition = round.requestIndexesByPartition()))
    const hasPointsIn = (partition: number): boolean => requestsByPartition?.get(partition)?.has(requestIndex!) === true
    const conflictReason = [...conflictsByPartition].find(([partition]) => hasPointsIn(partition))?.[1]
    if (conflictReason === undefined) resolve()
    else reject(conflictError(conflictReason, [...storedPartitions].some(hasPointsIn)))
  }
}

/** Rejects a request if some of its points could not be encoded. Returns whether the request was rejected. */
function rejectIfFaulty(
  { round, requestIndex, reject }: WaitingRequest,
  faults: ReadonlyMap<Round, readonly EncodingFault[]>,
): boolean {
  const fault = round && faults.get(round)?.find(({ requestIndexes }) => requestIndexes.includes(requestIndex!))
  if (fault === undefined) return false
  const { cause } = fault
  reject(new GatewayError('internal', 'some of the points could not be encoded', { cause }))
  return true
}

function rejectAll(waiting: readonly WaitingRequest[], error: GatewayError): void {
  for (const { reject } of waiting) reject(error)
}
