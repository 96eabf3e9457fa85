import { describe, expect, it } from 'vitest'
import { runAtOnce } from '../../src/model/steps.ts'
import { decodeBetterStackItem } from '../../src/wire/better-stack.ts'
import { DEFAULT_POINT_LIMITS } from '../support/defaults.ts'
import { createRecordingSink } from '../support/fake-gateway.ts'

const NOW_MS = Date.UTC(2024, 0, 15, 12)

function decode(item: unknown, refuse?: Parameters<typeof createRecordingSink>[1]) {
  const { sink, points, errors } = createRecordingSink('shop', refuse)
  const odd: unknown[] = []
  const delivered = runAtOnce(
    decodeBetterStackItem(item, 7, sink, {
      nowMs: NOW_MS,
      limits: DEFAULT_POINT_LIMITS,
      onUnreadableTime: (value) => void odd.push(value),
    }),
  )
  expect(typeof delivered === 'number' ? delivered : 1).toBe(points.length)
  return { points, errors, odd }
}

/** `name{tag=value,…} how value[×weight]` of each point, and its type. */
function spelt(item: unknown): string[] {
  const { points, errors } = decode(item)
  expect(errors).toEqual([])
  return points.map(({ name, tags, type, how, value, weight }) => {
    const labels = tags.map(([key, text]) => `${key}=${text}`).join(',')
    return `${type} ${name}{${labels}} ${how} ${value}${weight === undefined ? '' : `×${weight}`}`
  })
}

const TAGS_AT_LIMIT = Object.fromEntries(Array.from({ length: DEFAULT_POINT_LIMITS.tagsMax }, (_, i) => [`k${i}`, 'v']))
const gauge = { name: 'cpu', gauge: { value: 63.5 } }
const histogram = {
  name: 'duration',
  tags: { host: 'a' },
  histogram: {
    count: 140,
    sum: 75.5,
    buckets: [
      { upper_limit: 0.1, count: 90 },
      { upper_limit: 1.0, count: 50 },
    ],
  },
}
const summary = {
  name: 'size',
  summary: {
    count: 100,
    sum: 25_000,
    quantiles: [
      { quantile: 0.5, value: 200 },
      { quantile: 0.99, value: 600 },
    ],
  },
}

