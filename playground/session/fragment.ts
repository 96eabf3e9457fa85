/**
 * The URL fragment, which browsers never send to a server. `#key=…` has an API key, `#query=…` an operation to open.
 */
export interface Fragment {
  readonly key: string | undefined
  readonly query: string | undefined
  /** The fragment with `#` and without the key; empty if it had only the key. */
  readonly hashWithoutKey: string
}

export function readFragment(hash: string): Fragment {
  const params = new URLSearchParams(hash.replace(/^#/, ''))
  const key = params.get('key')?.trim() || undefined
  const query = params.get('query') ?? undefined
  params.delete('key')
  const otherParams = params.toString()
  return { key, query, hashWithoutKey: otherParams === '' ? '' : `#${otherParams}` }
}

/** Returns a link that opens GraphiQL with this operation. */
export function graphiqlAddress(document: string): string {
  return `/graphql#query=${encodeURIComponent(document)}`
}
