import { createBrotliDecompress, createGunzip, createInflate, createInflateRaw } from 'node:zlib'
import { GatewayError } from '../model/errors.ts'

/** Large enough that a body of 20 MiB is a few hundred steps, each on a thread of its own. */
const CHUNK_BYTES = 1 << 16

type Decompressor = ReturnType<typeof createGunzip | typeof createBrotliDecompress>

/**
 * The body as it was before `Content-Encoding`: gzip, deflate (with its header or without) or br. It is decompressed in steps off the
 * main thread, and no further than it may: `hold` is told of every step and may refuse it. Throws `invalid_body` for other
 * encodings and for what does not decompress, `payload_too_large` beyond `bytesMax`.
 */
export async function decompressBody(
  bytes: Uint8Array,
  encoding: string | undefined,
  bytesMax: number,
  hold: (bytes: number) => void,
): Promise<Uint8Array> {
  const decompressor = decompressorOf(encoding?.trim().toLowerCase() ?? '', bytes)
  if (decompressor === undefined) return bytes
  const chunks: Buffer[] = []
  let length = 0
  await new Promise<void>((resolve, reject) => {
    decompressor.on('data', (chunk: Buffer) => {
      length += chunk.length
      try {
        if (length > bytesMax)
          throw new GatewayError('payload_too_large', 'the body is larger than the gateway accepts')
        hold(chunk.length)
        chunks.push(chunk)
      } catch (error) {
        decompressor.destroy()
        reject(error)
      }
    })
    decompressor.once('end', resolve)
    decompressor.once('error', (cause) =>
      reject(new GatewayError('invalid_body', 'the body cannot be decompressed', { cause })),
    )
    decompressor.end(bytes)
  })
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, length)
}

/** Undefined: the body is as it is. */
function decompressorOf(encoding: string, bytes: Uint8Array): Decompressor | undefined {
  switch (encoding) {
    case '':
    case 'identity':
      return undefined
    case 'gzip':
    case 'x-gzip':
      return createGunzip({ chunkSize: CHUNK_BYTES })
    case 'deflate':
      return hasZlibHeader(bytes)
        ? createInflate({ chunkSize: CHUNK_BYTES })
        : createInflateRaw({ chunkSize: CHUNK_BYTES })
    case 'br':
      return createBrotliDecompress({ chunkSize: CHUNK_BYTES })
    default:
      throw new GatewayError('invalid_body', 'the content encoding must be gzip, deflate or br')
  }
}

/** RFC 1950: the method is 8, and the first two bytes are a multiple of 31. Some senders leave the header out. */
function hasZlibHeader([first = 0, second = 0]: Uint8Array): boolean {
  return (first & 0x0f) === 8 && ((first << 8) | second) % 31 === 0
}
