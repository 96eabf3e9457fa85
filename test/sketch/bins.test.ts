import fc from 'fast-check'
import { expect, test } from 'vitest'
import { COUNT_MAX } from '../../src/model/count.ts'
import { BinAccumulator } from '../../src/sketch/bin-accumulator.ts'
import { BinColumns, decodeBins, skipBins } from '../../src/sketch/bins.ts'
import { BIN_KEY_MAX, BIN_KEY_OF_ONE, binKeyOf } from '../../src/sketch/quantile-precision.ts'
import { ByteWriter } from '../../src/sketch/varint.ts'

type Bin = readonly [key: number, weight: number]

const window = new BinAccumulator()

function encoded(bins: readonly Bin[]): Uint8Array {
  const writer = new ByteWriter()
  for (const [key, weight] of bins) window.add(key, weight)
  window.encode(writer)
  return writer.copyWritten()
}

function binsOf(columns: BinColumns): Bin[] {
  return Array.from({ length: columns.length }, (_, i) => [columns.keys[i]!, columns.weights[i]!])
}

function decoded(bytes: Uint8Array, start = 0): Bin[] {
  const columns = new BinColumns(1)
  decodeBins(bytes, start, columns)
  return binsOf(columns)
}

/** The bins of a sketch, found the obvious way. */
function summed(bins: readonly Bin[]): Bin[] {
  const weights = new Map<number, number>()
  for (const [key, weight] of bins) weights.set(key, Math.min(2 ** 53, (weights.get(key) ?? 0) + weight))
  return [...weights].sort(([a], [b]) => a - b)
}

const key = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(binKeyOf),
  fc.double({ min: 1, max: 100, noNaN: true }).map(binKeyOf),
  fc.constantFrom(-BIN_KEY_MAX, BIN_KEY_MAX, 0, BIN_KEY_OF_ONE),
)
const weight = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 2 ** 45 }), fc.constant(2 ** 53))
const observations = fc.array(fc.tuple(key, weight), { maxLength: 60 })

test('sketches written one after the other are read one after the other', () => {
  fc.assert(
    fc.property(fc.array(observations, { maxLength: 5 }), (sketches) => {
      const writer = new ByteWriter()
      for (const bins of sketches) writer.bytes(encoded(bins))
      const bytes = writer.copyWritten()
      const columns = new BinColumns(1)
      let offset = 0
      for (const bins of sketches) {
        offset = decodeBins(bytes, offset, columns)
        expect(binsOf(columns)).toEqual(summed(bins))
      }
      expect(offset).toBe(bytes.length)
    }),
  )
})

test('a window takes encoded bins as it takes bins one by one, from any offset', () => {
  fc.assert(
    fc.property(observations, observations, (a, b) => {
      const before = encoded(a.slice(0, 3))
      const bytes = new Uint8Array([...before, ...encoded(b)])
      for (const [binKey, binWeight] of a) window.add(binKey, binWeight)
      expect(window.addEncoded(bytes, before.length)).toBe(summed(b).length)
      const writer = new ByteWriter()
      window.encode(writer)
      expect(decoded(writer.copyWritten())).toEqual(summed([...a, ...b]))
    }),
  )
})

test('a window is empty after its bins found no memory', () => {
  class FullMemory extends BinColumns {
    override reserve(): void {
      throw new RangeError('Array buffer allocation failed')
    }
  }
  window.add(7, 3)
  expect(() => window.moveTo(new FullMemory())).toThrow(RangeError)
  window.add(9, 1)
  const columns = new BinColumns()
  window.moveTo(columns)
  expect(binsOf(columns)).toEqual([[9, 1]])
})

test('a weight in a window never passes the maximum of a count', () => {
  const full = encoded([[7, COUNT_MAX]])
  for (let i = 0; i < 3; i++) window.addEncoded(full, 0)
  window.add(7, COUNT_MAX - 1)
  const columns = new BinColumns()
  window.moveTo(columns)
  expect([...columns.weights.subarray(0, columns.length)]).toEqual([COUNT_MAX])
  expect(window.binCount).toBe(0)
})

