import { encode } from '@msgpack/msgpack'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../src/model/errors.ts'
import { asSteps, runAtOnce } from '../../src/model/steps.ts'
import { eachMessagePackItem, MessagePackReader } from '../../src/wire/message-pack.ts'

/** An item that is left out. */
class Refused {
  readonly reason: string
  constructor(reason: string) {
    this.reason = reason
  }
}

function itemsOf(bytes: Uint8Array): unknown[] {
  const items: unknown[] = []
  runAtOnce(
    eachMessagePackItem(new MessagePackReader(bytes), {
      scan: () => false,
      visit: (item) => asSteps(() => void items.push(item)),
      reject: (reason) => void items.push(new Refused(reason)),
    }),
  )
  return items
}

function refusalOf(bytes: Uint8Array): string {
  try {
    itemsOf(bytes)
  } catch (error) {
    if (error instanceof GatewayError) return error.code
    throw error
  }
  return 'none'
}

const bytes = (...parts: (number | string | Uint8Array)[]): Uint8Array =>
  Buffer.concat(parts.map((part) => (typeof part === 'number' ? Uint8Array.of(part) : Buffer.from(part))))

const BIG = { useBigInt64: true }
const TEXTS = Array.from({ length: 300 }, (_, length) => 'xé😀'.repeat(100).slice(0, length).toWellFormed())
const encodedProto = bytes(0x82, 0xa9, '__proto__', 1, 0xa1, 'a', 2)

