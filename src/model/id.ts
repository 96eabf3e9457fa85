import { createHash } from 'node:crypto'

/**
 * A 64-bit id, the same on every gateway: the first eight bytes of SHA-256 over length-prefixed fields. Two unsigned
 * halves are cheaper than a bigint or text; blocks hold and compare ids by the hundred thousand.
 */
export interface Id64 {
  readonly hi: number
  readonly lo: number
}

/** Each field is prefixed with its UTF-8 length, so ('ab','c') and ('a','bc') differ. */
export function hashFields(fields: readonly string[]): Id64 {
  const hash = createHash('sha256')
  const length = Buffer.allocUnsafe(4)
  for (const field of fields) {
    length.writeUInt32LE(Buffer.byteLength(field))
    hash.update(length).update(field)
  }
  const digest = hash.digest()
  return { hi: digest.readUInt32BE(0), lo: digest.readUInt32BE(4) }
}

/** Sixteen lower-case hexadecimal digits. */
export function formatId(id: Id64): string {
  return id.hi.toString(16).padStart(8, '0') + id.lo.toString(16).padStart(8, '0')
}

export function parseId(text: string): Id64 {
  return { hi: Number.parseInt(text.slice(0, 8), 16), lo: Number.parseInt(text.slice(8, 16), 16) }
}

export function compareIds(a: Id64, b: Id64): number {
  return a.hi - b.hi || a.lo - b.lo
}
