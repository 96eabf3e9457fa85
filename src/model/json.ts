import { parseJsonInSteps } from './json-parser.ts'
import { runAtOnce } from './steps.ts'

/**
 * Parses and writes JSON without losing digits of 64-bit ids. A double may round an integer beyond 2^53 - 1, so such
 * integers are parsed as bigints, unless they have hundreds of digits, and written with the same digits. All other
 * numbers are doubles. Most texts have no such integer: `JSON.parse` and `JSON.stringify` are enough for them.
 */

/**
 * Matches a JSON text with a number of sixteen or more digits before its decimal point. It also matches some texts
 * without one, such as a string with ": 1705276800123456789" in it; they are only parsed more slowly.
 */
const MAY_HAVE_LONG_INTEGER = /(?:^|[:[,\s])-?\d{16}/

/** Returns false if all numbers in a JSON text can be read by `JSON.parse` without losing digits of an id. */
export function mayHaveLongInteger(text: string): boolean {
  return MAY_HAVE_LONG_INTEGER.test(text)
}

/**
 * Like `JSON.parse`, but large integers become bigints, see {@link parseJsonInSteps}. Works without a pause, so it is
 * for short texts, and for those that the gateway has written. Throws a SyntaxError.
 */
export function parseJson(text: string): unknown {
  const value: unknown = JSON.parse(text)
  return mayHaveLongInteger(text) ? runAtOnce(parseJsonInSteps(text, UNLIMITED)) : value
}

const UNLIMITED = { depthMax: Number.POSITIVE_INFINITY, membersMax: Number.POSITIVE_INFINITY }

/**
 * Like `JSON.stringify`, but also writes bigints, and values that are nested too deeply for it. `value` must have only
 * the types that {@link parseJson} returns, and undefined, which is omitted from objects.
 */
export function writeJson(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch {
    // `JSON.stringify` throws for bigints, and for nesting deeper than the stack allows.
    return writeExactly(value)
  }
}

/** An array or object that is being written. `nextIndex`: index in `values` of the next one to write. */
interface OpenContainer {
  /** The keys of `values`, in the same order. Undefined for an array. */
  readonly keys: readonly string[] | undefined
  readonly values: readonly unknown[]
  nextIndex: number
}

function writeExactly(root: unknown): string {
  let text = ''
  const openContainers: OpenContainer[] = []
  const beginValue = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) {
      text += typeof value === 'bigint' ? value : (JSON.stringify(value) ?? 'null')
    } else if (Array.isArray(value)) {
      text += '['
      openContainers.push({ keys: undefined, values: value, nextIndex: 0 })
    } else {
      const members = Object.entries(value).filter(([, member]) => member !== undefined)
      text += '{'
      openContainers.push({
        keys: members.map(([key]) => key),
        values: members.map(([, member]) => member),
        nextIndex: 0,
      })
    }
  }
  beginValue(root)
  for (let container = openContainers.at(-1); container !== undefined; container = openContainers.at(-1)) {
    const { keys, values, nextIndex } = container
    if (nextIndex === values.length) {
      text += keys === undefined ? ']' : '}'
      openContainers.pop()
      continue
    }
    if (nextIndex > 0) text += ','
    if (keys !== undefined) text += `${JSON.stringify(keys[nextIndex])}:`
    container.nextIndex++
    beginValue(values[nextIndex])
  }
  return text
}
