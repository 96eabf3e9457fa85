import { floorTo } from '../../model/time.ts'
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
   * The permits taken in each time window of each rate limit, in the order in which the time windows were added. A time
   * window is kept until one more has passed, as in Redis: if the clock is set back and forth, no count begins anew.
   */
  readonly #timeWindows = new Map<string, { readonly keptUntilMs: number; taken: number }>()
  readonly #timeWindowsMax: number

  constructor(timeWindowsMax = TIME_WINDOWS_MAX) {
    this.#timeWindowsMax = timeWindowsMax
  }

  take(request: PermitRequest): { readonly granted: number; readonly left: number } {
    const { limitKey, permits, limit, windowWidthMs, nowMs } = request
    const startMs = floorTo(nowMs, windowWidthMs)
    const key = `${windowWidthMs} ${startMs} ${limitKey}`
    let timeWindow = this.#timeWindows.get(key)
    if (timeWindow === undefined) {
      timeWindow = { keptUntilMs: startMs + 2 * windowWidthMs, taken: 0 }
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
    for (const [key, { keptUntilMs }] of this.#timeWindows) if (keptUntilMs <= nowMs) this.#timeWindows.delete(key)
  }
}
