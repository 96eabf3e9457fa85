import { GatewayError } from '../../model/errors.ts'
import { type Pace, runPaced } from '../../model/steps.ts'
import { within } from '../../model/within.ts'
import type { Marker, MetricDeletion } from '../../store/store.ts'
import type { ReOfferEvents } from '../recover/replay.ts'
import type { PointBatch } from '../round/point-batch.ts'
import { type PlacedEvent, Round, type RoundContext, type RoundFault, type RoundPart } from '../round/round.ts'
import { type CommitContext, CommitLine, type RoundOutcome } from './commit-line.ts'
import { announcingStep, commitSteps, type Step } from './commit-steps.ts'

export interface GroupEvents extends ReOfferEvents {
  /** A round has met its fate, stored or not, so long after it was offered. */
  roundSettled(durationMs: number): void
}

export interface GroupContext extends CommitContext {
  readonly events: GroupEvents
  readonly rounds: RoundContext
  /** A name that no block ever had. */
  blockName(partition: number): string
  /** The store turned out to have gone back in time. */
  onRewind(): void
}

/** What a request brings for the partitions of a group. */
export interface Share {
  readonly batch: PointBatch
  /** Items of the batch that may not be stored. */
  readonly refused: ReadonlySet<number>
  /** Points of the batch that lie in the group; undefined: all. */
  readonly positions: readonly number[] | undefined
  readonly events: readonly PlacedEvent[]
}

/** A round that holds the points of one large request. */
export interface FoldedRound {
  readonly round: Round
  readonly points: number
}

interface Waiting {
  /** Where its points are; a deletion has none. */
  readonly round?: Round
  readonly request?: number
  resolve(): void
  reject(error: GatewayError): void
}

/** A round that takes no more points, on its way into the store. */
interface ClosedRound {
  readonly waiting: readonly Waiting[]
  /** What has not been offered yet. */
  steps: readonly Step[]
  /** The registry's generation in which they were encoded. */
  readonly generation: number
  readonly bytes: number
  readonly outcomes: Set<RoundOutcome>
  /** The requests have been refused: what was not offered yet is left out. */
  isOver: boolean
}

/** Closed rounds at a time: a small one goes between the steps of a large one, and waits for one step of each of the others at most. */
const ROUNDS_MAX = 4

/** Round numbers are unique in this process. */
let epoch = 0

/**
 * Group commit for partitions that are served together. All requests that arrive while a commit is under way are folded into one
 * round and ride in the next commit; each is answered when the store has its round for good. There is no timer: an idle
 * gateway commits at once, a busy one as fast as the store answers, and the busier it is the more requests share a commit.
 * A large round takes several commits (`commit-steps.ts`), and the rounds after it go in between.
 *
 * What a commit takes to be counted exactly once is in `commit-line.ts`.
 */
export class GroupCommit {
  readonly #context: GroupContext
  readonly #line: CommitLine
  #open: Round
  /** Rounds of one request: those with an idempotency key travel in parts of their own, and those of many points. */
  #marked: Round[] = []
  #openBytes = 0
  #waiting: Waiting[] = []
  /** What has been folded so far must be stored before the open round is closed. */
  #isBarrier = false
  #rounds: ClosedRound[] = []
  /** Of the round that is being encoded. */
  #encodingBytes = 0
  #flight: Promise<void> | undefined

