import { bucketStart, nextBucketStart } from '../../model/bucket-grid.ts'
import type { FixedOrCalendar, Interval } from '../../model/interval.ts'
import { clampToInstantRange, DAY_MS } from '../../model/time.ts'
import type { TimeZone } from '../../model/zone-offsets.ts'
import { AUTO_BUCKETS_MAX } from '../plan/plan.ts'
import { groupKey, type QueryResult } from './result.ts'

/**
 * Finds the last value of each group before a range, with which `fill: previous` starts. It queries the buckets right
 * before the range. If buckets are unavailable, or if values are missing and these buckets do not reach back seven
 * days, it queries coarse buckets over seven days, then the fine buckets within at most eight of the coarse buckets
 * that contain a last value. So it takes at most ten queries.
 */

/** How far before the range a last value is searched. */
export const VALUE_BEFORE_SEARCH_MS = 7 * DAY_MS
/**
 * Maximum number of coarse buckets that are searched again with fine buckets, newest first. If this search does not
 * give a value, the coarse value is used as it is, except for sums and counts, which then have no value before the
 * range.
 */
const REFINED_BUCKETS_MAX = 8
/**
 * Aggregations whose value grows with the bucket's width: the value of a coarse bucket never stands in for the value of
 * a fine one.
 */
const GROWS_WITH_BUCKET_WIDTH: ReadonlySet<string> = new Set(['sum', 'count'])

/** The last values of a group, by aggregation name. NaN: the group ended after its last value. */
type LastValues = ReadonlyMap<string, number>

interface LastValueSearch {
  /** Start of the range. */
  readonly fromMs: number
  readonly interval: FixedOrCalendar
  readonly zone: TimeZone
  /** Keys of the groups whose last values are searched. */
  readonly groupKeys: readonly string[]
  /** Names of the aggregations whose last values are searched. */
  readonly aggregationNames: readonly string[]
  /** Maximum number of result buckets of one query. */
  readonly bucketsMax: number
  /** Runs a query; `toMs` is inclusive. Resolves to undefined if the interval gives too many buckets or is not kept. */
  readonly query: (stretch: { fromMs: number; toMs: number; interval: Interval }) => Promise<QueryResult | undefined>
}

/** Returns the last values of each group, by group key. A value that was not found is missing. */
export async function findValuesBefore(search: LastValueSearch): Promise<ReadonlyMap<string, LastValues>> {
  const { fromMs, interval, zone, groupKeys, aggregationNames, query } = search
  const lastValues = new Map(groupKeys.map((key) => [key, new Map<string, number>()]))
  const searchFromMs = clampToInstantRange(fromMs - VALUE_BEFORE_SEARCH_MS)
  // Leaves room for two more buckets: the query may have more than `nearBucketsMax` if the clock was set forward, or if
  // the stretch is widened to stored buckets.
  const nearBucketsMax = Math.min(AUTO_BUCKETS_MAX, search.bucketsMax - 2)
  if (groupKeys.length === 0 || nearBucketsMax < 1 || searchFromMs >= fromMs) return lastValues
  const nearFromMs =
    interval.kind === 'fixed'
      ? Math.max(searchFromMs, bucketStart(interval, zone, fromMs - (nearBucketsMax - 1) * interval.ms))
      : searchFromMs
  const nearResult = await query({ fromMs: nearFromMs, toMs: fromMs - 1, interval })
  for (const { key, name, value } of lastValuesIn(nearResult)) lastValues.get(key)?.set(name, value)
  const isNearComplete = nearResult !== undefined && nearResult.meta.bucketsUnavailable === 0
  if (
    isNearComplete &&
    (nearFromMs === searchFromMs || groupKeys.every((key) => lastValues.get(key)!.size === aggregationNames.length))
  )
    return lastValues

  const farResult = await query({
    fromMs: searchFromMs,
    toMs: (isNearComplete ? nearFromMs : fromMs) - 1,
    interval: { kind: 'auto' },
  })
  if (farResult === undefined) return lastValues
  const coarseValues = lastValuesIn(farResult).filter(({ key, name }) => lastValues.get(key)?.has(name) === false)
  const bucketByNameAndKey = new Map(coarseValues.map(({ key, name, bucket }) => [`${name} ${key}`, bucket]))
  const coarseBuckets = [...new Set(coarseValues.map(({ bucket }) => bucket))].sort((a, b) => b - a)
  for (const bucket of coarseBuckets.slice(0, REFINED_BUCKETS_MAX)) {
    const fineResult = await query({
      fromMs: Math.max(searchFromMs, bucketStart(interval, zone, farResult.startMs[bucket]!)),
      toMs: Math.min(fromMs, nextBucketStart(interval, zone, farResult.endMs[bucket]! - 1)) - 1,
      interval,
    })
    if (fineResult === undefined || fineResult.meta.bucketsUnavailable > 0) continue
    for (const { key, name, value } of lastValuesIn(fineResult)) {
      if (bucketByNameAndKey.get(`${name} ${key}`) === bucket) lastValues.get(key)!.set(name, value)
    }
  }
  for (const { key, name, value } of coarseValues) {
    const values = lastValues.get(key)!
    if (!values.has(name) && !GROWS_WITH_BUCKET_WIDTH.has(name)) values.set(name, value)
  }
  return lastValues
}

interface LastValue {
  /** Key of the group. */
  readonly key: string
  /** Name of the aggregation. */
  readonly name: string
  readonly value: number
  /** Index of the bucket that has the value. */
  readonly bucket: number
}

/**
 * Returns the last value of each group and aggregation in a result; NaN if the group ended after it. A group and
 * aggregation without a value and without an end is omitted.
 */
function lastValuesIn(result: QueryResult | undefined): readonly LastValue[] {
  const lastValues: LastValue[] = []
  for (const group of result?.groups ?? []) {
    const key = groupKey(group)
    for (const [name, column] of group.values) {
      const isEnd = (bucket: number): boolean => name === 'last' && group.ends?.[bucket] === 1
      const bucket = column.findLastIndex((value, i) => Number.isFinite(value) || isEnd(i))
      if (bucket >= 0) lastValues.push({ key, name, value: column[bucket]!, bucket })
    }
  }
  return lastValues
}
