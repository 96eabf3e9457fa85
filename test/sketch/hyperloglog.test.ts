import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HyperLogLog } from '../../src/sketch/hyperloglog.ts'

const STANDARD_ERROR = 1.04 / Math.sqrt(2 ** 14)

function numbered(prefix: string, from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, i) => `${prefix}${from + i}`)
}

function setOf(members: Iterable<string>): HyperLogLog {
  const set = new HyperLogLog()
  for (const member of members) set.add(member)
  return set
}

type Vector = {
  readonly name: string
  readonly members?: readonly string[]
  readonly prefix?: string
  readonly memberCount?: number
  readonly count: number
  readonly base64?: string
}

const fixture: { readonly vectors: readonly Vector[] } = JSON.parse(
  readFileSync(new URL('../fixtures/hyperloglog.json', import.meta.url), 'utf8'),
)

function membersOf(vector: Vector): readonly string[] {
  return vector.members ?? numbered(vector.prefix ?? '', 0, vector.memberCount ?? 0)
}

function redisBytes(vector: Vector): Uint8Array {
  return Buffer.from(vector.base64 ?? '', 'base64')
}

describe('Redis', () => {
  test.each(fixture.vectors.map((vector) => [vector.name, vector] as const))('counts %s as we do', (_, vector) => {
    expect(setOf(membersOf(vector)).estimate()).toBe(vector.count)
  })

  test.each(fixture.vectors.filter((vector) => vector.base64).map((vector) => [vector.name, vector] as const))(
    'has the same registers for %s',
    (_, vector) => {
      const fromRedis = HyperLogLog.fromRedis(redisBytes(vector))
      expect(fromRedis.estimate()).toBe(vector.count)
      expect(fromRedis.encode()).toEqual(setOf(membersOf(vector)).encode())
    },
  )

  test('strings of both its encodings are in the fixture and cannot be cut or lengthened', () => {
    const encodings = new Set<number>()
    for (const vector of fixture.vectors.filter((v) => v.base64)) {
      const bytes = redisBytes(vector)
      encodings.add(bytes[4]!)
      for (const length of [0, 3, 4, 5, 15, 16, bytes.length - 1]) {
        expect(() => HyperLogLog.fromRedis(bytes.subarray(0, length))).toThrow(RangeError)
      }
      expect(() => HyperLogLog.fromRedis(Buffer.concat([bytes, bytes.subarray(16, 17)]))).toThrow(RangeError)
    }
    expect(encodings).toEqual(new Set([0, 1]))
  })

  test('strings of another encoding, or of another kind, are refused', () => {
    const bytes = Uint8Array.from(redisBytes(fixture.vectors[0]!))
    bytes[4] = 2
    expect(() => HyperLogLog.fromRedis(bytes)).toThrow(/encoding 2/)
    expect(() => HyperLogLog.fromRedis(Buffer.from('just some string value'))).toThrow(/HYLL/)
    expect(() => HyperLogLog.fromRedis(setOf(['a']).encode())).toThrow(/HYLL/)
  })

  test('runs that pass the last register are refused', () => {
    const header = redisBytes(fixture.vectors[0]!).subarray(0, 16)
    const string = (...opcodes: number[]) => HyperLogLog.fromRedis(Buffer.concat([header, Uint8Array.from(opcodes)]))
    // 16,383 empty registers and one of rank 1; then the same with a run of two.
    expect(string(0x7f, 0xfe, 0x80).estimate()).toBe(1)
    expect(() => string(0x7f, 0xfe, 0x81)).toThrow(RangeError)
    expect(() => string(0x7f, 0xfe, 0x01)).toThrow(RangeError)
  })
})

describe('the estimate', () => {
  test.each([10, 100, 1000, 2047, 2048, 2049, 10_000, 50_000, 100_000, 1_000_000])(
    'of %d members is within three standard errors',
    (count) => {
      const estimate = setOf(numbered('member ', 0, count)).estimate()
      expect(Math.abs(estimate - count) / count).toBeLessThanOrEqual(3 * STANDARD_ERROR)
    },
  )

  test('of nothing is 0, of one member 1', () => {
    expect(new HyperLogLog().estimate()).toBe(0)
    expect(setOf(['']).estimate()).toBe(1)
  })

  test('does not change when members come again', () => {
    const set = new HyperLogLog()
    expect(set.add('a')).toBe(true)
    expect(set.add('a')).toBe(false)
    for (const member of numbered('m', 0, 5000)) set.add(member)
    const before = set.encode()
    for (const member of numbered('m', 0, 5000)) expect(set.add(member)).toBe(false)
    expect(set.encode()).toEqual(before)
  })
})

