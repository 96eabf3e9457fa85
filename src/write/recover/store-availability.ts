import { GatewayError } from '../../model/errors.ts'
import { FailureLog } from '../../model/failure-log.ts'
import type { AppendOutcome, Commit, Store } from '../../store/store.ts'

/**
 * Tracks whether the store accepts commits, and for how long it has not. Measures time instead of counting failed
 * attempts, because a call to the store may also stay pending.
 */

/** The time from the start to the end of a step or a replay. Requests wait meanwhile. */
export interface StoreWait {
  readonly startedMs: number
  /** Whether the wait has lasted for `waitMsMax`, the longest time that a request may wait. */
  isOver: boolean
  /** Ends the wait. The store then no longer counts as unavailable. */
  end(): void
}

export interface AvailabilityHooks {
  /** Called once per `waitMsMax` for as long as a wait lasts. */
  onUnavailable(): void
  /** Called with the reason why commits fail. Called once for each reason, until the store accepts commits again. */
  onFailure(cause: unknown): void
}

/** Pause between two attempts to call the store. */
const RETRY_PAUSE_MS = 100

export class StoreAvailability {
  readonly #store: Store
  readonly #waitMsMax: number
  readonly #onUnavailable: () => void
  readonly #now: () => number
  readonly #failureLog: FailureLog
  #unavailableSinceMs: number | undefined

  constructor(store: Store, waitMsMax: number, { onUnavailable, onFailure }: AvailabilityHooks, now: () => number) {
    this.#store = store
    this.#waitMsMax = waitMsMax
    this.#onUnavailable = onUnavailable
    this.#failureLog = new FailureLog(onFailure)
    this.#now = now
  }

  /**
   * Whether the current wait has lasted for longer than a request may wait. False again after a call that the store has
   * answered, until a call fails or the wait reaches the next multiple of `waitMsMax`.
   */
  get isUnavailable(): boolean {
    return this.#unavailableSinceMs !== undefined && this.#now() - this.#unavailableSinceMs > this.#waitMsMax
  }

  /**
   * Starts a wait, which the caller must end before it starts another one. `onOver` is called once, when the wait has
   * lasted for `waitMsMax`.
   */
  startWait(onOver: () => void = () => {}): StoreWait {
    const end = (): void => {
      clearInterval(timer)
      // After a wait, no commits are sent that could show whether the store responds again. So the store counts as
      // available, and the next request is accepted and tries it.
      this.#unavailableSinceMs = undefined
    }
    const wait = { startedMs: this.#now(), isOver: false, end }
    const timer = setInterval(() => {
      this.#unavailableSinceMs ??= wait.startedMs
      if (!wait.isOver) onOver()
      wait.isOver = true
      this.#onUnavailable()
    }, this.#waitMsMax)
    return wait
  }

  /**
   * Sends commits to the store, in one call or in one call per commit. Returns the outcome of each commit; undefined if
   * the call failed with `store_unavailable`. Rejects with other errors.
   */
  async append(
    commits: readonly Commit[],
    isOneCallPerCommit: boolean,
    wait: StoreWait,
  ): Promise<readonly (AppendOutcome | undefined)[]> {
    const calls = isOneCallPerCommit ? commits.map((commit) => [commit]) : [commits]
    const results = await Promise.all(
      calls.map((commitsOfCall) =>
        this.#store.append(commitsOfCall).catch((cause: unknown) => {
          if (!(cause instanceof GatewayError && cause.code === 'store_unavailable')) throw cause
          this.#failureLog.recordFailure(cause)
          return commitsOfCall.map(() => undefined)
        }),
      ),
    )
    const outcomes = results.flat()
    if (outcomes.includes(undefined)) this.#unavailableSinceMs ??= wait.startedMs
    else {
      this.#unavailableSinceMs = undefined
      this.#failureLog.recordSuccess()
    }
    return outcomes
  }
}

export function pauseBeforeRetry(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, RETRY_PAUSE_MS))
}
