import { compareIds, type Id64 } from '../../model/id.ts'
import type { IndexEntry } from '../../store/store.ts'

/**
 * Chooses which runs of a window are merged next. A merge of a large window takes several steps. Between two steps, the
 * run that it makes (the begun run) has the series that are merged, and the source runs have only later series. So the
 * runs themselves show how far a merge has come.
 */

/**
 * Number of neighbouring runs of one tier that a merge replaces by one run of the next tier. The tier of a run that is
 * not sealed is how often its rollups were merged: 0 for a run that a fold wrote.
 */
export const RUNS_PER_MERGE = 8

/** The tier of the run that a sealing writes. Only another sealing merges this run, after a late fold. */
export const SEALED_TIER = 255

/**
 * From this tier on, runs are large: they have the data of at least 512 folds. A large run is not made of the most
 * recent data, because many queries need the last buckets of the base resolution, and would read the whole run.
 */
export const LARGE_TIER = 3

export interface Run {
  readonly tier: number
  readonly order: number
  /** Sorted by series. */
  readonly entries: readonly IndexEntry[]
}

export interface RunsToMerge {
  /** The source runs, in the order of arrival. */
  readonly runs: readonly Run[]
  /** Tier and order of the run that they become. */
  readonly tier: number
  readonly order: number
}

/** Groups index entries of a window, which are sorted by `compareIndexEntries`, into runs in the order of arrival. */
export function runsOf(entries: readonly IndexEntry[]): Run[] {
  const runs: { order: number; tier: number; entries: IndexEntry[] }[] = []
  for (const entry of entries) {
    const { order, tier } = entry
    const last = runs.at(-1)
    if (last?.order === order && last.tier === tier) last.entries.push(entry)
    else runs.push({ order, tier, entries: [entry] })
  }
  return runs
}

/**
 * Chooses the first eight neighbouring runs of one tier. Undefined if there are none. Eight runs that become a large
 * run must be followed by another one of their tier.
 */
export function chooseTierMerge(runs: readonly Run[]): RunsToMerge | undefined {
  for (const [i, { order, tier }] of runs.entries()) {
    if (tier === SEALED_TIER) continue
    // The begun run has the order of the last source run, and comes before it.
    const begunIndex = isRun(runs[i - 1], tier + 1, order) ? i - 1 : undefined
    const neighbours = [...runs.slice(0, begunIndex ?? i).slice(1 - RUNS_PER_MERGE), runs[i]!]
    if (neighbours.length < RUNS_PER_MERGE || neighbours.some((run) => run.tier !== tier)) continue
    if (tier + 1 >= LARGE_TIER && runs[i + 1]?.tier !== tier) continue
    if (begunIndex === undefined || areAfter(neighbours, runs[begunIndex]!))
      return { runs: neighbours, tier: tier + 1, order }
  }
  return undefined
}

/**
 * Chooses all runs, except the begun run if a sealing has begun and can go on. Undefined if there are none, or if the
 * window is sealed: it then has only one run, of tier `SEALED_TIER`.
 */
export function chooseRunsToSeal(runs: readonly Run[]): RunsToMerge | undefined {
  const order = runs.at(-1)?.order
  if (order === undefined) return undefined
  const begun = runs.find((run) => isRun(run, SEALED_TIER, order))
  const others = runs.filter((run) => run !== begun)
  if (others.length === 0) return undefined
  return { runs: begun !== undefined && areAfter(others, begun) ? others : runs, tier: SEALED_TIER, order }
}

function isRun(run: Run | undefined, tier: number, order: number): boolean {
  return run?.tier === tier && run.order === order
}

/** Whether all series of the runs are after those of `first`. */
function areAfter(runs: readonly Run[], first: Run): boolean {
  const { seriesTo } = first.entries.at(-1)!
  return runs.every(({ entries }) => compareIds(entries[0]!.seriesFrom, seriesTo) > 0)
}

/** Series with ids from `seriesFrom` to `seriesTo`, both inclusive. */
export interface SeriesRange {
  readonly seriesFrom: Id64
  readonly seriesTo: Id64
}

const FIRST_ID: Id64 = { hi: 0, lo: 0 }
const LAST_ID: Id64 = { hi: 0xffff_ffff, lo: 0xffff_ffff }

/**
 * Divides all series into ascending, disjoint ranges that are merged one at a time. Each range but the last ends where
 * a block of the run with the most blocks ends.
 */
export function seriesRanges(runs: readonly Run[]): SeriesRange[] {
  const largest = runs.reduce((a, b) => (b.entries.length > a.entries.length ? b : a))
  const ends: Id64[] = []
  for (const { seriesTo } of largest.entries) {
    const last = ends.at(-1)
    if (last === undefined || compareIds(last, seriesTo) < 0) ends.push(seriesTo)
  }
  ends[ends.length - 1] = LAST_ID
  let seriesFrom = FIRST_ID
  return ends.map((seriesTo) => {
    const range = { seriesFrom, seriesTo }
    seriesFrom = nextId(seriesTo)
    return range
  })
}

function nextId({ hi, lo }: Id64): Id64 {
  return lo === 0xffff_ffff ? { hi: hi + 1, lo: 0 } : { hi, lo: lo + 1 }
}
