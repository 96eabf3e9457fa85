import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BucketFinder, PlannedReadFinder } from '../../../src/query/plan/find-by-time.ts'
import type { PlannedRead } from '../../../src/query/plan/plan.ts'

const ascending = fc
  .uniqueArray(fc.integer({ min: -10_000, max: 10_000 }), { minLength: 2, maxLength: 40 })
  .map((edges) => edges.sort((a, b) => a - b))

describe('BucketFinder', () => {
  it('divides if buckets have equal widths, before 1970 too', () => {
    const finder = new BucketFinder(Float64Array.of(-20, -10, 0, 10))
    expect([-20, -11, -10, -1, 0, 9].map((timeMs) => finder.bucketIndexAt(timeMs))).toEqual([0, 0, 1, 1, 2, 2])
  })

  it('searches if they have different widths', () => {
    const finder = new BucketFinder(Float64Array.of(0, 23, 47, 72))
    expect([71, 0, 22, 23, 46, 47].map((timeMs) => finder.bucketIndexAt(timeMs))).toEqual([2, 0, 0, 1, 1, 2])
  })

  it('finds the bucket that begins at or before an instant and ends after it, in any order of calls', () => {
    fc.assert(
      fc.property(ascending, fc.array(fc.nat()), (edges, picks) => {
        const finder = new BucketFinder(Float64Array.from(edges))
        const span = edges.at(-1)! - edges[0]!
        for (const pick of picks) {
          const timeMs = edges[0]! + (pick % span)
          const bucket = finder.bucketIndexAt(timeMs)
          expect(edges[bucket]).toBeLessThanOrEqual(timeMs)
          expect(edges[bucket + 1]).toBeGreaterThan(timeMs)
        }
      }),
    )
  })
})

describe('ReadFinder', () => {
  const reads: PlannedRead[] = [
    { level: 0, fromMs: 0, toMs: 10 },
    { level: 1, fromMs: 10, toMs: 40 },
    { level: 0, fromMs: 50, toMs: 60 },
  ]

  it('finds the read that holds an instant, or none', () => {
    const finder = new PlannedReadFinder(reads)
    const found = [-1, 0, 9, 10, 39, 40, 49, 50, 59, 60, 5].map((timeMs) => finder.plannedReadAt(timeMs))
    const at = found.map((read) => (read === undefined ? -1 : reads.indexOf(read)))
    expect(at).toEqual([-1, 0, 0, 1, 1, -1, -1, 2, 2, -1, 0])
  })

  it('finds nothing without reads', () => {
    expect(new PlannedReadFinder([]).plannedReadAt(0)).toBeUndefined()
  })

  it('agrees with a linear search', () => {
    fc.assert(
      fc.property(ascending, fc.array(fc.integer({ min: -10_000, max: 10_000 })), (edges, times) => {
        const some = edges
          .slice(1)
          .flatMap((toMs, i): PlannedRead[] => (i % 3 === 2 ? [] : [{ level: 0, fromMs: edges[i]!, toMs }]))
        const finder = new PlannedReadFinder(some)
        for (const timeMs of times)
          expect(finder.plannedReadAt(timeMs)).toBe(some.find(({ fromMs, toMs }) => fromMs <= timeMs && timeMs < toMs))
      }),
    )
  })
})
