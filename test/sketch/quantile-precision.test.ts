import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BIN_KEY_MAX, binKeyOf, RELATIVE_ERROR, valueOfBin } from '../../src/sketch/quantile-precision.ts'

describe('the key space', () => {
  test('a value and the representative of its bin are within the relative error', () => {
    const normalDouble = fc
      .double({ noNaN: true, noDefaultInfinity: true })
      .filter((value) => value === 0 || Math.abs(value) >= 2 ** -1022)
    fc.assert(
      fc.property(normalDouble, (value) => {
        expect(Math.abs(valueOfBin(binKeyOf(value)) - value)).toBeLessThanOrEqual(
          (RELATIVE_ERROR + 1e-9) * Math.abs(value),
        )
      }),
      { numRuns: 2000 },
    )
  })

  test('ascending values have ascending keys, of their own sign', () => {
    const double = fc.double({ noNaN: true, noDefaultInfinity: true })
    fc.assert(
      fc.property(double, double, (a, b) => {
        expect(Math.sign(binKeyOf(a) - binKeyOf(b)) * Math.sign(a - b)).toBeGreaterThanOrEqual(0)
        expect(binKeyOf(-a)).toBe(0 - binKeyOf(a))
        expect(Math.sign(binKeyOf(a))).toBe(Math.sign(a) + 0)
      }),
    )
  })

  test('the extremes of doubles have keys and finite representatives', () => {
    expect(binKeyOf(5e-324)).toBe(1)
    expect(valueOfBin(1)).toBe(5e-324)
    expect(binKeyOf(Number.MAX_VALUE)).toBe(BIN_KEY_MAX)
    expect(valueOfBin(BIN_KEY_MAX) / Number.MAX_VALUE).toBeGreaterThan(0.98)
    expect(valueOfBin(BIN_KEY_MAX)).toBeLessThan(Number.POSITIVE_INFINITY)
    expect(valueOfBin(-BIN_KEY_MAX)).toBeGreaterThan(Number.NEGATIVE_INFINITY)
    expect(binKeyOf(-0)).toBe(0)
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])('%d has no bin', (value) => {
    expect(() => binKeyOf(value)).toThrow(RangeError)
  })
})
