import fc from 'fast-check'
import { expect, test } from 'vitest'
import { BinColumns, decodeBins, encodeBinColumns, encodeBins } from '../../src/sketch/bins.ts'
import { KEY_MAX, KEY_OF_ONE, QuantileSketch } from '../../src/sketch/quantile-sketch.ts'
import { ByteReader, ByteWriter } from '../../src/sketch/varint.ts'

function encoded(sketch: QuantileSketch): Uint8Array {
  const writer = new ByteWriter()
  encodeBins(sketch, writer)
  return writer.finish()
}

function binsOf(sketch: QuantileSketch): [number, number][] {
  const bins: [number, number][] = []
  sketch.forEachBin((key, weight) => bins.push([key, weight]))
  return bins
}

function rows(columns: BinColumns): [number, number][] {
  return Array.from({ length: columns.length }, (_, i) => [columns.keys[i]!, columns.weights[i]!])
}

const observations = fc.array(
  fc.tuple(
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 2 ** 45 })),
  ),
  { maxLength: 60 },
)

test('sketches written one after the other come back into one pair of columns', () => {
  fc.assert(
    fc.property(fc.array(observations, { maxLength: 5 }), (sets) => {
      const writer = new ByteWriter()
      const expected: [number, number][] = []
      for (const set of sets) {
        const sketch = new QuantileSketch()
        for (const [value, weight] of set) sketch.add(value, weight)
        encodeBins(sketch, writer)
        expected.push(...binsOf(sketch))
      }
      const reader = new ByteReader(writer.finish())
      const columns = new BinColumns(1)
      for (const _ of sets) decodeBins(reader, columns)
      expect(rows(columns)).toEqual(expected)
      expect(reader.remaining).toBe(0)
    }),
  )
})

test('columns and sketches are written alike', () => {
  fc.assert(
    fc.property(observations, (set) => {
      const sketch = new QuantileSketch()
      for (const [value, weight] of set) sketch.add(value, weight)
      const columns = new BinColumns()
      columns.push(-7, 1)
      sketch.forEachBin((key, weight) => columns.push(key, weight))
      const writer = new ByteWriter()
      encodeBinColumns(columns.keys, columns.weights, 1, columns.length, writer)
      expect(writer.finish()).toEqual(encoded(sketch))
    }),
  )
})

test('the bytes are count, first key relative to the key of 1, and pairs of distance and weight', () => {
  const sketch = new QuantileSketch()
  sketch.addBin(KEY_OF_ONE - 1, 3)
  sketch.addBin(KEY_OF_ONE + 4, 200)
  expect([...encoded(sketch)]).toEqual([2, 1, 3, 5, 0xc8, 1])
  expect([...encoded(new QuantileSketch())]).toEqual([0])
})

test('a typical sketch of latencies takes at most two and a half bytes a bin', () => {
  const sketch = new QuantileSketch()
  for (let i = 1; i < 360; i++) sketch.add(20 * (i / (360 - i)) ** 0.6)
  expect(sketch.binCount).toBeGreaterThan(80)
  expect(encoded(sketch).length / sketch.binCount).toBeLessThanOrEqual(2.5)
})

test('every cut is refused and leaves the columns as they were', () => {
  const sketch = new QuantileSketch()
  for (let i = 1; i <= 50; i++) sketch.add(i * i, i * 7)
  const bytes = encoded(sketch)
  const columns = new BinColumns()
  columns.push(1, 1)
  for (let length = 0; length < bytes.length; length++) {
    expect(() => decodeBins(new ByteReader(bytes.subarray(0, length)), columns)).toThrow(/pass(es)? the end/)
    expect(columns.length).toBe(1)
  }
})

test.each<[string, number[]]>([
  ['a key twice', [2, 0, 1, 0, 1]],
  ['a weight of 0 first', [2, 0, 0, 1, 1]],
  ['a weight of 0 later', [2, 0, 1, 1, 0]],
  ['a key beyond the largest', [2, 0, 1, KEY_MAX, 1]],
  ['a key that wraps around 32 bits', [2, 0, 1, 2 ** 32, 1]],
  ['a key below the lowest', [1, (KEY_MAX + KEY_OF_ONE) * 2 + 1, 1]],
])('%s is refused', (_, varints) => {
  const writer = new ByteWriter()
  for (const value of varints) writer.varint(value)
  expect(() => decodeBins(new ByteReader(writer.finish()), new BinColumns())).toThrow(RangeError)
})

test('a count that would claim memory is refused before it does', () => {
  const writer = new ByteWriter()
  for (const value of [2 ** 22, 0, 1]) writer.varint(value)
  const columns = new BinColumns(4)
  expect(() => decodeBins(new ByteReader(writer.finish()), columns)).toThrow(RangeError)
  expect(columns.keys.length).toBe(4)
})
