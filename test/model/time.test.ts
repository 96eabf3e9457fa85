import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { daysSinceEpoch, formatDuration, formatInstant, isRecent, parseDuration } from '../../src/model/time.ts'

const INSTANT_MIN_MS = Date.parse('0001-01-01T00:00:00Z')
const INSTANT_MAX_MS = Date.UTC(9999, 11, 31, 23, 59, 59, 999)
const instants = fc.integer({ min: INSTANT_MIN_MS, max: INSTANT_MAX_MS })

describe('formatInstant', () => {
  it('writes milliseconds only when there are any', () => {
    expect(formatInstant(Date.parse('2024-01-15T10:30:00Z'))).toBe('2024-01-15T10:30:00Z')
    expect(formatInstant(Date.parse('2026-11-21T20:19:12.770Z'))).toBe('2026-11-21T20:19:12.770Z')
    expect(formatInstant(-1)).toBe('1969-12-31T23:59:59.999Z')
  })

  it('refuses numbers that are not instants', () => {
    expect(() => formatInstant(Number.NaN)).toThrow(RangeError)
    expect(() => formatInstant(Number.POSITIVE_INFINITY)).toThrow(RangeError)
  })

  it('writes what Date writes, whatever was written before', () => {
    const near = fc.tuple(instants, fc.array(fc.integer({ min: -1e8, max: 1e8 })))
    fc.assert(
      fc.property(near, ([ms, steps]) => {
        for (const step of steps) {
          const at = Math.max(INSTANT_MIN_MS, Math.min(INSTANT_MAX_MS, ms + step))
          expect(formatInstant(at)).toBe(new Date(at).toISOString().replace('.000Z', 'Z'))
        }
      }),
    )
  })
})

describe('daysSinceEpoch', () => {
  it('counts as Date does, before the year 1 too', () => {
    fc.assert(
      fc.property(fc.integer({ min: -62_200_000_000_000, max: 253_402_300_799_999 }), (ms) => {
        const date = new Date(ms)
        expect(daysSinceEpoch(date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate())).toBe(
          Math.floor(ms / 86_400_000),
        )
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('a duration', () => {
  it.each([
    ['10s', 10_000],
    ['5m', 300_000],
    ['1h30m', 5_400_000],
    ['1.5h', 5_400_000],
    ['250ms', 250],
    ['1m250ms', 60_250],
    ['7d', 604_800_000],
    ['2w', 1_209_600_000],
    ['0s', 0],
    ['PT5M', 300_000],
    ['P1D', 86_400_000],
    ['P2W', 1_209_600_000],
    ['P1DT12H', 129_600_000],
    ['PT0.5S', 500],
  ])('reads %s', (text, ms) => {
    expect(parseDuration(text)).toBe(ms)
  })

  it.each([
    '',
    '5',
    'm',
    '-5m',
    '1m1h',
    '1h1h',
    '1h 5m',
    '5M',
    '1mo',
    '1y',
    'P',
    'PT',
    'P1DT',
    'P1M',
    'P1Y',
    '1e3s',
    '999999999999999w',
  ])('refuses "%s"', (text) => {
    expect(parseDuration(text)).toBeUndefined()
  })

  it.each([
    [0, '0s'],
    [1, '1ms'],
    [10_000, '10s'],
    [60_000, '1m'],
    [900_000, '15m'],
    [5_400_000, '90m'],
    [3_600_000, '1h'],
    [86_400_000, '1d'],
    [129_600_000, '36h'],
    [604_800_000, '1w'],
  ])('of %d ms is written %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text)
  })

  it('survives writing and reading', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e13 }), fc.constantFrom(1, 1_000, 60_000, 3_600_000), (count, unit) => {
        const ms = (count * unit) % 1e14
        expect(parseDuration(formatDuration(ms))).toBe(ms)
      }),
    )
  })
})

describe('a recent instant', () => {
  it.each([
    ['at its own time', 1_000, true],
    ['just before the time is over', 1_099, true],
    ['when the time is over', 1_100, false],
    ['when the clock was set back', 999, false],
  ])('%s', (_, nowMs, expected) => {
    expect(isRecent(100, 1_000, nowMs)).toBe(expected)
  })
})
