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
    const fieldBytes = bytes.write(field, offset + FIELD_LENGTH_BYTES)
    bytes.writeUInt32LE(fieldBytes, offset)
    offset += FIELD_LENGTH_BYTES + fieldBytes
  }
  const digest = hash('sha256', bytes.subarray(0, offset), 'buffer')
  return { hi: digest.readUInt32BE(0), lo: digest.readUInt32BE(4) }
}

const FIELD_LENGTH_BYTES = 4
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
