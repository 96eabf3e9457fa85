import { describe, expect, it } from 'vitest'
import { findCharts } from '../../../playground/chart/find-charts.ts'

const COLUMNS = { timestamps: [1_000, 2_000], values: [1, null] }

describe('the charts of an answer', () => {
  it('are one per alias, with its unit and time zone', () => {
    const charts = findCharts({
      requests: { series: [{ label: 'rate', total: 3, ...COLUMNS }], metric: { unit: 's' }, timezone: 'Europe/Berlin' },
      online: { series: [{ label: 'last · eu', ...COLUMNS }] },
    })
    expect(charts).toMatchObject([
      {
        title: 'requests',
        unit: 's',
        timezone: 'Europe/Berlin',
        lines: [{ label: 'rate', total: 3, timestamps: [1_000, 2_000], values: [1, null], comparedWith: undefined }],
      },
      { title: 'online', unit: null, timezone: undefined, lines: [{ label: 'last · eu', total: null }] },
    ])
  })

  it('are found however deep they lie and however their list is called', () => {
    const charts = findCharts({
      metrics: { nodes: [{ name: 'orders', query: { lines: [{ label: 'sum', ...COLUMNS }] } }] },
    })
    expect(charts.map(({ title, lines }) => [title, lines.length])).toEqual([['metrics › nodes › orders › query', 1]])
  })

  it('read `points` as they read columns', () => {
    const points = [
      { timestamp: '2026-01-01T00:00:00Z', value: 5 },
      { timestamp: '2026-01-01T00:01:00Z', value: null },
    ]
    const [chart] = findCharts({ query: { series: [{ tags: { endpoint: '/a', status: '200' }, points }] } })
    expect(chart?.lines).toMatchObject([
      { label: '/a, 200', timestamps: [1_767_225_600_000, 1_767_225_660_000], values: [5, null] },
    ])
  })

  it('draw a comparison at the times of the line that it belongs to', () => {
    const comparison = { label: 'sum · 1w before', total: 9, timestamps: [-5, -4], values: [7, 8] }
    const [chart] = findCharts({ query: { series: [{ id: 'x', label: 'sum', ...COLUMNS, comparison }] } })
    expect(chart?.lines).toMatchObject([
      { id: 'x', values: [1, null], comparedWith: undefined },
      { label: 'sum · 1w before', timestamps: [1_000, 2_000], values: [7, 8], total: 9, comparedWith: 'x' },
    ])
  })

  it('have the totals of groups as bars, and their buckets as lines', () => {
    const bucket = (start: string, p95: number | null) => ({ start, complete: true, values: { p95 } })
    const groups = [
      { endpoint: '/a', total: { count: 4, p95: 10 }, buckets: [bucket('1970-01-01T00:00:01Z', 1)] },
      { tags: null, total: { count: 6, p95: null }, buckets: [bucket('1970-01-01T00:00:02Z', null)] },
    ]
    const [chart] = findCharts({ query: { groups } })
    expect(chart?.bars).toEqual([
      {
        title: 'count',
        bars: [
          { label: '/a', value: 4 },
          { label: 'other', value: 6 },
        ],
      },
      {
        title: 'p95',
        bars: [
          { label: '/a', value: 10 },
          { label: 'other', value: null },
        ],
      },
    ])
    expect(chart?.lines).toMatchObject([
      { label: 'p95 · /a', timestamps: [1_000], values: [1], total: 10 },
      { label: 'p95 · other', timestamps: [2_000], values: [null] },
    ])
    const withSeries = findCharts({ query: { groups, series: [{ label: 'p95', ...COLUMNS }] } })
    expect(withSeries.map(({ lines }) => lines.map(({ label }) => label))).toEqual([['p95']])
  })

  it('draw `previous` of buckets dashed', () => {
    const buckets = [{ start: '1970-01-01T00:00:01Z', values: { sum: 3 }, previous: { sum: 2 } }]
    const [chart] = findCharts({ query: { groups: [{ buckets }] } })
    expect(chart?.lines).toMatchObject([
      { label: 'sum', values: [3], comparedWith: undefined },
      { label: 'sum · before', values: [2], comparedWith: 'sum' },
    ])
  })

  it('say how many lines lack their times', () => {
    const [chart] = findCharts({
      query: {
        series: [
          { label: 'a', values: [1] },
          { label: 'b', ...COLUMNS },
        ],
      },
    })
    expect([chart?.lineCountWithoutTimes, chart?.lines.length]).toEqual([1, 1])
  })

  it.each([
    undefined,
    null,
    3,
    [],
    { trackMetric: { name: 'a', value: 1 } },
    { metric: { tagKeys: ['a'], aggregations: ['SUM'], tagValues: [{ value: 'x', seriesCount: 2 }] } },
    { events: { nodes: [{ name: 'order.placed', value: 3, tags: {}, properties: { total: 5 } }] } },
    { metrics: { nodes: [{ name: 'a', type: 'GAUGE' }] } },
  ])('are none in %j', (data) => {
    expect(findCharts(data)).toEqual([])
  })

  it('are bounded in number and depth', () => {
    const answer = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`a${i}`, { series: [COLUMNS] }]))
    expect(findCharts(answer)).toHaveLength(20)
    let deep: unknown = { series: [COLUMNS] }
    for (let level = 0; level < 10_000; level++) deep = { deep }
    expect(findCharts(deep)).toEqual([])
  })
})
