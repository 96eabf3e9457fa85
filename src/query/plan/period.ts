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

/** Maximum gap between two running totals of a series. After a longer gap, the first total adds no increase. */
export const SILENCE_MS_MAX = 7 * DAY_MS

/** The plan of a range of time, and the blocks that the store lists for the range. */
export interface Period {
  readonly plan: Plan
  /** The timelines of the metric, by level: finest resolution first. */
  readonly timelines: readonly Timeline[]
  /** Number of levels, from the finest on, whose index was read only at the ends of the range. */
  readonly levelsReadAtEnds: number
  /**
   * Reads for cumulative counters, outside of the plan: they may find the running total before the first one in the
   * range.
   */
  readonly lookback: readonly Read[]
  readonly inbox: readonly InboxEntry[]
  /** All blocks in the index snapshot, by level. */
  readonly entries: readonly (readonly IndexEntry[])[]
  /** The blocks that the query reads. */
  readonly listed: readonly ListedBlock[]
}

interface ListedBlock {
  readonly level: number
  readonly entry: IndexEntry
}

interface PeriodRequest {
  readonly fromMs: number
  readonly toMs: number
  /** Widths of the stored buckets, finest first. */
  readonly stepsMs: readonly number[]
  /** Every edge of a result bucket is a multiple of this. */
  readonly gridMs: number
  /** Range of the ids of matching series; undefined if no series match. */
  readonly idRange: IdRange | undefined
  readonly makePlan: (timelines: readonly Timeline[]) => Plan
  /** Awaited before planning, so that the event loop runs. */
  readonly pause: () => Promise<void>
}

/** Reads the index of a range from the store and plans the range. */
export async function planPeriod(
  store: Pick<Store, 'readIndex'>,
  metric: MetricRow,
  request: PeriodRequest,
): Promise<Period> {
  const { stepsMs, idRange } = request
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
    entries.push(parts.length === 1 ? parts[0]!.entries : uniqueEntries(parts.flatMap((part) => part.entries)))
    timelines.push({ stepMs: stepsMs[level]!, expired: parts.flatMap(({ expired }) => expired) })
  }
  await request.pause()
  const plan = request.makePlan(timelines)
  const lookback = metric.cumulative ? lookbackReads(plan, timelines) : []
  const levelsReadAtEnds = stretches.findIndex(({ length }) => length === 1)
  const listed = listedIn(entries, stepsMs, [...lookback, ...plan.reads], idRange)
  return { plan, timelines, levelsReadAtEnds, lookback, inbox: snapshot.inbox, entries, listed }
}

/** Removes entries that are listed twice, because both ends of the range lie in their window. */
function uniqueEntries(entries: readonly IndexEntry[]): readonly IndexEntry[] {
  return [...new Map(entries.map((entry) => [entry.block, entry])).values()]
}

/**
 * The stretches in which a query may read buckets of a level. The range is widened to the finest buckets kept at its
 * ends. Data of a level expires up to an edge of the next coarser level, so reads go at most one bucket of the level
 * beyond the range. Before the range, the search for the last running total reads a level up to an edge of the next
 * level. If all result edges are also edges of the next level, a level is needed only at the ends of the range, and
 * only the ends are listed.
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

/** A divisor of all edges of result buckets, as large as is known before planning; 1 if none is known. */
export function gridOf(
  interval: Interval,
  zone: TimeZone,
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
  stepsMs: readonly number[],
): number {
  if (interval.kind === 'fixed') return isOnUtcGrid(interval, zone) ? interval.ms : 1
  if (zone.name !== 'UTC') return 1
  if (interval.kind === 'calendar') return DAY_MS
  // `auto` chooses no finer interval than this step. All coarser ones are multiples of it, or calendar units.
  const leastMs = stepsMs.find((stepMs) => toMs - fromMs <= stepMs * AUTO_BUCKETS_MAX) ?? DAY_MS
  return DAY_MS % leastMs === 0 ? leastMs : 1
}

export function rollupsOf(listed: readonly ListedBlock[]): number {
  return listed.reduce((sum, { entry }) => sum + entry.rollupCount, 0)
}

/** The finest stored step that, taken as interval, reads at most `rollupsMax` rollups. Undefined if there is none. */
export function fittingStep(
  periods: readonly Period[],
  request: Pick<PlanRequest, 'zone' | 'bucketsMax' | 'setting'>,
  idRange: IdRange | undefined,
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
      rollups += rollupsOf(listedIn(entries, stepsMs, [...lookback, ...coarser.reads], idRange))
    }
    return rollups
  }
  // Levels that were read only at the ends are skipped: they are finer than the interval of the query.
  const levelsReadAtEnds = Math.max(...periods.map((period) => period.levelsReadAtEnds))
  const step = periods[0]?.timelines.find(
    ({ stepMs }, level) => level >= levelsReadAtEnds && rollupsAt(stepMs) <= rollupsMax,
  )
  return step && formatDuration(step.stepMs)
}

/** Returns a plan without unavailable buckets, or undefined. */
function completePlan(makePlan: () => Plan): Plan | undefined {
  try {
    const made = makePlan()
    return made.unavailableCount === 0 ? made : undefined
  } catch (error) {
    if (error instanceof GatewayError) return undefined
    throw error
  }
}

/**
 * The blocks that contain data of these reads and of series within `idRange`. Sorted by level, then by order of
 * arrival.
 */
function listedIn(
  entries: Period['entries'],
  stepsMs: readonly number[],
  reads: readonly Read[],
  idRange: IdRange | undefined,
): readonly ListedBlock[] {
  const listed: ListedBlock[] = []
  if (idRange === undefined) return listed
  for (const [level, resolutionMs] of stepsMs.entries()) {
    const levelReads = reads.filter((read) => read.level === level)
    if (levelReads.length === 0) continue
    const widthMs = windowWidthMs(resolutionMs)
    const needed = entries[level]!.filter(
      ({ windowMs, seriesFrom, seriesTo }) =>
        compareIds(seriesTo, idRange.from) >= 0 &&
        compareIds(seriesFrom, idRange.to) <= 0 &&
        levelReads.some((read) => read.fromMs < windowMs + widthMs && windowMs < read.toMs),
    )
    for (const entry of needed.sort((a, b) => a.order - b.order)) listed.push({ level, entry })
  }
  return listed
}

/** Reads before the range and in its unavailable buckets, as far as the stored buckets still kept cover them. */
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
