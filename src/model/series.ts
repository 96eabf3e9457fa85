import { hashToId, type Id64 } from './id.ts'

/**
 * Maximum number of series in the cache of the write path, and in the cache of the query path. A full cache is emptied
 * and filled again from the store. The number is ten times the default limit of series per metric.
 */
export const CACHED_SERIES_MAX = 1_000_000

/** Tags sorted by key, each key once, without empty values. Two lists of tags of the same series become equal. */
export type CanonicalTags = readonly (readonly [key: string, value: string])[]

/**
 * Sorts tags by key. Removes tags with an empty value: they mean the same as a missing tag. If a key occurs twice, the
 * last value is used.
 */
export function canonicalTags(entries: readonly (readonly [string, string])[]): CanonicalTags {
  const byKey = new Map(entries)
  return [...byKey].filter(([, value]) => value !== '').sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
}

export function seriesIdOf(metricId: Id64, tags: CanonicalTags): Id64 {
  return hashToId(['series', String(metricId.hi), String(metricId.lo), ...tags.flat()])
}

/**
 * Maximum number of tag pairs (key and value) that are shared among series. Beyond it most values are unique, and
 * sharing them would save nothing.
 */
const SHARED_TAG_PAIRS_MAX = 4_096

/** Keeps one object for each distinct pair of tag key and value. Series with equal pairs share it, to save memory. */
export class SharedTagPairs {
  readonly #byKey = new Map<string, Map<string, readonly [key: string, value: string]>>()
  #size = 0

  /** Returns equal tags. A pair that an earlier call has seen is replaced by the object of that call. */
  share(tags: CanonicalTags): CanonicalTags {
    return tags.map((pair) => this.#shared(pair))
  }

  #shared(pair: readonly [key: string, value: string]): readonly [key: string, value: string] {
    const [key, value] = pair
    let values = this.#byKey.get(key)
    const knownPair = values?.get(value)
    if (knownPair !== undefined || this.#size >= SHARED_TAG_PAIRS_MAX) return knownPair ?? pair
    if (values === undefined) this.#byKey.set(key, (values = new Map()))
    values.set(value, pair)
    this.#size++
    return pair
  }
}
