import { GatewayError } from '../model/errors.ts'
import { StepBudget, type Steps } from '../model/steps.ts'

/**
 * Decompresses the Snappy block format (https://github.com/google/snappy/blob/main/format_description.txt). The body
 * begins with the decompressed length. The caller must check this length with `decompressedSnappyLength` before
 * decompression allocates memory: it must not exceed the limit, nor what a body of this size can decompress to.
 */

/** Maximum number of decompressed bytes for each byte of a body: a copy of 64 bytes is encoded in three. */
const EXPANSION_MAX = 64 / 3

/** Returns the decompressed length. Throws `invalid_body`, or `payload_too_large` if it exceeds `bytesMax`. */
export function decompressedSnappyLength(bytes: Uint8Array, bytesMax: number): number {
  const { length } = readLength(bytes)
  if (length > bytesMax)
    throw new GatewayError('payload_too_large', `the body has ${length} bytes, at most ${bytesMax} are allowed`)
  if (length > bytes.length * EXPANSION_MAX) throw invalidSnappyError(`it is too short for ${length} bytes`, 0)
  return length
}

/** Decompresses a body whose decompressed length was checked. Throws `invalid_body`. */
export function* decompressSnappy(bytes: Uint8Array): Steps<Uint8Array> {
  const budget = new StepBudget()
  const { length, end } = readLength(bytes)
  const output = new Uint8Array(length)
  let position = end
  let writtenBytes = 0
  while (position < bytes.length) {
    const start = position
    const tag = bytes[position++]!
    const kind = tag & 3
    let size: number
    if (kind === LITERAL) {
      size = (tag >> 2) + 1
      if (size > 60) {
        const sizeBytes = size - 60
        requireBytes(bytes, position, sizeBytes)
        size = readLittleEndian(bytes, position, sizeBytes) + 1
        position += sizeBytes
      }
      requireBytes(bytes, position, size)
      if (size > length - writtenBytes) throw invalidSnappyError('it is longer than it says', start)
      output.set(bytes.subarray(position, position + size), writtenBytes)
      position += size
    } else {
      const offsetBytes = kind === COPY_1 ? 1 : kind === COPY_2 ? 2 : 4
      requireBytes(bytes, position, offsetBytes)
      size = kind === COPY_1 ? ((tag >> 2) & 7) + 4 : (tag >> 2) + 1
      const low = readLittleEndian(bytes, position, offsetBytes)
      const offset = kind === COPY_1 ? ((tag >> 5) << 8) | low : low
      position += offsetBytes
      if (offset === 0 || offset > writtenBytes) throw invalidSnappyError('a copy begins before the output', start)
      if (size > length - writtenBytes) throw invalidSnappyError('it is longer than it says', start)
      // If the two ranges overlap, the copied bytes repeat.
      if (offset >= size) output.copyWithin(writtenBytes, writtenBytes - offset, writtenBytes - offset + size)
      else for (let i = 0; i < size; i++) output[writtenBytes + i] = output[writtenBytes - offset + i]!
    }
    writtenBytes += size
    if (budget.spend(4 + (size >> 2))) yield
  }
  if (writtenBytes !== length) throw invalidSnappyError('it is shorter than it says', position)
  return output
}

/**
 * Kinds of elements: bytes to take, or a copy of earlier output. The offset has 11 bits in `COPY_1`, 16 in `COPY_2`,
 * and 32 otherwise.
 */
const LITERAL = 0
const COPY_1 = 1
const COPY_2 = 2

/** Reads the decompressed length, a varint. Returns it and the position after it. */
function readLength(bytes: Uint8Array): { readonly length: number; readonly end: number } {
  let length = 0
  for (let i = 0; i < 5; i++) {
    const byte = bytes[i]
    if (byte === undefined) throw invalidSnappyError('it ends in its length', i)
    length += (byte & 0x7f) * 2 ** (7 * i)
    if (byte < 0x80) {
      if (length > 0xffff_ffff) break
      return { length, end: i + 1 }
    }
  }
  throw invalidSnappyError('its length has more than 32 bits', 0)
}

function readLittleEndian(bytes: Uint8Array, position: number, size: number): number {
  let value = 0
  for (let i = size - 1; i >= 0; i--) value = value * 256 + bytes[position + i]!
  return value
}

function requireBytes(bytes: Uint8Array, position: number, size: number): void {
  if (size > bytes.length - position) throw invalidSnappyError('it ends too early', position)
}

function invalidSnappyError(reason: string, position: number): GatewayError {
  return new GatewayError('invalid_body', `the body is not valid Snappy: ${reason} (at byte ${position})`)
}
