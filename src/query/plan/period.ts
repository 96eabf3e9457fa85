import { isOnUtcGrid } from '../../model/bucket-grid.ts'
import { GatewayError } from '../../model/errors.ts'
import { compareIds } from '../../model/id.ts'
import { fixedInterval, type Interval } from '../../model/interval.ts'
import { DAY_MS, floorTo, formatDuration } from '../../model/time.ts'
import type { TimeZone } from '../../model/zone-offsets.ts'
import {
  type InboxEntry,
  type IndexEntry,
  type MetricRow,
  type Store,
  type Stretch,
  windowWidthMs,
} from '../../store/store.ts'
import { AUTO_BUCKETS_MAX, type Plan, type PlanRequest, plan, planStretch, type Read, type Timeline } from './plan.ts'
import type { IdRange } from './series-index.ts'

/** After a longer gap between running totals, the first total contributes no increase. */
export const SILENCE_MS_MAX = 7 * DAY_MS

/** A range of time of a query: its plan, and the blocks that the store lists for it. */
export interface Period {
  readonly plan: Plan
  /** One for each level. */
  readonly timelines: readonly Timeline[]
  /** The number of finest levels that were only read at the ends of the range. */
  readonly narrowed: number
  /** Additional reads that may hold the running total before the first one, for cumulative counters. */
  readonly lookback: readonly Read[]
  readonly inbox: readonly InboxEntry[]
  /** The listed blocks of each level. */
  readonly entries: readonly (readonly IndexEntry[])[]
  /** The blocks to read. */
  readonly listed: readonly ListedBlock[]
}

interface ListedBlock {
  readonly level: number
  readonly entry: IndexEntry
}

interface PeriodRequest {
  readonly fromMs: number
  readonly toMs: number
  /** Finest first. */
  readonly stepsMs: readonly number[]
  /** All bucket edges will be multiples of this. */
  readonly gridMs: number
  /** Ids of the series to read; undefined without any series. */
  readonly wanted: IdRange | undefined
  readonly makePlan: (timelines: readonly Timeline[]) => Plan
  /** Awaited before planning, to yield to the event loop. */
  readonly pause: () => Promise<void>
}

/** Reads the index for a range of time and plans the range. */
export async function planPeriod(
  store: Pick<Store, 'readIndex'>,
  metric: MetricRow,
  request: PeriodRequest,
): Promise<Period> {
  const { stepsMs, wanted } = request
  const stretches = stepsMs.map((_, level) => stretchesOf(request, level, metric.cumulative))
  const snapshot = await store.readIndex({
    partition: metric.partition,
    metricId: metric.metricId,
    timelines: stretches.flatMap((levelStretches, level) =>
      levelStretches.map((stretch) => ({ resolutionMs: stepsMs[level]!, stretch })),
    ),
    inbox: true,
  })
  const entries: (readonly IndexEntry[])[] = []
  const timelines: Timeline[] = []
  let next = 0
  for (const [level, { length }] of stretches.entries()) {
    const parts = snapshot.timelines.slice(next, (next += length))
    entries.push(parts.length === 1 ? parts[0]!.entries : distinct(parts.flatMap((part) => part.entries)))
    timelines.push({ stepMs: stepsMs[level]!, expired: parts.flatMap(({ expired }) => expired) })
  }
  await request.pause()
  const plan = request.makePlan(timelines)
  const lookback = metric.cumulative ? lookbackReads(plan, timelines) : []
  const narrowed = stretches.findIndex(({ length }) => length === 1)
  const listed = listedIn(entries, stepsMs, [...lookback, ...plan.reads], wanted)
  return { plan, timelines, narrowed, lookback, inbox: snapshot.inbox, entries, listed }
}

/** Both ends of a range may lie in the same window, whose entries are then listed twice. */
function distinct(entries: readonly IndexEntry[]): readonly IndexEntry[] {
  return [...new Map(entries.map((entry) => [entry.block, entry])).values()]
}

/**
 * The stretches in which buckets of a level may be read. The range is widened to the finest buckets kept at its ends.
 * Data of a level expires up to an edge of the next level, so a level is read at most one of its own buckets beyond the
 * range. Before the range, in the search for the last running total, a level fills the rest of a bucket of the next
 * level. If all bucket edges are edges of the next level too, a level fills only the ends of the range, and only those
 * are read.
 */
function stretchesOf({ fromMs, toMs, stepsMs, gridMs }: PeriodRequest, level: number, looksBack: boolean): Stretch[] {
  const stepMs = stepsMs[level]!
  const nextMs = stepsMs[level + 1]
  const endMs = floorTo(toMs, stepMs) + stepMs
  if (nextMs === undefined)
    return [{ fromMs: floorTo(looksBack ? fromMs - SILENCE_MS_MAX : fromMs, stepMs), toMs: endMs }]
  const startMs = floorTo(fromMs, nextMs)
  const tailMs = floorTo(toMs, nextMs)
  if (gridMs % nextMs !== 0) return [{ fromMs: startMs, toMs: endMs }]
  return [
    { fromMs: startMs, toMs: startMs + nextMs },
    { fromMs: Math.max(tailMs, startMs + nextMs), toMs: Math.max(endMs, startMs + nextMs) },
  ]
}

