import { GatewayError } from '../../model/errors.ts'
import { formatId, type Id64 } from '../../model/id.ts'
import type { QueryResult } from '../compute/result.ts'
import type { QueryInput } from '../plan/request.ts'
import { type LiveUpdate, type PatchOptions, snapshotOf, updateBetween } from './live-patch.ts'

export interface LiveSettings {
  /** Minimum time between the starts of two runs of a query. */
  readonly runIntervalMsMin: number
  /**
   * Minimum time after which a query runs even without commits: its range moves on, and notifications of commits may be
   * lost. The time is longer while results do not change.
   */
  readonly pollIntervalMs: number
  /** Maximum number of subscriptions in this process. */
  readonly subscriptionsMax: number
  /** Maximum number of subscriptions of one API key in this process. */
  readonly subscriptionsPerKeyMax: number
  /** Maximum number of queries that run at the same time; others wait in a queue. */
  readonly concurrentRunsMax: number
}

/** Minimum time between the starts of two runs of a live query: people do not read charts faster. */
const LIVE_RUN_INTERVAL_MS_MIN = 1_000
/** Minimum time after which a live query runs even without commits: see `LiveSettings.pollIntervalMs`. */
const LIVE_POLL_INTERVAL_MS = 10_000
/** Maximum number of live queries that run at the same time: other queries need the CPU too. */
const LIVE_CONCURRENT_RUNS_MAX = 4

/** The settings that are constants. */
export const FIXED_LIVE_SETTINGS = {
  runIntervalMsMin: LIVE_RUN_INTERVAL_MS_MIN,
  pollIntervalMs: LIVE_POLL_INTERVAL_MS,
  concurrentRunsMax: LIVE_CONCURRENT_RUNS_MAX,
}

/** What live queries need from the gateway, the store and the clock. */
export interface LiveQueryBackend {
  query(project: string, input: QueryInput): Promise<QueryResult>
  /**
   * Calls the listener with the metrics of each commit, if the notification is not lost. Returns a function that
   * removes the listener.
   */
  onCommit(listener: (metricIds: readonly Id64[]) => void): () => void
  now(): number
  /** Calls `run` after `ms` milliseconds. Returns a function that cancels the call. */
  startTimer(ms: number, run: () => void): () => void
}

interface Subscriber {
  readonly project: string
  readonly keyHash: string
}

/**
 * Runs live queries. All subscribers of a project with equal queries share one {@link LiveQuery}. It runs after commits
 * to its metric, and each subscriber gets the difference between its previous result and the newest one. A slow
 * subscriber skips results: nothing is queued for it.
 *
 * | state of a live query | meaning | on a commit or a new subscriber |
 * | --- | --- | --- |
 * | `idle` | the poll timer is set | `delayed`, or `queued` if `runIntervalMsMin` have passed since the last start |
 * | `delayed` | waits until `runIntervalMsMin` have passed, then `queued` | – |
 * | `queued` | waits until fewer than `concurrentRunsMax` queries run, then `running` | – |
 * | `running` | the query runs, then `idle` | `outdated` |
 * | `outdated` | the query runs, then `delayed` or `queued` | – |
 *
 * The end of the poll timer acts like a commit. A new live query is `idle` without a timer until its first subscriber
 * is added. A live query is dropped when its last subscription ends.
 */
export class LiveQueries {
  readonly #backend: LiveQueryBackend
  readonly #settings: LiveSettings
  readonly #liveQueries = new Map<string, LiveQuery>()
  /** Number of subscriptions of each API key that has some, by the hash of the key. */
  readonly #subscriptionCountByKeyHash = new Map<string, number>()
  readonly #queue: LiveQuery[] = []
  #runningCount = 0
  #subscriptionCount = 0
  #stopListening: (() => void) | undefined
  #isClosed = false

  constructor(backend: LiveQueryBackend, settings: LiveSettings) {
    this.#backend = backend
    this.#settings = settings
  }

