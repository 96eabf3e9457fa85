import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BIN_KEY_MAX, binOf, RELATIVE_ERROR, valueOfBin } from '../../src/sketch/quantile-precision.ts'

describe('the key space', () => {
  test('a value and the representative of its bin are within the relative error', () => {
    const normalDouble = fc
      .double({ noNaN: true, noDefaultInfinity: true })
      .filter((value) => value === 0 || Math.abs(value) >= 2 ** -1022)
    fc.assert(
      fc.property(normalDouble, (value) => {
        expect(Math.abs(valueOfBin(binOf(value)) - value)).toBeLessThanOrEqual(
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
        expect(Math.sign(binOf(a) - binOf(b)) * Math.sign(a - b)).toBeGreaterThanOrEqual(0)
        expect(binOf(-a)).toBe(0 - binOf(a))
        expect(Math.sign(binOf(a))).toBe(Math.sign(a) + 0)
      }),
    )
  })

  test('the extremes of doubles have keys and finite representatives', () => {
    expect(binOf(5e-324)).toBe(1)
    expect(valueOfBin(1)).toBe(5e-324)
    expect(binOf(Number.MAX_VALUE)).toBe(BIN_KEY_MAX)
    expect(valueOfBin(BIN_KEY_MAX) / Number.MAX_VALUE).toBeGreaterThan(0.98)
    expect(valueOfBin(BIN_KEY_MAX)).toBeLessThan(Number.POSITIVE_INFINITY)
    expect(valueOfBin(-BIN_KEY_MAX)).toBeGreaterThan(Number.NEGATIVE_INFINITY)
    expect(binOf(-0)).toBe(0)
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])('%d has no bin', (value) => {
    expect(() => binOf(value)).toThrow(RangeError)
  })
})
