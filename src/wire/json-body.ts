import { GatewayError } from '../model/errors.ts'
import { parseJson } from '../model/json.ts'
import { describeJsonFault, findJsonFault } from './json-fault.ts'

const UTF8 = new TextDecoder('utf-8', { fatal: true })

/** From this length on a body is scanned for deep nesting first; below, even the worst one costs little. */
const SCANNED_CHARS_MIN = 512 * 1024
/** The same for one line of many. */
const SCANNED_LINE_CHARS_MIN = 16 * 1024

const BLANK = /^[ \t\r]*$/

/**
 * The value of a JSON body. A key `__proto__` becomes an ordinary own property, an integer that a double does not hold a bigint. Throws
 * `invalid_body`, saying where the text stops being JSON.
 */
export function parseJsonBody(bytes: Uint8Array): unknown {
  return parseJsonText(readBodyText(bytes), SCANNED_CHARS_MIN)
}

/**
 * Hands over the values of a body that has one on each line (NDJSON); blank lines are none. Throws `invalid_body` at the first
 * line that is no JSON.
 */
export function eachJsonLine(bytes: Uint8Array, visit: (value: unknown) => void): void {
  const text = readBodyText(bytes)
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf('\n', start)
    const end = newline < 0 ? text.length : newline
    const line = text.slice(start, end)
    if (!BLANK.test(line)) visit(parseJsonText(line, SCANNED_LINE_CHARS_MIN))
    start = end + 1
  }
}

/** The body as text. Throws `invalid_body` when it is empty or no UTF-8. */
function readBodyText(bytes: Uint8Array): string {
  if (bytes.length === 0) throw new GatewayError('invalid_body', 'the body is empty')
  try {
    return UTF8.decode(bytes)
  } catch (cause) {
    throw new GatewayError('invalid_body', 'the body is no valid UTF-8', { cause })
  }
}

function parseJsonText(text: string, scannedCharsMin: number): unknown {
  if (text.length >= scannedCharsMin) refuseFaults(text)
  try {
    return parseJson(text)
  } catch (cause) {
    refuseFaults(text)
    throw new GatewayError('invalid_body', 'the body is no valid JSON', { cause })
  }
}

function refuseFaults(text: string): void {
  const fault = findJsonFault(text)
  if (fault !== undefined) {
    throw new GatewayError('invalid_body', `the body is no valid JSON: ${describeJsonFault(text, fault)}`)
  }
}
