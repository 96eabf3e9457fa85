import { parseJsonInSteps } from './json-parser.ts'
import { runAtOnce } from './steps.ts'

/**
 * JSON whose integers keep all digits. A double is exact up to 2^53, and 64-bit ids are larger. An integer beyond that
 * is read as a bigint, every other number as a double, and writing gives the same digits back. Texts without such
 * integers, nearly all, take the time of `JSON.parse` and `JSON.stringify`.
 */

/** Sixteen digits at the start of a number, not inside a string such as "1705276800123456789" or in a fraction. */
const LONG_INTEGER = /(?:^|[:[,\s])-?\d{16}/

/** Like `JSON.parse`, except that integers a double does not hold exactly are bigints. Throws SyntaxError. */
export function parseJson(text: string): unknown {
  const value: unknown = JSON.parse(text)
  return LONG_INTEGER.test(text) ? runAtOnce(parseJsonInSteps(text, { depthMax: Number.POSITIVE_INFINITY })) : value
}

/** Like `JSON.stringify` for a value read from JSON, at any depth. */
export function writeJson(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch {
    // It holds a bigint, or nests deeper than the stack allows.
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
