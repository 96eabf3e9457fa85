import { GatewayError } from '../../model/errors.ts'
import { formatId, type Id64 } from '../../model/id.ts'
import type { QueryAnswer } from '../compute/result.ts'
import type { QueryInput } from '../plan/request.ts'
import { type LiveUpdate, type PatchOptions, snapshotOf, updateBetween } from './live-patch.ts'

export interface LiveSettings {
  /** A query is asked again at most so often. */
  readonly everyMs: number
  /** And at least so often: ranges move on, and nobody is promised to hear of every commit. */
  readonly pollMs: number
  /** Subscriptions of this process, and of one key. */
  readonly subscriptionsMax: number
  readonly subscriptionsPerKeyMax: number
  /** Queries that are asked at a time; the others wait in line. */
  readonly runsMax: number
}

/** What live queries need of the gateway. */
export interface LiveSource {
  query(project: string, input: QueryInput): Promise<QueryAnswer>
  onCommit(listener: (partition: number, metricIds: readonly Id64[]) => void): () => void
  now(): number
  /** Calls back once; answers how to call it off. */
  after(ms: number, run: () => void): () => void
}

export interface Subscriber {
  readonly project: string
  readonly keyId: string
}

/**
 * Queries whose answers are told again as they change. All subscribers of one question share one topic: it is asked once, after
 * commits to its metric, and each subscriber is told the difference between what it was last told and the newest answer. A
 * subscriber that is slow to take an update skips answers and holds no queue.
 */
export class LiveQueries {
  readonly #source: LiveSource
  readonly #settings: LiveSettings
  readonly #topics = new Map<string, Topic>()
  readonly #subscriptions = new Map<string, number>()
  readonly #waiting: Topic[] = []
  #running = 0
  #count = 0
  #stopListening: (() => void) | undefined
  #isClosed = false

  constructor(source: LiveSource, settings: LiveSettings) {
    this.#source = source
    this.#settings = settings
  }

  /** What is held for subscribers; all zero when there are none. */
  get held(): { readonly subscriptions: number; readonly topics: number; readonly keys: number } {
    return { subscriptions: this.#count, topics: this.#topics.size, keys: this.#subscriptions.size }
  }

  /**
   * One snapshot, then what changes, until the iterator is returned or this is closed. A query that cannot be answered ends it with
   * the query's error; a store that is away does not. Throws `rate_limited` or `overloaded` when there are too many.
   */
  subscribe({ project, keyId }: Subscriber, input: QueryInput): AsyncIterableIterator<LiveUpdate> {
    const { subscriptionsMax, subscriptionsPerKeyMax } = this.#settings
    if (this.#isClosed) throw stopping()
    const ofKey = this.#subscriptions.get(keyId) ?? 0
    if (ofKey >= subscriptionsPerKeyMax) {
      throw new GatewayError('rate_limited', `a key may have at most ${subscriptionsPerKeyMax} live queries`, {
        details: { max: subscriptionsPerKeyMax },
      })
    }
    if (this.#count >= subscriptionsMax) {
      throw new GatewayError('overloaded', `the gateway has ${subscriptionsMax} live queries, and takes no more`, {
        details: { max: subscriptionsMax },
      })
    }
    this.#count++
    this.#subscriptions.set(keyId, ofKey + 1)
    this.#stopListening ??= this.#source.onCommit((_partition, metricIds) => this.#noteCommit(metricIds))
    const key = `${project}\n${JSON.stringify(input, mapsAsLists)}`
    let topic = this.#topics.get(key)
    if (topic === undefined) this.#topics.set(key, (topic = new Topic(key, project, input)))
    const subscription = new Subscription(topic, patchOptions(input), () => this.#leave(topic, subscription, keyId))
    topic.subscriptions.add(subscription)
    this.#want(topic)
    return subscription
  }

  /** Ends every subscription with an error that asks to connect again. */
  close(): void {
    this.#isClosed = true
    for (const topic of [...this.#topics.values()]) topic.end(stopping())
  }

  #leave(topic: Topic, subscription: Subscription, keyId: string): void {
    const ofKey = this.#subscriptions.get(keyId)! - 1
    if (ofKey === 0) this.#subscriptions.delete(keyId)
    else this.#subscriptions.set(keyId, ofKey)
    this.#count--
    topic.subscriptions.delete(subscription)
    if (topic.subscriptions.size === 0) {
      topic.cancel?.()
      this.#topics.delete(topic.key)
    }
    if (this.#count === 0) {
      this.#stopListening?.()
      this.#stopListening = undefined
    }
  }

  #noteCommit(metricIds: readonly Id64[]): void {
    if (this.#topics.size === 0) return
    const ids = new Set(metricIds.map(formatId))
    for (const topic of this.#topics.values()) {
      // Before its first answer nobody knows the metric.
      if (topic.metricId === undefined || ids.has(topic.metricId)) this.#want(topic)
    }
  }

  /** Has the topic asked as soon as it may be. */
  #want(topic: Topic): void {
    topic.isWanted = true
    if (topic.isBusy) return
    topic.isBusy = true
    topic.cancel?.()
    const waitMs = topic.askedMs + this.#settings.everyMs - this.#source.now()
    // A clock that was set back must not make it wait for long.
    if (waitMs <= 0) this.#enqueue(topic)
    else topic.cancel = this.#source.after(Math.min(waitMs, this.#settings.everyMs), () => this.#enqueue(topic))
  }

  #enqueue(topic: Topic): void {
    topic.cancel = undefined
    this.#waiting.push(topic)
    this.#advance()
  }

  #advance(): void {
    while (this.#running < this.#settings.runsMax) {
      const topic = this.#waiting.shift()
      if (topic === undefined) return
      if (topic.subscriptions.size === 0) continue
      this.#running++
      this.#ask(topic).finally(() => {
        this.#running--
        this.#advance()
      })
    }
  }

  /** Never rejects. */
  async #ask(topic: Topic): Promise<void> {
    topic.isWanted = false
    topic.askedMs = this.#source.now()
    const run = ++topic.runs
    try {
      const answer = await this.#source.query(topic.project, topic.input)
      topic.quietPolls = topic.isSame(answer) ? topic.quietPolls + 1 : 0
      topic.tell(answer, run)
    } catch (error) {
      if (!isTransient(error)) {
        topic.end(error)
        return
      }
    }
    topic.isBusy = false
    if (topic.subscriptions.size === 0) return
    if (topic.isWanted) this.#want(topic)
    else topic.cancel = this.#source.after(this.#pollMs(topic), () => this.#want(topic))
  }

  /** Longer each time that nothing has changed, but no longer than until a bucket ends. */
  #pollMs({ quietPolls, answer }: Topic): number {
    const { pollMs } = this.#settings
    const quietMs = pollMs * Math.min(QUIET_POLLS_MAX, 2 ** quietPolls)
    const nowMs = this.#source.now()
    const endMs = answer?.endMs.find((ms) => ms > nowMs) ?? Number.POSITIVE_INFINITY
    return Math.max(pollMs, Math.min(quietMs, endMs - nowMs))
  }
}

