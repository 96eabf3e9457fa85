import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { QueryResult, ResultGroup } from '../../src/query/compute/result.ts'
import { fillComparison, fillLine } from '../../src/query/compute/result.ts'
import type { CompareInput, QueryInput } from '../../src/query/plan/request.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { ask, refusal, type Sample, track } from './harness.ts'

/** Each bucket is held against one of an earlier period, for every group of either. */

const NOW_MS = Date.parse('2024-05-05T12:34:56.789Z')
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

let gateway: TestGateway
let runs = 0
beforeAll(async () => {
  gateway = await startGateway({ now: () => NOW_MS })
})
afterAll(() => gateway.close())

/** Rows of the group with these tags: bucket, value, and what it is held against. */
function rowsOf(result: QueryResult, name: string, ...tags: readonly string[]): string[] {
  const group = result.groups.find((candidate) => candidate.tags.map(([, value]) => value).join() === tags.join())
  if (group === undefined) return []
  const line = fillLine(group, name, result.fill)
  const earlier = fillComparison(group, name, result.fill)
  expect(earlier?.bucketIndexes).toEqual(line.bucketIndexes)
  const iso = (ms: number): string => new Date(ms).toISOString().slice(5, 16)
  return line.bucketIndexes.map((bucket, row) =>
    [
      `${iso(result.startMs[bucket]!)} ${line.values[row]}`,
      `${iso(result.comparison!.startMs[bucket]!)} ${earlier!.values[row]}`,
    ].join(' < '),
  )
}

test('a day is compared with the day before, until the same time', async () => {
  const samples = [9, 10, 11, 12].flatMap((hour): Sample[] => [
    { at: `2024-05-05T${String(hour).padStart(2, '0')}:10:00Z`, value: hour },
    { at: `2024-05-04T${String(hour).padStart(2, '0')}:10:00Z`, value: 100 + hour },
    // Later than now is today.
    { at: '2024-05-04T12:50:00Z', value: 1_000 },
  ])
  await track(gateway, 'sales', 'counter', samples)
  const query = { metric: 'sales', from: '2024-05-05T10:00:00Z', interval: '1h' }
  const result = await ask(gateway, { ...query, compare: { offset: '1d' } })
  expect(rowsOf(result, 'sum')).toEqual([
    '05-05T10:00 10 < 05-04T10:00 110',
    '05-05T11:00 11 < 05-04T11:00 111',
    '05-05T12:00 12 < 05-04T12:00 112',
  ])
  expect(result.groups[0]?.totals.get('sum')).toBe(33)
  expect(result.groups[0]?.comparison?.totals.get('sum')).toBe(333)
  expect(result.comparison?.label).toBe('1d before')
  const before = await ask(gateway, { ...query, to: '2024-05-05T11:59:59Z', compare: { previousPeriod: true } })
  expect(rowsOf(before, 'sum')).toEqual(['05-05T10:00 10 < 05-05T08:00 null', '05-05T11:00 11 < 05-05T09:00 9'])
  const none = await ask(gateway, { ...query, compare: { previousPeriod: false } })
  expect([none.comparison, none.groups[0]?.comparison]).toEqual([undefined, undefined])
})

