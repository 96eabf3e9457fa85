const INFINITY_TEXT = /^([+-]?)inf(?:inity)?$/i

/**
 * Parses the upper limit of a bucket: a number, or an infinity as text, such as `+Inf`. Null or absent means infinity,
 * which JSON cannot represent. Returns NaN for NaN, and undefined for any other value.
 */
export function parseUpperLimit(value: unknown): number | undefined {
  if (value === undefined || value === null) return Number.POSITIVE_INFINITY
  if (typeof value === 'number') return value
  if (typeof value === 'bigint') return Number(value)
  const sign = typeof value === 'string' ? INFINITY_TEXT.exec(value)?.[1] : undefined
  return sign === undefined ? undefined : sign === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
}
