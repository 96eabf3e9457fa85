import { describe, expect, it } from 'vitest'
import {
  createDateTimeFormat,
  createTickFormat,
  formatAge,
  formatNumber,
  formatValue,
} from '../../../playground/chart/format.ts'

const AT = Date.parse('2026-11-29T00:05:10Z')

describe('numbers', () => {
  it.each([
    [0, '0'],
    [145.23456, '145.2'],
    [0.012345, '0.01235'],
    [9_999.4, '9,999'],
    [123_456.7, '123,457'],
    [12_345_678, '12.35M'],
    [-2.5, '-2.5'],
    [0.00001234, '1.23e-5'],
    [2 ** 53, '9.01e+15'],
    [null, '–'],
  ])('%s is shown as %s', (value, text) => {
    expect(formatNumber(value)).toBe(text)
  })

  it('have their unit, when there is a number', () => {
    expect([formatValue(3, 'ms'), formatValue(3, null), formatValue(null, 'ms')]).toEqual(['3 ms', '3', '–'])
  })
})

describe('times', () => {
  it('are shown in the time zone of the question, as exactly as the buckets are', () => {
    expect(createDateTimeFormat('Europe/Berlin', 10_000)(AT)).toBe('Sun, 29 Nov 2026, 01:05:10')
    expect(createDateTimeFormat('UTC', 60_000)(AT)).toBe('Sun, 29 Nov 2026, 00:05')
    expect(createDateTimeFormat('America/New_York', 86_400_000)(AT)).toBe('Sat, 28 Nov 2026')
    expect(createDateTimeFormat('No/Where', 86_400_000)(AT)).toBe('Sun, 29 Nov 2026')
  })

  it('of an axis are as short as its distances allow', () => {
    const label = (distanceMs: number): string => createTickFormat('UTC', distanceMs)(AT)
    expect([10_000, 60_000, 86_400_000, 30 * 86_400_000].map(label)).toEqual([
      '00:05:10',
      '00:05',
      '29 Nov',
      'Nov 2026',
    ])
  })

  it.each([
    [-5_000, '0 s ago'],
    [12_400, '12 s ago'],
    [200_000, '3 min ago'],
    [7_200_000, '2 h ago'],
    [200_000_000, '2 d ago'],
  ])('%s ms back are %s', (backMs, text) => {
    expect(formatAge(AT - backMs, AT)).toBe(text)
  })
})
