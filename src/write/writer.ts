import { randomBytes } from 'node:crypto'
import { GatewayError, type ItemError } from '../model/errors.ts'
import type { PointSink } from '../model/point.ts'
import type { AppendOutcome, Commit, CommitPart, Store } from '../store/store.ts'
import { PointBatch } from './point-batch.ts'
import { Registry, type RegistryLimits, type Series } from './registry.ts'
import { Round, type RoundSettings } from './round.ts'
import { TablePool } from './table-pool.ts'

export interface WriterSettings extends RoundSettings, RegistryLimits {
  /** Rollups waiting for a commit, in bytes; beyond it requests are refused. */
  readonly pendingBytesMax: number
  /** How long a request waits for a store that does not answer. */
  readonly storeWaitMsMax: number
}

export interface WriterEvents {
  /** After each applied commit: bytes it put into the inbox of the partition. */
  committed(partition: number, bytes: number): void
  /** Something an operator should see. */
  warn(message: string, details: object): void
}

interface Waiting {
  resolve(): void
  reject(error: GatewayError): void
}

const RETRY_PAUSE_MS = 100
const BATCH_POOL_MAX = 16

/**
 * Group commit. All requests that arrive while a commit is under way are folded into one round and ride in the next
 * commit; each is answered when the store has its round for good. There is no timer: an idle writer commits at once, a busy one
 * commits as fast as the store answers, and the busier it is the more requests share a commit.
 *
 * Commits are numbered from 1 in each partition under a name drawn at random, and are offered again under the same number
 * until their outcome is known, so that a lost answer neither loses nor doubles them. When the requests of a round can
 * wait no longer they are refused with an unknown outcome, and their numbers are fenced with empty commits.
 */
export class Writer {
  readonly #store: Store
  readonly #settings: WriterSettings
  readonly #events: WriterEvents
  readonly #now: () => number
  readonly #registry: Registry
  readonly #pool: PointBatch[] = []
  readonly #tables = new TablePool()
  #name = randomBytes(16).toString('hex')
  readonly #numbers: number[]
  #blocks = 0
  #epoch = 1
  #open: Round
  #waiting: Waiting[] = []
  #flight: Promise<void> | undefined
  #storeAwaySinceMs: number | undefined
  #pendingDecodes = 0
  #closing = false

  constructor(store: Store, settings: WriterSettings, events: WriterEvents, now: () => number) {
    this.#store = store
    this.#settings = settings
    this.#events = events
    this.#now = now
    this.#registry = new Registry(store, settings)
    this.#numbers = new Array<number>(store.partitions).fill(0)
    this.#open = new Round(this.#epoch, settings, this.#tables)
  }

