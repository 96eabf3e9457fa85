import { LRUCache } from 'lru-cache'

export interface TextCache<T> {
  get(key: string): T | undefined
  set(key: string, value: T): void
}

/**
 * A least-recently-used cache bounded by the total length of its texts, not by their number. Longer texts than the
 * bound are not kept.
 */
export function createTextCache<T extends object | string>(
  charsMax: number,
  textOf: (value: T, key: string) => string,
  textCharsMax: number = charsMax,
): TextCache<T> {
  return new LRUCache<string, T>({
    maxSize: charsMax,
    maxEntrySize: textCharsMax,
    // lru-cache refuses a size of 0.
    sizeCalculation: (value, key) => Math.max(1, textOf(value, key).length),
  })
}
