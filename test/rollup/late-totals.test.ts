import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { increaseBetween, RunningTotals } from '../../src/rollup/running-totals.ts'

/** Totals that arrive late, in a list so long that it has dropped points and kept only their increase. */

type Point = readonly [timeMs: number, value: number]

function totalsOf(points: readonly Point[]): RunningTotals {
  const totals = new RunningTotals()
  for (const [timeMs, value] of points) totals.add(timeMs, value)
  return totals
}

function trueIncrease(points: readonly Point[]): number {
  let increase = 0
  for (let i = 1; i < points.length; i++) increase += increaseBetween(points[i - 1]![1], points[i]![1])
  return increase
}

/** Points with many resets. */
const pointsWithResets = (lengthMin: number) =>
  fc
    .array(fc.integer({ min: 0, max: 50 }), { minLength: lengthMin, maxLength: 120 })
    .map((values) => values.map((value, timeMs): Point => [timeMs, value]))

describe('an increase of dropped points', () => {
  const cut = () => {
    const values = [0, 10, 1, 20, 2, 100, 3, 200, 4, 300, 5, 400, 6, 500, 7, 600, 8]
    const points = values.map((value, timeMs): Point => [timeMs, value])
    const totals = totalsOf(points)
    // The points of 10 and 1 were dropped.
    expect([totals.length, totals.droppedIncrease]).toEqual([15, 10])
    return { points, totals }
  }
  // Between 10 and 1: the dropped 10 lies on the way to these.
  const late: readonly Point[] = [
    [1.5, 25],
    [1.6, 26],
  ]

  test('is not counted again when a late total shows it: added', () => {
    const { points, totals } = cut()
    for (const [timeMs, value] of late) totals.add(timeMs, value)
    expect(totals.computeIncrease()).toBe(trueIncrease([...points, ...late].sort(([a], [b]) => a - b)))
  })

  test.each(['later', 'earlier'])('is not counted again when a late total shows it: merged as the %s list', (which) => {
    const { points, totals } = cut()
    const [first, second] = which === 'later' ? [totals, totalsOf(late)] : [totalsOf(late), totals]
    first.merge(second)
    expect(first.computeIncrease()).toBe(trueIncrease([...points, ...late].sort(([a], [b]) => a - b)))
  })

  test('stays whole when the late total does not show it', () => {
    const { points, totals } = cut()
    const later: Point = [3.5, 1]
    totals.add(...later)
    expect(totals.computeIncrease()).toBe(trueIncrease([...points, later].sort(([a], [b]) => a - b)))
  })

  test('stays whole when another list lies wholly before or after', () => {
    fc.assert(
      fc.property(pointsWithResets(1), pointsWithResets(1), fc.boolean(), (early, points, isLateFirst) => {
        const late = points.map(([timeMs, value]): Point => [timeMs + 1_000, value])
        const lists = isLateFirst ? [totalsOf(late), totalsOf(early)] : [totalsOf(early), totalsOf(late)]
        lists[0]!.merge(lists[1]!)
        expect(lists[0]!.computeIncrease()).toBe(trueIncrease([...early, ...late]))
      }),
    )
  })

  test('never makes the increase too large, whatever late totals and lists come between the dropped points', () => {
    const dealt = fc.array(fc.record({ list: fc.nat(3), isLate: fc.boolean() }), { minLength: 120, maxLength: 120 })
    let cutLists = 0
    fc.assert(
      fc.property(pointsWithResets(40), dealt, fc.boolean(), fc.boolean(), (points, deals, isThinned, isMirrored) => {
        const lists = Array.from({ length: 4 }, () => new RunningTotals())
        const late: Point[] = []
        for (const [i, point] of points.entries()) {
          const { list, isLate } = deals[i]!
          if (isLate && list > 1) late.push(point)
          else lists[list]!.add(...point)
        }
        let merged = new RunningTotals()
        for (const list of lists) {
          if (isThinned) list.thin()
          const [first, second] = isMirrored ? [list, merged] : [merged, list]
          first.merge(second)
          merged = first
        }
        if (merged.droppedIncrease > 0) cutLists++
        for (const point of late) {
          merged.add(...point)
          if (isThinned) merged.thin()
          expect(merged.computeIncrease()).toBeLessThanOrEqual(trueIncrease(points))
        }
        expect(merged.computeIncrease()).toBeGreaterThanOrEqual(0)
        expect(merged.computeIncrease()).toBeLessThanOrEqual(trueIncrease(points))
      }),
      { numRuns: 1_000 },
    )
    expect(cutLists).toBeGreaterThan(500)
  })
})
