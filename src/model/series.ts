import { hashFields, type Id64 } from './id.ts'

/**
 * Series and tag paths held in memory, for writing and for querying each. When there are more, the cache is cleared and
 * filled again from the store. Ten metrics with the most series that a metric may have by default.
 */
export const SERIES_HELD_MAX = 1_000_000

/** Tags sorted by key, each key once, no empty value. Equal series have equal canonical tags. */
export type CanonicalTags = readonly (readonly [key: string, value: string])[]

/** Drops empty values, which mean the same as a missing tag. The last duplicate of a key wins. */
export function canonicalTags(entries: readonly (readonly [string, string])[]): CanonicalTags {
  const byKey = new Map(entries)
  return [...byKey].filter(([, value]) => value !== '').sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
}

export function seriesIdOf(metricId: Id64, tags: CanonicalTags): Id64 {
  return hashFields(['series', String(metricId.hi), String(metricId.lo), ...tags.flat()])
}

/** With more pairs than this, values are mostly unique and sharing saves nothing. */
const PAIRS_MAX = 4_096

/** Shares equal tag pairs between series, so that each is in memory once. */
export class TagPairs {
  readonly #byKey = new Map<string, Map<string, readonly [key: string, value: string]>>()
  #size = 0

  /** Equal tags, with earlier pair objects where there are equal ones. */
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
