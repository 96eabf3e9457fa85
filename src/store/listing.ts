import type { MetricRow } from './catalog.ts'

/** A page of `listMetrics` ends when its tag keys have more characters than this, so that its memory is bounded. */
export const LISTED_TAG_KEY_CHARS_MAX = 1 << 20

/** Returns the number of characters (UTF-16 code units) of all tag keys of a metric. */
export function tagKeyChars({ tagKeys }: MetricRow): number {
  return tagKeys.reduce((sum, key) => sum + key.length, 0)
}
