import { parseJsonInSteps } from './json-parser.ts'
import { runAtOnce } from './steps.ts'

/**
 * Parses and writes JSON without losing digits of integers. A double is exact up to 2^53, but 64-bit ids are larger.
 * Larger integers are read as bigints and written with the same digits; all other numbers are doubles. Nearly all texts
 * have no such integers and take the time of `JSON.parse` and `JSON.stringify`.
 */

/**
 * Matches a number that begins with sixteen digits. Does not match digits in a fraction, or in a string such as
 * "1705276800123456789".
 */
const LONG_INTEGER = /(?:^|[:[,\s])-?\d{16}/

/** Like `JSON.parse`, but an integer that a double cannot represent exactly becomes a bigint. Throws SyntaxError. */
export function parseJson(text: string): unknown {
  const value: unknown = JSON.parse(text)
  return LONG_INTEGER.test(text) ? runAtOnce(parseJsonInSteps(text, { depthMax: Number.POSITIVE_INFINITY })) : value
}

/** Like `JSON.stringify`, but also writes bigints and values of any depth. The value must come from parsed JSON. */
export function writeJson(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch {
    // `JSON.stringify` fails on bigints and on nesting deeper than the stack allows.
    return writeExactly(value)
  }
}

/** An array or object being written, and the index of its next member. */
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
