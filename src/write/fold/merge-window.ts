import { compareIds } from '../../model/id.ts'
import { Pacer } from '../../model/pacer.ts'
import { runPaced } from '../../model/steps.ts'
import { type Arena, acquireArena, releaseArena } from '../../rollup/arena.ts'
import { BlockError } from '../../rollup/block/block.ts'
import { mergeRowsInSteps } from '../../rollup/merge-rows.ts'
import { releaseMergedRows } from '../../rollup/merged-rows.ts'
import type { RollupRows } from '../../rollup/rollup-rows.ts'
import type { IndexEntry, Store, WindowKey } from '../../store/store.ts'
import { windowWidthMs } from '../../store/windows.ts'
import { chooseRunsToSeal, chooseTierMerge, type Run, runsOf, type SeriesRange, seriesRanges } from './runs-to-merge.ts'
import { bytesOfBlocks, encodeRun, openAllBlocks, type RunProperties, type TimelineBlock } from './timeline-blocks.ts'

/**
 * Size of the merged blocks at which a step ends. The commit of a step cannot be divided, so it must be small. Most
 * windows need only one step. A step that is not the last also writes the rest of the blocks that it has read in part,
 * so with smaller steps much data would be written several times.
 */
const STEP_BYTES_MAX = 4_194_304

export interface MergeStepResult {
  readonly bytesRead: number
  readonly bytesWritten: number
  /** Whether all series of the runs are merged. If not, the next step goes on with the series after them. */
  readonly isComplete: boolean
}

export interface MergeWindowOptions {
  /** True: all runs become one. False: eight neighbouring runs of one tier become one. */
  readonly isSealing: boolean
  /** Whether the window's resolution is coarser than the base resolution. */
  readonly isCoarse?: boolean
  readonly nowMs: number
  /** The default is `STEP_BYTES_MAX`. */
  readonly stepBytesMax?: number | undefined
}

/**
 * Merges runs of a window: eight neighbouring runs of one tier become one run of the next tier, so a rollup is
 * rewritten about log8(folds of the window) times. With `isSealing`, for a window that has ended, all runs become one.
 *
 * Does one step of the merge: merges the next series, in one atomic commit. A query sees each rollup exactly once,
 * before, between and after the steps. Another process can do the next step.
 *
 * Returns undefined if there was nothing to merge, or if the window changed meanwhile. Throws a BlockError or a
 * RangeError if a block is missing, or if the data cannot be decoded, merged or encoded.
 */
export async function mergeWindow(
  store: Store,
  partition: number,
  window: WindowKey,
  { isSealing, isCoarse = false, nowMs, stepBytesMax = STEP_BYTES_MAX }: MergeWindowOptions,
): Promise<MergeStepResult | undefined> {
  const runs = runsOf(await readEntries(store, partition, window))
  const chosen = isSealing ? chooseRunsToSeal(runs) : chooseTierMerge(runs)
  if (chosen === undefined) return undefined
  const source = { store, partition, window, runs: chosen.runs }
  let merged: MergedSeries
  try {
    merged = await mergeSeries(source, chosen, isCoarse, stepBytesMax)
  } catch (cause) {
    // A block may be missing because another merge has replaced it meanwhile, or because the window has expired.
    if (cause instanceof BlockError && !(await areListed(source))) return undefined
    throw cause
  }
  const { blocksByRange, removed, isComplete } = merged
  // Nothing is written before all blocks are made: the store may keep the blocks of an abandoned merge for a while.
  for (const blocks of blocksByRange)
    await store.writeBlocks(
      partition,
      blocks.map(({ block }) => block),
      nowMs,
    )
  const written = blocksByRange.flat()
  const timeline = { metricId: window.metricId, resolutionMs: window.resolutionMs }
  const isCommitted = await store.commitFold({
    partition,
    inbox: [],
    removed: removed.map((entry) => ({ timeline, entry })),
    added: written.map(({ added }) => added),
    touched: [],
    nowMs,
  })
  const bytesRead = removed.reduce((sum, entry) => sum + entry.scalarBytes + entry.sketchBytes, 0)
  return isCommitted ? { bytesRead, bytesWritten: bytesOfBlocks(written), isComplete } : undefined
}

