import { randomBytes } from 'node:crypto'
import { GatewayError, type ItemError } from '../model/errors.ts'
import type { PointSink } from '../model/point.ts'
import type { AppendOutcome, Commit, CommitPart, Store } from '../store/store.ts'
import { PointBatch } from './point-batch.ts'
import { Registry, type RegistryLimits, type Series } from './registry.ts'
import { announcingAll, blockBytes, RetainedCommits } from './retained-commits.ts'
import { Round, type RoundContext, type RoundPart, type RoundSettings } from './round.ts'
import { TablePool } from './table-pool.ts'

export interface WriterSettings extends RoundSettings, RegistryLimits {
  /** Rollups waiting for a commit, in bytes; beyond it requests are refused. */
  readonly pendingBytesMax: number
  /** How long a request waits for a store that does not answer. */
  readonly storeWaitMsMax: number
  /** Acknowledged commits kept to be offered again to a store that forgot them, in bytes. */
  readonly retainedBytesMax: number
  /** For how long they are kept … */
  readonly retainedMsMax: number
  /** … and how often the store is asked whether it still has them. */
  readonly retainedLookMs: number
}

export interface WriterEvents {
  /** After each applied commit: bytes it put into the inbox of the partition. */
  committed(partition: number, bytes: number): void
  /** The store has gone back in time: what anybody remembers of it may not hold any more. */
  storeWentBack(): void
  /** Acknowledged points that are gone: the store forgot them, and so had we. */
  lost(points: number): void
  /** There was no room to retain a commit for longer than this. */
  retentionShortened(keptMs: number): void
  /** Something an operator should see. */
  warn(message: string, details: object): void
}

interface Waiting {
  resolve(): void
  reject(error: GatewayError): void
}

/** A commit on its way into the store. */
interface Offer {
  readonly partition: number
  writer: string
  number: number
  readonly parts: readonly RoundPart[]
  /** What is offered; nothing once it is fenced. */
  offered: readonly CommitPart[]
  /** The series that it announces, and the generation of the registry in which the others were known. */
  announced: readonly (readonly Series[])[]
  generation: number
  isFenced: boolean
  /** `stored` and `fenced` are for good: the points are in the store, or an empty commit has their number. */
  state: 'open' | 'stored' | 'fenced'
  gaps: number
}

/** How long the requests of a flight have waited. */
interface Patience {
  readonly startedMs: number
  isOver: boolean
  end(): void
}

const RETRY_PAUSE_MS = 100
/** Stores forget the watermark of a writer that was silent for 7 days; long before, its name is drawn anew. */
const NAME_MS_MAX = 86_400_000
const BATCH_POOL_MAX = 16
const WARN_PAUSE_MS = 60_000

/**
 * Group commit. All requests that arrive while a commit is under way are folded into one round and ride in the next
 * commit; each is answered when the store has its round for good. There is no timer: an idle writer commits at once, a busy one
 * commits as fast as the store answers, and the busier it is the more requests share a commit.
 *
 * Commits are numbered from 1 in each partition under a name drawn at random, and are offered again under the same number
 * until their outcome is known, so that a lost answer neither loses nor doubles them. When the requests of a round can
 * wait no longer they are refused with an unknown outcome, and their numbers are fenced with empty commits: whatever
 * is still on its way finds its number taken. A store that has forgotten numbers is offered them again before anything new
 * (`retained-commits.ts`).
 */
export class Writer {
  readonly #store: Store
  readonly #settings: WriterSettings
  readonly #events: WriterEvents
  readonly #now: () => number
  readonly #registry: Registry
  readonly #pool: PointBatch[] = []
  readonly #rounds: RoundContext
  readonly #retained: RetainedCommits
  /** By partition: the name under which its commits are numbered, and the number taken last. */
  readonly #names: string[]
  readonly #numbers: number[]
  /** When that number was taken. */
  readonly #numberedMs: number[]
  #blocks = 0
  #epoch = 1
  #open: Round
  /** Requests with an idempotency key travel in parts of their own. */
  #marked: Round[] = []
  #openBytes = 0
  #waiting: Waiting[] = []
  #flight: Promise<void> | undefined
  /** Partitions in which the store may be behind. */
  readonly #doubted = new Set<number>()
  #looks: NodeJS.Timeout | undefined
  #looking = false
  #shortenedWarnedMs = Number.NEGATIVE_INFINITY
  #storeAwaySinceMs: number | undefined
  #pendingDecodes = 0
  #closing = false

