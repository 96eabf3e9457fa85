import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { calendarInterval, fixedInterval, formatInterval, parseInterval } from '../../src/model/interval.ts'

describe('parseInterval', () => {
  it.each([
    ['10s', 10_000, '10s'],
    ['1m', 60_000, '1m'],
    ['60s', 60_000, '1m'],
    ['90s', 90_000, '90s'],
    ['1h', 3_600_000, '1h'],
    ['6h', 21_600_000, '6h'],
    ['1h30m', 5_400_000, '90m'],
    ['250ms', 250, '250ms'],
    ['24h', 86_400_000, '24h'],
    ['168h', 604_800_000, '168h'],
    ['PT5M', 300_000, '5m'],
  ])('reads %s as a fixed length', (text, ms, canonical) => {
    expect(parseInterval(text)).toEqual({ kind: 'fixed', ms, canonicalText: canonical })
  })

  it.each([
    ['1d', 'day', 1, '1d'],
    ['7d', 'day', 7, '7d'],
    ['1w', 'week', 1, '1w'],
    ['2w', 'week', 2, '2w'],
    ['1mo', 'month', 1, '1mo'],
    ['1M', 'month', 1, '1mo'],
    ['2mo', 'month', 2, '2mo'],
    ['3mo', 'quarter', 1, '1q'],
    ['1q', 'quarter', 1, '1q'],
    ['2q', 'quarter', 2, '2q'],
    ['12mo', 'year', 1, '1y'],
    ['4q', 'year', 1, '1y'],
    ['1y', 'year', 1, '1y'],
    ['100y', 'year', 100, '100y'],
    ['P1D', 'day', 1, '1d'],
    ['P1M', 'month', 1, '1mo'],
  ])('reads %s as units of the calendar', (text, unit, count, canonical) => {
    expect(parseInterval(text)).toEqual({ kind: 'calendar', unit, count, canonicalText: canonical })
  })

  it('reads auto', () => {
    expect(parseInterval('auto')).toEqual({ kind: 'auto' })
    expect(formatInterval({ kind: 'auto' })).toBe('auto')
  })

  it.each([
    '',
    '0',
    '0s',
    '0d',
    '-1h',
    '5',
    'h',
    '1x',
    '1.5d',
    '1d12h',
    '1w2d',
    '101y',
    '1201mo',
    '36526d',
    '876601h',
    '999999999999999h',
    'P1DT1H',
    'PT',
    'AUTO',
    ' 1h',
    '1h ',
    '1 h',
  ])('refuses "%s"', (text) => {
    expect(parseInterval(text)).toBeUndefined()
  })
})

describe('the text of an interval', () => {
  const intervals = fc.oneof(
    fc.integer({ min: 1, max: 876_600 * 3_600_000 }).map(fixedInterval),
    fc
      .tuple(fc.constantFrom(1_000, 60_000, 3_600_000), fc.integer({ min: 1, max: 500 }))
      .map(([unit, count]) => fixedInterval(unit * count)),
    fc
      .tuple(fc.constantFrom('day', 'week', 'month', 'quarter', 'year'), fc.integer({ min: 1, max: 40_000 }))
      .map(([unit, count]) => calendarInterval(unit, count)),
  )

  it('is read as the same interval', () => {
    fc.assert(
      fc.property(intervals, (interval) => {
        fc.pre(interval !== undefined)
        expect(parseInterval(formatInterval(interval))).toEqual(interval)
      }),
    )
  })
})
