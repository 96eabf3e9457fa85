import { bucketEdges } from '../../model/bucket-grid.ts'
import { GatewayError } from '../../model/errors.ts'
import {
  calendarInterval,
  type FixedOrCalendar,
  fixedInterval,
  formatInterval,
  type Interval,
} from '../../model/interval.ts'
import { type MetricType, rollupKindOf } from '../../model/metric.ts'
import { DAY_MS, floorTo, formatDuration, formatInstant } from '../../model/time.ts'
import type { TimeZone } from '../../model/zone-offsets.ts'
import type { Stretch } from '../../store/windows.ts'
import { fittingInterval } from './fitting-interval.ts'

/**
 * Decides which stored buckets a query reads. Planning does no I/O: the plan follows from the range, the interval and
 * the expired stretches of each resolution. Each result bucket is divided into parts that stored buckets cover exactly:
 * the coarsest resolution that fits, and finer ones at the edges. A stored bucket is never split: a result bucket that
 * would need a part of one is unavailable.
 */

/**
 * Maximum number of buckets of a query with `interval: auto`, which chooses the finest interval that gives at most so
 * many buckets, none of them unavailable.
 */
export const AUTO_BUCKETS_MAX = 300

export interface Timeline {
  readonly resolutionMs: number
  /**
   * Stretches whose data has expired in this resolution, or whose index was not read, in any order. They may overlap.
   */
  readonly expired: readonly Stretch[]
}

export interface PlanRequest {
  readonly fromMs: number
  /** The end of the range, inclusive. */
  readonly toMs: number
  readonly interval: Interval
  readonly zone: TimeZone
  /** At least one, finest first; each resolution is a multiple of the one before. */
  readonly timelines: readonly Timeline[]
  readonly bucketsMax: number
  /** The setting that says how long each resolution is kept. Error messages name it. */
  readonly retentionSetting: RetentionSetting
  /** Whether a query may read as much as a plan does. An error suggests only intervals whose plan it may read. */
  readonly mayRead?: (plan: Plan) => boolean
}

export type RetentionSetting = 'RESOLUTIONS' | 'SET_RESOLUTIONS'

/** A stretch of time to read from one resolution. */
export interface PlannedRead extends Stretch {
  /** Index of the resolution in `PlanRequest.timelines`; 0 is the finest. */
  readonly level: number
}

export interface Plan {
  readonly interval: FixedOrCalendar
  /** The range widened to stored buckets; `toMs` is exclusive. */
  readonly fromMs: number
  readonly toMs: number
  /** The starts of all result buckets, and the end of the last one. The outer buckets may extend beyond the range. */
  readonly edges: Float64Array
  /** Sorted and disjoint. Together they cover exactly the parts of all available buckets that lie in [fromMs, toMs). */
  readonly reads: readonly PlannedRead[]
  /** One entry per bucket: 1 = the stored buckets still kept do not cover it exactly, 0 = they do. */
  readonly unavailableBuckets: Uint8Array
  readonly unavailableCount: number
}

/**
 * Plans a range. Throws `invalid_range` if it ends before it starts. Throws `invalid_interval`, with the finest kept
 * resolution, if a fixed interval is not a multiple of the finest resolution, or if all buckets are unavailable; for
 * `auto`, if every interval that it tries has unavailable or too many buckets. Throws `query_too_large`, with a
 * suggested interval if one fits, if an interval other than `auto` has too many buckets.
 */
export function planRange(request: PlanRequest): Plan {
  if (request.fromMs > request.toMs) {
    throw new GatewayError(
      'invalid_range',
      `from (${formatInstant(request.fromMs)}) is after to (${formatInstant(request.toMs)})`,
    )
  }
  const timelines = withExpiryOfCoarser(request.timelines)
  const { zone } = request
  const range = widenToStoredBuckets(request.fromMs, request.toMs, timelines)
  if (request.interval.kind !== 'auto') return planInterval({ ...request, timelines }, range, request.interval)
  for (const interval of autoIntervals(timelines, range)) {
    const bucketsMax = Math.min(AUTO_BUCKETS_MAX, request.bucketsMax)
    const plan = completePlan({ timelines, zone, bucketsMax }, range, interval)
    if (plan !== undefined) return plan
  }
  throw tooFineError({ ...request, timelines }, range)
}

/**
 * Plans a range whose bucket edges are given; `toMs` is exclusive. Throws `invalid_interval` if all buckets are
 * unavailable.
 */
