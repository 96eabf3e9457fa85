import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { increaseBetween, RunningTotals, TOTALS_LENGTH_MAX } from '../../src/rollup/running-totals.ts'

type Point = readonly [timeMs: number, value: number]

function totalsOf(points: readonly Point[]): RunningTotals {
  const totals = new RunningTotals()
  for (const [timeMs, value] of points) totals.add(timeMs, value)
  return totals
}

function pointsOf(totals: RunningTotals): Point[] {
  return totals.timeMs.map((timeMs, i) => [timeMs, totals.value[i]!] as const)
}

function trueIncrease(points: readonly Point[]): number {
  let increase = 0
  for (let i = 1; i < points.length; i++) increase += increaseBetween(points[i - 1]![1], points[i]![1])
  return increase
}

describe('increaseBetween', () => {
  test.each([
    [100, 130, 30],
    [100, 100, 0],
    [100, 5, 5],
    [100, 0, 0],
    [-5, -8, 0],
  ])('from %d to %d is %d', (previous, value, expected) => {
    expect(increaseBetween(previous, value)).toBe(expected)
  })
})

describe('what a list of totals keeps when it is thinned', () => {
  test.each<[string, Point[], Point[], number]>([
    ['nothing of nothing', [], [], 0],
    ['one point', [[1, 5]], [[1, 5]], 0],
    [
      'the ends of a rise',
      [
        [1, 5],
        [2, 6],
        [3, 6],
        [4, 9],
      ],
      [
        [1, 5],
        [4, 9],
      ],
      4,
    ],
    [
      'peak and trough of a reset',
      [
        [1, 5],
        [2, 9],
        [3, 2],
        [4, 4],
      ],
      [
        [1, 5],
        [2, 9],
        [3, 2],
        [4, 4],
      ],
      8,
    ],
    [
      'a late point in its place',
      [
        [0, 100],
        [10, 130],
        [5, 115],
      ],
      [
        [0, 100],
        [10, 130],
      ],
      30,
    ],
    [
      'the later arrival of two at one time',
      [
        [0, 100],
        [5, 130],
        [5, 110],
      ],
      [
        [0, 100],
        [5, 110],
      ],
      10,
    ],
  ])('%s', (_, points, kept, increase) => {
    const totals = totalsOf(points)
    expect(totals.computeIncrease()).toBe(increase)
    totals.thin()
    expect(pointsOf(totals)).toEqual(kept)
    expect(totals.computeIncrease()).toBe(increase)
    expect(totals.isInexact).toBe(false)
  })

  test('interleaved gateways join into one rise', () => {
    const totals = totalsOf([
      [1, 100],
      [3, 120],
    ])
    totals.merge(
      totalsOf([
        [2, 110],
        [4, 130],
      ]),
    )
    expect(totals.computeIncrease()).toBe(30)
    totals.thin()
    expect(pointsOf(totals)).toEqual([
      [1, 100],
      [4, 130],
    ])
  })

  test.each<[string, Point[], Point[], boolean]>([
    [
      'between its values',
      [
        [0, 100],
        [5, 115],
        [10, 130],
      ],
      [[7, 120]],
      false,
    ],
    [
      'of two readings, both in place',
      [
        [0, 100],
        [5, 115],
        [10, 130],
      ],
      [
        [7, 120],
        [9, 125],
      ],
      false,
    ],
    [
      'after all of it',
      [
        [0, 100],
        [5, 115],
        [10, 130],
      ],
      [[11, 3]],
      false,
    ],
    [
      'before all of it',
      [
        [0, 100],
        [5, 115],
        [10, 130],
      ],
      [[-1, 500]],
      false,
    ],
    [
      'in a reset that it saw',
      [
        [0, 100],
        [5, 115],
        [10, 3],
        [11, 4],
        [12, 5],
      ],
      [[7, 120]],
      false,
    ],
    [
      'of a reset that it did not see',
      [
        [0, 100],
        [5, 115],
        [10, 130],
      ],
      [[7, 3]],
      true,
    ],
    [
      'of a peak that it did not see',
      [
        [0, 100],
        [5, 115],
        [10, 130],
      ],
      [
        [7, 200],
        [8, 210],
      ],
      true,
    ],
    [
      'in place of one of its ends',
      [
        [0, 100],
        [5, 115],
        [10, 130],
      ],
      [[10, 110]],
      true,
    ],
    [
      'the same as one of its ends',
      [
        [0, 100],
        [5, 115],
        [10, 130],
      ],
      [
        [10, 130],
        [12, 131],
      ],
      false,
    ],
  ])('a later point %s', (_, early, late, inexact) => {
    const [byMerge, byAdd, early1] = [totalsOf(early), totalsOf(early), totalsOf(late)]
    byMerge.thin()
    byAdd.thin()
    byMerge.merge(early1)
    for (const [timeMs, value] of late) byAdd.add(timeMs, value)
    expect([byMerge.isInexact, byAdd.isInexact]).toEqual([inexact, inexact])
    const truth = [...new Map([...early, ...late])].sort(([a], [b]) => a - b)
    if (inexact) expect(byMerge.computeIncrease()).toBeLessThanOrEqual(trueIncrease(truth))
    else expect(byMerge.computeIncrease()).toBe(trueIncrease(truth))
    const mirrored = totalsOf(late)
    const thinned = totalsOf(early)
    thinned.thin()
    mirrored.merge(thinned)
    if (truth.length === early.length + late.length) expect(mirrored.isInexact).toBe(inexact)
  })

  test('on equal times the merged list is the later arrival', () => {
    const totals = totalsOf([[1, 100]])
    totals.merge(totalsOf([[1, 90]]))
    expect(pointsOf(totals)).toEqual([[1, 90]])
    totals.merge(
      totalsOf([
        [0, 50],
        [1, 40],
      ]),
    )
    expect(pointsOf(totals)).toEqual([
      [0, 50],
      [1, 40],
    ])
  })
})

