import { type Id64, parseId } from '../../model/id.ts'
import type { Engine } from './engine.ts'

/**
 * Tells listeners which metrics a commit touched. Commits of this gateway are told at once; those of others come over the shard
 * channel of their partition, which is subscribed to when the first listener is there. Nobody is promised to hear of any.
 */

export type CommitListener = (partition: number, metricIds: readonly Id64[]) => void

const SUBSCRIBE_PAUSE_MS = 1_000

export class Notifications {
  readonly #engine: Engine
  readonly #sender: string
  readonly #listeners = new Set<CommitListener>()
  #retry: NodeJS.Timeout | undefined
  #subscribing = false
  #closed = false

  /** `sender`: what this gateway calls itself in its commits. */
  constructor(engine: Engine, sender: string) {
    this.#engine = engine
    this.#sender = sender
  }

  get hasListeners(): boolean {
    return this.#listeners.size > 0
  }

  listen(listener: CommitListener): () => void {
    // A function of its own, so that the same listener may be added twice.
    const entry: CommitListener = (partition, metricIds) => listener(partition, metricIds)
    this.#listeners.add(entry)
    if (!this.#subscribing) this.#subscribe()
    return () => {
      this.#listeners.delete(entry)
    }
  }

  /** Not within the commit: the writer goes on, and a listener that throws does so on its own. */
  tell(partition: number, metricIds: readonly Id64[]): void {
    if (metricIds.length === 0) return
    for (const listener of this.#listeners) {
      queueMicrotask(() => {
        if (!this.#listeners.has(listener)) return
        try {
          listener(partition, metricIds)
        } catch {
          // Its own affair: the commit is durable and its writer is told so.
        }
      })
    }
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#retry)
    this.#listeners.clear()
  }

  #subscribe(): void {
    this.#subscribing = true
    const engine = this.#engine
    const partitions = new Map(engine.all().map((partition) => [engine.keys(partition).channel, partition]))
    engine.connections
      .subscribe([...partitions.keys()], (channel, message) => {
        const [sender, ...ids] = message.split(' ')
        const partition = partitions.get(channel)
        if (sender !== this.#sender && partition !== undefined) this.tell(partition, ids.map(parseId))
      })
      .catch(() => {
        if (this.#closed) return
        this.#retry = setTimeout(() => this.#subscribe(), SUBSCRIBE_PAUSE_MS)
        this.#retry.unref()
      })
  }
}
