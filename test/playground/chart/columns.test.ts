import { expect, it } from 'vitest'
import { columnsOf, isolatedRows } from '../../../playground/chart/columns.ts'

const line = (timestamps: readonly number[], values: readonly (number | null)[]) => ({
  ...{ id: 'a', label: 'a', total: null, comparedWith: undefined, isRemainder: false, timestamps, values },
})

it('lines of different times share one column of times; null is a gap, and a bucket that a line does not have is none', () => {
  expect(columnsOf([line([1, 3], [10, null]), line([2, 3], [20, 30])])).toEqual([
    [1, 2, 3],
    [10, undefined, null],
    [undefined, 20, 30],
  ])
  expect(columnsOf([])).toEqual([[]])
})

it.each([
  [
    [1, null, 2, 3, null, 4],
    [0, 5],
  ],
  [[null, 1, null], [1]],
  [[1, undefined, 2], []],
  [[1], [0]],
  [[null, undefined, 1, undefined, null], [2]],
  [[], []],
])('of %j the rows %j stand alone', (column, rows) => {
  expect(isolatedRows(column)).toEqual(rows)
})
