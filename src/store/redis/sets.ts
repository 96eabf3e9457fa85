import { formatId, type Id64, parseId } from '../../model/id.ts'
import { HyperLogLog } from '../../sketch/hyperloglog.ts'
import type { SetKey, WindowKey } from '../store.ts'
import { type PartitionKeys, windowName } from './keys.ts'
import { chunksOf, groupsOf, type RedisAccess, textList } from './redis-access.ts'
import { ScriptCall } from './scripts.ts'

/**
 * Counts and deletes set sketches. A set sketch is a HyperLogLog with the members of one series in one bucket of a set
 * resolution. The server counts unions of few sketches. For larger unions, the gateway reads the sketches and merges
 * them itself, because one command for all would block the server for long.
 */

/** A union of more different sketches is counted by the gateway. */
const PFCOUNT_KEYS_MAX = 16
/** Sketches per call of `count-distinct.lua`. A call takes about 2 ms if all of them have their maximum size. */
const SKETCHES_COUNTED_PER_CALL = 64
/** Sketches per read. A sketch has at most about 12 KiB. */
const SKETCHES_PER_READ = 64
/**
 * Maximum number of reads at the same time in one call of `uniteSketches`. This and the size of a read limit the memory
 * of the sketches that the call is reading.
 */
const CONCURRENT_READS_MAX = 8
/** Sketches per call of `clear-sets.lua`. A call takes about a millisecond. */
const SKETCHES_CLEARED_PER_CALL = 500

export async function countDistinct(
  redis: RedisAccess,
  partition: number,
  unions: readonly (readonly SetKey[])[],
): Promise<number[]> {
  const keys = redis.keys(partition)
  const counts = new Array<number>(unions.length).fill(0)
  const small: CountedUnion[] = []
  const large: CountedUnion[] = []
  const keyOf = cachingKeyOf(keys)
  for (const [index, union] of unions.entries()) {
    const sketchKeys = [...new Set(union.map(keyOf))]
    if (sketchKeys.length === 0) continue
    if (sketchKeys.length <= PFCOUNT_KEYS_MAX) small.push({ index, sketchKeys })
    else large.push({ index, sketchKeys })
  }
  await countSmallUnions(redis, small, counts)
  await countLargeUnions(redis, large, counts)
  return counts
}

/**
 * Returns a function that returns the Redis key of a set sketch. The function caches keys by object, and formatted ids,
 * because the same sketches, series and buckets are in many unions.
 */
function cachingKeyOf(keys: PartitionKeys): (set: SetKey) => string {
  const named = new Map<SetKey, string>()
  const series = new Map<Id64, string>()
  let last: SetKey | undefined
  let prefix = ''
  return (set) => {
    let name = named.get(set)
    if (name !== undefined) return name
    const { metricId, resolutionMs, bucketMs, seriesId } = set
    if (last?.metricId !== metricId || last.resolutionMs !== resolutionMs || last.bucketMs !== bucketMs) {
      prefix = keys.sketchKeyPrefix(set)
      last = set
    }
    let id = series.get(seriesId)
    if (id === undefined) series.set(seriesId, (id = formatId(seriesId)))
    name = prefix + id
    named.set(set, name)
    return name
  }
}

interface CountedUnion {
  /** Index of the union in the request, and of its count in the result. */
  readonly index: number
  readonly sketchKeys: readonly string[]
}

async function countSmallUnions(redis: RedisAccess, unions: readonly CountedUnion[], counts: number[]): Promise<void> {
  const calls: Promise<void>[] = []
  let batch: CountedUnion[] = []
  let keys = 0
  const send = (): void => {
    const sent = batch
    const call = new ScriptCall().arg(sent.length)
    for (const { sketchKeys } of sent) {
      call.arg(sketchKeys.length)
      for (const key of sketchKeys) call.key(key)
    }
    calls.push(
      redis.run('count-distinct', call).then((reply) => {
        for (const [i, count] of textList(reply).entries()) counts[sent[i]!.index] = Number(count)
      }),
    )
    batch = []
    keys = 0
  }
  for (const union of unions) {
    if (keys + union.sketchKeys.length > SKETCHES_COUNTED_PER_CALL) send()
    batch.push(union)
    keys += union.sketchKeys.length
  }
  if (batch.length > 0) send()
  await Promise.all(calls)
}