test('the groups of both periods are listed, with empty buckets as fill says', async () => {
  const at = (day: number, hour: number): string => `2024-04-0${day}T0${hour}:00:00Z`
  await track(gateway, 'either', 'gauge', [
    { at: at(2, 1), value: 1, tags: { host: 'new' } },
    { at: at(1, 2), value: 2, tags: { host: 'old' } },
    { at: at(2, 1), value: 3, tags: { host: 'both' } },
    { at: at(1, 3), value: 4, tags: { host: 'both' } },
    { at: '2024-03-01T00:00:00Z', value: 5, tags: { host: 'neither' } },
  ])
  const query: QueryInput = {
    metric: 'either',
    from: at(2, 0),
    to: at(2, 3),
    interval: '1h',
    groupBy: ['host'],
    compare: { offset: '24h' },
  }
  const result = await ask(gateway, query)
  expect(result.groups.map(({ tags }) => tags[0]![1])).toEqual(['both', 'new', 'old'])
  expect(rowsOf(result, 'last', 'new')).toEqual(['04-02T01:00 1 < 04-01T01:00 null'])
  expect(rowsOf(result, 'last', 'old')).toEqual(['04-02T02:00 null < 04-01T02:00 2'])
  expect(rowsOf(result, 'last', 'both')).toEqual([
    '04-02T01:00 3 < 04-01T01:00 null',
    '04-02T03:00 null < 04-01T03:00 4',
  ])
  // The value of 04-01T03:00 is the last before the range.
  expect(rowsOf(await ask(gateway, { ...query, fill: 'previous' }), 'last', 'both')).toEqual([
    '04-02T00:00 4 < 04-01T00:00 null',
    '04-02T01:00 3 < 04-01T01:00 null',
    '04-02T02:00 3 < 04-01T02:00 null',
    '04-02T03:00 3 < 04-01T03:00 4',
  ])
  expect(rowsOf(await ask(gateway, { ...query, fill: 'zero' }), 'last', 'old')[0]).toBe('04-02T00:00 0 < 04-01T00:00 0')
  // The groups that are first now, and the rest of both periods.
  const top = await ask(gateway, { ...query, top: { n: 1, by: 'count', other: true }, aggregations: ['sum'] })
  expect(top.groups.map(({ tags, isRemainder }) => (isRemainder ? '-' : tags[0]![1]))).toEqual(['both', '-'])
  const sums = (group: ResultGroup | undefined) => [group?.totals.get('sum'), group?.comparison?.totals.get('sum')]
  expect(top.groups.map(sums)).toEqual([
    [3, 4],
    [1, 2],
  ])
})

test('weeks are compared with weeks across a clock change, months with months', async () => {
  const days = Array.from({ length: 70 }, (_, i) => ({ at: Date.parse('2024-02-20T12:00:00Z') + i * DAY_MS, value: i }))
  await track(gateway, 'days', 'counter', days)
  const query = { metric: 'days', timezone: 'Europe/Berlin', interval: '1d' }
  const range = { from: '2024-04-04T00:00:00+02:00', to: '2024-04-06T23:59:59+02:00' }
  expect(rowsOf(await ask(gateway, { ...query, ...range, compare: { offset: '1w' } }), 'sum')).toEqual([
    '04-03T22:00 44 < 03-27T23:00 37',
    '04-04T22:00 45 < 03-28T23:00 38',
    '04-05T22:00 46 < 03-29T23:00 39',
  ])
  const march = { from: '2024-03-28T00:00:00+01:00', to: '2024-04-01T23:59:59+02:00' }
  const monthly = await ask(gateway, { ...query, ...march, compare: { offset: '1mo' } })
  expect(rowsOf(monthly, 'sum')).toEqual([
    '03-27T23:00 37 < 02-27T23:00 8',
    '03-28T23:00 38 < 02-28T23:00 9',
    '03-29T23:00 39 < 02-29T23:00 null',
    '03-30T23:00 40 < 02-29T23:00 null',
    '03-31T22:00 41 < 02-29T23:00 10',
  ])
  expect(monthly.groups[0]?.comparison?.totals.get('sum')).toBe(8 + 9 + 10)
  const months = { ...query, interval: '1mo', from: '2024-04-01T00:00:00+02:00', to: '2024-04-30T23:59:59+02:00' }
  const sumFrom = (from: number, to: number): number => days.slice(from, to).reduce((sum, { value }) => sum + value, 0)
  expect(rowsOf(await ask(gateway, { ...months, compare: { previousPeriod: true } }), 'sum')).toEqual([
    `03-31T22:00 ${sumFrom(41, 70)} < 02-29T23:00 ${sumFrom(10, 41)}`,
  ])
})

