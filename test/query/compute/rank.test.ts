import { expect, onTestFinished, test, vi } from 'vitest'
import { parseAggregation } from '../../../src/query/aggregations.ts'
import { selectTopGroups } from '../../../src/query/compute/rank.ts'
import { REMAINDER, SeriesList } from '../../../src/query/plan/series-cache.ts'
import { RollupTable } from '../../../src/rollup/rollup-table.ts'
import { metricRow } from '../../support/fake-gateway.ts'
import { FaultyStore } from '../../support/faulty-store.ts'
import { planOf } from '../../support/plan-of.ts'
import { openTestStore } from '../../support/test-writer.ts'

const WIDTH_MS = 10_000
const GROUPS = 5_000

const PLAN = planOf(1, WIDTH_MS)

/** Ranks many groups by their sums, of which many are equal. Returns the names of the first n. */
async function topOf(n: number, isAscending: boolean, numberOf: (group: number) => number): Promise<readonly string[]> {
  const store = await openTestStore(1)
  const list = new SeriesList({ hi: 1, lo: 1 })
  const table = new RollupTable('counter')
  for (let group = 0; group < GROUPS; group++) table.addValue(table.addRow(0, group, 0), 0, numberOf(group))
  const ordinals = Int32Array.from({ length: GROUPS }, (_, ordinal) => ordinal)
  const { groups } = await selectTopGroups(
    new FaultyStore(store).store,
    {
      metric: metricRow({ type: 'counter' }),
      list,
      resolutionsMs: [WIDTH_MS],
      sources: [{ section: table.toSortedRows(), level: 0, isInbox: false, ordinals }],
      lookbackReads: [],
    },
    PLAN,
    { baseResolutionMs: WIDTH_MS, nowMs: WIDTH_MS },
    {
      groupOfSeries: ordinals,
      groups: Array.from(ordinals, (group) => ({ tags: [['host', nameOf(group)] as const], series: undefined })),
      matchedSeriesCount: GROUPS,
      idRange: undefined,
    },
    { n, by: parseAggregation('sum')!, isAscending, withRemainder: true },
    { pause: async () => {} },
  )
  expect(groups.at(-1)).toBe(REMAINDER)
  return groups.slice(0, -1).map(({ tags }) => tags[0]![1])
}

/** Names whose order is not that of the groups. */
const nameOf = (group: number): string => `h${((group * 7_919) % GROUPS).toString().padStart(5, '0')}`

test.each([
  [1, false],
  [10, true],
  [700, false],
  [4_000, true],
])('the first %i groups of many are those of a complete order, ascending: %s', async (n, isAscending) => {
  const numberOf = (group: number): number => (group % 3 === 0 ? group % 17 : 5)
  const sign = isAscending ? 1 : -1
  const expected = Array.from({ length: GROUPS }, (_, group) => group)
    .sort((a, b) => sign * (numberOf(a) - numberOf(b)) || (nameOf(a) < nameOf(b) ? -1 : 1))
    .slice(0, n)
    .map(nameOf)
  expect(await topOf(n, isAscending, numberOf)).toEqual(expected)
})

test('a ranking never sorts many groups at once', async () => {
  let sortedMax = 0
  const sort = Array.prototype.sort
  const spy = vi.spyOn(Array.prototype, 'sort').mockImplementation(function (this: unknown[], compare) {
    sortedMax = Math.max(sortedMax, this.length)
    return sort.call(this, compare)
  })
  onTestFinished(() => spy.mockRestore())
  await topOf(10, false, (group) => group)
  expect(sortedMax).toBeGreaterThan(0)
  expect(sortedMax).toBeLessThan(2_000)
})