describe('an item', () => {
  it.each<[string, unknown, string[]]>([
    ['a gauge', gauge, ['gauge cpu{} add 63.5']],
    ['a gauge that is absolute', { ...gauge, kind: 'absolute' }, ['gauge cpu{} add 63.5']],
    ['a counter, as a running total', { name: 'n', counter: { value: 42 } }, ['counter n{} addTotal 42']],
    ['an absolute counter', { name: 'n', counter: { value: 42 }, kind: 'absolute' }, ['counter n{} addTotal 42']],
    ['an incremental counter', { name: 'n', counter: { value: -2 }, kind: 'incremental' }, ['counter n{} add -2']],
    ['a counter of unknown kind', { name: 'n', counter: { value: 1 }, kind: 'x' }, ['counter n{} addTotal 1']],
    ['a 64-bit integer', { name: 'n', gauge: { value: 12n } }, ['gauge n{} add 12']],
    ['other fields', { ...gauge, interval_ms: 10, x: [], counter: null }, ['gauge cpu{} add 63.5']],
    ['a wrapper', { metric: gauge }, ['gauge cpu{} add 63.5']],
    ['tags', { ...gauge, tags: { a: 'x', b: 2, c: true, d: null } }, ['gauge cpu{a=x,b=2,c=true} add 63.5']],
    ['lists of tags', { ...gauge, tags: { a: ['x', null, 'y'], b: [] } }, ['gauge cpu{a=x,y,b=} add 63.5']],
    ['a namespace', { ...gauge, namespace: 'host', tags: { a: 'x' } }, ['gauge cpu{namespace=host,a=x} add 63.5']],
    [
      'a namespace beside a tag of this name',
      { ...gauge, namespace: 'host', tags: { namespace: 'x' } },
      ['gauge cpu{namespace=x} add 63.5'],
    ],
    ['no namespace', { ...gauge, namespace: null }, ['gauge cpu{} add 63.5']],
    [
      'a histogram as counters, deltas',
      histogram,
      [
        'histogram duration{host=a,upper_limit=0.1} add 90',
        'histogram duration{host=a,upper_limit=1} add 50',
        'counter duration_count{host=a} add 140',
        'counter duration_sum{host=a} add 75.5',
      ],
    ],
    [
      'what a histogram counts beyond its buckets',
      { name: 'h', histogram: { count: 5, sum: 9, buckets: [{ upper_limit: 1, count: 3 }] } },
      [
        'histogram h{upper_limit=1} add 3',
        'histogram h{upper_limit=+Inf} add 2',
        'counter h_count{} add 5',
        'counter h_sum{} add 9',
      ],
    ],
    [
      'an absolute histogram of Vector, running totals, with its infinite bucket',
      {
        name: 'h',
        kind: 'absolute',
        aggregated_histogram: {
          buckets: [
            { upper_limit: -1.5, count: 1 },
            { upper_limit: 1e21, count: 2 },
            { upper_limit: 'inf', count: 0 },
          ],
          count: 3,
          sum: 4,
        },
      },
      [
        'histogram h{upper_limit=-1.5} addTotal 1',
        'histogram h{upper_limit=1e+21} addTotal 2',
        'histogram h{upper_limit=+Inf} addTotal 0',
        'counter h_count{} addTotal 3',
        'counter h_sum{} addTotal 4',
      ],
    ],
    [
      'an incremental histogram without a sum, equal limits together',
      {
        name: 'h',
        kind: 'incremental',
        aggregated_histogram: {
          count: 3n,
          buckets: [
            { upper_limit: 1, count: 1n },
            { upper_limit: 1.0, count: 2 },
          ],
        },
      },
      ['histogram h{upper_limit=1} add 3', 'counter h_count{} add 3'],
    ],
    [
      'a summary as gauges',
      summary,
      [
        'summary size{quantile=0.5} add 200',
        'summary size{quantile=0.99} add 600',
        'counter size_count{} add 100',
        'counter size_sum{} add 25000',
      ],
    ],
    [
      'an absolute summary of Vector',
      {
        name: 's',
        kind: 'absolute',
        aggregated_summary: { quantiles: [{ quantile: 1, value: 2 }], count: 1, sum: 2 },
      },
      ['summary s{quantile=1} add 2', 'counter s_count{} addTotal 1', 'counter s_sum{} addTotal 2'],
    ],
    ['a set of Vector', { name: 's', set: { values: ['a', 'b'] } }, ['set s{} addMember a', 'set s{} addMember b']],
    [
      'numbers as members of a set, with all of their digits',
      { name: 's', set: { values: [7, 653247040368672769n, 1.5, 'a'] } },
      ['set s{} addMember 7', 'set s{} addMember 653247040368672769', 'set s{} addMember 1.5', 'set s{} addMember a'],
    ],
    [
      'a summary of an idle source: count and sum',
      { name: 's', summary: { count: 0, sum: 0, quantiles: [{ quantile: 0.5, value: null }, { quantile: 0.9 }] } },
      ['counter s_count{} add 0', 'counter s_sum{} add 0'],
    ],
    [
      'the finite parts of a summary',
      {
        name: 's',
        kind: 'absolute',
        aggregated_summary: {
          count: Number.NaN,
          sum: 5,
          quantiles: [
            { quantile: 0.5, value: Number.NaN },
            { quantile: Number.NaN, value: 1 },
            null,
            { quantile: 1, value: 2 },
          ],
        },
      },
      ['summary s{quantile=1} add 2', 'counter s_sum{} addTotal 5'],
    ],
    [
      'a histogram whose highest limit is null, missing or infinite',
      {
        name: 'h',
        histogram: {
          count: 6,
          sum: null,
          buckets: [
            { upper_limit: 1, count: 1 },
            { upper_limit: null, count: 2 },
            { count: 2 },
            { upper_limit: Number.POSITIVE_INFINITY, count: 1 },
          ],
        },
      },
      ['histogram h{upper_limit=1} add 1', 'histogram h{upper_limit=+Inf} add 5', 'counter h_count{} add 6'],
    ],
    [
      'the finite parts of a histogram; what an absent bucket holds is not taken for +Inf',
      {
        name: 'h',
        histogram: {
          count: 9,
          sum: Number.NEGATIVE_INFINITY,
          buckets: [
            { upper_limit: 1, count: 3 },
            { upper_limit: 2, count: null },
            { upper_limit: Number.NaN, count: 1 },
            null,
          ],
        },
      },
      ['histogram h{upper_limit=1} add 3', 'counter h_count{} add 9'],
    ],
    [
      'a histogram without a count',
      { name: 'h', kind: 'absolute', aggregated_histogram: { sum: 2.5, buckets: [{ upper_limit: 1, count: 3 }] } },
      ['histogram h{upper_limit=1} addTotal 3', 'counter h_sum{} addTotal 2.5'],
    ],
    [
      'the finite samples of a distribution',
      { name: 'd', distribution: { samples: [{ value: 1.5 }, { value: null, rate: 2 }, null, { value: Number.NaN }] } },
      ['distribution d{} addWeighted 1.5×1'],
    ],
    [
      'a distribution with a rate of null',
      { name: 'd', distribution: { samples: [{ value: 1.5, rate: null }] } },
      ['distribution d{} addWeighted 1.5×1'],
    ],
    ['an empty set', { name: 's', set: { values: [] } }, []],
    [
      'a distribution of Vector',
      {
        name: 'd',
        distribution: {
          samples: [{ value: 1.5, rate: 3 }, { value: 2, rate: 0 }, { value: 4 }],
          statistic: 'histogram',
        },
      },
      ['distribution d{} addWeighted 1.5×3', 'distribution d{} addWeighted 4×1'],
    ],
  ])('delivers %s', (_, item, expected) => {
    expect(spelt(item)).toEqual(expected)
  })

  it.each<[string, unknown]>([
    ['missing_name', { gauge: { value: 1 } }],
    ['missing_name', { name: '', gauge: { value: 1 } }],
    ['missing_name', { name: 'x'.repeat(256), gauge: { value: 1 } }],
    ['missing_name', { ...histogram, name: 'x'.repeat(250) }],
    ['invalid_type', { name: 'n' }],
    ['invalid_type', { name: 'n', gauge: null }],
    ['invalid_type', { name: 'n', type: 'gauge', value: 1 }],
    ['invalid_type', { name: 'n', sketch: { sketch: {} } }],
    ['invalid_type', { ...gauge, counter: { value: 1 } }],
    ['invalid_value', { name: 'n', gauge: 1 }],
    ['invalid_value', { name: 'n', gauge: { value: null } }],
    ['invalid_value', { name: 'n', gauge: { value: '1' } }],
    ['invalid_value', { name: 'n', gauge: { value: Number.POSITIVE_INFINITY } }],
    ['invalid_value', { name: 'n', counter: {} }],
    ['invalid_value', { ...gauge, kind: 'incremental' }],
    ['invalid_value', { name: 'h', histogram: { count: 1, sum: 1 } }],
    ['invalid_value', { name: 'h', histogram: { count: 1, sum: '1', buckets: [] } }],
    ['invalid_value', { name: 'h', histogram: { count: null, sum: null, buckets: [] } }],
    ['invalid_value', { name: 'h', aggregated_histogram: { count: null, buckets: [{ upper_limit: 1, count: null }] } }],
    ['invalid_value', { name: 's', summary: { count: null, sum: null, quantiles: [{ quantile: 0.5, value: null }] } }],
    ['invalid_value', { name: 's', summary: { sum: Number.NaN, quantiles: [null] } }],
    ['invalid_value', { name: 'h', histogram: { count: -1, sum: 1, buckets: [] } }],
    ['invalid_value', { name: 'h', histogram: { count: 1, sum: 1, buckets: ['x'] } }],
    ['invalid_value', { name: 'h', histogram: { count: 1, sum: 1, buckets: [{ upper_limit: 1, count: -1 }] } }],
    ['invalid_value', { name: 'h', histogram: { count: 1, sum: 1, buckets: [{ upper_limit: '1', count: 1 }] } }],
    ['invalid_value', { name: 's', summary: { count: 1, sum: 1, quantiles: [{ quantile: 2, value: 1 }] } }],
    ['invalid_value', { name: 's', summary: { count: 1, sum: 1, quantiles: [{ quantile: 0.5, value: '1' }] } }],
    ['invalid_value', { name: 's', summary: { count: 1, sum: 1, quantiles: [5] } }],
    ['invalid_value', { name: 's', set: { values: ['a', true] } }],
    ['invalid_value', { name: 's', set: { values: ['a', null] } }],
    ['invalid_value', { name: 's', set: { values: [Number.NaN] } }],
    ['invalid_value', { name: 'd', distribution: { samples: [{ value: 1, rate: 1.5 }] } }],
    ['invalid_value', { name: 'd', distribution: { samples: [{ value: null }, {}, null] } }],
    ['invalid_value', { name: 'd', distribution: { samples: [{ value: 1 }, { value: '2' }] } }],
    ['invalid_value', { name: 'd', distribution: { samples: [{ value: 1 }, 2] } }],
    ['invalid_timestamp', { ...gauge, dt: NOW_MS + 86_400_001 }],
    ['invalid_tags', { ...gauge, tags: [] }],
    ['invalid_tags', { ...gauge, tags: { a: {} } }],
    ['invalid_tags', { ...gauge, tags: { a: [{}] } }],
    ['invalid_tags', { ...gauge, namespace: 'x'.repeat(257) }],
    ['invalid_tags', { ...gauge, namespace: 'one too many', tags: TAGS_AT_LIMIT }],
    ['invalid_body', null],
    ['invalid_body', []],
    ['invalid_body', 'cpu'],
  ])('is left out as %s: %j', (code, item) => {
    const { points, errors } = decode(item)
    expect(points).toEqual([])
    expect(errors).toMatchObject([{ index: 7, code }])
  })

  it('is left out before an array in a tag that is too long has been read to its end', () => {
    let reads = 0
    const values = new Proxy(Array<string>(100_000).fill('xy'), {
      get(target, key, receiver) {
        reads++
        return Reflect.get(target, key, receiver)
      },
    })
    const { errors } = decode({ ...gauge, tags: { k: values } })
    expect(reads).toBeLessThan(1_000)
    expect(errors).toMatchObject([{ message: 'value of tag "k" has more than 256 characters' }])
  })

  it('is left out whole when the engine refuses one of its series', () => {
    const { points, errors } = decode(histogram, (name) =>
      name === 'duration_sum' ? { code: 'type_conflict', message: 'because' } : undefined,
    )
    expect(points).toEqual([])
    expect(errors).toEqual([{ index: 7, code: 'type_conflict', message: 'because' }])
  })
})

