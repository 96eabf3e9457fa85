/** Finds the values of an object's members in its bytes, so that each value can be read by its own decoder. */

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_BRACKET = 0x5b
const BACKSLASH = 0x5c
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d

/** A longer body is parsed in steps instead, because the search has no pauses. */
const SEARCHED_BYTES_MAX = 512 * 1_024

/**
 * Returns the bytes of the arrays of an object whose members are all arrays with one of these names, each at most once.
 * Returns undefined for any other body, for a long one, and for an empty object. The content of the arrays is not
 * checked: the body is valid JSON if all of the arrays are.
 */
export function findArrayMembers<N extends string>(
  bytes: Uint8Array,
  names: readonly N[],
): Map<N, Uint8Array> | undefined {
  if (bytes.length > SEARCHED_BYTES_MAX) return undefined
  const arrays = new Map<N, Uint8Array>()
  let position = skipSpace(bytes, 0)
  if (bytes[position] !== OPEN_BRACE) return undefined
  do {
    position = skipSpace(bytes, position + 1)
    const name = names.find((candidate) => isNameAt(bytes, position, candidate))
    if (name === undefined || arrays.has(name)) return undefined
    position = skipSpace(bytes, position + name.length + 2)
    if (bytes[position] !== COLON) return undefined
    const start = skipSpace(bytes, position + 1)
    if (bytes[start] !== OPEN_BRACKET) return undefined
    position = endOfContainer(bytes, start)
    arrays.set(name, bytes.subarray(start, position))
    position = skipSpace(bytes, position)
  } while (bytes[position] === COMMA)
  if (bytes[position] !== CLOSE_BRACE || skipSpace(bytes, position + 1) !== bytes.length) return undefined
  return arrays
}

/** Whether the bytes at a position are this name, which must be ASCII, as a JSON string without escapes. */
function isNameAt(bytes: Uint8Array, position: number, name: string): boolean {
  if (bytes[position] !== QUOTE || bytes[position + name.length + 1] !== QUOTE) return false
  for (let i = 0; i < name.length; i++) if (bytes[position + 1 + i] !== name.charCodeAt(i)) return false
  return true
}

export function skipSpace(bytes: Uint8Array, start: number): number {
  let position = start
  let byte = bytes[position]
  while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++position]
  return position
}

/** Returns the position after an object or array; the end of the bytes if it has no end. Does not check its content. */
export function endOfContainer(bytes: Uint8Array, start: number): number {
  let depth = 0
  for (let position = start; position < bytes.length; position++) {
    const byte = bytes[position]
    if (byte === QUOTE) position = endOfString(bytes, position)
    else if (byte === OPEN_BRACKET || byte === OPEN_BRACE) depth++
    else if ((byte === CLOSE_BRACKET || byte === CLOSE_BRACE) && --depth === 0) return position + 1
  }
  return bytes.length
}

/**
 * Returns the position of the closing quote of a string; a position at or after the end of the bytes if it has none.
 */
export function endOfString(bytes: Uint8Array, start: number): number {
  let position = start + 1
  for (; position < bytes.length && bytes[position] !== QUOTE; position++) if (bytes[position] === BACKSLASH) position++
  return position
}
