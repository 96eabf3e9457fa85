import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../src/model/errors.ts'
import { runAtOnce } from '../../src/model/steps.ts'
import { decompressedSnappyLength, decompressSnappy } from '../../src/wire/snappy.ts'
import { snappyLiterals } from '../support/remote-write.ts'

const MAX = 1 << 20

function decompress(bytes: Uint8Array): Uint8Array {
  decompressedSnappyLength(bytes, MAX)
  return runAtOnce(decompressSnappy(bytes))
}

function refusalOf(bytes: Uint8Array): string {
  try {
    decompress(bytes)
    return 'accepted'
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    return `${error.code}: ${error.message}`
  }
}

type Element =
  | { readonly literal: Uint8Array }
  | { readonly copy: number; readonly length: number; readonly wide: boolean }

const elements = fc.array(
  fc.oneof(
    fc.record({ literal: fc.uint8Array({ minLength: 1, maxLength: 90 }) }),
    fc.record({ copy: fc.nat(300), length: fc.integer({ min: 1, max: 64 }), wide: fc.boolean() }),
  ),
  { maxLength: 30 },
)

/** Writes elements, and what they mean. */
function write(given: readonly Element[]): { readonly bytes: Uint8Array; readonly output: readonly number[] } {
  const body: number[] = []
  const output: number[] = []
  for (const element of given) {
    if ('literal' in element) {
      const { literal } = element
      if (literal.length <= 60) body.push((literal.length - 1) << 2, ...literal)
      else body.push(60 << 2, literal.length - 1, ...literal)
      output.push(...literal)
      continue
    }
    if (output.length === 0) continue
    const offset = (element.copy % output.length) + 1
    const { length, wide } = element
    if (wide) body.push(((length - 1) << 2) | 3, offset & 0xff, offset >> 8, 0, 0)
    else if (length >= 4 && length <= 11 && offset < 2_048)
      body.push(((offset >> 8) << 5) | ((length - 4) << 2) | 1, offset & 0xff)
    else body.push(((length - 1) << 2) | 2, offset & 0xff, offset >> 8)
    for (let i = 0; i < length; i++) output.push(output[output.length - offset]!)
  }
  const length = output.length < 128 ? [output.length] : [(output.length & 0x7f) | 0x80, output.length >> 7]
  return { bytes: Uint8Array.from([...length, ...body]), output }
}

describe('Snappy', () => {
  it('gives back what was compressed', () => {
    fc.assert(
      fc.property(elements, (given) => {
        const { bytes, output } = write(given)
        fc.pre(output.length < 16_384)
        expect([...decompress(bytes)]).toEqual(output)
      }),
    )
  })

  it('reads long literals', () => {
    const bytes = Uint8Array.from({ length: 200_000 }, (_, i) => i % 251)
    expect(Buffer.from(decompress(snappyLiterals(bytes))).equals(Buffer.from(bytes))).toBe(true)
  })

  it.each<[string, number[], string]>([
    ['an empty body', [], 'invalid_body: the body is not valid Snappy: it ends in its length (at byte 0)'],
    ['a length of 36 bits', [0xff, 0xff, 0xff, 0xff, 0x7f], 'its length has more than 32 bits'],
    ['a length above the limit', [0x81, 0x80, 0x40], 'payload_too_large: the body has 1048577 bytes'],
    ['a length that its bytes cannot reach', [0x80, 0x80, 0x20, 0xfe, 1, 0], 'it is too short for 524288 bytes'],
    ['the bytes on which a library never returns', [0x0a, 0xfc, 0xfa, 0xff, 0xff, 0xff], 'it ends too early'],
    ['a copy of nothing', [4, 0x01, 0x00], 'a copy begins before the output'],
    ['a copy from before the beginning', [8, 0x00, 0x61, 0x01, 0x02], 'a copy begins before the output'],
    ['more than its length', [1, 0x04, 0x61, 0x62], 'it is longer than it says'],
    ['less than its length', [3, 0x04, 0x61, 0x62], 'it is shorter than it says'],
    ['a literal that ends too early', [4, 0x0c, 0x61], 'it ends too early'],
  ])('refuses %s', (_, bytes, reason) => {
    expect(refusalOf(Uint8Array.from(bytes))).toContain(reason)
  })

  it('returns on any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect(refusalOf(bytes)).toMatch(/^(accepted|invalid_body|payload_too_large)/)
      }),
      { numRuns: 2_000 },
    )
  })
})
