const INFINITY_TEXT = /^([+-]?)inf(?:inity)?$/i

/**
 * Parses the upper limit of a bucket. Null or absent is the infinite limit, which JSON cannot represent. NaN: the
 * limit is unknown. Undefined: the value is no number.
 */
export function parseUpperLimit(value: unknown): number | undefined {
  if (value === undefined || value === null) return Number.POSITIVE_INFINITY
  if (typeof value === 'number') return value
  if (typeof value === 'bigint') return Number(value)
  const sign = typeof value === 'string' ? INFINITY_TEXT.exec(value)?.[1] : undefined
  return sign === undefined ? undefined : sign === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
}
