import fc from 'fast-check'
import { expect, test } from 'vitest'
import { countChars, firstChars, isLongerThan } from '../../src/model/text.ts'

test('characters are code points', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 12 }), fc.nat(12), (text, max) => {
      const chars = [...text]
      expect(countChars(text)).toBe(chars.length)
      expect(isLongerThan(text, max)).toBe(chars.length > max)
      expect(firstChars(text, max)).toBe(chars.slice(0, max).join(''))
    }),
  )
  expect(countChars('\ud800😀\udc00')).toBe(3)
})
