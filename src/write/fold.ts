import { randomBytes } from 'node:crypto'
import { formatId, type Id64 } from '../model/id.ts'
import { type EncodedBlock, encodeBlocks, openBlock } from '../rollup/block.ts'
import type { RollupRows } from '../rollup/rollup-rows.ts'
import { mergeRows, splitByWindow } from '../rollup/rollup-table.ts'
import {
  type FoldCommit,
  type InboxEntry,
  type IndexEntry,
  type NamedBlock,
  type Store,
  type Stretch,
  type TimelineIndex,
  type TimelineKey,
  type WindowKey,
  type WindowTouch,
  windowStart,
  windowWidthMs,
} from '../store/store.ts'

/** A stored bucket width and how long a window of it is kept after its last write. */
export interface Resolution {
  readonly stepMs: number
  readonly keptMs: number
}

export interface FoldSettings {
  /** Finest first; each step a multiple of the one before, none kept shorter than it. */
  readonly resolutions: readonly Resolution[]
  /** The same for sets. */
  readonly setResolutions: readonly Resolution[]
  /** Inbox bytes that one step takes on. */
  readonly stepBytesMax: number
}

export interface FoldStep {
  readonly entries: number
  readonly bytes: number
  readonly bytesWritten: number
  readonly touched: readonly WindowTouch[]
}

/**
 * Where the blocks of a timeline are cut. A query of one series reads one block of each run, so a block should not hold many
 * series; a query of all reads every block, so there should not be many blocks. 8,192 rollups are the windows of some
 * twenty series.
 */
const TIMELINE_BLOCK = { bytesMax: 1 << 17, rowsMax: 8_192 } as const

/**
 * Moves the oldest part of a partition's inbox into the timelines of every resolution, in one atomic commit: a query sees each
 * rollup either in the inbox or in the timelines, never in both and never in neither.
 *
 * A rollup does not enter a resolution whose window has expired there: that window would look complete while it holds a
 * late point alone. It enters the coarser ones, which still hold the rest.
 *
 * Undefined: nothing to do, or another fold was faster.
 */
export async function foldInbox(
  store: Store,
  partition: number,
  settings: FoldSettings,
  nowMs: number,
): Promise<FoldStep | undefined> {
  const inbox = await store.readInbox(partition, settings.stepBytesMax)
  if (inbox.length === 0) return undefined
  const byMetric = await readSections(store, partition, inbox)
  if (byMetric === undefined) return undefined
  const order = inbox[inbox.length - 1]!.order
  const blocks: NamedBlock[] = []
  const added: { timeline: TimelineKey; entry: IndexEntry }[] = []
  const touched: WindowTouch[] = []
  for (const { metricId, sections } of byMetric.values()) {
    const resolutions = sections[0]!.kind === 'set' ? settings.setResolutions : settings.resolutions
    const base = mergeRows(sections, resolutions[0]!.stepMs)
    const stretch = bucketRange(base)
    const { timelines } = await store.readIndex({
      partition,
      metricId,
      inbox: false,
      timelines: resolutions.map(({ stepMs }) => ({ resolutionMs: stepMs, stretch: windowsOf(stepMs, stretch) })),
    })
    let rows: RollupRows = base
    for (const [i, { stepMs, keptMs }] of resolutions.entries()) {
      if (i > 0) rows = mergeRows([rows], stepMs)
      for (const [windowMs, ofWindow] of splitByWindow(rows, windowWidthMs(stepMs))) {
        if (isExpired(timelines[i]!, windowMs)) continue
        const timeline = { metricId, resolutionMs: stepMs }
        for (const encoded of encodeBlocks(stepMs, metricId, ofWindow, TIMELINE_BLOCK)) {
          const block = nameBlock(encoded)
          blocks.push(block)
          added.push({ timeline, entry: indexEntry(block, encoded, windowMs, 0, order) })
        }
        touched.push({ ...timeline, windowMs, expiresMs: nowMs + keptMs })
      }
    }
  }
  await store.writeBlocks(partition, blocks, nowMs)
  const folded = await store.commitFold({ partition, inbox, removed: [], added, touched, nowMs })
  if (!folded) return undefined
  const bytes = inbox.reduce((sum, entry) => sum + entry.scalarBytes + entry.sketchBytes, 0)
  return { entries: inbox.length, bytes, bytesWritten: blocksBytes(blocks), touched }
}

