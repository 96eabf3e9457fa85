import { describe, expect, it } from 'vitest'
import {
  addFilter,
  chooseMetric,
  resolveQuestion,
  setTop,
  toggleAggregation,
  toggleFilterValue,
  toggleGrouping,
} from '../../../playground/question/question.ts'
import { QUESTION } from './questions.ts'

const ORDER = ['AVG', 'P50', 'P95', 'P99']

describe('a question', () => {
  it('keeps its time when another metric is chosen, and nothing that depends on the metric', () => {
    const { range, interval, timezone, compare } = QUESTION
    expect(chooseMetric(QUESTION, 'orders')).toEqual({
      ...{ metric: 'orders', range, interval, timezone, compare, isLive: false },
      ...{ aggregations: [], groupBy: [], filters: [], top: undefined },
    })
  })

  it('means the usual aggregations of the type when it has none', () => {
    const none = { ...QUESTION, aggregations: [] }
    expect(resolveQuestion(none, { type: 'COUNTER' }).aggregations).toEqual(['SUM'])
    expect(resolveQuestion(none, { type: 'GAUGE' }).aggregations).toEqual(['LAST'])
    expect(resolveQuestion(QUESTION, { type: 'COUNTER' })).toBe(QUESTION)
  })

  it('keeps aggregations in the order of the gateway, at least one, and ranks by one that it has', () => {
    expect(toggleAggregation(QUESTION, 'AVG', ORDER).aggregations).toEqual(['AVG', 'P50', 'P95'])
    const without = toggleAggregation(QUESTION, 'P95', ORDER)
    expect([without.aggregations, without.top?.by]).toEqual([['P50'], ''])
    expect(toggleAggregation(without, 'P50', ORDER)).toBe(without)
  })

  it('shows the top groups when the first grouping is added, and no ranking without groups', () => {
    const none = toggleGrouping(QUESTION, 'endpoint')
    expect([none.groupBy, none.top]).toEqual([[], undefined])
    const first = toggleGrouping(none, 'status')
    expect(first.top).toEqual({ n: 5, by: '', direction: 'DESC', other: true })
    const all = { ...first, top: undefined }
    expect(toggleGrouping(all, 'endpoint')).toMatchObject({ groupBy: ['status', 'endpoint'], top: undefined })
    expect(setTop(all, { n: 2 }).top?.n).toBe(2)
  })

  it('collects the values of one tag in one filter, and drops it with the last value', () => {
    const two = toggleFilterValue(toggleFilterValue({ ...QUESTION, filters: [] }, 'a', '1'), 'a', '2')
    expect(two.filters).toEqual([{ key: 'a', operator: 'in', values: ['1', '2'] }])
    expect(toggleFilterValue(toggleFilterValue(two, 'a', '1'), 'a', '2').filters).toEqual([])
    expect(addFilter(two, { key: 'a', operator: 'in', values: ['2', '3'] }).filters[0]?.values).toEqual(['1', '2', '3'])
    expect(addFilter(two, { key: 'a', operator: 'glob', values: ['*'] }).filters).toHaveLength(2)
  })
})
