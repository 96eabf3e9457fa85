import { assert } from '../../model/errors.ts'
import { formatId, type Id64 } from '../../model/id.ts'
import type { RollupKind } from '../../model/metric.ts'
import type { Pacer } from '../../model/pacer.ts'
import { runPaced } from '../../model/steps.ts'
import type { Arena } from '../../rollup/arena.ts'
import { type Block, BlockError, type MetricSection } from '../../rollup/block/block.ts'
import { divideRows, mergeRowsInSteps } from '../../rollup/merge-rows.ts'
import type { RollupRows } from '../../rollup/rollup-rows.ts'
import type { InboxEntry, Store } from '../../store/store.ts'
import { windowStart, windowWidthMs } from '../../store/windows.ts'
import { openReadableBlocks } from './timeline-blocks.ts'

/** Chooses what one fold step folds: a part of the inbox that can be folded in bounded time and memory. */

/**
 * Maximum number of inbox entries in one step. For each entry, the step opens a block, and its commit, which cannot be
 * divided, removes some rows from the store. An inbox with this many entries is folded at once.
 */
export const STEP_ENTRIES_MAX = 256
/** Maximum number of rollups that one step folds. They take a few megabytes of memory at each resolution. */
export const STEP_ROWS_MAX = 32_768
/**
 * Maximum number of windows, over all resolutions, that one step writes. Each window costs at least one block and one
 * index entry, and a row in the store.
 */
export const STEP_WINDOWS_MAX = 512

/** Data that a fold omits from the timelines permanently, because it cannot be decoded, merged or encoded. */
export class OmittedData {
  /** Number of omitted rollups. A rollup that cannot be encoded at several resolutions counts several times. */
  rows = 0
  /** Number of blocks that cannot be opened. `rows` does not include their rollups. */
  blocks = 0
  readonly causes: unknown[] = []

  omitRows(rows: number, cause: unknown): void {
    this.rows += rows
    this.causes.push(cause)
  }

  add(other: OmittedData): void {
    this.rows += other.rows
    this.blocks += other.blocks
    for (const cause of other.causes) this.causes.push(cause)
  }
}

export interface StepWork {
  /** The inbox entries that the step removes, or replaces by their unfolded rows. */
  readonly foldedInboxEntries: readonly InboxEntry[]
  readonly metrics: readonly StepMetric[]
  /** The rows of the removed entries that the step does not fold. The fold puts them back into the inbox. */
  readonly unfolded: readonly UnfoldedRows[]
  /** Whether the step leaves entries that were in the inbox when it began, or puts rows back. */
  readonly hasMore: boolean
  /** Number of rollups that the step folds, and of windows (of all resolutions) to which they belong. */
  readonly rows: number
  readonly windows: number
  readonly omitted: OmittedData
}

export interface StepMetric {
  readonly metricId: Id64
  readonly kind: RollupKind
  /** The rows of the metric from each block, in the order of arrival. */
  readonly sections: readonly RollupRows[]
  /** `IndexEntry.order` of the runs that the step writes for the metric. */
  readonly order: number
}

/**
 * The unfolded rows of all entries with one bucket width. In the inbox, they replace `entry`, the first removed entry
 * of this width.
 */
export interface UnfoldedRows {
  readonly entry: InboxEntry
  readonly resolutionMs: number
  readonly metrics: readonly { readonly metricId: Id64; readonly rows: RollupRows }[]
}

export interface StepOptions {
  /** Maximum number of inbox bytes that the step reads. It reads at least one entry. */
  readonly bytesMax: number
  /** Returns the resolutions of a kind of rollups (their bucket widths), finest first. */
  resolutionsMsOf(kind: RollupKind): readonly number[]
}

interface OpenEntry {
  readonly entry: InboxEntry
  /** Bucket width of the block. 0 if the block cannot be opened. */
  readonly resolutionMs: number
  readonly sections: readonly MetricSection[]
  readonly rows: number
  readonly omitted: OmittedData
}