/** A number of which all bucket edges of an interval in a zone are multiples; 1 if none is known before planning. */
export function gridOf(
  interval: Interval,
  zone: TimeZone,
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
  stepsMs: readonly number[],
): number {
  if (interval.kind === 'fixed') return isOnUtcGrid(interval, zone) ? interval.ms : 1
  if (zone.name !== 'UTC') return 1
  if (interval.kind === 'calendar') return DAY_MS
  // No finer interval is chosen, and all coarser ones are multiples of this one or calendar units.
  const leastMs = stepsMs.find((stepMs) => toMs - fromMs <= stepMs * AUTO_BUCKETS_MAX) ?? DAY_MS
  return DAY_MS % leastMs === 0 ? leastMs : 1
}

export function rollupsOf(listed: readonly ListedBlock[]): number {
  return listed.reduce((sum, { entry }) => sum + entry.rollups, 0)
}

/** The finest stored step at which these periods would read at most `rollupsMax` rollups. */
export function fittingStep(
  periods: readonly Period[],
  request: Pick<PlanRequest, 'zone' | 'bucketsMax' | 'setting'>,
  wanted: IdRange | undefined,
  rollupsMax: number,
): string | undefined {
  const rollupsAt = (stepMs: number): number => {
    const interval = fixedInterval(stepMs)
    let rollups = 0
    for (const {
      plan: { fromMs, toMs },
      timelines,
      lookback,
      entries,
    } of periods) {
      const coarser = interval && completePlan(() => plan({ ...request, fromMs, toMs: toMs - 1, interval, timelines }))
      if (coarser === undefined) return Number.POSITIVE_INFINITY
      const stepsMs = timelines.map((timeline) => timeline.stepMs)
      rollups += rollupsOf(listedIn(entries, stepsMs, [...lookback, ...coarser.reads], wanted))
    }
    return rollups
  }
  // The narrowed levels are finer than the interval of the query and were not read from the index.
  const narrowed = Math.max(...periods.map((period) => period.narrowed))
  const step = periods[0]?.timelines.find(({ stepMs }, level) => level >= narrowed && rollupsAt(stepMs) <= rollupsMax)
  return step && formatDuration(step.stepMs)
}

/** Undefined if planning fails or a bucket is unavailable. */
function completePlan(makePlan: () => Plan): Plan | undefined {
  try {
    const made = makePlan()
    return made.unavailableCount === 0 ? made : undefined
  } catch (error) {
    if (error instanceof GatewayError) return undefined
    throw error
  }
}

/** The blocks that the reads need for series in a range of ids, in order of arrival within each level. */
function listedIn(
  entries: Period['entries'],
  stepsMs: readonly number[],
  reads: readonly Read[],
  wanted: IdRange | undefined,
): readonly ListedBlock[] {
  const listed: ListedBlock[] = []
  if (wanted === undefined) return listed
  for (const [level, resolutionMs] of stepsMs.entries()) {
    const levelReads = reads.filter((read) => read.level === level)
    if (levelReads.length === 0) continue
    const widthMs = windowWidthMs(resolutionMs)
    const needed = entries[level]!.filter(
      ({ windowMs, seriesFrom, seriesTo }) =>
        compareIds(seriesTo, wanted.from) >= 0 &&
        compareIds(seriesFrom, wanted.to) <= 0 &&
        levelReads.some((read) => read.fromMs < windowMs + widthMs && windowMs < read.toMs),
    )
    for (const entry of needed.sort((a, b) => a.order - b.order)) listed.push({ level, entry })
  }
  return listed
}

/** Reads of the time before the range and of unavailable stretches in it, as far as kept data can fill them. */
function lookbackReads({ fromMs, toMs, edges, unavailable }: Plan, timelines: readonly Timeline[]): readonly Read[] {
  const coarsestMs = timelines[timelines.length - 1]!.stepMs
  const backMs = floorTo(fromMs - SILENCE_MS_MAX, coarsestMs)
  const reads = [...(planStretch({ fromMs: backMs, toMs: fromMs }, timelines) ?? [])]
  for (let start = unavailable.indexOf(1); start >= 0; ) {
    const next = unavailable.indexOf(0, start)
    const end = next < 0 ? unavailable.length : next
    const gap = { fromMs: Math.max(fromMs, edges[start]!), toMs: Math.min(toMs, edges[end]!) }
    for (const read of planStretch(gap, timelines) ?? []) reads.push(read)
    start = next < 0 ? -1 : unavailable.indexOf(1, next)
  }
  return reads
}
