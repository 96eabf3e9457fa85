import { GatewayError } from '../../model/errors.ts'
import { Pacer } from '../../model/pacer.ts'
import { type Pace, runPaced } from '../../model/steps.ts'
import { within } from '../../model/within.ts'
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
export interface FoldedRound {
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

/** A round that accepts no more points and is being committed. */
interface ClosedRound {
  readonly waiting: readonly Waiting[]
  /** The steps that are not committed yet. */
  steps: readonly Step[]
  /** Version of the registry when the steps were encoded. */
  readonly registryVersion: number
  readonly bytes: number
  /** Partitions in which a commit of the round was stored, and partitions in which a commit was refused. */
  readonly storedIn: Set<number>
  readonly refusedIn: Map<number, Refusal>
  /** Whether the requests have been rejected. The remaining steps are then dropped. */
  isRejected: boolean
}

/**
 * Maximum number of closed rounds. Rounds take turns step by step, so a small round waits for at most one step of each
 * other round.
 */
const ROUNDS_MAX = 4

/** Number of the latest round. Round numbers are unique in this process. */
let epoch = 0

/**
 * Group commit for partitions that are served together. All requests that arrive during a commit are folded into one
 * round and share the next commit; each request is acknowledged when its points are committed. There is no timer: an
 * idle gateway commits at once, and a busy one commits as fast as the store responds. The higher the load, the more
 * requests share a commit. A large round needs several commits (`commit-steps.ts`); commits of later rounds run between
 * them.
 *
 * `commit-sender.ts` makes each commit count exactly once.
 */
export class GroupCommit {
  readonly #context: GroupContext
  readonly #sender: CommitSender
  #open: Round
  /** Rounds with a single request: requests with an idempotency key, and requests with many points. */
  #singleRequestRounds: Round[] = []
  #openBytes = 0
  #waiting: Waiting[] = []
  /** Whether a deletion waits. All points folded before it must be stored before the open round is closed. */
  #isBarrier = false
  #rounds: ClosedRound[] = []
  /** Size of the round that is being encoded. */
  #encodingBytes = 0
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
    let openBytes = this.#openBytes + this.#encodingBytes
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
    folded?: FoldedRound,
  ): Promise<number> | undefined {
    const round =
      folded?.round ?? (marker === undefined ? this.#open : new Round(++epoch, this.#context.rounds, marker))
    const before = folded === undefined ? round.bytes : 0
    const request = folded === undefined ? round.requests : 0
    const points = folded?.points ?? round.fold(batch, positions)
    round.addEvents(events)
    this.#openBytes += round.bytes - before
    if (points + events.length === 0) return undefined
    if (round !== this.#open) this.#singleRequestRounds.push(round)
    const stored = new Promise<number>((resolve, reject) =>
      this.#waiting.push({ round, request, resolve: () => resolve(points), reject }),
    )
    this.#start()
    return stored
  }

  /** Folds many points in steps into a separate round, which is then passed to `add`. */
  async foldInSteps({ batch, positions }: Share, marker: Marker | undefined, pace: Pace): Promise<FoldedRound> {
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
    await new Promise<void>((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      this.#isBarrier = true
      this.#start()
    })
    const existed = await within(settings.storeWaitMsMax, () => store.deleteMetric(deletion))
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
    while (this.#waiting.length > 0 || this.#rounds.length > 0 || this.#sender.mayHaveLostWrites) {
      if (this.#sender.mayHaveLostWrites) await this.#sender.verify()
      else await this.#commitNext()
    }
    this.#running = undefined
  }

  /** Commits one step of the next round. Rounds take turns. */
  async #commitNext(): Promise<void> {
    if (this.#waiting.length > 0 && this.#rounds.length < (this.#isBarrier ? 1 : ROUNDS_MAX)) await this.#closeOpen()
    const round = this.#rounds.shift()
    if (round === undefined) return
    const [step, ...steps] = round.steps
    round.steps = steps
    if (step !== undefined) await this.#commitStep(round, step)
    if (round.isRejected) return
    if (steps.length > 0) this.#rounds.push(round)
    else respond(round)
  }

  async #commitStep(round: ClosedRound, step: Step): Promise<void> {
    const { events } = this.#context
    const rejectRound = (error: GatewayError): void => {
      rejectAll(round.waiting, error)
      round.isRejected = true
    }
    const startedMs = performance.now()
    const outcome: StepOutcome = await this.#sender.commit(step, round.registryVersion, {
      onWaitOver: (commits) => {
        rejectRound(outcomeUnknown('the store did not confirm the points in time'))
        events.warn('the store does not respond; the outcome of a commit is unknown', { commits })
      },
      onDefect: (cause) => rejectRound(new GatewayError('internal', 'the points could not be stored', { cause })),
    })
    events.roundEnded(performance.now() - startedMs)
    for (const [partition, result] of outcome) {
      if (result === 'stored') round.storedIn.add(partition)
      else round.refusedIn.set(partition, result)
    }
  }

  /** Encodes the open round. Requests that arrive during the encoding are folded into the next round. */
  async #closeOpen(): Promise<void> {
    const rounds = [this.#open, ...this.#singleRequestRounds]
    const waiting = this.#waiting
    const bytes = this.#openBytes
    const { version } = this.#context.registry
    this.#openRound()
    this.#encodingBytes = bytes
    try {
      const { parts, faults } = await this.#encode(rounds)
      const steps = await runPaced(commitSteps(parts), new Pacer())
      const encoded = waiting.filter((request) => !rejectFaulty(request, faults))
      this.#rounds.push({
        waiting: encoded,
        steps,
        registryVersion: version,
        bytes,
        storedIn: new Set(),
        refusedIn: new Map(),
        isRejected: false,
      })
    } catch (cause) {
      rejectAll(waiting, new GatewayError('internal', 'the points could not be encoded', { cause }))
    } finally {
      this.#encodingBytes = 0
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
        // A request with an idempotency key is stored completely or not at all.
        if (round !== rounds[0]) continue
      }
      for (const [partition, added] of encoded.parts) {
        const known = parts.get(partition)
        if (known === undefined) parts.set(partition, added)
        else for (const part of added) known.push(part)
      }
    }
    return { parts, faults }
  }

  /** Rejects the requests that wait for the step in progress. */
  #rejectWaiting(): void {
    const nothingStored = new GatewayError('store_unavailable', 'the store does not respond; nothing was stored')
    for (const round of this.#rounds) {
      const hasBegun = round.storedIn.size + round.refusedIn.size > 0
      rejectAll(round.waiting, hasBegun ? outcomeUnknown('the store took part of the points') : nothingStored)
    }
    this.#rounds = []
    if (this.#waiting.length === 0) return
    rejectAll(this.#waiting, nothingStored)
    this.#openRound()
  }

  #openRound(): void {
    this.#open = new Round(++epoch, this.#context.rounds)
    this.#singleRequestRounds = []
    this.#openBytes = 0
    this.#waiting = []
    this.#isBarrier = false
  }
}

/** Resolves the requests of a round whose commits are all final, and rejects those with points in a refused commit. */
function respond({ waiting, storedIn, refusedIn }: ClosedRound): void {
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
