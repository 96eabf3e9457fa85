import { assert } from '../../model/errors.ts'
import { formatId, type Id64 } from '../../model/id.ts'
import type { RollupKind } from '../../model/metric.ts'
import type { Pacer } from '../../model/pacer.ts'
import type { Arena } from '../../rollup/arena.ts'
import { type Block, BlockError, type MetricSection } from '../../rollup/block/block.ts'
import { divideRows, mergeRows } from '../../rollup/merge-rows.ts'
import type { RollupRows } from '../../rollup/rollup-rows.ts'
import { type InboxEntry, type Store, windowStart, windowWidthMs } from '../../store/store.ts'
import { openEach } from './timeline-blocks.ts'

/** Chooses the work of one step of a fold: the part of the inbox that can be folded in bounded time and memory. */

/** Maximum number of inbox entries in one step. Each entry costs opening a block and a few look-ups at the commit. */
export const STEP_ENTRIES_MAX = 4_096
/** Maximum number of rollups that one step reads. They take a few megabytes of memory at each resolution. */
export const STEP_ROWS_MAX = 32_768
/**
 * Maximum number of windows, over all resolutions, that one step writes. Each window costs a block, an index entry and
 * a row in the store.
 */
export const STEP_WINDOWS_MAX = 512

/** Data that a fold omits from the timelines permanently, because it cannot be read or written. */
export class Omitted {
  /** Rollups, counted at each resolution. */
  rows = 0
  /** Blocks that cannot be opened: the number of their rollups is unknown. */
  blocks = 0
  readonly causes: unknown[] = []

  add(other: Omitted): void {
    this.rows += other.rows
    this.blocks += other.blocks
    for (const cause of other.causes) this.causes.push(cause)
  }
}

export interface StepWork {
  /** The inbox entries that the step removes. */
  readonly inbox: readonly InboxEntry[]
  readonly metrics: readonly StepMetric[]
  /** The rows of these entries that the step does not fold. They are put back into the inbox. */
  readonly left: readonly LeftRows[]
  /** Whether the inbox has more entries. */
  readonly hasMore: boolean
  /** Rollups read, and windows of all resolutions written. */
  readonly rows: number
  readonly windows: number
  readonly omitted: Omitted
}

export interface StepMetric {
  readonly metricId: Id64
  readonly kind: RollupKind
  /** Sections of the metric, in arrival order. */
  readonly sections: readonly RollupRows[]
  /** Arrival order of the runs that the metric gets. */
  readonly order: number
}

/** The unfolded rows of one bucket width. In the inbox they replace `entry`, the first entry of that width. */
export interface LeftRows {
  readonly entry: InboxEntry
  readonly resolutionMs: number
  readonly metrics: readonly { readonly metricId: Id64; readonly rows: RollupRows }[]
}

export interface StepBounds {
  readonly bytesMax: number
  /** Bucket widths of the resolutions of a kind, finest first. */
  stepsOf(kind: RollupKind): readonly number[]
}

interface OpenEntry {
  readonly entry: InboxEntry
  readonly resolutionMs: number
  readonly sections: readonly MetricSection[]
  readonly rows: number
  readonly omitted: Omitted
}

/**
 * Takes the oldest inbox entries, up to `STEP_ROWS_MAX` rollups, and from them as many metrics as fit into
 * `STEP_WINDOWS_MAX` windows. The rows of the other metrics are merged and put back in place of the first entry. If a
 * single metric needs too many windows, the step takes its first windows. Rows are allocated in `arena`. Returns
 * undefined if the inbox is empty.
 */
