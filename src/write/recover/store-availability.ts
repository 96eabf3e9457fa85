import { GatewayError } from '../../model/errors.ts'
import type { AppendOutcome, Commit, Store } from '../../store/store.ts'

/** How long requests have waited for the store. */
export interface Patience {
  readonly startedMs: number
  isOver: boolean
  end(): void
}

const RETRY_PAUSE_MS = 100

/** Whether the store takes commits, and since when it has not. */
export class Reach {
  readonly #store: Store
  readonly #waitMsMax: number
  readonly #onAway: () => void
  readonly #now: () => number
  #awaySinceMs: number | undefined

  /** `onAway` is called again and again, each time that the store has been away for as long as a request may wait. */
  constructor(store: Store, waitMsMax: number, onAway: () => void, now: () => number) {
    this.#store = store
    this.#waitMsMax = waitMsMax
    this.#onAway = onAway
    this.#now = now
  }

  /** The store has been away for longer than a request may wait. */
  get isAway(): boolean {
    return this.#awaySinceMs !== undefined && this.#now() - this.#awaySinceMs > this.#waitMsMax
  }

  /** By the clock and not by failed attempts: a store may also keep a call waiting. */
  begin(onOver: () => void = () => {}): Patience {
    const patience = { startedMs: this.#now(), isOver: false, end: () => clearInterval(timer) }
    const timer = setInterval(() => {
      this.#awaySinceMs ??= patience.startedMs
      if (!patience.isOver) onOver()
      patience.isOver = true
      this.#onAway()
    }, this.#waitMsMax)
    return patience
  }

  /** An answer for each commit, undefined for those whose store does not answer. `apart`: each in a call of its own. */
  async append(
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
    if (outcomes.includes(undefined)) this.#awaySinceMs ??= patience.startedMs
    else this.#awaySinceMs = undefined
    return outcomes
  }
}

/** Between two attempts. */
export function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, RETRY_PAUSE_MS))
}
