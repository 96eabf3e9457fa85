/** Returns the arguments without those that are null: in GraphQL a null argument counts as absent. */
export function withoutNullArguments<T extends object>(args: T): { [Name in keyof T]: NonNullable<T[Name]> } {
  const given = Object.entries(args).filter(([, value]) => value !== null && value !== undefined)
  return Object.fromEntries(given) as { [Name in keyof T]: NonNullable<T[Name]> }
}
