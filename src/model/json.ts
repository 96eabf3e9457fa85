/**
 * JSON whose integers keep all of their digits. A double holds them up to 2^53 only, and ids of 64 bits are larger: such an integer is
 * a bigint here, every other number a double, and writing gives the same digits back. Texts without such integers, nearly all,
 * cost what `JSON.parse` and `JSON.stringify` cost.
 */

/** At the start of a number: not in a string such as "1705276800123456789", and not the digits of a fraction. */
const LONG_INTEGER = /(?:^|[:[,\s])-?\d{16}/

/** A double holds no integer of more digits; as bigints they would cost time by the square of their length. */
const INTEGER_DIGITS_MAX = 308

/** Like `JSON.parse`, but for integers that a double does not hold exactly. Throws SyntaxError. */
export function parseJson(text: string): unknown {
  const value: unknown = JSON.parse(text)
  return LONG_INTEGER.test(text) ? parseExactly(text) : value
}

/** Like `JSON.stringify` of a value that came from JSON, however deep it nests. */
export function writeJson(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch {
    // A bigint, or nesting beyond the stack.
    return writeExactly(value)
  }
}

/** The value of an integer as it stands in a text: a bigint where a double would lose digits. */
export function integerOf(text: string): number | bigint {
  const value = Number(text)
  return Number.isSafeInteger(value) || text.length > INTEGER_DIGITS_MAX ? value : BigInt(text)
}

/** An own property, also when its key is `__proto__`. */
export function defineMember(object: Record<string, unknown>, key: string, value: unknown): void {
  if (key === '__proto__')
    Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true })
  else object[key] = value
}

/** Reads a text that is known to be JSON. Does not recurse: nothing has bounded how deep the text nests. */
function parseExactly(text: string): unknown {
  const open: (unknown[] | Record<string, unknown>)[] = []
  let root: unknown
  let key: string | undefined
  for (let at = 0; at < text.length; ) {
    const start = at
    let value: unknown
    let opened: unknown[] | Record<string, unknown> | undefined
    switch (text.charCodeAt(at++)) {
      case 0x20:
      case 0x09:
      case 0x0a:
      case 0x0d:
      case COMMA:
      case COLON:
        continue
      case CLOSE_BRACKET:
      case CLOSE_BRACE:
        open.pop()
        continue
      case OPEN_BRACKET:
        value = opened = []
        break
      case OPEN_BRACE:
        value = opened = {}
        break
      case QUOTE:
        at = endOfString(text, at)
        value = JSON.parse(text.slice(start, at))
        break
      default:
        at = endOfWord(text, at)
        value = readWord(text.slice(start, at))
    }
    const container = open.at(-1)
    if (container === undefined) root = value
    else if (Array.isArray(container)) container.push(value)
    else if (key === undefined) {
      key = String(value)
      continue
    } else {
      defineMember(container, key, value)
      key = undefined
    }
    if (opened !== undefined) open.push(opened)
  }
  return root
}

/** Behind the closing quote of the string whose content begins at `start`. */
function endOfString(text: string, start: number): number {
  let at = start
  for (let code = text.charCodeAt(at); code !== QUOTE; code = text.charCodeAt(at)) at += code === BACKSLASH ? 2 : 1
  return at + 1
}

/** Behind a number or `true`, `false`, `null`. */
function endOfWord(text: string, start: number): number {
  let at = start
  while (at < text.length && !WORD_ENDS.includes(text[at]!)) at++
  return at
}

const WORD_ENDS = ',]} \n\r\t'
const INTEGER = /^-?\d+$/

function readWord(word: string): unknown {
  return INTEGER.test(word) ? integerOf(word) : JSON.parse(word)
}

/** A container that is being written, and which of its members comes next. */
interface Written {
  readonly keys: readonly string[] | undefined
  readonly values: readonly unknown[]
  next: number
}

function writeExactly(root: unknown): string {
  let text = ''
  const open: Written[] = []
  const begin = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) {
      text += typeof value === 'bigint' ? value : (JSON.stringify(value) ?? 'null')
    } else if (Array.isArray(value)) {
      text += '['
      open.push({ keys: undefined, values: value, next: 0 })
    } else {
      const members = Object.entries(value).filter(([, member]) => member !== undefined)
      text += '{'
      open.push({ keys: members.map(([key]) => key), values: members.map(([, member]) => member), next: 0 })
    }
  }
  begin(root)
  for (let container = open.at(-1); container !== undefined; container = open.at(-1)) {
    const { keys, values, next } = container
    if (next === values.length) {
      text += keys === undefined ? ']' : '}'
      open.pop()
      continue
    }
    if (next > 0) text += ','
    if (keys !== undefined) text += `${JSON.stringify(keys[next])}:`
    container.next++
    begin(values[next])
  }
  return text
}

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_BRACKET = 0x5b
const BACKSLASH = 0x5c
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
