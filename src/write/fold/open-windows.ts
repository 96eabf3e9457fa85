import { formatId } from '../../model/id.ts'
import { type WindowKey, windowWidthMs } from '../../store/store.ts'
import { RUNS_PER_TIER } from './merge-window.ts'

/**
 * Windows that folds have written to and that are not sealed yet, least recently touched first. The number of folds is
 * counted for each window, so that only windows that may have runs to merge are examined. At most `WINDOWS_MAX`
 * windows: beyond that the least recently touched ones are evicted. An evicted window stays readable, but its runs are
 * not merged until it is touched again.
 */

const WINDOWS_MAX = 100_000
/**
 * Number of windows evicted at once. To find the oldest key of a Map takes longer the more keys were deleted before it.
 */
const EVICTED = 10_000
/** A window is sealed when it has ended and then received no write for this share of its width. */
const SEAL_AFTER_SHARE = 1 / 12
const SEAL_AFTER_MS_MAX = 3_600_000

export interface OpenWindow {
  readonly partition: number
  readonly window: WindowKey
  /** Number of folds since the window's runs were last merged. */
  folds: number
  touchedMs: number
}

export class OpenWindows {
  readonly #windows = new Map<string, OpenWindow>()

  touch(partition: number, window: WindowKey, folds: number, nowMs: number): void {
    const key = keyOf(window)
    const known = this.#windows.get(key)
    // The window is deleted and inserted again, so that the map stays ordered by the last touch.
    this.#windows.delete(key)
    this.#windows.set(key, { partition, window, folds: (known?.folds ?? 0) + folds, touchedMs: nowMs })
    if (this.#windows.size > WINDOWS_MAX) this.#evict()
  }

  #evict(): void {
    let evicted = 0
    for (const key of this.#windows.keys()) {
      if (evicted++ === EVICTED) return
      this.#windows.delete(key)
    }
  }

  delete({ window }: OpenWindow): void {
    this.#windows.delete(keyOf(window))
  }

  /** Windows with enough folds that a pile of runs may have to be merged. */
  *withPiles(): Iterable<OpenWindow> {
    for (const open of this.#windows.values()) if (open.folds >= RUNS_PER_TIER) yield open
  }

  /** Windows that can be sealed. `now` is called for each window, because sealing takes time. */
  *ended(now: () => number): Iterable<OpenWindow> {
    for (const open of this.#windows.values()) if (hasEnded(open, now())) yield open
  }
}

function keyOf({ metricId, resolutionMs, windowMs }: WindowKey): string {
  return `${formatId(metricId)}.${resolutionMs}.${windowMs}`
}

function hasEnded({ window, touchedMs }: OpenWindow, nowMs: number): boolean {
  const widthMs = windowWidthMs(window.resolutionMs)
  const quietMs = Math.min(widthMs * SEAL_AFTER_SHARE, SEAL_AFTER_MS_MAX)
  return nowMs >= window.windowMs + widthMs + quietMs && nowMs >= touchedMs + quietMs
}
