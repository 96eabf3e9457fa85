import { formatId } from '../../model/id.ts'
import type { MetricDeletion } from '../../store/catalog.ts'
import { inboxSizeOf } from '../../store/inbox-size.ts'
import type { AppendOutcome, Commit, CommitPart } from '../../store/store.ts'
import { Replay, type ReplayContext, type ReplayHooks, type ReplaySettings } from '../recover/replay.ts'
import { partsWithAllSeries } from '../recover/retained-commits.ts'
import { pauseBeforeRetry, StoreAvailability, type StoreWait } from '../recover/store-availability.ts'
import type { Series } from '../round/cached-metric.ts'
import type { EncodedPart } from '../round/encode-round.ts'
import type { PartsByPartition } from './commit-steps.ts'

/**
 * Sends commits to the store. A commit is retried under its number until its outcome is known, so a lost response
 * neither loses the points nor counts them twice. `PendingCommit` has the state of a commit:
 *
 * | state     | sent to the store              | next state                                                   |
 * | --------- | ------------------------------ | ------------------------------------------------------------ |
 * | `sending` | the parts                      | `stored`: applied, by this call or by an earlier one         |
 * |           |                                | `fencing`: conflict, defect, or the requests waited too long |
 * | `fencing` | no parts, with the same number | `fenced`: the number is taken                                |
 * | `stored`  | nothing                        | final: the points count                                      |
 * | `fenced`  | nothing                        | final: after a conflict nothing counts, otherwise unknown    |
 *
 * A fence is a commit without parts that only takes the number. A fence makes the outcome final: if an earlier call
 * with the same commit reaches the store late, the number is taken and the store ignores the call. If a store that may
 * lose writes reports a gap in the numbers, it has lost commits. The lost commits are replayed first
 * (`recover/replay.ts`), and the commit keeps its state. A replay may change the writer's name; the commit then gets a
 * new number. A commit that is given up because of a defect counts as `fenced`, although its number may be free: its
 * partition gets a new writer name.
 */
type PendingCommitState = 'sending' | 'fencing' | 'stored' | 'fenced'

/**
 * Why a commit conflicts with the store: a metric was deleted after the registry had read it, or the metrics in the
 * store are not those that the registry has read from it.
 */
export type ConflictReason = 'metric_deleted' | 'store_changed'

/**
 * The outcome of each partition's commit in a step. `store_changed` also stands for a commit that was given up or whose
 * outcome is unknown. An unknown outcome was reported through `StepHooks`.
 */
export type StepOutcome = ReadonlyMap<number, 'stored' | ConflictReason>

interface PendingCommit {
  readonly partition: number
  writer: string
  commitNumber: number
  readonly parts: readonly EncodedPart[]
  /** The parts as they are sent to the store. Each registers the series that `seriesToRegister` lists for it. */
  partsToSend: readonly CommitPart[]
  /** By index of the part in `partsToSend`: the series that the part registers in the store. */
  seriesToRegister: readonly (readonly Series[])[]
  /**
   * The version of the registry for which `seriesToRegister` was chosen: at this version, all other series of the parts
   * were registered.
   */
  registryVersion: number
  state: PendingCommitState
  conflictReason: ConflictReason | undefined
  /** How often lost commits of the partition were replayed since this commit was first sent. */
  replayCount: number
}

export interface CommitSettings extends ReplaySettings {
  /** How long requests wait for one step, or for one replay. Then they are rejected. */
  readonly storeWaitMsMax: number
}

export interface CommitContext extends ReplayContext {
  readonly settings: CommitSettings
}

export interface CommitHooks extends ReplayHooks {
  /** Called once per `storeWaitMsMax` for as long as a step or a replay does not end. */
  onUnavailable(): void
}

export interface StepHooks {
  /**
   * Called when the step has lasted for `storeWaitMsMax`. It is then unknown whether all of its commits were
   * stored. `commitCount` is their number.
   */
  onWaitOver(commitCount: number): void
  /** Called with an unexpected error, which is a defect. It is then unknown which commits were stored. */
  onDefect(cause: unknown): void
}

type ConflictOutcome = Extract<AppendOutcome, { readonly status: 'conflict' }>
type StoredOutcome = Extract<AppendOutcome, { readonly status: 'applied' | 'known' }>

