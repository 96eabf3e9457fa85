import fc from 'fast-check'
import { expect, test } from 'vitest'
import { orderByKey, orderOfIntegers } from '../../src/rollup/radix-sort.ts'

const key = fc.oneof(fc.integer({ min: 0, max: 0xffffffff }), fc.integer({ min: 0, max: 3 }))

test('positions come in order of key and then as the comparator says', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(key, fc.nat(5)), { maxLength: 200 }), (entries) => {
      const keys = Uint32Array.from(entries, ([k]) => k)
      const compare = (a: number, b: number) => entries[b]![1] - entries[a]![1] || a - b
      const expected = [...entries.keys()].sort((a, b) => keys[a]! - keys[b]! || compare(a, b))
      expect([...orderByKey(keys, keys.length, compare)]).toEqual(expected)
    }),
  )
})

test('many keys are sorted by the larger digits too', () => {
  const keys = Uint32Array.from({ length: 5000 }, (_, i) => Math.imul(i, 2654435761))
  const order = orderByKey(keys, keys.length, (a, b) => a - b)
  expect([...order]).toEqual([...keys.keys()].sort((a, b) => keys[a]! - keys[b]! || a - b))
})

test('integers of any distance are ordered, equal ones as given', () => {
  const integer = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.maxSafeInteger())
  fc.assert(
    fc.property(fc.array(integer, { maxLength: 100 }), (values) => {
      const expected = [...values.keys()].sort((a, b) => values[a]! - values[b]! || a - b)
      expect([...orderOfIntegers(Float64Array.from(values))]).toEqual(expected)
    }),
  )
})
