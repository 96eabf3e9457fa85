import { formatId } from '../../model/id.ts'
import type { WindowKey } from '../../store/store.ts'
import { windowWidthMs } from '../../store/windows.ts'
import { RUNS_PER_MERGE } from './runs-to-merge.ts'

/**
 * Windows of a group of partitions that this process loaded at its start, or to which its folds have written, in the
 * order of the last write (or of loading). A window is removed once it is sealed. It is also removed if it needs no
 * sealing or cannot be sealed, but not while its partition is paused. The folds of each window are counted, so that
 * only windows that may have runs to merge are examined. If there are more than `OPEN_WINDOWS_MAX`, those with the
 * oldest last write are evicted. An evicted window stays readable, but this process does not merge its runs until a
 * fold writes to it again.
 */

const OPEN_WINDOWS_MAX = 100_000
/**
 * Number of windows evicted at once. It is large because the first look for the oldest key of a Map is slow after many
 * deletions.
 */
const WINDOWS_PER_EVICTION = 10_000
/**
 * A window can be sealed when its end and its last write (or its loading) are both longer ago than this share of its
 * width, at most `SEAL_AFTER_MS_MAX`.
 */
const SEAL_AFTER_SHARE = 1 / 12
const SEAL_AFTER_MS_MAX = 3_600_000

export interface OpenWindow {
  readonly partition: number
  readonly window: WindowKey
  /**
   * Number of folds that wrote to the window since its runs were last looked at and none could be merged. A guess after
   * loading.
   */
  foldsSinceMerge: number
  /** The time at which the window was last touched. */
  touchedMs: number
}

export class OpenWindows {
  readonly #windows = new Map<string, OpenWindow>()

  /** Records that `folds` folds have written to a window, or that it was loaded. */
  touch(partition: number, window: WindowKey, folds: number, nowMs: number): void {
    const key = keyOf(window)
    const previous = this.#windows.get(key)
    // The window is deleted and inserted again, so that the map stays ordered by the last touch.
    this.#windows.delete(key)
    this.#windows.set(key, {
      partition,
      window,
      foldsSinceMerge: (previous?.foldsSinceMerge ?? 0) + folds,
      touchedMs: nowMs,
    })
    if (this.#windows.size > OPEN_WINDOWS_MAX) this.#evict()
  }

  #evict(): void {
    let evicted = 0
    for (const key of this.#windows.keys()) {
      if (evicted++ === WINDOWS_PER_EVICTION) return
      this.#windows.delete(key)
    }
  }

  delete({ window }: OpenWindow): void {
    this.#windows.delete(keyOf(window))
  }

  /** Yields the windows with so many folds that they may have eight runs of one tier. */
  *withRunsToMerge(): Iterable<OpenWindow> {
    for (const openWindow of this.#windows.values()) if (openWindow.foldsSinceMerge >= RUNS_PER_MERGE) yield openWindow
  }

  /**
   * Yields the windows that can be sealed. `now` is called for each window, because the caller's sealing takes time.
   */
  *sealable(now: () => number): Iterable<OpenWindow> {
    for (const openWindow of this.#windows.values()) if (isSealable(openWindow, now())) yield openWindow
  }
}

function keyOf({ metricId, resolutionMs, windowMs }: WindowKey): string {
  return `${formatId(metricId)}.${resolutionMs}.${windowMs}`
}

function isSealable({ window, touchedMs }: OpenWindow, nowMs: number): boolean {
  const widthMs = windowWidthMs(window.resolutionMs)
  const quietMs = Math.min(widthMs * SEAL_AFTER_SHARE, SEAL_AFTER_MS_MAX)
  return nowMs >= window.windowMs + widthMs + quietMs && nowMs >= touchedMs + quietMs
}
