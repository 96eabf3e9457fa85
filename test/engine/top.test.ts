import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { TrackedType } from '../../src/model/metric.ts'
import type { ResultGroup } from '../../src/query/compute/result.ts'
import { startGateway, type TestGateway } from '../support/gateway.ts'
import { type Point, type ReferenceValues, referenceResult } from '../support/reference.ts'
import { ask, refusal, type Sample, track } from './harness.ts'

/** The first groups by one number, and the remainder merged from the data of all others. */

const NOW_MS = Date.parse('2026-05-05T12:34:56.789Z')
const HOUR_MS = 3_600_000
const FROM_MS = NOW_MS - 3 * HOUR_MS
const ALPHA = 0.01 + 1e-9

let gateway: TestGateway
let runs = 0
beforeAll(async () => {
  gateway = await startGateway({ now: () => NOW_MS, env: { QUERY_VALUES_MAX: '2000' } })
})
afterAll(() => gateway.close())

const RANKINGS = {
  gauge: ['avg', 'last', 'min', 'count'],
  counter: ['sum', 'rate'],
  distribution: ['count', 'max', 'p95'],
  set: ['count'],
} as const satisfies Partial<Record<TrackedType, readonly string[]>>
type Kind = keyof typeof RANKINGS

interface Sent {
  readonly path: number
  readonly host: string
  readonly minutes: number
  readonly value: number
}

const sent: fc.Arbitrary<Sent> = fc.record({
  path: fc.integer({ min: 0, max: 9 }),
  host: fc.constantFrom('a', 'b'),
  // Some before the range, which count for nothing.
  minutes: fc.integer({ min: -30, max: 179 }),
  value: fc.integer({ min: 1, max: 400 }),
})

/** The first path is called as a remainder might be, the second is missing. */
const pathOf = (path: number): string => (path === 0 ? 'other' : path === 1 ? '' : `/${path}`)

function pointOf(kind: Kind, { path, host, minutes, value }: Sent): Point {
  const placed = { tags: { path: pathOf(path), host }, timeMs: FROM_MS + minutes * 60_000 }
  return kind === 'set'
    ? { ...placed, mode: 'member', member: `member-${value % 40}` }
    : { ...placed, mode: 'value', value }
}

function sampleOf(point: Point): Sample {
  const { timeMs, tags } = point
  return { at: timeMs, tags, ...(point.mode === 'member' ? { member: point.member } : { value: point.value }) }
}

function numberOf(kind: Kind, name: string, values: ReferenceValues): number {
  if (kind === 'set') return values.distinct
  if (name === 'p95') return values.quantile(0.95, 0).low
  switch (name) {
    case 'avg':
    case 'last':
    case 'min':
    case 'max':
    case 'count':
    case 'sum':
    case 'rate':
      return values[name]
    default:
      throw new Error(`no reference for ${name}`)
  }
}

function wholeOf(points: readonly Point[]): ReferenceValues | undefined {
  const query = { fromMs: FROM_MS, toMs: NOW_MS, baseMs: 60_000, zone: 'UTC', nowMs: NOW_MS, tags: new Map() }
  return referenceResult(points, { ...query, interval: 24 * HOUR_MS, groupBy: [] })
    .get('[]')
    ?.find(({ values }) => values)?.values
}

/** The hours of a group of the answer, held against those of the points that must be in it. */
function expectGroup(kind: Kind, group: ResultGroup, points: readonly Point[]): void {
  const query = { fromMs: FROM_MS, toMs: NOW_MS, baseMs: kind === 'set' ? 60_000 : 10_000, zone: 'UTC', nowMs: NOW_MS }
  const buckets = referenceResult(points, { ...query, interval: HOUR_MS, groupBy: [], tags: new Map() }).get('[]')!
  for (const [name, column] of group.values) {
    for (const [i, { values }] of buckets.entries()) {
      if (values === undefined) expect(column[i]).toBeNaN()
      else if (name === 'p95') {
        const { low, high } = values.quantile(0.95, ALPHA)
        expect(column[i]).toBeGreaterThanOrEqual(low)
        expect(column[i]).toBeLessThanOrEqual(high)
      } else expect(column[i], `${name} of bucket ${i}`).toBeCloseTo(numberOf(kind, name, values), 8)
    }
  }
}

