import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { runAtOnce } from '../../../src/model/steps.ts'
import { bucketLimitsOf, HistogramCounts, upperLimitsOf } from '../../../src/query/compute/limit-counts.ts'

const { POSITIVE_INFINITY: INF, NaN: NONE } = Number
type Bucket = readonly [limit: number, count: number]

function countsOf(buckets: readonly Bucket[]): HistogramCounts {
  const counts = new HistogramCounts()
  for (const [limit, count] of buckets) counts.add(limit, count)
  return counts
}

describe('a quantile of a histogram', () => {
  test.each<[string, Bucket[], number, number]>([
    [
      'lies within its bucket',
      [
        [1, 10],
        [2, 10],
      ],
      0.75,
      1.5,
    ],
    [
      'of a boundary is the limit',
      [
        [1, 10],
        [2, 10],
      ],
      0.5,
      1,
    ],
    [
      'in the first bucket counts from 0',
      [
        [10, 4],
        [20, 4],
      ],
      0.25,
      5,
    ],
    [
      'in a first bucket below 0 is its limit',
      [
        [-1, 4],
        [1, 4],
      ],
      0.25,
      -1,
    ],
    [
      'in the bucket after one below 0 counts from there',
      [
        [-1, 4],
        [1, 4],
      ],
      0.75,
      0,
    ],
    [
      'above all limits is the highest finite one',
      [
        [1, 1],
        [2, 0],
        [INF, 9],
      ],
      0.9,
      2,
    ],
    [
      'of 0 is where counts begin',
      [
        [1, 0],
        [2, 5],
      ],
      0,
      1,
    ],
    [
      'of 1 is where they end',
      [
        [1, 3],
        [2, 5],
        [4, 0],
        [INF, 0],
      ],
      1,
      2,
    ],
    [
      'passes over empty buckets',
      [
        [1, 5],
        [2, 0],
        [3, 0],
        [4, 5],
      ],
      0.75,
      3.5,
    ],
    [
      'does not depend on the order of the buckets',
      [
        [20, 4],
        [10, 4],
      ],
      0.75,
      15,
    ],
    [
      'of no observation does not exist',
      [
        [1, 0],
        [INF, 0],
      ],
      0.5,
      NONE,
    ],
    ['of nothing does not exist', [], 0.5, NONE],
    ['with no finite limit does not exist', [[INF, 5]], 0.5, NONE],
    [
      'leaves out what was taken back',
      [
        [1, -3],
        [2, 4],
      ],
      0.5,
      1.5,
    ],
    [
      'after the infinite low bucket is the limit above it',
      [
        [-INF, 1],
        [5, 3],
      ],
      0.9,
      5,
    ],
  ])('%s', (_, buckets, q, expected) => {
    expect(countsOf(buckets).quantile(q)).toBe(expected)
  })

  test('is the same of merged counts as of all of them, and ascends with its rank', () => {
    const buckets = fc.array(fc.tuple(fc.integer({ min: -5, max: 20 }), fc.nat(9)), { maxLength: 20 })
    fc.assert(
      fc.property(buckets, buckets, fc.double({ min: 0, max: 1, noNaN: true }), (some, others, q) => {
        const merged = countsOf(some)
        merged.merge(countsOf(others))
        const all = countsOf([...some, ...others])
        expect(merged.quantile(q)).toBe(all.quantile(q))
        if (Number.isNaN(all.quantile(0))) return
        expect(all.quantile(q)).toBeGreaterThanOrEqual(all.quantile(0))
        expect(all.quantile(q)).toBeLessThanOrEqual(all.quantile(1))
      }),
    )
  })
})

test('limits are read from the tag that the buckets carry', () => {
  const limits = ['0.1', '1', '1e+21', '+Inf', '-Inf'].map(
    (text) =>
      [
        ['a', 'x'],
        ['upper_limit', text],
      ] as const,
  )
  const rows = [...limits, []].map((tags, i) => ({ metricId: { hi: 1, lo: 1 }, seriesId: { hi: 1, lo: i }, tags }))
  expect([...upperLimitsOf(rows)]).toEqual([0.1, 1, 1e21, INF, -INF, INF])
})

describe('counts that are cumulative over limits', () => {
  const rows = (...tags: [string, string][][]) => tags.map((pairs) => ({ seriesId: { hi: 0, lo: 0 }, tags: pairs }))
  const le = (limit: string, host = 'a'): [string, string][] => [
    ['host', host],
    ['le', limit],
  ]
  const nextOf = (groups: number[], ...tags: [string, string][][]) => [
    ...runAtOnce(bucketLimitsOf(rows(...tags), Int32Array.from(groups), true)).nextLimit,
  ]

  test('are part of the next limit of the same histogram', () => {
    expect(nextOf([0, 0, 0, 0], le('5'), le('+Inf'), le('0.1'), le('1', 'b'))).toEqual([INF, NONE, 5, NONE])
  })

  test('stand alone in a group of their own, and where the next limit was not selected', () => {
    expect(nextOf([0, 1, -1], le('1'), le('5'), le('+Inf'))).toEqual([NONE, NONE, NONE])
  })

  test('are told from those of single buckets', () => {
    expect(nextOf([0, 0], [['upper_limit', '1']], [['upper_limit', '+Inf']])).toEqual([])
    expect([...runAtOnce(bucketLimitsOf(rows(le('1'), le('+Inf')), Int32Array.of(0, 0), true)).upperLimit]).toEqual([
      1,
      INF,
    ])
  })

  test.each<[string, [string, string][], [limit: number, isCumulative: boolean]]>([
    [
      'an attribute le beside our upper_limit',
      [
        ['le', '5'],
        ['upper_limit', '10'],
      ],
      [10, false],
    ],
    [
      'a label upper_limit, not a number, beside le',
      [
        ['le', '5'],
        ['upper_limit', 'gold'],
      ],
      [5, true],
    ],
    [
      'an empty label upper_limit beside le',
      [
        ['le', '5'],
        ['upper_limit', ''],
      ],
      [5, true],
    ],
    [
      'an attribute le, not a number, beside our upper_limit',
      [
        ['le', 'x'],
        ['upper_limit', '10'],
      ],
      [10, false],
    ],
  ])('are told from single counts also with %s', (_, tags, [limit, isCumulative]) => {
    const above = tags.map(([key]): [string, string] => [key, key === 'le' || !isCumulative ? '+Inf' : tags[1]![1]])
    const { upperLimit, nextLimit } = runAtOnce(bucketLimitsOf(rows(tags, above), Int32Array.of(0, 0), true))
    expect([...upperLimit]).toEqual([limit, INF])
    expect([...nextLimit]).toEqual(isCumulative ? [INF, NONE] : [])
    expect([...upperLimitsOf(rows(tags))]).toEqual([limit])
  })
})
