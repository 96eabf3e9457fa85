import { GatewayError } from '../../model/errors.ts'
import { formatId, type Id64 } from '../../model/id.ts'
import type { QueryResult } from '../compute/result.ts'
import type { QueryInput } from '../plan/request.ts'
import { type LiveUpdate, type PatchOptions, snapshotOf, updateBetween } from './live-patch.ts'

export interface LiveSettings {
  /** The shortest time between two runs of a query. */
  readonly everyMs: number
  /** A query also runs after this time without commits: ranges move on, and notifications of commits may be lost. */
  readonly pollMs: number
  /** Subscriptions of this process, and of one key. */
  readonly subscriptionsMax: number
  readonly subscriptionsPerKeyMax: number
  /** Queries that run at the same time; others wait in a queue. */
  readonly runsMax: number
}

/** The shortest time between two runs of one live query: people do not read charts faster. */
const LIVE_EVERY_MS = 1_000
/** How long a live query that heard of no commit waits for its next run, since notifications may get lost. */
const LIVE_POLL_MS = 10_000
/** Live queries that run at the same time: other queries need the CPU too. */
const LIVE_RUNS_MAX = 4

/** The bounds that are constants. */
export const LIVE_BOUNDS = { everyMs: LIVE_EVERY_MS, pollMs: LIVE_POLL_MS, runsMax: LIVE_RUNS_MAX }

/** The parts of the gateway that live queries need. */
export interface LiveSource {
  query(project: string, input: QueryInput): Promise<QueryResult>
  onCommit(listener: (metricIds: readonly Id64[]) => void): () => void
  now(): number
  /** Starts a timer; the returned function cancels it. */
  after(ms: number, run: () => void): () => void
}

interface Subscriber {
  readonly project: string
  readonly keyId: string
}

/**
 * Live queries. All subscribers of equal queries share one topic. Its query runs after commits to its metric, and each
 * subscriber gets the difference between its previous result and the newest one. A slow subscriber skips results;
 * nothing is queued for it.
 *
 * | state of a topic | meaning | on a commit or a new subscriber |
 * | --- | --- | --- |
 * | `idle` | the poll timer is set | `delayed`, or `queued` if `everyMs` have passed since the last run |
 * | `delayed` | waits until `everyMs` have passed, then `queued` | – |
 * | `queued` | waits until fewer than `runsMax` queries run, then `running` | – |
 * | `running` | the query runs, then `idle` | `outdated` |
 * | `outdated` | the query runs, then `delayed` or `queued` | – |
 *
 * A topic ends with its last subscription.
 */
export class LiveQueries {
  readonly #source: LiveSource
  readonly #settings: LiveSettings
  readonly #topics = new Map<string, Topic>()
  /** Number of subscriptions by key. */
  readonly #subscriptions = new Map<string, number>()
  readonly #queue: Topic[] = []
  #running = 0
  #count = 0
  #stopListening: (() => void) | undefined
  #isClosed = false

  constructor(source: LiveSource, settings: LiveSettings) {
    this.#source = source
    this.#settings = settings
  }

