import type { MetricRow } from './catalog.ts'

/** A page of `listMetrics` ends when its tag keys have more characters than this. It limits the memory of a page. */
export const LISTED_TAG_KEY_CHARS_MAX = 1 << 20

export function tagKeyChars({ tagKeys }: MetricRow): number {
  return tagKeys.reduce((sum, key) => sum + key.length, 0)
}
