/**
 * Whether an operation from the address may run without a click. Anybody can send a link, so an operation that may
 * change data must not run by itself. Every mutation contains the word `mutation`. A query with this word anywhere, as
 * in a comment, also needs a click.
 */
export function isReadOnly(operation: string): boolean {
  return !operation.includes('mutation')
}