describe('the time of an item', () => {
  it.each<[unknown, string]>([
    [1672490759, '2022-12-31T12:45:59.000Z'],
    [1672490759123, '2022-12-31T12:45:59.123Z'],
    [1672490759123456, '2022-12-31T12:45:59.123Z'],
    [1672490759123456000, '2022-12-31T12:45:59.123Z'],
    [1672490759123456789n, '2022-12-31T12:45:59.123Z'],
    [1672490759n, '2022-12-31T12:45:59.000Z'],
    ['1672490759123', '2022-12-31T12:45:59.123Z'],
    ['2022-12-31T13:45:59.123456Z', '2022-12-31T13:45:59.123Z'],
    ['2022-12-31 13:45:59.123456+02:00', '2022-12-31T11:45:59.123Z'],
    ['2023-08-09 07:03:30+00:00', '2023-08-09T07:03:30.000Z'],
    ['2023-08-09T07:03:30 UTC', '2023-08-09T07:03:30.000Z'],
    ['2023-08-09T07:03:30.123456789-0130', '2023-08-09T08:33:30.123Z'],
    [new Date('2023-08-09T07:03:30.5Z'), '2023-08-09T07:03:30.500Z'],
    ['2024-01-16T12:00:00Z', '2024-01-16T12:00:00.000Z'],
  ])('is read from %s', (dt, expected) => {
    for (const field of ['dt', 'timestamp']) {
      const { points, odd } = decode({ ...gauge, [field]: dt })
      expect(new Date(points[0]!.timeMs).toISOString()).toBe(expected)
      expect(odd).toEqual([])
    }
  })

  it('is that of reception when there is none', () => {
    for (const item of [gauge, { ...gauge, dt: null }, { ...gauge, dt: null, timestamp: null }]) {
      const { points, odd } = decode(item)
      expect([points[0]!.timeMs, odd]).toEqual([NOW_MS, []])
    }
  })

  it.each([['yesterday'], [''], [true], [{}], [['2024-01-15']], [Number.NaN], [new Date(Number.NaN)], [1e300]])(
    'is that of reception when %j is no time, which is told',
    (dt) => {
      const { points, odd } = decode({ ...gauge, dt, timestamp: 1672490759 })
      expect([points[0]!.timeMs, odd]).toEqual([NOW_MS, [dt]])
    },
  )

  it('is dt where both are given', () => {
    expect(decode({ ...gauge, timestamp: 1, dt: 1672490759 }).points[0]!.timeMs).toBe(1672490759000)
  })
})
