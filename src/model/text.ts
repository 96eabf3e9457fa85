/** Measures texts in Unicode code points, as JSON Schema does. JavaScript's `length` counts UTF-16 code units. */

/**
 * Whether a text has more than `charsMax` code points. A code point has one or two code units. So code points are
 * counted only if the number of code units is greater than `charsMax` and at most twice `charsMax`.
 */
export function isLongerThan(text: string, charsMax: number): boolean {
  if (text.length <= charsMax) return false
  return text.length > 2 * charsMax || countChars(text) > charsMax
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

/** Returns the first `charsMax` code points of a text. */
export function firstChars(text: string, charsMax: number): string {
  if (!isLongerThan(text, charsMax)) return text
  let index = 0
  for (let charCount = 0; charCount < charsMax; charCount++) index += text.codePointAt(index)! > 0xffff ? 2 : 1
  return text.slice(0, index)
}