/**
 * Takes the oldest inbox entries with at most `STEP_ROWS_MAX` rollups together, but at least one entry. Chooses their
 * metrics in order of first appearance, until one does not fit into `STEP_WINDOWS_MAX` windows; only the first metric
 * if a single entry has more than `STEP_ROWS_MAX` rollups. The rows of the other metrics are merged and stay in the
 * inbox: they replace the first removed entry with the same bucket width. If the first metric alone is too large, the
 * step takes only the first entry and, if needed, only the first windows of this metric. The rows are decoded into
 * memory of `arena`. Returns undefined if the inbox is empty.
 */
export async function chooseWork(
  store: Store,
  partition: number,
  options: StepOptions,
  arena: Arena,
  pacer: Pacer,
): Promise<StepWork | undefined> {
  const { entries: entriesBefore } = await store.inboxSize(partition)
  const entries = await store.readInbox(partition, options.bytesMax, STEP_ENTRIES_MAX)
  if (entries.length === 0) return undefined
  const blocks = await openReadableBlocks(
    store,
    partition,
    entries.map(({ block }) => block),
    arena,
    pacer,
  )
  const opened: OpenEntry[] = []
  let rows = 0
  for (const [i, block] of blocks.entries()) {
    const entry = openEntry(entries[i]!, block)
    if (opened.length > 0 && rows + entry.rows > STEP_ROWS_MAX) break
    opened.push(entry)
    rows += entry.rows
    await pacer.pause()
  }
  const omitted = new OmittedData()
  let takenEntries = opened
  let chosen = await chooseMetrics(takenEntries, options, omitted, pacer)
  if (chosen === undefined) {
    // Not even the first metric fits. A metric is divided only within one entry, because the folded rows and those that
    // stay in the inbox must keep the arrival order of their entry.
    takenEntries = opened.slice(0, 1)
    chosen = await chooseMetrics(takenEntries, options, omitted, pacer)
  }
  assert(chosen !== undefined, 'a step takes at least a part of one entry')
  for (const entry of takenEntries) omitted.add(entry.omitted)
  // A read is limited, so the inbox may have had more entries than were read.
  const hasMore = takenEntries.length < entriesBefore || chosen.unfolded.length > 0
  return { ...chosen, foldedInboxEntries: takenEntries.map(({ entry }) => entry), hasMore, omitted }
}

function openEntry(entry: InboxEntry, block: Block | BlockError): OpenEntry {
  const omitted = new OmittedData()
  const sections = decodableSections(block, omitted)
  const resolutionMs = block instanceof BlockError ? 0 : block.resolutionMs
  return { entry, resolutionMs, sections, rows: rowsOf(sections), omitted }
}

function rowsOf(sections: readonly RollupRows[]): number {
  return sections.reduce((sum, { length }) => sum + length, 0)
}

interface MetricSections {
  readonly metricId: Id64
  readonly kind: RollupKind
  readonly resolutionMs: number
  readonly sections: RollupRows[]
}

/**
 * Divides the metrics of the entries into those that the step folds and those that stay unfolded. Returns undefined if
 * not even the first metric fits and there are several entries: a metric is divided only within one entry.
 */
async function chooseMetrics(
  takenEntries: readonly OpenEntry[],
  options: StepOptions,
  omitted: OmittedData,
  pacer: Pacer,
): Promise<Pick<StepWork, 'metrics' | 'unfolded' | 'rows' | 'windows'> | undefined> {
  const hasTooManyRows = takenEntries.reduce((sum, { rows }) => sum + rows, 0) > STEP_ROWS_MAX
  const chosen: MetricSections[] = []
  const unfolded: MetricSections[] = []
  let windows = 0
  let isFull = false
  for (const metric of metricsOf(takenEntries)) {
    await pacer.pause()
    const resolutionsMs = options.resolutionsMsOf(metric.kind)
    const windowsAdded: number | undefined = isFull
      ? 0
      : countWindows(metric.sections, resolutionsMs, STEP_WINDOWS_MAX - windows)
    isFull ||= windowsAdded === undefined || hasTooManyRows
    if (!isFull) {
      chosen.push(metric)
      windows += windowsAdded!
    } else if (chosen.length > 0) unfolded.push(metric)
    else if (takenEntries.length > 1) return undefined
    else {
      const [first, others] = divideMetric(metric, resolutionsMs)
      chosen.push(first)
      windows += firstStartInEachWindow(
        countRowsByWindow(first.sections, resolutionsMs[0]!).keys(),
        resolutionsMs,
      ).length
      if (others.sections.length > 0) unfolded.push(others)
    }
  }
  const { order } = takenEntries[takenEntries.length - 1]!.entry
  return {
    metrics: chosen.map(({ metricId, kind, sections }) => ({ metricId, kind, sections, order })),
    unfolded: await unfoldedRowsOf(takenEntries, unfolded, omitted, pacer),
    rows: chosen.reduce((sum, { sections }) => sum + rowsOf(sections), 0),
    windows,
  }
}

