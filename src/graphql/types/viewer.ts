import { SET_MEMBER_CHARS_MAX } from '../../model/point.ts'
import type { Scope } from '../../store/api-keys.ts'
import { builder } from '../builder.ts'
import type { GraphQLContext } from '../context.ts'
import type { GraphQLLimits } from '../operation-cost.ts'

/** The GraphQL enum of scopes. The internal value of each is the scope as the store has it. */
const ScopeEnum = builder.enumType('Scope', {
  description: 'A permission of an API key.',
  values: {
    INGEST: { value: 'ingest', description: 'Send points and events: the `track…` mutations.' },
    QUERY: { value: 'query', description: 'Read: all queries and subscriptions.' },
    ADMIN: { value: 'admin', description: 'Delete metrics.' },
  } satisfies Record<string, { value: Scope; description: string }>,
})

const ViewerLimitsRef = builder.objectRef<GraphQLLimits>('ViewerLimits').implement({
  description: 'Limits of one request, each with the error code of a request that exceeds it.',
  fields: (t) => ({
    bodyBytes: t.exposeFloat('bodyBytesMax', {
      description: 'Bytes of a request body, else PAYLOAD_TOO_LARGE. Example: 20971520.',
    }),
    batchItems: t.exposeInt('batchItemsMax', {
      description: 'Items of a batch, else BATCH_TOO_LARGE. Example: 500.',
    }),
    nameCharacters: t.int({
      description: 'Characters of a metric name, else MISSING_NAME. Example: 255.',
      resolve: ({ points }) => points.nameCharsMax,
    }),
    tags: t.int({
      description: 'Tags of a point, else INVALID_TAGS. Example: 32.',
      resolve: ({ points }) => points.tagsMax,
    }),
    tagKeyCharacters: t.int({
      description: 'Characters of a tag key, else INVALID_TAGS. Example: 128.',
      resolve: ({ points }) => points.tagKeyCharsMax,
    }),
    tagValueCharacters: t.int({
      description: 'Characters of a tag value, else INVALID_TAGS. Example: 256.',
      resolve: ({ points }) => points.tagValueCharsMax,
    }),
    memberCharacters: t.int({
      description: 'Characters of a member of a SET, else INVALID_VALUE. Example: 1024.',
      resolve: () => SET_MEMBER_CHARS_MAX,
    }),
    queries: t.exposeInt('queriesMax', {
      description: 'Queries and listings of a request, else QUERY_TOO_LARGE. Example: 100.',
    }),
    queryValues: t.float({
      description:
        'Values in the result of a query (groups × buckets × aggregations), else QUERY_TOO_LARGE. Example: 50000.',
      resolve: ({ queryLimits }) => queryLimits.valuesMax,
    }),
    requestRollups: t.float({
      description:
        'Stored rollups that the queries of a request may read (the sum of `meta.cost`), else QUERY_TOO_LARGE. Example: 20000000.',
      resolve: ({ queryLimits }) => queryLimits.rollupsMax,
    }),
  }),
})

const ViewerRef = builder.objectRef<GraphQLContext>('Viewer').implement({
  description: 'The owner of the API key of this request.',
  fields: (t) => ({
    project: t.string({
      description: 'The project that the key reads and writes. Example: "shop".',
      resolve: ({ principal }) => principal.project,
    }),
    scopes: t.field({
      type: [ScopeEnum],
      description: 'Permissions of the key. Example: [INGEST, QUERY].',
      resolve: ({ principal }) => principal.scopes,
    }),
    limits: t.expose('limits', {
      type: ViewerLimitsRef,
      description: 'Limits of one request.',
    }),
  }),
})

builder.queryField('viewer', (t) =>
  t.field({
    type: ViewerRef,
    nullable: true,
    description: 'The project, scopes and limits of the API key. Works with any key.',
    resolve: (_root, _args, context) => context,
  }),
)
