import { GatewayError } from '../../model/errors.ts'
import type { AppendOutcome, Commit, Store } from '../../store/store.ts'

/**
 * Whether the store takes commits, and since when it has not. The time is measured by the clock and not by failed
 * attempts, because a store may also leave a call pending.
 */

/** How long the requests behind a commit have waited for the store. */
export interface StoreWait {
  readonly startedMs: number
  /** The requests have waited as long as they may. */
  isOver: boolean
  end(): void
}

const RETRY_PAUSE_MS = 100

export class StoreAvailability {
  readonly #store: Store
  readonly #waitMsMax: number
  readonly #onUnavailable: () => void
  readonly #now: () => number
  #unavailableSinceMs: number | undefined

  /** `onUnavailable` is called each time that a wait has lasted for another `waitMsMax`. */
  constructor(store: Store, waitMsMax: number, onUnavailable: () => void, now: () => number) {
    this.#store = store
    this.#waitMsMax = waitMsMax
    this.#onUnavailable = onUnavailable
    this.#now = now
  }

  /** The store has taken no commits for longer than a request may wait. */
  get isUnavailable(): boolean {
    return this.#unavailableSinceMs !== undefined && this.#now() - this.#unavailableSinceMs > this.#waitMsMax
  }

  /** Starts a wait; the caller ends it. `onOver` is called once, when it has lasted as long as a request may wait. */
  startWait(onOver: () => void = () => {}): StoreWait {
    const wait = { startedMs: this.#now(), isOver: false, end: () => clearInterval(timer) }
    const timer = setInterval(() => {
      this.#unavailableSinceMs ??= wait.startedMs
      if (!wait.isOver) onOver()
      wait.isOver = true
      this.#onUnavailable()
    }, this.#waitMsMax)
    return wait
  }

  /** The outcome of each commit; undefined where the store did not respond. `separately`: one call for each commit. */
  async append(
    commits: readonly Commit[],
    separately: boolean,
    wait: StoreWait,
  ): Promise<readonly (AppendOutcome | undefined)[]> {
    const calls = separately ? commits.map((commit) => [commit]) : [commits]
    const results = await Promise.all(
      calls.map((call) =>
        this.#store.append(call).catch((cause: unknown) => {
          if (cause instanceof GatewayError && cause.code === 'store_unavailable') return call.map(() => undefined)
          throw cause
        }),
      ),
    )
    const outcomes = results.flat()
    if (outcomes.includes(undefined)) this.#unavailableSinceMs ??= wait.startedMs
    else this.#unavailableSinceMs = undefined
    return outcomes
  }
}

/** The pause between two attempts. */
export function pauseBeforeRetry(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, RETRY_PAUSE_MS))
}
