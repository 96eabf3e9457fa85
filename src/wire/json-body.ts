import { GatewayError } from '../model/errors.ts'
import { parseJson } from '../model/json.ts'
import { isNestedTooDeeply, parseJsonInSteps } from '../model/json-parser.ts'
import { Pacer } from '../model/pacer.ts'
import { runAtOnce, runPaced, StepBudget, type Steps } from '../model/steps.ts'

/**
 * JSON bodies as values. A key `__proto__` becomes an ordinary own property, an integer that a double does not hold a
 * bigint. All
 * functions throw `invalid_body` when the bytes are not JSON, with the position of the fault.
 */

const UTF8 = new TextDecoder('utf-8', { fatal: true })

/**
 * Shorter texts are parsed by `JSON.parse` in some milliseconds, longer ones in steps, which also bounds their nesting.
 */
const PARSED_AT_ONCE_CHARS_MAX = 512 * 1024
/** The same for one line of many. */
const LINE_PARSED_AT_ONCE_CHARS_MAX = 16 * 1024

const BLANK = /^[ \t\r]*$/

/** What a line costs besides its bytes, in units of a step. */
const LINE_UNITS = 32

/** For a body that is known to be small. */
export function parseJsonBody(bytes: Uint8Array): unknown {
  return runAtOnce(parseJsonBodyInSteps(bytes))
}

/** For a body of any size: other requests run while a large one is parsed. */
export async function readJsonBody(bytes: Uint8Array): Promise<unknown> {
  return bytes.length <= PARSED_AT_ONCE_CHARS_MAX
    ? parseJsonBody(bytes)
    : runPaced(parseJsonBodyInSteps(bytes), new Pacer())
}

export function parseJsonBodyInSteps(bytes: Uint8Array): Steps<unknown> {
  return parseText(readBodyText(bytes), PARSED_AT_ONCE_CHARS_MAX)
}

/** Passes the body to `visit`, or each element when it is an array. */
export function eachJsonItem(bytes: Uint8Array, visit: (item: unknown) => Steps<void>): Steps<void> {
  return eachItemOf(readBodyText(bytes), PARSED_AT_ONCE_CHARS_MAX, visit)
}

/** The same for the value of each line (NDJSON). Skips blank lines. */
export function* eachJsonLineItem(bytes: Uint8Array, visit: (item: unknown) => Steps<void>): Steps<void> {
  const budget = new StepBudget()
  const text = readBodyText(bytes)
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf('\n', start)
    const end = newline < 0 ? text.length : newline
    if (budget.spend(LINE_UNITS + end - start)) yield
    const line = text.slice(start, end)
    if (!BLANK.test(line)) yield* eachItemOf(line, LINE_PARSED_AT_ONCE_CHARS_MAX, visit)
    start = end + 1
  }
}

function* eachItemOf(text: string, atOnceCharsMax: number, visit: (item: unknown) => Steps<void>): Steps<void> {
  const value = yield* parseText(text, atOnceCharsMax, visit)
  if (!Array.isArray(value)) yield* visit(value)
  // Those of a long text have been visited.
  else for (const item of value) yield* visit(item)
}

function readBodyText(bytes: Uint8Array): string {
  if (bytes.length === 0) throw new GatewayError('invalid_body', 'the body is empty')
  try {
    return UTF8.decode(bytes)
  } catch (cause) {
    throw new GatewayError('invalid_body', 'the body is not valid UTF-8', { cause })
  }
}

/** A long array is empty when its elements go to `visitElement`. */
function* parseText(
  text: string,
  atOnceCharsMax: number,
  visitElement?: (element: unknown) => Steps<void>,
): Steps<unknown> {
  try {
    if (text.length <= atOnceCharsMax) {
      const value = parseJson(text)
      if (!isNestedTooDeeply(text)) return value
    }
    return yield* parseJsonInSteps(text, visitElement && { visitElement })
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw new GatewayError('invalid_body', `the body is not valid JSON: ${faultOf(text, atOnceCharsMax, error)}`, {
      cause: error,
    })
  }
}

/** The message of our own parser has the position in every version of Node. */
function faultOf(text: string, atOnceCharsMax: number, error: unknown): string {
  try {
    if (text.length <= atOnceCharsMax) runAtOnce(parseJsonInSteps(text))
  } catch (fault) {
    return fault instanceof Error ? fault.message : String(fault)
  }
  return error instanceof Error ? error.message : String(error)
}
