import type { RollupKind } from '../../model/metric.ts'
import { Pacer } from '../../model/pacer.ts'
import { type Arena, acquireArena, releaseArena } from '../../rollup/arena.ts'
import { splitByWindow } from '../../rollup/merge-rows.ts'
import { MergedRows, releaseMergedRows } from '../../rollup/merged-rows.ts'
import { bucketRangeOf, type RollupRows } from '../../rollup/rollup-rows.ts'
import type { Store, TimelineIndex, WindowKey, WindowRetention } from '../../store/store.ts'
import { type Stretch, windowStart, windowWidthMs } from '../../store/windows.ts'
import { chooseWork, mergeOrOmit, type OmittedData, type StepMetric } from './fold-step.ts'
import { bytesOfBlock, bytesOfBlocks, encodeRun, encodeUnfoldedRows, type TimelineBlock } from './timeline-blocks.ts'

/** A stored bucket width, and how long a window of this resolution is kept after the last fold that wrote to it. */
export interface Resolution {
  readonly bucketWidthMs: number
  readonly keptMs: number
}

export interface FoldSettings {
  /** Finest first. Each width is a multiple of the previous one, and no `keptMs` is less than the previous one. */
  readonly resolutions: readonly Resolution[]
  /** Resolutions of set metrics, in the same order. */
  readonly setResolutions: readonly Resolution[]
  /** Maximum number of inbox bytes that one step reads. A step always reads at least one entry. */
  readonly stepBytesMax: number
}

/** The value of `FoldSettings.stepBytesMax` in a gateway. */
export const FOLD_STEP_BYTES_MAX = 1_048_576

export interface FoldStepResult {
  /** Number of entries, and bytes, by which the step made the inbox smaller. */
  readonly entries: number
  readonly bytes: number
  /** Bytes of the blocks that the step added to timelines. */
  readonly bytesWritten: number
  /**
   * Number of rollups that were folded, and of windows (of all resolutions) to which they belong. Expired windows are
   * included, and omitted rollups that could be decoded.
   */
  readonly rows: number
  readonly windows: number
  /** Whether the step left entries that were in the inbox when it began, or put rows back. */
  readonly hasMore: boolean
  /** The windows to which the step has written. */
  readonly touchedWindows: readonly WindowRetention[]
  readonly omitted: OmittedData
}

/**
 * Moves the oldest entries of a partition's inbox into the timelines of every resolution, in one atomic commit. A query
 * sees each rollup exactly once: in the inbox or in the timelines.
 *
 * A rollup of late points is not written to a window that has expired: the window would then look complete, although
 * its other data was removed. The rollup is still written to coarser resolutions whose windows have not expired.
 *
 * Data that cannot be read or written is omitted and reported, so that it does not block the data of other metrics.
 *
 * Returns undefined if there was nothing to fold, or if the store refused the fold, for example because another fold
 * was faster or a window expired meanwhile. Throws a BlockVersionError if a block has an unknown version: a newer
 * gateway may be able to fold it.
 */
export async function foldInbox(
  store: Store,
  partition: number,
  settings: FoldSettings,
  nowMs: number,
): Promise<FoldStepResult | undefined> {
  const arena = acquireArena()
  try {
    return await foldStep(store, partition, settings, nowMs, arena)
  } finally {
    releaseArena(arena)
  }
}