interface MetricSections {
  readonly metricId: Id64
  readonly sections: RollupRows[]
}

/** The sections of each metric in arrival order; undefined when a block is gone, because another fold took it. */
async function readSections(
  store: Store,
  partition: number,
  inbox: readonly InboxEntry[],
): Promise<ReadonlyMap<string, MetricSections> | undefined> {
  const names = inbox.map(({ block }) => block)
  const [scalars, sketches] = await Promise.all([
    store.readBlocks(partition, names, 'scalars'),
    store.readBlocks(partition, names, 'sketches'),
  ])
  const byMetric = new Map<string, MetricSections>()
  for (const [i, name] of names.entries()) {
    const bytes = scalars[i]
    if (bytes === undefined) return undefined
    const block = openBlock(name, bytes)
    const bins = sketches[i]
    if (bins !== undefined) block.attachSketches(bins)
    for (const section of block.sections) {
      const id = formatId(section.metricId)
      const known = byMetric.get(id)
      if (known === undefined) byMetric.set(id, { metricId: section.metricId, sections: [section] })
      else known.sections.push(section)
    }
  }
  return byMetric
}

/** Eight neighbouring runs of one tier become one run of the next. */
export const RUNS_PER_TIER = 8

/** The tier of a window merged whole: no run is added to it but by merging it whole again. */
export const SEALED_TIER = 255

export interface MergeStep {
  readonly bytesRead: number
  readonly bytesWritten: number
}

/**
 * Merges runs of a window that have piled up: eight of one tier into the next, so that a rollup is rewritten about log8 of the
 * number of folds times. `whole` merges every run and deflates the result, for a window that gets no more points.
 * Undefined: nothing to merge, or the window changed meanwhile.
 */
export async function mergeWindow(
  store: Store,
  partition: number,
  window: WindowKey,
  options: { readonly whole: boolean; readonly nowMs: number },
): Promise<MergeStep | undefined> {
  const { metricId, resolutionMs, windowMs } = window
  const { timelines } = await store.readIndex({
    partition,
    metricId,
    inbox: false,
    timelines: [{ resolutionMs, stretch: { fromMs: windowMs, toMs: windowMs + windowWidthMs(resolutionMs) } }],
  })
  const runs = runsOf(timelines[0]!.entries.filter((entry) => entry.windowMs === windowMs))
  const chosen = options.whole ? wholeWindow(runs) : pileOf(runs)
  if (chosen === undefined) return undefined
  const entries = chosen.runs.flatMap((run) => run.entries)
  const order = Math.max(...chosen.runs.map((run) => run.order))
  const timeline = { metricId, resolutionMs }
  const added: FoldCommit['added'][number][] = []
  let bytesWritten = 0
  for (const range of seriesRanges(chosen.runs)) {
    const sections = await readRange(store, partition, chosen.runs, metricId, range)
    if (sections === undefined) return undefined
    const rows = mergeRows(sections, resolutionMs, range)
    if (rows.length === 0) continue
    const encodedBlocks = encodeBlocks(resolutionMs, metricId, rows, {
      deflate: options.whole,
      ...TIMELINE_BLOCK,
    })
    const blocks = encodedBlocks.map(nameBlock)
    await store.writeBlocks(partition, blocks, options.nowMs)
    for (const [i, block] of blocks.entries()) {
      added.push({ timeline, entry: indexEntry(block, encodedBlocks[i]!, windowMs, chosen.tier, order) })
    }
    bytesWritten += blocksBytes(blocks)
    // Requests go first: a large window is merged in many turns of the event loop.
    await new Promise(setImmediate)
  }
  const merged = await store.commitFold({
    partition,
    inbox: [],
    removed: entries.map((entry) => ({ timeline, entry })),
    added,
    touched: [],
    nowMs: options.nowMs,
  })
  const bytesRead = entries.reduce((sum, entry) => sum + entry.scalarBytes + entry.sketchBytes, 0)
  return merged ? { bytesRead, bytesWritten } : undefined
}

interface Run {
  readonly tier: number
  readonly order: number
  readonly entries: readonly IndexEntry[]
}