  /** Numbers of subscriptions, live queries, and API keys with subscriptions in memory. */
  get objectCounts(): { readonly subscriptions: number; readonly liveQueries: number; readonly keys: number } {
    return {
      subscriptions: this.#subscriptionCount,
      liveQueries: this.#liveQueries.size,
      keys: this.#subscriptionCountByKeyHash.size,
    }
  }

  /**
   * Yields a snapshot, then updates, until the caller ends the iterator or `close` is called. An error of the query
   * ends the iterator, unless it is `store_unavailable` or `overloaded`: then the query runs again later. Throws
   * `rate_limited` or `overloaded` if there are too many subscriptions, and `overloaded` after `close`.
   */
  subscribe({ project, keyHash }: Subscriber, input: QueryInput): AsyncIterableIterator<LiveUpdate> {
    const { subscriptionsMax, subscriptionsPerKeyMax } = this.#settings
    if (this.#isClosed) throw stoppingError()
    const subscriptionsOfKey = this.#subscriptionCountByKeyHash.get(keyHash) ?? 0
    if (subscriptionsOfKey >= subscriptionsPerKeyMax) {
      throw new GatewayError('rate_limited', `a key may have at most ${subscriptionsPerKeyMax} live queries`, {
        details: { max: subscriptionsPerKeyMax },
      })
    }
    if (this.#subscriptionCount >= subscriptionsMax) {
      throw new GatewayError('overloaded', `the gateway has ${subscriptionsMax} live queries, the most it allows`, {
        details: { max: subscriptionsMax },
      })
    }
    this.#subscriptionCount++
    this.#subscriptionCountByKeyHash.set(keyHash, subscriptionsOfKey + 1)
    this.#stopListening ??= this.#backend.onCommit((metricIds) => this.#refreshQueriesOf(metricIds))
    const key = `${project}\n${JSON.stringify(input, replaceMapsByLists)}`
    let liveQuery = this.#liveQueries.get(key)
    if (liveQuery === undefined) this.#liveQueries.set(key, (liveQuery = new LiveQuery(key, project, input)))
    const subscription = new Subscription(liveQuery, patchOptions(input), () =>
      this.#removeSubscription(liveQuery, subscription, keyHash),
    )
    liveQuery.subscriptions.add(subscription)
    this.#refresh(liveQuery)
    return subscription
  }

  /** Ends all subscriptions with an error that tells clients to reconnect. */
  close(): void {
    this.#isClosed = true
    for (const liveQuery of [...this.#liveQueries.values()]) liveQuery.end(stoppingError())
  }

  #removeSubscription(liveQuery: LiveQuery, subscription: Subscription, keyHash: string): void {
    const subscriptionsOfKey = this.#subscriptionCountByKeyHash.get(keyHash)! - 1
    if (subscriptionsOfKey === 0) this.#subscriptionCountByKeyHash.delete(keyHash)
    else this.#subscriptionCountByKeyHash.set(keyHash, subscriptionsOfKey)
    this.#subscriptionCount--
    liveQuery.subscriptions.delete(subscription)
    if (liveQuery.subscriptions.size === 0) {
      liveQuery.cancelTimer?.()
      this.#liveQueries.delete(liveQuery.key)
    }
    if (this.#subscriptionCount === 0) {
      this.#stopListening?.()
      this.#stopListening = undefined
    }
  }

  #refreshQueriesOf(metricIds: readonly Id64[]): void {
    if (this.#liveQueries.size === 0) return
    const ids = new Set(metricIds.map(formatId))
    for (const liveQuery of this.#liveQueries.values()) {
      // The metric id is unknown before the first result, so the query runs after every commit.
      if (liveQuery.metricId === undefined || ids.has(liveQuery.metricId)) this.#refresh(liveQuery)
    }
  }

  /** Ensures that a run of the query starts after this call, as soon as the settings allow. */
  #refresh(liveQuery: LiveQuery): void {
    switch (liveQuery.state) {
      case 'idle':
        this.#schedule(liveQuery)
        break
      case 'running':
        liveQuery.state = 'outdated'
        break
      case 'delayed':
      case 'queued':
      case 'outdated':
        break
      default:
        liveQuery.state satisfies never
    }
  }

  /** Queues a run, at once or when `runIntervalMsMin` have passed since the start of the last run. */
  #schedule(liveQuery: LiveQuery): void {
    liveQuery.cancelTimer?.()
    const waitMs = liveQuery.lastStartMs + this.#settings.runIntervalMsMin - this.#backend.now()
    if (waitMs <= 0) {
      this.#enqueue(liveQuery)
      return
    }
    liveQuery.state = 'delayed'
    // The wait is at most `runIntervalMsMin`, even if the clock was set back.
    liveQuery.cancelTimer = this.#backend.startTimer(Math.min(waitMs, this.#settings.runIntervalMsMin), () =>
      this.#enqueue(liveQuery),
    )
  }

  #enqueue(liveQuery: LiveQuery): void {
    liveQuery.cancelTimer = undefined
    liveQuery.state = 'queued'
    this.#queue.push(liveQuery)
    this.#startRuns()
  }

  #startRuns(): void {
    while (this.#runningCount < this.#settings.concurrentRunsMax) {
      const liveQuery = this.#queue.shift()
      if (liveQuery === undefined) return
      if (liveQuery.subscriptions.size === 0) continue
      this.#runningCount++
      this.#runQuery(liveQuery).finally(() => {
        this.#runningCount--
        this.#startRuns()
      })
    }
  }

  /**
   * Runs the query and publishes its result. Does not reject: an error ends the subscriptions, or a later run retries.
   */
  async #runQuery(liveQuery: LiveQuery): Promise<void> {
    liveQuery.state = 'running'
    liveQuery.lastStartMs = this.#backend.now()
    const runNumber = ++liveQuery.lastRunNumber
    try {
      liveQuery.publish(await this.#backend.query(liveQuery.project, liveQuery.input), runNumber)
    } catch (error) {
      if (!isTransient(error)) {
        liveQuery.end(error)
        return
      }
    }
    const isOutdated = liveQuery.isOutdated
    liveQuery.state = 'idle'
    if (liveQuery.subscriptions.size === 0) return
    if (isOutdated) this.#schedule(liveQuery)
    else liveQuery.cancelTimer = this.#backend.startTimer(this.#pollDelayMs(liveQuery), () => this.#schedule(liveQuery))
  }

  /**
   * Returns the time until the next poll. It doubles with each equal result, up to `POLL_BACKOFF_FACTOR_MAX` times
   * `pollIntervalMs`. If a bucket of the result ends earlier, the poll is at the first such end, but not before
   * `pollIntervalMs`.
   */
  #pollDelayMs({ equalResultCount, result }: LiveQuery): number {
    const { pollIntervalMs } = this.#settings
    const backoffMs = pollIntervalMs * Math.min(POLL_BACKOFF_FACTOR_MAX, 2 ** equalResultCount)
    const nowMs = this.#backend.now()
    const endMs = result?.endMs.find((ms) => ms > nowMs) ?? Number.POSITIVE_INFINITY
    return Math.max(pollIntervalMs, Math.min(backoffMs, endMs - nowMs))
  }
}

