import { createBrotliDecompress, createGunzip, createInflate, createInflateRaw } from 'node:zlib'
import { GatewayError } from '../../model/errors.ts'
import { bodyTooLargeError } from './body-errors.ts'

/**
 * Maximum number of bytes that one decompression step outputs: 64 KiB. A body of 20 MiB takes a few hundred steps,
 * which run on Node's thread pool.
 */
const DECOMPRESSED_CHUNK_BYTES = 1 << 16

type Decompressor = ReturnType<typeof createGunzip | typeof createBrotliDecompress>

export type Compression = 'gzip' | 'deflate' | 'br'

/** The content encodings that {@link parseContentEncoding} returns. */
export const CONTENT_ENCODINGS = ['identity', 'gzip', 'deflate', 'br'] as const satisfies readonly (
  | Compression
  | 'identity'
)[]

/** Reads the header `Content-Encoding`. Throws `unsupported_media_type`. */
export function parseContentEncoding(header: string | undefined): Compression | 'identity' {
  const encoding = header?.trim().toLowerCase() ?? ''
  switch (encoding) {
    case '':
    case 'identity':
      return 'identity'
    case 'gzip':
    case 'x-gzip':
      return 'gzip'
    case 'deflate':
    case 'br':
      return encoding
    default:
      throw new GatewayError('unsupported_media_type', 'the content encoding must be gzip, deflate or br')
  }
}

/**
 * Decompresses a gzip, deflate (with or without zlib header) or br body, in steps off the main thread, and returns the
 * chunks of the result. Calls `charge` with the number of bytes of each chunk. Throws `invalid_body` for a damaged
 * body, `payload_too_large` if the result exceeds `bytesMax`, and whatever `charge` throws.
 */
export async function decompressBody(
  bytes: Uint8Array,
  compression: Compression,
  bytesMax: number,
  charge: (bytes: number) => void,
): Promise<readonly Uint8Array[]> {
  const decompressor = createDecompressor(compression, bytes)
  const chunks: Buffer[] = []
  let decompressedBytes = 0
  await new Promise<void>((resolve, reject) => {
    decompressor.on('data', (chunk: Buffer) => {
      decompressedBytes += chunk.length
      try {
        if (decompressedBytes > bytesMax) throw bodyTooLargeError()
        charge(chunk.length)
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
  return chunks
}

function createDecompressor(compression: Compression, bytes: Uint8Array): Decompressor {
  switch (compression) {
    case 'gzip':
      return createGunzip({ chunkSize: DECOMPRESSED_CHUNK_BYTES })
    case 'deflate':
      return hasZlibHeader(bytes)
        ? createInflate({ chunkSize: DECOMPRESSED_CHUNK_BYTES })
        : createInflateRaw({ chunkSize: DECOMPRESSED_CHUNK_BYTES })
    case 'br':
      return createBrotliDecompress({ chunkSize: DECOMPRESSED_CHUNK_BYTES })
  }
}

/**
 * Whether deflate data starts with a zlib header (RFC 1950): the method is 8, and the first two bytes are a multiple
 * of 31. Some clients send deflate without this header.
 */
function hasZlibHeader([first = 0, second = 0]: Uint8Array): boolean {
  return (first & 0x0f) === 8 && ((first << 8) | second) % 31 === 0
}
