import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { ItemError } from '../../../src/model/errors.ts'
import { runAtOnce } from '../../../src/model/steps.ts'
import { sortByIndex } from '../../../src/write/round/sort-rejections.ts'

const rejection = (index: number, message = ''): ItemError => ({ index, code: 'invalid_value', message })

it('sorts by index and keeps the order of items with the same index', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(300)), (indexes) => {
      const rejected = indexes.map((index, i) => rejection(index, String(i)))
      const before = [...rejected]
      expect(runAtOnce(sortByIndex(rejected))).toEqual([...rejected].sort((a, b) => a.index - b.index))
      expect(rejected).toEqual(before)
    }),
  )
})

it('takes a step for each 20,000 items at least', () => {
  const rejected = Array.from({ length: 200_000 }, (_, i) => rejection(i < 100_000 ? 2 * i : 2 * (i - 100_000) + 1))
  const steps = sortByIndex(rejected)
  let count = 0
  while (steps.next().done !== true) count++
  expect(count).toBe(40)
})