interface Observation {
  readonly hours: number
  readonly value: number
  readonly host: string
}

const observations = fc.array(
  fc.record({
    hours: fc.double({ min: -24 * 40, max: 24 * 12, noNaN: true }),
    value: fc.integer({ min: 1, max: 100 }),
    host: fc.constantFrom('a', 'b', 'c'),
  }),
  { minLength: 20, maxLength: 120, size: 'max' },
)

test('the numbers of every bucket are those of the points in its counterpart', async () => {
  await fc.assert(
    fc.asyncProperty(
      observations,
      fc.constantFrom('2024-03-31T00:00:00Z', '2023-10-29T00:00:00Z', '2024-04-07T00:00:00Z'),
      fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe'),
      fc.constantFrom('1h', '6h', '1d', '1w'),
      fc.constantFrom<CompareInput>(
        { previousPeriod: true },
        { offset: '1d' },
        { offset: '1w' },
        { offset: '36h' },
        { offset: '1mo' },
      ),
      fc.integer({ min: -48, max: 48 }),
      fc.integer({ min: 1, max: 24 * 6 }),
      async (points: readonly Observation[], around, timezone, interval, compare, fromHours, hours) => {
        const metric = `any.${runs++}`
        const anchorMs = Date.parse(around)
        const samples = points.map((point) => ({
          at: Math.round(anchorMs + point.hours * HOUR_MS),
          value: point.value,
          tags: { host: point.host },
        }))
        await track(gateway, metric, 'gauge', samples)
        const fromMs = anchorMs + fromHours * HOUR_MS
        const result = await ask(gateway, {
          metric,
          from: fromMs,
          to: fromMs + hours * HOUR_MS - 1,
          interval,
          timezone,
          compare,
          groupBy: ['host'],
          aggregations: ['sum', 'count', 'max'],
        })
        const { startMs, endMs } = result.comparison!
        const inRange = samples.filter(({ at }) => at >= result.fromMs && at < result.toMs)
        for (const host of ['a', 'b', 'c']) {
          const group = result.groups.find(({ tags }) => tags[0]![1] === host)
          const own = samples.filter(({ tags }) => tags.host === host)
          if (inRange.some(({ tags }) => tags.host === host)) expect(group).toBeDefined()
          if (group === undefined) continue
          for (const [i, start] of startMs.entries()) {
            // The first and the last bucket are cut as those of the query are.
            const isCut = i === 0 || i === startMs.length - 1
            const within = own.filter(({ at }) => at >= start && at < endMs[i]!)
            const sum = group.comparison!.values.get('sum')![i]!
            const count = group.comparison!.values.get('count')![i]!
            if (isCut) expect(Number.isNaN(count) ? 0 : count).toBeLessThanOrEqual(within.length)
            else if (within.length === 0) expect(sum).toBeNaN()
            else {
              expect(sum).toBe(within.reduce((total, { value }) => total + value, 0))
              expect(count).toBe(within.length)
            }
          }
        }
      },
    ),
    { numRuns: 40, endOnFailure: true },
  )
}, 60_000)

test.each(['soon', '0s', '-1d', 'auto', '200y'])('compare.offset %s is refused', async (offset) => {
  expect(await refusal(gateway, { metric: 'days', compare: { offset } })).toMatchObject({
    code: 'invalid_range',
    details: { argument: 'compare' },
  })
})

test('a comparison doubles the counted values', async () => {
  const minutes = { metric: 'days', from: '2024-04-01T00:00:00Z', to: '2024-04-28T11:59:59Z', interval: '1m' }
  expect((await ask(gateway, minutes)).startMs).toHaveLength(27.5 * 1_440)
  const refused = await refusal(gateway, { ...minutes, compare: { offset: '4w' } })
  expect(refused.code).toBe('query_too_large')
  const interval = String(refused.details?.['fits'])
  expect((await ask(gateway, { ...minutes, interval, compare: { offset: '4w' } })).interval).toBe(interval)
})
