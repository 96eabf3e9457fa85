import { formatId } from '../../model/id.ts'
import type { AppendOutcome, Commit, CommitPart, MetricDeletion } from '../../store/store.ts'
import { Replay, type ReplayContext, type ReplayHooks, type ReplaySettings } from '../recover/replay.ts'
import { announcingAll, blockBytes } from '../recover/retained-commits.ts'
import { pauseBeforeRetry, StoreAvailability, type StoreWait } from '../recover/store-availability.ts'
import type { Series } from '../round/cached-metric.ts'
import type { EncodedPart } from '../round/encode-round.ts'
import type { Step } from './commit-steps.ts'

/**
 * Sends the commits of a round to the store. A commit is retried under its number until its outcome is known, so a lost
 * response neither loses the points nor counts them twice. Each commit is a `CommitAttempt`:
 *
 * | state     | sent to the store              | next state                                                   |
 * | --------- | ------------------------------ | ------------------------------------------------------------ |
 * | `sending` | the parts                      | `stored`: applied, now or by an earlier attempt              |
 * |           |                                | `fencing`: refused, or the requests waited too long          |
 * | `fencing` | no parts, with the same number | `fenced`: the number is taken                                |
 * | `stored`  | nothing                        | final: the points count                                      |
 * | `fenced`  | nothing                        | final: after a refusal nothing counts, after a wait unknown  |
 *
 * The fence makes the outcome final: an earlier attempt that arrives late finds its number taken. After a gap in the
 * numbers the lost commits are replayed first (`recover/replay.ts`), and the attempt keeps its state.
 */
type AttemptState = 'sending' | 'fencing' | 'stored' | 'fenced'

/**
 * Why the store refused a commit: a metric was deleted in the meantime, or the store no longer matches what was read
 * from it.
 */
export type Refusal = 'metric_deleted' | 'store_changed'

/** The outcome of each partition's commit in a step. */
export type StepOutcome = ReadonlyMap<number, 'stored' | Refusal>

interface CommitAttempt {
  readonly partition: number
  writer: string
  commitNumber: number
  readonly parts: readonly EncodedPart[]
  /** The parts that are sent to the store, with the series that they announce. */
  sent: readonly CommitPart[]
  /** The series that each part announces, and the registry version under which all other series are registered. */
  announced: readonly (readonly Series[])[]
  version: number
  state: AttemptState
  refusal: Refusal | undefined
  gaps: number
}

export interface CommitSettings extends ReplaySettings {
  /** How long a request waits for a store that does not respond. */
  readonly storeWaitMsMax: number
}

export interface CommitContext extends ReplayContext {
  readonly settings: CommitSettings
}

export interface CommitHooks extends ReplayHooks {
  /** Called repeatedly while the store has not responded for longer than a request may wait. */
  onUnavailable(): void
}

export interface StepHooks {
  /** Called when the requests of the step have waited for the maximum time. The outcome of its commits is unknown. */
  onWaitOver(commits: number): void
  /** Called for a defect of the gateway. */
  onDefect(cause: unknown): void
}

type Conflict = Extract<AppendOutcome, { readonly status: 'conflict' }>
type Stored = Extract<AppendOutcome, { readonly status: 'applied' | 'known' }>

/** Sends the steps of one group of partitions, one at a time. */
export class CommitSender {
  readonly #context: CommitContext
  readonly #availability: StoreAvailability
  readonly #replay: Replay
  #isClosing = false

  constructor(context: CommitContext, partitions: readonly number[], { onUnavailable, ...hooks }: CommitHooks) {
    const { store, settings, events, now } = context
    const onFailure = (err: unknown): void =>
      events.warn('the store does not accept commits; they are retried', { err })
    this.#context = context
    this.#availability = new StoreAvailability(store, settings.storeWaitMsMax, { onUnavailable, onFailure }, now)
    this.#replay = new Replay(context, partitions, this.#availability, hooks)
  }

  /** Whether the store has taken no commits for longer than a request may wait. */
  get isUnavailable(): boolean {
    return this.#availability.isUnavailable
  }

  /** Whether the store may have lost writes. `verify` must then run before the next commit. */
  get mayHaveLostWrites(): boolean {
    return this.#replay.mayHaveLostWrites
  }

  suspectLostWrites(): void {
    this.#replay.suspectLostWrites()
  }

