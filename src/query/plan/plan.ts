import { bucketEdges } from '../../model/bucket-grid.ts'
import { GatewayError } from '../../model/errors.ts'
import {
  calendarInterval,
  type FixedOrCalendar,
  fixedInterval,
  formatInterval,
  type Interval,
} from '../../model/interval.ts'
import { DAY_MS, floorTo, formatDuration, formatInstant } from '../../model/time.ts'
import type { TimeZone } from '../../model/zone-offsets.ts'
import type { Stretch } from '../../store/store.ts'

/**
 * Decides which stored buckets a query reads. Pure: its input is the range, the interval and the expired stretches of
 * each resolution. Each result bucket is divided into parts that stored buckets fill exactly: the coarsest resolution
 * that fits, and finer ones at the edges. A stored bucket is never split; a result bucket that would need a part of one
 * is unavailable.
 */

/** `interval: auto` chooses the finest interval with at most this many buckets. */
export const AUTO_BUCKETS_MAX = 300

export interface Timeline {
  readonly stepMs: number
  /** Sorted and disjoint: stretches whose data has expired in this resolution. */
  readonly expired: readonly Stretch[]
}

export interface PlanRequest {
  readonly fromMs: number
  /** Inclusive. */
  readonly toMs: number
  readonly interval: Interval
  readonly zone: TimeZone
  /** Finest first; each step a multiple of the one before. */
  readonly timelines: readonly Timeline[]
  readonly bucketsMax: number
  /** The setting for how long each resolution is kept; named in error messages. */
  readonly setting: RetentionSetting
}

export type RetentionSetting = 'RESOLUTIONS' | 'SET_RESOLUTIONS'

/** A stretch to read from one resolution. */
export interface Read extends Stretch {
  /** Index into the timelines of the request. */
  readonly level: number
}

export interface Plan {
  readonly interval: FixedOrCalendar
  /** The range widened to stored buckets; `toMs` is exclusive. */
  readonly fromMs: number
  readonly toMs: number
  /** Start of each result bucket, not cut by the range, and the end of the last: one more than there are buckets. */
  readonly edges: Float64Array
  /** Disjoint and sorted; together exactly [fromMs, toMs) without the unavailable buckets. */
  readonly reads: readonly Read[]
  /** 1 for each bucket that kept data cannot fill exactly. */
  readonly unavailable: Uint8Array
  readonly unavailableCount: number
}

/**
 * Throws `invalid_range`, `invalid_interval` (with the finest kept step) if no bucket can be filled, or
 * `query_too_large` (with an interval that fits). `auto` chooses an interval at which every bucket can be filled.
 */
export function plan(given: PlanRequest): Plan {
  if (given.fromMs > given.toMs) {
    throw new GatewayError(
      'invalid_range',
      `from (${formatInstant(given.fromMs)}) is after to (${formatInstant(given.toMs)})`,
    )
  }
  const request = { ...given, timelines: nested(given.timelines) }
  const { timelines, zone } = request
  const range = widen(request.fromMs, request.toMs, timelines)
  if (request.interval.kind !== 'auto') return planInterval(request, range, request.interval)
  for (const interval of autoIntervals(timelines, range)) {
    const edges = bucketEdges(interval, zone, range.fromMs, range.toMs, Math.min(AUTO_BUCKETS_MAX, request.bucketsMax))
    if (edges === undefined) continue
    const covered = cover(edges, range, timelines)
    if (covered.unavailableCount === 0) return { interval, ...range, edges, ...covered }
  }
  throw tooFine(request, range)
}

/** The plan for given bucket edges; `toMs` is exclusive. Throws `invalid_interval` if no bucket can be filled. */
export function planEdges(
  request: Pick<PlanRequest, 'zone' | 'timelines' | 'setting'> & Stretch & { readonly interval: FixedOrCalendar },
  edges: Float64Array,
): Plan {
  const timelines = nested(request.timelines)
  return fillEdges({ ...request, timelines }, widen(request.fromMs, request.toMs - 1, timelines), edges)
}