/** Merges the sections of each unfolded metric, and groups the metrics by bucket width. */
async function unfoldedRowsOf(
  takenEntries: readonly OpenEntry[],
  unfolded: readonly MetricSections[],
  omitted: OmittedData,
  pacer: Pacer,
): Promise<UnfoldedRows[]> {
  const byWidth = new Map<number, { metricId: Id64; rows: RollupRows }[]>()
  for (const { metricId, resolutionMs, sections } of unfolded) {
    const rows = sections.length === 1 ? sections[0]! : await mergeOrOmit(sections, resolutionMs, false, omitted, pacer)
    if (rows === undefined) continue
    const sameWidth = byWidth.get(resolutionMs)
    if (sameWidth === undefined) byWidth.set(resolutionMs, [{ metricId, rows }])
    else sameWidth.push({ metricId, rows })
  }
  return [...byWidth].map(([resolutionMs, metrics]) => {
    const first = takenEntries.find((entry) => entry.resolutionMs === resolutionMs)
    assert(first !== undefined, 'unfolded rows come from an entry')
    return { entry: first.entry, resolutionMs, metrics }
  })
}

/** Merges rollups to a resolution. If that fails, adds all of them to `omitted` and returns undefined. */
export async function mergeOrOmit(
  sources: readonly RollupRows[],
  resolutionMs: number,
  isCoarse: boolean,
  omitted: OmittedData,
  pacer: Pacer,
): Promise<RollupRows | undefined> {
  try {
    return await runPaced(mergeRowsInSteps(sources, resolutionMs, { isCoarse }), pacer)
  } catch (cause) {
    omitted.omitRows(rowsOf(sources), cause)
    return undefined
  }
}

/** Groups the sections of all entries by metric. The metrics come in order of first appearance. */
function metricsOf(takenEntries: readonly OpenEntry[]): Iterable<MetricSections> {
  const metrics = new Map<string, MetricSections>()
  for (const { resolutionMs, sections } of takenEntries) {
    for (const section of sections) {
      const { metricId, kind } = section
      const id = formatId(metricId)
      const metric = metrics.get(id)
      if (metric === undefined) metrics.set(id, { metricId, kind, resolutionMs, sections: [section] })
      else metric.sections.push(section)
    }
  }
  return metrics.values()
}

/**
 * Counts the windows of all resolutions that would have rollups of these sections. Returns undefined if there are more
 * than `windowsMax`; counting may stop early in this case.
 */
function countWindows(
  sections: readonly RollupRows[],
  resolutionsMs: readonly number[],
  windowsMax: number,
): number | undefined {
  const finest = countRowsByWindow(sections, resolutionsMs[0]!, windowsMax)
  if (finest.size > windowsMax) return undefined
  const count = firstStartInEachWindow(finest.keys(), resolutionsMs).length
  return count > windowsMax ? undefined : count
}

/**
 * Finds all windows, of every resolution, that contain one of the given windows of the finest resolution, whose starts
 * are `finestStarts`. Returns one time for each window that was found: the smallest of `finestStarts` in it.
 */
function firstStartInEachWindow(finestStarts: Iterable<number>, resolutionsMs: readonly number[]): number[] {
  const firstStarts: number[] = []
  const sortedStarts = [...finestStarts].sort((a, b) => a - b)
  for (const resolutionMs of resolutionsMs) {
    let previousWindowMs = Number.NaN
    for (const startMs of sortedStarts) {
      const windowMs = windowStart(resolutionMs, startMs)
      if (windowMs !== previousWindowMs) firstStarts.push(startMs)
      previousWindowMs = windowMs
    }
  }
  return firstStarts
}