/** Stretches that each lie below the one before, so that whoever sees two of them sees the reset between. */
const descendingStretches = (stretchesMax: number) =>
  fc
    .array(fc.array(fc.integer({ min: 0, max: 99 }), { minLength: 1, maxLength: 6 }), {
      minLength: 1,
      maxLength: stretchesMax,
    })
    .map((stretches) =>
      stretches
        .flatMap((steps, i) => [...steps].sort((a, b) => a - b).map((value) => value + (stretches.length - i) * 100))
        .map((value, timeMs): Point => [timeMs, value]),
    )

const anyPoints = fc
  .array(fc.integer({ min: 0, max: 50 }), { maxLength: 60 })
  .map((values) => values.map((value, timeMs): Point => [timeMs, value]))

/** The points dealt to lists, each in its own order, and the lists in the order they are merged. */
const dealt = (points: fc.Arbitrary<Point[]>) =>
  points.chain((sequence) =>
    fc
      .tuple(
        fc.constant(sequence),
        fc.array(fc.integer({ min: 0, max: 4 }), { minLength: sequence.length, maxLength: sequence.length }),
        fc.shuffledSubarray([...sequence.keys()], { minLength: sequence.length, maxLength: sequence.length }),
      )
      .map(([truth, hands, order]) => {
        const lists = Array.from({ length: 5 }, () => new RunningTotals())
        for (const i of order) lists[hands[i]!]!.add(truth[i]![0], truth[i]![1])
        return { truth, lists }
      }),
  )

describe('properties of totals', () => {
  test('dealt to any lists in any order and merged, a sequence has its true increase', () => {
    fc.assert(
      fc.property(dealt(descendingStretches(TOTALS_LENGTH_MAX / 2)), ({ truth, lists }) => {
        const merged = new RunningTotals()
        for (const list of lists) {
          list.thin()
          merged.merge(list)
        }
        expect(merged.computeIncrease()).toBe(trueIncrease(truth))
        expect(merged.isInexact).toBe(false)
      }),
    )
  })

  test('up to 16 points, dealt to any lists in any order, have their true increase whatever they are', () => {
    fc.assert(
      fc.property(dealt(anyPoints.map((points) => points.slice(0, TOTALS_LENGTH_MAX))), ({ truth, lists }) => {
        const merged = new RunningTotals()
        for (const list of lists) merged.merge(list)
        expect(merged.computeIncrease()).toBe(trueIncrease(truth))
        expect([merged.isInexact, merged.isThinned]).toEqual([false, false])
      }),
    )
  })

  test('thinned between merges or not, a counter that is never reset has its true increase', () => {
    const rising = fc
      .array(fc.integer({ min: 0, max: 9 }), { maxLength: 60 })
      .map((steps) => steps.map((_, i): Point => [i, steps.slice(0, i + 1).reduce((sum, step) => sum + step, 0)]))
    fc.assert(
      fc.property(
        dealt(rising),
        fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
        ({ truth, lists }, thinning) => {
          const merged = new RunningTotals()
          for (const [i, list] of lists.entries()) {
            if (thinning[i] === true) list.thin()
            merged.merge(list)
            if (thinning[i] === true) merged.thin()
          }
          expect(merged.computeIncrease()).toBe(trueIncrease(truth))
          expect(merged.isInexact).toBe(false)
        },
      ),
    )
  })

  test('beyond the bound the increase stays, the list is marked inexact and keeps its ends', () => {
    fc.assert(
      fc.property(descendingStretches(40), (truth) => {
        const totals = totalsOf(truth)
        expect(totals.length).toBeLessThanOrEqual(TOTALS_LENGTH_MAX)
        expect(totals.computeIncrease()).toBe(trueIncrease(truth))
        expect(pointsOf(totals)[0]).toEqual(truth[0])
        expect(pointsOf(totals).at(-1)).toEqual(truth.at(-1))
        if (totals.droppedIncrease > 0) expect(totals.isInexact).toBe(true)
      }),
    )
  })

  test('whatever is lost, the increase never exceeds the true one and is never negative', () => {
    fc.assert(
      fc.property(
        dealt(anyPoints).filter(({ lists }) => lists.every((list) => !list.isInexact)),
        ({ truth, lists }) => {
          const merged = new RunningTotals()
          for (const list of lists) merged.merge(list)
          expect(merged.computeIncrease()).toBeGreaterThanOrEqual(0)
          expect(merged.computeIncrease()).toBeLessThanOrEqual(trueIncrease(truth))
        },
      ),
    )
  })

  test('an empty list changes nothing on either side', () => {
    fc.assert(
      fc.property(anyPoints, (points) => {
        const left = new RunningTotals()
        left.merge(totalsOf(points))
        const right = totalsOf(points)
        right.merge(new RunningTotals())
        expect(left).toEqual(totalsOf(points))
        expect(right).toEqual(totalsOf(points))
      }),
    )
  })
})
