import { GatewayError } from '../model/errors.ts'
import { within } from '../model/within.ts'
import type { Marker, MetricDeletion } from '../store/store.ts'
import { type CommitContext, CommitLine } from './commit-line.ts'
import type { PointBatch } from './point-batch.ts'
import type { ReOfferEvents } from './re-offer.ts'
import { type PlacedEvent, Round, type RoundContext, type RoundFault, type RoundPart } from './round.ts'

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

interface Waiting {
  /** Where its points are; a deletion has none. */
  readonly round?: Round
  readonly request?: number
  resolve(): void
  reject(error: GatewayError): void
}

/** Of every round there ever was another. */
let epoch = 0

/**
 * Group commit for partitions that are served together. All requests that arrive while a commit is under way are folded into one
 * round and ride in the next commit; each is answered when the store has its round for good. There is no timer: an idle
 * gateway commits at once, a busy one as fast as the store answers, and the busier it is the more requests share a commit.
 *
 * What a commit takes to be counted exactly once is in `commit-line.ts`.
 */
export class GroupCommit {
  readonly #context: GroupContext
  readonly #line: CommitLine
  #open: Round
  /** Requests with an idempotency key travel in parts of their own. */
  #marked: Round[] = []
  #openBytes = 0
  #waiting: Waiting[] = []
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
    return this.#openBytes
  }

  /** Resolves when the group is idle; undefined when it is. */
  get flight(): Promise<void> | undefined {
    return this.#flight
  }

  /**
   * Folds what a request brings into the open round, with a marker into one of its own. Resolves, with the number of points, when all
   * of it is stored; undefined when there was nothing.
   */
  add({ batch, refused, positions, events }: Share, marker: Marker | undefined): Promise<number> | undefined {
    const round = marker === undefined ? this.#open : new Round(++epoch, this.#context.rounds, marker)
    const before = round.bytes
    const request = round.requests
    const points = round.fold(batch, refused, positions)
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

  /** Deletes a metric that lies in the group when all that has been folded so far is stored: it goes with the metric. */
  async deleteMetric(deletion: MetricDeletion): Promise<boolean> {
    const { store, settings } = this.#context
    if (this.isAway) throw new GatewayError('store_unavailable', 'the store does not answer')
    await new Promise<void>((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
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
    while (this.#waiting.length > 0 || this.#line.hasDoubts) {
      if (this.#line.hasDoubts) await this.#line.settleDoubts()
      else await this.#commitOpen()
    }
    this.#flight = undefined
  }

  async #commitOpen(): Promise<void> {
    const rounds = [this.#open, ...this.#marked]
    let waiting: readonly Waiting[] = this.#waiting
    this.#begin()
    let parts: ReadonlyMap<number, readonly RoundPart[]>
    try {
      const encoded = await this.#encode(rounds)
      parts = encoded.parts
      waiting = waiting.filter((each) => !this.#isRefused(each, encoded.faults))
    } catch (cause) {
      refuse(waiting, new GatewayError('internal', 'the points could not be encoded', { cause }))
      return
    }
    const offeredMs = performance.now()
    const outcome = await this.#line.commit(
      parts,
      (commits) => {
        refuse(waiting, outcomeUnknown('the store did not confirm the points in time'))
        this.#context.events.warn('the store does not answer; the outcome of a commit is unknown', { commits })
      },
      (cause) => refuse(waiting, new GatewayError('internal', 'the points could not be stored', { cause })),
    )
    this.#context.events.roundSettled(performance.now() - offeredMs)
    // Those that have been refused meanwhile hear nothing of this.
    if (outcome === 'stored') for (const { resolve } of waiting) resolve()
    else refuse(waiting, changedUnderUs(outcome))
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

  /** Refuses the requests that wait behind the round on offer. Nothing of theirs has left this process. */
  #refuseOpen(): void {
    if (this.#waiting.length === 0) return
    refuse(this.#waiting, new GatewayError('store_unavailable', 'the store does not answer; nothing was stored'))
    this.#begin()
  }

  #begin(): void {
    this.#open = new Round(++epoch, this.#context.rounds)
    this.#marked = []
    this.#openBytes = 0
    this.#waiting = []
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
