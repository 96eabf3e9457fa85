import { afterAll, beforeAll, expect, test } from 'vitest'
import { fillComparison, fillLine } from '../../src/query/compute/result.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { ask, refusal, rows, rowsOf, track } from './harness.ts'

/** `fill: previous` starts with the last value before the range. */

const NOW_MS = Date.parse('2026-05-05T12:00:00Z')
const DAY_MS = 86_400_000
let gateway: TestGateway

beforeAll(async () => {
  gateway = await startGateway({ now: () => NOW_MS })
  const ago = (ms: number): number => NOW_MS - ms
  await track(gateway, 'door', 'gauge', [
    { at: ago(8 * DAY_MS), value: 8, tags: { door: 'forgotten' } },
    { at: ago(6 * DAY_MS), value: 6, tags: { door: 'back' } },
    { at: ago(3_600_000), value: 1, tags: { door: 'front' } },
    { at: ago(60_000), value: 2, tags: { door: 'front' } },
    { at: ago(60_000), value: 3, tags: { door: 'back' } },
    { at: ago(60_000), value: 4, tags: { door: 'forgotten' } },
  ])
  await track(gateway, 'sold', 'counter', [
    { at: ago(5 * DAY_MS + 5_000), value: 7 },
    { at: ago(5 * DAY_MS + 65_000), value: 5 },
    { at: ago(60_000), value: 1 },
  ])
  await track(gateway, 'old', 'gauge', [{ at: ago(8 * DAY_MS), value: 8 }])
})
afterAll(() => gateway.close())

const LAST_MINUTES = { from: '-150s', to: '-1s', interval: '1m', fill: 'previous' }

test('a line starts with the last value, however long the series was silent, within seven days', async () => {
  const result = await ask(gateway, { metric: 'door', ...LAST_MINUTES, groupBy: ['door'] })
  expect(rowsOf(result)).toEqual({
    back: ['2026-05-05T11:57:00Z 6', '2026-05-05T11:58:00Z 6', '2026-05-05T11:59:00Z 3'],
    forgotten: ['2026-05-05T11:57:00Z null', '2026-05-05T11:58:00Z null', '2026-05-05T11:59:00Z 4'],
    front: ['2026-05-05T11:57:00Z 1', '2026-05-05T11:58:00Z 1', '2026-05-05T11:59:00Z 2'],
  })
  const bySeries = await ask(gateway, { metric: 'door', ...LAST_MINUTES, bySeries: true })
  expect(bySeries.groups.map(({ valuesBefore }) => valuesBefore?.get('last')).sort()).toEqual([1, 6, undefined])
})

test('each aggregation has the value of the last bucket of the interval, not of a wider one', async () => {
  const sums = { metric: 'sold', ...LAST_MINUTES, aggregations: ['sum', 'count', 'rate'] }
  expect(await rows(gateway, sums)).toEqual([
    `2026-05-05T11:57:00Z 7 1 ${7 / 60}`,
    `2026-05-05T11:58:00Z 7 1 ${7 / 60}`,
    `2026-05-05T11:59:00Z 1 1 ${1 / 60}`,
  ])
})

test('a range without points has that value throughout', async () => {
  const empty = { metric: 'door', from: '-50m', to: '-40m', interval: '5m', fill: 'previous' }
  expect(await rows(gateway, empty)).toEqual([
    '2026-05-05T11:10:00Z 1',
    '2026-05-05T11:15:00Z 1',
    '2026-05-05T11:20:00Z 1',
  ])
  expect(await rows(gateway, { ...empty, metric: 'old', from: '-1h', to: '-58m' })).toEqual([
    '2026-05-05T11:00:00Z null',
  ])
})

test('the compared period starts with its own last value', async () => {
  const result = await ask(gateway, { metric: 'door', ...LAST_MINUTES, compare: { offset: '1h' } })
  expect(result.groups[0]?.valuesBefore?.get('last')).toBe(1)
  expect(result.groups[0]?.comparison?.valuesBefore?.get('last')).toBe(6)
})

test('each line of a comparison is that of its group and period asked alone', async () => {
  const asked = { metric: 'door', interval: '1m', fill: 'previous' }
  const shiftMs = 3_600_000
  const alone = async (fromMs: number, toMs: number, door: string) => {
    const tags = new Map([['door', [door]]])
    const { groups } = await ask(gateway, { ...asked, from: fromMs, to: toMs, tags })
    return fillLine(groups[0]!, 'last', 'previous').values
  }
  let silent = 0
  for (const fromMs of [NOW_MS - 150_000, NOW_MS - shiftMs - 150_000, NOW_MS + shiftMs - 150_000]) {
    const toMs = fromMs + 149_999
    const compare = { offset: '1h' }
    const { groups } = await ask(gateway, { ...asked, from: fromMs, to: toMs, compare, groupBy: ['door'] })
    for (const group of groups) {
      const door = group.tags[0]![1]
      expect(fillLine(group, 'last', 'previous').values).toEqual(await alone(fromMs, toMs, door))
      const earlier = fillComparison(group, 'last', 'previous')!.values
      expect(earlier).toEqual(await alone(fromMs - shiftMs, toMs - shiftMs, door))
      if (!group.bucketStates.includes(1) || !group.comparison!.bucketStates.includes(1)) silent++
    }
  }
  expect(silent).toBeGreaterThan(3)
})

test('other fills do not look back, and the cost of looking is counted and bounded', async () => {
  const none = await ask(gateway, { metric: 'door', ...LAST_MINUTES, fill: 'null' })
  expect(rowsOf(none)['']![0]).toBe('2026-05-05T11:57:00Z null')
  expect(none.groups[0]?.valuesBefore).toBeUndefined()
  await gateway.folds.drain()
  const asked = { metric: 'door', ...LAST_MINUTES }
  const cost = (await ask(gateway, asked)).meta.cost
  expect(cost).toBeGreaterThan((await ask(gateway, { ...asked, fill: 'null' })).meta.cost)
})

test('a look-back that would read more than a request may is refused', async () => {
  const small = await startGateway({ now: () => NOW_MS, env: { QUERY_ROLLUPS_MAX: '20' } })
  const at = (i: number): number => NOW_MS - 3 * 3_600_000 - 300_000 - i * 10_000
  await track(
    small,
    'door',
    'gauge',
    Array.from({ length: 60 }, (_, i) => ({ at: at(i), value: i })),
  )
  await small.folds.drain()
  const asked = { metric: 'door', from: '-1m', to: '-1s', interval: '1m' }
  expect((await ask(small, asked)).meta.cost).toBeLessThanOrEqual(20)
  expect(await refusal(small, { ...asked, from: '-2h', interval: '10s', fill: 'previous' })).toMatchObject({
    code: 'query_too_large',
  })
  await small.close()
})
