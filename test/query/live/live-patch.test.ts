import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseAggregation } from '../../../src/query/aggregations.ts'
import type { QueryResult, ResultGroup } from '../../../src/query/compute/result.ts'
import { type LiveUpdate, snapshotOf, updateBetween } from '../../../src/query/live/live-patch.ts'
import { FILLS, type Fill } from '../../../src/query/plan/request.ts'
import { metricRow } from '../../support/fake-graphql-gateway.ts'
import { applyUpdate, pictureOf } from '../../support/live-picture.ts'

const STEP_MS = 60_000
/** Values of each group by bucket number; undefined: no point. */
type Data = Readonly<Record<string, readonly (number | undefined)[]>>

/** Buckets from number `from` on, the last one still open. */
function resultOf(data: Data, from: number, fill: Fill = 'none', interval = '1m'): QueryResult {
  const length = Object.values(data)[0]?.length ?? 0
  const startMs = Float64Array.from({ length }, (_, i) => (from + i) * STEP_MS)
  const groups = Object.entries(data)
    .filter(([, values]) => values.some((value) => value !== undefined))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([name, values]): ResultGroup => ({
        tags: [['endpoint', name]],
        series: undefined,
        bucketStates: Uint8Array.from(values, (value) => (value === undefined ? 0 : 1)),
        values: new Map([['sum', Float64Array.from(values, (value) => value ?? Number.NaN)]]),
        totals: new Map([['sum', values.reduce<number>((sum, value) => sum + (value ?? 0), 0)]]),
      }),
    )
  return {
    metric: metricRow('requests', 'counter'),
    fromMs: from * STEP_MS,
    toMs: (from + length) * STEP_MS,
    interval,
    timezone: 'UTC',
    fill,
    aggregations: [parseAggregation('sum')!],
    startMs,
    endMs: startMs.map((ms) => ms + STEP_MS),
    groups,
    meta: {
      resolutionsMs: [10_000],
      rollupsRead: 1,
      blocksRead: 1,
      cacheHits: 1,
      cost: 1,
      isExact: true,
      bucketsUnavailable: 0,
      durationMs: 1,
      nowMs: (from + length) * STEP_MS - 1,
    },
  }
}

const OPTIONS = { withTotals: true, isRanked: false }
const between = (before: QueryResult, after: QueryResult, options = OPTIONS): LiveUpdate | undefined =>
  updateBetween(before, after, options)
const U = undefined

describe('a patch holds', () => {
  test.each<[what: string, before: [Data, number], after: [Data, number], expected: object]>([
    ['a bucket that grew', [{ a: [1, 2] }, 0], [{ a: [1, 3] }, 0], { a: { 60000: 3 } }],
    ['a late point in an old bucket', [{ a: [1, 2, 3] }, 0], [{ a: [5, 2, 3] }, 0], { a: { 0: 5 } }],
    ['a bucket that had no point', [{ a: [U, 2] }, 0], [{ a: [1, 2] }, 0], { a: { 0: 1 } }],
    ['groups with news alone', [{ a: [1], b: [2] }, 0], [{ a: [1], b: [3] }, 0], { b: { 0: 3 } }],
    ['a new group whole', [{ a: [1, 1], b: [U, U] }, 0], [{ a: [1, 1], b: [4, 5] }, 0], { b: { 0: 4, 60000: 5 } }],
    // The bucket that was open has ended since.
    ['new buckets as the range moves on', [{ a: [1, 2] }, 0], [{ a: [2, 3] }, 1], { a: { 60000: 2, 120000: 3 } }],
  ])('%s', (_what, before, after, expected) => {
    const update = between(resultOf(...before), resultOf(...after), { withTotals: false, isRanked: false })
    expect(update?.kind).toBe('patch')
    const received = Object.entries(pictureOf(update!.result)).map(([tags, { buckets }]) => [
      JSON.parse(tags)[0][1],
      Object.fromEntries(Object.entries(buckets).map(([start, { sum }]) => [start, sum])),
    ])
    expect(Object.fromEntries(received)).toEqual(expected)
    expect(update?.dropBeforeMs).toBe(after[1] > before[1] ? after[1] * STEP_MS : undefined)
  })

  test('nothing, when nothing differs', () => {
    expect(between(resultOf({ a: [1, U] }, 0), resultOf({ a: [1, U] }, 0))).toBeUndefined()
  })

  test('a group without buckets when its total alone differs, if totals are looked at', () => {
    const before = resultOf({ a: [1, 2, 3], b: [4, 5, 6] }, 0)
    const { groups, ...rest } = before
    const after = {
      ...rest,
      groups: groups.map((group, i) => (i === 0 ? group : { ...group, totals: new Map([['sum', 99]]) })),
    }
    expect(between(before, after, { withTotals: false, isRanked: false })).toBeUndefined()
    expect(pictureOf(between(before, after)!.result)).toEqual({ '[["endpoint","b"]]': { total: 99, buckets: {} } })
  })
})

