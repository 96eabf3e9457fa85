/**
 * Whether a parsed value is a JSON object. The caller still has to validate its fields, so `T` must declare each of
 * them optional and `unknown`.
 */
export function isObject<T extends object = Record<string, unknown>>(value: unknown): value is T {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
