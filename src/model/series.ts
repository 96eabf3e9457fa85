import { hashToId, type Id64 } from './id.ts'

/**
 * Maximum number of series in memory, for the write path and for the query path each. A full cache is emptied and
 * filled again from the store. The number is ten times the default limit of series per metric.
 */
export const SERIES_CACHED_MAX = 1_000_000

/** Tags sorted by key: each key once, no empty value. Equal series have equal canonical tags. */
export type CanonicalTags = readonly (readonly [key: string, value: string])[]

/**
 * Sorts tags by key and drops empty values, which mean the same as a missing tag. If a key occurs twice, the last value
 * wins.
 */
export function canonicalTags(entries: readonly (readonly [string, string])[]): CanonicalTags {
  const byKey = new Map(entries)
  return [...byKey].filter(([, value]) => value !== '').sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
}

export function seriesIdOf(metricId: Id64, tags: CanonicalTags): Id64 {
  return hashToId(['series', String(metricId.hi), String(metricId.lo), ...tags.flat()])
}

/** When a metric has more pairs than this, its values are mostly unique and sharing saves nothing. */
const PAIRS_MAX = 4_096

/** Lets series share equal tag pairs, so that each pair is in memory once. */
export class TagPairs {
  readonly #byKey = new Map<string, Map<string, readonly [key: string, value: string]>>()
  #size = 0

  /** Returns equal tags in which pairs seen before are the same objects as before. */
  share(tags: CanonicalTags): CanonicalTags {
    return tags.map((pair) => this.#shared(pair))
  }

  #shared(pair: readonly [key: string, value: string]): readonly [key: string, value: string] {
    const [key, value] = pair
    let values = this.#byKey.get(key)
    const met = values?.get(value)
    if (met !== undefined || this.#size >= PAIRS_MAX) return met ?? pair
    if (values === undefined) this.#byKey.set(key, (values = new Map()))
    values.set(value, pair)
    this.#size++
    return pair
  }
}
