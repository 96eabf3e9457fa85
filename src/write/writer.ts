import { randomBytes } from 'node:crypto'
import { GatewayError, type ItemError } from '../model/errors.ts'
import type { PointSink, Rejection } from '../model/point.ts'
import type { Store } from '../store/store.ts'
import { CommitLine, type CommitSettings } from './commit-line.ts'
import { CommitNumbers } from './commit-numbers.ts'
import { PointBatch } from './point-batch.ts'
import type { ReOfferEvents } from './re-offer.ts'
import { Registry, type RegistryLimits, type Series } from './registry.ts'
import { RetainedCommits } from './retained-commits.ts'
import { type PlacedEvent, Round, type RoundContext, type RoundPart, type RoundSettings } from './round.ts'
import { TablePool } from './table-pool.ts'

export interface WriterSettings extends CommitSettings, RoundSettings, RegistryLimits {
  /** Rollups waiting for a commit, in bytes; beyond it requests are refused. */
  readonly pendingBytesMax: number
}

export interface WriterEvents extends ReOfferEvents {
  /** A round has met its fate, stored or not, so long after it was offered. */
  roundSettled(durationMs: number): void
}

export interface WriterTotals {
  points: number
  events: number
}

interface Waiting {
  resolve(): void
  reject(error: GatewayError): void
}

const BATCH_POOL_MAX = 16

/**
 * Group commit. All requests that arrive while a commit is under way are folded into one round and ride in the next
 * commit; each is answered when the store has its round for good. There is no timer: an idle writer commits at once, a busy one
 * commits as fast as the store answers, and the busier it is the more requests share a commit.
 *
 * What a commit takes to be counted exactly once is in `commit-line.ts`.
 */
export class Writer {
  /** What was acknowledged since it was made. */
  readonly totals: WriterTotals = { points: 0, events: 0 }
  readonly #settings: WriterSettings
  readonly #events: WriterEvents
  readonly #now: () => number
  readonly #registry: Registry
  readonly #pool: PointBatch[] = []
  readonly #rounds: RoundContext
  readonly #retained: RetainedCommits
  readonly #line: CommitLine
  /** Begins the names of its blocks. */
  readonly #name = randomBytes(16).toString('hex')
  #blocks = 0
  #epoch = 1
  #open: Round
  /** Requests with an idempotency key travel in parts of their own. */
  #marked: Round[] = []
  #openBytes = 0
  #waiting: Waiting[] = []
  #flight: Promise<void> | undefined
  #pendingDecodes = 0
  #closing = false