  /** The number of objects in memory for subscribers. */
  get held(): { readonly subscriptions: number; readonly topics: number; readonly keys: number } {
    return { subscriptions: this.#count, topics: this.#topics.size, keys: this.#subscriptions.size }
  }

  /**
   * Yields a snapshot, then updates, until the iterator is returned or this object is closed. An error of the query
   * ends the iterator, except while the store is unavailable. Throws `rate_limited` or `overloaded` if there are too
   * many subscriptions.
   */
  subscribe({ project, keyId }: Subscriber, input: QueryInput): AsyncIterableIterator<LiveUpdate> {
    const { subscriptionsMax, subscriptionsPerKeyMax } = this.#settings
    if (this.#isClosed) throw stopping()
    const keyCount = this.#subscriptions.get(keyId) ?? 0
    if (keyCount >= subscriptionsPerKeyMax) {
      throw new GatewayError('rate_limited', `a key may have at most ${subscriptionsPerKeyMax} live queries`, {
        details: { max: subscriptionsPerKeyMax },
      })
    }
    if (this.#count >= subscriptionsMax) {
      throw new GatewayError('overloaded', `the gateway has ${subscriptionsMax} live queries, the most it allows`, {
        details: { max: subscriptionsMax },
      })
    }
    this.#count++
    this.#subscriptions.set(keyId, keyCount + 1)
    this.#stopListening ??= this.#source.onCommit((metricIds) => this.#refreshTopicsOf(metricIds))
    const key = `${project}\n${JSON.stringify(input, mapsAsLists)}`
    let topic = this.#topics.get(key)
    if (topic === undefined) this.#topics.set(key, (topic = new Topic(key, project, input)))
    const subscription = new Subscription(topic, patchOptions(input), () => this.#leave(topic, subscription, keyId))
    topic.subscriptions.add(subscription)
    this.#refresh(topic)
    return subscription
  }

  /** Ends all subscriptions with an error that tells clients to reconnect. */
  close(): void {
    this.#isClosed = true
    for (const topic of [...this.#topics.values()]) topic.end(stopping())
  }

  #leave(topic: Topic, subscription: Subscription, keyId: string): void {
    const keyCount = this.#subscriptions.get(keyId)! - 1
    if (keyCount === 0) this.#subscriptions.delete(keyId)
    else this.#subscriptions.set(keyId, keyCount)
    this.#count--
    topic.subscriptions.delete(subscription)
    if (topic.subscriptions.size === 0) {
      topic.cancelTimer?.()
      this.#topics.delete(topic.key)
    }
    if (this.#count === 0) {
      this.#stopListening?.()
      this.#stopListening = undefined
    }
  }

  #refreshTopicsOf(metricIds: readonly Id64[]): void {
    if (this.#topics.size === 0) return
    const ids = new Set(metricIds.map(formatId))
    for (const topic of this.#topics.values()) {
      // The id of the metric is unknown before the first result.
      if (topic.metricId === undefined || ids.has(topic.metricId)) this.#refresh(topic)
    }
  }

  /** Makes sure that a run starts after now, as soon as it may. */
  #refresh(topic: Topic): void {
    switch (topic.state) {
      case 'idle':
        this.#schedule(topic)
        break
      case 'running':
        topic.state = 'outdated'
        break
      case 'delayed':
      case 'queued':
      case 'outdated':
        break
      default:
        topic.state satisfies never
    }
  }

  #schedule(topic: Topic): void {
    topic.cancelTimer?.()
    const waitMs = topic.startedMs + this.#settings.everyMs - this.#source.now()
    if (waitMs <= 0) {
      this.#enqueue(topic)
      return
    }
    topic.state = 'delayed'
    // At most `everyMs`, even if the clock was set back.
    topic.cancelTimer = this.#source.after(Math.min(waitMs, this.#settings.everyMs), () => this.#enqueue(topic))
  }

  #enqueue(topic: Topic): void {
    topic.cancelTimer = undefined
    topic.state = 'queued'
    this.#queue.push(topic)
    this.#startRuns()
  }

  #startRuns(): void {
    while (this.#running < this.#settings.runsMax) {
      const topic = this.#queue.shift()
      if (topic === undefined) return
      if (topic.subscriptions.size === 0) continue
      this.#running++
      this.#run(topic).finally(() => {
        this.#running--
        this.#startRuns()
      })
    }
  }

  /** Never rejects. */
  async #run(topic: Topic): Promise<void> {
    topic.state = 'running'
    topic.startedMs = this.#source.now()
    const run = ++topic.runs
    try {
      topic.publish(await this.#source.query(topic.project, topic.input), run)
    } catch (error) {
      if (!isTransient(error)) {
        topic.end(error)
        return
      }
    }
    const isOutdated = topic.isOutdated
    topic.state = 'idle'
    if (topic.subscriptions.size === 0) return
    if (isOutdated) this.#schedule(topic)
    else topic.cancelTimer = this.#source.after(this.#pollMs(topic), () => this.#schedule(topic))
  }

  /** Doubles while results are equal, but ends no later than the current bucket. */
  #pollMs({ equalResults, result }: Topic): number {
    const { pollMs } = this.#settings
    const quietMs = pollMs * Math.min(QUIET_POLLS_MAX, 2 ** equalResults)
    const nowMs = this.#source.now()
    const endMs = result?.endMs.find((ms) => ms > nowMs) ?? Number.POSITIVE_INFINITY
    return Math.max(pollMs, Math.min(quietMs, endMs - nowMs))
  }
}