  /** Replays lost commits. */
  verify(): Promise<void> {
    return this.#replay.verify()
  }

  /** Keeps an acknowledged deletion, so that it can be replayed after lost writes. */
  retainDeletion(deletion: MetricDeletion): void {
    this.#replay.retainDeletion(deletion)
  }

  /**
   * From now on, a store that does not respond is retried only as long as requests wait. Must be called again after the
   * last commit.
   */
  close(): void {
    this.#isClosing = true
    this.#replay.close()
  }

  /**
   * Commits a step and resolves when every outcome is final. `registryVersion`: the version when it was encoded.
   * A defect is reported to `onDefect` instead of being thrown; the numbers are then fenced too.
   */
  async commit(step: Step, registryVersion: number, { onWaitOver, onDefect }: StepHooks): Promise<StepOutcome> {
    const attempts = this.#startAttempts(step, registryVersion)
    const wait = this.#availability.startWait(() => onWaitOver(attempts.length))
    try {
      await this.#finishAll(attempts, wait)
    } catch (cause) {
      onDefect(cause)
      await this.#fenceAll(attempts, wait)
    } finally {
      wait.end()
    }
    return new Map(
      attempts.map(({ partition, state, refusal = 'store_changed' }) => [
        partition,
        state === 'stored' ? 'stored' : refusal,
      ]),
    )
  }

