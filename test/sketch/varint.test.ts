import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ByteReader, ByteWriter } from '../../src/sketch/varint.ts'

const MAX = Number.MAX_SAFE_INTEGER

function written(write: (writer: ByteWriter) => void): Uint8Array {
  const writer = new ByteWriter(1)
  write(writer)
  return writer.copyWritten()
}

describe('varint', () => {
  test.each<[number, number[]]>([
    [0, [0]],
    [127, [0x7f]],
    [128, [0x80, 0x01]],
    [300, [0xac, 0x02]],
    [16_383, [0xff, 0x7f]],
    [16_384, [0x80, 0x80, 0x01]],
    [2 ** 32 - 1, [0xff, 0xff, 0xff, 0xff, 0x0f]],
    [2 ** 32, [0x80, 0x80, 0x80, 0x80, 0x10]],
    [2 ** 32 + 1, [0x81, 0x80, 0x80, 0x80, 0x10]],
    [MAX, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]],
  ])('%d has the bytes of LEB128', (value, bytes) => {
    expect([...written((w) => w.varint(value))]).toEqual(bytes)
    expect(new ByteReader(Uint8Array.from(bytes)).varint()).toBe(value)
  })

  test('every unsigned safe integer comes back', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.maxSafeNat(), fc.nat(), fc.nat(20_000))), (values) => {
        const reader = new ByteReader(
          written((w) => {
            for (const value of values) w.varint(value)
          }),
        )
        for (const value of values) expect(reader.varint()).toBe(value)
        expect(reader.remaining).toBe(0)
      }),
    )
  })

  test('powers of two and their neighbours come back', () => {
    for (let bits = 0; bits <= 53; bits++) {
      for (const value of [2 ** bits - 1, 2 ** bits, 2 ** bits + 1].filter((v) => v <= MAX)) {
        expect(new ByteReader(written((w) => w.varint(value))).varint()).toBe(value)
      }
    }
  })

  test.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53 + 2, -(2 ** 40)])('%d is not written', (value) => {
    expect(() => written((w) => w.varint(value))).toThrow(RangeError)
  })

  test('2^53 comes back, where counts saturate', () => {
    expect(new ByteReader(written((w) => w.varint(2 ** 53))).varint()).toBe(2 ** 53)
  })

  test.each([
    ['2^53 + 1', 0x81, 0x10],
    ['2^54', 0x80, 0x20],
  ])('%s is refused with the offset where it begins', (_, first, last) => {
    const bytes = Uint8Array.of(9, first, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, last)
    const reader = new ByteReader(bytes, 1)
    expect(() => reader.varint()).toThrow(/offset 1 exceeds/)
  })

  test('more than eight bytes are malformed', () => {
    const reader = new ByteReader(new Uint8Array(20).fill(0x80))
    expect(() => reader.varint()).toThrow(/malformed varint at offset 0/)
  })

  test('every cut of a varint is refused', () => {
    const bytes = written((w) => w.varint(MAX))
    for (let length = 0; length < bytes.length; length++) {
      expect(() => new ByteReader(bytes.subarray(0, length)).varint()).toThrow(RangeError)
    }
  })
})

describe('zigzag', () => {
  test('small magnitudes of both signs are short', () => {
    expect([
      ...written((w) => {
        for (const value of [0, -1, 1, -2, 2, -64, 63]) w.zigzag(value)
      }),
    ]).toEqual([0, 1, 2, 3, 4, 127, 126])
  })

  test('every safe integer comes back', () => {
    const edges = [
      MAX,
      -MAX,
      2 ** 30,
      2 ** 30 - 1,
      -(2 ** 30),
      -(2 ** 30) - 1,
      2 ** 31,
      -(2 ** 31),
      2 ** 32,
      -(2 ** 32),
    ]
    const round = (value: number) => new ByteReader(written((w) => w.zigzag(value))).zigzag()
    for (const value of edges) expect(round(value)).toBe(value)
    fc.assert(fc.property(fc.oneof(fc.maxSafeInteger(), fc.integer()), (value) => round(value) === value))
  })

  test('integers beyond the safe ones are refused both ways', () => {
    expect(() => written((w) => w.zigzag(2 ** 53))).toThrow(RangeError)
    expect(() => written((w) => w.zigzag(0.5))).toThrow(RangeError)
    // 2^54 - 1 is -(2^53).
    const bytes = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f)
    expect(() => new ByteReader(bytes).zigzag()).toThrow(/offset 0/)
  })
})

describe('bytes', () => {
  test('a mixture comes back in order, from the middle of a larger buffer too', () => {
    const bytes = written((w) => {
      w.u8(255)
      w.u32le(0xdeadbeef)
      w.f64le(-0.1)
      w.bytes(Uint8Array.of(1, 2, 3))
      w.varint(5)
      w.f64le(5e-324)
    })
    const padded = new Uint8Array(bytes.length + 10)
    padded.set(bytes, 7)
    const reader = new ByteReader(padded.subarray(7, 7 + bytes.length))
    expect(reader.u8()).toBe(255)
    expect(reader.u32le()).toBe(0xdeadbeef)
    expect(reader.f64le()).toBe(-0.1)
    expect([...reader.subarray(3)]).toEqual([1, 2, 3])
    expect(reader.varint()).toBe(5)
    expect(reader.f64le()).toBe(5e-324)
    expect(reader.remaining).toBe(0)
  })

  test('a read past the end names its offset and moves nothing', () => {
    const reader = new ByteReader(new Uint8Array(6), 3)
    expect(() => reader.u32le()).toThrow(/offset 3/)
    expect(() => reader.f64le()).toThrow(/offset 3/)
    expect(() => reader.subarray(4)).toThrow(/offset 3/)
    expect(reader.offset).toBe(3)
    expect(reader.subarray(3).length).toBe(3)
    expect(() => reader.u8()).toThrow(/offset 6/)
  })

  test('what was finished stays when the writer is reset and used again', () => {
    const writer = new ByteWriter()
    writer.varint(1)
    const first = writer.copyWritten()
    writer.reset()
    expect(writer.length).toBe(0)
    writer.varint(2)
    expect([...first, ...writer.copyWritten()]).toEqual([1, 2])
  })
})
