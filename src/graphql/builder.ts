import SchemaBuilder from '@pothos/core'
import RelayPlugin from '@pothos/plugin-relay'
import type { CanonicalTags } from '../model/series.ts'
import type { GraphQLContext } from './context.ts'

/** The types of the schema that resolvers exchange with GraphQL. */
interface SchemaTypes {
  Context: GraphQLContext
  DefaultFieldNullability: false
  DefaultEdgesNullability: false
  DefaultNodeNullability: false
  Scalars: {
    ID: { Input: string; Output: string }
    /** Milliseconds inside; any JSON as input, judged with the item or the query it belongs to. */
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

export const builder = new SchemaBuilder<SchemaTypes>({
  plugins: [RelayPlugin],
  defaultFieldNullability: false,
  relay: {
    encodeGlobalID: (typename, id) => Buffer.from(`${typename}:${id}`).toString('base64url'),
    // Unreadable ids name no type: nothing has them, which is an answer and not an error.
    decodeGlobalID: (globalId) => {
      const text = Buffer.from(globalId, 'base64url').toString()
      const at = text.indexOf(':')
      return { typename: text.slice(0, Math.max(at, 0)), id: text.slice(at + 1) }
    },
    idFieldOptions: { description: 'Opaque and stable; `node(id)` finds the object again.' },
    nodeTypeOptions: { description: 'Something with an id by which it can be fetched again.' },
    nodeQueryOptions: {
      description: 'The object with this id; null when there is none.',
      args: { id: { description: 'An id that an earlier answer gave.' } },
      resolve: (_root, { id }, _context, _info, resolveNode) => (id.typename === NODE_TYPE ? resolveNode(id) : null),
    },
    nodesQueryOptions: false,
    nodesOnConnection: { description: 'The items of this page without their edges.' },
    edgesFieldOptions: { description: 'The items of this page, each with its cursor.' },
    nodeFieldOptions: { description: 'The item.' },
    cursorFieldOptions: { description: 'Opaque position of the item; pass it as `after` to read on from here.' },
    pageInfoFieldOptions: { description: 'Where this page lies.' },
    pageInfoTypeOptions: { description: 'The place of a page in its list.' },
    hasNextPageFieldOptions: { description: 'Whether items follow this page.' },
    hasPreviousPageFieldOptions: { description: 'Whether items precede this page.' },
    startCursorFieldOptions: { description: 'Cursor of the first item; null on an empty page.' },
    endCursorFieldOptions: {
      description: 'Cursor of the last item, the `after` of the next page; null on an empty page.',
    },
  },
})

/** The one type that has global ids. */
const NODE_TYPE = 'Metric'

builder.queryType({ description: 'Reading; needs a key with the scope `query`.' })
builder.mutationType({ description: 'Writing; needs a key with the scope `ingest`, where no other is named.' })
