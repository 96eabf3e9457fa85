import { type Bins, type ExponentialHistogram, rescaleBins } from './exponential-histogram.ts'

/**
 * The latest state of each cumulative exponential histogram. A distribution stores observations, so the difference
 * between a cumulative histogram and the previous state of its series is stored.
 *
 * The states are in the memory of one process and their number is bounded: those that changed least recently are
 * evicted. All observations of a histogram without a previous state are stored if it started after `#lastEvictionMs`,
 * or if the sender marks a reset. Otherwise they may have been stored before, so none is stored: losing observations is
 * better than storing them twice. All histograms of a series must go to one process: if they go to several, some
 * observations may be stored twice.
 */
export interface CumulativeHistogram extends ExponentialHistogram {
  /** Start of the running totals in UNIX milliseconds. 0: unknown. */
  readonly startMs: number
  readonly timeMs: number
}

/** Maximum number of states in one `CumulativeHistograms`. With 160 bins each, they take about 150 MB. */
export const CUMULATIVE_HISTOGRAMS_MAX = 100_000

export class CumulativeHistograms {
  readonly #statesMax: number
  /** States by series, the least recently changed first. */
  readonly #states = new Map<string, CumulativeHistogram>()
  /**
   * Latest time of an eviction; before the first one, of the creation of this object. No state of a histogram that
   * started later was evicted, if the clock of its sender is right.
   */
  #lastEvictionMs: number

  constructor(nowMs: number, statesMax = CUMULATIVE_HISTOGRAMS_MAX) {
    this.#lastEvictionMs = nowMs
    this.#statesMax = statesMax
  }

  get size(): number {
    return this.#states.size
  }

  /** Returns an object through which one request changes the states of a project. */
  beginChanges(project: string): HistogramChanges {
    return new HistogramChanges(this, project)
  }

  get(seriesKey: string): CumulativeHistogram | undefined {
    return this.#states.get(seriesKey)
  }

  /**
   * Sets the state of a series; undefined removes it. If there are too many, evicts the one that changed least
   * recently.
   */
  set(seriesKey: string, state: CumulativeHistogram | undefined, nowMs: number): void {
    this.#states.delete(seriesKey)
    if (state === undefined) return
    this.#states.set(seriesKey, state)
    if (this.#states.size <= this.#statesMax) return
    for (const oldest of this.#states.keys()) {
      this.#states.delete(oldest)
      break
    }
    // A clock may be set back. An earlier time would let a histogram count again whose state was evicted before.
    this.#lastEvictionMs = Math.max(this.#lastEvictionMs, nowMs)
  }

  /**
   * Whether a histogram started after `#lastEvictionMs`. If so, and if it has no previous state, this process has
   * stored none of its observations before.
   */
  startedAfterLastEviction({ startMs }: CumulativeHistogram): boolean {
    return startMs > this.#lastEvictionMs
  }
}

/**
 * The states that one request has changed. The changes are undone if the request is not stored, so that a retry stores
 * the same observations.
 */
export class HistogramChanges {
  readonly #histograms: CumulativeHistograms
  readonly #project: string
  readonly #statesBefore = new Map<string, CumulativeHistogram | undefined>()
  readonly #statesAfter = new Map<string, CumulativeHistogram>()

  constructor(histograms: CumulativeHistograms, project: string) {
    this.#histograms = histograms
    this.#project = project
  }

  /**
   * Sets the new state of a series and returns the observations to store: those since the previous state, or all of
   * them if the histogram is new or was reset. Returns undefined if none must be stored. A repeated or late histogram
   * does not change the state. `seriesInProject` identifies the series within the project. `isReset`: the sender marked
   * the histogram as the first since a reset.
   */
  advance(
    seriesInProject: string,
    current: CumulativeHistogram,
    nowMs: number,
    isReset = false,
  ): ExponentialHistogram | undefined {
    const seriesKey = JSON.stringify([this.#project, seriesInProject])
    const previous = this.#histograms.get(seriesKey)
    // A repeated or late histogram. The state normally includes its observations already.
    if (previous !== undefined && current.timeMs <= previous.timeMs) return undefined
    if (!this.#statesBefore.has(seriesKey)) this.#statesBefore.set(seriesKey, previous)
    this.#statesAfter.set(seriesKey, current)
    this.#histograms.set(seriesKey, current, nowMs)
    if (isReset) return current
    if (previous === undefined) return this.#histograms.startedAfterLastEviction(current) ? current : undefined
    if (previous.startMs > 0 && current.startMs > previous.startMs) return current
    return differenceOf(current, previous) ?? current
  }

  /**
   * Restores the previous states. A state that another request has changed since, or that was evicted, is not restored:
   * the observations of this request are then lost rather than stored twice.
   */
  undo(nowMs: number): void {
    for (const [seriesKey, stateBefore] of this.#statesBefore) {
      if (this.#histograms.get(seriesKey) === this.#statesAfter.get(seriesKey))
        this.#histograms.set(seriesKey, stateBefore, nowMs)
    }
  }
}

/** Returns the observations since `previous`. Undefined: a count has decreased, so the histogram was reset. */
function differenceOf(current: CumulativeHistogram, previous: CumulativeHistogram): ExponentialHistogram | undefined {
  const scale = Math.min(current.scale, previous.scale)
  const positive = differenceOfBins(current.positive, current.scale - scale, previous.positive, previous.scale - scale)
  const negative = differenceOfBins(current.negative, current.scale - scale, previous.negative, previous.scale - scale)
  const zeroCount = current.zeroCount - previous.zeroCount
  if (positive === undefined || negative === undefined || zeroCount < 0) return undefined
  return {
    scale,
    zeroCount,
    positive,
    negative,
    sum: current.sum === undefined || previous.sum === undefined ? undefined : current.sum - previous.sum,
    // A changed extreme was observed since `previous`. An unchanged extreme may be older, so it is unknown.
    min: current.min === previous.min ? undefined : current.min,
    max: current.max === previous.max ? undefined : current.max,
  }
}

function differenceOfBins(
  current: Bins,
  currentScaleSteps: number,
  previous: Bins,
  previousScaleSteps: number,
): Bins | undefined {
  const rescaled = rescaleBins(current, currentScaleSteps)
  const previousRescaled = rescaleBins(previous, previousScaleSteps)
  for (const [i, count] of previousRescaled.counts.entries()) {
    if (count === 0) continue
    const index = previousRescaled.offset + i - rescaled.offset
    const increase = (rescaled.counts[index] ?? 0) - count
    if (increase < 0) return undefined
    rescaled.counts[index] = increase
  }
  return rescaled
}