export function planGivenBuckets(
  request: Pick<PlanRequest, 'zone' | 'timelines' | 'retentionSetting'> &
    Stretch & { readonly interval: FixedOrCalendar },
  edges: Float64Array,
): Plan {
  const timelines = withExpiryOfCoarser(request.timelines)
  return planReads({ ...request, timelines }, widenToStoredBuckets(request.fromMs, request.toMs - 1, timelines), edges)
}

/** Plans the reads between the edges. Throws `invalid_interval` if all buckets are unavailable. */
function planReads(
  request: Pick<PlanRequest, 'timelines' | 'zone' | 'retentionSetting'> & { readonly interval: FixedOrCalendar },
  range: Stretch,
  edges: Float64Array,
): Plan {
  const coverage = coverBuckets(edges, range, request.timelines)
  if (coverage.unavailableCount === edges.length - 1) throw tooFineError(request, range, edges)
  return { interval: request.interval, ...range, edges, ...coverage }
}

function planInterval(request: PlanRequest, range: Stretch, interval: FixedOrCalendar): Plan {
  if (!isMultipleOfFinest(interval, request.timelines)) throw tooFineError(request, range)
  const edges = bucketEdges(interval, request.zone, range.fromMs, range.toMs, request.bucketsMax)
  if (edges === undefined) {
    const suggestedInterval = fittingInterval(range, request.zone, request.bucketsMax, (candidate) => {
      const plan = completePlan(request, range, candidate)
      return plan !== undefined && (request.mayRead?.(plan) ?? true)
    })
    const advice = suggestedInterval === undefined ? '' : `; an interval of ${suggestedInterval} would fit`
    throw new GatewayError(
      'query_too_large',
      `the range has more than ${request.bucketsMax} buckets of ${formatInterval(interval)}${advice}`,
      {
        details: {
          bucketsMax: request.bucketsMax,
          ...(suggestedInterval !== undefined && { fits: suggestedInterval }),
        },
      },
    )
  }
  return planReads({ ...request, interval }, range, edges)
}

/** Returns the plan with an interval; undefined if it is refused or has an unavailable bucket. */
function completePlan(
  { zone, timelines, bucketsMax }: Pick<PlanRequest, 'zone' | 'timelines' | 'bucketsMax'>,
  range: Stretch,
  interval: FixedOrCalendar,
): Plan | undefined {
  if (!isMultipleOfFinest(interval, timelines)) return undefined
  const edges = bucketEdges(interval, zone, range.fromMs, range.toMs, bucketsMax)
  if (edges === undefined) return undefined
  const coverage = coverBuckets(edges, range, timelines)
  return coverage.unavailableCount === 0 ? { interval, ...range, edges, ...coverage } : undefined
}

/** Whether a fixed interval is a multiple of the finest resolution. True for calendar units. */
function isMultipleOfFinest(interval: FixedOrCalendar, timelines: readonly Timeline[]): boolean {
  return interval.kind === 'calendar' || interval.ms % timelines[0]!.resolutionMs === 0
}

/**
 * Returns the reads that cover the stretch exactly, as if it were one result bucket. Undefined if the stored buckets
 * still kept do not cover it exactly.
 */
export function readsCovering(stretch: Stretch, timelines: readonly Timeline[]): readonly PlannedRead[] | undefined {
  const coverage = coverBuckets(Float64Array.of(stretch.fromMs, stretch.toMs), stretch, withExpiryOfCoarser(timelines))
  return coverage.unavailableCount === 0 ? coverage.reads : undefined
}

/**
 * Adds the expired stretches of each resolution to all finer ones. Stores record only those expired windows that held
 * data, so an expired stretch may be recorded in a coarse resolution and not in a finer one.
 */
function withExpiryOfCoarser(timelines: readonly Timeline[]): Timeline[] {
  const expired: Stretch[] = []
  return timelines
    .toReversed()
    .map((timeline) => {
      for (const stretch of timeline.expired) expired.push(stretch)
      return { resolutionMs: timeline.resolutionMs, expired: [...expired] }
    })
    .reverse()
}

/**
 * Widens a range to edges of stored buckets, in the finest resolution that is kept at each end. `toMs` is inclusive.
 */
