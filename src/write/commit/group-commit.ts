import { setTimeout as pause } from 'node:timers/promises'
import { GatewayError } from '../../model/errors.ts'
import { Pacer } from '../../model/pacer.ts'
import { type Pace, runPaced } from '../../model/steps.ts'
import { withTimeout } from '../../model/with-timeout.ts'
import type { Marker, MetricDeletion } from '../../store/store.ts'
import type { ReplayEvents } from '../recover/replay.ts'
import type { EncodedPart, EncodingFault } from '../round/encode-round.ts'
import type { PointBatch } from '../round/point-batch.ts'
import { type PlacedEvent, Round, type RoundContext } from '../round/round.ts'
import { type CommitContext, CommitSender, type Refusal, type StepOutcome } from './commit-sender.ts'
import { commitSteps, type Step } from './commit-steps.ts'

export interface GroupEvents extends ReplayEvents {
  /**
   * Called when the outcome of all commits of a step is final, whether stored or not. `durationMs` is the time they
   * took.
   */
  roundEnded(durationMs: number): void
}

export interface GroupContext extends CommitContext {
  readonly events: GroupEvents
  readonly rounds: RoundContext
  /** Returns a block name that was never used before. */
  blockName(partition: number): string
  /** Called when the store lost writes in a partition of the group. */
  onWritesLost(): void
}

/** The points and events of a request that belong to the partitions of one group. */
export interface Share {
  readonly batch: PointBatch
  /** Positions of the batch's points that belong to the group. Undefined: all points. */
  readonly positions: readonly number[] | undefined
  readonly events: readonly PlacedEvent[]
}

/** A round that contains the points of one large request. */
export interface LargeRound {
  readonly round: Round
  readonly points: number
}

interface Waiting {
  /** The round with the request's points. A deletion has none. */
  readonly round?: Round
  readonly request?: number
  resolve(): void
  reject(error: GatewayError): void
}

/** Rounds that accept no more points and are being committed together. */
interface ClosedRounds {
  /** The epoch of the oldest of them. */
  readonly epoch: number
  readonly waiting: readonly Waiting[]
  /** The steps that are not committed yet. */
  readonly steps: Step[]
  /** Version of the registry when the steps were encoded. */
  readonly registryVersion: number
  readonly bytes: number
  /** Partitions in which a commit of the rounds was stored, and partitions in which a commit was refused. */
  readonly storedIn: Set<number>
  readonly refusedIn: Map<number, Refusal>
  /** Whether the requests have been rejected. The remaining steps are then dropped. */
  isRejected: boolean
}

/** Maximum number of large rounds that are encoded or committed at the same time. The others wait. */
const LARGE_ROUNDS_MAX = 3

/** Pause while large rounds are encoded, or the store has no room for their steps, and there is nothing else to do. */
const IDLE_MS = 5

/** Number of the latest round. Round numbers are unique in this process. */
let epoch = 0

/**
 * Group commit for partitions that are served together. All requests that arrive during a commit are folded into one
 * round and share the next commit; each request is acknowledged when its points are committed. There is no timer: an
 * idle gateway commits at once, and a busy one commits as fast as the store responds. The higher the load, the more
 * requests share a commit.
 *
 * A large request has a round of its own, which is encoded beside the others and needs many commits
 * (`commit-steps.ts`). Rounds take turns, commit by commit, so a small round waits for at most one commit of each large
 * one. While the store is behind with writing, only small rounds are committed.
 *
 * `commit-sender.ts` makes each commit count exactly once.
 */
export class GroupCommit {
  readonly #context: GroupContext
  readonly #sender: CommitSender
  #open: Round
  /** Rounds of one small request with an idempotency key each. They are closed together with the open round. */
  #markedRounds: Round[] = []
  #waiting: Waiting[] = []
  /** Rounds of one large request each that are not being encoded yet. */
  #largeRounds: { readonly round: Round; readonly waiting: Waiting }[] = []
  /** Size of these rounds: the open one, those with an idempotency key, and the large ones. */
  #openBytes = 0
  /** Rounds that are being encoded. */
  readonly #encoding = new Set<Round>()
  #rounds: ClosedRounds[] = []
  /** The rounds of which a step is being committed. They are not in `#rounds`. */
  #committing: ClosedRounds | undefined
  #running: Promise<void> | undefined

