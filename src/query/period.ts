import { GatewayError } from '../model/errors.ts'
import { compareIds } from '../model/id.ts'
import { fixedInterval } from '../model/interval.ts'
import { formatDuration } from '../model/time.ts'
import { type IndexEntry, type IndexSnapshot, type MetricRow, type Store, windowWidthMs } from '../store/store.ts'
import { SILENCE_MS_MAX } from './merge.ts'
import { type Plan, type PlanRequest, plan, planStretch, type Read, type Timeline } from './plan.ts'
import type { IdRange } from './series-index.ts'

/** A range of time of a query: how its buckets lie, and what the store lists for it. */
export interface Period {
  readonly plan: Plan
  readonly timelines: readonly Timeline[]
  /** Where the running total before the first of a cumulative counter may lie. */
  readonly lookback: readonly Read[]
  readonly snapshot: IndexSnapshot
  readonly listed: readonly ListedBlock[]
}

export interface ListedBlock {
  readonly level: number
  readonly entry: IndexEntry
}

/** Asks the index about a range of time and plans it. `wanted`: undefined when there is no series. */
export async function lookUp(
  store: Store,
  metric: MetricRow,
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
  stepsMs: readonly number[],
  wanted: IdRange | undefined,
  planned: (timelines: readonly Timeline[]) => Plan,
): Promise<Period> {
  const snapshot = await store.readIndex({
    partition: metric.partition,
    metricId: metric.metricId,
    timelines: stepsMs.map((resolutionMs, level) => ({
      resolutionMs,
      stretch: stretchOf(stepsMs, level, fromMs, toMs, metric.cumulative),
    })),
    inbox: true,
  })
  const timelines = snapshot.timelines.map(({ resolutionMs, expired }) => ({ stepMs: resolutionMs, expired }))
  const ofRange = planned(timelines)
  const lookback = metric.cumulative ? lookbackReads(ofRange, timelines) : []
  const listed = listedIn(snapshot, [...lookback, ...ofRange.reads], wanted)
  return { plan: ofRange, timelines, lookback, snapshot, listed }
}

/**
 * Where buckets of a level may be read. The range is widened to the finest buckets kept at its ends, and what one level has let go
 * ends where a bucket of the next one does, so a level is read no further outside of the range than its own bucket reaches. Before
 * the range, where the last running total is looked for, a level fills what is left of a bucket of the next one.
 */
function stretchOf(
  stepsMs: readonly number[],
  level: number,
  fromMs: number,
  toMs: number,
  looksBack: boolean,
): { readonly fromMs: number; readonly toMs: number } {
  const stepMs = stepsMs[level]!
  const nextMs = stepsMs[level + 1]
  const firstMs = nextMs === undefined && looksBack ? fromMs - SILENCE_MS_MAX : fromMs
  const edgeMs = nextMs ?? stepMs
  return { fromMs: Math.floor(firstMs / edgeMs) * edgeMs, toMs: Math.floor(toMs / stepMs) * stepMs + stepMs }
}

export function rollupsOf(listed: readonly ListedBlock[]): number {
  return listed.reduce((sum, { entry }) => sum + entry.rollups, 0)
}

/** The finest stored step with which these periods would have no more than so many rollups to read. */
export function fittingStep(
  periods: readonly Period[],
  request: Pick<PlanRequest, 'zone' | 'bucketsMax'>,
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
      snapshot,
    } of periods) {
      const coarser = interval && answerable(() => plan({ ...request, fromMs, toMs: toMs - 1, interval, timelines }))
      if (coarser === undefined) return Number.POSITIVE_INFINITY
      rollups += rollupsOf(listedIn(snapshot, [...lookback, ...coarser.reads], wanted))
    }
    return rollups
  }
  const step = periods[0]?.timelines.find(({ stepMs }) => rollupsAt(stepMs) <= rollupsMax)
  return step && formatDuration(step.stepMs)
}

/** Undefined instead of the reason that a plan is refused. */
function answerable(planned: () => Plan): Plan | undefined {
  try {
    return planned()
  } catch (error) {
    if (error instanceof GatewayError) return undefined
    throw error
  }
}

/** The blocks of the timelines that the reads need for series in a range of ids, in order of arrival within each level. */
function listedIn(
  { timelines }: IndexSnapshot,
  reads: readonly Read[],
  wanted: IdRange | undefined,
): readonly ListedBlock[] {
  const listed: ListedBlock[] = []
  if (wanted === undefined) return listed
  for (const [level, { entries, resolutionMs }] of timelines.entries()) {
    const ofLevel = reads.filter((read) => read.level === level)
    if (ofLevel.length === 0) continue
    const widthMs = windowWidthMs(resolutionMs)
    const within = entries.filter(
      ({ windowMs, seriesFrom, seriesTo }) =>
        compareIds(seriesTo, wanted.from) >= 0 &&
        compareIds(seriesFrom, wanted.to) <= 0 &&
        ofLevel.some((read) => read.fromMs < windowMs + widthMs && windowMs < read.toMs),
    )
    for (const entry of within.sort((a, b) => a.order - b.order)) listed.push({ level, entry })
  }
  return listed
}

function lookbackReads({ fromMs }: Plan, timelines: readonly Timeline[]): readonly Read[] {
  const coarsestMs = timelines[timelines.length - 1]!.stepMs
  const backMs = Math.floor((fromMs - SILENCE_MS_MAX) / coarsestMs) * coarsestMs
  return planStretch({ fromMs: backMs, toMs: fromMs }, timelines) ?? []
}
