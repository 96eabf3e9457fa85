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
/** Windows for which one call of `finishClearing` deletes the set sketches. */
const WINDOWS_FINISHED_PER_CALL = 500

export async function countDistinct(
  redis: RedisAccess,
  partition: number,
  unions: readonly (readonly SetKey[])[],
): Promise<number[]> {
  const keys = redis.keys(partition)
  const counts = new Array<number>(unions.length).fill(0)
  const smallUnions: CountedUnion[] = []
  const largeUnions: CountedUnion[] = []
  const keyOf = cachingKeyOf(keys)
  for (const [index, union] of unions.entries()) {
    const sketchKeys = [...new Set(union.map(keyOf))]
    if (sketchKeys.length === 0) continue
    if (sketchKeys.length <= PFCOUNT_KEYS_MAX) smallUnions.push({ index, sketchKeys })
    else largeUnions.push({ index, sketchKeys })
  }
  await countSmallUnions(redis, smallUnions, counts)
  await countLargeUnions(redis, largeUnions, counts)
  return counts
}

/**
 * Returns a function that returns the Redis key of a set sketch. The function caches keys by object, and formatted ids,
 * because the same sketches, series and buckets are in many unions.
 */
function cachingKeyOf(keys: PartitionKeys): (set: SetKey) => string {
  const keyBySet = new Map<SetKey, string>()
  const formattedIds = new Map<Id64, string>()
  let lastSet: SetKey | undefined
  let prefix = ''
  return (set) => {
    let key = keyBySet.get(set)
    if (key !== undefined) return key
    const { metricId, resolutionMs, bucketMs, seriesId } = set
    if (lastSet?.metricId !== metricId || lastSet.resolutionMs !== resolutionMs || lastSet.bucketMs !== bucketMs) {
      prefix = keys.sketchKeyPrefix(set)
      lastSet = set
    }
    let seriesIdText = formattedIds.get(seriesId)
    if (seriesIdText === undefined) formattedIds.set(seriesId, (seriesIdText = formatId(seriesId)))
    key = prefix + seriesIdText
    keyBySet.set(set, key)
    return key
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
  let keyCount = 0
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
    keyCount = 0
  }
  for (const union of unions) {
    if (keyCount + union.sketchKeys.length > SKETCHES_COUNTED_PER_CALL) send()
    batch.push(union)
    keyCount += union.sketchKeys.length
  }
  if (batch.length > 0) send()
  await Promise.all(calls)
}

/**
 * Counts unions in the gateway. A sketch is often in several unions: in that of its bucket and in that of the whole
 * range. Sketches that are in exactly the same unions are merged first, and the result is merged into each union.
 */
async function countLargeUnions(redis: RedisAccess, unions: readonly CountedUnion[], counts: number[]): Promise<void> {
  const unionIndexesByKey = new Map<string, number[]>()
  for (const [unionIndex, { sketchKeys }] of unions.entries()) {
    for (const key of sketchKeys) {
      const list = unionIndexesByKey.get(key)
      if (list === undefined) unionIndexesByKey.set(key, [unionIndex])
      else list.push(unionIndex)
    }
  }
  const keysByUnions = groupsOf(unionIndexesByKey.keys(), (key) => unionIndexesByKey.get(key)!.join())
  const remainingCounts = unions.map(({ sketchKeys }) => sketchKeys.length)
  const unfinished = new Map<number, HyperLogLog>()
  for (const keys of keysByUnions.values()) {
    const sketch = await uniteSketches(redis, keys)
    for (const unionIndex of unionIndexesByKey.get(keys[0])!) {
      let unionSketch = unfinished.get(unionIndex)
      if (unionSketch === undefined) unfinished.set(unionIndex, (unionSketch = new HyperLogLog()))
      unionSketch.union(sketch)
      remainingCounts[unionIndex]! -= keys.length
      if (remainingCounts[unionIndex]! > 0) continue
      counts[unions[unionIndex]!.index] = unionSketch.estimate()
      unfinished.delete(unionIndex)
    }
  }
}

async function uniteSketches(redis: RedisAccess, sketchKeys: readonly string[]): Promise<HyperLogLog> {
  const united = new HyperLogLog()
  for (const reads of chunksOf(chunksOf(sketchKeys, SKETCHES_PER_READ), CONCURRENT_READS_MAX)) {
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
    for (const name of names) call.key(sketchKeyOf(keys, window, name)).arg(name)
    if ((await redis.run('clear-sets', call)) === '0') return
  }
}

/** Deletes set sketches of expired windows that are left, for example because a gateway stopped during `clearSets`. */
export async function finishClearing(redis: RedisAccess, partition: number): Promise<void> {
  const { windowsWithSetsToDelete } = redis.keys(partition)
  for (const name of textList(await redis.call('srandmember', windowsWithSetsToDelete, WINDOWS_FINISHED_PER_CALL))) {
    const [metricId, resolutionMs, windowMs] = name.split('.')
    const window = {
      metricId: parseId(metricId!),
      resolutionMs: Number(resolutionMs),
      windowMs: Number(windowMs),
    }
    await clearSets(redis, partition, window)
  }
}

function sketchKeyOf(keys: PartitionKeys, { metricId, resolutionMs, windowMs }: WindowKey, sketchName: string): string {
  const [bucketIndex, seriesIdText] = sketchName.split('.')
  return (
    keys.sketchKeyPrefix({ metricId, resolutionMs, bucketMs: windowMs + Number(bucketIndex) * resolutionMs }) +
    seriesIdText
  )
}
