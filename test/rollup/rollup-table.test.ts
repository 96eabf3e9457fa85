import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { mergeRows, mergeRowsInSteps, splitByWindow } from '../../src/rollup/merge-rows.ts'
import { MergedRows } from '../../src/rollup/merged-rows.ts'
import { RollupTable } from '../../src/rollup/rollup-table.ts'
import { addPoints, KINDS, type PlainPoint, plainRollups, pointsOf, smallIntegers, tableOf } from './plain-rollups.ts'

const point = (timeMs: number, value: number, lo = 1, hi = 1): PlainPoint => ({ hi, lo, timeMs, value, total: false })
const total = (timeMs: number, value: number): PlainPoint => ({ ...point(timeMs, value), total: true })

describe('a row of a table', () => {
  test.each<[string, 'gauge' | 'counter' | 'distribution' | 'set', PlainPoint[], object]>([
    [
      'one value',
      'gauge',
      [point(1, -2.5)],
      { count: 1, sum: -2.5, min: -2.5, max: -2.5, first: [1, -2.5], last: [1, -2.5] },
    ],
    [
      'a negative zero',
      'gauge',
      [point(1, -0)],
      { count: 1, sum: -0, min: -0, max: -0, first: [1, -0], last: [1, -0] },
    ],
    [
      'values out of order',
      'gauge',
      [point(5, 1), point(9, 4), point(2, 3)],
      { count: 3, sum: 8, min: 1, max: 4, first: [2, 3], last: [9, 4] },
    ],
    [
      'equal times: the earlier arrival is first, the later last',
      'gauge',
      [point(5, 1), point(5, 2), point(5, 0)],
      { count: 3, sum: 3, min: 0, max: 2, first: [5, 1], last: [5, 0] },
    ],
    ['deltas', 'counter', [point(1, 3), point(2, -1)], { count: 2, sum: 2, totals: undefined }],
    [
      'totals beside a delta',
      'counter',
      [total(3, 120), point(1, 3), total(1, 100), total(2, 110)],
      {
        count: 4,
        sum: 3,
        totals: [
          [1, 100],
          [2, 110],
          [3, 120],
        ],
      },
    ],
    ['members', 'set', [point(1, 0), point(2, 0)], { count: 2 }],
  ])('%s', (_, kind, points, expected) => {
    const rows = plainRollups(tableOf(kind, points))
    expect(rows).toHaveLength(1)
    expect(rows[0]).toMatchObject(expected)
  })

  test('weights count as that many observations', () => {
    const table = new RollupTable('distribution')
    const row = table.addRow(1, 1, 0)
    table.addWeighted(row, 1, 10, 3)
    table.addWeighted(row, 1, 10, 1)
    table.addWeighted(row, 2, 20, 2 ** 40)
    table.toSortedRows()
    const [rollup] = plainRollups(table)
    expect(rollup).toMatchObject({ count: 4 + 2 ** 40, sum: 40 + 20 * 2 ** 40, min: 10, max: 20 })
    expect((rollup!['bins'] as [number, number][]).map(([, weight]) => weight)).toEqual([4, 2 ** 40])
  })

  test('a row without a point is left out', () => {
    for (const kind of KINDS) {
      const table = new RollupTable(kind)
      table.addRow(1, 1, 0)
      addPoints(table, [point(10_000, 1)], 10_000)
      table.addRow(1, 1, 10_000)
      expect(plainRollups(table.toSortedRows())).toHaveLength(1)
    }
  })

  test('a cleared table remembers nothing', () => {
    for (const kind of KINDS) {
      const table = new RollupTable(kind)
      addPoints(table, [point(1, 1), total(2, 5), point(3, 9)], 10_000)
      table.toSortedRows()
      table.clear()
      expect(table.estimatedBytes).toBe(0)
      expect(plainRollups(table.toSortedRows())).toEqual([])
      const next = [point(4, 2, 7), point(5, 3, 7)]
      addPoints(table, next, 10_000)
      expect(plainRollups(table.toSortedRows())).toEqual(plainRollups(tableOf(kind, next)))
    }
  })
})

test('rows may be added in any order of series and bucket', () => {
  fc.assert(
    fc.property(fc.constantFrom(...KINDS), pointsOf(smallIntegers), (kind, points) => {
      const inOrder = [...points]
        .map((p, i) => ({ p, i, bucket: Math.floor(p.timeMs / 10_000) }))
        .sort((a, b) => a.p.hi - b.p.hi || a.p.lo - b.p.lo || a.bucket - b.bucket || a.i - b.i)
        .map(({ p }) => p)
      const rows = plainRollups(tableOf(kind, points))
      expect(rows).toEqual(plainRollups(tableOf(kind, inOrder)))
      const keys = rows.map((row) => JSON.stringify([row['series'], row['bucketMs']]))
      expect(new Set(keys).size).toBe(keys.length)
    }),
  )
})

