import { expect, it } from 'vitest'
import type { IndexEntry } from '../../../src/store/store.ts'
import { chooseRunsToSeal, chooseTierMerge, type Run, SEALED_TIER } from '../../../src/write/fold/runs-to-merge.ts'

/** A run with one block, which has the series from `from` to `to`. */
function run(order: number, tier: number, from: number, to: number): Run {
  const entry: IndexEntry = {
    block: `${order}-${tier}`,
    windowMs: 0,
    tier,
    order,
    seriesFrom: { hi: from, lo: 0 },
    seriesTo: { hi: to, lo: 0 },
    rollupCount: 1,
    scalarBytes: 1,
    sketchBytes: 0,
  }
  return { order, tier, entries: [entry] }
}

const many = (tier: number, from: number, to: number) =>
  [1, 2, 3, 4, 5, 6, 7].map((order) => run(order, tier, from, to))

it('goes on with a merge of a tier after the series that are merged', () => {
  const sources = [...many(0, 50, 99), run(8, 0, 50, 99)]
  const runs = [...sources.slice(0, 7), run(8, 1, 0, 49), sources[7]!, run(9, 0, 0, 99)]
  expect(chooseTierMerge(runs)).toEqual({ runs: sources, tier: 1, order: 8 })
})

it('does not add series to a run of the next tier that may have them already', () => {
  const runs = [...many(0, 0, 99), run(8, 1, 0, 49), run(8, 0, 50, 99)]
  expect(chooseTierMerge(runs)).toBeUndefined()
})

it('makes a large run only of eight that are followed by another one of their tier', () => {
  const eight = [...many(2, 0, 99), run(8, 2, 0, 99)]
  expect(chooseTierMerge(eight)).toBeUndefined()
  expect(chooseTierMerge([...eight, run(9, 1, 0, 99), run(10, 0, 0, 99)])).toBeUndefined()
  const nine = [...eight, run(9, 2, 0, 99), run(10, 0, 0, 99)]
  expect(chooseTierMerge(nine)).toEqual({ runs: eight, tier: 3, order: 8 })
  const begun = [...many(2, 50, 99), run(8, 3, 0, 49), run(8, 2, 50, 99)]
  expect(chooseTierMerge([...begun, run(9, 2, 0, 99)])).toMatchObject({ tier: 3, order: 8 })
  const smaller = [...many(1, 0, 99), run(8, 1, 0, 99)]
  expect(chooseTierMerge(smaller)).toEqual({ runs: smaller, tier: 2, order: 8 })
})

it('goes on with a sealing after the series that are sealed', () => {
  const sources = [run(1, 0, 50, 99), run(2, 0, 50, 99)]
  expect(chooseRunsToSeal([sources[0]!, run(2, SEALED_TIER, 0, 49), sources[1]!])).toEqual({
    runs: sources,
    tier: SEALED_TIER,
    order: 2,
  })
})

it('begins a sealing again if there are later points of series that are sealed', () => {
  const lateFold = [run(1, 0, 50, 99), run(2, SEALED_TIER, 0, 49), run(2, 0, 50, 99), run(3, 0, 0, 9)]
  expect(chooseRunsToSeal(lateFold)).toEqual({ runs: lateFold, tier: SEALED_TIER, order: 3 })
  // The second step of a fold whose first step is sealed already.
  const laterStep = [run(2, SEALED_TIER, 0, 49), run(2, 0, 30, 39)]
  expect(chooseRunsToSeal(laterStep)).toEqual({ runs: laterStep, tier: SEALED_TIER, order: 2 })
})

it('finds nothing to merge in a sealed window', () => {
  expect(chooseRunsToSeal([run(2, SEALED_TIER, 0, 99)])).toBeUndefined()
  expect(chooseRunsToSeal([])).toBeUndefined()
})