  constructor(context: GroupContext, partitions: readonly number[]) {
    this.#context = context
    this.#sender = new CommitSender(context, partitions, {
      onUnavailable: () => this.#rejectWaiting(),
      onVerifyNeeded: () => this.#start(),
      onWritesLost: () => context.onWritesLost(),
    })
    this.#open = new Round(++epoch, context.rounds)
  }

  /** Whether the store has taken no commits for longer than a request may wait. */
  get isUnavailable(): boolean {
    return this.#sender.isUnavailable
  }

  /** Size of the data that waits for a commit. */
  get openBytes(): number {
    let openBytes = this.#openBytes
    for (const { bytes } of this.#encoding) openBytes += bytes
    for (const { bytes } of this.#rounds) openBytes += bytes
    return openBytes
  }

  /** Resolves when the group is idle. Undefined if it is idle already. */
  get running(): Promise<void> | undefined {
    return this.#running
  }

  /**
   * Folds a request into the open round, or into a separate round if it has a marker. Resolves, with the number of
   * points, when all of it is stored. Returns undefined if the request has no points or events.
   */
  add(
    { batch, positions, events }: Share,
    marker: Marker | undefined,
    large?: LargeRound,
  ): Promise<number> | undefined {
    const round = large?.round ?? (marker === undefined ? this.#open : new Round(++epoch, this.#context.rounds, marker))
    const before = large === undefined ? round.bytes : 0
    const request = large === undefined ? round.requests : 0
    const points = large?.points ?? round.fold(batch, positions)
    round.addEvents(events)
    this.#openBytes += round.bytes - before
    if (points + events.length === 0) return undefined
    const stored = new Promise<number>((resolve, reject) => {
      const waiting = { round, request, resolve: () => resolve(points), reject }
      if (large !== undefined) this.#largeRounds.push({ round, waiting })
      else this.#waiting.push(waiting)
    })
    if (large === undefined && round !== this.#open) this.#markedRounds.push(round)
    this.#start()
    return stored
  }

  /** Folds a large request in steps into a separate round, which is then passed to `add`. */
  async foldInSteps({ batch, positions }: Share, marker: Marker | undefined, pace: Pace): Promise<LargeRound> {
    const round = new Round(++epoch, this.#context.rounds, marker)
    return { round, points: await runPaced(round.foldInSteps(batch, positions), pace) }
  }

  /**
   * Deletes a metric of the group after all points folded so far are stored. Points accepted before are deleted with
   * the metric.
   */
  async deleteMetric(deletion: MetricDeletion): Promise<boolean> {
    const { store, settings } = this.#context
    if (this.isUnavailable) throw new GatewayError('store_unavailable', 'the store does not respond')
    const last = epoch
    await new Promise<void>((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      this.#start()
    })
    while (this.#oldestEpoch() <= last) await pause(IDLE_MS)
    const existed = await withTimeout(settings.storeWaitMsMax, () => store.deleteMetric(deletion))
    this.#sender.retainDeletion(deletion)
    return existed
  }

  /** Makes the group check the store for lost writes before the next commit. */
  suspectLostWrites(): void {
    this.#sender.suspectLostWrites()
  }

  /**
   * From now on, a store that does not respond is retried only as long as requests wait. Must be called again after the
   * last commit.
   */
  close(): void {
    this.#sender.close()
  }

  #start(): void {
    this.#running ??= this.#run()
  }

  /** Commits until no round is left. Lost writes are replayed first. */
  async #run(): Promise<void> {
    // Requests that arrive in the same turn of the event loop share the first round.
    await new Promise(setImmediate)
    while (this.#hasRounds || this.#sender.mayHaveLostWrites) {
      if (this.#sender.mayHaveLostWrites) await this.#sender.verify()
      else if (!(await this.#commitNext())) await pause(IDLE_MS)
    }
    this.#running = undefined
  }

  get #hasRounds(): boolean {
    return this.#waiting.length + this.#largeRounds.length + this.#encoding.size + this.#rounds.length > 0
  }

  /** The epoch of the oldest round with points that are not stored yet. */
  #oldestEpoch(): number {
    let oldest = Number.POSITIVE_INFINITY
    for (const { round } of this.#largeRounds) oldest = Math.min(oldest, round.epoch)
    for (const round of this.#encoding) oldest = Math.min(oldest, round.epoch)
    for (const closed of this.#rounds) oldest = Math.min(oldest, closed.epoch)
    return Math.min(oldest, this.#committing?.epoch ?? oldest)
  }

  /** Commits one step of the next closed rounds. Returns whether there was one that the store has room for. */
  async #commitNext(): Promise<boolean> {
    if (this.#waiting.length > 0) await this.#closeOpen()
    this.#closeLarge()
    const next = this.#context.store.hasRoom ? 0 : this.#rounds.findIndex(({ steps }) => steps.length <= 1)
    const [closed] = next === -1 ? [] : this.#rounds.splice(next, 1)
    if (closed === undefined) return false
    const step = closed.steps.shift()
    this.#committing = closed
    if (step !== undefined) await this.#commitStep(closed, step)
    this.#committing = undefined
    if (closed.isRejected) return true
    if (closed.steps.length > 0) this.#rounds.push(closed)
    else respond(closed)
    return true
  }

  async #commitStep(closed: ClosedRounds, step: Step): Promise<void> {
    const { events } = this.#context
    const reject = (error: GatewayError): void => {
      rejectAll(closed.waiting, error)
      closed.isRejected = true
    }
    const startedMs = performance.now()
    const outcome: StepOutcome = await this.#sender.commit(step, closed.registryVersion, {
      onWaitOver: (commits) => {
        reject(outcomeUnknown('the store did not confirm the points in time'))
        events.warn('the store does not respond; the outcome of a commit is unknown', { commits })
      },
      onDefect: (cause) => reject(new GatewayError('internal', 'the points could not be stored', { cause })),
    })
    events.roundEnded(performance.now() - startedMs)
    for (const [partition, result] of outcome) {
      if (result === 'stored') closed.storedIn.add(partition)
      else closed.refusedIn.set(partition, result)
    }
  }

  /**
   * Closes the open round and the small rounds with an idempotency key. Requests that arrive while they are encoded are
   * folded into the next round.
   */
  async #closeOpen(): Promise<void> {
    const rounds = [this.#open, ...this.#markedRounds]
    const waiting = this.#waiting
    this.#openRound()
    await this.#close(rounds, waiting)
  }

  /** Begins to encode the large rounds that may be in progress at the same time. */
  #closeLarge(): void {
    let inProgress = this.#encoding.size
    for (const { steps } of this.#rounds) if (steps.length > 1) inProgress++
    for (const { round, waiting } of this.#largeRounds.splice(0, Math.max(0, LARGE_ROUNDS_MAX - inProgress)))
      void this.#close([round], [waiting])
  }

  /** Encodes rounds and adds them to those that are committed. Never rejects: if it fails, the requests do. */
  async #close(rounds: readonly Round[], waiting: readonly Waiting[]): Promise<void> {
    const { version } = this.#context.registry
    let bytes = 0
    for (const round of rounds) {
      bytes += round.bytes
      this.#encoding.add(round)
    }
    this.#openBytes -= bytes
    try {
      const { parts, faults } = await this.#encode(rounds)
      const steps = await runPaced(commitSteps(parts), new Pacer())
      const encoded = waiting.filter((request) => !rejectFaulty(request, faults))
      if (this.isUnavailable) rejectAll(encoded, nothingStored())
      else {
        this.#rounds.push({
          epoch: rounds[0]!.epoch,
          waiting: encoded,
          steps,
          registryVersion: version,
          bytes,
          storedIn: new Set(),
          refusedIn: new Map(),
          isRejected: false,
        })
      }
    } catch (cause) {
      rejectAll(waiting, new GatewayError('internal', 'the points could not be encoded', { cause }))
    } finally {
      for (const round of rounds) this.#encoding.delete(round)
    }
  }

  /**
   * Returns the encoded parts of all rounds by partition, and the encoding faults of each round. Points of requests
   * without an idempotency key come first.
   */
  async #encode(rounds: readonly Round[]) {
    const { now, blockName } = this.#context
    const nowMs = now()
    const parts = new Map<number, EncodedPart[]>()
    const faults = new Map<Round, readonly EncodingFault[]>()
    for (const round of rounds) {
      const encoded = await round.encode(nowMs, blockName)
      if (encoded.faults.length > 0) {
        faults.set(round, encoded.faults)
        // A request with a round of its own is stored completely or not at all.
        if (round.requests === 1) continue
      }
      for (const [partition, added] of encoded.parts) {
        const known = parts.get(partition)
        if (known === undefined) parts.set(partition, added)
        else for (const part of added) known.push(part)
      }
    }
    return { parts, faults }
  }

  /** Rejects the requests that wait, but not those of the step in progress. */
  #rejectWaiting(): void {
    for (const { waiting, storedIn, refusedIn } of this.#rounds) {
      const hasBegun = storedIn.size + refusedIn.size > 0
      rejectAll(waiting, hasBegun ? outcomeUnknown('the store took part of the points') : nothingStored())
    }
    this.#rounds = []
    rejectAll(this.#waiting, nothingStored())
    for (const { waiting } of this.#largeRounds) waiting.reject(nothingStored())
    this.#largeRounds = []
    this.#openBytes = 0
    this.#openRound()
  }

  #openRound(): void {
    this.#open = new Round(++epoch, this.#context.rounds)
    this.#markedRounds = []
    this.#waiting = []
  }
}

function nothingStored(): GatewayError {
  return new GatewayError('store_unavailable', 'the store does not respond; nothing was stored')
}

/** Resolves the requests of rounds whose commits are all final, and rejects those with points in a refused commit. */
function respond({ waiting, storedIn, refusedIn }: ClosedRounds): void {
  if (refusedIn.size === 0) {
    for (const { resolve } of waiting) resolve()
    return
  }
  const requests = new Map<Round, ReadonlyMap<number, ReadonlySet<number>>>()
  for (const { round, request, resolve, reject } of waiting) {
    let byPartition = round && requests.get(round)
    if (round !== undefined && byPartition === undefined)
      requests.set(round, (byPartition = round.requestsByPartition()))
    const hasPointsIn = (partition: number): boolean => byPartition?.get(partition)?.has(request!) === true
    const refusal = [...refusedIn].find(([partition]) => hasPointsIn(partition))?.[1]
    if (refusal === undefined) resolve()
    else reject(refusedError(refusal, [...storedIn].some(hasPointsIn)))
  }
}

/** Rejects a request if some of its points could not be encoded. Returns whether that is the case. */
function rejectFaulty(
  { round, request, reject }: Waiting,
  faults: ReadonlyMap<Round, readonly EncodingFault[]>,
): boolean {
  const fault = round && faults.get(round)?.find(({ requests }) => requests.includes(request!))
  if (fault === undefined) return false
  const { cause } = fault
  reject(new GatewayError('internal', 'some of the points could not be encoded', { cause }))
  return true
}

/** Returns an error for a request whose outcome is unknown: its points may or may not be stored. */
export function outcomeUnknown(message: string, cause?: unknown): GatewayError {
  return new GatewayError('store_unavailable', message, { details: { outcome: 'unknown' }, cause })
}

const REFUSED: Readonly<Record<Refusal, string>> = {
  metric_deleted: 'a metric in the same commit was deleted meanwhile',
  store_changed: 'the store has changed under the gateway',
}

function refusedError(refusal: Refusal, isPartlyStored: boolean): GatewayError {
  return isPartlyStored
    ? outcomeUnknown(`${REFUSED[refusal]}; part of the points was stored`)
    : new GatewayError('store_unavailable', `${REFUSED[refusal]}; nothing was stored, send the request again`)
}

function rejectAll(waiting: readonly Waiting[], error: GatewayError): void {
  for (const { reject } of waiting) reject(error)
}
