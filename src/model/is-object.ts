/**
 * Whether a parsed value is a JSON object. `T` must have optional fields of unknown value only, so that any object is
 * one.
 */
export function isObject<T extends object = Record<string, unknown>>(value: unknown): value is T {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
