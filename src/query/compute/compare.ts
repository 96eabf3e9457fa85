import { bucketBefore, instantBefore, periodBefore } from '../../model/earlier-period.ts'
import { GatewayError } from '../../model/errors.ts'
import { type FixedOrCalendar, formatInterval } from '../../model/interval.ts'
import { clampToInstantRange, DAY_MS, validInstant } from '../../model/time.ts'
import { loadOffsetChanges, type TimeZone, UTC_ZONE } from '../../model/zone-offsets.ts'
import type { Plan } from '../plan/plan.ts'
import type { Compare } from '../plan/request.ts'
import type { ComparisonTimes, ResultGroup } from './result.ts'

/**
 * The earlier period that a query is compared with. The counterpart of a bucket is the bucket of the earlier period
 * that it is compared with: it lies a fixed time earlier, or a number of calendar units of the local clock. So
 * counterparts may differ from the buckets of an ordinary query over the earlier period. A bucket has no counterpart if
 * the clock or the calendar skipped the earlier time, or if the counterpart would lie outside of the earlier period.
 * Some days of the earlier period may be in no counterpart: January 29 to 31, when a February of 28 days is compared
 * with January.
 */
export interface Comparison {
  /** Start and end of the earlier period; the end is exclusive. */
  readonly fromMs: number
  readonly toMs: number
  /**
   * Edges of the earlier buckets to compute: the counterparts, and the gaps between them. Empty if no bucket has a
   * counterpart.
   */
  readonly edges: Float64Array
  /** For each bucket of the query, the index of its counterpart in `edges`; -1 if it has none. */
  readonly counterpartOf: Int32Array
  readonly times: ComparisonTimes
}

/**
 * Maximum distance, rounded up, between an earlier time that is computed in the clock of a time zone and the one that
 * is computed in UTC. The local date may be another day, and months of different lengths add to it: a month before
 * March 1 is February 1, but a month before February 28 is January 28, four days earlier.
 */
const ZONE_DISTANCE_MS_MAX = 7 * DAY_MS

/** The range of a query with `compare`, and its time zone. */
interface ComparedRange {
  readonly fromMs: number
  readonly toMs: number
  readonly zone: TimeZone
}

/**
 * Searches the clock changes of the earlier period in short steps. `planComparison`, which may be called afterwards,
 * would search them in one long step. Throws `invalid_range`.
 */
export async function loadComparedOffsets(compare: Compare, range: ComparedRange, plan: Plan): Promise<void> {
  const offset = offsetOf(compare, range, plan)
  // The time zone cannot say where the earlier period lies before its clock changes are known, but UTC can, almost.
  await loadOffsetChanges(
    range.zone,
    instantBefore(offset, UTC_ZONE, plan.fromMs) - ZONE_DISTANCE_MS_MAX,
    instantBefore(offset, UTC_ZONE, plan.toMs) + ZONE_DISTANCE_MS_MAX,
  )
}

function offsetOf(compare: Compare, { fromMs, toMs, zone }: ComparedRange, { interval }: Plan): FixedOrCalendar {
  const offset = compare === 'previousPeriod' ? periodBefore(interval, zone, fromMs, toMs) : compare
  if (offset !== undefined) return offset
  throw new GatewayError('invalid_range', 'the range is too long to be compared with the one before it', {
    details: { argument: 'compare' },
  })
}

/** Computes the earlier period and the counterparts of all buckets. Throws `invalid_range`. */
export function planComparison(compare: Compare, range: ComparedRange, plan: Plan): Comparison {
  const { zone } = range
  const { interval, fromMs, toMs, edges } = plan
  const offset = offsetOf(compare, range, plan)
  const earlierPeriod = { fromMs: instantBefore(offset, zone, fromMs), toMs: instantBefore(offset, zone, toMs) }
  if (validInstant(earlierPeriod.fromMs) === undefined) {
    throw new GatewayError('invalid_range', 'the earlier range would begin before the year 1', {
      details: { argument: 'compare' },
    })
  }
  const bucketCount = edges.length - 1
  const startMs = new Float64Array(bucketCount)
  const endMs = new Float64Array(bucketCount)
  const counterpartStarts = new Set<number>()
  for (let i = 0; i < bucketCount; i++) {
    const counterpart = bucketBefore(interval, zone, offset, edges[i]!, edges[i + 1]!)
    const isInEarlierPeriod =
      counterpart !== undefined && counterpart.fromMs < earlierPeriod.toMs && counterpart.toMs > earlierPeriod.fromMs
    startMs[i] = counterpart?.fromMs ?? instantBefore(offset, zone, edges[i]!)
    endMs[i] = isInEarlierPeriod ? counterpart.toMs : startMs[i]!
    if (isInEarlierPeriod) counterpartStarts.add(startMs[i]!)
  }
  const earlierEdges = edgesOf(counterpartStarts, startMs, endMs)
  const indexOfEdge = new Map(Array.from(earlierEdges, (edge, i) => [edge, i]))
  const counterpartOf = Int32Array.from(startMs, (start, i) => (endMs[i]! > start ? indexOfEdge.get(start)! : -1))
  for (const [i, bucket] of counterpartOf.entries()) if (bucket >= 0) endMs[i] = earlierEdges[bucket + 1]!
  const label = compare === 'previousPeriod' ? 'previous period' : `${formatInterval(offset)} before`
  const times = { startMs: startMs.map(clampToInstantRange), endMs: endMs.map(clampToInstantRange), label }
  return { ...earlierPeriod, edges: earlierEdges, counterpartOf, times }
}

/**
 * Returns the starts and ends of all counterparts in ascending order. A counterpart that overlaps the next one ends
 * where the next one begins; a clock change by half an hour can cause this.
 */
function edgesOf(starts: ReadonlySet<number>, startMs: Float64Array, endMs: Float64Array): Float64Array {
  const sortedStarts = Float64Array.from(starts).sort()
  const endOf = new Map<number, number>()
  for (let i = 0; i < startMs.length; i++) if (endMs[i]! > startMs[i]!) endOf.set(startMs[i]!, endMs[i]!)
  const edges: number[] = []
  for (const [i, start] of sortedStarts.entries()) {
    edges.push(start)
    const end = Math.min(endOf.get(start)!, sortedStarts[i + 1] ?? Number.POSITIVE_INFINITY)
    if (end !== sortedStarts[i + 1]) edges.push(end)
  }
  return Float64Array.from(edges)
}

/** Returns the group with its earlier values as `comparison`, aligned to the buckets of the query. */
export function withComparison(
  group: ResultGroup,
  earlierGroup: ResultGroup,
  { counterpartOf }: Comparison,
): ResultGroup {
  const bucketCount = counterpartOf.length
  const aligned = (column: Float64Array): Float64Array =>
    Float64Array.from({ length: bucketCount }, (_, i) => column[counterpartOf[i]!] ?? Number.NaN)
  const comparison: ResultGroup = {
    ...earlierGroup,
    bucketStates: Uint8Array.from({ length: bucketCount }, (_, i) => earlierGroup.bucketStates[counterpartOf[i]!] ?? 0),
    ...(earlierGroup.ends && { ends: Uint8Array.from(counterpartOf, (bucket) => earlierGroup.ends?.[bucket] ?? 0) }),
    values: new Map([...earlierGroup.values].map(([name, column]) => [name, aligned(column)])),
  }
  return { ...group, comparison }
}
