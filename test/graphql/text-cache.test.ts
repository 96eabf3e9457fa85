import { expect, test } from 'vitest'
import { TextCache } from '../../src/graphql/documents/text-cache.ts'

test('what was used longest ago goes when the texts grow too long together', () => {
  const cache = new TextCache<number>(25)
  cache.set('a', 1, 10)
  cache.set('b', 2, 10)
  expect(cache.get('a')).toBe(1)
  cache.set('c', 3, 10)
  expect(['a', 'b', 'c'].map((key) => cache.get(key))).toEqual([1, undefined, 3])
})

test('setting a text again does not make it count twice', () => {
  const cache = new TextCache<number>(25)
  for (let round = 0; round < 100; round++) cache.set('a', round, 10)
  cache.set('b', 1, 10)
  expect(['a', 'b'].map((key) => cache.get(key))).toEqual([99, 1])
})

test('a text that is too long alone is not kept, and nothing of it stays', () => {
  const cache = new TextCache<number>(25)
  cache.set('long', 1, 26)
  expect(cache.get('long')).toBeUndefined()
  cache.set('a', 1, 25)
  expect(cache.get('a')).toBe(1)
})