test('a window is empty after a weight that cannot be encoded', () => {
  window.add(-BIN_KEY_MAX, 1)
  window.add(5, 1.5)
  window.add(900, 1)
  expect(() => window.encode(new ByteWriter())).toThrow(RangeError)
  expect(window.binCount).toBe(0)
  expect(decoded(encoded([[5, 1]]))).toEqual([[5, 1]])
})

test('the bytes are count, first key relative to the key of 1, and pairs of distance and weight', () => {
  const bins: Bin[] = [
    [BIN_KEY_OF_ONE + 4, 200],
    [BIN_KEY_OF_ONE - 1, 3],
  ]
  expect([...encoded(bins)]).toEqual([2, 1, 3, 5, 0xc8, 1])
  expect([...encoded([])]).toEqual([0])
})

test('a typical sketch of latencies takes at most two and a half bytes a bin', () => {
  const bins = Array.from({ length: 359 }, (_, i): Bin => [binKeyOf(20 * ((i + 1) / (359 - i)) ** 0.6), 1])
  const { length } = summed(bins)
  expect(length).toBeGreaterThan(80)
  expect(encoded(bins).length / length).toBeLessThanOrEqual(2.5)
})

test('every cut is refused', () => {
  const bytes = encoded(Array.from({ length: 50 }, (_, i) => [binKeyOf((i + 1) ** 2), (i + 1) * 7]))
  for (let length = 0; length < bytes.length; length++) {
    expect(() => decoded(bytes.subarray(0, length))).toThrow(/pass(es)? the end/)
  }
})

test.each<[string, number[]]>([
  ['a key twice', [2, 0, 1, 0, 1]],
  ['a weight of 0 first', [2, 0, 0, 1, 1]],
  ['a weight of 0 later', [2, 0, 1, 1, 0]],
  ['a key beyond the largest', [2, 0, 1, BIN_KEY_MAX, 1]],
  ['a key that wraps around 32 bits', [2, 0, 1, 2 ** 32, 1]],
  ['a key below the lowest', [1, (BIN_KEY_MAX + BIN_KEY_OF_ONE) * 2 + 1, 1]],
])('%s is refused', (_, varints) => {
  const writer = new ByteWriter()
  for (const value of varints) writer.varint(value)
  expect(() => decoded(writer.copyWritten())).toThrow(RangeError)
})

/** Returns the result of `read`, or undefined if it throws a RangeError. */
function unlessRefused<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

function skipped(bytes: Uint8Array, start: number): number {
  return skipBins(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.length), start)
}

test('a sketch is skipped from any offset, and ends where its bins end', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 5 }),
      observations,
      fc.uint8Array({ maxLength: 5 }),
      (before, bins, after) => {
        fc.pre(bins.length > 0)
        const sketch = encoded(bins)
        const bytes = new Uint8Array([...before, ...sketch, ...after])
        expect(skipped(bytes, before.length)).toBe(before.length + sketch.length)
      },
    ),
  )
})

test('bytes are skipped if and only if they are the bins of a sketch', () => {
  // Keys that are so near to each other that most bins take two bytes.
  const nearKey = fc.integer({ min: BIN_KEY_OF_ONE, max: BIN_KEY_OF_ONE + 500 })
  const damaged = fc
    .tuple(
      fc.array(fc.tuple(nearKey, fc.integer({ min: 1, max: 150 })), { minLength: 1, maxLength: 60 }),
      fc.nat(),
      fc.oneof(fc.constant(0), fc.nat(255)),
    )
    .map(([bins, position, byte]) => {
      const bytes = encoded(bins)
      bytes[position % bytes.length] = byte
      return bytes
    })
  fc.assert(
    fc.property(fc.oneof(damaged, fc.uint8Array({ minLength: 1, maxLength: 40 })), (bytes) => {
      const columns = new BinColumns(1)
      const end = unlessRefused(() => decodeBins(bytes, 0, columns))
      expect(unlessRefused(() => skipped(bytes, 0))).toBe(columns.length === 0 ? undefined : end)
    }),
    { numRuns: 2_000 },
  )
})

test('a count that would claim memory is refused before it does', () => {
  const writer = new ByteWriter()
  for (const value of [2 ** 22, 0, 1]) writer.varint(value)
  const columns = new BinColumns(4)
  expect(() => decodeBins(writer.copyWritten(), 0, columns)).toThrow(RangeError)
  expect(columns.keys.length).toBe(4)
})
