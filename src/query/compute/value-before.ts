import { bucketStart, nextBucketStart } from '../../model/bucket-grid.ts'
import type { FixedOrCalendar, Interval } from '../../model/interval.ts'
import { DAY_MS, nearestInstant } from '../../model/time.ts'
import type { TimeZone } from '../../model/zone-offsets.ts'
import { AUTO_BUCKETS_MAX } from '../plan/plan.ts'
import { groupKey, type QueryResult } from './result.ts'

/**
 * Finds the last value of each group before a range, from which `fill: previous` starts. It queries the buckets right
 * before the range, then coarse buckets over seven days, then the fine buckets within each coarse bucket that contains
 * a last value. So it takes a handful of small queries at any interval.
 */

/** How far before the range a last value is searched. */
export const LOOK_BACK_MS = 7 * DAY_MS
/**
 * Maximum number of coarse buckets that are searched again with fine ones. In further ones, the value of the coarse
 * bucket is used.
 */
const REFINED_MAX = 8
/**
 * Aggregations whose value grows with the bucket's width: the value of a coarse bucket never stands in for the value of
 * a fine one.
 */
const GROWS_WITH_BUCKET_WIDTH: ReadonlySet<string> = new Set(['sum', 'count'])

/** The last values of a group, by aggregation name. */
type LastValues = ReadonlyMap<string, number>

interface LastValueSearch {
  /** Start of the range. */
  readonly fromMs: number
  readonly interval: FixedOrCalendar
  readonly zone: TimeZone
  /** Keys of the groups that are empty in the first bucket of the range. */
  readonly groups: readonly string[]
  /** Names of the aggregations whose last values are searched. */
  readonly names: readonly string[]
  /** Maximum number of result buckets of one query. */
  readonly bucketsMax: number
  /** Runs a query; `toMs` is inclusive. Resolves to undefined if the interval gives too many buckets or is not kept. */
  readonly query: (part: { fromMs: number; toMs: number; interval: Interval }) => Promise<QueryResult | undefined>
}

/** Returns the last values of each group, by group key. */
export async function valuesBefore(search: LastValueSearch): Promise<ReadonlyMap<string, LastValues>> {
  const { fromMs, interval, zone, groups, names, query } = search
  const found = new Map(groups.map((key) => [key, new Map<string, number>()]))
  const limitMs = nearestInstant(fromMs - LOOK_BACK_MS)
  // Two fewer than allowed: the range cuts one bucket, and the start of the search may cut another.
  const nearBucketsMax = Math.min(AUTO_BUCKETS_MAX, search.bucketsMax - 2)
  if (groups.length === 0 || nearBucketsMax < 1 || limitMs >= fromMs) return found
  const nearMs =
    interval.kind === 'fixed'
      ? Math.max(limitMs, bucketStart(interval, zone, fromMs - (nearBucketsMax - 1) * interval.ms))
      : limitMs
  const near = await query({ fromMs: nearMs, toMs: fromMs - 1, interval })
  for (const { key, name, value } of lastNumbers(near)) found.get(key)?.set(name, value)
  const nearIsComplete = near !== undefined && near.meta.bucketsUnavailable === 0
  if (nearIsComplete && (nearMs === limitMs || groups.every((key) => found.get(key)!.size === names.length)))
    return found

  const far = await query({ fromMs: limitMs, toMs: (nearIsComplete ? nearMs : fromMs) - 1, interval: { kind: 'auto' } })
  if (far === undefined) return found
  const missing = lastNumbers(far).filter(({ key, name }) => found.get(key)?.has(name) === false)
  const bucketOf = new Map(missing.map(({ key, name, bucket }) => [`${name} ${key}`, bucket]))
  const coarseBuckets = [...new Set(missing.map(({ bucket }) => bucket))].sort((a, b) => b - a)
  for (const bucket of coarseBuckets.slice(0, REFINED_MAX)) {
    const fine = await query({
      fromMs: Math.max(limitMs, bucketStart(interval, zone, far.startMs[bucket]!)),
      toMs: Math.min(fromMs, nextBucketStart(interval, zone, far.endMs[bucket]! - 1)) - 1,
      interval,
    })
    if (fine === undefined || fine.meta.bucketsUnavailable > 0) continue
    for (const { key, name, value } of lastNumbers(fine)) {
      if (bucketOf.get(`${name} ${key}`) === bucket) found.get(key)!.set(name, value)
    }
  }
  for (const { key, name, value } of missing) {
    const values = found.get(key)!
    if (!values.has(name) && !GROWS_WITH_BUCKET_WIDTH.has(name)) values.set(name, value)
  }
  return found
}

interface LastNumber {
  readonly key: string
  readonly name: string
  readonly value: number
  /** Index of the bucket that has the value. */
  readonly bucket: number
}

/** The last value of each group and aggregation in a result. Columns without a value are omitted. */
function lastNumbers(result: QueryResult | undefined): readonly LastNumber[] {
  const numbers: LastNumber[] = []
  for (const group of result?.groups ?? []) {
    const key = groupKey(group)
    for (const [name, column] of group.values) {
      const bucket = column.findLastIndex((value) => Number.isFinite(value))
      if (bucket >= 0) numbers.push({ key, name, value: column[bucket]!, bucket })
    }
  }
  return numbers
}
