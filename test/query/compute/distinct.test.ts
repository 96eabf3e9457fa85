import { expect, test } from 'vitest'
import { parseAggregation, requiredAccumulatorsOf } from '../../../src/query/aggregations.ts'
import { Cells } from '../../../src/query/compute/cells.ts'
import { countDistinct } from '../../../src/query/compute/distinct.ts'
import { NO_BUCKET_LIMITS } from '../../../src/query/compute/limit-counts.ts'
import { SeriesList } from '../../../src/query/plan/series-cache.ts'
import { RollupTable } from '../../../src/rollup/rollup-table.ts'
import type { SetKey } from '../../../src/store/store.ts'
import { metricRow } from '../../support/fake-gateway.ts'
import { planOf } from '../../support/plan-of.ts'

/** Which sketches the counts of distinct members read, and in how many calls. */

const WIDTH_MS = 60_000
const BUCKETS = 10

/** Counts with a store that returns the number of sketches of each union. A group has `seriesPerGroup` series. */
async function count(
  { groups, seriesPerGroup, buckets }: { groups: number; seriesPerGroup: number; buckets: number },
  sketchesMax?: number,
) {
  const seriesCount = groups * seriesPerGroup
  const list = new SeriesList({ hi: 1, lo: 1 })
  list.append(Array.from({ length: seriesCount }, (_, lo) => ({ seriesId: { hi: 0, lo }, tags: [] })))
  const table = new RollupTable('set')
  for (let series = 0; series < seriesCount; series++)
    for (let bucket = 0; bucket < buckets; bucket++) table.addMember(table.addRow(0, series, bucket * WIDTH_MS))
  const accumulators = requiredAccumulatorsOf([parseAggregation('count')!], 'set')
  const section = table.toSortedRows()
  const ordinals = Int32Array.from({ length: seriesCount }, (_, ordinal) => ordinal)
  const input = {
    plan: planOf(BUCKETS, WIDTH_MS),
    resolutionsMs: [WIDTH_MS],
    // The inbox may have the same buckets as a timeline.
    sources: [false, true].map((isInbox) => ({ section, level: 0, isInbox, ordinals })),
    groupOfSeries: ordinals.map((ordinal) => Math.floor(ordinal / seriesPerGroup)),
    bucketLimits: NO_BUCKET_LIMITS,
    accumulators,
  }
  const calls: number[][] = []
  let pauseCount = 0
  const store = {
    countDistinct: async (_: number, unions: readonly (readonly SetKey[])[]) => {
      calls.push(unions.map(({ length }) => length))
      return unions.map(({ length }) => length)
    },
  }
  const pace = {
    pause: async () => {
      pauseCount++
    },
  }
  const cells = new Cells(groups, BUCKETS, accumulators)
  const counting = countDistinct(store, metricRow({ type: 'set' }), list, input, cells, true, pace, sketchesMax)
  return { calls, counting, pauses: () => pauseCount }
}

test('each cell counts its series, and the range all stored buckets', async () => {
  const { calls, counting } = await count({ groups: 2, seriesPerGroup: 3, buckets: 2 })
  const { countOfCell, countOfRange } = await counting
  const ofGroup = [3, 3, ...Array.from({ length: BUCKETS - 2 }, () => 0)]
  expect([...countOfCell]).toEqual([...ofGroup, ...ofGroup])
  expect([...countOfRange]).toEqual([6, 6])
  expect(calls).toEqual([[3, 3, 6, 3, 3, 6]])
})

test('the sketches of a group with data in one bucket are read once', async () => {
  const { calls, counting } = await count({ groups: 2, seriesPerGroup: 3, buckets: 1 })
  expect([...(await counting).countOfRange]).toEqual([3, 3])
  expect(calls).toEqual([[3, 3]])
})

test('many sketches are counted in several calls, with a pause after each', async () => {
  const { calls, counting, pauses } = await count({ groups: 50, seriesPerGroup: 40, buckets: 2 })
  await counting
  expect(calls.length).toBeGreaterThan(5)
  for (const sizes of calls) expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(1_000 + 4 * 40)
  expect(pauses()).toBeGreaterThanOrEqual(calls.length)
})

test('a query of too many sketches is refused before any is read', async () => {
  const size = { groups: 1, seriesPerGroup: 50, buckets: 10 }
  const { calls, counting } = await count(size, 499)
  await expect(counting).rejects.toMatchObject({ code: 'query_too_large', details: { sketchesMax: 499 } })
  expect(calls).toEqual([])
  expect([...(await (await count(size, 500)).counting).countOfRange]).toEqual([500])
})
