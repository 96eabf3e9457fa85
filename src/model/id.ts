import { hash } from 'node:crypto'

/**
 * The id of a metric or a series: the first 64 bits of a SHA-256 over the fields that identify it, so that every
 * gateway computes the same id. It is stored as two unsigned 32-bit halves: merging blocks compares hundreds of
 * thousands of ids, and bigints or texts would take more memory and time.
 */
export interface Id64 {
  readonly hi: number
  readonly lo: number
}

/** Hashes the fields to an id. Each field is preceded by its UTF-8 length, so ('ab', 'c') and ('a', 'bc') differ. */
export function hashToId(fields: readonly string[]): Id64 {
  let bytesMax = 0
  for (const field of fields) bytesMax += FIELD_LENGTH_BYTES + UTF8_BYTES_PER_UNIT_MAX * field.length
  // One call hashes all fields in one buffer: a `Hash` object costs more than the hashing itself.
  const bytes = bytesMax <= scratchBytes.length ? scratchBytes : Buffer.allocUnsafe(bytesMax)
  let offset = 0
  for (const field of fields) {
    const fieldBytes = writeText(bytes, field, offset + FIELD_LENGTH_BYTES)
    bytes.writeUInt32LE(fieldBytes, offset)
    offset += FIELD_LENGTH_BYTES + fieldBytes
  }
  // A digest as text is created faster than a buffer.
  const digest = hash('sha256', bytes.subarray(0, offset), 'binary')
  return { hi: readU32(digest, 0), lo: readU32(digest, 4) }
}

/** Writes a text as UTF-8 and returns the number of bytes. A short ASCII text needs no call to native code. */
function writeText(bytes: Buffer, text: string, offset: number): number {
  const { length } = text
  if (length > LOOP_CHARS_MAX) return bytes.write(text, offset)
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i)
    if (code > ASCII_MAX) return bytes.write(text, offset)
    bytes[offset + i] = code
  }
  return length
}

/** Reads four characters with one byte each as a big-endian number. */
function readU32(digest: string, offset: number): number {
  let value = 0
  for (let i = offset; i < offset + 4; i++) value = value * 0x100 + digest.charCodeAt(i)
  return value
}

const FIELD_LENGTH_BYTES = 4
const LOOP_CHARS_MAX = 64
const ASCII_MAX = 0x7f
/** Maximum UTF-8 bytes of one UTF-16 code unit. */
const UTF8_BYTES_PER_UNIT_MAX = 3
const scratchBytes = Buffer.allocUnsafe(4_096)

/** Formats an id as sixteen lower-case hexadecimal digits. */
export function formatId(id: Id64): string {
  return id.hi.toString(16).padStart(8, '0') + id.lo.toString(16).padStart(8, '0')
}

/** The inverse of {@link formatId}. Does not check that the text is an id. */
export function parseId(text: string): Id64 {
  return { hi: Number.parseInt(text.slice(0, 8), 16), lo: Number.parseInt(text.slice(8, 16), 16) }
}

export function compareIds(a: Id64, b: Id64): number {
  return a.hi - b.hi || a.lo - b.lo
}