/** A query whose answer stays the same is asked up to so many times less often; commits to its metric have it asked at once. */
const QUIET_POLLS_MAX = 16
/** Totals and ranks do not change while every bucket stays. */
const SHAPE_ALONE: PatchOptions = { totals: false, ranked: false }

/** One question and everybody who is told its answers. */
class Topic {
  readonly key: string
  readonly project: string
  readonly input: QueryInput
  readonly subscriptions = new Set<Subscription>()
  metricId: string | undefined
  answer: QueryAnswer | undefined
  /** Which run gave the answer, counted from 1. */
  answeredRun = 0
  runs = 0
  askedMs = Number.NEGATIVE_INFINITY
  /** Whether something may have changed since it was last asked. */
  isWanted = false
  /** How often the answer has come out the same, one time after another. */
  quietPolls = 0
  /** Whether it waits to be asked, or is being asked. */
  isBusy = false
  cancel: (() => void) | undefined

  constructor(key: string, project: string, input: QueryInput) {
    this.key = key
    this.project = project
    this.input = input
  }

  isSame(answer: QueryAnswer): boolean {
    return this.answer !== undefined && updateBetween(this.answer, answer, SHAPE_ALONE) === undefined
  }

  tell(answer: QueryAnswer, run: number): void {
    this.answer = answer
    this.answeredRun = run
    this.metricId = formatId(answer.metric.metricId)
    for (const subscription of this.subscriptions) subscription.wake()
  }

  end(error: unknown): void {
    for (const subscription of [...this.subscriptions]) subscription.end(error)
  }
}

/** Pulled by its consumer: an answer that comes before the one before was taken takes its place. */
class Subscription implements AsyncIterableIterator<LiveUpdate> {
  readonly #topic: Topic
  readonly #options: PatchOptions
  readonly #leave: () => void
  /** Answers of runs up to this one are older than the subscription. */
  readonly #joinedRun: number
  #told: QueryAnswer | undefined
  #error: { readonly reason: unknown } | undefined
  #isOver = false
  #woken: (() => void) | undefined

  constructor(topic: Topic, options: PatchOptions, leave: () => void) {
    this.#topic = topic
    this.#options = options
    this.#leave = leave
    this.#joinedRun = topic.runs
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** One at a time. */
  async next(): Promise<IteratorResult<LiveUpdate>> {
    for (;;) {
      const update = this.#isOver ? undefined : this.#take()
      if (update !== undefined) return { value: update, done: false }
      if (this.#isOver) {
        const error = this.#error
        this.#error = undefined
        if (error !== undefined) throw error.reason
        return { value: undefined, done: true }
      }
      await new Promise<void>((resolve) => {
        this.#woken = resolve
      })
    }
  }

  async return(): Promise<IteratorResult<LiveUpdate>> {
    this.end(undefined)
    return { value: undefined, done: true }
  }

  wake(): void {
    const woken = this.#woken
    this.#woken = undefined
    woken?.()
  }

  end(reason: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#told = undefined
    if (reason !== undefined) this.#error = { reason }
    this.#leave()
    this.wake()
  }

  #take(): LiveUpdate | undefined {
    const { answer, answeredRun } = this.#topic
    if (answer === undefined || answer === this.#told || answeredRun <= this.#joinedRun) return undefined
    const before = this.#told
    this.#told = answer
    return before === undefined ? snapshotOf(answer) : updateBetween(before, answer, this.#options)
  }
}

function patchOptions({ totals = true, top }: QueryInput): PatchOptions {
  return { totals, ranked: top !== undefined }
}

function stopping(): GatewayError {
  return new GatewayError('overloaded', 'the gateway is stopping; connect again', { details: { reconnect: true } })
}

/** The store comes back, and the next attempt may do. */
function isTransient(error: unknown): boolean {
  return error instanceof GatewayError && (error.code === 'store_unavailable' || error.code === 'overloaded')
}

function mapsAsLists(_key: string, value: unknown): unknown {
  return value instanceof Map ? [...value] : value
}
