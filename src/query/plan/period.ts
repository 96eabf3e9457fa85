import { isOnUtcGrid } from '../../model/bucket-grid.ts'
import { compareIds } from '../../model/id.ts'
import type { Interval } from '../../model/interval.ts'
import { DAY_MS, floorTo } from '../../model/time.ts'
import type { TimeZone } from '../../model/zone-offsets.ts'
import type { MetricRow } from '../../store/catalog.ts'
import type { InboxEntry, IndexEntry, Store } from '../../store/store.ts'
import { type Stretch, windowWidthMs } from '../../store/windows.ts'
import { AUTO_BUCKETS_MAX, type Plan, type PlannedRead, readsCovering, type Timeline } from './plan.ts'
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
  /** Whether some series do not match. The store then need not list blocks without any series in `idRange`. */
  readonly isFiltered: boolean
  /** `rollupCountOf` returns the number of rollups that a plan reads from timelines, the look-back included. */
  readonly makePlan: (timelines: readonly Timeline[], rollupCountOf: (plan: Plan) => number) => Plan
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
  const { resolutionsMs, idRange, isFiltered } = request
  const listings = resolutionsMs.map((_, level) => listingOf(request, level, metric.cumulative))
  const snapshot = await store.readIndex({
    partition: metric.partition,
    metricId: metric.metricId,
    timelines: listings.flatMap(({ stretches }, level) =>
      stretches.map((stretch) => ({ resolutionMs: resolutionsMs[level]!, stretch })),
    ),
    withInbox: true,
    ...(isFiltered && idRange !== undefined && { seriesRange: idRange }),
  })
  const timelineEntries: (readonly IndexEntry[])[] = []
  const timelines: Timeline[] = []
  let nextIndex = 0
  for (const [level, { stretches, unlisted }] of listings.entries()) {
    const indexes = snapshot.timelines.slice(nextIndex, (nextIndex += stretches.length))
    timelineEntries.push(
      indexes.length === 1 ? indexes[0]!.entries : uniqueEntries(indexes.flatMap(({ entries }) => entries)),
    )
    timelines.push({
      resolutionMs: resolutionsMs[level]!,
      expired: [...indexes.flatMap(({ expired }) => expired), ...unlisted],
    })
  }
  await request.waitForTurn()
  const lookbackOf = (plan: Plan): readonly PlannedRead[] => (metric.cumulative ? planLookback(plan, timelines) : [])
  const blocksOf = (plan: Plan): readonly ListedBlock[] =>
    blocksForReads(timelineEntries, resolutionsMs, [...lookbackOf(plan), ...plan.reads], idRange)
  const plan = request.makePlan(timelines, (candidate) => countRollups(blocksOf(candidate)))
  return {
    plan,
    timelines,
    lookbackReads: lookbackOf(plan),
    inboxEntries: snapshot.inbox,
    timelineEntries,
    blocksToRead: blocksOf(plan),
  }
}

/**
 * Returns the entries without duplicates: a block, which has data of one window, is listed twice if both ends of the
 * range lie in this window.
 */
function uniqueEntries(entries: readonly IndexEntry[]): readonly IndexEntry[] {
  return [...new Map(entries.map((entry) => [entry.block, entry])).values()]
}

/** What is read of the index of one resolution. */
interface Listing {
  /** The stretches of time in which a query may read buckets of the resolution, in order of time. */
  readonly stretches: readonly Stretch[]
  /**
   * The rest of the range. What the resolution has there is not known, so it must not be planned: it counts as expired.
   */
  readonly unlisted: readonly Stretch[]
}

/**
 * Returns what to read of the index of one resolution. `level` is the index of this resolution, 0 for the finest.
 *
 * The stretches include the bucket that contains the end of the range, because the range is widened to whole buckets.
 * The first stretch starts with the bucket of the next coarser resolution that contains the start of the range: running
 * totals from before this bucket are read in coarser resolutions. If all result buckets consist of whole buckets of the
 * next coarser resolution, the resolution of `level` is needed only at both ends of the range: there are two stretches.
 * It is not needed at an end that is also the end of a bucket of the next coarser resolution. The stretch of the
 * coarsest resolution starts with the bucket that contains the start of the range, or earlier by the maximum gap of
 * running totals.
 */
function listingOf(
  { fromMs, toMs, resolutionsMs, edgeDivisorMs }: PeriodRequest,
  level: number,
  looksBack: boolean,
): Listing {
  const resolutionMs = resolutionsMs[level]!
  const nextMs = resolutionsMs[level + 1]
  const endMs = floorTo(toMs, resolutionMs) + resolutionMs
  if (nextMs === undefined) {
    const startMs = floorTo(looksBack ? fromMs - RUNNING_TOTALS_GAP_MS_MAX : fromMs, resolutionMs)
    return { stretches: [{ fromMs: startMs, toMs: endMs }], unlisted: [] }
  }
  const startMs = floorTo(fromMs, nextMs)
  if (edgeDivisorMs % nextMs !== 0) return { stretches: [{ fromMs: startMs, toMs: endMs }], unlisted: [] }
  // The first and the last bucket of the next coarser resolution. They are the same bucket in a short range.
  const tailMs = floorTo(toMs, nextMs)
  const isTailWhole = (toMs + 1) % nextMs === 0
  const headEndMs = fromMs === startMs ? startMs : startMs + nextMs
  const tailStartMs = Math.max(headEndMs, isTailWhole ? tailMs + nextMs : tailMs)
  const tailEndMs = Math.max(headEndMs, endMs)
  return {
    stretches: [
      { fromMs: startMs, toMs: headEndMs },
      { fromMs: tailStartMs, toMs: tailEndMs },
    ].filter(isNotEmpty),
    unlisted: [{ fromMs: headEndMs, toMs: tailStartMs }].filter(isNotEmpty),
  }
}

function isNotEmpty({ fromMs, toMs }: Stretch): boolean {
  return fromMs < toMs
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

/** Returns the stretch that contains all reads of a period: its range, and its look-back. */
export function stretchRead({ plan, lookbackReads }: PlannedPeriod): Stretch {
  const fromMs = lookbackReads.reduce((earliestMs, read) => Math.min(earliestMs, read.fromMs), plan.fromMs)
  return { fromMs, toMs: plan.toMs }
}

export function countRollups(blocks: readonly ListedBlock[]): number {
  return blocks.reduce((sum, { entry }) => sum + entry.rollupCount, 0)
}

/**
 * Returns the blocks that may contain data of these reads and of series within `idRange`, sorted by level, then by
 * order of arrival.
 */
export function blocksForReads(
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
      ({ windowMs, seriesFrom, seriesTo, buckets = { fromMs: windowMs, toMs: windowMs + widthMs } }) =>
        compareIds(seriesTo, idRange.from) >= 0 &&
        compareIds(seriesFrom, idRange.to) <= 0 &&
        levelReads.some((read) => read.fromMs < buckets.toMs && buckets.fromMs < read.toMs),
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
