import SchemaBuilder from '@pothos/core'
import RelayPlugin from '@pothos/plugin-relay'
import type { CanonicalTags } from '../model/series.ts'
import type { GraphQLContext } from './context.ts'

/** TypeScript types that the schema builder uses: the context of resolvers, defaults, and the values of scalars. */
interface SchemaTypes {
  Context: GraphQLContext
  DefaultFieldNullability: false
  DefaultEdgesNullability: false
  DefaultNodeNullability: false
  Scalars: {
    ID: { Input: string; Output: string }
    /** Output in milliseconds. Input is any JSON, which the resolver validates. */
    DateTime: { Input: unknown; Output: number }
    Duration: { Input: string; Output: string }
    Interval: { Input: string; Output: string }
    TimeZone: { Input: string; Output: string }
    MetricValue: { Input: unknown; Output: number | string }
    Tags: { Input: unknown; Output: CanonicalTags }
    Properties: { Input: unknown; Output: object }
    TagSelector: { Input: unknown; Output: unknown }
  }
}

/** The Pothos schema builder, to which the files of `types/` add their types. */
export const builder = new SchemaBuilder<SchemaTypes>({
  plugins: [RelayPlugin],
  defaultFieldNullability: false,
  relay: {
    encodeGlobalID: (typename, id) => Buffer.from(`${typename}:${id}`).toString('base64url'),
    // An id without a colon has an empty type name, so `node` returns null instead of an error.
    decodeGlobalID: (globalId) => {
      const text = Buffer.from(globalId, 'base64url').toString()
      const colon = text.indexOf(':')
      return { typename: text.slice(0, Math.max(colon, 0)), id: text.slice(colon + 1) }
    },
    idFieldOptions: { description: 'Global id, opaque and stable; for `node`.' },
    nodeTypeOptions: { description: 'An object with a global id.' },
    nodeQueryOptions: {
      description: 'The object with this global id; null when there is none.',
      args: { id: { description: 'A global id. Example: "TWV0cmljOm9yZGVycw".' } },
      resolve: (_root, { id }, _context, _info, resolveNode) => (id.typename === NODE_TYPE ? resolveNode(id) : null),
    },
    nodesQueryOptions: false,
    nodesOnConnection: { description: 'Items of this page.' },
    edgesFieldOptions: { description: 'Items of this page with their cursors.' },
    nodeFieldOptions: { description: 'The item.' },
    cursorFieldOptions: {
      description: 'Opaque position of the item. Pass it as `after` to read the items that follow.',
    },
    pageInfoFieldOptions: { description: 'The position of this page.' },
    pageInfoTypeOptions: { description: 'The position of a page in its list.' },
    hasNextPageFieldOptions: { description: 'Whether there is a next page.' },
    hasPreviousPageFieldOptions: { description: 'Whether there is a previous page.' },
    startCursorFieldOptions: { description: 'Cursor of the first item; null on an empty page.' },
    endCursorFieldOptions: {
      description: 'Cursor of the last item, for `after` of the next page; may be null on an empty page.',
    },
  },
})

/** The only type whose objects have global ids. */
const NODE_TYPE = 'Metric'

builder.queryType({ description: 'Read operations. Need a key with the scope `query`, unless a field says otherwise.' })
builder.mutationType({
  description: 'Write operations. Need a key with the scope `ingest`, unless a field says otherwise.',
})
