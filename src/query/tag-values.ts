import type { SeriesList } from './plan/series-cache.ts'
import { tagValueOrEmpty } from './plan/tag-filter.ts'

export interface TagValueCount {
  readonly value: string
  /** Number of series that have the value. */
  readonly seriesCount: number
}

/**
 * Returns at most `max` values of a tag, those that most series have first, equally frequent ones in order of UTF-16
 * code units. Series without the tag are ignored.
 */
export function tagValuesOf({ rows }: SeriesList, tagKey: string, max: number): readonly TagValueCount[] {
  const counts = new Map<string, number>()
  for (const { tags } of rows) {
    const value = tagValueOrEmpty(tags, tagKey)
    if (value !== '') counts.set(value, (counts.get(value) ?? 0) + 1)
  }
  return [...counts]
    .map(([value, seriesCount]) => ({ value, seriesCount }))
    .sort((a, b) => b.seriesCount - a.seriesCount || (a.value < b.value ? -1 : 1))
    .slice(0, max)
}