async function foldStep(
  store: Store,
  partition: number,
  settings: FoldSettings,
  nowMs: number,
  arena: Arena,
): Promise<FoldStepResult | undefined> {
  const pacer = new Pacer()
  const resolutionsOf = (kind: RollupKind) => (kind === 'set' ? settings.setResolutions : settings.resolutions)
  const work = await chooseWork(
    store,
    partition,
    {
      bytesMax: settings.stepBytesMax,
      resolutionsMsOf: (kind) => resolutionsOf(kind).map(({ bucketWidthMs }) => bucketWidthMs),
    },
    arena,
    pacer,
  )
  if (work === undefined) return undefined
  const { foldedInboxEntries, rows, windows, hasMore, omitted } = work
  const written: TimelineBlock[] = []
  const touchedWindows: WindowRetention[] = []
  for (const metric of work.metrics) {
    const folded = await foldMetric(store, partition, metric, resolutionsOf(metric.kind), omitted, pacer)
    for (const { window, keptMs, blocks } of folded) {
      for (const block of blocks) written.push(block)
      touchedWindows.push({ ...window, expiresMs: nowMs + keptMs })
    }
  }
  const partlyFolded = work.unfolded.map(({ entry, resolutionMs, metrics }) => {
    return { entry, block: encodeUnfoldedRows(resolutionMs, metrics, (cause) => omitted.omitRows(1, cause)) }
  })
  const blocks = [...written, ...partlyFolded].map(({ block }) => block)
  await store.writeBlocks(partition, blocks, nowMs)
  const added = written.map((block) => block.added)
  if (
    !(await store.commitFold({
      partition,
      inbox: foldedInboxEntries,
      partlyFolded,
      removed: [],
      added,
      touched: touchedWindows,
      nowMs,
    }))
  )
    return undefined
  const inboxBytes = foldedInboxEntries.reduce((sum, entry) => sum + entry.scalarBytes + entry.sketchBytes, 0)
  const bytes = partlyFolded.reduce((sum, { block }) => sum - bytesOfBlock(block), inboxBytes)
  const entries = foldedInboxEntries.length - partlyFolded.length
  return { entries, bytes, bytesWritten: bytesOfBlocks(written), rows, windows, hasMore, touchedWindows, omitted }
}

interface FoldedWindow {
  readonly window: WindowKey
  readonly keptMs: number
  readonly blocks: readonly TimelineBlock[]
}

/**
 * Merges the rollups of a metric to every resolution and encodes them as blocks, window by window. Expired windows are
 * skipped.
 */
async function foldMetric(
  store: Store,
  partition: number,
  { metricId, sections, order }: StepMetric,
  resolutions: readonly Resolution[],
  omitted: OmittedData,
  pacer: Pacer,
): Promise<readonly FoldedWindow[]> {
  const run = { tier: 0, order }
  const base = await mergeOrOmit(sections, resolutions[0]!.bucketWidthMs, false, omitted, pacer)
  if (base === undefined) return []
  const { firstMs, lastMs } = bucketRangeOf(base, 0, base.length)
  const { timelines } = await store.readIndex({
    partition,
    metricId,
    withInbox: false,
    expiredOnly: true,
    timelines: resolutions.map(({ bucketWidthMs }) => ({
      resolutionMs: bucketWidthMs,
      stretch: coveringWindows(bucketWidthMs, firstMs, lastMs),
    })),
  })
  const folded: FoldedWindow[] = []
  let rows: RollupRows = base
  for (const [i, { bucketWidthMs, keptMs }] of resolutions.entries()) {
    // The blocks of the finer resolution are encoded already, so its rows may be changed.
    if (i > 0 && !(rows instanceof MergedRows && rows.coarsen(bucketWidthMs))) {
      const coarser = await mergeOrOmit([rows], bucketWidthMs, true, omitted, pacer)
      if (coarser === undefined) break
      releaseMergedRows(rows)
      rows = coarser
    }
    for (const [windowMs, windowRows] of splitByWindow(rows, windowWidthMs(bucketWidthMs))) {
      if (isExpired(timelines[i]!, windowMs)) continue
      const window = { metricId, resolutionMs: bucketWidthMs, windowMs }
      const blocks = encodeRun(window, windowRows, run, (_, cause) => omitted.omitRows(1, cause))
      if (blocks.length > 0) folded.push({ window, keptMs, blocks })
      if (windowRows !== rows) releaseMergedRows(windowRows)
      await pacer.pause()
    }
  }
  releaseMergedRows(rows)
  return folded
}

/** Returns the stretch from the start of the window with `firstMs` to the end of that with `lastMs`. */
function coveringWindows(resolutionMs: number, firstMs: number, lastMs: number): Stretch {
  return {
    fromMs: windowStart(resolutionMs, firstMs),
    toMs: windowStart(resolutionMs, lastMs) + windowWidthMs(resolutionMs),
  }
}

function isExpired({ expired }: TimelineIndex, windowMs: number): boolean {
  return expired.some(({ fromMs, toMs }) => fromMs <= windowMs && windowMs < toMs)
}
