import { GatewayError } from '../../model/errors.ts'
import { formatId } from '../../model/id.ts'
import type { AppendOutcome, Commit, CommitPart, MetricDeletion } from '../../store/store.ts'
import { moveParts } from '../recover/moved-parts.ts'
import { ReOffer, type ReOfferContext, type ReOfferHooks, type ReOfferSettings } from '../recover/replay.ts'
import { announcingAll, blockBytes } from '../recover/retained-commits.ts'
import { type Patience, pause, Reach } from '../recover/store-availability.ts'
import { type Admission, succeed } from '../round/admission.ts'
import type { Series } from '../round/registry.ts'
import type { RoundPart } from '../round/round.ts'

export interface CommitSettings extends ReOfferSettings {
  /** How long a request waits for a store that does not answer. */
  readonly storeWaitMsMax: number
}

export interface CommitContext extends ReOfferContext {
  readonly settings: CommitSettings
}

export interface CommitLineHooks extends ReOfferHooks {
  /** The store has been away for as long as a request may wait; called again and again. */
  onAway(): void
}

/** What became of a round: all of it was stored, some commits of it, or none. */
export type RoundOutcome = 'stored' | 'partly' | 'refused'

type Conflict = Extract<AppendOutcome, { readonly status: 'conflict' }>

/** A commit on its way into the store. */
interface Offer {
  readonly partition: number
  writer: string
  number: number
  parts: readonly RoundPart[]
  /** What is offered; nothing once it is fenced. */
  offered: readonly CommitPart[]
  /** The series that it announces, and the generation of the registry in which the others were known. */
  announced: readonly (readonly Series[])[]
  generation: number
  isFenced: boolean
  /** `stored` and `fenced` are for good: the points are in the store, or an empty commit has their number. */
  state: 'open' | 'stored' | 'fenced'
  gaps: number
  /** How often some of it was moved to other metrics, and what holds the places of the series there. */
  moves: number
  readonly admissions: Admission[]
}

/** A metric that is deleted again and again while points of it are on offer is not run after. */
const MOVES_MAX = 3

/**
 * Brings rounds of some partitions into the store, one at a time. A commit is offered under its number until its outcome is known, so that a lost
 * answer neither loses nor doubles it. When the requests behind it can wait no longer its number is fenced with an empty commit:
 * whatever is still on its way finds it taken. What the store has forgotten goes first (`re-offer.ts`).
 */
export class CommitLine {
  readonly #context: CommitContext
  readonly #reach: Reach
  readonly #reOffer: ReOffer
  #closing = false

  constructor(context: CommitContext, partitions: readonly number[], { onAway, ...hooks }: CommitLineHooks) {
    const { store, settings, now } = context
    this.#context = context
    this.#reach = new Reach(store, settings.storeWaitMsMax, onAway, now)
    this.#reOffer = new ReOffer(context, partitions, this.#reach, hooks)
  }

  /** The store has been away for longer than a request may wait. */
  get isAway(): boolean {
    return this.#reach.isAway
  }

  /** The store may be behind: `settleDoubts` before the next commit. */
  get hasDoubts(): boolean {
    return this.#reOffer.hasDoubts
  }

  doubt(): void {
    this.#reOffer.doubt()
  }

  /** An acknowledged deletion is told to the store again, should it go back in time. */
  retainDeletion(deletion: MetricDeletion): void {
    this.#reOffer.retainDeletion(deletion)
  }

  settleDoubts(): Promise<void> {
    return this.#reOffer.settleDoubts()
  }

  /** A store that does not answer is not waited for any longer than requests are. To be called again after the last commit. */
  close(): void {
    this.#closing = true
    this.#reOffer.close()
  }

  /**
   * Commits the parts of a round and resolves when the fate of each is known. `onLate`: the requests behind it have waited long
   * enough, and the outcome is unknown. Rejects for a defect of ours, after `onDefect`; then too no number stays open.
   */
  async commit(
    parts: ReadonlyMap<number, readonly RoundPart[]>,
    onLate: (commits: number) => void,
    onDefect: (cause: unknown) => void,
  ): Promise<RoundOutcome> {
    const offers = this.#offersOf(parts)
    const patience = this.#reach.begin(() => onLate(offers.length))
    try {
      await this.#settle(offers, patience)
    } catch (cause) {
      // What became of the commits is unknown, so that their numbers are fenced.
      onDefect(cause)
      await this.#fenceAll(offers, patience)
    } finally {
      patience.end()
      for (const { admissions } of offers) for (const admission of admissions) admission.end()
    }
    const stored = offers.filter(({ state }) => state === 'stored').length
    return stored === offers.length ? 'stored' : stored > 0 ? 'partly' : 'refused'
  }

