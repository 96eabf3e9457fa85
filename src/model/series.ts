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
