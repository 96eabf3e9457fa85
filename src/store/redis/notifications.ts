import { type Id64, parseId } from '../../model/id.ts'
import { type CommitListener, CommitListeners } from '../commit-listeners.ts'
import type { RedisAccess } from './redis-access.ts'

/**
 * Notifies listeners of the metrics that commits and deletions have changed. The store calls `notify` after commits and
 * deletions of this gateway. Those of other gateways are received through the shard channels of the partitions. The
 * first listener starts the subscription to these channels. Delivery is not guaranteed.
 */

/** Pause before another attempt to subscribe after one has failed. */
const SUBSCRIBE_RETRY_PAUSE_MS = 1_000

export class Notifications {
  readonly #redis: RedisAccess
  readonly #sender: string
  readonly #listeners = new CommitListeners()
  #retryTimer: NodeJS.Timeout | undefined
  #isSubscriptionStarted = false
  #isClosed = false

  /** `sender` is the name of this gateway in its messages. Received messages with this name are ignored. */
  constructor(redis: RedisAccess, sender: string) {
    this.#redis = redis
    this.#sender = sender
  }

  get hasListeners(): boolean {
    return this.#listeners.size > 0
  }

  listen(listener: CommitListener): () => void {
    const removeListener = this.#listeners.add(listener)
    if (!this.#isSubscriptionStarted) this.#subscribe()
    return removeListener
  }

  notify(metricIds: readonly Id64[]): void {
    this.#listeners.notify(metricIds)
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#retryTimer)
    this.#listeners.clear()
  }

  #subscribe(): void {
    this.#isSubscriptionStarted = true
    const redis = this.#redis
    const channels = redis.allPartitions().map((partition) => redis.keys(partition).channel)
    redis.connections
      .subscribe(channels, (message) => {
        const [sender, ...ids] = message.split(' ')
        if (sender !== this.#sender) this.notify(ids.map(parseId))
      })
      .catch(() => {
        if (this.#isClosed) return
        this.#retryTimer = setTimeout(() => this.#subscribe(), SUBSCRIBE_RETRY_PAUSE_MS)
        this.#retryTimer.unref()
      })
  }
}
