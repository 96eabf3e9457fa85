import fc from 'fast-check'
import { expect, test } from 'vitest'
import { openBlock } from '../../src/rollup/block/block.ts'
import { encodeBlock } from '../../src/rollup/block/encode-block.ts'
import { mergeRows } from '../../src/rollup/merge-rows.ts'
import type { RollupRows } from '../../src/rollup/rollup-rows.ts'
import { RollupTable } from '../../src/rollup/rollup-table.ts'
import { increaseBetween, RunningTotals, TOTALS_LENGTH_MAX } from '../../src/rollup/running-totals.ts'

/**
 * Running totals of one series on their way through the engine: they arrive in any order, in commits of several
 * gateways, are folded into every resolution now and then, and are asked for at each of them while the rest lies in the
 * inbox. Held to the naive reading of all points in order of time.
 */

type Point = readonly [timeMs: number, value: number]

const STEPS_MS = [10_000, 60_000, 900_000, 3_600_000]
const METRIC = { hi: 1, lo: 1 }

/** As it comes back from the store. */
function stored(rows: RollupRows, stepMs: number): RollupRows {
  const { scalars } = encodeBlock(stepMs, [{ metricId: METRIC, rows }])
  return openBlock('b', scalars).sections[0]!
}

function commit(points: readonly Point[]): RollupRows {
  const table = new RollupTable('counter')
  for (const [timeMs, value] of points)
    table.addTotal(table.addRow(1, 1, Math.floor(timeMs / STEPS_MS[0]!) * STEPS_MS[0]!), timeMs, value)
  return stored(table.toSortedRows(), STEPS_MS[0]!)
}

/** The runs that folding after some of the commits leaves at each step, and the inbox. */
function fold(commits: readonly (readonly Point[])[], foldsAfter: readonly boolean[]) {
  const runs = STEPS_MS.map((): RollupRows[] => [])
  let inbox: RollupRows[] = []
  for (const [i, points] of commits.entries()) {
    if (points.length > 0) inbox.push(commit(points))
    if (foldsAfter[i] !== true || inbox.length === 0) continue
    let rows: RollupRows = mergeRows(inbox, STEPS_MS[0]!)
    for (const [level, stepMs] of STEPS_MS.entries()) {
      if (level > 0) rows = mergeRows([rows], stepMs, { isCoarse: true })
      const isCoarse = level > 0
      const pile = [...runs[level]!, stored(rows, stepMs)]
      // Runs are merged too.
      runs[level] = pile.length < 3 ? pile : [stored(mergeRows(pile, stepMs, { isCoarse }), stepMs)]
    }
    inbox = []
  }
  return { runs, inbox }
}

function increaseOf(sources: readonly RollupRows[], stepMs: number): { increase: number; inexact: boolean } {
  const byBucket = new Map<number, RunningTotals>()
  for (const rows of sources) {
    for (let row = 0; row < rows.length; row++) {
      const bucketMs = Math.floor(rows.bucketMs[row]! / stepMs) * stepMs
      const joined = byBucket.get(bucketMs) ?? new RunningTotals()
      byBucket.set(bucketMs, joined)
      joined.merge(rows.totalsAt(row)!)
    }
  }
  let increase = 0
  let inexact = false
  let previous: number | undefined
  for (const [, totals] of [...byBucket].sort(([a], [b]) => a - b)) {
    increase += totals.computeIncrease() + (previous === undefined ? 0 : increaseBetween(previous, totals.value[0]!))
    inexact ||= totals.isInexact
    previous = totals.value[totals.length - 1]!
  }
  return { increase, inexact }
}

function naive(points: readonly Point[]): number {
  let increase = 0
  for (let i = 1; i < points.length; i++) increase += increaseBetween(points[i - 1]![1], points[i]![1])
  return increase
}

const times = (count: number) =>
  fc
    .uniqueArray(fc.integer({ min: 0, max: 2 * 3_600_000 }), { minLength: count, maxLength: count })
    .map((list) => list.sort((a, b) => a - b))

/** Each stretch lies below the one before: a reset goes down to where the counter has not been since. */
const descending = fc
  .array(fc.array(fc.integer({ min: 0, max: 99 }), { minLength: 1, maxLength: 8 }), {
    minLength: 1,
    maxLength: TOTALS_LENGTH_MAX / 2,
  })
  .map((stretches) =>
    stretches.flatMap((steps, i) => steps.sort((a, b) => a - b).map((value) => value + (stretches.length - i) * 100)),
  )

const any = fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: TOTALS_LENGTH_MAX })

/** A sequence, and its points in commits in order of arrival. */
const arriving = (values: fc.Arbitrary<number[]>) =>
  values
    .chain((list) => fc.tuple(fc.constant(list), times(list.length)))
    .map(([list, at]) => at.map((timeMs, i): Point => [timeMs, list[i]!]))
    .chain((points) =>
      fc.record({
        points: fc.constant(points),
        order: fc.shuffledSubarray([...points.keys()], { minLength: points.length, maxLength: points.length }),
        cuts: fc.array(fc.nat(points.length), { maxLength: 8 }),
      }),
    )
    .map(({ points, order, cuts }) => {
      const edges = [0, ...cuts.sort((a, b) => a - b), points.length]
      const commits = edges.slice(1).map((end, i) => order.slice(edges[i]!, end).map((at) => points[at]!))
      return { points, commits }
    })

test('a counter whose resets show has its true increase at every resolution, whatever was folded when', () => {
  fc.assert(
    fc.property(
      arriving(descending),
      fc.array(fc.boolean(), { minLength: 9, maxLength: 9 }),
      ({ points, commits }, foldsAfter) => {
        const { runs, inbox } = fold(commits, foldsAfter)
        for (const [level, stepMs] of STEPS_MS.entries()) {
          expect(increaseOf([...runs[level]!, ...inbox], stepMs)).toEqual({ increase: naive(points), inexact: false })
        }
      },
    ),
    { numRuns: 300 },
  )
})

test('any 16 totals have their true increase at every resolution when they lie in the inbox or are folded together', () => {
  fc.assert(
    fc.property(arriving(any), fc.boolean(), ({ points, commits }, isFolded) => {
      const { runs, inbox } = fold(commits, [...commits.slice(1).map(() => false), isFolded])
      for (const [level, stepMs] of STEPS_MS.entries()) {
        expect(increaseOf([...runs[level]!, ...inbox], stepMs)).toEqual({ increase: naive(points), inexact: false })
      }
    }),
    { numRuns: 300 },
  )
})

test('late totals that a coarser resolution can no longer place never add to the increase', () => {
  fc.assert(
    fc.property(
      arriving(any),
      fc.array(fc.boolean(), { minLength: 9, maxLength: 9 }),
      ({ points, commits }, foldsAfter) => {
        const { runs, inbox } = fold(commits, foldsAfter)
        const truth = naive(points)
        expect(increaseOf([...runs[0]!, ...inbox], STEPS_MS[0]!)).toEqual({ increase: truth, inexact: false })
        for (const [level, stepMs] of STEPS_MS.entries()) {
          const { increase } = increaseOf([...runs[level]!, ...inbox], stepMs)
          expect(increase).toBeGreaterThanOrEqual(0)
          expect(increase).toBeLessThanOrEqual(truth)
        }
      },
    ),
    { numRuns: 300 },
  )
})
