import type { RollupKind } from '../../model/metric.ts'
import { Pacer } from '../../model/pacer.ts'
import { mergeRows, splitByWindow } from '../../rollup/merge-rows.ts'
import type { RollupRows } from '../../rollup/rollup-rows.ts'
import {
  type Store,
  type Stretch,
  type TimelineIndex,
  type WindowKey,
  type WindowTouch,
  windowStart,
  windowWidthMs,
} from '../../store/store.ts'
import { chooseWork, type SetAside, type StepMetric } from './fold-step.ts'
import { blockBytes, bytesOf, encodeInboxBlock, encodeRun, type TimelineBlock } from './timeline-blocks.ts'

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

/** Inbox bytes of one fold step. Within a step the fold yields to requests. */
export const FOLD_STEP_BYTES_MAX = 1_048_576

export interface FoldStep {
  readonly entries: number
  readonly bytes: number
  readonly bytesWritten: number
  /** Rollups read, and windows of all resolutions added to: what a step is bounded in. */
  readonly rows: number
  readonly windows: number
  /** The inbox holds more that was there when the step began. */
  readonly hasMore: boolean
  readonly touched: readonly WindowTouch[]
  readonly setAside: SetAside
}

/**
 * Moves the oldest part of a partition's inbox into the timelines of every resolution, in one atomic commit: a query sees each
 * rollup either in the inbox or in the timelines, never in both and never in neither.
 *
 * A rollup does not enter a resolution whose window has expired there: that window would look complete while it holds a
 * late point alone. It enters the coarser ones, which still hold the rest.
 *
 * What cannot be read or written is left out, and told: nothing of one metric holds up another.
 *
 * Undefined: nothing to do, or another fold was faster.
 */
export async function foldInbox(
  store: Store,
  partition: number,
  settings: FoldSettings,
  nowMs: number,
): Promise<FoldStep | undefined> {
  const pacer = new Pacer()
  const resolutionsOf = (kind: RollupKind) => (kind === 'set' ? settings.setResolutions : settings.resolutions)
  const work = await chooseWork(
    store,
    partition,
    { bytesMax: settings.stepBytesMax, stepsOf: (kind) => resolutionsOf(kind).map(({ stepMs }) => stepMs) },
    pacer,
  )
  if (work === undefined) return undefined
  const { inbox, rows, windows, hasMore, setAside } = work
  const written: TimelineBlock[] = []
  const touched: WindowTouch[] = []
  for (const metric of work.metrics) {
    const folded = await foldMetric(store, partition, metric, resolutionsOf(metric.kind), setAside, pacer)
    for (const { window, keptMs, blocks } of folded) {
      for (const block of blocks) written.push(block)
      touched.push({ ...window, expiresMs: nowMs + keptMs })
    }
  }
  const left = work.left.map(({ entry, resolutionMs, metrics }) => {
    return { entry, block: encodeInboxBlock(resolutionMs, metrics) }
  })
  const blocks = [...written, ...left].map(({ block }) => block)
  await store.writeBlocks(partition, blocks, nowMs)
  const added = written.map((block) => block.added)
  if (!(await store.commitFold({ partition, inbox, left, removed: [], added, touched, nowMs }))) return undefined
  const inboxBytes = inbox.reduce((sum, entry) => sum + entry.scalarBytes + entry.sketchBytes, 0)
  const bytes = left.reduce((sum, { block }) => sum - blockBytes(block), inboxBytes)
  const entries = inbox.length - left.length
  return { entries, bytes, bytesWritten: bytesOf(written), rows, windows, hasMore, touched, setAside }
}

interface FoldedWindow {
  readonly window: WindowKey
  readonly keptMs: number
  readonly blocks: readonly TimelineBlock[]
}

/** The rollups of a metric at every resolution, by window. */
async function foldMetric(
  store: Store,
  partition: number,
  { metricId, sections, order }: StepMetric,
  resolutions: readonly Resolution[],
  setAside: SetAside,
  pacer: Pacer,
): Promise<readonly FoldedWindow[]> {
  const run = { tier: 0, order, deflate: false }
  const leaveOut = (rows: number, cause: unknown): void => {
    setAside.rows += rows
    setAside.causes.push(cause)
  }
  const base = merged(sections, resolutions[0]!.stepMs, false, leaveOut)
  if (base === undefined) return []
  const stretch = bucketRange(base)
  const { timelines } = await store.readIndex({
    partition,
    metricId,
    inbox: false,
    expiredOnly: true,
    timelines: resolutions.map(({ stepMs }) => ({ resolutionMs: stepMs, stretch: windowsOf(stepMs, stretch) })),
  })
  const folded: FoldedWindow[] = []
  let rows: RollupRows | undefined = base
  for (const [i, { stepMs, keptMs }] of resolutions.entries()) {
    if (i > 0) rows = merged([rows], stepMs, true, leaveOut)
    if (rows === undefined) break
    for (const [windowMs, ofWindow] of splitByWindow(rows, windowWidthMs(stepMs))) {
      if (isExpired(timelines[i]!, windowMs)) continue
      const window = { metricId, resolutionMs: stepMs, windowMs }
      const blocks = encodeRun(window, ofWindow, run, (_, cause) => leaveOut(1, cause))
      if (blocks.length > 0) folded.push({ window, keptMs, blocks })
      await pacer.pause()
    }
  }
  return folded
}

function merged(
  sources: readonly RollupRows[],
  stepMs: number,
  isCoarse: boolean,
  leaveOut: (rows: number, cause: unknown) => void,
): RollupRows | undefined {
  try {
    return mergeRows(sources, stepMs, { isCoarse })
  } catch (cause) {
    const rows = sources.reduce((sum, { length }) => sum + length, 0)
    leaveOut(rows, cause)
    return undefined
  }
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
