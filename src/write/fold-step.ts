import { formatId, type Id64 } from '../model/id.ts'
import { type Block, BlockError, type MetricSection } from '../rollup/block.ts'
import { divideRows } from '../rollup/merge-rows.ts'
import type { RollupRows } from '../rollup/rollup-rows.ts'
import { QuantileSketch } from '../sketch/quantile-sketch.ts'
import { type InboxEntry, type Store, windowStart, windowWidthMs } from '../store/store.ts'
import { openEach, type Pacer } from './timeline-blocks.ts'

/** What one step of a fold takes on: as much of the inbox as can be done in a bounded time and memory, counted before it is done. */

/** Entries of one step: each is a block to open, and a few look-ups of its commit. */
export const STEP_ENTRIES_MAX = 4_096
/** Rollups that one step reads. A table of them takes some megabytes at each resolution. */
export const STEP_ROWS_MAX = 32_768
/** Windows that one step adds to, of all resolutions: each is a block, an index entry and a row of the store. */
export const STEP_WINDOWS_MAX = 1_024

export interface MetricSections {
  readonly metricId: Id64
  /** In arrival order. */
  readonly sections: RollupRows[]
}

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
  /** Whether there is more that could have been taken on. */
  readonly hasMore: boolean
  readonly byMetric: ReadonlyMap<string, MetricSections>
  /** What is left of the last entry, and the width of its buckets. */
  readonly left: readonly { readonly metricId: Id64; readonly rows: RollupRows }[]
  readonly baseMs: number
  readonly rows: number
  readonly windows: number
  readonly setAside: SetAside
}

export interface StepBounds {
  readonly bytesMax: number
  /** Widths of the stored buckets of a kind, finest first. */
  stepsOf(kind: RollupRows['kind']): readonly number[]
}

/**
 * The oldest entries of the inbox whose rollups and windows are within the bounds of a step. When the first one alone exceeds them, it
 * is divided: the step takes on its first windows, and the rest of it stays in its place. Undefined: the inbox is empty.
 */
export async function chooseWork(
  store: Store,
  partition: number,
  bounds: StepBounds,
  pacer: Pacer,
): Promise<StepWork | undefined> {
  const entries = await store.readInbox(partition, bounds.bytesMax, STEP_ENTRIES_MAX)
  if (entries.length === 0) return undefined
  const names = entries.map(({ block }) => block)
  const blocks = await openEach(store, partition, names, pacer)
  const census = new Census(bounds)
  const setAside = new SetAside()
  const byMetric = new Map<string, MetricSections>()
  let taken = 0
  let rows = 0
  let windows = 0
  for (const block of blocks) {
    const faults = new SetAside()
    const sections = soundSections(block, faults)
    for (const section of sections) census.add(section)
    await pacer.pause()
    if (census.rows > STEP_ROWS_MAX || census.windows > STEP_WINDOWS_MAX) {
      if (taken > 0) break
      const divided = divide(sections, bounds)
      return {
        ...divided,
        inbox: entries.slice(0, 1),
        hasMore: true,
        baseMs: resolutionOf(block),
        setAside: faults,
      }
    }
    setAside.add(faults)
    for (const section of sections) put(byMetric, section.metricId, section)
    taken++
    rows = census.rows
    windows = census.windows
  }
  const inbox = entries.slice(0, taken)
  return { inbox, hasMore: taken < entries.length, byMetric, left: [], baseMs: 0, rows, windows, setAside }
}

function resolutionOf(block: Block | BlockError): number {
  return block instanceof BlockError ? 0 : block.resolutionMs
}