describe('with a comparison, a patch holds a group of which only the total', () => {
  const totals = (total: number | undefined) => new Map(total === undefined ? [] : [['sum', total]])
  /** An ungrouped result whose data is in the earlier period only. */
  const comparedOf = (from: number, earlier: readonly (number | undefined)[], mainTotal?: number): QueryResult => {
    const result = resultOf({ main: earlier.map((_, i) => (i === 0 ? 1 : U)) }, from)
    const [earlierGroup] = resultOf({ earlier }, from).groups
    const empty = { bucketStates: new Uint8Array(earlier.length), values: new Map([['sum', new Float64Array()]]) }
    const earlierTotal = earlier.reduce<number>((sum, value) => sum + (value ?? 0), 0)
    return {
      ...result,
      comparison: { startMs: result.startMs, endMs: result.endMs, label: 'previous period' },
      groups: [
        {
          ...result.groups[0]!,
          ...empty,
          totals: totals(mainTotal),
          comparison: { ...(earlierGroup ?? { ...result.groups[0]!, ...empty }), totals: totals(earlierTotal) },
        },
      ],
    }
  }
  const receivedGroup = (before: QueryResult, after: QueryResult) => between(before, after)?.result.groups[0]

  test('of the earlier period differs, because data left it', () => {
    const [before, after] = [comparedOf(0, [1, 2, U]), comparedOf(1, [2, U, U])]
    expect(between(before, after)).toMatchObject({ kind: 'patch', dropBeforeMs: STEP_MS })
    expect(receivedGroup(before, after)?.comparison?.totals.get('sum')).toBe(2)
    expect(between(before, after, { withTotals: false, isRanked: false })?.result.groups).toEqual([])
  })

  test('does not exist any more', () => {
    const [before, after] = [comparedOf(0, [U, 2, U], 5), comparedOf(1, [2, U, U])]
    expect(receivedGroup(before, after)?.totals.get('sum')).toBeUndefined()
    expect(receivedGroup(before, after)).toBeDefined()
  })

  test('and nothing, if neither total differs', () => {
    expect(receivedGroup(comparedOf(0, [U, 2, U]), comparedOf(1, [2, U, U]))).toBeUndefined()
  })
})

describe('a snapshot is sent instead of a patch when', () => {
  const before = resultOf({ a: [1, 2], b: [3, 4] }, 0)

  test.each<[why: string, after: QueryResult, ranked?: boolean]>([
    ['a bucket is empty again', resultOf({ a: [1, U], b: [3, 4] }, 0)],
    ['a group with buckets in the range is gone', resultOf({ b: [3, 4] }, 0)],
    ['the interval is another', resultOf({ a: [1, 2], b: [3, 4] }, 0, 'none', '5m')],
    ['the range has jumped past everything', resultOf({ a: [1, 2], b: [3, 4] }, 7)],
    ['the metric was deleted and defined anew', { ...before, metric: metricRow('request', 'counter') }],
    ['ranked groups have another order', { ...before, groups: before.groups.toReversed() }, true],
    ['a group enters the ranking', resultOf({ a: [1, 2], b: [3, 4], c: [5, 6] }, 0), true],
    ['a group leaves the ranking', resultOf({ a: [1, 2] }, 0), true],
  ])('%s', (_why, after, ranked = false) => {
    expect(between(before, after, { withTotals: true, isRanked: ranked })).toEqual(snapshotOf(after))
  })
})

test('a client that applies all updates, or skips some, has the newest result', () => {
  const values = fc.array(fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }), { minLength: 4, maxLength: 4 })
  const step = fc.record({
    data: fc.record({ a: values, b: values, c: values }),
    moves: fc.integer({ min: 0, max: 3 }),
    isTaken: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(step, { minLength: 2, maxLength: 6 }), fc.constantFrom(...FILLS), (steps, fill) => {
      let from = 0
      let received: QueryResult | undefined
      let picture = {}
      for (const [i, { data, moves, isTaken }] of steps.entries()) {
        from += moves
        const result = resultOf(data, from, fill)
        if (!isTaken && i < steps.length - 1) continue
        const update = received === undefined ? snapshotOf(result) : between(received, result)
        if (update !== undefined) picture = applyUpdate(picture, update)
        received = result
        expect(picture).toEqual(pictureOf(result))
      }
    }),
    { numRuns: 500 },
  )
})