/** Throws `invalid_interval` if no bucket can be filled. */
function fillEdges(
  request: Pick<PlanRequest, 'timelines' | 'zone' | 'setting'> & { readonly interval: FixedOrCalendar },
  range: Stretch,
  edges: Float64Array,
): Plan {
  const covered = cover(edges, range, request.timelines)
  if (covered.unavailableCount === edges.length - 1) throw tooFine(request, range, edges)
  return { interval: request.interval, ...range, edges, ...covered }
}

function planInterval(request: PlanRequest, range: Stretch, interval: FixedOrCalendar): Plan {
  if (interval.kind === 'fixed' && interval.ms % request.timelines[0]!.stepMs !== 0) throw tooFine(request, range)
  const edges = bucketEdges(interval, request.zone, range.fromMs, range.toMs, request.bucketsMax)
  if (edges === undefined) {
    const fits = fittingInterval(range, request.bucketsMax, finestKept(range, request.timelines))
    throw new GatewayError(
      'query_too_large',
      `the range has more than ${request.bucketsMax} buckets of ${formatInterval(interval)}; an interval of ${fits} would fit`,
      { details: { bucketsMax: request.bucketsMax, fits } },
    )
  }
  return fillEdges({ ...request, interval }, range, edges)
}

/** The reads that fill [fromMs, toMs) as if it were one bucket; undefined if kept data cannot fill it. */
export function planStretch(stretch: Stretch, timelines: readonly Timeline[]): readonly Read[] | undefined {
  const covered = cover(Float64Array.of(stretch.fromMs, stretch.toMs), stretch, nested(timelines))
  return covered.unavailableCount === 0 ? covered.reads : undefined
}

/**
 * Adds the expired stretches of each resolution to all finer ones. Stores record only expired windows that held data,
 * so a stretch may be expired in one resolution and not be recorded in a finer one.
 */
function nested(timelines: readonly Timeline[]): Timeline[] {
  const expired: Stretch[] = []
  return timelines
    .toReversed()
    .map((timeline) => {
      for (const stretch of timeline.expired) expired.push(stretch)
      return { stepMs: timeline.stepMs, expired: [...expired] }
    })
    .reverse()
}

/** Widens the range to the edges of the finest buckets that are kept at either end. */
function widen(fromMs: number, toMs: number, timelines: readonly Timeline[]): Stretch {
  const fromStep = finestKept({ fromMs, toMs: fromMs + 1 }, timelines)
  const toStep = finestKept({ fromMs: toMs, toMs: toMs + 1 }, timelines)
  return { fromMs: floorTo(fromMs, fromStep), toMs: floorTo(toMs, toStep) + toStep }
}

/** The finest step that is kept in the whole range. */
export function finestKept(range: Stretch, timelines: readonly Timeline[]): number {
  const kept = timelines.find(({ expired }) => !overlaps(expired, range))
  return (kept ?? timelines[timelines.length - 1]!).stepMs
}

function overlaps(expired: readonly Stretch[], { fromMs, toMs }: Stretch): boolean {
  return expired.some((stretch) => stretch.fromMs < toMs && fromMs < stretch.toMs)
}

/**
 * The intervals that `auto` tries: the kept steps, then longer calendar units for ranges of years. Some are followed by
 * about the same length in UTC, for zones whose midnight lies inside a stored bucket.
 */
function autoIntervals(timelines: readonly Timeline[], range: Stretch): FixedOrCalendar[] {
  const finestMs = finestKept(range, timelines)
  const steps = timelines.filter(({ stepMs }) => stepMs >= finestMs).flatMap(({ stepMs }) => stepIntervals(stepMs))
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
  return [...steps, ...longer].filter((interval) => interval !== undefined)
}

function stepIntervals(stepMs: number): (FixedOrCalendar | undefined)[] {
  const fixed = fixedInterval(stepMs)
  return stepMs % DAY_MS === 0 ? [calendarInterval('day', stepMs / DAY_MS), fixed] : [fixed]
}

const FITTING_MS = [
  10_000,
  60_000,
  300_000,
  900_000,
  3_600_000,
  21_600_000,
  DAY_MS,
  7 * DAY_MS,
  28 * DAY_MS,
  364 * DAY_MS,
]

