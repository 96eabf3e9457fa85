import type { MetricRow } from './store.ts'

/**
 * A page of `listMetrics` ends early once the tag keys of its metrics have more characters than this: it bounds memory.
 */
export const LISTED_CHARS_MAX = 1 << 20

export function tagKeyChars({ tagKeys }: MetricRow): number {
  return tagKeys.reduce((sum, key) => sum + key.length, 0)
}
