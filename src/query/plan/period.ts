import { isOnUtcGrid } from '../../model/bucket-grid.ts'
import { GatewayError } from '../../model/errors.ts'
import { compareIds } from '../../model/id.ts'
import { fixedInterval, type Interval } from '../../model/interval.ts'
import { DAY_MS, floorTo, formatDuration } from '../../model/time.ts'
import type { TimeZone } from '../../model/zone-offsets.ts'
import type { MetricRow } from '../../store/catalog.ts'
import type { InboxEntry, IndexEntry, Store, Stretch } from '../../store/store.ts'
import { windowWidthMs } from '../../store/windows.ts'
import {
  AUTO_BUCKETS_MAX,
  type Plan,
  type PlannedRead,
  type PlanRequest,
  planRange,
  readsCovering,
  type Timeline,
} from './plan.ts'
import type { SeriesIdRange } from './series-cache.ts'

/**
 * Maximum time between two running totals of a counter series. A total after a longer gap adds no increase, like the
 * first total of a series.
 */
export const RUNNING_TOTALS_GAP_MS_MAX = 7 * DAY_MS

/** A time range with its query plan and the blocks that the store lists for it. */
export interface PlannedPeriod {
  readonly plan: Plan
  /** The timelines of the metric, finest resolution first. A level is an index of this list. */
  readonly timelines: readonly Timeline[]
  /**
   * Number of fine resolutions whose index was read only at both ends of the range, because coarser resolutions cover
   * the time between.
   */
  readonly endOnlyLevelCount: number
  /**
   * For cumulative counters: reads in addition to the plan, before the range and in its unavailable buckets, in which
   * earlier running totals are searched. Otherwise empty.
   */
  readonly lookbackReads: readonly PlannedRead[]
  readonly inboxEntries: readonly InboxEntry[]
  /** The index entries of all timeline blocks in the index snapshot, by level. */
  readonly timelineEntries: readonly (readonly IndexEntry[])[]
  /** The timeline blocks that the query reads, sorted by level, then by order of arrival. */
  readonly blocksToRead: readonly ListedBlock[]
}

interface ListedBlock {
  readonly level: number
  readonly entry: IndexEntry
}

interface PeriodRequest {
  readonly fromMs: number
  /**
   * The end, inclusive or exclusive: the index is read until the end of the stored bucket that contains this instant.
   */
  readonly toMs: number
  /** Widths of the stored buckets, finest first. */
  readonly resolutionsMs: readonly number[]
  /** Duration in milliseconds of which every edge of a result bucket is a multiple. */
  readonly edgeDivisorMs: number
  /** Range of the ids of matching series; undefined if no series match. */
  readonly idRange: SeriesIdRange | undefined
  readonly makePlan: (timelines: readonly Timeline[]) => Plan
  /**
   * Awaited before planning, which is synchronous and may take long: lets the queries of one request plan in different
   * iterations of the event loop.
   */
  readonly waitForTurn: () => Promise<void>
}

/** Reads the index of a range from the store and plans the range. */
export async function planPeriod(
  store: Pick<Store, 'readIndex'>,
  metric: MetricRow,
  request: PeriodRequest,
): Promise<PlannedPeriod> {
  const { resolutionsMs, idRange } = request
  const stretches = resolutionsMs.map((_, level) => stretchesToList(request, level, metric.cumulative))
  const snapshot = await store.readIndex({
    partition: metric.partition,
    metricId: metric.metricId,
    timelines: stretches.flatMap((levelStretches, level) =>
      levelStretches.map((stretch) => ({ resolutionMs: resolutionsMs[level]!, stretch })),
    ),
    withInbox: true,
  })
  const timelineEntries: (readonly IndexEntry[])[] = []
  const timelines: Timeline[] = []
  let nextListing = 0
  for (const [level, { length }] of stretches.entries()) {
    const listings = snapshot.timelines.slice(nextListing, (nextListing += length))
    timelineEntries.push(
      listings.length === 1 ? listings[0]!.entries : uniqueEntries(listings.flatMap((listing) => listing.entries)),
    )
    timelines.push({ resolutionMs: resolutionsMs[level]!, expired: listings.flatMap(({ expired }) => expired) })
  }
  await request.waitForTurn()
  const plan = request.makePlan(timelines)
  const lookbackReads = metric.cumulative ? planLookback(plan, timelines) : []
  const endOnlyLevelCount = stretches.findIndex(({ length }) => length === 1)
  const blocksToRead = blocksForReads(timelineEntries, resolutionsMs, [...lookbackReads, ...plan.reads], idRange)
  return {
    plan,
    timelines,
    endOnlyLevelCount,
    lookbackReads,
    inboxEntries: snapshot.inbox,
    timelineEntries,
    blocksToRead,
  }
}

