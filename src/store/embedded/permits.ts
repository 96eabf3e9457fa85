import type { PermitRequest } from '../store.ts'

/**
 * Maximum number of time windows in memory, so that they take about 100 MB at most, however many addresses send
 * requests within a minute. If there would be more, the window that was added first is dropped.
 */
const TIME_WINDOWS_MAX = 500_000

/**
 * Counts the permits that were taken in the current time windows of rate limits. The counts are only in memory: no
 * other process grants permits, and a restart only lets each limit begin its time window anew.
 */
export class Permits {
  /**
   * For each key and window width of a rate limit: the end of its latest time window, and the permits taken in it. In
   * the order in which the time windows were added.
   */
  readonly #taken = new Map<string, { endMs: number; taken: number }>()
  readonly #windowsMax: number

  constructor(windowsMax = TIME_WINDOWS_MAX) {
    this.#windowsMax = windowsMax
  }

  take(request: PermitRequest): { readonly granted: number; readonly left: number } {
    const { limitKey, permits, limit, windowWidthMs, nowMs } = request
    const key = `${windowWidthMs} ${limitKey}`
    const endMs = (Math.floor(nowMs / windowWidthMs) + 1) * windowWidthMs
    let window = this.#taken.get(key)
    if (window === undefined || window.endMs !== endMs) {
      window = { endMs, taken: 0 }
      this.#taken.delete(key)
      if (this.#taken.size >= this.#windowsMax) this.#dropOldest()
      this.#taken.set(key, window)
    }
    const granted = Math.min(permits, Math.max(0, limit - window.taken))
    window.taken += granted
    return { granted, left: Math.max(0, limit - window.taken) }
  }

  #dropOldest(): void {
    for (const key of this.#taken.keys()) {
      this.#taken.delete(key)
      return
    }
  }

  sweep(nowMs: number): void {
    for (const [key, { endMs }] of this.#taken) if (endMs <= nowMs) this.#taken.delete(key)
  }
}
