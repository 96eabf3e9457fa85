import { GatewayError } from '../model/errors.ts'
import { describeJsonFault, findJsonFault } from './json-fault.ts'

const UTF8 = new TextDecoder('utf-8', { fatal: true })

/** From this length on a body is scanned for deep nesting first; below, even the worst one costs little. */
const SCANNED_CHARS_MIN = 512 * 1024

/**
 * The value of a JSON body. A key `__proto__` becomes an ordinary own property, as `JSON.parse` promises. Throws
 * `invalid_body`, saying where the text stops being JSON.
 */
export function parseJsonBody(bytes: Uint8Array): unknown {
  if (bytes.length === 0) throw new GatewayError('invalid_body', 'the body is empty')
  const text = decodeUtf8(bytes)
  if (text.length >= SCANNED_CHARS_MIN) refuseFaults(text)
  try {
    return JSON.parse(text)
  } catch (cause) {
    refuseFaults(text)
    throw new GatewayError('invalid_body', 'the body is no valid JSON', { cause })
  }
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes)
  } catch (cause) {
    throw new GatewayError('invalid_body', 'the body is no valid UTF-8', { cause })
  }
}

function refuseFaults(text: string): void {
  const fault = findJsonFault(text)
  if (fault !== undefined) {
    throw new GatewayError('invalid_body', `the body is no valid JSON: ${describeJsonFault(text, fault)}`)
  }
}
