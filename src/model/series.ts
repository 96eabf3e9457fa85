import { hashToId, type Id64 } from './id.ts'

/**
 * Number of series in the write path's cache, and in the query path's cache, above which the cache drops entries. It is
 * ten times the default limit of series per metric. A series takes about half a kilobyte. What was dropped is read
 * again from the store when it is needed.
 */
export const CACHED_SERIES_MAX = 1_000_000

/** Tags sorted by key, each key once, without empty values. Series of one metric with equal lists are the same. */
export type CanonicalTags = readonly (readonly [key: string, value: string])[]

/**
 * Sorts tags by key. Removes tags with an empty value: they mean the same as a missing tag. If a key occurs twice, the
 * last value is used.
 */
export function canonicalTags(pairs: readonly (readonly [string, string])[]): CanonicalTags {
  if (pairs.length > INSERTED_PAIRS_MAX) return [...new Map(pairs)].filter(hasValue).sort(byKey)
  const tags: (readonly [key: string, value: string])[] = []
  for (const pair of pairs) {
    let position = tags.length
    while (position > 0 && tags[position - 1]![0] > pair[0]) position--
    if (position > 0 && tags[position - 1]![0] === pair[0]) tags[position - 1] = pair
    else {
      for (let i = tags.length; i > position; i--) tags[i] = tags[i - 1]!
      tags[position] = pair
    }
  }
  return tags.every(hasValue) ? tags : tags.filter(hasValue)
}

/** Maximum number of tags that are sorted by insertion, which is faster for few. */
const INSERTED_PAIRS_MAX = 16

function hasValue([, value]: readonly [key: string, value: string]): boolean {
  return value !== ''
}

function byKey([a]: readonly [key: string, value: string], [b]: readonly [key: string, value: string]): number {
  return a < b ? -1 : 1
}

export function areTagsEqual(a: CanonicalTags, b: CanonicalTags): boolean {
  return a.length === b.length && a.every(([key, value], i) => b[i]![0] === key && b[i]![1] === value)
}

export function seriesIdOf(metricId: Id64, tags: CanonicalTags): Id64 {
  const fields = ['series', String(metricId.hi), String(metricId.lo)]
  for (const [key, value] of tags) fields.push(key, value)
  return hashToId(fields)
}

/**
 * Maximum number of different tag pairs (key and value) that one `SharedTagPairs` keeps. If there are more, most values
 * are probably unique, and sharing them would save little.
 */
const SHARED_TAG_PAIRS_MAX = 4_096

/**
 * Keeps one object for each of the first `SHARED_TAG_PAIRS_MAX` distinct pairs of tag key and value. Series with equal
 * pairs share it, to save memory.
 */
export class SharedTagPairs {
  readonly #byKey = new Map<string, Map<string, readonly [key: string, value: string]>>()
  #pairCount = 0

  /**
   * Returns equal tags, in which each pair that is already kept is replaced by the kept object. Keeps the other pairs
   * while there is room.
   */
  share(tags: CanonicalTags): CanonicalTags {
    return tags.map((pair) => this.#keptPairFor(pair))
  }

  #keptPairFor(pair: readonly [key: string, value: string]): readonly [key: string, value: string] {
    const [key, value] = pair
    let values = this.#byKey.get(key)
    const keptPair = values?.get(value)
    if (keptPair !== undefined || this.#pairCount >= SHARED_TAG_PAIRS_MAX) return keptPair ?? pair
    if (values === undefined) this.#byKey.set(key, (values = new Map()))
    values.set(value, pair)
    this.#pairCount++
    return pair
  }
}
