import { EVENTS_PAGE_DEFAULT, type EventPage, encodeCursor } from '../../query/events.ts'
import { builder } from '../builder.ts'
import { requireScopeAndTime } from '../context.ts'
import { chargeQueries, EVENTS_LISTING_COST } from '../operation-cost.ts'
import { withoutNullArguments } from '../resolve/without-nulls.ts'
import { EventRef } from './event.ts'
import { parseTagSelector } from './tag-filter.ts'

const EventConnectionRef = builder.connectionObject(
  {
    type: EventRef,
    name: 'EventConnection',
    description:
      'A page of events, newest first. Each page scans a limited number of events, so it may be short or even empty while `hasNextPage` is true; continue from `endCursor`.',
  },
  { name: 'EventEdge', description: 'An event and its cursor.' },
)

builder.queryField('events', (t) =>
  t.field({
    type: EventConnectionRef,
    nullable: true,
    description: 'The events of the project, newest first.',
    args: {
      name: t.arg.string({
        description: 'Only events with this name, or with names that start with a prefix: "order.*".',
      }),
      from: t.arg({
        type: 'DateTime',
        description: 'Start, inclusive. Default: 24 hours before the end. Example: "-7d".',
      }),
      to: t.arg({ type: 'DateTime', description: 'End, inclusive. Default: now. Example: "2024-01-15T12:00:00Z".' }),
      tags: t.arg({
        type: 'TagSelector',
        description: 'Only events with these tags. Default: all. Example: {region: "eu"}.',
      }),
      first: t.arg.int({ description: 'Length of the page, at most 1,000. Default: 100.' }),
      after: t.arg.string({ description: 'Cursor: `endCursor` of the previous page.' }),
    },
    resolve: async (_root, args, context) => {
      requireScopeAndTime(context, 'query')
      chargeQueries(context, EVENTS_LISTING_COST)
      const { tags, first = EVENTS_PAGE_DEFAULT, ...filter } = withoutNullArguments(args)
      const page = await context.gateway.events(context.principal.project, {
        ...filter,
        ...(tags !== undefined && { tags: parseTagSelector(tags) }),
        limit: first,
      })
      return connectionOf(page, filter.after !== undefined)
    },
  }),
)

function connectionOf({ events, nextCursor }: EventPage, hasPreviousPage: boolean) {
  const edges = events.map((event) => ({ cursor: encodeCursor(event), node: event }))
  return {
    edges,
    pageInfo: {
      hasNextPage: nextCursor !== undefined,
      hasPreviousPage,
      startCursor: edges[0]?.cursor ?? null,
      endCursor: nextCursor ?? edges.at(-1)?.cursor ?? null,
    },
  }
}
