import { formatId, type Id64 } from '../../model/id.ts'
import { Pacer } from '../../model/pacer.ts'
import { runPaced } from '../../model/steps.ts'
import { type Arena, acquireArena, releaseArena } from '../../rollup/arena.ts'
import { BlockError } from '../../rollup/block/block.ts'
import { mergeRowsInSteps } from '../../rollup/merge-rows.ts'
import { releaseMergedRows } from '../../rollup/merged-rows.ts'
import type { RollupRows } from '../../rollup/rollup-rows.ts'
import type { IndexEntry, Store, WindowKey } from '../../store/store.ts'
import { windowWidthMs } from '../../store/windows.ts'
import { bytesOfBlocks, encodeRun, openAllBlocks, type RunProperties, type TimelineBlock } from './timeline-blocks.ts'

/**
 * Number of neighbouring runs of one tier that a merge replaces by one run of the next tier. The tier of a run that is
 * not sealed is how often its rollups were merged: 0 for a run that a fold wrote.
 */
export const RUNS_PER_MERGE = 8

/** The tier of the run that a sealing writes. Only another sealing merges this run, after a late fold. */
export const SEALED_TIER = 255

export interface MergeResult {
  readonly bytesRead: number
  readonly bytesWritten: number
}

export interface MergeWindowOptions {
  /** True: all runs become one, which is deflated. False: eight neighbouring runs of one tier become one. */
  readonly isSealing: boolean
  /** Whether the window's resolution is coarser than the base resolution. */
  readonly isCoarse?: boolean
  readonly nowMs: number
}

/**
 * Merges runs of a window: eight neighbouring runs of one tier become one run of the next tier, so a rollup is
 * rewritten about log8(folds of the window) times. With `isSealing`, for a window that has ended, all runs become one.
 * Returns undefined if there was nothing to merge, or if the window changed meanwhile. Throws a BlockError or a
 * RangeError if a block is missing, or if the data cannot be decoded, merged or encoded.
 */
export async function mergeWindow(
  store: Store,
  partition: number,
  window: WindowKey,
  options: MergeWindowOptions,
): Promise<MergeResult | undefined> {
  const { metricId, resolutionMs } = window
  const runs = runsOf(await readEntries(store, partition, window))
  const chosen = options.isSealing ? chooseRunsToSeal(runs) : chooseTierMerge(runs)
  if (chosen === undefined) return undefined
  const entries = chosen.runs.flatMap((run) => run.entries)
  const order = chosen.runs[chosen.runs.length - 1]!.order
  const timeline = { metricId, resolutionMs }
  const newRun = { tier: chosen.tier, order, deflate: options.isSealing }
  const blocksByRange: TimelineBlock[][] = []
  const pacer = new Pacer()
  for (const range of seriesRanges(chosen.runs)) {
    const mergeOptions = { ...range, isCoarse: options.isCoarse ?? false }
    try {
      blocksByRange.push(await mergeRange(store, partition, window, chosen.runs, mergeOptions, newRun, pacer))
    } catch (cause) {
      // A block may be missing because another merge has replaced it meanwhile, or because the window has expired.
      if (cause instanceof BlockError && !(await areListed(store, partition, window, entries))) return undefined
      throw cause
    }
    // Lets requests run between the ranges of a large window.
    await pacer.pause()
  }
  // Nothing is written before all ranges are merged: the store may keep the blocks of an abandoned merge for a while.
  for (const blocks of blocksByRange)
    await store.writeBlocks(
      partition,
      blocks.map(({ block }) => block),
      options.nowMs,
    )
  const written = blocksByRange.flat()
  const isCommitted = await store.commitFold({
    partition,
    inbox: [],
    removed: entries.map((entry) => ({ timeline, entry })),
    added: written.map(({ added }) => added),
    touched: [],
    nowMs: options.nowMs,
  })
  const bytesRead = entries.reduce((sum, entry) => sum + entry.scalarBytes + entry.sketchBytes, 0)
  return isCommitted ? { bytesRead, bytesWritten: bytesOfBlocks(written) } : undefined
}

/** Returns the index entries of a window. */
async function readEntries(store: Store, partition: number, window: WindowKey): Promise<readonly IndexEntry[]> {
  const { metricId, resolutionMs, windowMs } = window
  const { timelines } = await store.readIndex({
    partition,
    metricId,
    withInbox: false,
    timelines: [{ resolutionMs, stretch: { fromMs: windowMs, toMs: windowMs + windowWidthMs(resolutionMs) } }],
  })
  return timelines[0]!.entries.filter((entry) => entry.windowMs === windowMs)
}

