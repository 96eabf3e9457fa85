import { bucketStart, nextBucketStart } from '../../model/bucket-grid.ts'
import type { FixedOrCalendar, Interval } from '../../model/interval.ts'
import { DAY_MS, nearestInstant } from '../../model/time.ts'
import type { TimeZone } from '../../model/zone-offsets.ts'
import { AUTO_BUCKETS_MAX } from '../plan/plan.ts'
import { groupKey, type QueryResult } from './result.ts'

/**
 * Finds the last value of each group before a range, with which `fill: previous` starts: that of the last bucket with a
 * value. It queries the buckets right before the range, then coarse buckets over seven days, then the fine buckets
 * within each coarse bucket that has a last value. So it takes a handful of small queries at any interval.
 */
export const LOOK_BACK_MS = 7 * DAY_MS
/** Coarse buckets that are searched again. A last value in another one is taken from the coarse bucket. */
const REFINED_MAX = 8
/** Aggregations whose value in a coarse bucket says nothing about a fine one. */
const GROWING_WITH_TIME: ReadonlySet<string> = new Set(['sum', 'count'])

/** The values of a group by the name of the aggregation. */
type LastValues = ReadonlyMap<string, number>

interface LookBack {
  /** Start of the range. */
  readonly fromMs: number
  readonly interval: FixedOrCalendar
  readonly zone: TimeZone
  /** Keys of the groups that have no value in the first bucket. */
  readonly groups: readonly string[]
  /** Names of the aggregations. */
  readonly names: readonly string[]
  /** The most buckets of one query. */
  readonly bucketsMax: number
  /** Runs a query before the range; `toMs` is inclusive. Undefined: too many buckets, or not kept that fine. */
  readonly query: (part: { fromMs: number; toMs: number; interval: Interval }) => Promise<QueryResult | undefined>
}

/** The last values by the key of the group. */
export async function valuesBefore(look: LookBack): Promise<ReadonlyMap<string, LastValues>> {
  const { fromMs, interval, zone, groups, names, query } = look
  const found = new Map(groups.map((key) => [key, new Map<string, number>()]))
  const limitMs = nearestInstant(fromMs - LOOK_BACK_MS)
  // Two fewer: the range cuts one bucket, and the limit may cut another.
  const buckets = Math.min(AUTO_BUCKETS_MAX, look.bucketsMax - 2)
  if (groups.length === 0 || buckets < 1 || limitMs >= fromMs) return found
  const nearMs =
    interval.kind === 'fixed'
      ? Math.max(limitMs, bucketStart(interval, zone, fromMs - (buckets - 1) * interval.ms))
      : limitMs
  const near = await query({ fromMs: nearMs, toMs: fromMs - 1, interval })
  for (const { key, name, value } of lastNumbers(near)) found.get(key)?.set(name, value)
  const isWhole = near !== undefined && near.meta.bucketsUnavailable === 0
  if (isWhole && (nearMs === limitMs || groups.every((key) => found.get(key)!.size === names.length))) return found

  const far = await query({ fromMs: limitMs, toMs: (isWhole ? nearMs : fromMs) - 1, interval: { kind: 'auto' } })
  if (far === undefined) return found
  const missing = lastNumbers(far).filter(({ key, name }) => found.get(key)?.has(name) === false)
  const bucketOf = new Map(missing.map(({ key, name, bucket }) => [`${name} ${key}`, bucket]))
  const coarse = [...new Set(missing.map(({ bucket }) => bucket))].sort((a, b) => b - a)
  for (const bucket of coarse.slice(0, REFINED_MAX)) {
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
    if (!values.has(name) && !GROWING_WITH_TIME.has(name)) values.set(name, value)
  }
  return found
}

interface LastNumber {
  readonly key: string
  readonly name: string
  readonly value: number
  /** Index of its bucket. */
  readonly bucket: number
}

/** The last number of each group and aggregation that has one. */
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