/**
 * A query whose result stays equal is polled up to this many times less often. A commit to its metric runs it at once.
 */
const QUIET_POLLS_MAX = 16
/** If all buckets are equal, so are totals and ranks. */
const BUCKETS_ONLY: PatchOptions = { totals: false, ranked: false }

type TopicState = 'idle' | 'delayed' | 'queued' | 'running' | 'outdated'

/** One distinct query and its subscriptions. The table at {@link LiveQueries} describes the states. */
class Topic {
  readonly key: string
  readonly project: string
  readonly input: QueryInput
  readonly subscriptions = new Set<Subscription>()
  state: TopicState = 'idle'
  cancelTimer: (() => void) | undefined
  metricId: string | undefined
  result: QueryResult | undefined
  /** The number of the run that gave the result, from 1. */
  resultRun = 0
  runs = 0
  startedMs = Number.NEGATIVE_INFINITY
  /** How many results in a row were equal to the one before. */
  equalResults = 0

  constructor(key: string, project: string, input: QueryInput) {
    this.key = key
    this.project = project
    this.input = input
  }

  /** Whether data may have changed since the current run started. */
  get isOutdated(): boolean {
    return this.state === 'outdated'
  }

  publish(result: QueryResult, run: number): void {
    const isEqual = this.result !== undefined && updateBetween(this.result, result, BUCKETS_ONLY) === undefined
    this.equalResults = isEqual ? this.equalResults + 1 : 0
    this.result = result
    this.resultRun = run
    this.metricId = formatId(result.metric.metricId)
    for (const subscription of this.subscriptions) subscription.wake()
  }

  end(error: unknown): void {
    for (const subscription of [...this.subscriptions]) subscription.end(error)
  }
}

/** Pulled by its consumer. A result that the consumer has not pulled is replaced by the next one. */
class Subscription implements AsyncIterableIterator<LiveUpdate> {
  readonly #topic: Topic
  readonly #options: PatchOptions
  readonly #leave: () => void
  /** Results of runs up to this one are older than the subscription. */
  readonly #joinedRun: number
  #previous: QueryResult | undefined
  #error: { readonly reason: unknown } | undefined
  #isOver = false
  #resume: (() => void) | undefined

  constructor(topic: Topic, options: PatchOptions, leave: () => void) {
    this.#topic = topic
    this.#options = options
    this.#leave = leave
    this.#joinedRun = topic.runs
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** Must not be called again before it resolves. */
  async next(): Promise<IteratorResult<LiveUpdate>> {
    for (;;) {
      const update = this.#isOver ? undefined : this.#nextUpdate()
      if (update !== undefined) return { value: update, done: false }
      if (this.#isOver) {
        const error = this.#error
        this.#error = undefined
        if (error !== undefined) throw error.reason
        return { value: undefined, done: true }
      }
      await new Promise<void>((resolve) => {
        this.#resume = resolve
      })
    }
  }

  async return(): Promise<IteratorResult<LiveUpdate>> {
    this.end(undefined)
    return { value: undefined, done: true }
  }

  wake(): void {
    const resume = this.#resume
    this.#resume = undefined
    resume?.()
  }

  end(reason: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#previous = undefined
    if (reason !== undefined) this.#error = { reason }
    this.#leave()
    this.wake()
  }

  #nextUpdate(): LiveUpdate | undefined {
    const { result, resultRun } = this.#topic
    if (result === undefined || result === this.#previous || resultRun <= this.#joinedRun) return undefined
    const previous = this.#previous
    this.#previous = result
    return previous === undefined ? snapshotOf(result) : updateBetween(previous, result, this.#options)
  }
}

function patchOptions({ totals = true, top }: QueryInput): PatchOptions {
  return { totals, ranked: top !== undefined }
}

function stopping(): GatewayError {
  return new GatewayError('overloaded', 'the gateway is stopping; connect again', { details: { reconnect: true } })
}

/** The next run may succeed. */
function isTransient(error: unknown): boolean {
  return error instanceof GatewayError && (error.code === 'store_unavailable' || error.code === 'overloaded')
}

function mapsAsLists(_key: string, value: unknown): unknown {
  return value instanceof Map ? [...value] : value
}