/** Runs in arrival order, each with its blocks by series. */
function runsOf(entries: readonly IndexEntry[]): Run[] {
  const byOrder = new Map<number, IndexEntry[]>()
  for (const entry of entries) {
    const run = byOrder.get(entry.order)
    if (run === undefined) byOrder.set(entry.order, [entry])
    else run.push(entry)
  }
  return [...byOrder]
    .sort(([a], [b]) => a - b)
    .map(([order, ofRun]) => ({ order, tier: ofRun[0]!.tier, entries: ofRun }))
}

/** The first eight neighbours of one tier. */
function pileOf(runs: readonly Run[]): { runs: readonly Run[]; tier: number } | undefined {
  for (let end = RUNS_PER_TIER; end <= runs.length; end++) {
    const pile = runs.slice(end - RUNS_PER_TIER, end)
    const { tier } = pile[0]!
    if (tier !== SEALED_TIER && pile.every((run) => run.tier === tier)) return { runs: pile, tier: tier + 1 }
  }
  return undefined
}

function wholeWindow(runs: readonly Run[]): { runs: readonly Run[]; tier: number } | undefined {
  if (runs.length === 0 || (runs.length === 1 && runs[0]!.tier === SEALED_TIER)) return undefined
  return { runs, tier: SEALED_TIER }
}

interface SeriesRange {
  readonly seriesFrom: Id64
  readonly seriesTo: Id64
}

/** Series ranges, ascending and disjoint, that a merge takes one at a time: cut where the blocks of the largest run end. */
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

/** What the runs hold of a series range, in arrival order; undefined when a block is gone. */
async function readRange(
  store: Store,
  partition: number,
  runs: readonly Run[],
  metricId: Id64,
  { seriesFrom, seriesTo }: SeriesRange,
): Promise<RollupRows[] | undefined> {
  const from = formatId(seriesFrom)
  const to = formatId(seriesTo)
  const names = runs
    .flatMap((run) => run.entries)
    .filter((entry) => formatId(entry.seriesTo) >= from && formatId(entry.seriesFrom) <= to)
    .map(({ block }) => block)
  const [scalars, sketches] = await Promise.all([
    store.readBlocks(partition, names, 'scalars'),
    store.readBlocks(partition, names, 'sketches'),
  ])
  const sections: RollupRows[] = []
  for (const [i, name] of names.entries()) {
    const bytes = scalars[i]
    if (bytes === undefined) return undefined
    const block = openBlock(name, bytes)
    const bins = sketches[i]
    if (bins !== undefined) block.attachSketches(bins)
    const section = block.section(metricId)
    if (section !== undefined) sections.push(section)
  }
  return sections
}

/** Block names of this process: unique by their random part. */
const namePrefix = `f${randomBytes(12).toString('hex')}`
let named = 0

function nameBlock({ scalars, sketches }: EncodedBlock): NamedBlock {
  return { name: `${namePrefix}.${(named++).toString(36)}`, scalars, sketches }
}

function indexEntry(
  { name }: NamedBlock,
  encoded: EncodedBlock,
  windowMs: number,
  tier: number,
  order: number,
): IndexEntry {
  const { scalars, sketches, rollups, seriesFrom, seriesTo } = encoded
  const sketchBytes = sketches?.length ?? 0
  return { block: name, windowMs, tier, order, seriesFrom, seriesTo, rollups, scalarBytes: scalars.length, sketchBytes }
}

function blocksBytes(blocks: readonly NamedBlock[]): number {
  return blocks.reduce((sum, { scalars, sketches }) => sum + scalars.length + (sketches?.length ?? 0), 0)
}

function bucketRange(rows: RollupRows): Stretch {
  let fromMs = Number.POSITIVE_INFINITY
  let toMs = Number.NEGATIVE_INFINITY
  for (let row = 0; row < rows.length; row++) {
    const bucketMs = rows.bucketMs[row]!
    if (bucketMs < fromMs) fromMs = bucketMs
    if (bucketMs > toMs) toMs = bucketMs
  }
  return { fromMs, toMs: toMs + 1 }
}

function windowsOf(resolutionMs: number, { fromMs, toMs }: Stretch): Stretch {
  return {
    fromMs: windowStart(resolutionMs, fromMs),
    toMs: windowStart(resolutionMs, toMs - 1) + windowWidthMs(resolutionMs),
  }
}

function isExpired({ expired }: TimelineIndex, windowMs: number): boolean {
  return expired.some(({ fromMs, toMs }) => fromMs <= windowMs && windowMs < toMs)
}
