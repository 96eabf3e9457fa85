import { parseJsonInSteps } from './json-parser.ts'
import { runAtOnce } from './steps.ts'

/**
 * JSON whose integers keep all of their digits. A double holds them up to 2^53 only, and ids of 64 bits are larger: such an integer is
 * a bigint here, every other number a double, and writing gives the same digits back. Texts without such integers, nearly all,
 * cost what `JSON.parse` and `JSON.stringify` cost.
 */

/** At the start of a number: not in a string such as "1705276800123456789", and not the digits of a fraction. */
const LONG_INTEGER = /(?:^|[:[,\s])-?\d{16}/

/** Like `JSON.parse`, but for integers that a double does not hold exactly. Throws SyntaxError. */
export function parseJson(text: string): unknown {
  const value: unknown = JSON.parse(text)
  return LONG_INTEGER.test(text) ? runAtOnce(parseJsonInSteps(text, { depthMax: Number.POSITIVE_INFINITY })) : value
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
