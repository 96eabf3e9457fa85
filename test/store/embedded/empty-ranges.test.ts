import fc from 'fast-check'
import { expect, test } from 'vitest'
import { EmptyRanges } from '../../../src/store/embedded/empty-ranges.ts'

const KEY_COUNT = 40
const keyOf = (n: number): string => String(n).padStart(4, '0')
const number = fc.nat(KEY_COUNT - 1)

test('a key is in an empty range from its addition until it is excluded', () => {
  const stepOf = fc.record({ kind: fc.constantFrom('add' as const, 'exclude' as const), from: number, to: number })
  fc.assert(
    fc.property(fc.array(stepOf, { maxLength: 30 }), (steps) => {
      const ranges = new EmptyRanges()
      const expected = new Set<number>()
      for (const { kind, from, to } of steps) {
        if (kind === 'exclude') {
          ranges.exclude(keyOf(from))
          expected.delete(from)
        } else if (from < to) {
          ranges.add({ start: keyOf(from), end: keyOf(to) })
          for (let n = from; n < to; n++) expected.add(n)
        }
        for (let n = 0; n < KEY_COUNT; n++) {
          const range = ranges.find(keyOf(n))
          expect(range !== undefined).toBe(expected.has(n))
          if (range === undefined) continue
          for (let m = 0; m < KEY_COUNT; m++)
            if (keyOf(m) >= range.start && keyOf(m) < range.end) expect(expected).toContain(m)
        }
      }
    }),
  )
})

test('the number of ranges is limited', () => {
  const ranges = new EmptyRanges()
  for (let n = 0; n < 3_000; n += 2) {
    ranges.add({ start: keyOf(n), end: keyOf(n + 1) })
    expect(ranges.find(keyOf(n))).toEqual({ start: keyOf(n), end: keyOf(n + 1) })
    expect(ranges.find(keyOf(n + 1))).toBeUndefined()
    expect(ranges.size).toBeLessThanOrEqual(1_000)
  }
  ranges.clear()
  ranges.add({ start: keyOf(0), end: keyOf(3_000) })
  for (let n = 1; n < 2_999; n++) {
    ranges.exclude(keyOf(n))
    expect(ranges.find(keyOf(n))).toBeUndefined()
    expect(ranges.size).toBeLessThanOrEqual(1_000)
  }
})