function widenToStoredBuckets(fromMs: number, toMs: number, timelines: readonly Timeline[]): Stretch {
  const fromResolutionMs = finestKeptResolutionMs({ fromMs, toMs: fromMs + 1 }, timelines)
  const toResolutionMs = finestKeptResolutionMs({ fromMs: toMs, toMs: toMs + 1 }, timelines)
  return { fromMs: floorTo(fromMs, fromResolutionMs), toMs: floorTo(toMs, toResolutionMs) + toResolutionMs }
}

/** Returns the finest resolution whose data is kept in the whole range; the coarsest resolution if there is none. */
function finestKeptResolutionMs(range: Stretch, timelines: readonly Timeline[]): number {
  const keptTimeline = timelines.find(({ expired }) => !overlapsAny(expired, range))
  return (keptTimeline ?? timelines[timelines.length - 1]!).resolutionMs
}

function overlapsAny(expired: readonly Stretch[], { fromMs, toMs }: Stretch): boolean {
  return expired.some((stretch) => stretch.fromMs < toMs && fromMs < stretch.toMs)
}

/**
 * Returns the intervals that `auto` tries, finest first: the resolutions kept in the whole range, then longer calendar
 * units for ranges of years. Some are followed by a fixed interval of about the same length, for time zones whose
 * midnight lies within a stored bucket.
 */
function autoIntervals(timelines: readonly Timeline[], range: Stretch): FixedOrCalendar[] {
  const finestResolutionMs = finestKeptResolutionMs(range, timelines)
  const resolutionIntervals = timelines
    .filter(({ resolutionMs }) => resolutionMs >= finestResolutionMs)
    .flatMap(({ resolutionMs }) => intervalsOfWidth(resolutionMs))
  const longer = [
    calendarInterval('week', 1),
    fixedInterval(7 * DAY_MS),
    calendarInterval('month', 1),
    fixedInterval(30 * DAY_MS),
    calendarInterval('quarter', 1),
    calendarInterval('year', 1),
    fixedInterval(365 * DAY_MS),
    calendarInterval('year', 10),
    calendarInterval('year', 100),
    fixedInterval(36_500 * DAY_MS),
  ]
  return [...resolutionIntervals, ...longer].filter((interval) => interval !== undefined)
}

/** Returns the intervals as wide as a stored bucket, the first choice first. */
export function intervalsOfWidth(resolutionMs: number): readonly FixedOrCalendar[] {
  const days = resolutionMs % DAY_MS === 0 ? calendarInterval('day', resolutionMs / DAY_MS) : undefined
  return [days, fixedInterval(resolutionMs)].filter((interval) => interval !== undefined)
}

function tooFineError(
  {
    timelines,
    interval,
    zone,
    retentionSetting,
  }: Pick<PlanRequest, 'timelines' | 'interval' | 'zone' | 'retentionSetting'>,
  range: Stretch,
  edges?: Float64Array,
): GatewayError {
  const finest = formatDuration(finestKeptResolutionMs(range, timelines))
  const subject = interval.kind === 'auto' ? 'a day' : `interval ${formatInterval(interval)}`
  const zoneSuffix = zone.offsetMs(range.fromMs) === 0 ? '' : ` in ${zone.name}`
  const message = `${subject}${zoneSuffix} does not consist of stored buckets; for this range the finest are ${finest} (UTC)`
  const step = edges && exactResolution(edges, timelines[0]!.resolutionMs)
  if (step === undefined) return new GatewayError('invalid_interval', message, { details: { finest } })
  return new GatewayError(
    'invalid_interval',
    `${message}; buckets of ${step} kept that long in ${retentionSetting} would do`,
    {
      details: { finest, setting: retentionSetting, step },
    },
  )
}

/**
 * Returns the coarsest resolution, at most one day, of which all edges are multiples: with buckets of this resolution,
 * kept for the whole range, no bucket would be unavailable. Returns undefined if it is not a multiple of the finest
 * resolution, because no setting allows it then.
 */
function exactResolution(edges: Float64Array, baseMs: number): string | undefined {
  let resolutionMs = DAY_MS
  for (const edge of edges) {
    for (let remainderMs = Math.abs(edge); remainderMs > 0; )
      [resolutionMs, remainderMs] = [remainderMs, resolutionMs % remainderMs]
  }
  return resolutionMs % baseMs === 0 ? formatDuration(resolutionMs) : undefined
}

/**
 * Covers each result bucket with reads. A bucket is unavailable if it would need a part of a stored bucket or expired
 * data.
 */