/**
 * Returns the entries without duplicates: a block, which has data of one window, is listed twice if both ends of the
 * range lie in this window.
 */
function uniqueEntries(entries: readonly IndexEntry[]): readonly IndexEntry[] {
  return [...new Map(entries.map((entry) => [entry.block, entry])).values()]
}

/**
 * Returns the stretches of time in which a query may read buckets of one resolution. `level` is the index of this
 * resolution, 0 for the finest.
 *
 * The stretches include the bucket that contains the end of the range, because the range is widened to whole buckets.
 * The first stretch starts with the bucket of the next coarser resolution that contains the start of the range: running
 * totals from before this bucket are read in coarser resolutions. If all result buckets consist of whole buckets of the
 * next coarser resolution, the resolution of `level` is needed only at both ends of the range: there are two stretches.
 * The stretch of the coarsest resolution starts with the bucket that contains the start of the range, or earlier by the
 * maximum gap of running totals.
 */
function stretchesToList(
  { fromMs, toMs, resolutionsMs, edgeDivisorMs }: PeriodRequest,
  level: number,
  looksBack: boolean,
): Stretch[] {
  const resolutionMs = resolutionsMs[level]!
  const nextMs = resolutionsMs[level + 1]
  const endMs = floorTo(toMs, resolutionMs) + resolutionMs
  if (nextMs === undefined)
    return [{ fromMs: floorTo(looksBack ? fromMs - RUNNING_TOTALS_GAP_MS_MAX : fromMs, resolutionMs), toMs: endMs }]
  const startMs = floorTo(fromMs, nextMs)
  const tailMs = floorTo(toMs, nextMs)
  if (edgeDivisorMs % nextMs !== 0) return [{ fromMs: startMs, toMs: endMs }]
  return [
    { fromMs: startMs, toMs: startMs + nextMs },
    { fromMs: Math.max(tailMs, startMs + nextMs), toMs: Math.max(endMs, startMs + nextMs) },
  ]
}

/**
 * Returns a duration in milliseconds of which every edge of a result bucket will be a multiple, whatever the plan; 1 if
 * no greater duration is known before planning.
 */
export function edgeDivisorOf(
  interval: Interval,
  zone: TimeZone,
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
  resolutionsMs: readonly number[],
): number {
  if (interval.kind === 'fixed') return isOnUtcGrid(interval, zone) ? interval.ms : 1
  if (zone.name !== 'UTC') return 1
  if (interval.kind === 'calendar') return DAY_MS
  // `auto` chooses this interval or a coarser one. Coarser ones are multiples of it, or calendar units.
  const finestAutoMs = resolutionsMs.find((resolutionMs) => toMs - fromMs <= resolutionMs * AUTO_BUCKETS_MAX) ?? DAY_MS
  return DAY_MS % finestAutoMs === 0 ? finestAutoMs : 1
}

export function countRollups(blocks: readonly ListedBlock[]): number {
  return blocks.reduce((sum, { entry }) => sum + entry.rollupCount, 0)
}

/**
 * Returns the finest resolution that can be the interval of the query without reading more than `rollupsMax` rollups of
 * timelines, as a text such as `15m`. Returns undefined if there is none.
 */