  constructor(store: Store, settings: WriterSettings, events: WriterEvents, now: () => number) {
    this.#store = store
    this.#settings = settings
    this.#events = events
    this.#now = now
    this.#registry = new Registry(store, settings)
    this.#rounds = { settings, registry: this.#registry, tables: new TablePool(), keepsSeries: store.mayForget }
    this.#retained = new RetainedCommits(store.partitions, settings.retainedBytesMax)
    this.#names = new Array<string>(store.partitions).fill(newName())
    this.#numbers = new Array<number>(store.partitions).fill(0)
    this.#numberedMs = new Array<number>(store.partitions).fill(0)
    this.#open = new Round(this.#epoch, this.#rounds)
  }

  /** Bytes of acknowledged commits that are kept in case the store forgets them. */
  get retainedBytes(): number {
    return this.#retained.bytes
  }

  /** Stores what `decode` delivers. With a key the points count once in 24 h. See `Gateway.track`. */
  async track(
    project: string,
    decode: (sink: PointSink) => void,
    idempotencyKey?: string,
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
      const stored = round.fold(batch, refused)
      this.#openBytes += round.bytes - before
      if (round !== this.#open && stored > 0) this.#marked.push(round)
      if (this.#pool.length < BATCH_POOL_MAX) this.#pool.push(batch)
      if (stored > 0) await this.#committed()
      return rejected
    } finally {
      this.#pendingDecodes--
    }
  }

  /** Throws `store_unavailable` while the store takes no commits: it may still answer reads. */
  requireStore(): void {
    const away = this.#storeAwaySinceMs
    if (away !== undefined && this.#now() - away > this.#settings.storeWaitMsMax) {
      throw new GatewayError('store_unavailable', 'the store does not answer')
    }
  }

  /** Refuses new requests and resolves when every accepted one has been answered. */
  async close(): Promise<void> {
    this.#closing = true
    clearInterval(this.#looks)
    while (this.#flight !== undefined || this.#pendingDecodes > 0) {
      if (this.#flight !== undefined) await this.#flight
      else await new Promise(setImmediate)
    }
    // The last flights may have begun to look again.
    clearInterval(this.#looks)
  }

  #refuseWhenFull(): void {
    if (this.#closing) throw new GatewayError('overloaded', 'the gateway is shutting down')
    this.requireStore()
    if (this.#openBytes > this.#settings.pendingBytesMax) {
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
    while (this.#waiting.length > 0 || this.#doubted.size > 0) {
      if (this.#doubted.size > 0) await this.#settleDoubts()
      else await this.#commitOpen()
    }
    this.#flight = undefined
  }

  async #commitOpen(): Promise<void> {
    const rounds = [this.#open, ...this.#marked]
    const waiting = this.#waiting
    this.#waiting = []
    this.#begin()
    let offers: readonly Offer[]
    try {
      offers = this.#offersOf(rounds)
    } catch (cause) {
      refuse(waiting, new GatewayError('internal', 'the points could not be encoded', { cause }))
      return
    }
    const patience = this.#beginPatience(() => {
      const error = new GatewayError('store_unavailable', 'the store did not confirm the points in time', {
        details: { outcome: 'unknown' },
      })
      refuse(waiting, error)
      this.#events.warn('the store does not answer; the outcome of a commit is unknown', { commits: offers.length })
    })
    try {
      await this.#settle(offers, patience)
      this.#answer(offers, waiting)
    } catch (cause) {
      // A defect of ours. What became of the commits is unknown, so that their numbers are fenced.
      refuse(waiting, new GatewayError('internal', 'the points could not be stored', { cause }))
      await this.#fenceAll(offers, patience)
    } finally {
      patience.end()
    }
  }

  #answer(offers: readonly Offer[], waiting: readonly Waiting[]): void {
    if (offers.every(({ state }) => state === 'stored')) {
      for (const { resolve } of waiting) resolve()
      return
    }
    // What was fenced for lateness has been refused before; then nothing more is heard of this.
    const message = 'the store has changed under the gateway'
    const error = offers.some(({ state }) => state === 'stored')
      ? new GatewayError('store_unavailable', `${message} and took part of the points`, {
          details: { outcome: 'unknown' },
        })
      : new GatewayError('store_unavailable', `${message}; send the request again`)
    refuse(waiting, error)
  }

  /** Takes the numbers of a round. The points of all requests without a key come first. */
  #offersOf(rounds: readonly Round[]): Offer[] {
    const nowMs = this.#now()
    const byPartition = new Map<number, RoundPart[]>()
    for (const round of rounds) {
      const parts = round.parts(
        nowMs,
        (partition) => `${this.#names[partition]!}.${partition}.${(this.#blocks++).toString(36)}`,
      )
      for (const [partition, ofRound] of parts) {
        const ofPartition = byPartition.get(partition)
        if (ofPartition === undefined) byPartition.set(partition, ofRound)
        else ofPartition.push(...ofRound)
      }
    }
    return [...byPartition].map(([partition, parts]) => ({
      partition,
      ...this.#takeNumber(partition, nowMs),
      parts,
      offered: parts.map(({ part }) => part),
      announced: parts.map(({ announced }) => announced),
      generation: this.#registry.generation,
      isFenced: false,
      state: 'open',
      gaps: 0,
    }))
  }

  #takeNumber(partition: number, nowMs: number): { writer: string; number: number } {
    if (nowMs - this.#numberedMs[partition]! > NAME_MS_MAX) {
      this.#names[partition] = newName()
      this.#numbers[partition] = 0
      this.#retained.clear(partition)
    }
    this.#numberedMs[partition] = nowMs
    return { writer: this.#names[partition]!, number: ++this.#numbers[partition]! }
  }

  /**
   * Offers commits until the outcome of each is known. When that takes longer than a request may wait, what is offered from
   * then on are empty commits that take the numbers. Some stay open only when the writer is closing meanwhile.
   */
  async #settle(offers: readonly Offer[], patience: Patience): Promise<void> {
    let apart = false
    for (;;) {
      const open = offers.filter(({ state }) => state === 'open')
      if (open.length === 0) return
      if (patience.isOver) for (const offer of open) fence(offer)
      const outcomes = await this.#append(open.map(commitOf), apart, patience)
      const behind = new Map<number, number>()
      for (const [i, outcome] of outcomes.entries()) {
        const offer = open[i]!
        if (outcome?.status !== 'gap') this.#judge(offer, outcome)
        else if (this.#store.mayForget) behind.set(offer.partition, outcome.watermark)
        else this.#startAnew(offer, `the store answered a gap after ${outcome.watermark}`)
      }
      const isAway = outcomes.includes(undefined)
      // From now on one by one: a partition that does not answer must not hide what became of the others.
      if (isAway) apart = true
      if (isAway && this.#closing && patience.isOver) return
      if (behind.size > 0) {
        const canWait = await this.#catchUp(behind, patience, () => this.#closing && patience.isOver)
        if (!canWait) return
        for (const offer of open) if (behind.has(offer.partition)) this.#renew(offer)
      }
      if (isAway || open.some(({ state, gaps }) => state === 'open' && gaps > 1)) await pause()
    }
  }

  /** What an answer that is no gap means for an offer; undefined is none. */
  #judge(offer: Offer, outcome: Exclude<AppendOutcome, { readonly status: 'gap' }> | undefined): void {
    if (outcome === undefined) return
    if (outcome.status === 'conflict') {
      // The store holds something else under these names than it told us. The number is taken by a fence all the same: what was
      // refused may still be on its way once more.
      this.#events.warn('the store refused a commit: it holds other metrics than it told', {
        partition: offer.partition,
      })
      this.#distrust()
      fence(offer)
      return
    }
    const { partition, number, parts, announced, generation, isFenced } = offer
    if (isFenced) {
      this.#endFenced(offer)
      this.#retain(partition, number, [])
      return
    }
    offer.state = 'stored'
    const skipped = outcome.status === 'applied' ? outcome.skipped : undefined
    let bytes = 0
    for (const [i, { part }] of parts.entries()) {
      if (skipped?.includes(i) !== true) bytes += blockBytes(part)
      // A part that was skipped announced nothing, and where the answer was lost nobody knows whether it was skipped.
      const hasAnnounced = part.marker === undefined || skipped?.includes(i) === false
      for (const series of announced[i]!) {
        if (hasAnnounced && generation === this.#registry.generation) this.#registry.register(series)
        else this.#registry.release(series)
      }
    }
    this.#retain(partition, number, parts)
    this.#events.committed(partition, bytes)
  }

  #endFenced(offer: Offer): void {
    offer.state = 'fenced'
    for (const { announced } of offer.parts) for (const series of announced) this.#registry.release(series)
  }