describe('the items of a body', () => {
  it.each<[string, Uint8Array, unknown[]]>([
    ['an object', encode({ name: 'a', gauge: { value: 1 } }), [{ name: 'a', gauge: { value: 1 } }]],
    ['an array', encode([{ a: 1 }, null, [2], 'x']), [{ a: 1 }, null, [2], 'x']],
    ['an empty array', encode([]), []],
    ['a long array', encode(Array.from({ length: 70_000 }, () => 1)), Array.from({ length: 70_000 }, () => 1)],
    ['a 64-bit integer', bytes(0xcf, 0, 0, 0, 0, 0, 0, 0, 5), [5]],
    ['a negative one', bytes(0xd3, 255, 255, 255, 255, 255, 255, 255, 254), [-2]],
    [
      'integers beyond 2^53',
      encode([2n ** 64n - 1n, -(2n ** 63n), 2n ** 53n, -(2n ** 53n)], BIG),
      [2n ** 64n - 1n, -(2n ** 63n), 2n ** 53n, -(2n ** 53n)],
    ],
    [
      'small integers of every width',
      bytes(
        0x99,
        0xcc,
        200,
        0xcd,
        1,
        0,
        0xce,
        1,
        0,
        0,
        0,
        0xd0,
        0x80,
        0xd1,
        0x80,
        0,
        0xd2,
        0x80,
        0,
        0,
        0,
        0xff,
        0x7f,
        0xca,
        0x3f,
        0xc0,
        0,
        0,
      ),
      [200, 256, 1 << 24, -128, -32768, -(2 ** 31), -1, 127, 1.5],
    ],
    ['a time before 1970', bytes(0xc7, 12, 0xff, 0x1d, 0xcd, 0x65, 0, ...Array(7).fill(255), 254), [new Date(-1_500)]],
    ['a key __proto__', encodedProto, [JSON.parse('{"__proto__":1,"a":2}')]],
    ['a key twice', bytes(0x82, 0xa1, 'a', 1, 0xa1, 'a', 2), [{ a: 2 }]],
    ['a text with a byte order mark', bytes(0x92, 0xa4, '\ufeffa', 0xc4, 4, '\ufeffa'), ['\ufeffa', '\ufeffa']],
    ['texts of every length', encode(TEXTS), TEXTS],
    ['another extension', bytes(0xd4, 5, 9), [Buffer.of(9)]],
    ['a time of seconds', bytes(0xd6, 0xff, 0x63, 0xb0, 0x34, 0x87), [new Date(0x63b03487 * 1_000)]],
    ['a time of nanoseconds', encode(new Date('2022-12-31T12:45:59.123Z')), [new Date('2022-12-31T12:45:59.123Z')]],
    ['keys of bytes', bytes(0x81, 0xc4, 1, 'k', 1), [{ k: 1 }]],
    ['keys that are numbers', bytes(0x83, 7, 1, 0xcf, 0, 0, 0, 0, 0, 0, 0, 5, 2, 0xc3, 3), [{ 7: 1, 5: 2, true: 3 }]],
    ['texts of bytes', bytes(0x81, 0xa1, 't', 0x92, 0xc4, 2, 'ab', 0xc5, 0, 1, 'c'), [{ t: ['ab', 'c'] }]],
    ['bytes that are no text', bytes(0x81, 0xa1, 't', 0xc4, 1, 0xff), [{ t: Buffer.of(0xff) }]],
  ])('are those of %s', (_, body, expected) => {
    expect(itemsOf(body)).toEqual(expected)
  })

  it.each<[string, Uint8Array]>([
    ['nothing', bytes()],
    ['a byte that begins no value', bytes(0xc1)],
    ['a value and another', bytes(0x80, 0x80)],
    ['an array that ends too early', bytes(0x92, 1)],
    ['an array of four billion', bytes(0xdd, 255, 255, 255, 255, 1)],
    ['a map of four billion', bytes(0xdf, 255, 255, 255, 255, 1, 1)],
    ['an inner array of four billion', bytes(0x91, 0xdd, 255, 255, 255, 255)],
    ['a text longer than the body', bytes(0xdb, 255, 255, 255, 255, 'abc')],
    ['bytes longer than the body', bytes(0xc6, 0, 0, 0, 9, 'abc')],
    ['an extension longer than the body', bytes(0xc9, 255, 255, 255, 255, 1)],
    ['half a length', bytes(0xdc, 1)],
    ['half a number', bytes(0xcb, 1, 2)],
    ['a map without its last value', bytes(0x82, 0xa1, 'a', 1, 0xa1, 'b')],
    ['nesting without end', bytes(new Uint8Array(1 << 20).fill(0x91), 0xc0)],
    ['maps without end', bytes(Buffer.from('81a161'.repeat(100_000), 'hex'), 0xc0)],
  ])('are not those of %s', (_, body) => {
    expect(refusalOf(body)).toBe('invalid_body')
  })

  it.each<[string, Uint8Array, string]>([
    ['a text of Latin-1', bytes(0x81, 0xa1, 'a', 0xa4, 'caf', 0xe9), 'a text is no valid UTF-8'],
    ['a long one', bytes(0xd9, 100, 'x'.repeat(99), 0xe9), 'a text is no valid UTF-8'],
    ['a key of Latin-1', bytes(0x81, 0xa1, 0xe9, 1), 'a text is no valid UTF-8'],
    ['a surrogate', bytes(0xa3, 0xed, 0xa0, 0x80), 'a text is no valid UTF-8'],
    ['half a character', bytes(0x91, 0xa1, 0xc3), 'a text is no valid UTF-8'],
    ['an overlong slash', bytes(0xa2, 0xc0, 0xaf), 'a text is no valid UTF-8'],
    ['a key that is a map', bytes(0x81, 0x80, 1), 'a key of a map is no text'],
    ['a key that is an array', bytes(0x81, 0x91, 0xa1, 'a', 1), 'a key of a map is no text'],
    ['a key that is nil', bytes(0x81, 0xc0, 1), 'a key of a map is no text'],
    ['a key that is a time', bytes(0x81, 0xd6, 0xff, 0, 0, 0, 1, 1), 'a key of a map is no text'],
    ['a key of bytes that are no text', bytes(0x81, 0xc4, 1, 0xff, 1), 'a key of a map is no text'],
    ['a time of an odd length', bytes(0xd4, 0xff, 1), 'a time has 4, 8 or 12 bytes'],
  ])('are left out alone for %s', (_, item, reason) => {
    const good = encode({ a: 'b' })
    expect(itemsOf(bytes(0x93, good, item, good))).toEqual([{ a: 'b' }, new Refused(reason), { a: 'b' }])
    // Again, now that the texts around it are known.
    expect(itemsOf(bytes(0x92, item, item))).toEqual([new Refused(reason), new Refused(reason)])
  })

  it('may nest, and be many, but not beyond measure', () => {
    expect(refusalOf(bytes(new Uint8Array(257).fill(0x91), 0xc0))).toBe('none')
    expect(refusalOf(bytes(new Uint8Array(258).fill(0x91), 0xc0))).toBe('invalid_body')
    const many = (count: number) =>
      bytes(0x91, 0xdd, count >>> 24, count >>> 16, count >>> 8, count, new Uint8Array(count))
    expect(refusalOf(many(3_999_999))).toBe('none')
    expect(refusalOf(many(4_000_000))).toBe('payload_too_large')
  })

  it('are decoded in short steps, however large one of them is', () => {
    const samples = Array.from({ length: 20_000 }, (_, value) => ({ value, rate: 2 }))
    const item = { name: 'a', distribution: { samples } }
    for (const body of [encode(item), encode([item])]) {
      let decoded: unknown
      const visit = (given: unknown) => asSteps(() => void (decoded = given))
      const reject = () => expect.unreachable()
      const running = eachMessagePackItem(new MessagePackReader(body), { scan: () => false, visit, reject })
      let steps = 0
      while (running.next().done !== true) steps++
      expect(steps).toBeGreaterThan(body.length / 10_000)
      expect(decoded).toEqual(item)
    }
  })

  it('are left out alone for a map of very many members', () => {
    const mapOf = (members: number) => encode(Object.fromEntries(Array.from({ length: members }, (_, i) => [i, i])))
    const refused = new Refused('a map may have 65536 members at most')
    const items = itemsOf(bytes(0x93, mapOf(65_537), mapOf(65_536), encode({ a: 'b' })))
    expect(items).toEqual([refused, expect.objectContaining({ 65535: 65_535 }), { a: 'b' }])
  })

  it('come back as they were encoded, and a part of them is refused', () => {
    const value = fc.jsonValue()
    fc.assert(
      fc.property(fc.array(value), fc.nat(), (items, at) => {
        const body = encode(items)
        expect(itemsOf(body)).toEqual(items.map((item) => JSON.parse(JSON.stringify(item))))
        if (items.length > 0) expect(refusalOf(body.subarray(0, at % body.length))).toBe('invalid_body')
      }),
    )
  })

  it('are never an error of ours, whatever the bytes are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (body) => {
        expect(['none', 'invalid_body']).toContain(refusalOf(body))
      }),
      { numRuns: 20_000, seed: 4711 },
    )
  })
})