function coverBuckets(
  edges: Float64Array,
  range: Stretch,
  timelines: readonly Timeline[],
): Pick<Plan, 'reads' | 'unavailableBuckets' | 'unavailableCount'> {
  const reads: MutablePlannedRead[] = []
  const unavailableBuckets = new Uint8Array(edges.length - 1)
  let unavailableCount = 0
  const lastBucket = unavailableBuckets.length - 1
  const innerLevel = levelOfInnerBuckets(edges, range, timelines)
  for (let i = 0; i <= lastBucket; i++) {
    if (i === 1 && innerLevel >= 0 && coverStretch(edges[1]!, edges[lastBucket]!, innerLevel, timelines, reads)) {
      i = lastBucket - 1
      continue
    }
    const fromMs = Math.max(edges[i]!, range.fromMs)
    const toMs = Math.min(edges[i + 1]!, range.toMs)
    const previousReadCount = reads.length
    const previousLastToMs = reads[previousReadCount - 1]?.toMs
    if (coverStretch(fromMs, toMs, timelines.length - 1, timelines, reads)) continue
    // The bucket is unavailable: the reads added for it are removed again, and the read before them gets its end back.
    reads.length = previousReadCount
    if (previousLastToMs !== undefined) reads[previousReadCount - 1]!.toMs = previousLastToMs
    unavailableBuckets[i] = 1
    unavailableCount++
  }
  return { reads, unavailableBuckets, unavailableCount }
}

/**
 * Returns the level of the stored buckets that make up each bucket but the first and the last one, so that these can be
 * covered together. Returns -1 if they have different widths, or may need several levels.
 */
function levelOfInnerBuckets(edges: Float64Array, range: Stretch, timelines: readonly Timeline[]): number {
  const lastBucket = edges.length - 2
  if (lastBucket < 2 || edges[1]! < range.fromMs || edges[lastBucket]! > range.toMs) return -1
  const widthMs = edges[2]! - edges[1]!
  for (let i = 2; i < lastBucket; i++) if (edges[i + 1]! - edges[i]! !== widthMs) return -1
  const level = timelines.findLastIndex(({ resolutionMs }) => resolutionMs <= widthMs)
  const resolutionMs = timelines[level]?.resolutionMs ?? Number.NaN
  return widthMs % resolutionMs === 0 && edges[1]! % resolutionMs === 0 ? level : -1
}

interface MutablePlannedRead extends PlannedRead {
  toMs: number
}

/**
 * Covers [fromMs, toMs) exactly with reads of `coarsestLevel` or finer levels, in order of time. Appends them to
 * `reads`, and extends the last read where possible. Returns false if no reads cover the stretch exactly; `reads` may
 * then have changed in part.
 */
function coverStretch(
  fromMs: number,
  toMs: number,
  coarsestLevel: number,
  timelines: readonly Timeline[],
  reads: MutablePlannedRead[],
): boolean {
  if (fromMs >= toMs) return true
  for (let level = coarsestLevel; level >= 0; level--) {
    const { resolutionMs, expired } = timelines[level]!
    if (resolutionMs > toMs - fromMs) continue
    const innerFromMs = -floorTo(-fromMs, resolutionMs)
    const innerToMs = floorTo(toMs, resolutionMs)
    if (innerFromMs >= innerToMs) continue
    // A stretch that is expired in this resolution is expired in every finer one too.
    if (overlapsAny(expired, { fromMs: innerFromMs, toMs: innerToMs })) return false
    if (!coverStretch(fromMs, innerFromMs, level - 1, timelines, reads)) return false
    const last = reads[reads.length - 1]
    if (last !== undefined && last.level === level && last.toMs === innerFromMs) last.toMs = innerToMs
    else reads.push({ level, fromMs: innerFromMs, toMs: innerToMs })
    return coverStretch(innerToMs, toMs, level - 1, timelines, reads)
  }
  return false
}

export function retentionSettingOf({ type }: { readonly type: MetricType }): RetentionSetting {
  return rollupKindOf(type) === 'set' ? 'SET_RESOLUTIONS' : 'RESOLUTIONS'
}

/**
 * Returns undefined for an error that says that the interval is not kept or gives too many buckets. Rethrows other
 * errors.
 */
export function undefinedIfTooFine(error: unknown): undefined {
  const isTooFine =
    error instanceof GatewayError && (error.code === 'invalid_interval' || error.details?.['bucketsMax'] !== undefined)
  if (!isTooFine) throw error
}
