import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatRateLimits, parseRateLimits, RATE_CLASSES } from '../../src/model/rate.ts'

describe('rate limits as text', () => {
  it.each([
    ['', {}],
    [
      'off',
      { single: 'off', batch: 'off', query: 'off', graphql: 'off', betterstack: 'off', otlp: 'off', write: 'off' },
    ],
    ['batch=100', { batch: 100 }],
    [' batch=100 , query=off', { batch: 100, query: 'off' }],
    ['batch=1,batch=2', { batch: 2 }],
  ])('%j is read', (text, limits) => {
    expect(parseRateLimits(text)).toEqual(limits)
  })

  it.each([
    'on',
    'batch',
    'batch=',
    'batch=0',
    'batch=-1',
    'batch=1.5',
    'batch=1e3',
    'bulk=5',
    'batch=1=2',
    'batch=5,',
    '=',
  ])('%j is refused', (text) => {
    expect(() => parseRateLimits(text)).toThrow(/^must /)
  })

  it('survive writing and reading', () => {
    const limit = fc.oneof(fc.constant('off' as const), fc.integer({ min: 1, max: 1_000_000_000 }))
    const limits = fc.record(Object.fromEntries(RATE_CLASSES.map((name) => [name, limit])), { requiredKeys: [] })
    fc.assert(
      fc.property(limits, (given) => {
        expect(parseRateLimits(formatRateLimits(given))).toEqual(given)
      }),
    )
  })
})