/** Whether the index still lists all of these entries of a window. */
async function areListed(
  store: Store,
  partition: number,
  window: WindowKey,
  entries: readonly IndexEntry[],
): Promise<boolean> {
  const listed = new Set((await readEntries(store, partition, window)).map(({ block }) => block))
  return entries.every(({ block }) => listed.has(block))
}

/** Merges and encodes the rows in a range of series. Throws a BlockError if a block to be merged cannot be read. */
async function mergeRange(
  store: Store,
  partition: number,
  window: WindowKey,
  runs: readonly Run[],
  mergeOptions: SeriesRange & { readonly isCoarse: boolean },
  newRun: RunProperties,
  pacer: Pacer,
): Promise<TimelineBlock[]> {
  const arena = acquireArena()
  try {
    const sections = await readRange(store, partition, runs, window.metricId, mergeOptions, arena)
    const rows = await runPaced(mergeRowsInSteps(sections, window.resolutionMs, mergeOptions), pacer)
    const blocks = rows.length === 0 ? [] : encodeRun(window, rows, newRun)
    releaseMergedRows(rows)
    return blocks
  } finally {
    releaseArena(arena)
  }
}

interface Run {
  readonly tier: number
  readonly order: number
  readonly entries: readonly IndexEntry[]
}

/**
 * Groups index entries, which are sorted by `compareIndexEntries`, into runs in the order of arrival. The entries of a
 * run are sorted by series.
 */
function runsOf(entries: readonly IndexEntry[]): Run[] {
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
 * Returns the first eight neighbouring runs of one tier, and the tier of the run that they become. Undefined if there
 * are none.
 */
function chooseTierMerge(runs: readonly Run[]): { runs: readonly Run[]; tier: number } | undefined {
  for (let end = RUNS_PER_MERGE; end <= runs.length; end++) {
    const neighbours = runs.slice(end - RUNS_PER_MERGE, end)
    const { tier } = neighbours[0]!
    if (tier !== SEALED_TIER && neighbours.every((run) => run.tier === tier))
      return { runs: neighbours, tier: tier + 1 }
  }
  return undefined
}

/**
 * Returns all runs, which become one run of tier {@link SEALED_TIER}. Undefined if there are none, or if the window is
 * sealed: its only run has that tier.
 */
function chooseRunsToSeal(runs: readonly Run[]): { runs: readonly Run[]; tier: number } | undefined {
  if (runs.length === 0 || (runs.length === 1 && runs[0]!.tier === SEALED_TIER)) return undefined
  return { runs, tier: SEALED_TIER }
}

interface SeriesRange {
  readonly seriesFrom: Id64
  readonly seriesTo: Id64
}

/**
 * Divides all series into ascending, disjoint ranges that are merged one at a time. Each range but the last ends where
 * a block of the run with the most blocks ends.
 */
function seriesRanges(runs: readonly Run[]): SeriesRange[] {
  const largest = runs.reduce((a, b) => (b.entries.length > a.entries.length ? b : a))
  const ends = [...new Map(largest.entries.map((entry) => [formatId(entry.seriesTo), entry.seriesTo])).entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, id]) => id)
  ends[ends.length - 1] = { hi: 0xffff_ffff, lo: 0xffff_ffff }
  let seriesFrom: Id64 = { hi: 0, lo: 0 }
  return ends.map((seriesTo) => {
    const range = { seriesFrom, seriesTo }
    seriesFrom = nextId(seriesTo)
    return range
  })
}

function nextId({ hi, lo }: Id64): Id64 {
  return lo === 0xffff_ffff ? { hi: hi + 1, lo: 0 } : { hi, lo: lo + 1 }
}

/** Reads the sections of the blocks that overlap a range of series, in arrival order. */
async function readRange(
  store: Store,
  partition: number,
  runs: readonly Run[],
  metricId: Id64,
  { seriesFrom, seriesTo }: SeriesRange,
  arena: Arena,
): Promise<RollupRows[]> {
  const from = formatId(seriesFrom)
  const to = formatId(seriesTo)
  const names = runs
    .flatMap((run) => run.entries)
    .filter((entry) => formatId(entry.seriesTo) >= from && formatId(entry.seriesFrom) <= to)
    .map(({ block }) => block)
  const blocks = await openAllBlocks(store, partition, names, arena)
  return blocks.map((block) => block.section(metricId)).filter((section) => section !== undefined)
}
