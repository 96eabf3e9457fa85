import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { openBlock } from '../../src/rollup/block/block.ts'
import { encodeBlock } from '../../src/rollup/block/encode-block.ts'
import { mergeRows } from '../../src/rollup/merge-rows.ts'
import type { RollupRows } from '../../src/rollup/rollup-rows.ts'
import { RollupTable } from '../../src/rollup/rollup-table.ts'
import { plainRollups } from './plain-rollups.ts'

/** End markers of gauges, against a reference that keeps every point. */

interface Arrival {
  readonly series: number
  readonly timeMs: number
  /** Undefined: the series ended. */
  readonly value: number | undefined
}

const arrival = fc.record<Arrival>({
  series: fc.constantFrom(1, 2),
  timeMs: fc.integer({ min: -20, max: 40 }).map((n) => n * 1_000),
  value: fc.option(fc.integer({ min: -9, max: 9 }), { nil: undefined, freq: 2 }),
})

function tableOf(arrivals: readonly Arrival[]): RollupTable {
  const table = new RollupTable('gauge')
  const rows = new Map<string, number>()
  for (const { series, timeMs, value } of arrivals) {
    const bucketMs = Math.floor(timeMs / 10_000) * 10_000
    const key = `${series} ${bucketMs}`
    // Some buckets get several rows, which the table merges.
    const row = (timeMs % 3_000 === 0 ? undefined : rows.get(key)) ?? table.addRow(0, series, bucketMs)
    rows.set(key, row)
    if (value === undefined) table.addEnd(row, timeMs)
    else table.addValue(row, timeMs, value)
  }
  table.toSortedRows()
  return table
}

function reference(arrivals: readonly Arrival[], resolutionMs: number): Record<string, unknown>[] {
  const byRow = new Map<string, Arrival[]>()
  for (const given of arrivals) {
    const bucketMs = Math.floor(given.timeMs / resolutionMs) * resolutionMs
    const key = JSON.stringify([given.series, bucketMs])
    byRow.set(key, [...(byRow.get(key) ?? []), given])
  }
  const rows = [...byRow].map(([key, all]) => {
    const [series, bucketMs] = JSON.parse(key) as [number, number]
    const values = all.flatMap(({ value }) => value ?? [])
    const points = all.filter(({ value }) => value !== undefined)
    const last = all.reduce((latest, given) => (given.timeMs >= latest.timeMs ? given : latest))
    const first = points.reduce((found, given) => (given.timeMs < found.timeMs ? given : found), points[0] ?? last)
    return {
      series: [0, series],
      bucketMs,
      count: Math.max(1, values.length),
      sum: values.length === 0 ? Number.NaN : values.reduce((sum, value) => sum + value, 0),
      min: values.length === 0 ? Number.NaN : Math.min(...values),
      max: values.length === 0 ? Number.NaN : Math.max(...values),
      first: [first.timeMs, first.value ?? Number.NaN],
      last: [last.timeMs, last.value ?? Number.NaN],
    }
  })
  return rows.sort((a, b) => a.series[1]! - b.series[1]! || a.bucketMs - b.bucketMs)
}

function stored(rows: RollupRows, resolutionMs: number): RollupRows {
  const metricId = { hi: 1, lo: 2 }
  const { scalars } = encodeBlock(resolutionMs, [{ metricId, rows }])
  const section = openBlock('a block', scalars).section(metricId)
  if (section === undefined) throw new Error('the block has no section')
  return section
}

describe('end markers', () => {
  it('are kept by tables, blocks and merges, in any division of what arrives', () => {
    const parts = fc.array(fc.array(arrival, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(parts, fc.constantFrom(10_000, 20_000, 60_000), fc.boolean(), (given, resolutionMs, isNested) => {
        const arrivals = given.flat()
        const sources = given.map((part) => stored(tableOf(part), 10_000))
        const isCoarse = resolutionMs > 10_000
        const merge = (rows: readonly RollupRows[]) => mergeRows(rows, resolutionMs, { isCoarse })
        const head = sources.slice(0, 2)
        const merged = isNested ? merge([stored(merge(head), resolutionMs), ...sources.slice(2)]) : merge(sources)
        expect(plainRollups(stored(merged, resolutionMs))).toEqual(reference(arrivals, resolutionMs))
      }),
      { numRuns: 500 },
    )
  })
})