/**
 * Maximum factor by which the poll interval of a query with equal results grows. The query still runs after commits.
 */
const POLL_BACKOFF_FACTOR_MAX = 16
/** For the poll interval, results count as equal if their buckets are equal: totals are not compared. */
const COMPARE_BUCKETS_ONLY: PatchOptions = { withTotals: false, isRanked: false }

type LiveQueryState = 'idle' | 'delayed' | 'queued' | 'running' | 'outdated'

/** One distinct query and its subscriptions. The table at {@link LiveQueries} describes its states. */
class LiveQuery {
  readonly key: string
  readonly project: string
  readonly input: QueryInput
  readonly subscriptions = new Set<Subscription>()
  state: LiveQueryState = 'idle'
  /** Cancels the timer of the next run. Undefined if none was started since the last enqueued run. */
  cancelTimer: (() => void) | undefined
  /** The id of the metric in the newest result. Undefined before the first result. */
  metricId: string | undefined
  /** The newest result. */
  result: QueryResult | undefined
  /** The number of the run that returned `result`, from 1. */
  resultRunNumber = 0
  /** The number of the run that started last. */
  lastRunNumber = 0
  lastStartMs = Number.NEGATIVE_INFINITY
  /** Number of newest results in a row that were equal to the result before them. */
  equalResultCount = 0

