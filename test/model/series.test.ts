import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { canonicalTags } from '../../src/model/series.ts'

describe('canonical tags', () => {
  it.each([
    [[], []],
    [
      [
        ['b', '2'],
        ['a', '1'],
      ],
      [
        ['a', '1'],
        ['b', '2'],
      ],
    ],
    [
      [
        ['a', '1'],
        ['b', ''],
        ['c', '3'],
      ],
      [
        ['a', '1'],
        ['c', '3'],
      ],
    ],
    [
      [
        ['a', '1'],
        ['a', '2'],
      ],
      [['a', '2']],
    ],
    [
      [
        ['a', '1'],
        ['b', '1'],
        ['a', ''],
      ],
      [['b', '1']],
    ],
    [
      [
        ['a', ''],
        ['a', '2'],
      ],
      [['a', '2']],
    ],
    [
      [
        ['B', '1'],
        ['a', '2'],
        ['b', '3'],
      ],
      [
        ['B', '1'],
        ['a', '2'],
        ['b', '3'],
      ],
    ],
  ] as const)('of %j are %j', (pairs, expected) => {
    expect(canonicalTags(pairs)).toEqual(expected)
  })

  it('have each key once, sorted, with its last value', () => {
    const text = fc.string({ maxLength: 2 })
    fc.assert(
      fc.property(fc.array(fc.tuple(text, text), { maxLength: 40, size: 'max' }), (pairs) => {
        const copy = structuredClone(pairs)
        const expected = Object.entries(Object.fromEntries(pairs.map(([key, value]) => [`key ${key}`, value])))
          .filter(([, value]) => value !== '')
          .map(([key, value]) => [key.slice(4), value])
          .sort(([a], [b]) => (a! < b! ? -1 : 1))
        expect(canonicalTags(pairs)).toEqual(expected)
        expect(pairs).toEqual(copy)
      }),
    )
  })
})
