/** Returns the tag value of an upper limit or a quantile: its shortest text, such as `0.1`, `1`, `1e+21` or `+Inf`. */
export function limitOrQuantileText(number: number): string {
  if (number === Number.POSITIVE_INFINITY) return '+Inf'
  if (number === Number.NEGATIVE_INFINITY) return '-Inf'
  return String(number === 0 ? 0 : number)
}