  /** Fences what is open after a defect of ours. When even that fails, the numbers are drawn anew. */
  async #fenceAll(offers: readonly Offer[], patience: Patience): Promise<void> {
    for (const offer of offers) if (offer.state === 'open') fence(offer)
    try {
      await this.#settle(offers, patience)
    } catch (cause) {
      for (const offer of offers) if (offer.state === 'open') this.#startAnew(offer, 'a commit failed', cause)
    }
  }

  /** An answer for each commit, undefined for those whose store does not answer. */
  async #append(
    commits: readonly Commit[],
    apart: boolean,
    patience: Patience,
  ): Promise<readonly (AppendOutcome | undefined)[]> {
    const calls = apart ? commits.map((commit) => [commit]) : [commits]
    const answers = await Promise.all(
      calls.map((call) =>
        this.#store.append(call).catch((cause: unknown) => {
          if (cause instanceof GatewayError && cause.code === 'store_unavailable') return call.map(() => undefined)
          throw cause
        }),
      ),
    )
    const outcomes = answers.flat()
    if (outcomes.includes(undefined)) this.#storeAwaySinceMs ??= patience.startedMs
    else this.#storeAwaySinceMs = undefined
    return outcomes
  }

  /**
   * Offers again what the store has forgotten of partitions: after the watermark where it is known, else from the newest commit
   * kept on, whose answer tells it. False: the store does not answer, and `mayStop`.
   */
  async #catchUp(
    behind: ReadonlyMap<number, number | undefined>,
    patience: Patience,
    mayStop: () => boolean,
  ): Promise<boolean> {
    const next = new Map<number, number>()
    for (const [partition, watermark] of behind) {
      const number = watermark === undefined ? this.#retained.newest(partition) : this.#rewind(partition, watermark)
      if (number !== undefined) next.set(partition, number)
    }
    let apart = false
    let gaps = 0
    let again = 0
    for (;;) {
      const commits: Commit[] = []
      for (const [partition, number] of next) {
        const commit = this.#retained.find(partition, number)
        if (commit === undefined) next.delete(partition)
        else commits.push({ partition, writer: this.#names[partition]!, number, parts: announcingAll(commit.parts) })
      }
      if (commits.length === 0) break
      const outcomes = await this.#append(commits, apart, patience)
      const nowMs = this.#now()
      for (const [i, outcome] of outcomes.entries()) {
        const { partition, number, parts } = commits[i]!
        if (outcome === undefined) continue
        if (outcome.status === 'gap') next.set(partition, this.#rewind(partition, outcome.watermark))
        else if (outcome.status === 'conflict') this.#dropRetained(partition, number)
        else {
          this.#retained.find(partition, number)!.heldMs = nowMs
          next.set(partition, number + 1)
          if (outcome.status === 'known') continue
          again++
          this.#events.committed(
            partition,
            parts.reduce((sum, part) => sum + blockBytes(part), 0),
          )
        }
      }
      if (outcomes.includes(undefined)) {
        if (mayStop()) return false
        apart = true
        await pause()
      } else if (outcomes.some((outcome) => outcome?.status === 'gap') && ++gaps > 1) {
        // It goes back while it is being caught up.
        if (mayStop()) return false
        await pause()
      }
    }
    if (again > 0) this.#events.warn('the store has forgotten commits and was given them again', { commits: again })
    return true
  }

  /** The number from which a partition is offered its commits again. */
  #rewind(partition: number, watermark: number): number {
    this.#distrust()
    // One server that went back did so in all of its partitions.
    for (const [other] of this.#retained.newestOfEach()) if (other !== partition) this.#doubted.add(other)
    const newest = this.#retained.newest(partition)
    if (newest !== undefined && (watermark >= newest || this.#retained.find(partition, watermark + 1) !== undefined))
      return watermark + 1
    const { points, isAll } = this.#retained.restart(partition, watermark)
    this.#names[partition] = newName()
    this.#numbers[partition] = this.#retained.newest(partition) ?? 0
    this.#events.lost(points)
    this.#events.warn('the store is older than all that is retained: acknowledged points are lost', {
      partition,
      points,
      atLeast: !isAll,
    })
    return 1
  }

  /** A commit that the store will not take back: another gateway defined its metrics otherwise meanwhile. */
  #dropRetained(partition: number, number: number): void {
    const points = this.#retained.hollow(this.#retained.find(partition, number)!)
    this.#events.lost(points)
    this.#events.warn('the store has forgotten a commit and refuses it now: acknowledged points are lost', {
      partition,
      points,
    })
  }

  /** After its partition was caught up: the offer follows what was offered again, and announces all it has. */
  #renew(offer: Offer): void {
    const { partition, parts } = offer
    offer.gaps++
    if (offer.writer !== this.#names[partition]) {
      offer.writer = this.#names[partition]!
      offer.number = ++this.#numbers[partition]!
    }
    if (offer.isFenced) return
    offer.offered = announcingAll(parts)
    offer.announced = parts.map(({ series }) => series)
    offer.generation = this.#registry.generation
  }

  #retain(partition: number, number: number, parts: readonly RoundPart[]): void {
    if (!this.#store.mayForget) return
    const { retainedBytesMax, retainedMsMax, retainedLookMs } = this.#settings
    const nowMs = this.#now()
    const keptMs = this.#retained.keep(partition, number, parts, nowMs)
    if (keptMs !== undefined && keptMs < retainedMsMax) {
      this.#events.retentionShortened(keptMs)
      if (nowMs - this.#shortenedWarnedMs > WARN_PAUSE_MS) {
        this.#shortenedWarnedMs = nowMs
        this.#events.warn('acknowledged commits are retained for a shorter time: there are too many bytes of them', {
          keptMs,
          retainedBytesMax,
        })
      }
    }
    if (this.#retained.isEmpty || this.#closing) return
    this.#looks ??= setInterval(() => void this.#look(), retainedLookMs).unref()
  }

  /** Whether the store still has what is retained; what it has had for long enough is let go. */
  async #look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      const askedMs = this.#now()
      const byName = new Map<string, (readonly [partition: number, newest: number])[]>()
      for (const [partition, newest] of this.#retained.newestOfEach()) {
        const name = this.#names[partition]!
        const ofName = byName.get(name)
        if (ofName === undefined) byName.set(name, [[partition, newest]])
        else ofName.push([partition, newest])
      }
      for (const [name, partitions] of byName) {
        const watermarks = await this.#store.readWatermarks(
          name,
          partitions.map(([partition]) => partition),
        )
        for (const [i, [partition, newest]] of partitions.entries()) {
          if (this.#names[partition] !== name) continue
          if (watermarks[i]! < newest) this.#doubted.add(partition)
          else this.#retained.letGoBefore(partition, askedMs - this.#settings.retainedMsMax)
        }
      }
    } catch (cause) {
      if (!(cause instanceof GatewayError && cause.code === 'store_unavailable'))
        this.#events.warn('the store could not be asked for what it holds', { err: cause })
    } finally {
      this.#looking = false
    }
    if (this.#doubted.size > 0 && !this.#closing) this.#flight ??= this.#fly()
    if (this.#retained.isEmpty) {
      clearInterval(this.#looks)
      this.#looks = undefined
    }
  }

  /** What the store was last asked about may be missing; if it does not answer now, the next look finds out again. */
  async #settleDoubts(): Promise<void> {
    const behind = new Map([...this.#doubted].map((partition) => [partition, undefined]))
    this.#doubted.clear()
    const patience = this.#beginPatience(() => {})
    try {
      await this.#catchUp(behind, patience, () => true)
    } catch (cause) {
      this.#events.warn('what the store has forgotten could not be offered again', { err: cause })
    } finally {
      patience.end()
    }
  }

  /** By the clock and not by failed attempts: a store may also keep a call waiting. */
  #beginPatience(onOver: () => void): Patience {
    const patience = { startedMs: this.#now(), isOver: false, end: () => clearInterval(timer) }
    const timer = setInterval(() => {
      this.#storeAwaySinceMs ??= patience.startedMs
      if (!patience.isOver) onOver()
      patience.isOver = true
      this.#refuseOpen()
    }, this.#settings.storeWaitMsMax)
    return patience
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

  /** A new name with numbers from 1 for a partition whose numbers nobody can make sense of. */
  #startAnew(offer: Offer, reason: string, cause?: unknown): void {
    const { partition } = offer
    this.#events.warn('the writer starts anew', { partition, reason, err: cause })
    this.#names[partition] = newName()
    this.#numbers[partition] = 0
    this.#retained.clear(partition)
    this.#distrust()
    this.#endFenced(offer)
  }

  /** The store is not the one we knew: nothing that anybody remembers of it holds. */
  #distrust(): void {
    this.#registry.distrust()
    this.#events.storeWentBack()
  }
}

const NONE_REFUSED: ReadonlySet<Series> = new Set()

function newName(): string {
  return randomBytes(16).toString('hex')
}

function commitOf({ partition, writer, number, offered }: Offer): Commit {
  return { partition, writer, number, parts: offered }
}

/** From now on the offer only takes its number. */
function fence(offer: Offer): void {
  offer.isFenced = true
  offer.offered = []
}

function refuse(waiting: readonly Waiting[], error: GatewayError): void {
  for (const { reject } of waiting) reject(error)
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, RETRY_PAUSE_MS))
}

function sorted(rejected: readonly ItemError[]): readonly ItemError[] {
  return rejected.length === 0 ? NO_ERRORS : [...rejected].sort((a, b) => a.index - b.index)
}

const NO_ERRORS: readonly ItemError[] = []
