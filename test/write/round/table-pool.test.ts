import { expect, it } from 'vitest'
import type { RollupTable } from '../../../src/rollup/rollup-table.ts'
import { TablePool } from '../../../src/write/round/table-pool.ts'

const BUCKET_MS = 10_000

/** Adds a row for each point, in an order in which no two points of the same bucket are neighbours. */
function addPoints(table: RollupTable, length: number): void {
  for (let i = 0; i < length; i++) table.addValue(table.addRow(1, 1, (i % 3) * BUCKET_MS), 0, i)
}

it('reuses a table, without its rows', () => {
  const pool = new TablePool()
  const table = pool.take('gauge')
  addPoints(table, 1_000)
  pool.giveBack(table)
  expect(pool.take('counter')).not.toBe(table)
  expect(pool.take('gauge')).toBe(table)
  expect(table.length).toBe(0)
  expect(pool.take('gauge')).not.toBe(table)
})

it.each(['gauge', 'distribution'] as const)(
  'keeps no %s table with a large capacity, however few rows it has',
  (kind) => {
    const pool = new TablePool()
    const table = pool.take(kind)
    addPoints(table, 100_000)
    expect(table.toSortedRows().length).toBe(3)
    pool.giveBack(table)
    expect(pool.take(kind)).not.toBe(table)
  },
)