// Both sides of the change from few registers to many.
const memberCount = fc.oneof(fc.nat(30), fc.nat(3000), fc.integer({ min: 2000, max: 6000 }))

test('a union has the registers of the set of all members', () => {
  fc.assert(
    fc.property(memberCount, memberCount, fc.nat(3000), (countA, countB, overlap) => {
      const a = numbered('m', 0, countA)
      const b = numbered('m', Math.max(0, countA - overlap), Math.max(0, countA - overlap) + countB)
      const expected = setOf([...a, ...b]).encode()
      const united = setOf(a)
      united.union(setOf(b))
      expect(united.encode()).toEqual(expected)
      const fromBytes = setOf(b)
      fromBytes.unionEncoded(setOf(a).encode())
      expect(fromBytes.encode()).toEqual(expected)
      united.union(united)
      expect(united.encode()).toEqual(expected)
    }),
    { numRuns: 40 },
  )
})

test('Redis strings unite with our bytes', () => {
  const vectors = fixture.vectors.filter((vector) => vector.base64)
  const united = setOf(numbered('own', 0, 300))
  for (const vector of vectors) united.unionEncoded(redisBytes(vector))
  expect(united.encode()).toEqual(setOf([...numbered('own', 0, 300), ...vectors.flatMap(membersOf)]).encode())
})

describe('the encoding', () => {
  test('comes back, of few and of many registers', () => {
    fc.assert(
      fc.property(memberCount, (count) => {
        const set = setOf(numbered('e', 0, count))
        const decoded = HyperLogLog.decode(set.encode())
        expect(decoded.encode()).toEqual(set.encode())
        expect(decoded.estimate()).toBe(set.estimate())
        expect(decoded.add('e0')).toBe(count === 0)
      }),
      { numRuns: 40 },
    )
  })

  test('is small while the set is', () => {
    expect(new HyperLogLog().encode().length).toBe(2)
    expect(setOf(numbered('s', 0, 5)).encode().length).toBeLessThanOrEqual(17)
    expect(setOf(numbered('s', 0, 1000)).encode().length).toBeLessThan(2100)
    expect(setOf(numbered('s', 0, 100_000)).encode().length).toBe(12_289)
  })

  test('is decoded in memory of its own', () => {
    const bytes = setOf(numbered('c', 0, 9000)).encode()
    const before = bytes.slice()
    HyperLogLog.decode(bytes).union(setOf(numbered('d', 0, 9000)))
    expect(bytes).toEqual(before)
  })

  test('is read from the middle of a larger buffer', () => {
    for (const count of [9, 9000]) {
      const bytes = setOf(numbered('o', 0, count)).encode()
      const padded = new Uint8Array(bytes.length + 20)
      padded.set(bytes, 13)
      expect(HyperLogLog.decode(padded.subarray(13, 13 + bytes.length)).encode()).toEqual(bytes)
    }
  })

  test('cannot be cut or lengthened', () => {
    for (const count of [0, 1, 20, 500, 9000]) {
      const bytes = setOf(numbered('x', 0, count)).encode()
      for (let length = 0; length < bytes.length; length += count > 500 ? 511 : 1) {
        expect(() => HyperLogLog.decode(bytes.subarray(0, length))).toThrow(RangeError)
      }
      expect(() => HyperLogLog.decode(Uint8Array.of(...bytes, 0))).toThrow(RangeError)
    }
  })

  test.each<[string, number[]]>([
    ['another first byte', [3, 0]],
    ['a rank of 0', [1, 1, 0]],
    ['a rank of 52', [1, 1, 52]],
    ['a register beyond the last', [1, 1, 0xc1, 0x80, 0x40]],
    ['fewer entries than counted', [1, 2, 1]],
    ['more entries than counted', [1, 1, 1, 1]],
  ])('with %s is refused', (_, bytes) => {
    expect(() => HyperLogLog.decode(Uint8Array.from(bytes))).toThrow(RangeError)
    expect(() => new HyperLogLog().unionEncoded(Uint8Array.from(bytes))).toThrow(RangeError)
  })

  test('with a rank of 52 in any dense register is refused, 51 is not', () => {
    for (let register = 0; register < 8; register++) {
      const packed = (rank: number) => {
        const bytes = setOf(numbered('x', 0, 9000)).encode()
        const bit = register * 6
        const at = 1 + (bit >>> 3)
        const word = bytes[at]! | (bytes[at + 1]! << 8)
        const patched = (word & ~(63 << (bit & 7))) | (rank << (bit & 7))
        bytes[at] = patched
        bytes[at + 1] = patched >>> 8
        return bytes
      }
      expect(() => HyperLogLog.decode(packed(52))).toThrow(/exceeds 51/)
      expect(HyperLogLog.decode(packed(51)).encode()).toEqual(packed(51))
    }
  })
})
