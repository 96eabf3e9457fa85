/** Whether a parsed value is a JSON object. All fields of `T` must be optional and of unknown value. */
export function isObject<T extends object = Record<string, unknown>>(value: unknown): value is T {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
