/**
 * Where a text stops being JSON (RFC 8259). `JSON.parse` tells that only sometimes and in words that change with the engine,
 * so a refused body is read again by this scanner, which builds nothing. It also bounds nesting: `JSON.parse` takes seconds
 * and a gigabyte for 20 MiB of `[`.
 */

export interface JsonFault {
  /** Index of the first character that cannot stand where it stands; the length of the text when that ends too early. */
  readonly position: number
  readonly reason: 'unexpected' | 'too_deep'
}

const DEPTH_MAX = 256

const QUOTE = 0x22
const COMMA = 0x2c
const MINUS = 0x2d
const DOT = 0x2e
const ZERO = 0x30
const NINE = 0x39
const COLON = 0x3a
const OPEN_ARRAY = 0x5b
const BACKSLASH = 0x5c
const CLOSE_ARRAY = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

/** Undefined: the text is JSON and nests no deeper than 256 levels. */
export function findJsonFault(text: string): JsonFault | undefined {
  const closers = new Uint8Array(DEPTH_MAX)
  let depth = 0
  let at = 0
  /** A name is due, or, right after an opening bracket, the end of what was opened. */
  let nameDue = false
  let mayClose = false
  for (;;) {
    at = skipSpace(text, at)
    const code = text.charCodeAt(at)
    if (mayClose && code === closers[depth - 1]) {
      depth--
      at++
    } else if (nameDue) {
      const colon = skipSpace(text, code === QUOTE ? skipString(text, at) : ~at)
      if (colon < 0) return { position: ~colon, reason: 'unexpected' }
      if (text.charCodeAt(colon) !== COLON) return { position: colon, reason: 'unexpected' }
      at = colon + 1
      nameDue = false
      mayClose = false
      continue
    } else if (code === OPEN_ARRAY || code === OPEN_OBJECT) {
      if (depth === DEPTH_MAX) return { position: at, reason: 'too_deep' }
      nameDue = code === OPEN_OBJECT
      mayClose = true
      closers[depth++] = nameDue ? CLOSE_OBJECT : CLOSE_ARRAY
      at++
      continue
    } else {
      at = skipScalar(text, at, code)
      if (at < 0) return { position: ~at, reason: 'unexpected' }
    }

    // A value has ended here: close what it completes, until a comma asks for the next one.
    for (;;) {
      at = skipSpace(text, at)
      if (depth === 0) return at === text.length ? undefined : { position: at, reason: 'unexpected' }
      const next = text.charCodeAt(at)
      if (next !== COMMA && next !== closers[depth - 1]) return { position: at, reason: 'unexpected' }
      at++
      if (next === COMMA) break
      depth--
    }
    nameDue = closers[depth - 1] === CLOSE_OBJECT
    mayClose = false
  }
}

/** `unexpected "}" at line 2, column 7`. */
export function describeJsonFault(text: string, { position, reason }: JsonFault): string {
  const before = text.slice(0, position)
  const line = before.split('\n').length
  const place = `at line ${line}, column ${position - before.lastIndexOf('\n')}`
  if (reason === 'too_deep') return `nested deeper than ${DEPTH_MAX} levels ${place}`
  const character = text.codePointAt(position)
  return character === undefined
    ? `unexpected end ${place}`
    : `unexpected ${JSON.stringify(String.fromCodePoint(character))} ${place}`
}

// The skip functions answer the index after what they skip, or `~index` of the character that is wrong.

function skipSpace(text: string, start: number): number {
  let at = start
  if (at < 0) return at
  for (;;) {
    const code = text.charCodeAt(at)
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return at
    at++
  }
}

function skipString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) return at + 1
    if (code < 0x20) return ~at
    if (code !== BACKSLASH) continue
    at++
    if (at >= text.length) break
    if (text[at] === 'u') {
      for (const last = at + 4; at < last; at++) {
        if (at + 1 >= text.length || !isHexDigit(text.charCodeAt(at + 1))) return ~(at + 1)
      }
    } else if (!'"\\/bfnrt'.includes(text[at]!)) return ~at
  }
  return ~text.length
}

function skipScalar(text: string, at: number, code: number): number {
  if (code === QUOTE) return skipString(text, at)
  if (code === MINUS || isDigit(code)) return skipNumber(text, at)
  const word = code === 0x74 ? 'true' : code === 0x66 ? 'false' : code === 0x6e ? 'null' : ''
  for (let index = 0; index < word.length; index++) {
    if (text.charCodeAt(at + index) !== word.charCodeAt(index)) return ~(at + index)
  }
  return word === '' ? ~at : at + word.length
}

function skipNumber(text: string, start: number): number {
  let at = text.charCodeAt(start) === MINUS ? start + 1 : start
  at = text.charCodeAt(at) === ZERO ? at + 1 : skipDigits(text, at)
  if (at >= 0 && text.charCodeAt(at) === DOT) at = skipDigits(text, at + 1)
  if (at >= 0 && (text[at] === 'e' || text[at] === 'E')) {
    const sign = text[at + 1]
    at = skipDigits(text, sign === '+' || sign === '-' ? at + 2 : at + 1)
  }
  return at
}

/** At least one digit. */
function skipDigits(text: string, start: number): number {
  let at = start
  while (isDigit(text.charCodeAt(at))) at++
  return at === start ? ~at : at
}

function isDigit(code: number): boolean {
  return code >= ZERO && code <= NINE
}

function isHexDigit(code: number): boolean {
  return isDigit(code) || (code >= 0x41 && code <= 0x46) || (code >= 0x61 && code <= 0x66)
}