export function fittingResolution(
  periods: readonly PlannedPeriod[],
  request: Pick<PlanRequest, 'zone' | 'bucketsMax' | 'retentionSetting'>,
  idRange: SeriesIdRange | undefined,
  rollupsMax: number,
): string | undefined {
  const rollupCountAt = (resolutionMs: number): number => {
    const interval = fixedInterval(resolutionMs)
    let rollupCount = 0
    for (const {
      plan: { fromMs, toMs },
      timelines,
      lookbackReads,
      timelineEntries,
    } of periods) {
      const planAtResolution =
        interval && planIfComplete(() => planRange({ ...request, fromMs, toMs: toMs - 1, interval, timelines }))
      if (planAtResolution === undefined) return Number.POSITIVE_INFINITY
      const resolutionsMs = timelines.map((timeline) => timeline.resolutionMs)
      rollupCount += countRollups(
        blocksForReads(timelineEntries, resolutionsMs, [...lookbackReads, ...planAtResolution.reads], idRange),
      )
    }
    return rollupCount
  }
  // Resolutions whose index was read only at the ends of the range are skipped: they are finer than the interval of the
  // query.
  const endOnlyLevelCount = Math.max(...periods.map((period) => period.endOnlyLevelCount))
  const fitting = periods[0]?.timelines.find(
    ({ resolutionMs }, level) => level >= endOnlyLevelCount && rollupCountAt(resolutionMs) <= rollupsMax,
  )
  return fitting && formatDuration(fitting.resolutionMs)
}

/** Returns the plan; undefined if it has unavailable buckets or planning throws a `GatewayError`. */
function planIfComplete(makePlan: () => Plan): Plan | undefined {
  try {
    const plan = makePlan()
    return plan.unavailableCount === 0 ? plan : undefined
  } catch (error) {
    if (error instanceof GatewayError) return undefined
    throw error
  }
}

/**
 * Returns the blocks that may contain data of these reads and of series within `idRange`, sorted by level, then by
 * order of arrival.
 */
function blocksForReads(
  entriesByLevel: PlannedPeriod['timelineEntries'],
  resolutionsMs: readonly number[],
  reads: readonly PlannedRead[],
  idRange: SeriesIdRange | undefined,
): readonly ListedBlock[] {
  const blocks: ListedBlock[] = []
  if (idRange === undefined) return blocks
  for (const [level, resolutionMs] of resolutionsMs.entries()) {
    const levelReads = reads.filter((read) => read.level === level)
    if (levelReads.length === 0) continue
    const widthMs = windowWidthMs(resolutionMs)
    const neededEntries = entriesByLevel[level]!.filter(
      ({ windowMs, seriesFrom, seriesTo }) =>
        compareIds(seriesTo, idRange.from) >= 0 &&
        compareIds(seriesFrom, idRange.to) <= 0 &&
        levelReads.some((read) => read.fromMs < windowMs + widthMs && windowMs < read.toMs),
    )
    for (const entry of neededEntries.sort((a, b) => a.order - b.order)) blocks.push({ level, entry })
  }
  return blocks
}

/**
 * Plans the search for earlier running totals of counters: from `RUNNING_TOTALS_GAP_MS_MAX` before the range, rounded
 * down to a bucket of the coarsest resolution, and in the unavailable buckets of the range. A stretch that the stored
 * buckets still kept do not cover exactly is left out.
 */
function planLookback(
  { fromMs, toMs, edges, unavailableBuckets }: Plan,
  timelines: readonly Timeline[],
): readonly PlannedRead[] {
  const coarsestMs = timelines[timelines.length - 1]!.resolutionMs
  const lookbackFromMs = floorTo(fromMs - RUNNING_TOTALS_GAP_MS_MAX, coarsestMs)
  const reads = [...(readsCovering({ fromMs: lookbackFromMs, toMs: fromMs }, timelines) ?? [])]
  for (let start = unavailableBuckets.indexOf(1); start >= 0; ) {
    const nextAvailable = unavailableBuckets.indexOf(0, start)
    const end = nextAvailable < 0 ? unavailableBuckets.length : nextAvailable
    const gap = { fromMs: Math.max(fromMs, edges[start]!), toMs: Math.min(toMs, edges[end]!) }
    for (const read of readsCovering(gap, timelines) ?? []) reads.push(read)
    start = nextAvailable < 0 ? -1 : unavailableBuckets.indexOf(1, nextAvailable)
  }
  return reads
}
