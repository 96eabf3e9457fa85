import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { type Compression, decompressBody, parseContentEncoding } from '../../../src/http/body/content-encoding.ts'
import { GatewayError } from '../../../src/model/errors.ts'

const MIB = 1 << 20
const TEXT = Buffer.from(JSON.stringify({ name: 'cpu', gauge: { value: 1 } }))
const ENCODERS = [
  ['gzip', gzipSync],
  ['x-gzip', gzipSync],
  [' GZIP ', gzipSync],
  ['deflate', deflateSync],
  ['deflate', deflateRawSync],
  ['br', brotliCompressSync],
] as const

function compressionOf(header: string): Compression {
  const encoding = parseContentEncoding(header)
  if (encoding === 'identity') throw new Error('a compressed body was expected')
  return encoding
}

async function refusalOf(body: Uint8Array, header: string, bytesMax = MIB, hold = (_: number) => {}) {
  const outcome = await decompressBody(body, compressionOf(header), bytesMax, hold).catch((error: unknown) => error)
  return outcome instanceof GatewayError ? outcome.code : 'none'
}

describe('a compressed body', () => {
  it.each(ENCODERS)('with %s is decompressed', async (encoding, compress) => {
    expect(Buffer.concat(await decompressBody(compress(TEXT), compressionOf(encoding), MIB, () => {}))).toEqual(TEXT)
    expect(
      Buffer.concat(await decompressBody(compress(Buffer.alloc(0)), compressionOf(encoding), MIB, () => {})),
    ).toHaveLength(0)
  })

  it.each(ENCODERS)('with %s is refused above the size limit', async (encoding, compress) => {
    const limit = 20 * MIB
    let held = 0
    const hold = (bytes: number): void => void (held += bytes)
    expect(
      Buffer.concat(await decompressBody(compress(Buffer.alloc(limit)), compressionOf(encoding), limit, hold)),
    ).toHaveLength(limit)
    expect(held).toBe(limit)
    expect(await refusalOf(compress(Buffer.alloc(limit + 1)), encoding, limit)).toBe('payload_too_large')
  })

  it('is not decompressed beyond the size limit', async () => {
    let held = 0
    const bomb = gzipSync(Buffer.alloc(64 * MIB))
    expect(await refusalOf(bomb, 'gzip', MIB, (bytes) => void (held += bytes))).toBe('payload_too_large')
    expect(held).toBeLessThanOrEqual(MIB)
  })

  it('is refused when the budget has no room for the decompressed bytes', async () => {
    const full = () => {
      throw new GatewayError('overloaded', 'no room')
    }
    expect(await refusalOf(gzipSync(TEXT), 'gzip', MIB, full)).toBe('overloaded')
  })

  it.each(['gzip', 'deflate', 'br'])('is refused when it is not %s or is truncated', async (encoding) => {
    const [, compress] = ENCODERS.find(([name]) => name === encoding)!
    expect(await refusalOf(TEXT, encoding)).toBe('invalid_body')
    expect(await refusalOf(new Uint8Array(), encoding)).toBe('invalid_body')
    expect(await refusalOf(compress(TEXT).subarray(0, -6), encoding)).toBe('invalid_body')
  })

  it.each(['zstd', 'gzip, br', 'compress', 'base64', '__proto__'])('is refused when the encoding is %s', (encoding) => {
    expect(() => parseContentEncoding(encoding)).toThrow(expect.objectContaining({ code: 'unsupported_media_type' }))
  })

  it.each([undefined, '', 'identity', ' Identity '])('is not encoded when the header is %s', (header) => {
    expect(parseContentEncoding(header)).toBe('identity')
  })
})
