import { StepBudget, type Steps } from './steps.ts'

/**
 * A JSON parser that works in short steps: `JSON.parse` of a long text would block the event loop. A single string or
 * number is parsed in one step. It accepts the same texts as `JSON.parse`, but limits the depth of nesting and the
 * members of an object. An integer beyond 2^53 - 1 (without a fraction or an exponent) becomes a bigint, because a
 * double may round it, unless it has more than `INTEGER_CHARS_MAX` characters. The parser does not recurse, so deep
 * nesting cannot overflow the stack.
 */

/** Maximum nesting of objects and arrays in a request body. */
export const BODY_NESTING_MAX = 256

/**
 * Maximum number of members of an object in a request body, or of a map in MessagePack. Valid objects, such as tags,
 * are far smaller, and when an object with very many members grows, it is copied in one step.
 */
export const OBJECT_MEMBERS_MAX = 65_536

/** Longer integers become doubles, because the time to parse a bigint grows with the square of its length. */
const INTEGER_CHARS_MAX = 308

/** White space is skipped in parts of this many characters, with a pause between them. */
const SPACE_PART_CHARS = 32_768

/** Units of work (`StepBudget`) for parsing a value, in addition to one unit for each of its characters. */
const VALUE_STEP_UNITS = 32

type Container = unknown[] | Record<string, unknown>

interface JsonParserOptions {
  readonly depthMax?: number
  readonly membersMax?: number
  /** If the text is an array, called with each element. The elements are not collected: the returned array is empty. */
  readonly visitElement?: (element: unknown) => Steps<void>
}

/**
 * Parses a JSON text. Throws a SyntaxError with the position of the first error, or of the string, number or literal
 * that contains it.
 */
export function* parseJsonInSteps(
  text: string,
  { depthMax = BODY_NESTING_MAX, membersMax = OBJECT_MEMBERS_MAX, visitElement }: JsonParserOptions = {},
): Steps<unknown> {
  const budget = new StepBudget()
  const openContainers: Container[] = []
  /** The number of members so far, for each container in `openContainers`. */
  const memberCounts: number[] = []
  /** The key of the member being read, for each object in `openContainers`, outermost first. */
  const memberKeys: string[] = []
  /** What must follow. `isFirst`: the innermost array or object has just begun, so it may also end. */
  let expected: 'value' | 'key' | 'colon' | 'end or separator' = 'value'
  let isFirst = false
  let root: unknown
  let index = 0
  /** All characters before it have been charged to the budget. */
  let chargedIndex = 0
  for (;;) {
    const gapStart = index
    index = skipSpace(text, index)
    if (index - gapStart === SPACE_PART_CHARS) {
      if (budget.spend(index - chargedIndex)) yield
      chargedIndex = index
      continue
    }
    const start = index
    const code = text.charCodeAt(index)
    const container = openContainers.at(-1)
    let value: unknown
    if (expected === 'colon') {
      if (code !== COLON) throw unexpected(text, index)
      index++
      expected = 'value'
      continue
    }
    if (expected === 'end or separator') {
      if (container === undefined) {
        if (index !== text.length) throw unexpected(text, index)
        return root
      }
      if (code === COMMA) {
        index++
        expected = Array.isArray(container) ? 'value' : 'key'
        continue
      }
      if (code !== closingCodeOf(container)) throw unexpected(text, index)
    }
    if (expected === 'end or separator' || (isFirst && code === closingCodeOf(container))) {
      index++
      value = openContainers.pop()
      memberCounts.pop()
    } else if (expected === 'key') {
      if (code !== QUOTE) throw unexpected(text, index)
      const memberCount = memberCounts.at(-1)! + 1
      if (memberCount > membersMax)
        throw new SyntaxError(`an object has more than ${membersMax} members at position ${index}`)
      memberCounts[memberCounts.length - 1] = memberCount
      index = endOfString(text, index)
      memberKeys.push(readString(text, start, index))
      expected = 'colon'
      isFirst = false
      continue
    } else if (code === OPEN_BRACKET || code === OPEN_BRACE) {
      if (openContainers.length === depthMax)
        throw new SyntaxError(`nested deeper than ${depthMax} levels at position ${index}`)
      openContainers.push(code === OPEN_BRACKET ? [] : {})
      memberCounts.push(0)
      index++
      expected = code === OPEN_BRACKET ? 'value' : 'key'
      isFirst = true
      continue
    } else if (code === QUOTE) {
      index = endOfString(text, index)
      value = readString(text, start, index)
    } else {
      index = endOfNumberOrLiteral(text, index)
      value = readNumberOrLiteral(text, start, index)
    }
    if (budget.spend(VALUE_STEP_UNITS + index - chargedIndex)) yield
    chargedIndex = index
    isFirst = false
    expected = 'end or separator'
    // Adds the value to the innermost array or object that is still open.
    const parent = openContainers.at(-1)
    if (parent === undefined) root = value
    else if (!Array.isArray(parent)) defineMember(parent, memberKeys.pop()!, value)
    else if (visitElement !== undefined && openContainers.length === 1) yield* visitElement(value)
    else parent.push(value)
  }
}

