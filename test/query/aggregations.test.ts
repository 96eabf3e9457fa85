import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../src/model/errors.ts'
import { METRIC_TYPES, type MetricType } from '../../src/model/metric.ts'
import {
  AGGREGATIONS,
  type Aggregation,
  aggregationNamesOf,
  appliesToType,
  defaultAggregation,
  parseAggregation,
  quantileAggregation,
  requireAppliesToType,
} from '../../src/query/aggregations.ts'

/** The quantile that an aggregation reads. */
function quantileOf(aggregation: Aggregation): number {
  const number = Number.NaN
  const rest = { count: number, sum: number, min: number, max: number, first: number, last: number, seconds: number }
  return aggregation.compute({ ...rest, quantile: (q) => q })
}

describe('parseAggregation', () => {
  it.each(AGGREGATIONS)('knows $name', (aggregation) => {
    expect(parseAggregation(aggregation.name)).toBe(aggregation)
  })

  it.each([
    ['p0', 0],
    ['p50', 0.5],
    ['p95', 0.95],
    ['p99.9', 0.999],
    ['p99.999', 0.99999],
    ['p999', 0.999],
    ['p100', 1],
    ['p100.000', 1],
    ['p07', 0.07],
  ])('reads %s as the quantile %d under the name it was given', (name, q) => {
    const parsed = parseAggregation(name)!
    expect(parsed.name).toBe(name)
    expect(quantileOf(parsed)).toBeCloseTo(q, 12)
  })

  it.each([
    ...['p101', 'p100.5', 'p1000', 'p-1', 'p', 'p9.', 'p.9', 'p99.9999', 'p1e1', 'p 5', 'P95', 'p95 '],
    ...['AVG', 'mean', '', 'toString', '__proto__', 'constructor'],
  ])('does not know %j', (name) => {
    expect(parseAggregation(name)).toBeUndefined()
  })
})

describe('quantileAggregation', () => {
  it.each([
    [0, 'p0'],
    [0.07, 'p7'],
    [0.29, 'p29'],
    [0.5, 'p50'],
    [0.95, 'p95'],
    [0.999, 'p99.9'],
    [0.99999, 'p99.999'],
    [1, 'p100'],
    [0.1, 'p10'],
    [0.001, 'p0.1'],
    [0.0123, 'p1.23'],
    [1e-9, 'p1e-7'],
    [1.5e-8, 'p0.0000015'],
    [5e-324, 'p5e-322'],
    [0.999999999, 'p99.9999999'],
    [0.9999999999, 'p99.99999999'],
    [0.1 + 0.2, 'p30.000000000000004'],
  ])('names %d as %s', (q, name) => {
    expect(quantileAggregation(q).name).toBe(name)
    expect(quantileOf(quantileAggregation(q))).toBe(q)
  })

  it('names different quantiles differently, by text that reads back as the quantile', () => {
    const near = fc.double({ min: 0, max: 1, noNaN: true })
    const next = (q: number): number => (q < 0.5 ? q * (1 + 2 ** -52) : q - 2 ** -53)
    fc.assert(
      fc.property(near, (q) => {
        const { name } = quantileAggregation(q)
        expect(Number(`${name.slice(1)}e0`.replace(/(?:e(-?\d+))?e0$/, (_, e) => `e${Number(e ?? 0) - 2}`))).toBe(q + 0)
        if (next(q) !== q) expect(quantileAggregation(next(q)).name).not.toBe(name)
      }),
    )
  })

  it('is the aggregation of the same name, where that can be asked by name', () => {
    for (let permille = 0; permille <= 100_000; permille += 7) {
      const { name } = quantileAggregation(permille / 100_000)
      expect(quantileOf(parseAggregation(name)!)).toBe(permille / 100_000)
    }
  })
})

describe('the aggregations of a type', () => {
  const ANSWERS: Readonly<Record<MetricType, { readonly all: string; readonly default: string }>> = {
    gauge: { all: 'avg count first last max min range sum', default: 'last' },
    counter: { all: 'count last rate sum', default: 'sum' },
    distribution: { all: 'avg count max min p50 p75 p90 p95 p99 p999 pN range sum', default: 'avg' },
    set: { all: 'count', default: 'count' },
    histogram: { all: 'p50 p75 p90 p95 p99 p999 pN rate sum', default: 'sum' },
    summary: { all: 'avg last max min', default: 'last' },
  }

  it.each(METRIC_TYPES)('a %s', (type) => {
    expect([...aggregationNamesOf(type)].sort().join(' ')).toBe(ANSWERS[type].all)
    expect(defaultAggregation(type).name).toBe(ANSWERS[type].default)
    expect(appliesToType(defaultAggregation(type), type)).toBe(true)
    expect(appliesToType(quantileAggregation(0.5), type)).toBe(type === 'distribution' || type === 'histogram')
  })

  it('are listed in the error for an unknown one', () => {
    const refuse = () => requireAppliesToType(quantileAggregation(0.95), 'counter')
    expect(refuse).toThrow(GatewayError)
    expect(refuse).toThrow('a counter has no aggregation "p95"; it has sum, count, last, rate')
  })
})
