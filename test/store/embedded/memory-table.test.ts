import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Layer } from '../../../src/store/embedded/layer.ts'
import { MemoryTable, UNSORTED_KEYS_MAX } from '../../../src/store/embedded/memory-table.ts'

/** Keys of a table in memory while rows are added and deleted, against a sorted set of keys. */

/** Some chunks of sorted keys become empty when a range of keys is deleted. */
const KEY_COUNT = 3_000

const keyOf = (n: number): string => String(n).padStart(4, '0')
const number = fc.nat(KEY_COUNT - 1)

const stepOf = fc.oneof(
  fc.record({ kind: fc.constant('set' as const), from: number, count: fc.nat(900) }),
  fc.record({ kind: fc.constant('delete' as const), from: number, count: fc.nat(1_500) }),
  fc.record({ kind: fc.constant('sort' as const), from: fc.constant(0), count: fc.nat(700) }),
  fc.record({ kind: fc.constant('read' as const), from: number, count: fc.constant(0) }),
)

/** The keys from `start` on, as `keysFrom` yields them. */
function keysFrom(keys: ReadonlySet<string>, start: string, reverse: boolean): string[] {
  const sorted = [...keys].sort()
  return reverse ? sorted.filter((key) => key <= start).reverse() : sorted.filter((key) => key >= start)
}

test('the keys of a range are those of the rows that the table has, in order', () => {
  fc.assert(
    fc.property(fc.array(stepOf, { minLength: 2, maxLength: 25 }), (steps) => {
      const table = new MemoryTable()
      const expected = new Set<string>()
      for (const { kind, from, count } of steps) {
        const keys = Array.from({ length: Math.min(count, KEY_COUNT - from) }, (_, i) => keyOf(from + i))
        if (kind === 'set') {
          for (const key of keys) {
            table.set(key, { value: new Uint8Array(1) })
            expected.add(key)
          }
        } else if (kind === 'delete') {
          for (const key of keys) {
            table.delete(key)
            expected.delete(key)
          }
        } else if (kind === 'sort') {
          table.sortKeys(count)
        } else {
          for (const reverse of [false, true])
            expect([...table.keysFrom(keyOf(from), reverse)]).toEqual(keysFrom(expected, keyOf(from), reverse))
        }
        expect(table.size).toBe(expected.size)
      }
      expect([...table.keysFrom('', false)]).toEqual([...expected].sort())
      expect([...table.keysFrom('9999', true)]).toEqual([...expected].sort().reverse())
    }),
    { numRuns: 100 },
  )
})

test('keys are sorted in bounded steps', () => {
  const table = new MemoryTable()
  for (let i = 0; i < 5; i++) table.set(keyOf(i), { value: new Uint8Array(1) })
  expect(table.sortKeys(2)).toBe(true)
  expect(table.sortKeys(2)).toBe(true)
  table.delete(keyOf(4))
  expect(table.sortKeys(2)).toBe(false)
  expect([...table.keysFrom('', false)]).toEqual([0, 1, 2, 3].map(keyOf))
})

test('a layer leaves few keys unsorted, however many frames are added', () => {
  const layer = new Layer()
  for (let frames = 0; frames < 6; frames++) {
    const frame = new Layer()
    for (let i = 0; i < 700; i++)
      frame.set('sets', keyOf(((frames * 700 + i) * 11) % 4_200), { value: new Uint8Array(1) })
    layer.addFrame(frame, () => true)
  }
  const table = layer.table('sets')!
  expect(table.size).toBe(4_200)
  expect(table.sortKeys(UNSORTED_KEYS_MAX)).toBe(false)
})
