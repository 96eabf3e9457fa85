import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../../src/model/errors.ts'
import { DAY_MS, HOUR_MS } from '../../../src/model/time.ts'
import { parseAggregation, quantileAggregation } from '../../../src/query/aggregations.ts'
import { prepareQuery } from '../../../src/query/plan/prepare.ts'
import type { QueryInput } from '../../../src/query/plan/request.ts'

const NOW_MS = Date.UTC(2024, 0, 15, 12)

const prepare = (input: Partial<QueryInput>, type: 'gauge' | 'distribution' = 'distribution') =>
  prepareQuery({ metric: 'm', ...input }, type, NOW_MS)

const texts = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i + 1))

const utc = (...texts: readonly string[]): readonly number[] => texts.map((text) => Date.parse(text))

describe('prepareQuery', () => {
  it('defaults to the last day and the default aggregation of the type', () => {
    expect(prepare({})).toMatchObject({
      fromMs: NOW_MS - DAY_MS,
      toMs: NOW_MS,
      interval: { kind: 'auto' },
      zone: { name: 'UTC' },
      aggregations: [{ name: 'avg' }],
      groupBy: [],
      bySeries: false,
      fill: 'none',
    })
    expect(prepare({}, 'gauge').aggregations).toEqual([parseAggregation('last')])
  })

  it.each([
    [{ from: '-6h' }, [NOW_MS - 6 * HOUR_MS, NOW_MS]],
    [{ to: '-6h' }, [NOW_MS - DAY_MS - 6 * HOUR_MS, NOW_MS - 6 * HOUR_MS]],
    [{ last: '2h' }, [NOW_MS - 2 * HOUR_MS, NOW_MS]],
    [{ last: '2h', to: '2024-01-01T02:00:00Z' }, [Date.UTC(2024, 0, 1), Date.UTC(2024, 0, 1, 2)]],
    [{ from: 1_700_000_000, to: 1_700_000_001_000 }, [1_700_000_000_000, 1_700_000_001_000]],
    [{ from: 'now', to: 'now' }, [NOW_MS, NOW_MS]],
    [{ from: null, to: null }, [NOW_MS - DAY_MS, NOW_MS]],
    [{ to: '0001-01-01T01:00:00Z' }, [Date.parse('0001-01-01'), Date.parse('0001-01-01T01:00:00Z')]],
    // Without an offset by the clock of the zone, of a reading that occurs twice the first, of a skipped one what it
    // would have been.
    [
      { from: '2024-06-01', to: '2024-06-02', timezone: 'America/New_York' },
      utc('2024-06-01T04:00Z', '2024-06-02T04:00Z'),
    ],
    [
      { from: '2024-03-31T02:30', to: '2024-10-27T02:30', timezone: 'Europe/Berlin' },
      utc('2024-03-31T01:30Z', '2024-10-27T00:30Z'),
    ],
    [
      { from: '2024-01-01T00:00:00.5', to: '2024-01-02', timezone: 'Asia/Kathmandu' },
      utc('2023-12-31T18:15:00.500Z', '2024-01-01T18:15Z'),
    ],
    [
      { from: '2024-01-01T00:00Z', to: '2024-01-02T00:00 +01:00', timezone: 'Asia/Tokyo' },
      utc('2024-01-01T00:00Z', '2024-01-01T23:00Z'),
    ],
    [{ from: 1_700_000_000, to: '1700000001000', timezone: 'Asia/Tokyo' }, [1_700_000_000_000, 1_700_000_001_000]],
    [{ to: '2024-01-02', last: '1d', timezone: 'Asia/Tokyo' }, utc('2023-12-31T15:00Z', '2024-01-01T15:00Z')],
    [{ from: '0001-01-01', to: '9999-12-31', timezone: 'Asia/Tokyo' }, utc('0001-01-01T00:00Z', '9999-12-30T15:00Z')],
  ])('reads the range %j', (input, range) => {
    const { fromMs, toMs } = prepare(input)
    expect([fromMs, toMs]).toEqual(range)
  })

  it('takes names before quantiles, each once', () => {
    const { aggregations } = prepare({ aggregations: ['p95', 'max', 'p95'], quantiles: [0.95] })
    expect(aggregations.map(({ name }) => name)).toEqual(['p95', 'max'])
  })

  it('computes optional aggregations that the type has', () => {
    const optional = { optionalAggregations: [quantileAggregation(0.5), parseAggregation('max')!] }
    expect(prepare({ ...optional }, 'gauge').computedAggregations.map(({ name }) => name)).toEqual(['last', 'max'])
    expect(prepare({ ...optional }).computedAggregations.map(({ name }) => name)).toEqual(['avg', 'p50', 'max'])
  })

  it.each<[string, Partial<QueryInput>, string]>([
    ['a range that ends before it begins', { from: '-1h', to: '-2h' }, 'invalid_range'],
    ['an unreadable from', { from: 'yesterday-ish' }, 'invalid_range'],
    ['an unreadable to', { to: {} }, 'invalid_range'],
    ['from beside last', { from: '-1h', last: '1h' }, 'invalid_range'],
    ['a last that begins before the year 1', { last: '200000w' }, 'invalid_range'],
    ['a last of no length', { last: '0s' }, 'invalid_range'],
    ['a last that is not a length', { last: 'long' }, 'invalid_range'],
    ['an unknown fill', { fill: 'linear' }, 'invalid_range'],
    ['an unreadable interval', { interval: 'hourly' }, 'invalid_interval'],
    ['an interval of nothing', { interval: '0s' }, 'invalid_interval'],
    ['an unknown zone', { timezone: 'Mars/Olympus' }, 'invalid_interval'],
    ['an unknown aggregation', { aggregations: ['median'] }, 'invalid_aggregation'],
    ['an aggregation of another type', { aggregations: ['rate'] }, 'invalid_aggregation'],
    ['a percentile above 100', { aggregations: ['p100.5'] }, 'invalid_aggregation'],
    ['a quantile above 1', { quantiles: [95] }, 'invalid_aggregation'],
    ['a quantile that is no number', { quantiles: [Number.NaN] }, 'invalid_aggregation'],
    ['too many aggregations', { aggregations: texts(21).map((n) => `p${n}`) }, 'query_too_large'],
    ['too many keys to group by', { groupBy: texts(9) }, 'invalid_group_by'],
    ['an empty key to group by', { groupBy: [''] }, 'invalid_group_by'],
    ['groups by tags and by series', { groupBy: ['a'], bySeries: true }, 'invalid_group_by'],
    [
      'too many values to filter by',
      {
        tags: new Map([
          ['a', texts(600)],
          ['b', texts(401)],
        ]),
      },
      'invalid_tags',
    ],
  ])('refuses %s', (_, input, code) => {
    let error: unknown
    try {
      prepare(input)
    } catch (caught) {
      error = caught
    }
    expect(error).toBeInstanceOf(GatewayError)
    expect(error).toMatchObject({ code })
  })

  it('refuses a quantile of a gauge and lists the aggregations of a gauge', () => {
    expect(() => prepare({ quantiles: [0.5] }, 'gauge')).toThrow(/a gauge has no aggregation "p50"; it has last/)
  })

  it('groups once by a key that is given twice', () => {
    expect(prepare({ groupBy: ['a', 'a', 'b'] }).groupBy).toEqual(['a', 'b'])
  })
})
