import fc from 'fast-check'
import type { RollupKind } from '../../src/model/metric.ts'
import type { RollupRows } from '../../src/rollup/rollup-rows.ts'
import { RollupTable } from '../../src/rollup/rollup-table.ts'
import { addBinsToSketch } from '../../src/rollup/row-bins.ts'
import { QuantileSketch } from '../../src/sketch/quantile-sketch.ts'

/** Rollups as plain objects, one a row, for comparing and printing. */
export function plainRollups(rows: RollupRows): Record<string, unknown>[] {
  const plain: Record<string, unknown>[] = []
  for (let series = 0; series < rows.seriesCount; series++) {
    for (let row = rows.rowStart[series]!; row < rows.rowStart[series + 1]!; row++) {
      const rollup: Record<string, unknown> = {
        series: [rows.seriesHi[series], rows.seriesLo[series]],
        bucketMs: rows.bucketMs[row],
        count: rows.count[row],
      }
      if (rows.kind !== 'set') rollup['sum'] = rows.sum[row]
      if (rows.kind === 'gauge' || rows.kind === 'distribution') {
        rollup['min'] = rows.min[row]
        rollup['max'] = rows.max[row]
      }
      if (rows.kind === 'gauge') {
        rollup['first'] = [rows.firstMs[row], rows.first[row]]
        rollup['last'] = [rows.lastMs[row], rows.last[row]]
      }
      if (rows.kind === 'distribution') {
        const sketch = new QuantileSketch()
        addBinsToSketch(rows, row, sketch)
        const bins: [number, number][] = []
        sketch.forEachBin((key, weight) => bins.push([key, weight]))
        rollup['bins'] = bins
      }
      if (rows.kind === 'counter') {
        const totals = rows.totalsAt(row)
        rollup['totals'] = totals?.timeMs.map((timeMs, i) => [timeMs, totals.value[i]])
        rollup['thinned'] = totals?.isThinned
        rollup['droppedIncrease'] = totals?.isInexact ? totals.droppedIncrease : undefined
      }
      plain.push(rollup)
    }
  }
  return plain
}

export interface PlainPoint {
  readonly hi: number
  readonly lo: number
  readonly timeMs: number
  readonly value: number
  /** Of a counter: a running total instead of a delta. */
  readonly total: boolean
}

export const KINDS: readonly RollupKind[] = ['gauge', 'counter', 'distribution', 'set']

export function addPoints(table: RollupTable, points: readonly PlainPoint[], resolutionMs: number): void {
  for (const { hi, lo, timeMs, value, total } of points) {
    const row = table.addRow(hi, lo, Math.floor(timeMs / resolutionMs) * resolutionMs)
    if (table.kind === 'set') table.addMember(row)
    else if (table.kind === 'counter' && total) table.addTotal(row, timeMs, value)
    else table.addValue(row, timeMs, value)
  }
}

export function tableOf(kind: RollupKind, points: readonly PlainPoint[], resolutionMs = 10_000): RollupTable {
  const table = new RollupTable(kind)
  addPoints(table, points, resolutionMs)
  table.toSortedRows()
  return table
}

/** Few series, some with the same upper half, and few buckets, so that much meets. */
export const pointsOf = (value: fc.Arbitrary<number>): fc.Arbitrary<PlainPoint[]> =>
  fc.array(
    fc.record({
      hi: fc.constantFrom(0, 5, 0xffffffff),
      lo: fc.constantFrom(0, 1, 0xfffffffe),
      timeMs: fc.oneof(
        fc.integer({ min: -50_000, max: 50_000 }),
        fc.integer({ min: -9, max: 9 }).map((n) => n * 10_000),
      ),
      value,
      total: fc.boolean(),
    }),
    { maxLength: 60 },
  )

/** Sums of small integers do not depend on the order in which they are added. */
export const smallIntegers = fc.integer({ min: -100, max: 100 })
