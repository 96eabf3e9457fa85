import { describe, expect, it } from 'vitest'
import { fillLine, type ResultGroup } from '../../../src/query/compute/result.ts'

/** Buckets with a value, empty ones (undefined), and ones whose number does not exist (NaN). */
function group(...values: readonly (number | undefined)[]): ResultGroup {
  return {
    tags: [],
    series: undefined,
    bucketStates: Uint8Array.from(values, (value) => (value === undefined ? 0 : 1)),
    values: new Map([['last', Float64Array.from(values, (value) => value ?? Number.NaN)]]),
    totals: new Map(),
  }
}

const GAPS = group(undefined, 1, undefined, Number.NaN, undefined, 0)

describe('fillLine', () => {
  it.each([
    ['none', [1, 3, 5], [1, null, 0]],
    ['null', [0, 1, 2, 3, 4, 5], [null, 1, null, null, null, 0]],
    ['zero', [0, 1, 2, 3, 4, 5], [0, 1, 0, null, 0, 0]],
    ['previous', [0, 1, 2, 3, 4, 5], [null, 1, 1, null, 1, 0]],
  ] as const)('with %s', (fill, bucket, values) => {
    expect(fillLine(GAPS, 'last', fill)).toEqual({ bucketIndexes: bucket, values })
  })

  it('shows a number that overflowed as one that does not exist', () => {
    expect(fillLine(group(Number.POSITIVE_INFINITY, 2), 'last', 'none').values).toEqual([null, 2])
  })

  it('has a row for each bucket with points even of an aggregation that was not computed', () => {
    expect(fillLine(GAPS, 'p95', 'none')).toEqual({ bucketIndexes: [1, 3, 5], values: [null, null, null] })
  })

  it('is empty without points', () => {
    expect(fillLine(group(undefined, undefined), 'last', 'none')).toEqual({ bucketIndexes: [], values: [] })
    expect(fillLine(group(), 'last', 'zero')).toEqual({ bucketIndexes: [], values: [] })
  })
})
