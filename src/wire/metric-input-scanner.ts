import type { CachedItem, ItemCache } from '../model/item-cache.ts'
import type { SeriesRef } from '../model/point.ts'
import { ItemScanner } from './item-scanner.ts'
import { endOfContainer, endOfString, skipSpace } from './json-members.ts'

/**
 * Finds a list of metric inputs (`MetricInput` of the GraphQL schema) in the body of a GraphQL request, and checks it
 * without parsing it. A checked list is valid JSON if it is valid UTF-8, and graphql-js would coerce it to
 * `[MetricInput!]` without an error. The check also refuses some lists that graphql-js would coerce: with an object or
 * array as a value, time or tag, with a type that cannot be tracked, or with an escape in a field's name.
 *
 * Items of the item cache need no check, because only checked inputs were added for GraphQL. If all inputs are cached,
 * in the order of an earlier list, their series, values and times are returned too, so that the list is read only once.
 *
 * The functions `check…` take the position of a value and return the position after it, or `INVALID`.
 */

/** A list of metric inputs in a request body. */
export interface MetricInputRange {
  /** The name of the variable that has the list as its value. Escapes are not replaced. */
  readonly variable: string
  /** Where the list is in the body, with its brackets. */
  readonly start: number
  readonly end: number
  readonly inputCount: number
  /** The inputs, if all are in the item cache, in the order of an earlier list. Undefined otherwise. */
  readonly cachedInputs: readonly CachedInput[] | undefined
}

/** An input whose name, type and tags are in the item cache. */
export interface CachedInput {
  readonly series: SeriesRef
  readonly value: number
  /** Undefined: the value is a number. */
  readonly member: string | undefined
  /** NaN: the input has no time. */
  readonly timeMs: number
}

const INVALID = -1

const QUOTE = 0x22
const PLUS = 0x2b
const COMMA = 0x2c
const MINUS = 0x2d
const DOT = 0x2e
const ZERO = 0x30
const NINE = 0x39
const COLON = 0x3a
const OPEN_BRACKET = 0x5b
const BACKSLASH = 0x5c
const CLOSE_BRACKET = 0x5d
const LOWER_E = 0x65
const LOWER_F = 0x66
const LOWER_U = 0x75
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d

/**
 * Maximum number of members of the body, of `variables` and of the tags of an input that are searched. The body of a
 * request with a batch has far fewer. Any other body is parsed in steps, but the search has no pauses.
 */
const SEARCHED_MEMBERS_MAX = 100

/**
 * Finds the first list of 1 to `inputsMax` metric inputs that is the value of a variable. Returns undefined if there is
 * none among the first `SEARCHED_MEMBERS_MAX` members. The body outside of the list is not checked: if it is invalid,
 * or has a key twice, the range may be wrong.
 */
export function findMetricInputs(
  body: Uint8Array,
  itemCache: ItemCache<SeriesRef>,
  inputsMax: number,
): MetricInputRange | undefined {
  for (const member of membersOf(body, skipSpace(body, 0))) {
    if (checkText(body, member.keyStart, VARIABLES_KEY) === INVALID) continue
    for (const { keyStart, keyEnd, valueStart } of membersOf(body, member.valueStart)) {
      const range = checkInputs(body, valueStart, itemCache, inputsMax)
      if (range === undefined) continue
      return { variable: UTF8_DECODER.decode(body.subarray(keyStart + 1, keyEnd - 1)), ...range }
    }
    return undefined
  }
  return undefined
}

/** Where a member of an object is: its key with the quotes, and its value. */
interface MemberPositions {
  readonly keyStart: number
  readonly keyEnd: number
  readonly valueStart: number
}

/**
 * Yields the positions of the first `SEARCHED_MEMBERS_MAX` members of an object. Does not check their values. Ends at
 * the end of the object, or where another member should be but is not.
 */
function* membersOf(bytes: Uint8Array, start: number): Generator<MemberPositions> {
  let position = start
  if (bytes[position] !== OPEN_BRACE) return
  let memberCount = 0
  do {
    const keyStart = skipSpace(bytes, position + 1)
    const keyEnd = checkString(bytes, keyStart)
    const valueStart = keyEnd === INVALID ? INVALID : startOfValue(bytes, keyEnd)
    if (valueStart === INVALID) return
    yield { keyStart, keyEnd, valueStart }
    position = skipSpace(bytes, endOfUncheckedValue(bytes, valueStart))
  } while (bytes[position] === COMMA && ++memberCount < SEARCHED_MEMBERS_MAX)
}

