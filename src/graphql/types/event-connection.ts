import { cursorOf, EVENTS_PAGE_DEFAULT, type EventPage } from '../../query/events.ts'
import { builder } from '../builder.ts'
import { requireScope, takeQuery } from '../context.ts'
import { EventRef } from './event.ts'
import { readTagSelector } from './tag-filter.ts'

/** A listing may look at some thousand events. */
const EVENTS_COST = 5

const EventConnectionRef = builder.connectionObject(
  {
    type: EventRef,
    name: 'EventConnection',
    description:
      'A page of events, newest first. Events are looked at up to a bound, so that a page may be short, even empty, and have a next one: `endCursor` is where to go on.',
  },
  { name: 'EventEdge', description: 'An event and its place in the list.' },
)

builder.queryField('events', (t) =>
  t.field({
    type: EventConnectionRef,
    nullable: true,
    description: 'The events of the project, newest first, a page at a time.',
    args: {
      name: t.arg.string({ description: 'Only of this name, or of names that begin so: "order.*".' }),
      from: t.arg({
        type: 'DateTime',
        description: 'Start, inclusive. Default: 24 hours before the end. Example: "-7d".',
      }),
      to: t.arg({ type: 'DateTime', description: 'End, inclusive. Default: now. Example: "2024-01-15T12:00:00Z".' }),
      tags: t.arg({ type: 'TagSelector', description: 'Only with these tags. Default: all. Example: {region: "eu"}.' }),
      first: t.arg.int({ description: 'Length of the page, at most 1,000. Default: 100.' }),
      after: t.arg.string({ description: 'Where to go on: `endCursor` of the page before.' }),
    },
    resolve: async (_root, { name, from, to, tags, first, after }, context) => {
      requireScope(context, 'query')
      takeQuery(context, EVENTS_COST)
      const page = await context.gateway.events(context.principal.project, {
        ...(name != null && { name }),
        ...(from != null && { from }),
        ...(to != null && { to }),
        ...(tags != null && { tags: readTagSelector(tags) }),
        ...(after != null && { after }),
        limit: first ?? EVENTS_PAGE_DEFAULT,
      })
      return connectionOf(page, after != null)
    },
  }),
)

function connectionOf({ events, next }: EventPage, afterGiven: boolean) {
  const edges = events.map((event) => ({ cursor: cursorOf(event), node: event }))
  return {
    edges,
    pageInfo: {
      hasNextPage: next !== undefined,
      hasPreviousPage: afterGiven,
      startCursor: edges[0]?.cursor ?? null,
      endCursor: next ?? edges.at(-1)?.cursor ?? null,
    },
  }
}