  #startAttempts(step: Step, registryVersion: number): CommitAttempt[] {
    const { registry, now } = this.#context
    const nowMs = now()
    return [...step].map(([partition, parts]) => {
      const attempt: CommitAttempt = {
        partition,
        ...this.#takeNumber(partition, nowMs),
        parts,
        sent: parts.map(({ part }) => part),
        announced: parts.map(({ announced }) => announced),
        version: registryVersion,
        state: 'sending',
        refusal: undefined,
        gaps: 0,
      }
      if (registryVersion !== registry.version) this.#announceAll(attempt)
      return attempt
    })
  }

  #takeNumber(partition: number, nowMs: number): { readonly writer: string; readonly commitNumber: number } {
    const { numbers, retained } = this.#context
    if (numbers.needsNewName(partition, nowMs)) {
      numbers.rename(partition)
      retained.clear(partition)
    }
    return numbers.take(partition, nowMs)
  }

  /**
   * Sends attempts until all are in a final state. Some are left only if the gateway closes while the store does not
   * respond.
   */
  async #finishAll(attempts: readonly CommitAttempt[], wait: StoreWait): Promise<void> {
    let separately = false
    for (;;) {
      const open = attempts.filter(isOpen)
      if (open.length === 0) return
      if (wait.isOver) for (const attempt of open) fence(attempt)
      const outcomes = await this.#availability.append(open.map(commitOf), separately, wait)
      const behind = new Map<number, number>()
      for (const [i, outcome] of outcomes.entries()) {
        const watermark = this.#handle(open[i]!, outcome)
        if (watermark !== undefined) behind.set(open[i]!.partition, watermark)
      }
      const hasNoResponse = outcomes.includes(undefined)
      // From now on, one call per commit: a partition that does not respond must not delay the outcomes of the others.
      if (hasNoResponse) separately = true
      if (hasNoResponse && this.#isClosing && wait.isOver) return
      if (behind.size > 0) {
        const isReplayed = await this.#replay.replay(behind, wait, () => this.#isClosing && wait.isOver)
        if (!isReplayed) return
        for (const attempt of open) if (behind.has(attempt.partition)) this.#renumber(attempt)
      }
      if (hasNoResponse || open.some((attempt) => isOpen(attempt) && attempt.gaps > 1)) await pauseBeforeRetry()
    }
  }

  /** Moves an attempt to its next state. Returns the store's watermark if the partition needs a replay first. */
  #handle(attempt: CommitAttempt, outcome: AppendOutcome | undefined): number | undefined {
    // The store did not respond, so the attempt is repeated.
    if (outcome === undefined) return undefined
    const { status } = outcome
    switch (status) {
      case 'applied':
      case 'known':
        return this.#finish(attempt, outcome)
      case 'conflict':
        return this.#refuse(attempt, outcome)
      case 'gap':
        if (this.#context.store.mayLoseWrites) return outcome.watermark
        return this.#restart(attempt, `unexpected gap after commit ${outcome.watermark}`)
      default:
        return status satisfies never
    }
  }

  /** Moves an attempt to its final state after the store has taken its number. */
  #finish(attempt: CommitAttempt, outcome: Stored): undefined {
    const { partition, commitNumber, parts, state } = attempt
    switch (state) {
      case 'sending':
        attempt.state = 'stored'
        this.#registerSeries(attempt, outcome)
        this.#replay.retain(partition, commitNumber, parts)
        return
      case 'fencing':
        attempt.state = 'fenced'
        this.#replay.retain(partition, commitNumber, [])
        return
      case 'stored':
      case 'fenced':
        throw new Error('a finished attempt was sent')
      default:
        return state satisfies never
    }
  }

  #registerSeries({ partition, parts, announced, version }: CommitAttempt, outcome: Stored): void {
    const { registry, events } = this.#context
    const skipped = outcome.status === 'applied' ? outcome.skipped : undefined
    let bytes = 0
    for (const [i, { part }] of parts.entries()) {
      if (skipped?.includes(i) !== true) bytes += blockBytes(part)
      // A skipped part announced nothing. After a lost response it is unknown which parts were skipped.
      const hasAnnounced = part.marker === undefined || skipped?.includes(i) === false
      if (!hasAnnounced || version !== registry.version) continue
      for (const series of announced[i]!) registry.register(series)
    }
    events.committed(partition, bytes)
  }

  /**
   * Handles a commit that the store refused: none of its points count. The number is fenced nevertheless, because an
   * earlier attempt may still arrive. When a request is retried, it reads the refused metrics again.
   */
  #refuse(attempt: CommitAttempt, { metricIds, deleted }: Conflict): undefined {
    const { registry, events } = this.#context
    if (deleted.length > 0 && deleted.length === metricIds.length) {
      attempt.refusal = 'metric_deleted'
      const deletedIds = new Set(deleted.map(formatId))
      for (const { metricId, definition } of attempt.parts.flatMap(({ part }) => part.metrics))
        if (deletedIds.has(formatId(metricId))) registry.evict(definition.project, definition.name)
    } else {
      attempt.refusal = 'store_changed'
      const { partition } = attempt
      events.warn('the store refused a commit: it holds other metrics than were read from it', { partition })
      this.#replay.dropCaches()
    }
    fence(attempt)
  }

  /** Fences all open attempts after a defect. If fencing fails too, their partitions get new writer names. */
  async #fenceAll(attempts: readonly CommitAttempt[], wait: StoreWait): Promise<void> {
    for (const attempt of attempts) if (isOpen(attempt)) fence(attempt)
    try {
      await this.#finishAll(attempts, wait)
    } catch (cause) {
      for (const attempt of attempts) if (isOpen(attempt)) this.#restart(attempt, 'a commit failed', cause)
    }
  }

  /** Renumbers an attempt after a replay: it follows the replayed commits and announces all of its series. */
  #renumber(attempt: CommitAttempt): void {
    const { numbers, now } = this.#context
    const { partition } = attempt
    attempt.gaps++
    if (attempt.writer !== numbers.name(partition)) {
      const { writer, commitNumber: number } = numbers.take(partition, now())
      attempt.writer = writer
      attempt.commitNumber = number
    }
    this.#announceAll(attempt)
  }

  /** Prepares an attempt for a store that may not know any of its series. */
  #announceAll(attempt: CommitAttempt): void {
    attempt.sent = announcingAll(attempt.parts)
    attempt.announced = attempt.parts.map(({ series }) => series)
    attempt.version = this.#context.registry.version
  }

  /** Gives the partition a new writer name, with numbers from 1, because the old numbers cannot be trusted. */
  #restart(attempt: CommitAttempt, reason: string, cause?: unknown): undefined {
    const { numbers, retained, events } = this.#context
    const { partition } = attempt
    events.warn('the partition gets a new writer name', { partition, reason, err: cause })
    numbers.rename(partition)
    retained.clear(partition)
    this.#replay.dropCaches()
    attempt.state = 'fenced'
  }
}

function isOpen({ state }: CommitAttempt): boolean {
  return state === 'sending' || state === 'fencing'
}

function fence(attempt: CommitAttempt): void {
  attempt.state = 'fencing'
}

function commitOf({ partition, writer, commitNumber, sent, state }: CommitAttempt): Commit {
  return { partition, writer, commitNumber, parts: state === 'sending' ? sent : [] }
}