describe('mergeRows', () => {
  test.each(KINDS)('merges of %s whose steps alternate give what each gives alone', (kind) => {
    // Two sources with the same series and buckets, so that each row is merged from several.
    const sourcesOf = (seed: number) =>
      [0, 1].map((source) =>
        tableOf(
          kind,
          Array.from({ length: 6_000 }, (_, i) =>
            point(Math.floor(i / 80) * 10_000, 1 + ((i * seed + source) % 97), i % 80),
          ),
        ),
      )
    const merges = [11, 13, 17].map((seed) => mergeRowsInSteps(sourcesOf(seed), 10_000))
    const results: unknown[] = []
    let steps = 0
    for (let running = merges.length; running > 0; ) {
      for (const [i, merge] of merges.entries()) {
        if (results[i] !== undefined) continue
        const { done, value } = merge.next()
        if (done === true) {
          results[i] = plainRollups(value)
          running--
        } else steps++
      }
    }
    expect(steps).toBeGreaterThan(6)
    expect(results).toEqual([11, 13, 17].map((seed) => plainRollups(mergeRows(sourcesOf(seed), 10_000))))
  })

  /** Deltas only: which points a list of totals keeps depends on grouping (see totals.ts). */
  const deltas = (points: PlainPoint[]) => points.map((p) => ({ ...p, total: false }))
  const runs = fc.array(pointsOf(smallIntegers).map(deltas), { minLength: 1, maxLength: 8 })

  test('answers what one table of all points would, in any grouping that keeps the order', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...KINDS),
        runs,
        fc.nat(8),
        fc.constantFrom(10_000, 60_000),
        (kind, points, at, resolution) => {
          const tables = points.map((p) => tableOf(kind, p))
          const expected = plainRollups(tableOf(kind, points.flat(), resolution))
          expect(plainRollups(mergeRows(tables, resolution))).toEqual(expected)
          const left = tables.slice(0, at)
          const right = tables.slice(at)
          const halves = [left, right].filter((half) => half.length > 0).map((half) => mergeRows(half, 10_000))
          expect(plainRollups(mergeRows(halves, resolution))).toEqual(expected)
        },
      ),
      { numRuns: 300 },
    )
  })

  test('does not depend on the order but for ties of first and last', () => {
    fc.assert(
      fc.property(fc.constantFrom(...KINDS), runs, (kind, points) => {
        const distinct = points.map((run, i) => run.map((p, j) => ({ ...p, timeMs: (j * points.length + i) * 997 })))
        const tables = distinct.map((p) => tableOf(kind, p))
        expect(plainRollups(mergeRows([...tables].reverse(), 60_000))).toEqual(plainRollups(mergeRows(tables, 60_000)))
      }),
    )
  })

  test('rows of one bucket for each series become coarser without a merge, others do not', () => {
    const outcomes = new Set<string>()
    fc.assert(
      fc.property(fc.constantFrom(...KINDS), pointsOf(smallIntegers), fc.boolean(), (kind, points, isOneBucket) => {
        const run = isOneBucket ? points.map((p) => ({ ...p, timeMs: 70_000 + (p.timeMs % 5_000) })) : points
        const merged = () => mergeRows([tableOf(kind, run)], 10_000)
        const rows = merged()
        if (!(rows instanceof MergedRows)) throw new Error('a merge makes rows of its own')
        const isCoarser = rows.coarsen(60_000)
        outcomes.add(`${kind} ${isCoarser}`)
        expect(isCoarser).toBe(rows.seriesCount === rows.length)
        expect(plainRollups(rows)).toEqual(
          plainRollups(isCoarser ? mergeRows([merged()], 60_000, { isCoarse: true }) : merged()),
        )
      }),
      { numRuns: 400 },
    )
    expect([...outcomes].sort()).toEqual(KINDS.flatMap((kind) => [`${kind} false`, `${kind} true`]).sort())
  })

  test('rows that become coarser without a merge have thinned totals', () => {
    const rows = mergeRows([tableOf('counter', [total(1, 100), total(2, 110), total(3, 120)])], 10_000)
    expect(rows instanceof MergedRows && rows.coarsen(60_000)).toBe(true)
    expect(plainRollups(rows)).toMatchObject([
      {
        totals: [
          [1, 100],
          [3, 120],
        ],
      },
    ])
  })

  test('an empty table changes nothing', () => {
    fc.assert(
      fc.property(fc.constantFrom(...KINDS), pointsOf(smallIntegers), (kind, points) => {
        const table = tableOf(kind, points)
        const empty = new RollupTable(kind).toSortedRows()
        expect(plainRollups(mergeRows([empty, table, empty], 10_000))).toEqual(plainRollups(table))
      }),
    )
  })

  test('running totals of several sources join', () => {
    const tables = [
      [total(1_000, 100), total(3_000, 120)],
      [total(2_000, 110), total(14_000, 5)],
    ].map((p) => tableOf('counter', p))
    expect(plainRollups(mergeRows(tables, 60_000))).toMatchObject([
      {
        count: 4,
        totals: [
          [1_000, 100],
          [2_000, 110],
          [3_000, 120],
          [14_000, 5],
        ],
      },
    ])
    expect(plainRollups(mergeRows(tables, 60_000, { isCoarse: true }))).toMatchObject([
      {
        count: 4,
        totals: [
          [1_000, 100],
          [3_000, 120],
          [14_000, 5],
        ],
        thinned: true,
      },
    ])
    expect(tables.map((table) => table.totalsAt(0)!.length)).toEqual([2, 1])
  })

  test('leaves its sources as they are', () => {
    fc.assert(
      fc.property(fc.constantFrom(...KINDS), pointsOf(smallIntegers), (kind, points) => {
        const table = tableOf(kind, points)
        const before = plainRollups(table)
        mergeRows([table, tableOf(kind, points)], 60_000)
        expect(plainRollups(table)).toEqual(before)
      }),
    )
  })

  test('a coarser resolution preserves the sum of counts', () => {
    fc.assert(
      fc.property(fc.constantFrom(...KINDS), pointsOf(smallIntegers), (kind, points) => {
        const rows = plainRollups(mergeRows([tableOf(kind, points)], 86_400_000))
        expect(rows.reduce((sum, row) => sum + Number(row['count']), 0)).toBe(points.length)
      }),
    )
  })

  test('a range of series is inclusive on both sides', () => {
    const table = tableOf('gauge', [point(1, 1, 1, 1), point(1, 2, 2, 1), point(1, 3, 1, 2), point(1, 4, 9, 9)])
    const sums = (range: Parameters<typeof mergeRows>[2]) =>
      plainRollups(mergeRows([table], 10_000, range)).map((row) => row['sum'])
    expect(sums({ seriesFrom: { hi: 1, lo: 2 }, seriesTo: { hi: 2, lo: 1 } })).toEqual([2, 3])
    expect(sums({ seriesFrom: { hi: 1, lo: 3 } })).toEqual([3, 4])
    expect(sums({ seriesTo: { hi: 2, lo: 0 } })).toEqual([1, 2])
    expect(sums({ seriesFrom: { hi: 3, lo: 0 }, seriesTo: { hi: 8, lo: 0 } })).toEqual([])
    expect(sums({ seriesTo: { hi: 0xffffffff, lo: 0xffffffff } })).toEqual([1, 2, 3, 4])
  })

  test('hundreds of sources merge into one', () => {
    const tables = Array.from({ length: 300 }, (_, i) => tableOf('gauge', [point(i * 1_000, i, i % 7), point(0, 1, 7)]))
    const rows = plainRollups(mergeRows(tables, 86_400_000))
    expect(rows.map((row) => row['count'])).toEqual([43, 43, 43, 43, 43, 43, 42, 300])
  })

  test('kinds do not mix, and nothing has no kind', () => {
    expect(() => mergeRows([tableOf('gauge', []), tableOf('set', [])], 10_000)).toThrow(RangeError)
    expect(() => mergeRows([], 10_000)).toThrow(RangeError)
  })
})

describe('splitByWindow', () => {
  test('rows of one window are the same object', () => {
    const table = tableOf('gauge', [point(3_600_000, 1), point(7_199_999, 1)])
    const windows = splitByWindow(table, 3_600_000)
    expect([...windows.keys()]).toEqual([3_600_000])
    expect(windows.get(3_600_000)).toBe(table)
    expect(splitByWindow(tableOf('gauge', []), 1_000).size).toBe(0)
  })

  test('windows together hold every row once, each its own', () => {
    fc.assert(
      fc.property(fc.constantFrom(...KINDS), pointsOf(smallIntegers), (kind, points) => {
        const table = tableOf(kind, points)
        const windows = splitByWindow(table, 30_000)
        for (const [startMs, rows] of windows) {
          for (const row of plainRollups(rows))
            expect(Math.floor(Number(row['bucketMs']) / 30_000) * 30_000).toBe(startMs)
        }
        expect([...windows.keys()]).toEqual([...windows.keys()].sort((a, b) => a - b))
        if (windows.size > 0) {
          expect(plainRollups(mergeRows([...windows.values()], 10_000))).toEqual(plainRollups(table))
        }
      }),
    )
  })
})