  constructor(context: GroupContext, partitions: readonly number[]) {
    this.#context = context
    this.#line = new CommitLine(context, partitions, {
      onAway: () => this.#refuseOpen(),
      onDoubt: () => this.#takeOff(),
      onRewind: () => context.onRewind(),
    })
    this.#open = new Round(++epoch, context.rounds)
  }

  /** The store has not taken commits for longer than a request may wait. */
  get isAway(): boolean {
    return this.#line.isAway
  }

  /** Bytes that wait for the next commit. */
  get openBytes(): number {
    return this.#rounds.reduce((sum, { bytes }) => sum + bytes, this.#openBytes + this.#encodingBytes)
  }

  /** Resolves when the group is idle; undefined when it is. */
  get flight(): Promise<void> | undefined {
    return this.#flight
  }

  /**
   * Folds what a request brings into the open round, with a marker into one of its own. Resolves, with the number of points, when all
   * of it is stored; undefined when there was nothing.
   */
  add(
    { batch, refused, positions, events }: Share,
    marker: Marker | undefined,
    folded?: FoldedRound,
  ): Promise<number> | undefined {
    const round =
      folded?.round ?? (marker === undefined ? this.#open : new Round(++epoch, this.#context.rounds, marker))
    const before = folded === undefined ? round.bytes : 0
    const request = folded === undefined ? round.requests : 0
    const points = folded?.points ?? round.fold(batch, refused, positions)
    round.addEvents(events)
    this.#openBytes += round.bytes - before
    if (points + events.length === 0) return undefined
    if (round !== this.#open) this.#marked.push(round)
    const stored = new Promise<number>((resolve, reject) =>
      this.#waiting.push({ round, request, resolve: () => resolve(points), reject }),
    )
    this.#takeOff()
    return stored
  }

  /** Folds many points in steps into a round of their own, for `add`. */
  async foldInSteps(
    { batch, refused, positions }: Share,
    marker: Marker | undefined,
    pace: Pace,
  ): Promise<FoldedRound> {
    const round = new Round(++epoch, this.#context.rounds, marker)
    return { round, points: await runPaced(round.foldInSteps(batch, refused, positions), pace) }
  }

  /** Deletes a metric that lies in the group when all that has been folded so far is stored: it goes with the metric. */
  async deleteMetric(deletion: MetricDeletion): Promise<boolean> {
    const { store, settings } = this.#context
    if (this.isAway) throw new GatewayError('store_unavailable', 'the store does not answer')
    await new Promise<void>((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      this.#isBarrier = true
      this.#takeOff()
    })
    const wasThere = await within(settings.storeWaitMsMax, () => store.deleteMetric(deletion))
    this.#line.retainDeletion(deletion)
    return wasThere
  }

  /** What the store holds is looked into before the next commit. */
  doubt(): void {
    this.#line.doubt()
  }

  /** A store that does not answer is not waited for any longer than requests are. To be called again after the last commit. */
  close(): void {
    this.#line.close()
  }

  #takeOff(): void {
    this.#flight ??= this.#fly()
  }

  /** Commits round after round until none is left, and before each sees to what the store may have forgotten. */
  async #fly(): Promise<void> {
    // Requests that arrived in the same turn of the event loop share the first round.
    await new Promise(setImmediate)
    while (this.#waiting.length > 0 || this.#rounds.length > 0 || this.#line.hasDoubts) {
      if (this.#line.hasDoubts) await this.#line.settleDoubts()
      else await this.#commitStep()
    }
    this.#flight = undefined
  }

  /** A step of the round whose turn it is. */
  async #commitStep(): Promise<void> {
    if (this.#waiting.length > 0 && this.#rounds.length < (this.#isBarrier ? 1 : ROUNDS_MAX)) await this.#closeOpen()
    const round = this.#rounds.shift()
    if (round === undefined) return
    const [step, ...steps] = round.steps
    round.steps = steps
    if (step !== undefined) await this.#offer(round, step)
    if (round.isOver) return
    if (steps.length > 0) this.#rounds.push(round)
    else if (!round.outcomes.has('partly') && !round.outcomes.has('refused'))
      for (const { resolve } of round.waiting) resolve()
    else
      refuse(
        round.waiting,
        changedUnderUs(round.outcomes.size > 1 || round.outcomes.has('partly') ? 'partly' : 'refused'),
      )
  }

  async #offer(round: ClosedRound, step: Step): Promise<void> {
    const { registry, events } = this.#context
    const end = (error: GatewayError): void => {
      refuse(round.waiting, error)
      round.isOver = true
    }
    const offeredMs = performance.now()
    const outcome = await this.#line.commit(
      round.generation === registry.generation ? step : announcingStep(step),
      (commits) => {
        end(outcomeUnknown('the store did not confirm the points in time'))
        events.warn('the store does not answer; the outcome of a commit is unknown', { commits })
      },
      (cause) => end(new GatewayError('internal', 'the points could not be stored', { cause })),
    )
    events.roundSettled(performance.now() - offeredMs)
    round.outcomes.add(outcome)
  }

  /** Encodes the open round. Requests that arrive meanwhile go into the next one. */
  async #closeOpen(): Promise<void> {
    const rounds = [this.#open, ...this.#marked]
    const waiting = this.#waiting
    const bytes = this.#openBytes
    const { generation } = this.#context.registry
    this.#begin()
    this.#encodingBytes = bytes
    try {
      const { parts, faults } = await this.#encode(rounds)
      const encoded = waiting.filter((each) => !this.#isRefused(each, faults))
      this.#rounds.push({
        waiting: encoded,
        steps: commitSteps(parts),
        generation,
        bytes,
        outcomes: new Set(),
        isOver: false,
      })
    } catch (cause) {
      refuse(waiting, new GatewayError('internal', 'the points could not be encoded', { cause }))
    } finally {
      this.#encodingBytes = 0
    }
  }

  /** The parts of all rounds by partition, and what of each cannot be encoded. The points of all requests without a key come first. */
  async #encode(rounds: readonly Round[]) {
    const { now, blockName } = this.#context
    const nowMs = now()
    const parts = new Map<number, RoundPart[]>()
    const faults = new Map<Round, readonly RoundFault[]>()
    for (const round of rounds) {
      const encoded = await round.encode(nowMs, blockName)
      if (encoded.faults.length > 0) {
        faults.set(round, encoded.faults)
        // That of a request with a key is stored whole or not at all.
        if (round !== rounds[0]) continue
      }
      for (const [partition, ofRound] of encoded.parts) {
        const ofPartition = parts.get(partition)
        if (ofPartition === undefined) parts.set(partition, ofRound)
        else for (const part of ofRound) ofPartition.push(part)
      }
    }
    return { parts, faults }
  }

  /** Refuses a request of whose points some cannot be encoded. */
  #isRefused({ round, request, reject }: Waiting, faults: ReadonlyMap<Round, readonly RoundFault[]>): boolean {
    const fault = round && faults.get(round)?.find(({ requests }) => requests.includes(request!))
    if (fault === undefined) return false
    const { cause } = fault
    reject(new GatewayError('internal', 'some of the points could not be encoded', { cause }))
    return true
  }

  /** Refuses the requests that wait behind the step on offer. */
  #refuseOpen(): void {
    const nothingStored = new GatewayError('store_unavailable', 'the store does not answer; nothing was stored')
    for (const round of this.#rounds) {
      const hasBegun = round.outcomes.size > 0
      refuse(round.waiting, hasBegun ? outcomeUnknown('the store took part of the points') : nothingStored)
    }
    this.#rounds = []
    if (this.#waiting.length === 0) return
    refuse(this.#waiting, nothingStored)
    this.#begin()
  }

  #begin(): void {
    this.#open = new Round(++epoch, this.#context.rounds)
    this.#marked = []
    this.#openBytes = 0
    this.#waiting = []
    this.#isBarrier = false
  }
}

export function outcomeUnknown(message: string, cause?: unknown): GatewayError {
  return new GatewayError('store_unavailable', message, { details: { outcome: 'unknown' }, cause })
}

function changedUnderUs(outcome: 'partly' | 'refused'): GatewayError {
  const message = 'the store has changed under the gateway'
  return outcome === 'partly'
    ? outcomeUnknown(`${message} and took part of the points`)
    : new GatewayError('store_unavailable', `${message}; send the request again`)
}

function refuse(waiting: readonly Waiting[], error: GatewayError): void {
  for (const { reject } of waiting) reject(error)
}
