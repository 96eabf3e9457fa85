/** Measures texts in Unicode code points, as JSON Schema does. JavaScript's `length` counts UTF-16 code units. */

/**
 * Whether a text has more than `max` code points. A code point has one or two code units. So code points are counted
 * only if the number of code units is greater than `max` and at most twice `max`.
 */
export function isLongerThan(text: string, max: number): boolean {
  if (text.length <= max) return false
  return text.length > 2 * max || countChars(text) > max
}

export function countChars(text: string): number {
  let count = text.length
  // A surrogate pair is two code units and one code point.
  for (let index = 0; index < text.length; index++) {
    if (text.codePointAt(index)! > 0xffff) {
      count--
      index++
    }
  }
  return count
}

/** Returns the first `max` code points of a text. */
export function firstChars(text: string, max: number): string {
  if (!isLongerThan(text, max)) return text
  let index = 0
  for (let chars = 0; chars < max; chars++) index += text.codePointAt(index)! > 0xffff ? 2 : 1
  return text.slice(0, index)
}