  constructor(store: Store, settings: WriterSettings, events: WriterEvents, now: () => number) {
    this.#settings = settings
    this.#events = events
    this.#now = now
    this.#registry = new Registry(store, settings)
    this.#rounds = { settings, registry: this.#registry, tables: new TablePool(), keepsSeries: store.mayForget }
    this.#retained = new RetainedCommits(store.partitions, settings.retainedBytesMax)
    this.#line = new CommitLine(
      {
        store,
        settings,
        events,
        registry: this.#registry,
        numbers: new CommitNumbers(store.partitions),
        retained: this.#retained,
        now,
      },
      {
        onAway: () => this.#refuseOpen(),
        onDoubt: () => {
          this.#flight ??= this.#fly()
        },
      },
    )
    this.#open = new Round(this.#epoch, this.#rounds)
  }

  /** Rollups that wait for a commit. */
  get pendingBytes(): number {
    return this.#openBytes
  }

  /** Bytes of acknowledged commits that are kept in case the store forgets them. */
  get retainedBytes(): number {
    return this.#retained.bytes
  }

  /** Stores what `decode` delivers, and events with it. With a key all of it counts once in 24 h. See `Gateway.trackBatch`. */
  async track(
    project: string,
    decode: (sink: PointSink) => void,
    idempotencyKey?: string,
    events: readonly PlacedEvent[] = NO_EVENTS,
  ): Promise<readonly ItemError[]> {
    this.#refuseWhenFull()
    if (this.#registry.full) this.#registry.clear()
    const batch = this.#pool.pop() ?? new PointBatch(this.#registry)
    this.#pendingDecodes++
    try {
      batch.begin(project)
      decode(batch)
      const refused = batch.newSeries.size > 0 ? await this.#admit(batch) : NONE_REFUSED
      const rejected = sorted(batch.rejected)
      const round = idempotencyKey === undefined ? this.#open : this.#newMarked(project, idempotencyKey)
      const before = round.bytes
      const points = round.fold(batch, refused)
      const stored = points + events.length
      round.addEvents(events)
      this.#openBytes += round.bytes - before
      if (round !== this.#open && stored > 0) this.#marked.push(round)
      if (this.#pool.length < BATCH_POOL_MAX) this.#pool.push(batch)
      if (stored > 0) await this.#committed()
      this.totals.points += points
      this.totals.events += events.length
      return rejected
    } finally {
      this.#pendingDecodes--
    }
  }

  /** Throws `store_unavailable` while the store takes no commits: it may still answer reads. */
  requireStore(): void {
    if (this.#line.isAway) throw new GatewayError('store_unavailable', 'the store does not answer')
  }

  /** Refuses new requests and resolves when every accepted one has been answered. */
  async close(): Promise<void> {
    this.#closing = true
    this.#line.close()
    while (this.#flight !== undefined || this.#pendingDecodes > 0) {
      if (this.#flight !== undefined) await this.#flight
      else await new Promise(setImmediate)
    }
    // The last flights may have begun to look again.
    this.#line.close()
  }

  #refuseWhenFull(): void {
    if (this.#closing) throw new GatewayError('overloaded', 'the gateway is shutting down')
    this.requireStore()
    if (this.#openBytes > this.#settings.pendingBytesMax) {
      throw new GatewayError('overloaded', 'too many points wait for the store; try again shortly')
    }
  }

  /**
   * Asks the store about metrics and series it has not been asked about; answers the items that may not be written. An item of
   * several points is refused whole.
   */
  async #admit(batch: PointBatch): Promise<ReadonlySet<number>> {
    if (batch.undefinedMetrics.size > 0) await this.#registry.define(batch.undefinedMetrics)
    await this.#registry.enforceSeriesLimit(batch.newSeries)
    const rejections = new Map<Series, Rejection>()
    for (const series of batch.newSeries) {
      const rejection = this.#registry.judge(series)
      if (rejection !== undefined) rejections.set(series, rejection)
    }
    if (rejections.size === 0 && batch.rejected.length === 0) return NONE_REFUSED
    const refused = new Set<number>()
    // Those that only refused items would have brought: no commit will, and their places are free again.
    const unused = new Set(batch.newSeries)
    for (let i = 0; i < batch.length; i++) {
      const rejection = rejections.get(batch.series[i]!)
      if (rejection === undefined || refused.has(batch.item[i]!)) continue
      refused.add(batch.item[i]!)
      batch.reject(batch.item[i]!, rejection)
    }
    for (let i = 0; i < batch.length; i++) if (!refused.has(batch.item[i]!)) unused.delete(batch.series[i]!)
    for (const series of unused) this.#registry.release(series)
    return refused
  }

  #newMarked(project: string, key: string): Round {
    return new Round(++this.#epoch, this.#rounds, { project, key })
  }

  /** Resolves when the round that is open now has been committed. */
  #committed(): Promise<void> {
    const answer = new Promise<void>((resolve, reject) => this.#waiting.push({ resolve, reject }))
    this.#flight ??= this.#fly()
    return answer
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
    const waiting = this.#waiting
    this.#waiting = []
    this.#begin()
    let parts: ReadonlyMap<number, readonly RoundPart[]>
    try {
      parts = this.#partsOf(rounds)
    } catch (cause) {
      refuse(waiting, new GatewayError('internal', 'the points could not be encoded', { cause }))
      return
    }
    const offeredMs = performance.now()
    const outcome = await this.#line.commit(
      parts,
      (commits) => {
        const error = new GatewayError('store_unavailable', 'the store did not confirm the points in time', {
          details: { outcome: 'unknown' },
        })
        refuse(waiting, error)
        this.#events.warn('the store does not answer; the outcome of a commit is unknown', { commits })
      },
      (cause) => refuse(waiting, new GatewayError('internal', 'the points could not be stored', { cause })),
    )
    this.#events.roundSettled(performance.now() - offeredMs)
    // Those that have been refused meanwhile hear nothing of this.
    if (outcome === 'stored') for (const { resolve } of waiting) resolve()
    else refuse(waiting, changedUnderUs(outcome))
  }

  /** By partition. The points of all requests without a key come first. */
  #partsOf(rounds: readonly Round[]): Map<number, RoundPart[]> {
    const nowMs = this.#now()
    const byPartition = new Map<number, RoundPart[]>()
    for (const round of rounds) {
      for (const [partition, parts] of round.parts(nowMs, (of) => this.#blockName(of))) {
        const ofPartition = byPartition.get(partition)
        if (ofPartition === undefined) byPartition.set(partition, parts)
        else ofPartition.push(...parts)
      }
    }
    return byPartition
  }

  #blockName(partition: number): string {
    return `${this.#name}.${partition}.${(this.#blocks++).toString(36)}`
  }

  /** Refuses the requests that wait behind the round on offer. Nothing of theirs has left this process. */
  #refuseOpen(): void {
    if (this.#waiting.length === 0) return
    refuse(this.#waiting, new GatewayError('store_unavailable', 'the store does not answer; nothing was stored'))
    this.#waiting = []
    this.#begin()
  }

  #begin(): void {
    this.#open = new Round(++this.#epoch, this.#rounds)
    this.#marked = []
    this.#openBytes = 0
  }
}

const NO_EVENTS: readonly PlacedEvent[] = []
const NONE_REFUSED: ReadonlySet<number> = new Set()

function changedUnderUs(outcome: 'partly' | 'refused'): GatewayError {
  const message = 'the store has changed under the gateway'
  return outcome === 'partly'
    ? new GatewayError('store_unavailable', `${message} and took part of the points`, {
        details: { outcome: 'unknown' },
      })
    : new GatewayError('store_unavailable', `${message}; send the request again`)
}

function refuse(waiting: readonly Waiting[], error: GatewayError): void {
  for (const { reject } of waiting) reject(error)
}

function sorted(rejected: readonly ItemError[]): readonly ItemError[] {
  return rejected.length === 0 ? NO_ERRORS : [...rejected].sort((a, b) => a.index - b.index)
}

const NO_ERRORS: readonly ItemError[] = []
