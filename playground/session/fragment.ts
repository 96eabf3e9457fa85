/** The part of an address that browsers never send: `#key=…` opens a page with a key, `#query=…` with an operation. */
export interface Fragment {
  readonly key: string | undefined
  readonly query: string | undefined
  /** The fragment without its key, with its `#`; empty when nothing is left. */
  readonly rest: string
}

export function readFragment(hash: string): Fragment {
  const params = new URLSearchParams(hash.replace(/^#/, ''))
  const key = params.get('key')?.trim() || undefined
  const query = params.get('query') ?? undefined
  params.delete('key')
  const rest = params.toString()
  return { key, query, rest: rest === '' ? '' : `#${rest}` }
}

/** The address of GraphiQL with this operation in a tab. */
export function graphiqlAddress(document: string): string {
  return `/graphql#query=${encodeURIComponent(document)}`
}