function endOfUncheckedValue(bytes: Uint8Array, start: number): number {
  const byte = bytes[start]
  if (byte === OPEN_BRACE || byte === OPEN_BRACKET) return endOfContainer(bytes, start)
  if (byte === QUOTE) return endOfString(bytes, start) + 1
  let position = start
  while (position < bytes.length && bytes[position] !== COMMA && bytes[position] !== CLOSE_BRACE) position++
  return position
}

function checkInputs(
  bytes: Uint8Array,
  start: number,
  itemCache: ItemCache<SeriesRef>,
  inputsMax: number,
): Omit<MetricInputRange, 'variable'> | undefined {
  if (bytes[start] !== OPEN_BRACKET || bytes[skipSpace(bytes, start + 1)] !== OPEN_BRACE) return undefined
  const scanner = new ItemScanner(bytes, 'graphql', 'array')
  let cachedItem: CachedItem<SeriesRef> | undefined
  let cachedInputs: CachedInput[] | undefined = []
  let inputCount = 0
  let position = start
  do {
    if (inputCount === inputsMax) return undefined
    position = skipSpace(bytes, position + 1)
    if (bytes[position] !== OPEN_BRACE) return undefined
    if (cachedInputs !== undefined) {
      scanner.position = position
      cachedItem = inputCount === 0 ? readCachedItem(scanner, itemCache) : readFollowingItem(scanner, cachedItem)
      const { value, member, timeMs } = scanner
      if (cachedItem === undefined) cachedInputs = undefined
      else cachedInputs.push({ series: cachedItem.series, value, member, timeMs })
    }
    position = cachedInputs === undefined ? checkInput(bytes, position) : scanner.position
    if (position === INVALID) return undefined
    inputCount++
    position = skipSpace(bytes, position)
  } while (bytes[position] === COMMA)
  return bytes[position] === CLOSE_BRACKET ? { start, end: position + 1, inputCount, cachedInputs } : undefined
}

function readCachedItem(scanner: ItemScanner, itemCache: ItemCache<SeriesRef>): CachedItem<SeriesRef> | undefined {
  return scanner.readItem(Number.NaN) ? itemCache.find(scanner.identity) : undefined
}

/** Reads the item that followed another one in an earlier list. Returns undefined if another item follows now. */
function readFollowingItem(
  scanner: ItemScanner,
  previousItem: CachedItem<SeriesRef> | undefined,
): CachedItem<SeriesRef> | undefined {
  const expectedItem = previousItem?.following
  return scanner.readItemWithLayout(expectedItem?.layout, Number.NaN) ? expectedItem : undefined
}

/** `start` is the position of an opening brace. */
function checkInput(bytes: Uint8Array, start: number): number {
  let seenFlags = 0
  let position = start
  do {
    position = skipSpace(bytes, position + 1)
    const field = fieldAt(bytes, position)
    if (field === undefined || (seenFlags & field.flag) !== 0) return INVALID
    seenFlags |= field.flag
    position = startOfValue(bytes, position + field.key.length)
    if (position !== INVALID) position = field.check(bytes, position)
    if (position === INVALID) return INVALID
    position = skipSpace(bytes, position)
  } while (bytes[position] === COMMA)
  return bytes[position] === CLOSE_BRACE && (seenFlags & REQUIRED_FLAGS) === REQUIRED_FLAGS ? position + 1 : INVALID
}

function fieldAt(bytes: Uint8Array, position: number): Field | undefined {
  for (const field of FIELDS) if (checkText(bytes, position, field.key) !== INVALID) return field
  return undefined
}

/** Returns the position of a value, after the white space and the colon that follow its key. */
function startOfValue(bytes: Uint8Array, keyEnd: number): number {
  const colon = skipSpace(bytes, keyEnd)
  return bytes[colon] === COLON ? skipSpace(bytes, colon + 1) : INVALID
}

function checkType(bytes: Uint8Array, start: number): number {
  return checkOneOf(bytes, start, TYPES)
}

function checkTextOrNull(bytes: Uint8Array, start: number): number {
  return bytes[start] === QUOTE ? checkString(bytes, start) : checkText(bytes, start, NULL)
}

function checkTags(bytes: Uint8Array, start: number): number {
  if (bytes[start] !== OPEN_BRACE) return checkText(bytes, start, NULL)
  let position = skipSpace(bytes, start + 1)
  if (bytes[position] === CLOSE_BRACE) return position + 1
  position--
  let tagCount = 0
  do {
    if (++tagCount > SEARCHED_MEMBERS_MAX) return INVALID
    position = checkString(bytes, skipSpace(bytes, position + 1))
    if (position !== INVALID) position = startOfValue(bytes, position)
    if (position !== INVALID) position = checkScalar(bytes, position)
    if (position === INVALID) return INVALID
    position = skipSpace(bytes, position)
  } while (bytes[position] === COMMA)
  return bytes[position] === CLOSE_BRACE ? position + 1 : INVALID
}

