import { expect, test } from 'vitest'
import { type RollupKind, rollupKindOf } from '../../../src/model/metric.ts'
import type { Steps } from '../../../src/model/steps.ts'
import { parseAggregation, requiredAccumulatorsOf } from '../../../src/query/aggregations.ts'
import { Cells } from '../../../src/query/compute/cells.ts'
import { evaluate } from '../../../src/query/compute/evaluate.ts'
import { NO_BUCKET_LIMITS } from '../../../src/query/compute/limit-counts.ts'
import { mergeFirstAndLast, mergeRunningTotals } from '../../../src/query/compute/merge-ordered.ts'
import { type CellMergeInput, mergeUnordered } from '../../../src/query/compute/merge-unordered.ts'
import { RollupTable } from '../../../src/rollup/rollup-table.ts'
import { planOf } from '../../support/plan-of.ts'

/** Merging and evaluating many rollups takes many steps, between which other requests can run. */

const SERIES = 100
const BUCKETS = 360
const WIDTH_MS = 10_000
const VALUE = 3

const PLAN = planOf(BUCKETS, WIDTH_MS)

function rollups(kind: RollupKind, add: (table: RollupTable, row: number, timeMs: number) => void): RollupTable {
  const table = new RollupTable(kind)
  for (let series = 0; series < SERIES; series++) {
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const row = table.addRow(0, series, bucket * WIDTH_MS)
      add(table, row, bucket * WIDTH_MS)
    }
  }
  table.toSortedRows()
  return table
}

function inputOf(type: 'gauge' | 'counter' | 'distribution', aggregation: string, table: RollupTable): CellMergeInput {
  expect(table.kind).toBe(rollupKindOf(type))
  return {
    plan: PLAN,
    resolutionsMs: [WIDTH_MS],
    sources: [{ section: table, level: 0, isInbox: false, ordinals: Int32Array.from({ length: SERIES }, (_, i) => i) }],
    groupOfSeries: new Int32Array(SERIES),
    bucketLimits: NO_BUCKET_LIMITS,
    accumulators: requiredAccumulatorsOf([parseAggregation(aggregation)!], type),
  }
}

function run<T>(steps: Steps<T>): { readonly result: T; readonly stepCount: number } {
  for (let stepCount = 1; ; stepCount++) {
    const { done, value } = steps.next()
    if (done === true) return { result: value, stepCount }
  }
}

/** The values of the only group, and the number of steps to compute them. */
function evaluated(input: CellMergeInput, aggregation: string, cells: Cells) {
  const { result, stepCount } = run(
    evaluate(
      {
        plan: PLAN,
        baseResolutionMs: WIDTH_MS,
        nowMs: PLAN.toMs,
        aggregations: [parseAggregation(aggregation)!],
        groups: [{ tags: [], series: undefined }],
        distinctCounts: undefined,
        withTotals: true,
      },
      cells,
    ),
  )
  const { values, totals } = result.get(0)!
  expect(values.get(aggregation)).toHaveLength(input.plan.edges.length - 1)
  return { values: new Set(values.get(aggregation)), total: totals.get(aggregation), stepCount }
}

test('sums', () => {
  const input = inputOf(
    'counter',
    'sum',
    rollups('counter', (table, row, timeMs) => table.addValue(row, timeMs, VALUE)),
  )
  const cells = new Cells(1, BUCKETS, input.accumulators)
  expect(run(mergeUnordered(input, cells)).stepCount).toBeGreaterThan(5)
  expect(evaluated(input, 'sum', cells)).toMatchObject({
    values: new Set([VALUE * SERIES]),
    total: VALUE * SERIES * BUCKETS,
  })
})

test('last values', () => {
  const input = inputOf(
    'gauge',
    'last',
    rollups('gauge', (table, row, timeMs) => table.addValue(row, timeMs, VALUE)),
  )
  const cells = new Cells(1, BUCKETS, input.accumulators)
  run(mergeUnordered(input, cells))
  expect(run(mergeFirstAndLast(input, cells)).stepCount).toBeGreaterThan(50)
  expect(evaluated(input, 'last', cells)).toMatchObject({ values: new Set([VALUE]), total: VALUE })
})

test('running totals', () => {
  const table = rollups('counter', (rows, row, timeMs) => rows.addTotal(row, timeMs, (VALUE * timeMs) / WIDTH_MS))
  const input = inputOf('counter', 'sum', table)
  const cells = new Cells(1, BUCKETS, input.accumulators)
  run(mergeUnordered(input, cells))
  expect(run(mergeRunningTotals(input, [], cells)).stepCount).toBeGreaterThan(50)
  expect(evaluated(input, 'sum', cells)).toMatchObject({ total: VALUE * SERIES * (BUCKETS - 1) })
})

test('quantiles, and the merge of all buckets for the quantile of the range', () => {
  const input = inputOf(
    'distribution',
    'p50',
    rollups('distribution', (table, row, timeMs) => {
      table.addValue(row, timeMs, VALUE)
      table.addValue(row, timeMs, VALUE + 1)
    }),
  )
  const cells = new Cells(1, BUCKETS, input.accumulators)
  run(mergeUnordered(input, cells))
  const { total, stepCount } = evaluated(input, 'p50', cells)
  expect(stepCount).toBeGreaterThan(10)
  expect(Math.abs(total! - VALUE - 0.5)).toBeLessThan(0.6)
})