/**
 * Counts unions in the gateway. A sketch is often in several unions: in that of its bucket and in that of the whole
 * range. Sketches that are in exactly the same unions are merged first, and the result is merged into each union.
 */
async function countLargeUnions(redis: RedisAccess, unions: readonly CountedUnion[], counts: number[]): Promise<void> {
  const unionsOf = new Map<string, number[]>()
  for (const [union, { sketchKeys }] of unions.entries()) {
    for (const name of sketchKeys) {
      const list = unionsOf.get(name)
      if (list === undefined) unionsOf.set(name, [union])
      else list.push(union)
    }
  }
  const shared = groupsOf(unionsOf.keys(), (name) => unionsOf.get(name)!.join())
  const left = unions.map(({ sketchKeys }) => sketchKeys.length)
  const united = new Map<number, HyperLogLog>()
  for (const names of shared.values()) {
    const sketch = await uniteSketches(redis, names)
    for (const union of unionsOf.get(names[0])!) {
      let whole = united.get(union)
      if (whole === undefined) united.set(union, (whole = new HyperLogLog()))
      whole.union(sketch)
      left[union]! -= names.length
      if (left[union]! > 0) continue
      counts[unions[union]!.index] = whole.estimate()
      united.delete(union)
    }
  }
}

async function uniteSketches(redis: RedisAccess, names: readonly string[]): Promise<HyperLogLog> {
  const united = new HyperLogLog()
  for (const reads of chunksOf(chunksOf(names, SKETCHES_PER_READ), CONCURRENT_READS_MAX)) {
    await Promise.all(
      reads.map(async (read) => {
        const reply = await redis.connections.common.callBuffer('mget', [...read])
        for (const bytes of reply as readonly (Buffer | null)[]) if (bytes !== null) united.unionEncoded(bytes)
      }),
    )
  }
  return united
}

/** Deletes the set sketches of a window that `expire-window.lua` has expired. Their names are in `setsToDeleteOf`. */
export async function clearSets(redis: RedisAccess, partition: number, window: WindowKey): Promise<void> {
  const keys = redis.keys(partition)
  const setsToDelete = keys.setsToDeleteOf(window)
  for (;;) {
    const names = textList(await redis.call('srandmember', setsToDelete, SKETCHES_CLEARED_PER_CALL))
    const call = new ScriptCall().key(setsToDelete, keys.windowsWithSetsToDelete).arg(windowName(window), names.length)
    if (names.length === 0) {
      await redis.run('clear-sets', call)
      return
    }
    for (const name of names) call.key(sketchKey(keys, window, name)).arg(name)
    if ((await redis.run('clear-sets', call)) === '0') return
  }
}

/** Deletes set sketches of expired windows that are left, for example because a gateway stopped during `clearSets`. */
export async function finishClearing(redis: RedisAccess, partition: number): Promise<void> {
  const { windowsWithSetsToDelete } = redis.keys(partition)
  for (const name of textList(await redis.call('srandmember', windowsWithSetsToDelete, SKETCHES_CLEARED_PER_CALL))) {
    const [metricId, resolutionMs, windowMs] = name.split('.')
    const window = {
      metricId: parseId(metricId!),
      resolutionMs: Number(resolutionMs),
      windowMs: Number(windowMs),
    }
    await clearSets(redis, partition, window)
  }
}

function sketchKey(keys: PartitionKeys, { metricId, resolutionMs, windowMs }: WindowKey, name: string): string {
  const [position, series] = name.split('.')
  return keys.sketchKeyPrefix({ metricId, resolutionMs, bucketMs: windowMs + Number(position) * resolutionMs }) + series
}