test.each(Object.keys(RANKINGS) as Kind[])(
  'groups of a %s rank by their whole range, the remainder is the union of the others',
  async (kind) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(sent, { minLength: 1, maxLength: 60, size: 'max' }),
        fc.integer({ min: 1, max: 12 }),
        fc.constantFrom(...RANKINGS[kind]),
        fc.constantFrom('asc', 'desc'),
        fc.boolean(),
        async (items, n, by, direction, other) => {
          const metric = `${kind}.${runs++}`
          const points = items.map((item) => pointOf(kind, item))
          const half = Math.ceil(points.length / 2)
          await track(gateway, metric, kind, points.slice(0, half).map(sampleOf))
          await gateway.folds.drain()
          await track(gateway, metric, kind, points.slice(half).map(sampleOf))
          const { groups } = await ask(gateway, {
            metric,
            from: FROM_MS,
            to: NOW_MS,
            interval: '1h',
            aggregations: RANKINGS[kind],
            groupBy: ['path'],
            top: { n, by, direction, other },
          })
          const inRange = points.filter(({ timeMs }) => timeMs >= FROM_MS - (FROM_MS % 10_000))
          const paths = [...new Set(inRange.map(({ tags }) => tags['path'] ?? ''))]
          const ofPath = (path: string): Point[] => inRange.filter(({ tags }) => (tags['path'] ?? '') === path)
          const listed = groups.filter(({ isRemainder }) => isRemainder !== true)
          const listedPaths = listed.map(({ tags }) => tags[0]![1])
          expect(listed).toHaveLength(Math.min(n, paths.length))
          // Quantiles are ordered by their estimates, which are the totals of the groups.
          const totals = new Map(listed.map((group) => [group.tags[0]![1], group.totals.get(by)!]))
          const rankOf = (path: string): number =>
            by === 'p95' ? (totals.get(path) ?? Number.NaN) : numberOf(kind, by, wholeOf(ofPath(path))!)
          const ranked = (by === 'p95' ? listedPaths : paths).toSorted(
            (a, b) => (direction === 'asc' ? 1 : -1) * (rankOf(a) - rankOf(b)) || (a < b ? -1 : 1),
          )
          expect(listedPaths).toEqual(ranked.slice(0, n))
          for (const group of listed) expectGroup(kind, group, ofPath(group.tags[0]![1]))
          const left = inRange.filter(({ tags }) => !listedPaths.includes(tags['path'] ?? ''))
          const remainder = groups.filter(({ isRemainder }) => isRemainder === true)
          expect(remainder).toHaveLength(other && left.length > 0 ? 1 : 0)
          if (remainder[0] === undefined) return
          expect(groups.at(-1)).toBe(remainder[0])
          expect(remainder[0].tags).toEqual([])
          expectGroup(kind, remainder[0], left)
          const whole = wholeOf(left)!
          if (kind === 'set') expect(remainder[0].totals.get('count')).toBe(whole.distinct)
          if (kind === 'distribution') {
            const { low, high } = whole.quantile(0.95, ALPHA)
            expect(remainder[0].totals.get('p95')).toBeGreaterThanOrEqual(low)
            expect(remainder[0].totals.get('p95')).toBeLessThanOrEqual(high)
          }
        },
      ),
      { numRuns: 15, endOnFailure: true },
    )
  },
  60_000,
)

test('running totals of the remainder are the increases of its series', async () => {
  const samples: Sample[] = []
  for (let host = 0; host < 6; host++) {
    for (let i = 0; i <= 4; i++)
      samples.push({
        at: FROM_MS + i * HOUR_MS * 0.7,
        total: 100 * host + i * (host + 1),
        tags: { host: String(host) },
      })
  }
  await track(gateway, 'totals', 'counter', samples)
  const query = { metric: 'totals', from: FROM_MS, to: NOW_MS, interval: '4h', groupBy: ['host'] }
  const { groups } = await ask(gateway, { ...query, top: { n: 2, other: true } })
  expect(groups.map(({ tags, totals }) => [tags[0]?.[1], totals.get('sum')])).toEqual([
    ['5', 24],
    ['4', 20],
    [undefined, 4 + 8 + 12 + 16],
  ])
})

test('many groups are ranked although far fewer may be answered', async () => {
  const wide = Array.from({ length: 6_000 }, (_, i) => ({ at: NOW_MS, value: i % 3_000, tags: { host: String(i) } }))
  await track(gateway, 'wide', 'distribution', wide)
  const query = { metric: 'wide', last: '1h', bySeries: true, aggregations: ['p95'] }
  expect((await refusal(gateway, query)).code).toBe('query_too_large')
  const { groups } = await ask(gateway, { ...query, top: { n: 3, other: true } })
  const named = groups.map(({ tags, totals }) => [tags[0]?.[1], Math.round(totals.get('p95')!)])
  // Equal groups by their tags; the numbers are exact, for each group is a single observation.
  expect(named.slice(0, 3)).toEqual([
    ['2999', 2_999],
    ['5999', 2_999],
    ['2998', 2_998],
  ])
  expect(named[3]![1]).toBeGreaterThan(2_849 * 0.99)
  expect(named[3]![1]).toBeLessThan(2_849 * 1.01)
})

test.each([false, true])('without grouping there is one group, which is no remainder (other: %s)', async (other) => {
  await track(gateway, 'alone', 'gauge', [{ at: NOW_MS - 2 * HOUR_MS, value: 7 }])
  const top = { n: 1, other }
  for (const [from, to, last] of [
    ['-3h', '-1h', 7],
    ['-1h', '-1m', Number.NaN],
  ] as const) {
    const query = { metric: 'alone', from, to, interval: '1h', compare: { offset: '2h' } }
    const { groups } = await ask(gateway, { ...query, top })
    expect(groups).toEqual((await ask(gateway, query)).groups)
    expect(groups.map(({ isRemainder, totals }) => [isRemainder, totals.get('last')])).toEqual([[undefined, last]])
  }
})

test.each<[string, object, string]>([
  ['no group', { n: 0 }, 'invalid_group_by'],
  ['a part of a group', { n: 1.5 }, 'invalid_group_by'],
  ['a number the type does not have', { n: 1, by: 'rate' }, 'invalid_aggregation'],
  ['a number no type has', { n: 1, by: 'size' }, 'invalid_aggregation'],
])('top is refused for %s', async (_, top, code) => {
  const n = 1
  expect((await refusal(gateway, { metric: 'wide', groupBy: ['host'], top: { n, ...top } })).code).toBe(code)
})
