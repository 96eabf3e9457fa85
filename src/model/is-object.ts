/**
 * Whether a parsed value is a JSON object. The fields of the object are not checked, so `T` must declare each field as
 * optional and `unknown`.
 */
export function isObject<T extends object = Record<string, unknown>>(value: unknown): value is T {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