/**
 * Returns the number of rollups in each window of a resolution, by the start of the window. Stops counting when there
 * are more than `windowsMax` windows.
 */
function countRowsByWindow(
  sections: readonly RollupRows[],
  resolutionMs: number,
  windowsMax = Number.POSITIVE_INFINITY,
): Map<number, number> {
  const counts = new Map<number, number>()
  for (const { bucketMs, length } of sections) {
    // Consecutive rows are mostly in the same window. They are counted together, so that the map is updated once.
    let fromMs = Number.POSITIVE_INFINITY
    let toMs = Number.NEGATIVE_INFINITY
    let rows = 0
    for (let row = 0; row < length; row++) {
      const timeMs = bucketMs[row]!
      if (timeMs < fromMs || timeMs >= toMs) {
        if (rows > 0) counts.set(fromMs, (counts.get(fromMs) ?? 0) + rows)
        if (counts.size > windowsMax) return counts
        fromMs = windowStart(resolutionMs, timeMs)
        toMs = fromMs + windowWidthMs(resolutionMs)
        rows = 0
      }
      rows++
    }
    if (rows > 0) counts.set(fromMs, (counts.get(fromMs) ?? 0) + rows)
  }
  return counts
}

/**
 * Divides the rows of a metric, which come from one entry, in two: those that this step folds (its first windows,
 * within the limits of one step), and the others.
 */
function divideMetric(
  metric: MetricSections,
  resolutionsMs: readonly number[],
): readonly [MetricSections, MetricSections] {
  const finest = countRowsByWindow(metric.sections, resolutionsMs[0]!)
  const starts = firstStartInEachWindow(finest.keys(), resolutionsMs).sort((a, b) => a - b)
  let endMs = starts[STEP_WINDOWS_MAX] ?? Number.POSITIVE_INFINITY
  let rows = 0
  let seriesShare = 1
  for (const [startMs, windowRows] of [...finest].sort(([a], [b]) => a - b)) {
    if (startMs >= endMs) break
    if (rows + windowRows > STEP_ROWS_MAX) {
      // A block that an older version of the gateway wrote may have more than `STEP_ROWS_MAX` rows in one window. Such
      // a window is divided by series: into about as many series as have `STEP_ROWS_MAX` rows, and the others.
      if (rows === 0) seriesShare = STEP_ROWS_MAX / windowRows
      endMs = rows === 0 ? startMs + windowWidthMs(resolutionsMs[0]!) : startMs
      break
    }
    rows += windowRows
  }
  const first: RollupRows[] = []
  const others: RollupRows[] = []
  for (const section of metric.sections) {
    const seriesMax =
      seriesShare === 1 ? section.seriesCount : Math.max(1, Math.floor(section.seriesCount * seriesShare))
    const { bucketMs } = section
    const [early, late] = divideRows(section, (series, row) => bucketMs[row]! < endMs && series < seriesMax)
    if (early.length > 0) first.push(early)
    if (late.length > 0) others.push(late)
  }
  return [
    { ...metric, sections: first },
    { ...metric, sections: others },
  ]
}

/**
 * Returns the sections of a block that can be decoded, and adds the others to `omitted`. Faulty sections are not kept
 * in the inbox, because they would block all later entries.
 */
function decodableSections(block: Block | BlockError, omitted: OmittedData): readonly MetricSection[] {
  if (block instanceof BlockError) {
    omitted.blocks++
    omitted.causes.push(block)
    return []
  }
  return block.sections.filter((section) => {
    try {
      decodeAllColumns(section)
      return true
    } catch (cause) {
      if (!(cause instanceof BlockError)) throw cause
      omitted.omitRows(section.length, cause)
      return false
    }
  })
}

/** Decodes all columns, because a section otherwise decodes a column, and finds errors in it, only on first access. */
function decodeAllColumns(section: MetricSection): void {
  const { seriesHi, bucketMs, count, sum, min, max, first, last, firstMs, lastMs } = section
  for (const column of [seriesHi, bucketMs, count, sum, min, max, first, last, firstMs, lastMs]) void column.length
  section.totalsAt(0)
  void section.binStart.length
}
