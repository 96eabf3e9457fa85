import type { LiveUpdate } from '../../query/live/live-patch.ts'
import { builder } from '../builder.ts'
import { GroupRef, groupSource } from './group.ts'
import { SeriesRef, seriesSources } from './series.ts'

const LiveUpdateKindEnum = builder.enumType('LiveUpdateKind', {
  description: 'How an update of a live query is to be taken.',
  values: {
    SNAPSHOT: { value: 'snapshot', description: 'The whole answer; it replaces everything told before.' },
    PATCH: {
      value: 'patch',
      description: 'Only buckets that are new or differ, to be put in the place of those with the same start.',
    },
  } as const,
})

export const LiveUpdateRef = builder.objectRef<LiveUpdate>('LiveUpdate').implement({
  description:
    'What is new in the answer of a live query. The first is a SNAPSHOT; PATCHes follow, and another SNAPSHOT where a patch could not tell, such as after a change in the ranking of `top`.',
  fields: (t) => ({
    kind: t.field({
      type: LiveUpdateKindEnum,
      description: 'Whether this replaces what was told before, or adds to it.',
      resolve: ({ kind }) => kind,
    }),
    series: t.field({
      type: [SeriesRef],
      description:
        'The lines with something new, to be matched by `id`; in a PATCH with their new and changed buckets alone. `total` is that of the whole range.',
      resolve: ({ answer }) => seriesSources(answer),
    }),
    groups: t.field({
      type: [GroupRef],
      description:
        'The groups with something new, to be matched by `tags`; in a PATCH with their new and changed buckets alone.',
      resolve: ({ answer }) => answer.groups.map((group) => groupSource(answer, group)),
    }),
    dropBefore: t.field({
      type: 'DateTime',
      nullable: true,
      description:
        'Buckets that start before this have left the range, and lines and groups without a bucket left are gone; null when the range did not move.',
      resolve: ({ dropBeforeMs }) => dropBeforeMs,
    }),
    at: t.field({
      type: 'DateTime',
      description: 'The clock of the gateway when this was so.',
      resolve: ({ answer }) => answer.meta.nowMs,
    }),
  }),
})
