import { expect, it } from 'vitest'
import { CumulativeHistograms } from '../../../src/wire/histogram/cumulative-histograms.ts'
import { emptyHistogram } from '../../../src/wire/histogram/exponential-histogram.ts'

it('a histogram whose state was evicted counts nothing, also after the clock was set back', () => {
  const histograms = new CumulativeHistograms(0, 1)
  const advance = (series: string, timeMs: number, nowMs: number) => {
    const histogram = { ...emptyHistogram(), zeroCount: 1, startMs: 500, timeMs }
    return histograms.beginChanges('shop').advance(series, histogram, nowMs)
  }
  expect(advance('a', 900, 900)).toBeDefined()
  // Evicts the state of a.
  advance('b', 1_000, 1_000)
  expect(advance('a', 1_100, 400)).toBeUndefined()
})