/** Accepts a string, number, boolean or null. */
function checkScalar(bytes: Uint8Array, start: number): number {
  if (bytes[start] === QUOTE) return checkString(bytes, start)
  const end = checkNumber(bytes, start)
  return end === INVALID ? checkOneOf(bytes, start, WORDS) : end
}

function checkString(bytes: Uint8Array, start: number): number {
  if (bytes[start] !== QUOTE) return INVALID
  let position = start + 1
  for (;;) {
    while (IS_PLAIN[bytes[position]!] === 1) position++
    if (bytes[position] === QUOTE) return position + 1
    if (bytes[position] !== BACKSLASH) return INVALID
    position = endOfEscape(bytes, position)
  }
}

/** Returns the position after an escape; that of the end of the bytes if the escape is invalid. */
function endOfEscape(bytes: Uint8Array, start: number): number {
  const escaped = bytes[start + 1]
  if (escaped === LOWER_U) {
    for (let position = start + 2; position < start + 6; position++)
      if (!isHexDigit(bytes[position])) return bytes.length
    return start + 6
  }
  return escaped !== undefined && ESCAPED_BYTES.includes(escaped) ? start + 2 : bytes.length
}

function isHexDigit(byte: number | undefined): boolean {
  if (byte === undefined) return false
  return (byte >= ZERO && byte <= NINE) || ((byte | 0x20) >= 0x61 && (byte | 0x20) <= LOWER_F)
}

function checkNumber(bytes: Uint8Array, start: number): number {
  let position = bytes[start] === MINUS ? start + 1 : start
  position = bytes[position] === ZERO ? position + 1 : checkDigits(bytes, position)
  if (bytes[position] === DOT) position = checkDigits(bytes, position + 1)
  if (position !== INVALID && (bytes[position]! | 0x20) === LOWER_E) {
    const hasSign = bytes[position + 1] === PLUS || bytes[position + 1] === MINUS
    position = checkDigits(bytes, hasSign ? position + 2 : position + 1)
  }
  return position
}

function checkDigits(bytes: Uint8Array, start: number): number {
  let position = start
  while (bytes[position]! >= ZERO && bytes[position]! <= NINE) position++
  return position > start ? position : INVALID
}

function checkOneOf(bytes: Uint8Array, start: number, texts: readonly Uint8Array[]): number {
  for (const text of texts) {
    const end = checkText(bytes, start, text)
    if (end !== INVALID) return end
  }
  return INVALID
}

function checkText(bytes: Uint8Array, start: number, text: Uint8Array): number {
  for (let i = 0; i < text.length; i++) if (bytes[start + i] !== text[i]) return INVALID
  return start + text.length
}

interface Field {
  /** With its quotes. */
  readonly key: Uint8Array
  /** One bit. */
  readonly flag: number
  readonly check: (bytes: Uint8Array, start: number) => number
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const UTF8_DECODER = new TextDecoder()
/** The types of points, as the schema names them. */
const TYPES = ['"GAUGE"', '"COUNTER"', '"DISTRIBUTION"', '"SET"'].map(bytesOf)
const NULL = bytesOf('null')
const VARIABLES_KEY = bytesOf('"variables"')
const WORDS = [bytesOf('true'), bytesOf('false'), NULL]
/** The bytes that may follow a backslash, besides `u`. */
const ESCAPED_BYTES = bytesOf('"\\/bfnrt')
/** 1 for each byte that stands for itself in a string. */
const IS_PLAIN = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte >= 0x20 && byte !== QUOTE && byte !== BACKSLASH ? 1 : 0,
)

const FIELDS: readonly Field[] = [
  { key: bytesOf('"name"'), flag: 1, check: checkString },
  { key: bytesOf('"type"'), flag: 2, check: checkType },
  { key: bytesOf('"value"'), flag: 4, check: checkScalar },
  { key: bytesOf('"timestamp"'), flag: 8, check: checkScalar },
  { key: bytesOf('"tags"'), flag: 16, check: checkTags },
  { key: bytesOf('"unit"'), flag: 32, check: checkTextOrNull },
  { key: bytesOf('"description"'), flag: 64, check: checkTextOrNull },
]
/** Flags of name and type. */
const REQUIRED_FLAGS = 1 | 2
