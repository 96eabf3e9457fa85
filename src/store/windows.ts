/** Buckets in a window. A window of 10 s buckets is an hour long, one of 1 m six hours, one of 1 h fifteen days. */
export const BUCKETS_PER_WINDOW = 360

/** Returns the width of a window. Blocks of a timeline are merged within a window, and a window expires as a whole. */
export function windowWidthMs(resolutionMs: number): number {
  return resolutionMs * BUCKETS_PER_WINDOW
}

/** Returns the start of the window that contains a time. */
export function windowStart(resolutionMs: number, timeMs: number): number {
  const width = windowWidthMs(resolutionMs)
  return Math.floor(timeMs / width) * width
}

/** A stretch of time, `fromMs` inclusive, `toMs` exclusive. */
export interface Stretch {
  readonly fromMs: number
  readonly toMs: number
}
