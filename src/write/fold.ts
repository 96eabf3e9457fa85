import { formatId, type Id64 } from '../model/id.ts'
import { mergeRows, splitByWindow } from '../rollup/merge-rows.ts'
import type { RollupRows } from '../rollup/rollup-rows.ts'
import {
  type InboxEntry,
  type Store,
  type Stretch,
  type TimelineIndex,
  type WindowTouch,
  windowStart,
  windowWidthMs,
} from '../store/store.ts'
import { bytesOf, encodeRun, openBlocks, Pacer, type TimelineBlock } from './timeline-blocks.ts'

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

/** Metrics that one step takes on, but for those of its first inbox block. */
const STEP_METRICS_MAX = 512

export interface FoldStep {
  readonly entries: number
  readonly bytes: number
  readonly bytesWritten: number
  readonly touched: readonly WindowTouch[]
}

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
  const read = await readSections(store, partition, await store.readInbox(partition, settings.stepBytesMax))
  if (read === undefined) return undefined
  const { inbox, byMetric } = read
  const order = inbox[inbox.length - 1]!.order
  const run = { tier: 0, order, deflate: false }
  const written: TimelineBlock[] = []
  const pacer = new Pacer()
  const touched: WindowTouch[] = []
  for (const { metricId, sections } of byMetric.values()) {
    const resolutions = sections[0]!.kind === 'set' ? settings.setResolutions : settings.resolutions
    const base = mergeRows(sections, resolutions[0]!.stepMs)
    const stretch = bucketRange(base)
    const { timelines } = await store.readIndex({
      partition,
      metricId,
      inbox: false,
      expiredOnly: true,
      timelines: resolutions.map(({ stepMs }) => ({ resolutionMs: stepMs, stretch: windowsOf(stepMs, stretch) })),
    })
    let rows: RollupRows = base
    for (const [i, { stepMs, keptMs }] of resolutions.entries()) {
      if (i > 0) rows = mergeRows([rows], stepMs, { isCoarse: true })
      for (const [windowMs, ofWindow] of splitByWindow(rows, windowWidthMs(stepMs))) {
        if (isExpired(timelines[i]!, windowMs)) continue
        const window = { metricId, resolutionMs: stepMs, windowMs }
        written.push(...encodeRun(window, ofWindow, run))
        touched.push({ ...window, expiresMs: nowMs + keptMs })
        await pacer.pause()
      }
    }
  }
  await store.writeBlocks(
    partition,
    written.map(({ block }) => block),
    nowMs,
  )
  const added = written.map((block) => block.added)
  const folded = await store.commitFold({ partition, inbox, removed: [], added, touched, nowMs })
  if (!folded) return undefined
  const bytes = inbox.reduce((sum, entry) => sum + entry.scalarBytes + entry.sketchBytes, 0)
  return { entries: inbox.length, bytes, bytesWritten: bytesOf(written), touched }
}

interface MetricSections {
  readonly metricId: Id64
  readonly sections: RollupRows[]
}

interface ReadInbox {
  /** Those of the entries that the step takes on. */
  readonly inbox: readonly InboxEntry[]
  /** Sections of each metric in arrival order. */
  readonly byMetric: ReadonlyMap<string, MetricSections>
}

/**
 * The oldest of these entries, as many as one step may take on: every metric in them is written at every resolution, however
 * little of it there is. Undefined: there is none, or a block is gone, because another fold took it.
 */
async function readSections(
  store: Store,
  partition: number,
  entries: readonly InboxEntry[],
): Promise<ReadInbox | undefined> {
  const names = entries.map(({ block }) => block)
  const blocks = await openBlocks(store, partition, names)
  if (blocks === undefined || blocks.length === 0) return undefined
  const byMetric = new Map<string, MetricSections>()
  let taken = 0
  for (const { sections } of blocks) {
    if (taken > 0 && byMetric.size + sections.length > STEP_METRICS_MAX) break
    for (const section of sections) {
      const id = formatId(section.metricId)
      const known = byMetric.get(id)
      if (known === undefined) byMetric.set(id, { metricId: section.metricId, sections: [section] })
      else known.sections.push(section)
    }
    taken++
  }
  return { inbox: entries.slice(0, taken), byMetric }
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
