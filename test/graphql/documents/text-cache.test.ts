import { expect, test } from 'vitest'
import { createTextCache } from '../../../src/graphql/documents/text-cache.ts'

const ten = (letter: string) => letter.repeat(10)
const cacheOfKeys = () => createTextCache<object>(25, (_value, key) => key)
const value = {}

test('the least recently used text is evicted when the texts grow too long together', () => {
  const cache = cacheOfKeys()
  cache.set(ten('a'), value)
  cache.set(ten('b'), value)
  expect(cache.get(ten('a'))).toBe(value)
  cache.set(ten('c'), value)
  expect(['a', 'b', 'c'].map((letter) => cache.get(ten(letter)))).toEqual([value, undefined, value])
})

test('setting a text again does not count it twice', () => {
  const cache = cacheOfKeys()
  for (let round = 0; round < 100; round++) cache.set(ten('a'), value)
  cache.set(ten('b'), value)
  expect(['a', 'b'].map((letter) => cache.get(ten(letter)))).toEqual([value, value])
})

test('a text above the bound of one text is not kept, and evicts nothing', () => {
  const cache = createTextCache<object>(100, (_value, key) => key, 25)
  cache.set('a', value)
  cache.set('x'.repeat(26), value)
  expect(cache.get('x'.repeat(26))).toBeUndefined()
  expect(cache.get('a')).toBe(value)
})

test('the empty text is a text', () => {
  const cache = cacheOfKeys()
  cache.set('', value)
  expect(cache.get('')).toBe(value)
})
