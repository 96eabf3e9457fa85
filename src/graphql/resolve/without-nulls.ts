/** Returns the arguments without those that are null or undefined: a null argument counts as absent in this schema. */
export function withoutNullArguments<T extends object>(args: T): { [Name in keyof T]: NonNullable<T[Name]> } {
  const presentArguments = Object.entries(args).filter(([, value]) => value !== null && value !== undefined)
  return Object.fromEntries(presentArguments) as { [Name in keyof T]: NonNullable<T[Name]> }
}
