import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeColumn, encodeColumn, VALUES_PER_CHUNK } from '../../../src/rollup/block/column-codec.ts'
import { ByteReader, ByteWriter } from '../../../src/sketch/varint.ts'

const memory = { allocateNumbers: (length: number) => new Float64Array(length) }

function encode(values: readonly number[]): Uint8Array {
  const writer = new ByteWriter()
  encodeColumn(Float64Array.from(values), 0, values.length, writer)
  const reader = new ByteReader(writer.copyWritten())
  const column = reader.subarray(reader.varint())
  expect(reader.remaining).toBe(0)
  return column
}

function expectRoundTrip(values: readonly number[]): Uint8Array {
  const column = encode(values)
  const decoded = decodeColumn(column, 0, column.length, values.length, memory)
  // toEqual tells 0 from -0.
  expect([...decoded]).toEqual(values)
  return column
}

const times = (length: number, value: (i: number) => number) => Array.from({ length }, (_, i) => value(i))

describe('the form a chunk takes', () => {
  test.each<[string, number[], number]>([
    ['no values', [], 0],
    ['one small integer', [7], 3],
    ['zeros', times(128, () => 0), 2],
    ['a constant integer', times(128, () => 1000), 4],
    ['a constant that is no decimal', times(128, () => Math.PI), 9],
    ['integers within a byte', times(128, (i) => 100_000 + i), 2 + 3 + 128],
    ['one decimal', times(128, (i) => (200 + i) / 10), 2 + 2 + 128],
    ['negative decimals', times(128, (i) => -(200 + i) / 100), 2 + 2 + 128],
    ['integers of seven bytes', [0, 2 ** 51 + 1], 2 + 14],
    ['sums of decimals', times(128, (i) => i / 10 + 0.1 + 0.2), 2 + 1 + 128 + 64],
    ['raw doubles', times(128, (i) => Math.sin(i + 1)), 1 + 1024],
    ['negative zeros', times(128, () => -0), 9],
    ['zeros of both signs', [0, -0], 17],
    ['infinities', [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY], 17],
    ['the smallest doubles', [5e-324, -5e-324], 17],
    ['the largest', [1.7976931348623157e308, -1.7976931348623157e308], 17],
    ['the ends of safe integers', [Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER], 17],
    ['two chunks', times(129, () => 5), 6],
  ])('%s', (_, values, bytes) => {
    expect(expectRoundTrip(values).length).toBe(bytes)
  })
})

const decimal = fc
  .tuple(fc.integer({ min: -1_000_000, max: 1_000_000 }), fc.integer({ min: 0, max: 17 }))
  .map(([m, e]) => m / 10 ** e)
const sum = fc.array(decimal, { maxLength: 6 }).map((values) => values.reduce((a, b) => a + b, 0))
const wide = fc
  .tuple(fc.integer({ min: 0, max: 53 }), fc.integer({ min: -2, max: 2 }))
  .map(([bits, d]) => 2 ** bits + d)
const hostile = fc.constantFrom(
  5e-324,
  -5e-324,
  -0,
  0,
  1.79e308,
  -1.79e308,
  0.1 + 0.2,
  1e-7,
  2 ** 53,
  -(2 ** 53),
  1 / 3,
)
const value = fc.oneof(decimal, sum, wide, hostile, fc.double({ noNaN: true }))

test('every double comes back to the bit', () => {
  fc.assert(
    fc.property(fc.oneof(fc.array(value, { maxLength: 300 }), fc.array(sum, { maxLength: 300 })), (values) => {
      expectRoundTrip(values)
    }),
    { numRuns: 500 },
  )
})

test('each kind of value alone comes back to the bit', () => {
  for (const kind of [decimal, sum, wide, hostile, fc.double({ noNaN: true })]) {
    fc.assert(
      fc.property(fc.array(kind, { maxLength: 20 }), (values) => {
        expectRoundTrip(values)
      }),
      { numRuns: 500 },
    )
  }
})

describe('bytes that are no column', () => {
  const column = encode(times(VALUES_PER_CHUNK + 10, (i) => i * 1.5))

  test('a cut is refused wherever it is', () => {
    for (let end = 0; end < column.length; end++) {
      expect(() => decodeColumn(column, 0, end, VALUES_PER_CHUNK + 10, memory)).toThrow(RangeError)
    }
  })

  test('another length is refused, a huge one before memory is claimed', () => {
    expect(() => decodeColumn(column, 0, column.length, VALUES_PER_CHUNK + 9, memory)).toThrow(RangeError)
    expect(() => decodeColumn(column, 0, column.length, VALUES_PER_CHUNK + 11, memory)).toThrow(RangeError)
    expect(() => decodeColumn(column, 0, column.length, 2 ** 40, memory)).toThrow(RangeError)
  })

  test('any bytes decode to as many numbers or are a RangeError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(300), (bytes, length) => {
        try {
          expect(decodeColumn(bytes, 0, bytes.length, length, memory).length).toBe(length)
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError)
        }
      }),
    )
  })
})
