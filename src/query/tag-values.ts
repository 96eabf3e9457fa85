import type { SeriesList } from './plan/series-index.ts'
import { tagValue } from './plan/tag-filter.ts'

export interface TagValue {
  readonly value: string
  /** Number of series that have the value. */
  readonly series: number
}

/**
 * The values of a tag: the most frequent first, equally frequent ones in order of code units. Series without the tag
 * are ignored.
 */
export function tagValuesOf({ rows }: SeriesList, key: string, max: number): readonly TagValue[] {
  const counts = new Map<string, number>()
  for (const { tags } of rows) {
    const value = tagValue(tags, key)
    if (value !== '') counts.set(value, (counts.get(value) ?? 0) + 1)
  }
  return [...counts]
    .map(([value, series]) => ({ value, series }))
    .sort((a, b) => b.series - a.series || (a.value < b.value ? -1 : 1))
    .slice(0, max)
}