  /** Takes the numbers of a round. */
  #offersOf(parts: ReadonlyMap<number, readonly RoundPart[]>): Offer[] {
    const nowMs = this.#context.now()
    return [...parts].map(([partition, ofPartition]) => ({
      partition,
      ...this.#takeNumber(partition, nowMs),
      parts: ofPartition,
      offered: ofPartition.map(({ part }) => part),
      announced: ofPartition.map(({ announced }) => announced),
      generation: this.#context.registry.generation,
      isFenced: false,
      state: 'open',
      gaps: 0,
      moves: 0,
      admissions: [],
    }))
  }

  #takeNumber(partition: number, nowMs: number): { readonly writer: string; readonly number: number } {
    const { numbers, retained } = this.#context
    if (numbers.isOutworn(partition, nowMs)) {
      numbers.rename(partition)
      retained.clear(partition)
    }
    return numbers.take(partition, nowMs)
  }

  /**
   * Offers commits until the outcome of each is known. When that takes longer than a request may wait, what is offered from
   * then on are empty commits that take the numbers. Some stay open only when the gateway is closing meanwhile.
   */
  async #settle(offers: readonly Offer[], patience: Patience): Promise<void> {
    let apart = false
    for (;;) {
      const open = offers.filter(({ state }) => state === 'open')
      if (open.length === 0) return
      if (patience.isOver) for (const offer of open) fence(offer)
      const outcomes = await this.#reach.append(open.map(commitOf), apart, patience)
      const behind = new Map<number, number>()
      for (const [i, outcome] of outcomes.entries()) {
        const offer = open[i]!
        if (outcome?.status === 'conflict') await this.#move(offer, outcome)
        else if (outcome?.status !== 'gap') this.#judge(offer, outcome)
        else if (this.#context.store.mayLoseWrites) behind.set(offer.partition, outcome.watermark)
        else this.#startAnew(offer, `the store answered a gap after ${outcome.watermark}`)
      }
      const isAway = outcomes.includes(undefined)
      // From now on one by one: a partition that does not answer must not hide what became of the others.
      if (isAway) apart = true
      if (isAway && this.#closing && patience.isOver) return
      if (behind.size > 0) {
        const canWait = await this.#reOffer.catchUp(behind, patience, () => this.#closing && patience.isOver)
        if (!canWait) return
        for (const offer of open) if (behind.has(offer.partition)) this.#renew(offer)
      }
      if (isAway || open.some(({ state, gaps }) => state === 'open' && gaps > 1)) await pause()
    }
  }

  /**
   * The store holds something else under some names than it told us. What was deleted is defined anew and takes the points, for whoever
   * sent them did so after the deletion, as far as anybody can know. Anything else is refused: the number is taken by a fence
   * all the same, for what was offered may still be on its way once more.
   */
  async #move(offer: Offer, { metricIds, deleted }: Conflict): Promise<void> {
    const { registry, events } = this.#context
    const { partition, parts, isFenced } = offer
    if (!isFenced && deleted.length > 0 && deleted.length === metricIds.length && offer.moves++ < MOVES_MAX) {
      const gone = new Set(deleted.map(formatId))
      const series = new Set(
        parts.flatMap((part) => part.series).filter(({ metric }) => gone.has(formatId(metric.row!.metricId))),
      )
      const succession = await succeed(registry, [...series]).catch(ignoreUnavailable)
      if (succession !== undefined) offer.admissions.push(succession.admission)
      const moved = succession && moveParts(parts, gone, succession.heirs)
      if (moved !== undefined) {
        offer.parts = moved
        this.#announceAll(offer)
        return
      }
    }
    events.warn('the store refused a commit: it holds other metrics than it told', { partition })
    this.#reOffer.distrust()
    fence(offer)
  }

  /** What an answer means for an offer; undefined is none. */
  #judge(offer: Offer, outcome: Extract<AppendOutcome, { readonly status: 'applied' | 'known' }> | undefined): void {
    const { registry, events } = this.#context
    if (outcome === undefined) return
    const { partition, number, parts, announced, generation, isFenced } = offer
    if (isFenced) {
      offer.state = 'fenced'
      this.#reOffer.retain(partition, number, [])
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
        if (hasAnnounced && generation === registry.generation) registry.register(series)
      }
    }
    this.#reOffer.retain(partition, number, parts)
    events.committed(partition, bytes)
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

  /** After its partition was caught up: the offer follows what was offered again, and announces all it has. */
  #renew(offer: Offer): void {
    const { numbers, now } = this.#context
    const { partition } = offer
    offer.gaps++
    if (offer.writer !== numbers.name(partition)) {
      const { writer, number } = numbers.take(partition, now())
      offer.writer = writer
      offer.number = number
    }
    if (!offer.isFenced) this.#announceAll(offer)
  }

  /** As if the store knew none of its series. */
  #announceAll(offer: Offer): void {
    offer.offered = announcingAll(offer.parts)
    offer.announced = offer.parts.map(({ series }) => series)
    offer.generation = this.#context.registry.generation
  }

  /** A new name with numbers from 1 for a partition whose numbers nobody can make sense of. */
  #startAnew(offer: Offer, reason: string, cause?: unknown): void {
    const { numbers, retained, events } = this.#context
    const { partition } = offer
    events.warn('the writer starts anew', { partition, reason, err: cause })
    numbers.rename(partition)
    retained.clear(partition)
    this.#reOffer.distrust()
    offer.state = 'fenced'
  }
}

function commitOf({ partition, writer, number, offered }: Offer): Commit {
  return { partition, writer, number, parts: offered }
}

/** The store does not say which metrics stand now: nothing moves. */
function ignoreUnavailable(error: unknown): undefined {
  if (!(error instanceof GatewayError && error.code === 'store_unavailable')) throw error
}

/** From now on the offer only takes its number. */
function fence(offer: Offer): void {
  offer.isFenced = true
  offer.offered = []
}
