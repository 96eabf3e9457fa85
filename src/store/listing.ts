import type { MetricRow } from './store.ts'

/** Bounds the memory of a `listMetrics` page: the page ends once its tag keys have more characters than this. */
export const LISTED_CHARS_MAX = 1 << 20

export function tagKeyChars({ tagKeys }: MetricRow): number {
  return tagKeys.reduce((sum, key) => sum + key.length, 0)
}
