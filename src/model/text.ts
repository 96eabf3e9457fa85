/** Measures texts in Unicode code points, as JSON Schema does. JavaScript's `length` counts UTF-16 code units. */

/**
 * Whether a text has more than `max` code points. Code points are counted only if `length` leaves both possible: a code
 * point has one or two code units.
 */
export function isLongerThan(text: string, max: number): boolean {
  if (text.length <= max) return false
  return text.length > 2 * max || countChars(text) > max
}

export function countChars(text: string): number {
  let count = text.length
  // A surrogate pair is two code units and one code point.
  for (let at = 0; at < text.length; at++) {
    if (text.codePointAt(at)! > 0xffff) {
      count--
      at++
    }
  }
  return count
}

/** The first `max` code points of a text. */
export function firstChars(text: string, max: number): string {
  if (!isLongerThan(text, max)) return text
  let at = 0
  for (let chars = 0; chars < max; chars++) at += text.codePointAt(at)! > 0xffff ? 2 : 1
  return text.slice(0, at)
}
