import { lieInUtc } from '../../model/bucket-grid.ts'
import { GatewayError } from '../../model/errors.ts'
import { compareIds } from '../../model/id.ts'
import { fixedInterval, type Interval } from '../../model/interval.ts'
import { DAY_MS, formatDuration } from '../../model/time.ts'
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

/** A running total further back says nothing about an increase. */
export const SILENCE_MS_MAX = 7 * DAY_MS

/** A range of time of a query: how its buckets lie, and what the store lists for it. */
export interface Period {
  readonly plan: Plan
  /** By level. */
  readonly timelines: readonly Timeline[]
  /** Levels, the finest first, of which only the ends of the range were asked for. */
  readonly narrowed: number
  /** Where the running total before the first of a cumulative counter may lie. */
  readonly lookback: readonly Read[]
  readonly inbox: readonly InboxEntry[]
  /** By level. */
  readonly entries: readonly (readonly IndexEntry[])[]
  readonly listed: readonly ListedBlock[]
}

export interface ListedBlock {
  readonly level: number
  readonly entry: IndexEntry
}

export interface LookUp {
  readonly fromMs: number
  readonly toMs: number
  /** Finest first. */
  readonly stepsMs: readonly number[]
  /** Every edge of the buckets will be a multiple of this. */
  readonly gridMs: number
  /** Undefined when there is no series. */
  readonly wanted: IdRange | undefined
  readonly planned: (timelines: readonly Timeline[]) => Plan
  /** Awaited before planning. */
  readonly turn: () => Promise<void>
}

/** Asks the index about a range of time and plans it. */
export async function lookUp(store: Pick<Store, 'readIndex'>, metric: MetricRow, asked: LookUp): Promise<Period> {
  const { stepsMs, wanted } = asked
  const stretches = stepsMs.map((_, level) => stretchesOf(asked, level, metric.cumulative))
  const snapshot = await store.readIndex({
    partition: metric.partition,
    metricId: metric.metricId,
    timelines: stretches.flatMap((ofLevel, level) =>
      ofLevel.map((stretch) => ({ resolutionMs: stepsMs[level]!, stretch })),
    ),
    inbox: true,
  })
  const entries: (readonly IndexEntry[])[] = []
  const timelines: Timeline[] = []
  let next = 0
  for (const [level, ofLevel] of stretches.entries()) {
    const parts = snapshot.timelines.slice(next, (next += ofLevel.length))
    entries.push(parts.length === 1 ? parts[0]!.entries : distinct(parts.flatMap((part) => part.entries)))
    timelines.push({ stepMs: stepsMs[level]!, expired: parts.flatMap(({ expired }) => expired) })
  }
  await asked.turn()
  const plan = asked.planned(timelines)
  const lookback = metric.cumulative ? lookbackReads(plan, timelines) : []
  const narrowed = stretches.findIndex((ofLevel) => ofLevel.length === 1)
  const listed = listedIn(entries, stepsMs, [...lookback, ...plan.reads], wanted)
  return { plan, timelines, narrowed, lookback, inbox: snapshot.inbox, entries, listed }
}

/** Both ends of a range may lie in one window. */
function distinct(entries: readonly IndexEntry[]): readonly IndexEntry[] {
  return [...new Map(entries.map((entry) => [entry.block, entry])).values()]
}

/**
 * Where buckets of a level may be read. The range is widened to the finest buckets kept at its ends, and what one level has let go
 * ends where a bucket of the next one does, so a level is read no further outside of the range than its own bucket reaches. Before
 * the range, where the last running total is looked for, a level fills what is left of a bucket of the next one. Where all
 * edges are edges of the next level too, it fills nothing else but the ends of the range, and these alone are asked for.
 */
function stretchesOf({ fromMs, toMs, stepsMs, gridMs }: LookUp, level: number, looksBack: boolean): Stretch[] {
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

function floorTo(timeMs: number, stepMs: number): number {
  return Math.floor(timeMs / stepMs) * stepMs
}

/** A number of which all bucket edges of an interval in a zone are multiples, as far as can be told before it is planned. */
export function gridOf(
  interval: Interval,
  zone: TimeZone,
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
  stepsMs: readonly number[],
): number {
  if (interval.kind === 'fixed') return lieInUtc(interval, zone) ? interval.ms : 1
  if (zone.name !== 'UTC') return 1
  if (interval.kind === 'calendar') return DAY_MS
  // With more buckets than that an interval is not chosen; all others are multiples of it, or units of the calendar.
  const leastMs = stepsMs.find((stepMs) => toMs - fromMs <= stepMs * AUTO_BUCKETS_MAX) ?? DAY_MS
  return DAY_MS % leastMs === 0 ? leastMs : 1
}

export function rollupsOf(listed: readonly ListedBlock[]): number {
  return listed.reduce((sum, { entry }) => sum + entry.rollups, 0)
}

/** The finest stored step with which these periods would have no more than so many rollups to read. */
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
      const coarser = interval && answerable(() => plan({ ...request, fromMs, toMs: toMs - 1, interval, timelines }))
      if (coarser === undefined) return Number.POSITIVE_INFINITY
      const stepsMs = timelines.map((timeline) => timeline.stepMs)
      rollups += rollupsOf(listedIn(entries, stepsMs, [...lookback, ...coarser.reads], wanted))
    }
    return rollups
  }
  // Below the interval asked for the index was not asked, and finer buckets would not help.
  const narrowed = Math.max(...periods.map((period) => period.narrowed))
  const step = periods[0]?.timelines.find(({ stepMs }, level) => level >= narrowed && rollupsAt(stepMs) <= rollupsMax)
  return step && formatDuration(step.stepMs)
}

/** Undefined where a plan is refused or leaves out buckets. */
function answerable(planned: () => Plan): Plan | undefined {
  try {
    const complete = planned()
    return complete.unavailableCount === 0 ? complete : undefined
  } catch (error) {
    if (error instanceof GatewayError) return undefined
    throw error
  }
}

/** The blocks of the timelines that the reads need for series in a range of ids, in order of arrival within each level. */
function listedIn(
  entries: Period['entries'],
  stepsMs: readonly number[],
  reads: readonly Read[],
  wanted: IdRange | undefined,
): readonly ListedBlock[] {
  const listed: ListedBlock[] = []
  if (wanted === undefined) return listed
  for (const [level, resolutionMs] of stepsMs.entries()) {
    const ofLevel = reads.filter((read) => read.level === level)
    if (ofLevel.length === 0) continue
    const widthMs = windowWidthMs(resolutionMs)
    const within = entries[level]!.filter(
      ({ windowMs, seriesFrom, seriesTo }) =>
        compareIds(seriesTo, wanted.from) >= 0 &&
        compareIds(seriesFrom, wanted.to) <= 0 &&
        ofLevel.some((read) => read.fromMs < windowMs + widthMs && windowMs < read.toMs),
    )
    for (const entry of within.sort((a, b) => a.order - b.order)) listed.push({ level, entry })
  }
  return listed
}

/** Of what lies before the range, and of the unavailable stretches in it, as far as kept data can fill them. */
function lookbackReads({ fromMs, toMs, edges, unavailable }: Plan, timelines: readonly Timeline[]): readonly Read[] {
  const coarsestMs = timelines[timelines.length - 1]!.stepMs
  const backMs = Math.floor((fromMs - SILENCE_MS_MAX) / coarsestMs) * coarsestMs
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
