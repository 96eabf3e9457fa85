import { type Bins, type ExponentialHistogram, rescaled } from './exponential-histogram.ts'

/**
 * Exponential histograms that are running totals. A distribution holds observations, so what counts of such a histogram
 * is its difference to the one before, which is kept here, for each series.
 *
 * The memory is that of one process and is bounded: the oldest states are dropped. A histogram without a state before
 * it counts whole if it started after this memory began to know everything; else its observations may have been
 * counted already, and it counts nothing. So nothing is counted twice by one gateway.
 */
export interface CumulativeHistogram extends ExponentialHistogram {
  /** 0: unknown. */
  readonly startMs: number
  readonly timeMs: number
}

/** States in memory: 160 bins each are 150 MB at most. */
export const CUMULATIVE_HISTOGRAMS_MAX = 100_000

export class CumulativeHistograms {
  readonly #statesMax: number
  /** By series, the oldest first. */
  readonly #states = new Map<string, CumulativeHistogram>()
  /** Every histogram since this time has a state, or never had one. */
  #completeSinceMs: number

  constructor(nowMs: number, statesMax = CUMULATIVE_HISTOGRAMS_MAX) {
    this.#completeSinceMs = nowMs
    this.#statesMax = statesMax
  }

  get size(): number {
    return this.#states.size
  }

  begin(project: string): HistogramChanges {
    return new HistogramChanges(this, project)
  }

  get(series: string): CumulativeHistogram | undefined {
    return this.#states.get(series)
  }

  /** Undefined removes the state. */
  set(series: string, state: CumulativeHistogram | undefined, nowMs: number): void {
    this.#states.delete(series)
    if (state === undefined) return
    this.#states.set(series, state)
    if (this.#states.size <= this.#statesMax) return
    for (const oldest of this.#states.keys()) {
      this.#states.delete(oldest)
      break
    }
    this.#completeSinceMs = nowMs
  }

  /** Whether the first histogram of a series counts whole. */
  isWhole({ startMs }: CumulativeHistogram): boolean {
    return startMs > this.#completeSinceMs
  }
}

/** What one request changes. It is undone when the request is not stored, so that a retry counts the same. */
export class HistogramChanges {
  readonly #memory: CumulativeHistograms
  readonly #project: string
  readonly #before = new Map<string, CumulativeHistogram | undefined>()
  readonly #after = new Map<string, CumulativeHistogram>()

  constructor(memory: CumulativeHistograms, project: string) {
    this.#memory = memory
    this.#project = project
  }

  /**
   * Keeps the new state and returns the observations since the one before, or undefined when none of them counts.
   * `name` tells the series of the project apart. `isReset`: the sender says that it is the first since a reset.
   */
  advance(name: string, now: CumulativeHistogram, nowMs: number, isReset = false): ExponentialHistogram | undefined {
    const series = JSON.stringify([this.#project, name])
    const before = this.#memory.get(series)
    // An earlier one that arrives late, or again: the later one has its observations.
    if (before !== undefined && now.timeMs <= before.timeMs) return undefined
    if (!this.#before.has(series)) this.#before.set(series, before)
    this.#after.set(series, now)
    this.#memory.set(series, now, nowMs)
    if (isReset) return now
    if (before === undefined) return this.#memory.isWhole(now) ? now : undefined
    if (before.startMs > 0 && now.startMs > before.startMs) return now
    return differenceOf(now, before) ?? now
  }

  /** A state that another request has changed since stays: then this one's observations are lost, not counted twice. */
  undo(nowMs: number): void {
    for (const [series, before] of this.#before) {
      if (this.#memory.get(series) === this.#after.get(series)) this.#memory.set(series, before, nowMs)
    }
  }
}

/** Undefined: a count decreased, so the histogram started again. */
function differenceOf(now: CumulativeHistogram, before: CumulativeHistogram): ExponentialHistogram | undefined {
  const scale = Math.min(now.scale, before.scale)
  const positive = differenceOfBins(now.positive, now.scale - scale, before.positive, before.scale - scale)
  const negative = differenceOfBins(now.negative, now.scale - scale, before.negative, before.scale - scale)
  const zeroCount = now.zeroCount - before.zeroCount
  if (positive === undefined || negative === undefined || zeroCount < 0) return undefined
  return {
    scale,
    zeroCount,
    positive,
    negative,
    sum: now.sum === undefined || before.sum === undefined ? undefined : now.sum - before.sum,
    // An extreme that moved was observed in between.
    min: now.min === before.min ? undefined : now.min,
    max: now.max === before.max ? undefined : now.max,
  }
}

function differenceOfBins(now: Bins, nowSteps: number, before: Bins, beforeSteps: number): Bins | undefined {
  const after = rescaled(now, nowSteps)
  const earlier = rescaled(before, beforeSteps)
  for (const [i, count] of earlier.counts.entries()) {
    if (count === 0) continue
    const at = earlier.offset + i - after.offset
    const rest = (after.counts[at] ?? 0) - count
    if (rest < 0) return undefined
    after.counts[at] = rest
  }
  return after
}