function closingCodeOf(container: Container | undefined): number {
  return Array.isArray(container) ? CLOSE_BRACKET : CLOSE_BRACE
}

/**
 * Whether a parsed value has objects and arrays nested deeper than `BODY_NESTING_MAX` levels, or an object with more
 * than `OBJECT_MEMBERS_MAX` members. Looking at the values takes a tenth of the time of looking at each character of
 * the text.
 */
export function exceedsLimits(value: unknown): boolean {
  let level: Container[] = isContainer(value) ? [value] : []
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > BODY_NESTING_MAX) return true
    const nextLevel: Container[] = []
    for (const container of level) {
      if (Array.isArray(container)) {
        for (const element of container) if (isContainer(element)) nextLevel.push(element)
      } else {
        // `Object.values` would create an array for each object.
        let memberCount = 0
        for (const key in container) {
          if (++memberCount > OBJECT_MEMBERS_MAX) return true
          const member = container[key]
          if (isContainer(member)) nextLevel.push(member)
        }
      }
    }
    level = nextLevel
  }
  return false
}

function isContainer(value: unknown): value is Container {
  return typeof value === 'object' && value !== null
}

/**
 * Parses an integer. Returns a bigint if it is beyond 2^53 - 1, unless the text has more than `INTEGER_CHARS_MAX`
 * characters.
 */
export function exactIntegerOf(text: string): number | bigint {
  const value = Number(text)
  return Number.isSafeInteger(value) || text.length > INTEGER_CHARS_MAX ? value : BigInt(text)
}

/** Sets a property of an object. With the key `__proto__`, an assignment would set the prototype instead. */
export function defineMember(object: Record<string, unknown>, key: string, value: unknown): void {
  if (key === '__proto__')
    Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true })
  else object[key] = value
}

/** Skips at most `SPACE_PART_CHARS` characters of white space. */
function skipSpace(text: string, start: number): number {
  const end = start + SPACE_PART_CHARS
  let index = start
  for (; index < end; index++) {
    const code = text.charCodeAt(index)
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return index
  }
  return index
}

/** Returns the index after the closing quote of the string whose opening quote is at index `start`. */
function endOfString(text: string, start: number): number {
  for (let index = text.indexOf('"', start + 1); index >= 0; index = text.indexOf('"', index + 1)) {
    let backslashCount = 0
    while (text.charCodeAt(index - 1 - backslashCount) === BACKSLASH) backslashCount++
    if (backslashCount % 2 === 0) return index + 1
  }
  throw new SyntaxError(`the string at position ${start} does not end`)
}

function readString(text: string, start: number, end: number): string {
  try {
    // `JSON.parse` returns a copy. A slice would keep the whole request body in memory as long as the string is used.
    return JSON.parse(text.slice(start, end)) as string
  } catch {
    throw new SyntaxError(`the string at position ${start} holds a control character or an unknown escape`)
  }
}

/** Returns the index after the number, `true`, `false` or `null` that begins at index `start`. Does not check it. */
function endOfNumberOrLiteral(text: string, start: number): number {
  let index = start
  for (;;) {
    const code = text.charCodeAt(index)
    const isWordCharacter =
      (code >= 0x30 && code <= 0x39) ||
      (code >= 0x61 && code <= 0x7a) ||
      code === 0x2d ||
      code === 0x2b ||
      code === 0x2e ||
      code === 0x45
    if (!isWordCharacter) return index
    index++
  }
}

const NUMBER = /^-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/

function readNumberOrLiteral(text: string, start: number, end: number): unknown {
  const word = text.slice(start, end)
  if (word === 'true') return true
  if (word === 'false') return false
  if (word === 'null') return null
  const number = NUMBER.exec(word)
  if (number === null) throw unexpected(text, start)
  return number[1] === undefined && number[2] === undefined ? exactIntegerOf(word) : Number(word)
}

function unexpected(text: string, index: number): SyntaxError {
  if (index >= text.length) return new SyntaxError(`unexpected end at position ${text.length}`)
  return new SyntaxError(
    `unexpected ${JSON.stringify(String.fromCodePoint(text.codePointAt(index)!))} at position ${index}`,
  )
}

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_BRACKET = 0x5b
const BACKSLASH = 0x5c
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
