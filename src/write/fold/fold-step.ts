import { assert } from '../../model/errors.ts'
import { formatId, type Id64 } from '../../model/id.ts'
import type { RollupKind } from '../../model/metric.ts'
import type { Pacer } from '../../model/pacer.ts'
import { type Block, BlockError, type MetricSection } from '../../rollup/block.ts'
import { divideRows, mergeRows } from '../../rollup/merge-rows.ts'
import type { RollupRows } from '../../rollup/rollup-rows.ts'
import { QuantileSketch } from '../../sketch/quantile-sketch.ts'
import { type InboxEntry, type Store, windowStart, windowWidthMs } from '../../store/store.ts'
import { openEach } from './timeline-blocks.ts'

/** What one step of a fold takes on: as much of the inbox as can be done in a bounded time and memory, counted before it is done. */

/** Entries of one step: each is a block to open, and a few look-ups of its commit. */
export const STEP_ENTRIES_MAX = 4_096
/** Rollups that one step reads. A table of them takes some megabytes at each resolution. */
export const STEP_ROWS_MAX = 32_768
/** Windows that one step adds to, of all resolutions: each is a block, an index entry and a row of the store. */
export const STEP_WINDOWS_MAX = 512

/** What is left out of the timelines for ever, because it cannot be read or written. */
export class SetAside {
  /** Rollups, of one resolution each. */
  rows = 0
  /** Blocks of which nothing is known, not even how many rollups they held. */
  blocks = 0
  readonly causes: unknown[] = []

  add(other: SetAside): void {
    this.rows += other.rows
    this.blocks += other.blocks
    for (const cause of other.causes) this.causes.push(cause)
  }
}

export interface StepWork {
  /** Entries that the step takes on. */
  readonly inbox: readonly InboxEntry[]
  readonly metrics: readonly StepMetric[]
  /** What is left of these entries. */
  readonly left: readonly LeftRows[]
  /** Whether there is more that could have been taken on. */
  readonly hasMore: boolean
  /** Rollups read, and windows of all resolutions that are added to. */
  readonly rows: number
  readonly windows: number
  readonly setAside: SetAside
}

export interface StepMetric {
  readonly metricId: Id64
  readonly kind: RollupKind
  /** In arrival order. */
  readonly sections: readonly RollupRows[]
  /** Of the runs that it becomes. */
  readonly order: number
}

/** What a step leaves of entries of one width of buckets, in the place of the first of them. */
export interface LeftRows {
  readonly entry: InboxEntry
  readonly resolutionMs: number
  readonly metrics: readonly { readonly metricId: Id64; readonly rows: RollupRows }[]
}

export interface StepBounds {
  readonly bytesMax: number
  /** Widths of the stored buckets of a kind, finest first. */
  stepsOf(kind: RollupKind): readonly number[]
}

interface OpenEntry {
  readonly entry: InboxEntry
  readonly resolutionMs: number
  readonly sections: readonly MetricSection[]
  readonly rows: number
  readonly faults: SetAside
}

/**
 * The oldest entries of the inbox whose rollups are within the bound of a step, and of these as many metrics as add to no more windows
 * than it may. The others are left in the place of the first entry, merged. When one metric alone is in too many windows the
 * step takes on the first of them. Undefined: the inbox is empty.
 */
export async function chooseWork(
  store: Store,
  partition: number,
  bounds: StepBounds,
  pacer: Pacer,
): Promise<StepWork | undefined> {
  const entries = await store.readInbox(partition, bounds.bytesMax, STEP_ENTRIES_MAX)
  if (entries.length === 0) return undefined
  const blocks = await openEach(
    store,
    partition,
    entries.map(({ block }) => block),
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
    // Its parts have the order of one entry: nothing of the metric may have arrived between them.
    taken = opened.slice(0, 1)
    chosen = await chooseMetrics(taken, bounds, pacer)
  }
  assert(chosen !== undefined, 'of a single entry at least a part is taken on')
  const setAside = new SetAside()
  for (const { faults } of taken) setAside.add(faults)
  const hasMore = taken.length < entries.length || chosen.left.length > 0
  return { ...chosen, inbox: taken.map(({ entry }) => entry), hasMore, setAside }
}