/** Sends the commits of one group of partitions to the store, one step (at most one commit per partition) at a time. */
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

  /** Whether the current step or replay has waited for the store for longer than a request may wait. */
  get isUnavailable(): boolean {
    return this.#availability.isUnavailable
  }

  /** Whether the store may have lost writes. `replayLostCommits` must then run before the next commit. */
  get mayHaveLostWrites(): boolean {
    return this.#replay.mayHaveLostWrites
  }

  /** Marks the partitions with retained commits as ones in which the store may have lost writes. */
  suspectLostWrites(): void {
    this.#replay.suspectLostWrites()
  }

  /** Replays the commits that the store has lost in the marked partitions, if any. */
  replayLostCommits(): Promise<void> {
    return this.#replay.replayLostCommits()
  }

  /** Keeps an acknowledged deletion, if the store may lose it, so that it can be replayed. */
  retainDeletion(deletion: MetricDeletion): void {
    this.#replay.retainDeletion(deletion)
  }

  /**
   * Stops the checks for lost writes. After this call, commits are no longer retried once their step has lasted for
   * `storeWaitMsMax`.
   */
  close(): void {
    this.#isClosing = true
    this.#replay.close()
  }

  /**
   * Commits a step and resolves when every outcome is final, or when `#finishAll` stops because the gateway closes.
   * `registryVersion`: the version of the registry when encoding of the step began. An unexpected error is passed to
   * `onDefect` instead of being thrown; the unfinished commits are then fenced.
   */
  async commit(
    step: PartsByPartition,
    registryVersion: number,
    { onWaitOver, onDefect }: StepHooks,
  ): Promise<StepOutcome> {
    const pendingCommits = this.#startCommits(step, registryVersion)
    const wait = this.#availability.startWait(() => onWaitOver(pendingCommits.length))
    try {
      await this.#finishAll(pendingCommits, wait)
    } catch (cause) {
      onDefect(cause)
      await this.#fenceAll(pendingCommits, wait)
    } finally {
      wait.end()
    }
    return new Map(
      pendingCommits.map(({ partition, state, conflictReason = 'store_changed' }) => [
        partition,
        state === 'stored' ? 'stored' : conflictReason,
      ]),
    )
  }

  #startCommits(step: PartsByPartition, registryVersion: number): PendingCommit[] {
    const { registry, now } = this.#context
    const nowMs = now()
    return [...step].map(([partition, parts]) => {
      const pending: PendingCommit = {
        partition,
        ...this.#takeNumber(partition, nowMs),
        parts,
        partsToSend: parts.map(({ part }) => part),
        seriesToRegister: parts.map(({ seriesToRegister }) => seriesToRegister),
        registryVersion,
        state: 'sending',
        conflictReason: undefined,
        replayCount: 0,
      }
      if (registryVersion !== registry.version) this.#registerAllSeries(pending)
      return pending
    })
  }

  /** Takes a commit number. First changes the writer name if the last commit is more than a day old. */
  #takeNumber(partition: number, nowMs: number): { readonly writer: string; readonly commitNumber: number } {
    const { commitNumbers, retainedCommits } = this.#context
    if (commitNumbers.needsNewWriterName(partition, nowMs)) {
      commitNumbers.changeWriterName(partition)
      retainedCommits.clear(partition)
    }
    return commitNumbers.take(partition, nowMs)
  }

  /**
   * Sends the commits until all are in a final state. Returns with unfinished commits only if the gateway closes, the
   * wait is over, and the store does not respond or keeps losing writes.
   */
  async #finishAll(pendingCommits: readonly PendingCommit[], wait: StoreWait): Promise<void> {
    let isOneCallPerCommit = false
    for (;;) {
      const unfinished = pendingCommits.filter(isUnfinished)
      if (unfinished.length === 0) return
      if (wait.isOver) for (const pending of unfinished) fence(pending)
      const outcomes = await this.#availability.append(unfinished.map(commitOf), isOneCallPerCommit, wait)
      const watermarks = new Map<number, number>()
      for (const [i, outcome] of outcomes.entries()) {
        const watermark = this.#handleOutcome(unfinished[i]!, outcome)
        if (watermark !== undefined) watermarks.set(unfinished[i]!.partition, watermark)
      }
      const hasNoResponse = outcomes.includes(undefined)
      // One call per commit: if the commits share a call, one partition that does not respond hides all outcomes.
      if (hasNoResponse) isOneCallPerCommit = true
      if (hasNoResponse && this.#isClosing && wait.isOver) return
      if (watermarks.size > 0) {
        const isReplayed = await this.#replay.replayAfter(watermarks, wait, () => this.#isClosing && wait.isOver)
        if (!isReplayed) return
        for (const pending of unfinished) if (watermarks.has(pending.partition)) this.#prepareAfterReplay(pending)
      }
      // A commit is sent again at once after its first replay. After further ones, the store gets time to recover.
      if (hasNoResponse || unfinished.some((pending) => isUnfinished(pending) && pending.replayCount > 1))
        await pauseBeforeRetry()
    }
  }

  /**
   * Moves a commit to its next state. If the store reports lost commits of the partition, leaves the state unchanged
   * and returns the number of the last commit that the store still has (its watermark). A gap in a store that cannot
   * lose writes is a defect: the commit is given up.
   */
  #handleOutcome(pending: PendingCommit, outcome: AppendOutcome | undefined): number | undefined {
    // The store did not respond, so the commit is sent again.
    if (outcome === undefined) return undefined
    const { status } = outcome
    switch (status) {
      case 'applied':
      case 'known':
        return this.#finish(pending, outcome)
      case 'conflict':
        return this.#handleConflict(pending, outcome)
      case 'gap':
        if (this.#context.store.mayLoseWrites) return outcome.watermark
        return this.#giveUpCommit(pending, `unexpected gap after commit ${outcome.watermark}`)
      default:
        return status satisfies never
    }
  }

  /** Moves a commit to its final state after the store has taken its number. */
  #finish(pending: PendingCommit, outcome: StoredOutcome): undefined {
    const { partition, commitNumber, parts, state } = pending
    switch (state) {
      case 'sending':
        pending.state = 'stored'
        this.#recordStoredCommit(pending, outcome)
        this.#replay.retain(partition, commitNumber, parts)
        return
      case 'fencing':
        pending.state = 'fenced'
        this.#replay.retain(partition, commitNumber, [])
        return
      case 'stored':
      case 'fenced':
        throw new Error('a finished commit was sent')
      default:
        return state satisfies never
    }
  }

  /**
   * Reports the bytes that a stored commit added to the inbox: perhaps too many, if it is unknown which parts were
   * skipped. Records in the registry the series that the commit has certainly registered.
   */
  #recordStoredCommit(
    { partition, parts, seriesToRegister, registryVersion }: PendingCommit,
    outcome: StoredOutcome,
  ): void {
    const { registry, events } = this.#context
    const skipped = outcome.status === 'applied' ? outcome.skipped : undefined
    const added = parts.map(({ part }) => part).filter((_, i) => skipped?.includes(i) !== true)
    for (const [i, { part }] of parts.entries()) {
      // A skipped part registered nothing. If an earlier call stored the commit and its response was lost, it is
      // unknown which parts were skipped.
      const isApplied = part.marker === undefined || skipped?.includes(i) === false
      if (!isApplied || registryVersion !== registry.version) continue
      for (const series of seriesToRegister[i]!) registry.recordRegistered(series)
    }
    events.committed(partition, inboxSizeOf(added))
  }

  /**
   * Handles a commit that conflicts with the store: none of its points count. The number is fenced nevertheless,
   * because the store may still receive an earlier call with this commit. If only deleted metrics conflict, the
   * registry evicts these, otherwise everything, so that a retried request reads the rows again.
   */
  #handleConflict(pending: PendingCommit, { metricIds, deleted }: ConflictOutcome): undefined {
    const { registry, events } = this.#context
    if (deleted.length > 0 && deleted.length === metricIds.length) {
      pending.conflictReason = 'metric_deleted'
      const deletedIds = new Set(deleted.map(formatId))
      for (const { metricId, definition } of pending.parts.flatMap(({ part }) => part.metrics))
        if (deletedIds.has(formatId(metricId))) registry.evictName(definition.project, definition.name)
    } else {
      pending.conflictReason = 'store_changed'
      const { partition } = pending
      events.warn('the store refused a commit: it holds other metrics than were read from it', { partition })
      this.#replay.dropCaches()
    }
    fence(pending)
  }

  /**
   * Fences all unfinished commits after an unexpected error. If that fails too, the partitions of the commits that are
   * still unfinished get new writer names.
   */
  async #fenceAll(pendingCommits: readonly PendingCommit[], wait: StoreWait): Promise<void> {
    for (const pending of pendingCommits) if (isUnfinished(pending)) fence(pending)
    try {
      await this.#finishAll(pendingCommits, wait)
    } catch (cause) {
      for (const pending of pendingCommits)
        if (isUnfinished(pending)) this.#giveUpCommit(pending, 'a commit failed', cause)
    }
  }

  /**
   * Prepares a commit after a replay: takes a new number if the replay changed the writer's name, and registers all
   * series.
   */
  #prepareAfterReplay(pending: PendingCommit): void {
    const { commitNumbers, now } = this.#context
    const { partition } = pending
    pending.replayCount++
    if (pending.writer !== commitNumbers.writerName(partition)) {
      const { writer, commitNumber } = commitNumbers.take(partition, now())
      pending.writer = writer
      pending.commitNumber = commitNumber
    }
    this.#registerAllSeries(pending)
  }

  /** Makes each part register all of its series, because the store may have lost the earlier registrations. */
  #registerAllSeries(pending: PendingCommit): void {
    pending.partsToSend = partsWithAllSeries(pending.parts)
    pending.seriesToRegister = pending.parts.map(({ series }) => series)
    pending.registryVersion = this.#context.registry.version
  }

  /**
   * Gives up a commit, and gives its partition a new writer name with numbers from 1, because it is unknown which
   * numbers of the old name the store has applied.
   */
  #giveUpCommit(pending: PendingCommit, reason: string, cause?: unknown): undefined {
    const { commitNumbers, retainedCommits, events } = this.#context
    const { partition } = pending
    events.warn('the partition gets a new writer name', { partition, reason, err: cause })
    commitNumbers.changeWriterName(partition)
    retainedCommits.clear(partition)
    this.#replay.dropCaches()
    pending.state = 'fenced'
  }
}

function isUnfinished({ state }: PendingCommit): boolean {
  return state === 'sending' || state === 'fencing'
}

function fence(pending: PendingCommit): void {
  pending.state = 'fencing'
}

function commitOf({ partition, writer, commitNumber, partsToSend, state }: PendingCommit): Commit {
  return { partition, writer, commitNumber, parts: state === 'sending' ? partsToSend : [] }
}