/** The runs of a window that are merged. */
interface MergeSource {
  readonly store: Store
  readonly partition: number
  readonly window: WindowKey
  readonly runs: readonly Run[]
}

interface MergedSeries {
  /** The blocks to write, range by range. */
  readonly blocksByRange: readonly (readonly TimelineBlock[])[]
  /** The index entries that they replace. */
  readonly removed: readonly IndexEntry[]
  readonly isComplete: boolean
}

/**
 * Merges the rows of one range of series after another, until the blocks have `bytesMax` together. Later series stay in
 * their runs: blocks that also have some of the merged series are replaced by blocks without them.
 */
async function mergeSeries(
  source: MergeSource,
  newRun: RunProperties,
  isCoarse: boolean,
  bytesMax: number,
): Promise<MergedSeries> {
  const blocksByRange: TimelineBlock[][] = []
  const ranges = seriesRanges(source.runs)
  const pacer = new Pacer()
  let bytes = 0
  let lastSeries = ranges[0]!.seriesTo
  for (const range of ranges) {
    if (bytes >= bytesMax) break
    const blocks = await mergeRange(source, { ...range, isCoarse }, newRun, pacer)
    blocksByRange.push(blocks)
    bytes += bytesOfBlocks(blocks)
    lastSeries = range.seriesTo
    // Lets requests run between the ranges of a large window.
    await pacer.pause()
  }
  const nextRange = ranges[blocksByRange.length]
  if (nextRange !== undefined) {
    const { seriesFrom } = nextRange
    const { seriesTo } = ranges[ranges.length - 1]!
    for (const { tier, order, entries } of source.runs) {
      const divided = entries.filter(
        (entry) => compareIds(entry.seriesFrom, lastSeries) <= 0 && compareIds(entry.seriesTo, lastSeries) > 0,
      )
      if (divided.length === 0) continue
      const rest = { ...source, runs: [{ tier, order, entries: divided }] }
      blocksByRange.push(await mergeRange(rest, { seriesFrom, seriesTo, isCoarse: false }, { tier, order }, pacer))
      await pacer.pause()
    }
  }
  const removed = source.runs.flatMap(({ entries }) =>
    entries.filter(({ seriesFrom }) => compareIds(seriesFrom, lastSeries) <= 0),
  )
  return { blocksByRange, removed, isComplete: nextRange === undefined }
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

/** Whether the index still lists all entries of the runs. */
async function areListed({ store, partition, window, runs }: MergeSource): Promise<boolean> {
  const listed = new Set((await readEntries(store, partition, window)).map(({ block }) => block))
  return runs.every(({ entries }) => entries.every(({ block }) => listed.has(block)))
}

/** Merges and encodes the rows in a range of series. Throws a BlockError if a block to be merged cannot be read. */
async function mergeRange(
  source: MergeSource,
  mergeOptions: SeriesRange & { readonly isCoarse: boolean },
  newRun: RunProperties,
  pacer: Pacer,
): Promise<TimelineBlock[]> {
  const { window, runs } = source
  const { seriesFrom, seriesTo } = mergeOptions
  const overlaps = (entry: IndexEntry): boolean =>
    compareIds(entry.seriesTo, seriesFrom) >= 0 && compareIds(entry.seriesFrom, seriesTo) <= 0
  const entries = runs.flatMap((run) => run.entries.filter(overlaps))
  const arena = acquireArena()
  try {
    const sections = await readSections(source, entries, arena)
    const rows = await runPaced(mergeRowsInSteps(sections, window.resolutionMs, mergeOptions), pacer)
    const blocks = rows.length === 0 ? [] : encodeRun(window, rows, newRun)
    releaseMergedRows(rows)
    return blocks
  } finally {
    releaseArena(arena)
  }
}

/** Reads the sections of blocks. Throws a BlockError if one cannot be read. */
async function readSections(
  { store, partition, window }: MergeSource,
  entries: readonly IndexEntry[],
  arena: Arena,
): Promise<RollupRows[]> {
  const names = entries.map(({ block }) => block)
  const blocks = await openAllBlocks(store, partition, names, arena)
  return blocks.map((block) => block.section(window.metricId)).filter((section) => section !== undefined)
}
