import { GatewayError } from '../model/errors.ts'
import { mayHaveLongInteger } from '../model/json.ts'
import { exceedsLimits, parseJsonInSteps } from '../model/json-parser.ts'
import { Pacer } from '../model/pacer.ts'
import { runAtOnce, runPaced, StepBudget, type Steps } from '../model/steps.ts'

/**
 * Parses JSON bodies. A key `__proto__` becomes an ordinary own property. An integer beyond ±(2^53 - 1) becomes a
 * bigint, unless it has more than 308 characters. All functions throw `invalid_body` if the bytes are not JSON. The
 * message of a syntax error has its position; in NDJSON, this is the position in the line.
 */

const UTF8_DECODER = new TextDecoder('utf-8', { fatal: true })

/**
 * Maximum length of a text that `JSON.parse` parses at once, which takes a few milliseconds. A longer text is parsed in
 * steps by our own parser.
 */
const PARSED_AT_ONCE_CHARS_MAX = 512 * 1024
/** Same as `PARSED_AT_ONCE_CHARS_MAX`, for one line of NDJSON. It is smaller, because a body may have many lines. */
const LINE_PARSED_AT_ONCE_CHARS_MAX = 16 * 1024

const BLANK_TEXT = /^[ \t\r]*$/

/** Units of work (`StepBudget`) of a line in addition to its characters. */
const LINE_STEP_UNITS = 32

/** Parses a body without a pause, so the body must be small. */
export function parseJsonBody(bytes: Uint8Array): unknown {
  return runAtOnce(parseJsonBodyInSteps(bytes))
}

/** Parses a body of any size. If this takes many steps, other requests may run between them. */
export async function readJsonBody(bytes: Uint8Array): Promise<unknown> {
  return runPaced(parseJsonBodyInSteps(bytes), new Pacer())
}

export function parseJsonBodyInSteps(bytes: Uint8Array): Steps<unknown> {
  return parseJsonText(readBodyText(bytes), PARSED_AT_ONCE_CHARS_MAX)
}

/** Parses a body and passes it to `visit`. If it is an array, passes each element instead. */
export function eachJsonItem(bytes: Uint8Array, visit: (item: unknown) => Steps<void>): Steps<void> {
  return eachItemOf(readBodyText(bytes), PARSED_AT_ONCE_CHARS_MAX, visit)
}

/** Same as `eachJsonItem`, for each line of NDJSON. Skips blank lines. */
export function* eachJsonLineItem(bytes: Uint8Array, visit: (item: unknown) => Steps<void>): Steps<void> {
  const budget = new StepBudget()
  const text = readBodyText(bytes)
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf('\n', start)
    const end = newline < 0 ? text.length : newline
    if (budget.spend(LINE_STEP_UNITS + end - start)) yield
    const line = text.slice(start, end)
    if (!(yield* isBlank(line, budget))) yield* eachItemOf(line, LINE_PARSED_AT_ONCE_CHARS_MAX, visit)
    start = end + 1
  }
}

/** Whether a line has only white space. Reads it in parts, because a blank line may be as long as a body. */
function* isBlank(line: string, budget: StepBudget): Steps<boolean> {
  for (let start = 0; start < line.length; start += LINE_PARSED_AT_ONCE_CHARS_MAX) {
    const part = line.slice(start, start + LINE_PARSED_AT_ONCE_CHARS_MAX)
    if (!BLANK_TEXT.test(part)) return false
    if (budget.spend(part.length)) yield
  }
  return true
}

function* eachItemOf(text: string, atOnceCharsMax: number, visit: (item: unknown) => Steps<void>): Steps<void> {
  const value = yield* parseJsonText(text, atOnceCharsMax, visit)
  if (!Array.isArray(value)) yield* visit(value)
  // If the array was parsed in steps, its elements have been visited already and `value` is empty.
  else for (const item of value) yield* visit(item)
}

function readBodyText(bytes: Uint8Array): string {
  if (bytes.length === 0) throw new GatewayError('invalid_body', 'the body is empty')
  try {
    return UTF8_DECODER.decode(bytes)
  } catch (cause) {
    throw new GatewayError('invalid_body', 'the body is not valid UTF-8', { cause })
  }
}

/**
 * Parses a text. If `visitElement` is given and the text is an array that is parsed in steps, calls `visitElement` with
 * each element and then returns an empty array.
 */
function* parseJsonText(
  text: string,
  atOnceCharsMax: number,
  visitElement?: (element: unknown) => Steps<void>,
): Steps<unknown> {
  try {
    if (text.length <= atOnceCharsMax) {
      const value = parseAtOnce(text)
      if (value !== undefined) return value
    }
    return yield* parseJsonInSteps(text, visitElement && { visitElement })
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw new GatewayError('invalid_body', `the body is not valid JSON: ${error.message}`, { cause: error })
  }
}

/**
 * Returns undefined if our own parser must parse the text: it may have a long integer, it exceeds a limit, or it is not
 * JSON. Our parser then throws the error: its message has the position, and that of `JSON.parse` differs between Node
 * versions.
 */
function parseAtOnce(text: string): unknown {
  try {
    if (mayHaveLongInteger(text)) return undefined
    const value: unknown = JSON.parse(text)
    return exceedsLimits(value) ? undefined : value
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
