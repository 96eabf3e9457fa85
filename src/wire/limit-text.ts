/** Returns the tag value of an upper limit or a quantile: the shortest decimal, such as `0.1`, `1` and `+Inf`. */
export function limitText(limit: number): string {
  if (limit === Number.POSITIVE_INFINITY) return '+Inf'
  if (limit === Number.NEGATIVE_INFINITY) return '-Inf'
  return String(limit === 0 ? 0 : limit)
}