function put(byMetric: Map<string, MetricSections>, metricId: Id64, rows: RollupRows): void {
  const id = formatId(metricId)
  const known = byMetric.get(id)
  if (known === undefined) byMetric.set(id, { metricId, sections: [rows] })
  else known.sections.push(rows)
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

/** Counts rollups, and the windows of every resolution that they lie in. */
class Census {
  readonly #bounds: StepBounds
  readonly #windows = new Map<string, readonly Set<number>[]>()
  rows = 0
  windows = 0

  constructor(bounds: StepBounds) {
    this.#bounds = bounds
  }

  add(section: MetricSection): void {
    const stepsMs = this.#bounds.stepsOf(section.kind)
    const { bucketMs, length } = section
    const widthMs = windowWidthMs(stepsMs[0]!)
    this.rows += length
    // Rows that follow one another mostly lie in one window.
    let fromMs = Number.POSITIVE_INFINITY
    for (let row = 0; row < length; row++) {
      const timeMs = bucketMs[row]!
      if (timeMs >= fromMs && timeMs < fromMs + widthMs) continue
      fromMs = windowStart(stepsMs[0]!, timeMs)
      this.addWindow(section, fromMs)
    }
  }

  /** Answers how many windows of all resolutions that are not counted yet hold this window of the finest. */
  addWindow({ metricId, kind }: MetricSection, timeMs: number): number {
    const stepsMs = this.#bounds.stepsOf(kind)
    const id = formatId(metricId)
    let ofMetric = this.#windows.get(id)
    if (ofMetric === undefined) this.#windows.set(id, (ofMetric = stepsMs.map(() => new Set())))
    let added = 0
    for (const [level, stepMs] of stepsMs.entries()) {
      const startMs = windowStart(stepMs, timeMs)
      if (ofMetric[level]!.has(startMs)) continue
      ofMetric[level]!.add(startMs)
      added++
    }
    this.windows += added
    return added
  }
}

type Divided = Pick<StepWork, 'byMetric' | 'left' | 'rows' | 'windows'>

/** The first metrics and windows of an entry that are within the bounds, at least some of one window. */
function divide(sections: readonly MetricSection[], bounds: StepBounds): Divided {
  const census = new Census(bounds)
  const byMetric = new Map<string, MetricSections>()
  const left: { metricId: Id64; rows: RollupRows }[] = []
  let isFull = false
  let windows = 0
  for (const section of sections) {
    const { metricId } = section
    if (isFull) {
      left.push({ metricId, rows: section })
      continue
    }
    const stepMs = bounds.stepsOf(section.kind)[0]!
    let endMs = Number.NEGATIVE_INFINITY
    for (const [startMs, rowsOfWindow] of rowsByWindow(section, stepMs)) {
      census.addWindow(section, startMs)
      isFull = census.windows > STEP_WINDOWS_MAX || census.rows + rowsOfWindow > STEP_ROWS_MAX
      if (isFull && census.rows > 0) break
      census.rows += rowsOfWindow
      windows = census.windows
      endMs = startMs + windowWidthMs(stepMs)
      if (isFull) break
    }
    if (!isFull) put(byMetric, metricId, section)
    else if (endMs === Number.NEGATIVE_INFINITY) left.push({ metricId, rows: section })
    else {
      // A window of a block of before there was a bound may hold more rollups than a step takes: it is divided by series.
      const share = Math.min(1, STEP_ROWS_MAX / census.rows)
      const seriesMax = Math.max(1, Math.floor(section.seriesCount * share))
      const { bucketMs } = section
      const [first, others] = divideRows(section, (series, row) => bucketMs[row]! < endMs && series < seriesMax)
      put(byMetric, metricId, first)
      if (others.length > 0) left.push({ metricId, rows: others })
    }
  }
  const rows = [...byMetric.values()].reduce((sum, { sections: [only] }) => sum + only!.length, 0)
  return { byMetric, left, rows, windows }
}

/** How many rollups lie in each window of the finest resolution, in order of time. */
function rowsByWindow({ bucketMs, length }: RollupRows, stepMs: number): readonly (readonly [number, number])[] {
  const counts = new Map<number, number>()
  for (let row = 0; row < length; row++) {
    const startMs = windowStart(stepMs, bucketMs[row]!)
    counts.set(startMs, (counts.get(startMs) ?? 0) + 1)
  }
  return [...counts].sort(([a], [b]) => a - b)
}
