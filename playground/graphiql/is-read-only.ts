/**
 * Whether an operation from the address may run without a click. Anybody can write a link, so an operation that changes
 * data must not. No mutation is written without this word; it may also stand in a comment, which then costs a click.
 */
export function isReadOnly(operation: string): boolean {
  return !operation.includes('mutation')
}
