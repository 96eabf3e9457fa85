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
  readonly #timeWindows = new Map<string, { endMs: number; taken: number }>()
  readonly #timeWindowsMax: number

  constructor(timeWindowsMax = TIME_WINDOWS_MAX) {
    this.#timeWindowsMax = timeWindowsMax
  }

  take(request: PermitRequest): { readonly granted: number; readonly left: number } {
    const { limitKey, permits, limit, windowWidthMs, nowMs } = request
    const key = `${windowWidthMs} ${limitKey}`
    const endMs = (Math.floor(nowMs / windowWidthMs) + 1) * windowWidthMs
    let timeWindow = this.#timeWindows.get(key)
    if (timeWindow === undefined || timeWindow.endMs !== endMs) {
      timeWindow = { endMs, taken: 0 }
      this.#timeWindows.delete(key)
      if (this.#timeWindows.size >= this.#timeWindowsMax) this.#dropOldest()
      this.#timeWindows.set(key, timeWindow)
    }
    const granted = Math.min(permits, Math.max(0, limit - timeWindow.taken))
    timeWindow.taken += granted
    return { granted, left: Math.max(0, limit - timeWindow.taken) }
  }

  #dropOldest(): void {
    for (const key of this.#timeWindows.keys()) {
      this.#timeWindows.delete(key)
      return
    }
  }

  sweep(nowMs: number): void {
    for (const [key, { endMs }] of this.#timeWindows) if (endMs <= nowMs) this.#timeWindows.delete(key)
  }
}