  constructor(key: string, project: string, input: QueryInput) {
    this.key = key
    this.project = project
    this.input = input
  }

  /** Whether a commit or a new subscription since the start of the current run requires another run. */
  get isOutdated(): boolean {
    return this.state === 'outdated'
  }

  publish(result: QueryResult, runNumber: number): void {
    const isEqual = this.result !== undefined && updateBetween(this.result, result, COMPARE_BUCKETS_ONLY) === undefined
    this.equalResultCount = isEqual ? this.equalResultCount + 1 : 0
    this.result = result
    this.resultRunNumber = runNumber
    this.metricId = formatId(result.metric.metricId)
    for (const subscription of this.subscriptions) subscription.notify()
  }

  end(error: unknown): void {
    for (const subscription of [...this.subscriptions]) subscription.end(error)
  }
}

/**
 * The updates of one subscriber. The subscriber pulls each update. A result that it has not pulled is replaced by the
 * next one, and discarded when the subscription ends.
 */
class Subscription implements AsyncIterableIterator<LiveUpdate> {
  readonly #liveQuery: LiveQuery
  readonly #options: PatchOptions
  readonly #onEnd: () => void
  /**
   * Number of the last run that had started before the subscription. The results of this run and of earlier runs are
   * too old for the subscription.
   */
  readonly #lastIgnoredRunNumber: number
  #previousResult: QueryResult | undefined
  #error: { readonly reason: unknown } | undefined
  #isEnded = false
  #wakeNext: (() => void) | undefined

  constructor(liveQuery: LiveQuery, options: PatchOptions, onEnd: () => void) {
    this.#liveQuery = liveQuery
    this.#options = options
    this.#onEnd = onEnd
    this.#lastIgnoredRunNumber = liveQuery.lastRunNumber
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /**
   * Resolves with the next update. After the end it rejects once with the error that ended the subscription, if there
   * is one. The caller must wait for the returned promise before the next call.
   */
  async next(): Promise<IteratorResult<LiveUpdate>> {
    for (;;) {
      const update = this.#isEnded ? undefined : this.#nextUpdate()
      if (update !== undefined) return { value: update, done: false }
      if (this.#isEnded) {
        const error = this.#error
        this.#error = undefined
        if (error !== undefined) throw error.reason
        return { value: undefined, done: true }
      }
      await new Promise<void>((resolve) => {
        this.#wakeNext = resolve
      })
    }
  }

  async return(): Promise<IteratorResult<LiveUpdate>> {
    this.end(undefined)
    return { value: undefined, done: true }
  }

  /** Wakes a caller that waits in `next`. */
  notify(): void {
    const wakeNext = this.#wakeNext
    this.#wakeNext = undefined
    wakeNext?.()
  }

  end(reason: unknown): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#previousResult = undefined
    if (reason !== undefined) this.#error = { reason }
    this.#onEnd()
    this.notify()
  }

  #nextUpdate(): LiveUpdate | undefined {
    const { result, resultRunNumber } = this.#liveQuery
    if (result === undefined || result === this.#previousResult || resultRunNumber <= this.#lastIgnoredRunNumber)
      return undefined
    const previousResult = this.#previousResult
    this.#previousResult = result
    return previousResult === undefined ? snapshotOf(result) : updateBetween(previousResult, result, this.#options)
  }
}

function patchOptions({ totals: withTotals = true, top }: QueryInput): PatchOptions {
  return { withTotals, isRanked: top !== undefined }
}

function stoppingError(): GatewayError {
  return new GatewayError('overloaded', 'the gateway is stopping; connect again', { details: { reconnect: true } })
}

/** Whether a later run of the query may succeed although this one failed. */
function isTransient(error: unknown): boolean {
  return error instanceof GatewayError && (error.code === 'store_unavailable' || error.code === 'overloaded')
}

function replaceMapsByLists(_key: string, value: unknown): unknown {
  return value instanceof Map ? [...value] : value
}
