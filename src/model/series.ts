import { hashFields, type Id64 } from './id.ts'

/** Tags sorted by key, each key once, no empty value: the one form that identifies a series. */
export type CanonicalTags = readonly (readonly [key: string, value: string])[]

/** An empty value says the same as a missing tag, so it is dropped. Later duplicates of a key win. */
export function canonicalTags(entries: readonly (readonly [string, string])[]): CanonicalTags {
  const byKey = new Map(entries)
  return [...byKey].filter(([, value]) => value !== '').sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
}

export function seriesIdOf(metricId: Id64, tags: CanonicalTags): Id64 {
  return hashFields(['series', String(metricId.hi), String(metricId.lo), ...tags.flat()])
}

/** Beyond so many pairs the values are hardly ever alike, as those of a host are. */
const PAIRS_MAX = 4_096

/** Pairs of tags that many series have in common, each held once. */
export class TagPairs {
  readonly #byKey = new Map<string, Map<string, readonly [key: string, value: string]>>()
  #size = 0

  /** The same tags, made of pairs that were met before where there are such. */
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
