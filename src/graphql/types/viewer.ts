import type { Scope } from '../../store/api-keys.ts'
import { builder } from '../builder.ts'
import type { GraphQLContext, GraphQLLimits } from '../context.ts'

/** Values are the scopes as keys hold them. */
const ScopeEnum = builder.enumType('Scope', {
  description: 'What an API key may do.',
  values: {
    INGEST: { value: 'ingest', description: 'Send points: the mutations that track.' },
    QUERY: { value: 'query', description: 'Read: everything below `Query`.' },
    ADMIN: { value: 'admin', description: 'Delete metrics.' },
  } satisfies Record<string, { value: Scope; description: string }>,
})

const ViewerLimitsRef = builder.objectRef<GraphQLLimits>('ViewerLimits').implement({
  description: 'What one request may hold and ask for; beyond it is an error with the code named.',
  fields: (t) => ({
    bodyBytes: t.float({
      description: 'Bytes of a request body; PAYLOAD_TOO_LARGE. Example: 20971520.',
      resolve: (limits) => limits.bodyBytesMax,
    }),
    batchItems: t.int({
      description: 'Items of one batch; BATCH_TOO_LARGE. Example: 500.',
      resolve: (limits) => limits.batchItemsMax,
    }),
    nameCharacters: t.int({
      description: 'Characters of a metric name; MISSING_NAME. Example: 255.',
      resolve: ({ points }) => points.nameCharsMax,
    }),
    tags: t.int({
      description: 'Tags of one point; INVALID_TAGS. Example: 32.',
      resolve: ({ points }) => points.tagsMax,
    }),
    tagKeyCharacters: t.int({
      description: 'Characters of a tag key; INVALID_TAGS. Example: 128.',
      resolve: ({ points }) => points.tagKeyCharsMax,
    }),
    tagValueCharacters: t.int({
      description: 'Characters of a tag value; INVALID_TAGS. Example: 256.',
      resolve: ({ points }) => points.tagValueCharsMax,
    }),
    memberCharacters: t.int({
      description: 'Characters of a member of a SET; INVALID_VALUE. Example: 1024.',
      resolve: ({ points }) => points.setMemberCharsMax,
    }),
    queries: t.int({
      description: 'Queries and listings that one request runs; QUERY_TOO_LARGE. Example: 100.',
      resolve: (limits) => limits.queriesMax,
    }),
    queryValues: t.float({
      description: 'Numbers that one query answers: groups × buckets × aggregations; QUERY_TOO_LARGE. Example: 50000.',
      resolve: (limits) => limits.queryValuesMax,
    }),
    requestRollups: t.float({
      description:
        'Stored rollups that all queries of one request read, the sum of their `meta.cost`; QUERY_TOO_LARGE. Example: 20000000.',
      resolve: (limits) => limits.requestRollupsMax,
    }),
  }),
})

const ViewerRef = builder.objectRef<GraphQLContext>('Viewer').implement({
  description: 'Whose API key the request carries.',
  fields: (t) => ({
    project: t.string({
      description: 'The project that everything read and written belongs to. Example: "shop".',
      resolve: ({ principal }) => principal.project,
    }),
    scopes: t.field({
      type: [ScopeEnum],
      description: 'What the key may do. Example: [INGEST, QUERY].',
      resolve: ({ principal }) => principal.scopes,
    }),
    limits: t.field({
      type: ViewerLimitsRef,
      description: 'What one request may hold and ask for.',
      resolve: ({ limits }) => limits,
    }),
  }),
})

builder.queryField('viewer', (t) =>
  t.field({
    type: ViewerRef,
    nullable: true,
    description: 'Whose API key this is, and within which limits it works. Any key may ask.',
    resolve: (_root, _args, context) => context,
  }),
)