/** A round interval, a multiple of `stepMs`, at which the range has at most `bucketsMax` buckets. */
export function fittingInterval({ fromMs, toMs }: Stretch, bucketsMax: number, stepMs = 1): string {
  const spanMs = toMs - fromMs
  const fits = FITTING_MS.find((ms) => ms % stepMs === 0 && spanMs / ms + 1 <= bucketsMax)
  return formatDuration(fits ?? Math.ceil(spanMs / Math.max(1, bucketsMax - 1) / DAY_MS) * DAY_MS)
}

function tooFine(
  { timelines, interval, zone, setting }: Pick<PlanRequest, 'timelines' | 'interval' | 'zone' | 'setting'>,
  range: Stretch,
  edges?: Float64Array,
): GatewayError {
  const finest = formatDuration(finestKept(range, timelines))
  const subject = interval.kind === 'auto' ? `days in ${zone.name}` : `interval ${formatInterval(interval)}`
  const where = zone.offsetMs(range.fromMs) === 0 ? '' : ` in ${zone.name}`
  const message = `${subject}${where} does not consist of stored buckets; for this range the finest are ${finest} (UTC)`
  const step = edges && servingStep(edges, timelines[0]!.stepMs)
  if (step === undefined) return new GatewayError('invalid_interval', message, { details: { finest } })
  return new GatewayError('invalid_interval', `${message}; buckets of ${step} kept that long in ${setting} would do`, {
    details: { finest, setting, step },
  })
}

/**
 * The widest step, at most a day, of which all edges are multiples. Undefined if finer than the base: no setting helps.
 */
function servingStep(edges: Float64Array, baseMs: number): string | undefined {
  let stepMs = DAY_MS
  for (const edge of edges) {
    for (let restMs = Math.abs(edge); restMs > 0; ) [stepMs, restMs] = [restMs, stepMs % restMs]
  }
  return stepMs % baseMs === 0 ? formatDuration(stepMs) : undefined
}

/** Fills each result bucket with reads. A bucket is unavailable if an edge lies inside a stored bucket. */
function cover(
  edges: Float64Array,
  range: Stretch,
  timelines: readonly Timeline[],
): Pick<Plan, 'reads' | 'unavailable' | 'unavailableCount'> {
  const reads: GrowingRead[] = []
  const unavailable = new Uint8Array(edges.length - 1)
  let unavailableCount = 0
  for (let i = 0; i < unavailable.length; i++) {
    const fromMs = Math.max(edges[i]!, range.fromMs)
    const toMs = Math.min(edges[i + 1]!, range.toMs)
    const count = reads.length
    const lastToMs = reads[count - 1]?.toMs
    if (fill(fromMs, toMs, timelines.length - 1, timelines, reads)) continue
    // The reads added for this bucket are removed again.
    reads.length = count
    if (lastToMs !== undefined) reads[count - 1]!.toMs = lastToMs
    unavailable[i] = 1
    unavailableCount++
  }
  return { reads, unavailable, unavailableCount }
}

interface GrowingRead extends Read {
  toMs: number
}

/** Appends reads of this level or finer ones that fill [fromMs, toMs) exactly, in order of time. False: impossible. */
function fill(
  fromMs: number,
  toMs: number,
  coarsest: number,
  timelines: readonly Timeline[],
  reads: GrowingRead[],
): boolean {
  if (fromMs >= toMs) return true
  for (let level = coarsest; level >= 0; level--) {
    const { stepMs, expired } = timelines[level]!
    if (stepMs > toMs - fromMs) continue
    const innerFromMs = -floorTo(-fromMs, stepMs)
    const innerToMs = floorTo(toMs, stepMs)
    if (innerFromMs >= innerToMs) continue
    // Expired here means expired in every finer resolution.
    if (overlaps(expired, { fromMs: innerFromMs, toMs: innerToMs })) return false
    if (!fill(fromMs, innerFromMs, level - 1, timelines, reads)) return false
    const last = reads[reads.length - 1]
    if (last !== undefined && last.level === level && last.toMs === innerFromMs) last.toMs = innerToMs
    else reads.push({ level, fromMs: innerFromMs, toMs: innerToMs })
    return fill(innerToMs, toMs, level - 1, timelines, reads)
  }
  return false
}