  /** Stores what `decode` delivers. See `Gateway.track`. */
  async track(project: string, decode: (sink: PointSink) => void): Promise<readonly ItemError[]> {
    this.#refuseWhenFull()
    if (this.#registry.full) this.#registry.clear()
    const batch = this.#pool.pop() ?? new PointBatch(this.#registry)
    this.#pendingDecodes++
    try {
      batch.begin(project)
      decode(batch)
      const refused = batch.newSeries.size > 0 ? await this.#admit(batch) : NONE_REFUSED
      const rejected = sorted(batch.rejected)
      const stored = this.#open.fold(batch, refused)
      if (this.#pool.length < BATCH_POOL_MAX) this.#pool.push(batch)
      if (stored > 0) await this.#committed()
      return rejected
    } finally {
      this.#pendingDecodes--
    }
  }

  /** Refuses new requests and resolves when every accepted one has been answered. */
  async close(): Promise<void> {
    this.#closing = true
    while (this.#flight !== undefined || this.#pendingDecodes > 0) {
      if (this.#flight !== undefined) await this.#flight
      else await new Promise(setImmediate)
    }
  }

  #refuseWhenFull(): void {
    if (this.#closing) throw new GatewayError('overloaded', 'the gateway is shutting down')
    const away = this.#storeAwaySinceMs
    if (away !== undefined && this.#now() - away > this.#settings.storeWaitMsMax) {
      throw new GatewayError('store_unavailable', 'the store does not answer')
    }
    if (this.#open.bytes > this.#settings.pendingBytesMax) {
      throw new GatewayError('overloaded', 'too many points wait for the store; try again shortly')
    }
  }

  /** Asks the store about metrics and series it has not been asked about; answers the series that may not be written. */
  async #admit(batch: PointBatch): Promise<ReadonlySet<Series>> {
    if (batch.undefinedMetrics.size > 0) await this.#registry.define(batch.undefinedMetrics)
    await this.#registry.enforceSeriesLimit(batch.newSeries)
    const refused = new Set<Series>()
    for (const series of batch.newSeries) {
      const rejection = this.#registry.judge(series)
      if (rejection === undefined) continue
      refused.add(series)
      let last = -1
      for (let i = 0; i < batch.length; i++) {
        const item = batch.item[i]!
        if (batch.series[i] !== series || item === last) continue
        batch.reject(item, rejection)
        last = item
      }
    }
    return refused
  }

  /** Resolves when the round that is open now has been committed. */
  #committed(): Promise<void> {
    const answer = new Promise<void>((resolve, reject) => this.#waiting.push({ resolve, reject }))
    this.#flight ??= this.#fly()
    return answer
  }

  /** Commits round after round until none is left. */
  async #fly(): Promise<void> {
    // Requests that arrived in the same turn of the event loop share the first round.
    await new Promise(setImmediate)
    while (this.#waiting.length > 0) {
      const round = this.#open
      const waiting = this.#waiting
      this.#waiting = []
      this.#begin()
      try {
        await this.#commit(round, waiting)
      } catch (cause) {
        // A defect of ours: the round is lost, its requests are told, and the numbers it took are drawn anew.
        this.#rename('commit failed', cause)
        const error = new GatewayError('internal', 'the points could not be encoded', { cause })
        for (const { reject } of waiting) reject(error)
      }
    }
    this.#flight = undefined
  }

  async #commit(round: Round, waiting: readonly Waiting[]): Promise<void> {
    const parts = round.parts(this.#now(), (partition) => `${this.#name}.${partition}.${(this.#blocks++).toString(36)}`)
    const commits = [...parts].map(([partition, ofPartition]): Commit => {
      this.#numbers[partition]!++
      return { partition, writer: this.#name, number: this.#numbers[partition]!, parts: ofPartition }
    })
    const outcomes = await this.#offer(commits, waiting)
    if (outcomes === undefined) return
    const failed = outcomes.find(({ status }) => status === 'gap' || status === 'conflict')
    if (failed !== undefined) {
      // The store is not the one we knew: nothing that we remember of it holds.
      this.#rename(`the store answered ${failed.status}`, undefined)
      const error = outcomes.every(({ status }) => status !== 'applied')
        ? new GatewayError('store_unavailable', 'the store has changed under the gateway; send the request again')
        : new GatewayError('store_unavailable', 'the store has changed under the gateway and took part of the points', {
            details: { outcome: 'unknown' },
          })
      for (const { reject } of waiting) reject(error)
      return
    }
    round.settle()
    for (const { resolve } of waiting) resolve()
    for (const { partition, parts: ofPartition } of commits) this.#events.committed(partition, partsBytes(ofPartition))
  }

  /**
   * Offers commits until the store answers. When that takes longer than a request may wait, the requests are refused and
   * what is offered from then on are empty commits that take the numbers; then the answer is undefined.
   */
  async #offer(commits: readonly Commit[], waiting: readonly Waiting[]): Promise<readonly AppendOutcome[] | undefined> {
    const startedMs = this.#now()
    let late = false
    // By the clock and not by failed attempts: a store may also keep a call waiting.
    const timer = setInterval(() => {
      this.#storeAwaySinceMs ??= startedMs
      if (!late) this.#refuseUnknown(commits, waiting)
      late = true
      this.#refuseOpen()
    }, this.#settings.storeWaitMsMax)
    try {
      for (;;) {
        const fence = late
        try {
          const outcomes = await this.#store.append(
            fence ? commits.map((commit) => ({ ...commit, parts: [] })) : commits,
          )
          this.#storeAwaySinceMs = undefined
          return fence ? undefined : outcomes
        } catch (cause) {
          if (!(cause instanceof GatewayError && cause.code === 'store_unavailable')) throw cause
          this.#storeAwaySinceMs ??= startedMs
          if (this.#closing && late) return undefined
          await new Promise((resolve) => setTimeout(resolve, RETRY_PAUSE_MS))
        }
      }
    } finally {
      clearInterval(timer)
    }
  }

  /** Tells the requests of an offered round that nobody knows yet what became of it. */
  #refuseUnknown(commits: readonly Commit[], waiting: readonly Waiting[]): void {
    const error = new GatewayError('store_unavailable', 'the store did not confirm the points in time', {
      details: { outcome: 'unknown' },
    })
    for (const { reject } of waiting) reject(error)
    this.#events.warn('the store does not answer; the outcome of a commit is unknown', { commits: commits.length })
  }

  /** Refuses the requests that wait behind the round on offer. Nothing of theirs has left this process. */
  #refuseOpen(): void {
    if (this.#waiting.length === 0) return
    const error = new GatewayError('store_unavailable', 'the store does not answer; nothing was stored')
    for (const { reject } of this.#waiting) reject(error)
    this.#waiting = []
    this.#begin()
  }

  #begin(): void {
    this.#epoch++
    this.#open = new Round(this.#epoch, this.#settings, this.#tables)
  }

  /** A new name with numbers from 1, and nothing taken for known. */
  #rename(reason: string, cause: unknown): void {
    this.#events.warn('the writer starts anew', { reason, cause })
    this.#name = randomBytes(16).toString('hex')
    this.#numbers.fill(0)
    this.#registry.clear()
  }
}

const NONE_REFUSED: ReadonlySet<Series> = new Set()

function sorted(rejected: readonly ItemError[]): readonly ItemError[] {
  return rejected.length === 0 ? NO_ERRORS : [...rejected].sort((a, b) => a.index - b.index)
}

const NO_ERRORS: readonly ItemError[] = []

function partsBytes(parts: readonly CommitPart[]): number {
  let bytes = 0
  for (const { block } of parts) bytes += (block?.scalars.length ?? 0) + (block?.sketches?.length ?? 0)
  return bytes
}