function openEntry(entry: InboxEntry, block: Block | BlockError): OpenEntry {
  const faults = new SetAside()
  const sections = soundSections(block, faults)
  const resolutionMs = block instanceof BlockError ? 0 : block.resolutionMs
  return { entry, resolutionMs, sections, rows: rowsOf(sections), faults }
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

/** Undefined: the first metric would have to be divided, and several entries hold it. */
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
    const more: number = isFull ? 0 : windowsOf(metric.sections, stepsMs).length
    isFull ||= windows + more > STEP_WINDOWS_MAX || isLarge
    if (!isFull) {
      chosen.push(metric)
      windows += more
    } else if (chosen.length > 0) left.push(metric)
    else if (taken.length > 1) return undefined
    else {
      const [first, others] = divide(metric, stepsMs)
      chosen.push(first)
      windows += windowsOf(first.sections, stepsMs).length
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

/** By the width of their buckets, each in the place of the first entry of that width. */
function leftRows(taken: readonly OpenEntry[], left: readonly MetricSections[]): LeftRows[] {
  const byWidth = new Map<number, { metricId: Id64; rows: RollupRows }[]>()
  for (const { metricId, resolutionMs, sections } of left) {
    const rows = sections.length === 1 ? sections[0]! : mergeRows(sections, resolutionMs)
    const ofWidth = byWidth.get(resolutionMs)
    if (ofWidth === undefined) byWidth.set(resolutionMs, [{ metricId, rows }])
    else ofWidth.push({ metricId, rows })
  }
  return [...byWidth].map(([resolutionMs, metrics]) => {
    const first = taken.find((each) => each.resolutionMs === resolutionMs)
    assert(first !== undefined, 'what is left lay in an entry')
    return { entry: first.entry, resolutionMs, metrics }
  })
}

/** Each metric once, in the order that they first come. */
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

/** The windows of all resolutions that rollups lie in, by the time of the first of the finest in each. */
function windowsOf(sections: readonly RollupRows[], stepsMs: readonly number[]): number[] {
  const found: number[] = []
  const finest = [...rowsByWindow(sections, stepsMs[0]!).keys()].sort((a, b) => a - b)
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

/** How many rollups lie in each window of a resolution. */
function rowsByWindow(sections: readonly RollupRows[], stepMs: number): Map<number, number> {
  const counts = new Map<number, number>()
  for (const { bucketMs, length } of sections) {
    // Rows that follow one another mostly lie in one window.
    let fromMs = Number.POSITIVE_INFINITY
    let toMs = Number.NEGATIVE_INFINITY
    let rows = 0
    for (let row = 0; row < length; row++) {
      const timeMs = bucketMs[row]!
      if (timeMs < fromMs || timeMs >= toMs) {
        if (rows > 0) counts.set(fromMs, (counts.get(fromMs) ?? 0) + rows)
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

/** What of a metric lies in its first windows, as much as one step may take on, and the rest. */
function divide(metric: MetricSections, stepsMs: readonly number[]): readonly [MetricSections, MetricSections] {
  const starts = windowsOf(metric.sections, stepsMs).sort((a, b) => a - b)
  let endMs = starts[STEP_WINDOWS_MAX] ?? Number.POSITIVE_INFINITY
  let rows = 0
  let share = 1
  for (const [startMs, ofWindow] of [...rowsByWindow(metric.sections, stepsMs[0]!)].sort(([a], [b]) => a - b)) {
    if (startMs >= endMs) break
    if (rows + ofWindow > STEP_ROWS_MAX) {
      // A block of before there was a bound may hold too many in one window: that is divided by series.
      if (rows === 0) share = STEP_ROWS_MAX / ofWindow
      endMs = rows === 0 ? startMs + windowWidthMs(stepsMs[0]!) : startMs
      break
    }
    rows += ofWindow
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

/** The sections of a block that can be decoded. What cannot never will be: left where it is, it would hold up all that came after it. */
function soundSections(block: Block | BlockError, setAside: SetAside): readonly MetricSection[] {
  if (block instanceof BlockError) {
    setAside.blocks++
    setAside.causes.push(block)
    return []
  }
  return block.sections.filter((section) => {
    try {
      decodeWhole(section)
      return true
    } catch (cause) {
      if (!(cause instanceof BlockError)) throw cause
      setAside.rows += section.length
      setAside.causes.push(cause)
      return false
    }
  })
}

/** Columns are decoded when they are first asked for. */
function decodeWhole(section: MetricSection): void {
  const { seriesHi, bucketMs, count, sum, min, max, first, last, firstMs, lastMs } = section
  for (const column of [seriesHi, bucketMs, count, sum, min, max, first, last, firstMs, lastMs]) void column.length
  section.totalsAt(0)
  if (section.needsSketches) section.mergeBinsInto(0, new QuantileSketch())
}