export async function chooseWork(
  store: Store,
  partition: number,
  bounds: StepBounds,
  arena: Arena,
  pacer: Pacer,
): Promise<StepWork | undefined> {
  const entries = await store.readInbox(partition, bounds.bytesMax, STEP_ENTRIES_MAX)
  if (entries.length === 0) return undefined
  const blocks = await openEach(
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
  let taken = opened
  let chosen = await chooseMetrics(taken, bounds, pacer)
  if (chosen === undefined) {
    // A divided metric must come from one entry, because its parts share the arrival order of that entry.
    taken = opened.slice(0, 1)
    chosen = await chooseMetrics(taken, bounds, pacer)
  }
  assert(chosen !== undefined, 'a step takes at least a part of one entry')
  const omitted = new Omitted()
  for (const entry of taken) omitted.add(entry.omitted)
  const hasMore = taken.length < entries.length || chosen.left.length > 0
  return { ...chosen, inbox: taken.map(({ entry }) => entry), hasMore, omitted }
}

function openEntry(entry: InboxEntry, block: Block | BlockError): OpenEntry {
  const omitted = new Omitted()
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
 * Divides the metrics of the entries into those that the step folds and those that are left. Returns undefined if the
 * first metric would have to be divided and there are several entries.
 */
async function chooseMetrics(
  taken: readonly OpenEntry[],
  bounds: StepBounds,
  pacer: Pacer,
): Promise<Pick<StepWork, 'metrics' | 'left' | 'rows' | 'windows'> | undefined> {
  const isLarge = taken.reduce((sum, { rows }) => sum + rows, 0) > STEP_ROWS_MAX
  const chosen: MetricSections[] = []
  const left: MetricSections[] = []
  let windows = 0
  let isFull = false
  for (const metric of metricsOf(taken)) {
    await pacer.pause()
    const stepsMs = bounds.stepsOf(metric.kind)
    const more: number | undefined = isFull ? 0 : countWindows(metric.sections, stepsMs, STEP_WINDOWS_MAX - windows)
    isFull ||= more === undefined || isLarge
    if (!isFull) {
      chosen.push(metric)
      windows += more!
    } else if (chosen.length > 0) left.push(metric)
    else if (taken.length > 1) return undefined
    else {
      const [first, others] = divide(metric, stepsMs)
      chosen.push(first)
      windows += windowsOf(rowsByWindow(first.sections, stepsMs[0]!).keys(), stepsMs).length
      if (others.sections.length > 0) left.push(others)
    }
  }
  const { order } = taken[taken.length - 1]!.entry
  return {
    metrics: chosen.map(({ metricId, kind, sections }) => ({ metricId, kind, sections, order })),
    left: leftRows(taken, left),
    rows: chosen.reduce((sum, { sections }) => sum + rowsOf(sections), 0),
    windows,
  }
}

/** Merges the sections of each metric that is left, and groups the metrics by bucket width. */
function leftRows(taken: readonly OpenEntry[], left: readonly MetricSections[]): LeftRows[] {
  const byWidth = new Map<number, { metricId: Id64; rows: RollupRows }[]>()
  for (const { metricId, resolutionMs, sections } of left) {
    const rows = sections.length === 1 ? sections[0]! : mergeRows(sections, resolutionMs)
    const sameWidth = byWidth.get(resolutionMs)
    if (sameWidth === undefined) byWidth.set(resolutionMs, [{ metricId, rows }])
    else sameWidth.push({ metricId, rows })
  }
  return [...byWidth].map(([resolutionMs, metrics]) => {
    const first = taken.find((entry) => entry.resolutionMs === resolutionMs)
    assert(first !== undefined, 'left rows come from an entry')
    return { entry: first.entry, resolutionMs, metrics }
  })
}

/** Groups the sections of all entries by metric. The metrics come in order of first appearance. */
function metricsOf(taken: readonly OpenEntry[]): Iterable<MetricSections> {
  const metrics = new Map<string, MetricSections>()
  for (const { resolutionMs, sections } of taken) {
    for (const section of sections) {
      const { metricId, kind } = section
      const id = formatId(metricId)
      const known = metrics.get(id)
      if (known === undefined) metrics.set(id, { metricId, kind, resolutionMs, sections: [section] })
      else known.sections.push(section)
    }
  }
  return metrics.values()
}

/**
 * Counts the windows of all resolutions that hold rollups. Returns undefined if there are more than `max`; the work is
 * then in proportion to `max`, not to the number of rollups.
 */
function countWindows(sections: readonly RollupRows[], stepsMs: readonly number[], max: number): number | undefined {
  const finest = rowsByWindow(sections, stepsMs[0]!, max)
  if (finest.size > max) return undefined
  const count = windowsOf(finest.keys(), stepsMs).length
  return count > max ? undefined : count
}

/**
 * Lists the windows of all resolutions that contain windows of the finest one, given by their starts. Each window is
 * listed as the start of the first of these that it contains.
 */
function windowsOf(finestStarts: Iterable<number>, stepsMs: readonly number[]): number[] {
  const found: number[] = []
  const finest = [...finestStarts].sort((a, b) => a - b)
  for (const stepMs of stepsMs) {
    let last = Number.NaN
    for (const timeMs of finest) {
      const startMs = windowStart(stepMs, timeMs)
      if (startMs !== last) found.push(timeMs)
      last = startMs
    }
  }
  return found
}

/**
 * Number of rollups in each window of a resolution, by the start of the window. Stops when there are more than `max`
 * windows.
 */
function rowsByWindow(
  sections: readonly RollupRows[],
  stepMs: number,
  max = Number.POSITIVE_INFINITY,
): Map<number, number> {
  const counts = new Map<number, number>()
  for (const { bucketMs, length } of sections) {
    // Consecutive rows are mostly in the same window: they are counted before the map is updated.
    let fromMs = Number.POSITIVE_INFINITY
    let toMs = Number.NEGATIVE_INFINITY
    let rows = 0
    for (let row = 0; row < length; row++) {
      const timeMs = bucketMs[row]!
      if (timeMs < fromMs || timeMs >= toMs) {
        if (rows > 0) counts.set(fromMs, (counts.get(fromMs) ?? 0) + rows)
        if (counts.size > max) return counts
        fromMs = windowStart(stepMs, timeMs)
        toMs = fromMs + windowWidthMs(stepMs)
        rows = 0
      }
      rows++
    }
    if (rows > 0) counts.set(fromMs, (counts.get(fromMs) ?? 0) + rows)
  }
  return counts
}

/** Divides a metric into two parts: its first windows, as many as one step may write, and the rest. */
function divide(metric: MetricSections, stepsMs: readonly number[]): readonly [MetricSections, MetricSections] {
  const finest = rowsByWindow(metric.sections, stepsMs[0]!)
  const starts = windowsOf(finest.keys(), stepsMs).sort((a, b) => a - b)
  let endMs = starts[STEP_WINDOWS_MAX] ?? Number.POSITIVE_INFINITY
  let rows = 0
  let share = 1
  for (const [startMs, windowRows] of [...finest].sort(([a], [b]) => a - b)) {
    if (startMs >= endMs) break
    if (rows + windowRows > STEP_ROWS_MAX) {
      // Blocks written before `STEP_ROWS_MAX` existed may hold more rows in one window. Such a window is divided by
      // series.
      if (rows === 0) share = STEP_ROWS_MAX / windowRows
      endMs = rows === 0 ? startMs + windowWidthMs(stepsMs[0]!) : startMs
      break
    }
    rows += windowRows
  }
  const first: RollupRows[] = []
  const others: RollupRows[] = []
  for (const section of metric.sections) {
    const seriesMax = share === 1 ? section.seriesCount : Math.max(1, Math.floor(section.seriesCount * share))
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
 * Returns the sections of a block that can be decoded, and adds the others to `omitted`. If they stayed in the inbox,
 * they would block all later entries.
 */
function decodableSections(block: Block | BlockError, omitted: Omitted): readonly MetricSection[] {
  if (block instanceof BlockError) {
    omitted.blocks++
    omitted.causes.push(block)
    return []
  }
  return block.sections.filter((section) => {
    try {
      decodeWhole(section)
      return true
    } catch (cause) {
      if (!(cause instanceof BlockError)) throw cause
      omitted.rows += section.length
      omitted.causes.push(cause)
      return false
    }
  })
}

/** Decodes all columns, because a section otherwise decodes a column, and finds errors in it, only on first access. */
function decodeWhole(section: MetricSection): void {
  const { seriesHi, bucketMs, count, sum, min, max, first, last, firstMs, lastMs } = section
  for (const column of [seriesHi, bucketMs, count, sum, min, max, first, last, firstMs, lastMs]) void column.length
  section.totalsAt(0)
  void section.binStart.length
}
