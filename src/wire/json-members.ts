/** Finds the values of an object's members in its bytes, so that each value can be read by its own decoder. */

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_BRACKET = 0x5b
const BACKSLASH = 0x5c
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d

/**
 * Returns the arrays of an object whose members are all arrays with one of these names, each at most once. Returns
 * undefined for any other value. The content of the arrays is not checked: the body is valid JSON if all of the arrays
 * are.
 */
export function findArrayMembers<N extends string>(
  bytes: Uint8Array,
  names: readonly N[],
): Map<N, Uint8Array> | undefined {
  const found = new Map<N, Uint8Array>()
  let at = skipSpace(bytes, 0)
  if (bytes[at] !== OPEN_BRACE) return undefined
  do {
    at = skipSpace(bytes, at + 1)
    const name = names.find((candidate) => isNameAt(bytes, at, candidate))
    if (name === undefined || found.has(name)) return undefined
    at = skipSpace(bytes, at + name.length + 2)
    if (bytes[at] !== COLON) return undefined
    const start = skipSpace(bytes, at + 1)
    if (bytes[start] !== OPEN_BRACKET) return undefined
    at = endOfValue(bytes, start)
    found.set(name, bytes.subarray(start, at))
    at = skipSpace(bytes, at)
  } while (bytes[at] === COMMA)
  if (bytes[at] !== CLOSE_BRACE || skipSpace(bytes, at + 1) !== bytes.length) return undefined
  return found
}

/** Whether the bytes at a position are this name as a JSON string. Names are ASCII. */
function isNameAt(bytes: Uint8Array, at: number, name: string): boolean {
  if (bytes[at] !== QUOTE || bytes[at + name.length + 1] !== QUOTE) return false
  for (let i = 0; i < name.length; i++) if (bytes[at + 1 + i] !== name.charCodeAt(i)) return false
  return true
}

function skipSpace(bytes: Uint8Array, start: number): number {
  let at = start
  let byte = bytes[at]
  while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++at]
  return at
}

/** Returns the position after the bracket that closes an array; the end of the bytes if no bracket closes it. */
function endOfValue(bytes: Uint8Array, start: number): number {
  let depth = 0
  for (let at = start; at < bytes.length; at++) {
    const byte = bytes[at]
    if (byte === QUOTE) at = endOfString(bytes, at)
    else if (byte === OPEN_BRACKET || byte === OPEN_BRACE) depth++
    else if ((byte === CLOSE_BRACKET || byte === CLOSE_BRACE) && --depth === 0) return at + 1
  }
  return bytes.length
}

/**
 * Returns the position of the closing quote of a string; a position at or after the end of the bytes if it has none.
 */
function endOfString(bytes: Uint8Array, start: number): number {
  let at = start + 1
  for (; at < bytes.length && bytes[at] !== QUOTE; at++) if (bytes[at] === BACKSLASH) at++
  return at
}
